//! One application as one node sees it: its own slots, what it knows of others, its duties.

mod guardian;
mod holder;
mod news;
mod proofs;
mod recruit;
mod restored;
mod watch;

pub(crate) use proofs::Lately;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant};
use xtreem_membership::detector;

use self::proofs::Proving;
use crate::chain::Chain;
use crate::context::Context;
use crate::guardian::{Guard, Guardians};
use crate::knowledge::Knowledge;
use crate::message::{KNOWN_MAX, Message, PEERS_MAX, REPORTS_MAX, Versions};
use crate::mine::{Mine, Phase};
use crate::older::OlderHolders;
use crate::recruit::Recruit;
use crate::restored::Restored;
use crate::{
    Application, Config, Epoch, Host, Known, Notice, Record, Silence, SlotReport, SlotState, Wish, window,
};

pub(crate) use self::restored::of_a_stranger;

/// How often an application with something under way is looked at. Our guess: well below the shortest wait.
const BUSY_PERIOD: Duration = Duration::from_millis(200);
/// A holder that was not heard for so long counts as silent: it missed the probes that make it suspected.
const SILENT_AFTER: Duration =
    Duration::from_micros(detector::PROBE_PERIOD.as_micros() * (detector::MISSES as u64 + 1));
/// Former holders and guardians remembered as sources of files. Our guess: a few replacements of each slot.
pub(crate) const SUPPLIERS_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct App {
    pub application: Application,
    pub mine: Vec<Mine>,
    pub known: Knowledge,
    /// What of it is proven.
    pub chain: Chain,
    proving: Proving,
    pub guardians: Guardians,
    /// This node's own duty as a guardian.
    pub guard: Option<Guard>,
    pub older: OlderHolders,
    /// Nodes that may have the files although they hold and guard nothing here: former holders and guardians,
    /// and who confirmed or appointed this node, its submitter at first. The oldest goes first.
    suppliers: Vec<Handle>,
    /// Nodes on which the program of some slot failed; the oldest goes first.
    pub failing: Vec<Handle>,
    pub recruits: BTreeMap<u16, Recruit>,
    /// What is left of the time before this agent's start.
    pub restored: Option<Box<Restored>>,
    /// No recruiting before this: the node was paused and waits for word of newer epochs.
    pub quiet_until: Instant,
    /// All slots have ended.
    pub is_finished: bool,
    /// When this node began to do nothing but answer for the application.
    pub left: Option<Instant>,
    /// How long it had been over before this agent's start, if it is.
    pub ended_before: Duration,
    /// This node was to guard what then never began.
    pub never_began: bool,
    pub due: Instant,
    locate_due: Instant,
}

impl App {
    pub fn new(application: Application, now: Instant) -> Self {
        App {
            chain: Chain::new(application.record.id, application.record.submitter),
            proving: Proving::default(),
            application,
            mine: Vec::new(),
            known: Knowledge::default(),
            guardians: Guardians::default(),
            guard: None,
            older: OlderHolders::default(),
            suppliers: Vec::new(),
            failing: Vec::new(),
            recruits: BTreeMap::new(),
            restored: None,
            quiet_until: now,
            is_finished: false,
            left: None,
            ended_before: Duration::ZERO,
            never_began: false,
            due: now,
            locate_due: now,
        }
    }

    pub fn id(&self) -> AppId {
        self.application.record.id
    }

    pub fn slots(&self) -> u16 {
        self.application.record.slots
    }

    pub fn versions(&self) -> Versions {
        Versions { record: self.application.record.version(), guardians: self.guardians.set.version }
    }

    pub fn is_guardian(&self) -> bool {
        self.guard.is_some()
    }

    /// How long every slot has been known to have ended.
    pub fn since_end(&self, now: Instant) -> Option<Duration> {
        let left = self.left.filter(|_| self.is_finished)?;
        Some(self.ended_before + now.since(left))
    }

    /// Holds or guards something, or is about to.
    pub fn has_duties(&self) -> bool {
        !self.mine.is_empty() || self.guard.is_some() || self.has_offers()
    }

    /// True while this node has duties here.
    pub fn is_active(&self) -> bool {
        self.left.is_none() && !self.is_finished
    }

    /// Every slot has ended, nothing runs here, and nobody is looked for who may still run one.
    pub fn is_settled(&self) -> bool {
        self.is_finished && self.older.is_empty() && self.mine.iter().all(|mine| !mine.takes_room())
    }

    /// Slots that are known to be done or failed.
    pub fn ended(&self) -> u16 {
        if self.is_finished {
            return self.slots();
        }
        let own = self.mine.iter().filter(|mine| mine.state().is_final()).count();
        let is_own = |slot: u16| self.mine(slot).is_some();
        let others = self.known.iter().filter(|(slot, entry)| entry.state.is_final() && !is_own(*slot));
        (own + others.count()).min(usize::from(self.slots())) as u16
    }

