//! The two sides of guarding: the lowest holder looks after the guardians, a guardian after the application.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};
use xtreem_membership::detector::{Action, INDIRECT_ROUNDS};

use super::App;
use super::watch::{GUARDED, ask_others};
use crate::chain::Chain;
use crate::context::Context;
use crate::guardian::{APPOINT_PERIOD, Guard, WIDE_FOR};
use crate::knowledge::Entry;
use crate::message::{GUARDIANS, GuardianSet, Message, PEERS_MAX, SetVersion};
use crate::mine::Mine;
use crate::proof::Evidence;
use crate::{Config, Connection, Epoch, Host, Notice, window};

impl App {
    /// Takes a newer guardian set that is proven, and this node's own place in it.
    pub fn adopt_guardians<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, set: GuardianSet) {
        if set.version <= self.guardians.set.version {
            return;
        }
        if !self.believes_set(cx, &set) {
            if let Some(claim) = &set.claim {
                self.ask_proof(cx, from, claim.body.slot, set.version.by);
            }
            return;
        }
        let before = self.guardians.set.members.clone();
        if !self.guardians.adopt(cx.now, set, &mut cx.books.rng) {
            return;
        }
        cx.books.journal.mark(self.id());
        let rank = self.guardians.set.members.iter().position(|member| *member == cx.me.handle);
        match (&mut self.guard, rank) {
            (Some(guard), Some(rank)) => guard.rank = rank as u16,
            (guard @ Some(_), None) => {
                *guard = None;
                self.leave_when_idle(cx);
            }
            (None, _) => {}
        }
        // Former guardians may look after the other side of a split: whoever stays keeps asking for them, so
        // that the two sides meet even when all holders have died meanwhile.
        let held = self.mine.iter().find(|mine| mine.is_held()).map(|mine| mine.slot);
        if let Some(slot) = held.or(self.guard.as_ref().map(|_| 0)) {
            for former in before {
                if !self.guardians.set.members.contains(&former) && former != cx.me.handle {
                    self.suspect(cx.now, slot, former);
                }
            }
        }
    }

    /// The lowest live holder looks after the guardians. Only slots near 0 can know that they are the lowest.
    fn lowest_held(&self) -> Option<&Mine> {
        let lowest = self.mine.iter().find(|mine| mine.is_held() && !mine.is_announcing())?;
        let is_live = |slot: u16| self.known.entry(slot).is_some_and(Entry::is_live);
        (lowest.slot <= window::REACH && !(0..lowest.slot).any(is_live)).then_some(lowest)
    }

    pub fn tick_guardians<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Some((slot, epoch)) = self.lowest_held().map(|lowest| (lowest.slot, lowest.epoch)) else {
            self.guardians.is_on_duty = false;
            return;
        };
        if !self.guardians.is_on_duty {
            // What an earlier time on duty left half suspected proves nothing now.
            self.guardians.is_on_duty = true;
            self.guardians.resume(cx.now);
        }
        for at in 0..self.guardians.watches.len() {
            let peer = self.guardians.set.members[at];
            if self.guardians.lost.contains(&peer) {
                continue;
            }
            let (app, versions, mine) = (self.id(), self.versions(), self.reports(slot));
            let probe = Message::GuardianProbe { app, versions, mine };
            match self.guardians.watches[at].handle_timeout(cx.now) {
                Action::Nothing => {}
                Action::Probe => cx.host.send(peer, probe),
                Action::IndirectProbe { round } => {
                    cx.host.send(peer, probe);
                    ask_others(cx, peer);
                    if round + 1 == INDIRECT_ROUNDS {
                        cx.host.connection(cx.now);
                    }
                }
                Action::Down => {
                    self.guardians.on_gone(peer);
                    self.guardians.silent.push(peer);
                    self.suspect(cx.now, slot, peer);
                }
            }
        }
        if self.guardians.needs_more() && self.guardians.appoint_due <= cx.now {
            self.guardians.appoint_due = cx.now + APPOINT_PERIOD;
            // Where nobody can take their place they may be back before somebody can.
            for peer in &self.guardians.silent {
                let (app, versions, mine) = (self.id(), self.versions(), self.reports(slot));
                cx.host.send(*peer, Message::GuardianProbe { app, versions, mine });
            }
            match cx.host.connection(cx.now) {
                Connection::Connected if cx.now >= self.quiet_until => self.appoint(cx, slot, epoch),
                // As for holders: what a node that is cut off did not hear proves nothing.
                Connection::CutOff => self.guardians.resume(cx.now),
                _ => {}
            }
        }
    }

    pub fn guardians_due(&self) -> Instant {
        if self.lowest_held().is_some() { self.guardians.next_due() } else { Instant::FAR }
    }

    fn appoint<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, by: Epoch) {
        let me = cx.me.handle;
        // One that restarted has record and files.
        let successor = self.guardians.successor.take();
        let contacts = successor.into_iter().chain(cx.host.grid_contacts(8));
        let is_outside = |peer: &Handle| *peer != me && !self.is_partner(*peer);
        let Some(candidate) = contacts.into_iter().find(is_outside) else { return };
        for peer in self.guardians.silent.drain(..) {
            let (app, epoch) = (self.application.record.id, Epoch::NONE);
            cx.host.event(Notice::HolderLost { app, slot: None, peer, epoch });
        }
        let mut members = self.guardians.set.members.clone();
        members.retain(|member| !self.guardians.lost.contains(member));
        members.truncate(GUARDIANS - 1);
        members.push(candidate);
        let number = self.guardians.set.version.number.saturating_add(1);
        let signer = (self.id(), slot, cx.me.id);
        let set = GuardianSet::signed(cx.host, signer, SetVersion { number, by }, members);
        let mut older: Vec<Handle> = self.older.peers().filter(|peer| *peer != candidate).collect();
        older.sort_unstable();
        older.dedup();
        let others = self.suppliers.iter().filter(|peer| **peer != candidate && !older.contains(peer));
        let others: Vec<Handle> = others.copied().collect();
        older.extend(others);
        older.truncate(PEERS_MAX);
        let slots = self.all_known(me);
        let told = slots.iter().map(|known| (known.slot, known.epoch)).chain([(slot, by)]);
        let evidence = self.chain.evidence(told, cx.me.id).into();
        let (application, guardians) = (self.application.clone().into(), set.clone());
        let message = Message::Appoint { application, guardians, slots, older, evidence };
        cx.host.send(candidate, message);
        self.guardians.proposed = Some((candidate, set));
    }

    pub fn on_appointed<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle) {
        let me = cx.me.handle;
        match self.guardians.proposed.take() {
            Some((candidate, set)) if candidate == from => {
                self.adopt_guardians(cx, me, set.clone());
                for peer in self.partners(cx.me.handle) {
                    cx.host.send(peer, Message::Guardians { app: self.id(), guardians: set.clone() });
                }
                self.due = cx.now;
            }
            other => self.guardians.proposed = other,
        }
    }

    /// Somebody wants this node as a guardian. One that has no part in the application yet begins with what
    /// is stated; false when the set is not proven.
    pub fn on_appoint<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        set: GuardianSet,
        evidence: &Evidence,
        by_holder: bool,
    ) -> bool {
        if !self.has_duties() {
            self.chain = self.begun_with(evidence);
        } else {
            self.admit(cx, evidence);
        }
        if !self.believes_set(cx, &set) || !self.is_member(cx, from) {
            return false;
        }
        self.take_up_duty(cx.now);
        // Who appoints has the files or knows who has: a submitter above all, whose first holder may die
        // before anybody fetched them there.
        self.add_supplier(from);
        let rank = set.members.iter().position(|member| *member == cx.me.handle).unwrap_or(0) as u16;
        let guard = self.guard.get_or_insert(Guard::new(cx.now, rank));
        guard.rank = rank;
        if by_holder {
            self.meet_holder(cx, from);
        }
        self.adopt_guardians(cx, from, set);
        let app = self.id();
        cx.acknowledge(app, from, Message::Appointed { app });
        self.due = cx.now;
        true
    }

    /// What a node that has no part in the application believes when it gets one.
    pub(super) fn begun_with(&self, evidence: &Evidence) -> Chain {
        let mut chain = Chain::new(self.id(), self.application.record.submitter);
        chain.begin_with(evidence);
        chain
    }

    /// The submitter looks for a slot only once one was confirmed: the holder may have died before it spoke
    /// to anybody.
    pub fn on_locate_of_submitter<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle) {
        if self.guard.is_some() && cx.host.id_of(from) == Some(self.application.record.submitter) {
            self.meet_holder(cx, from);
        }
    }

    /// A holder spoke to this guardian: from now on there is something to guard.
    pub fn meet_holder<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle) {
        let Some(guard) = self.guard.as_mut().filter(|guard| !guard.has_met_holder) else { return };
        guard.has_met_holder = true;
        cx.books.journal.mark(self.application.record.id);
        let mut sources = self.sources(cx);
        sources.retain(|peer| *peer != from);
        sources.insert(0, from);
        cx.host.event(Notice::KeepFiles { application: self.application.clone(), sources });
    }

    pub fn tick_guard<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.guard_due(cx.config) <= cx.now {
            self.guard = None;
            cx.books.journal.mark(self.application.record.id);
            self.never_began = self.mine.is_empty();
            self.leave_when_idle(cx);
        }
    }

    pub fn guard_due(&self, config: &Config) -> Instant {
        self.guard.as_ref().map_or(Instant::FAR, |guard| guard.lapses(config))
    }

    /// The lowest slots that have not ended, as far as known: those that a guardian always watches.
    pub fn guarded(&self) -> impl Iterator<Item = (u16, &Entry)> {
        self.known.iter().filter(|(_, entry)| !entry.state.is_final()).take(GUARDED)
    }

    /// Nobody may be left: a guardian that has just missed all that it guards looks whether there is.
    pub fn tick_wide(&mut self, now: Instant) {
        let Some(guard) = self.guard.as_ref().filter(|guard| guard.has_met_holder) else { return };
        let was_wide = guard.wide_until.is_some();
        let is_silent = |entry: &Entry| entry.live_holder().is_none() || entry.watch.has_missed();
        let are_silent = self.guarded().next().is_some() && self.guarded().all(|(_, entry)| is_silent(entry));
        let wide_until = if are_silent { Some(now + WIDE_FOR) } else { guard.wide_until };
        let wide_until = wide_until.filter(|until| *until > now);
        if wide_until.is_some() && !was_wide {
            let guarded: Vec<u16> = self.guarded().map(|(slot, _)| slot).collect();
            // What an earlier time left half suspected proves nothing now.
            let far = self.known.iter_mut().filter(|(slot, _)| !guarded.contains(slot));
            far.for_each(|(_, entry)| entry.watch.answered(now));
        }
        if let Some(guard) = &mut self.guard {
            guard.wide_until = wide_until;
        }
    }

    pub fn is_wide(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.wide_until.is_some())
    }

    /// Nobody is left who could have noticed that the slot is lost: all slots around it are known, and lost
    /// or so new that their holders see nothing yet.
    fn is_forsaken(&self, slot: u16, now: Instant) -> bool {
        let is_blind = |other: u16| self.known.entry(other).is_some_and(|entry| !entry.is_seasoned(now));
        window::around(slot, self.slots()).all(is_blind)
    }

    /// A guardian recruits, in rank order, what no holder can recruit: slots of which nobody around is left.
    /// When all that it guards is lost and it does not know of everybody around, it recruits the lowest slot
    /// behind all holders, and those that their old holders offer.
    pub fn turn_as_guardian(&self, slot: u16, now: Instant) -> Option<window::Turn> {
        let guard = self.guard.as_ref().filter(|guard| guard.has_met_holder)?;
        let order = 2 * window::REACH + guard.rank;
        if guard.wide_until.is_some() && self.is_forsaken(slot, now) {
            return Some(window::Turn { place: guard.rank, order });
        }
        let is_lowest = self.guarded().next().is_some_and(|(lowest, _)| lowest == slot);
        let is_offered = |(at, entry): (u16, &Entry)| at == slot && entry.offer.is_some();
        let is_next = is_lowest || self.guarded().any(is_offered);
        let are_lost = self.guarded().all(|(_, entry)| entry.lost.is_some());
        (is_next && are_lost).then_some(window::Turn { place: guard.rank + 1, order })
    }
}