    pub fn mine(&self, slot: u16) -> Option<&Mine> {
        self.mine.iter().find(|mine| mine.slot == slot)
    }

    pub fn mine_mut(&mut self, slot: u16) -> Option<&mut Mine> {
        self.mine.iter_mut().find(|mine| mine.slot == slot)
    }

    /// Own slots as told to others; with more than [`REPORTS_MAX`] those nearest to `near`.
    pub fn reports(&self, near: u16) -> Vec<SlotReport> {
        let mut held: Vec<&Mine> = self.mine.iter().filter(|mine| mine.is_held()).collect();
        held.sort_by_key(|mine| mine.slot.abs_diff(near));
        held.truncate(REPORTS_MAX);
        held.into_iter().map(|mine| self.report(mine)).collect()
    }

    pub fn report(&self, mine: &Mine) -> SlotReport {
        let state = mine.state();
        SlotReport { slot: mine.slot, epoch: mine.epoch, state, done_run: self.done_run(mine.slot, state) }
    }

    /// The best that is known of a slot, own or not.
    pub fn newest(&self, slot: u16, me: Handle) -> Option<Known> {
        match self.mine(slot).filter(|mine| mine.is_held()) {
            Some(mine) => Some(Known { slot, epoch: mine.epoch, holder: Some(me), state: mine.state() }),
            None => self.known.entry(slot).filter(|entry| entry.epoch > Epoch::NONE).map(|e| e.known(slot)),
        }
    }

    /// What is known of the slots around `slot`, itself left out.
    pub fn around(&self, slot: u16, me: Handle) -> Vec<Known> {
        window::around(slot, self.slots()).filter_map(|other| self.newest(other, me)).collect()
    }

    /// Everything that is known, lowest slots first, at most [`KNOWN_MAX`].
    pub fn all_known(&self, me: Handle) -> Vec<Known> {
        let mut slots: Vec<u16> = self.known.iter().map(|(slot, _)| slot).collect();
        slots.extend(self.mine.iter().map(|mine| mine.slot));
        slots.sort_unstable();
        slots.dedup();
        slots.into_iter().filter_map(|slot| self.newest(slot, me)).take(KNOWN_MAX).collect()
    }

    /// The slots around its own whose holders have not been heard for longer than a probe takes.
    pub fn silences(&self, now: Instant) -> Vec<Silence> {
        let watched = self.watched();
        let silence = |slot: &u16| {
            let entry =
                self.known.entry(*slot).filter(|entry| entry.holder.is_some() && !entry.state.is_final())?;
            let span = now.since(entry.heard?);
            (span >= SILENT_AFTER).then(|| Silence {
                slot: *slot,
                seconds: u32::try_from(span.as_micros() / 1_000_000).unwrap_or(u32::MAX),
            })
        };
        watched.iter().filter_map(silence).collect()
    }

    /// Everybody who has a part in the application, as far as known here, without `me`.
    pub fn partners(&self, me: Handle) -> Vec<Handle> {
        let mut partners = self.known.holders();
        partners.extend(&self.guardians.set.members);
        partners.sort_unstable();
        partners.dedup();
        partners.retain(|peer| *peer != me);
        partners
    }

    pub fn is_partner(&self, peer: Handle) -> bool {
        self.guardians.set.members.contains(&peer)
            || self.known.iter().any(|(_, entry)| entry.holder == Some(peer))
    }

    pub fn tell_partners<H: Host>(&self, cx: &mut Context<'_, H>) {
        let near = self.mine.first().map_or(0, |mine| mine.slot);
        let message = Message::Report { app: self.id(), versions: self.versions(), mine: self.reports(near) };
        for peer in self.partners(cx.me.handle) {
            cx.host.send(peer, message.clone());
        }
    }

    /// Tells of slots, with what proves it. What is only planned is not told.
    pub fn tell<H: Host>(&self, cx: &mut Context<'_, H>, to: Handle, mut slots: Vec<Known>) {
        slots.retain(|known| known.state != SlotState::Planned);
        if !slots.is_empty() {
            self.tell_of(cx, to, slots, None);
        }
    }

    /// Tells everybody concerned how an own slot ended: a report can only name it.
    pub fn tell_end<H: Host>(&self, cx: &mut Context<'_, H>, slot: u16) {
        let Some(known) = self.newest(slot, cx.me.handle).filter(|known| known.state.is_final()) else {
            return;
        };
        for peer in self.partners(cx.me.handle) {
            self.tell(cx, peer, alloc::vec![known]);
        }
    }

    /// From here on this node only answers for the application.
    pub fn leave<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.left.is_none() {
            self.left = Some(cx.now);
            self.abort_recruits(cx);
            self.drop_offers(cx);
            cx.books.journal.mark(self.id());
            cx.host.event(Wish::LeaveCollection { app: self.id() });
        }
    }

    /// How long this node answers for an application after it has left it. What never began is forgotten at
    /// once: it would keep its name from the next submission.
    pub fn keep(&self, config: &Config) -> Duration {
        match (self.is_finished, self.never_began) {
            (true, _) => config.keep,
            (false, true) => Duration::ZERO,
            (false, false) => config.former_keep,
        }
    }

    /// This node becomes a holder or guardian. Watches that stood still since an earlier time begin anew.
    pub fn take_up_duty(&mut self, now: Instant) {
        self.never_began = false;
        if self.is_asleep() {
            self.be_awake(now);
        }
        if self.left.take().is_some() || (self.mine.is_empty() && self.guard.is_none()) {
            let held = self.known.iter_mut().filter(|(_, entry)| entry.holder.is_some());
            held.for_each(|(_, entry)| entry.mark_alive(now));
        }
    }

    /// `peer` may still run `slot` under a lower epoch, and has its files in any case.
    pub fn suspect(&mut self, now: Instant, slot: u16, peer: Handle) {
        self.older.add(now, slot, peer);
        self.add_supplier(peer);
    }

    pub fn add_supplier(&mut self, peer: Handle) {
        if !self.suppliers.contains(&peer) {
            if self.suppliers.len() >= SUPPLIERS_MAX {
                // The first one is nearest to the submitter, who had the files before anybody.
                self.suppliers.remove(1);
            }
            self.suppliers.push(peer);
        }
    }

    /// The program failed on that node.
    pub fn is_failing(&mut self, peer: Handle) {
        if !self.failing.contains(&peer) {
            if self.failing.len() >= PEERS_MAX {
                self.failing.remove(0);
            }
            self.failing.push(peer);
        }
    }

    /// Whoever speaks of an application may have its files, its submitter above all: where a slot waits for
    /// them, it is asked as well.
    pub fn on_speaker<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle) {
        let me = cx.me.handle;
        let waits = self.mine.iter().any(Mine::waits_for_files);
        let is_known = |app: &App| app.suppliers.contains(&from) || app.partners(me).contains(&from);
        if waits && from != me && !is_known(self) && self.is_member(cx, from) {
            self.add_supplier(from);
            cx.books.journal.mark(self.id());
        }
    }

    /// Everybody who may have the files.
    pub fn sources<H: Host>(&self, cx: &mut Context<'_, H>) -> Vec<Handle> {
        let mut sources = self.partners(cx.me.handle);
        sources.extend(cx.host.app_peers(self.id(), 8));
        sources.extend(&self.suppliers);
        sources
    }

    /// Leaves when this node neither holds nor guards anything any more.
    pub fn leave_when_idle<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if !self.has_duties() {
            self.leave(cx);
        }
    }

    /// Both sides of a contact see who has something newer.
    pub fn compare<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, theirs: Option<Versions>) {
        let Some(theirs) = theirs else { return };
        let ours = self.versions();
        if theirs.record < ours.record {
            let record = self.application.record.clone().into();
            cx.host.send(from, Message::Record { record });
        } else if theirs.record > ours.record {
            cx.host.send(from, Message::AskRecord { app: self.id(), version: ours.record });
        }
        if theirs.guardians < ours.guardians {
            let guardians = self.guardians.set.clone();
            cx.host.send(from, Message::Guardians { app: self.id(), guardians });
        }
    }

    /// A peer is gone for good: it restarted and owns nothing any more.
    pub fn on_gone(&mut self, now: Instant, peer: Handle) {
        self.older.forget(peer);
        self.suppliers.retain(|supplier| *supplier != peer);
        self.failing.retain(|failing| *failing != peer);
        for (_, entry) in self.known.iter_mut().filter(|(_, entry)| entry.holder == Some(peer)) {
            entry.mark_lost(now);
            self.due = now;
        }
        self.guardians.on_gone(peer);
    }

    /// A sign of life of a peer that was asked for through others.
    pub fn on_alive(&mut self, now: Instant, peer: Handle) {
        for (_, entry) in self.known.iter_mut().filter(|(_, entry)| entry.holder == Some(peer)) {
            entry.watch.answered(now);
            entry.heard = Some(now);
        }
        self.guardians.on_alive(now, peer);
    }

    /// This node was paused: others may have acted meanwhile.
    pub fn resume<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if !self.is_active() {
            return;
        }
        self.quiet_until = cx.now + cx.config.resume_quiet;
        self.abort_recruits(cx);
        let me = cx.me.handle;
        for mine in self.mine.iter().filter(|mine| mine.is_held()) {
            let about = Known { slot: mine.slot, epoch: mine.epoch, holder: Some(me), state: mine.state() };
            for peer in self.partners(me) {
                self.send_probe(cx, peer, about);
            }
        }
        for (_, entry) in self.known.iter_mut() {
            if entry.holder.is_some() {
                entry.mark_alive(cx.now);
            }
        }
        self.guardians.resume(cx.now);
        self.due = cx.now;
    }

    /// Does all that is due.
    pub fn tick<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.restored.is_some() {
            self.tick_restored(cx);
        }
        if self.is_active() && !self.is_asleep() {
            self.tick_mine(cx);
            self.tick_wide(cx.now);
            self.tick_watches(cx);
            self.tick_locate(cx);
            self.tick_lost(cx);
            self.tick_recruits(cx);
            self.tick_guardians(cx);
            self.tick_guard(cx);
            self.check_finished(cx);
        }
        for (slot, peer) in self.older.take_due(cx.now, cx.config) {
            let about = self.newest(slot, cx.me.handle).unwrap_or(Known {
                slot,
                epoch: Epoch::NONE,
                holder: None,
                state: SlotState::Planned,
            });
            self.send_probe(cx, peer, about);
        }
        // Of what is over nothing is written after its end.
        if self.older.take_changed() && !self.is_finished {
            cx.books.journal.mark(self.id());
        }
        let watched = self.watched();
        self.known.prune(|slot| watched.contains(&slot));
        self.due = self.next_due(cx.now, cx.config);
    }

    fn next_due(&self, now: Instant, config: &Config) -> Instant {
        let mut due = self.older.next_due().unwrap_or(Instant::FAR);
        if let Some(left) = self.left {
            due = due.min(left + self.keep(config));
        }
        due = due.min(self.restored_due());
        if self.is_asleep() {
            due = due.min(now + BUSY_PERIOD);
        } else if self.is_active() {
            for slot in self.watched() {
                due = due.min(match self.known.entry(slot) {
                    Some(entry) if entry.state.is_final() && entry.live_holder().is_none() => continue,
                    Some(entry) if entry.live_holder().is_some() => entry.watch.next_timeout(),
                    _ => now + BUSY_PERIOD,
                });
            }
            if !self.recruits.is_empty() || self.mine.iter().any(Mine::is_announcing) {
                due = due.min(now + BUSY_PERIOD);
            }
            let own = self.mine.iter().filter(|mine| !self.recruits.contains_key(&mine.slot));
            due = own.filter_map(|mine| mine.due(config)).fold(due, Instant::min);
            due = due.min(self.guardians_due()).min(self.guard_due(config));
        }
        due.max(now + Duration::from_millis(1))
    }

    /// Takes a newer record; the caller has compared them.
    pub fn set_record<H: Host>(&mut self, cx: &mut Context<'_, H>, record: Record) {
        let slots = record.slots;
        self.application.record = record.clone();
        self.chain.add_root(record.submitter);
        cx.books.journal.mark(record.id);
        cx.host.event(Notice::RecordChanged { record: record.clone() });
        let superfluous: Vec<u16> =
            self.mine.iter().filter(|mine| mine.slot >= slots).map(|mine| mine.slot).collect();
        for slot in superfluous {
            self.stop_slot(cx, slot, crate::StopReason::Stopped);
        }
        let beyond: Vec<u16> =
            self.known.iter().map(|(slot, _)| slot).filter(|slot| *slot >= slots).collect();
        for slot in beyond {
            self.abort_recruit(cx, slot);
            self.known.remove(slot);
        }
        for peer in self.partners(cx.me.handle) {
            cx.host.send(peer, Message::Record { record: record.clone().into() });
        }
        self.due = cx.now;
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.known.for_each_handle(f);
        self.guardians.set.members.iter().for_each(|peer| f(*peer));
        self.older.peers().for_each(&mut *f);
        self.suppliers.iter().chain(&self.failing).for_each(|peer| f(*peer));
        self.recruits.values().for_each(|recruit| recruit.for_each_handle(f));
        self.guardians.successor.into_iter().for_each(&mut *f);
        if let Some(restored) = &self.restored {
            restored.for_each_handle(f);
        }
        for mine in &self.mine {
            f(mine.confirmed_by);
            mine.history.iter().for_each(|failure| f(failure.at));
            if let Phase::Announcing { waiting, .. } = &mine.phase {
                waiting.iter().for_each(|peer| f(*peer));
            }
        }
    }
}
