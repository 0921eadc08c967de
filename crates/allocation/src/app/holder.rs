//! The life of a slot on the node that holds it: confirmed, announced, started, ended, given up.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use super::{App, BUSY_PERIOD};
use crate::context::Context;
use crate::failure::{History, Next};
use crate::knowledge::Entry;
use crate::message::{Confirm, Message, Refused};
use crate::mine::{After, Mine, Phase, Then};
use crate::proof::{Evidence, Final, Signed};
use crate::{
    Connection, Epoch, Exit, FailureKind, Fault, Host, Known, NotStarted, Notice, Restart, SlotRun,
    SlotState, StopReason, Wish,
};

impl App {
    /// A recruiter wants this node to hold a slot. Records have been compared already.
    pub fn on_confirm<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, confirm: Confirm) {
        let Confirm { slot, epoch, hold, guardians, neighbours, older, peers, evidence, .. } = confirm;
        let (failures, failing, sources) = (confirm.failures, confirm.failing, confirm.sources);
        let app = self.id();
        let refuse = |cx: &mut Context<'_, H>, why| {
            cx.books.ledger.release(cx.now, from, hold);
            cx.host.send(from, Message::Refused { app, slot, epoch, why });
        };
        if slot >= self.slots() {
            return refuse(cx, Refused::Record(self.application.record.clone().into()));
        }
        // A newcomer begins with what it is told; a member believes what is proven.
        let is_newcomer = !self.has_duties();
        let start = is_newcomer.then(|| self.begun_with(&evidence));
        if !is_newcomer {
            self.admit(cx, &evidence);
        }
        let holder = start.as_ref().unwrap_or(&self.chain).holder(slot, epoch);
        if holder != Some(cx.me.id) || cx.host.id_of(from) != Some(epoch.recruiter) {
            cx.books.fault(Fault::NotEntitled);
            return refuse(cx, Refused::NoHold);
        }
        if let Some(mine) = self.mine(slot) {
            let is_held = mine.is_held();
            let known = Known { slot, epoch: mine.epoch, holder: Some(cx.me.handle), state: mine.state() };
            if is_held && mine.epoch.has_same_recruiter(&epoch) && mine.epoch <= epoch {
                cx.books.ledger.release(cx.now, from, hold);
                cx.acknowledge(app, from, Message::Confirmed { app, slot, epoch: known.epoch });
                return;
            }
            let evidence = self.chain.evidence([(slot, known.epoch)], cx.me.id).into();
            return refuse(cx, if is_held { Refused::Higher(known, evidence) } else { Refused::NoHold });
        }
        if let Some(higher) = self.proven(slot, cx.me.handle).filter(|known| known.epoch > epoch) {
            let evidence = self.chain.evidence([(slot, higher.epoch)], cx.me.id).into();
            return refuse(cx, Refused::Higher(higher, evidence));
        }
        if !cx.books.ledger.confirm(cx.now, from, hold, app, slot) {
            return refuse(cx, Refused::NoHold);
        }
        if cx.host.id_of(from) == Some(self.application.record.submitter) {
            cx.books.ledger.forgive(from);
        }
        if let Some(start) = start {
            self.chain = start;
        }
        self.take_up_duty(cx.now);
        self.abort_recruit(cx, slot);
        self.known.remove(slot);
        if self.believes_set(cx, &guardians) {
            self.guardians.adopt(cx.now, guardians, &mut cx.books.rng);
        }
        for known in neighbours.iter().filter(|known| known.slot != slot) {
            self.learn_stated(cx, from, *known);
        }
        // Where something older is proven of a slot a plan counts for nothing, and yet its holder is to hear
        // of this one: each of the two may know only whom the other one replaced.
        let planned = neighbours.iter().filter(|known| known.state == SlotState::Planned);
        let planned: Vec<Handle> = planned.filter_map(|known| known.holder).collect();
        for peer in sources.into_iter().filter(|peer| *peer != cx.me.handle) {
            self.add_supplier(peer);
        }
        self.add_supplier(from);
        for peer in older {
            self.suspect(cx.now, slot, peer);
        }
        let mut members = peers;
        members.extend(self.known.holders());
        members.retain(|peer| *peer != cx.me.handle);
        cx.host.event(Wish::JoinCollection { app, members });
        let mut waiting = self.partners(cx.me.handle);
        waiting.extend(self.older.of(slot).chain(planned).filter(|peer| *peer != cx.me.handle));
        waiting.sort_unstable();
        waiting.dedup();
        let told = waiting.clone();
        let phase = Phase::Announcing { waiting, until: cx.now + cx.config.announce_limit, resend: cx.now };
        failing.into_iter().for_each(|peer| self.is_failing(peer));
        let mut mine = Mine::new(slot, epoch, phase, from);
        mine.history = History::told(failures);
        self.mine.push(mine);
        self.mine.sort_by_key(|mine| mine.slot);
        // What the neighbours' news above made this node yield may have been all that it had.
        self.left = None;
        cx.books.journal.mark(app);
        cx.acknowledge(app, from, Message::Confirmed { app, slot, epoch });
        if epoch.recruiter != self.application.record.submitter {
            // Nobody else has the link of a slot that was recruited anew; those of a submission are told to
            // all that it appoints and confirms.
            let own = Known { slot, epoch, holder: Some(cx.me.handle), state: SlotState::Starting };
            told.into_iter().for_each(|peer| self.tell(cx, peer, alloc::vec![own]));
        }
        self.trim();
        self.tick_mine(cx);
        self.due = cx.now;
    }

    /// A new holder of a slot speaks to this node before it starts the program.
    pub fn on_announce<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        let higher = self
            .proven(slot, cx.me.handle)
            .filter(|known| known.holder != Some(from) && (known.epoch > epoch || known.state.is_final()));
        cx.host.send(from, Message::Announced { app: self.id(), slot, epoch, higher });
        if higher.is_some() {
            self.enlighten(cx, from, slot);
        }
        let report = crate::SlotReport { slot, epoch, state: SlotState::Starting, done_run: 0 };
        // Guardians hear announcements as well, but stay outside the application's collection.
        let is_holder = self.is_holder(cx, from, slot, epoch);
        if higher.is_none() && is_holder && self.mine.iter().any(Mine::is_held) {
            cx.host.event(Wish::JoinCollection { app: self.id(), members: alloc::vec![from] });
        }
        self.hear(cx, from, report);
    }

    pub fn on_announced<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slot: u16,
        epoch: Epoch,
        higher: Option<Known>,
    ) {
        // A refusal without its proof is waited for, as long as for an answer.
        let is_proven = higher.is_none_or(|higher| {
            let is_over = higher.state.is_final();
            if is_over { self.chain.final_state(slot).is_some() } else { higher.epoch <= epoch }
        });
        let Some(mine) = self.mine_mut(slot).filter(|mine| mine.epoch == epoch) else { return };
        if let Phase::Announcing { waiting, .. } = &mut mine.phase
            && is_proven
        {
            waiting.retain(|peer| *peer != from);
        }
        match higher.filter(|higher| higher.slot == slot) {
            Some(higher) => self.learn(cx, from, higher),
            None => self.tick_mine(cx),
        }
    }

    /// A higher epoch of an own slot runs elsewhere: the program stops first, then the watchers are told.
    pub fn yield_slot<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, winner: Known) {
        self.give_up(cx, slot, Then::Leave { winner: Some(winner) }, StopReason::Yielded);
    }

    /// The slot was done (or failed) elsewhere: there is nothing left to do here.
    pub fn adopt_final<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, state: SlotState) {
        self.give_up(cx, slot, Then::End(state), StopReason::Yielded);
    }

    pub fn stop_slot<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, why: StopReason) {
        self.give_up(cx, slot, Then::Leave { winner: None }, why);
    }

    fn give_up<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, then: Then, why: StopReason) {
        let app = self.id();
        let Some(mine) = self.mine_mut(slot) else { return };
        match mine.phase {
            Phase::Stopping { then: ref mut already } => *already = then,
            Phase::Starting { .. } | Phase::Running => {
                mine.phase = Phase::Stopping { then };
                let run = mine.run(app);
                cx.host.event(Notice::Stop { run, why });
            }
            Phase::Announcing { .. } | Phase::Pausing { .. } | Phase::Moving { .. } | Phase::Ended(_) => {
                self.after_stop(cx, slot, then);
            }
        }
        self.due = cx.now;
    }

    fn after_stop<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, then: Then) {
        // It may be looked for another node for it, while it is held here.
        self.abort_recruit(cx, slot);
        cx.books.ledger.free(self.id(), slot);
        cx.books.journal.mark(self.id());
        match then {
            Then::End(state) => {
                if let Some(mine) = self.mine_mut(slot) {
                    mine.phase = Phase::Ended(state);
                }
                self.tell_partners(cx);
                self.tell_end(cx, slot);
            }
            Then::Leave { winner } => {
                self.mine.retain(|mine| mine.slot != slot);
                if let Some(winner) = winner {
                    self.take(cx, winner, None);
                    for peer in self.partners(cx.me.handle) {
                        self.tell(cx, peer, alloc::vec![winner]);
                    }
                }
                self.leave_when_idle(cx);
            }
        }
    }

    pub fn on_started<H: Host>(&mut self, cx: &mut Context<'_, H>, run: SlotRun) {
        let Some(mine) = self.mine_mut(run.slot).filter(|mine| mine.epoch == run.epoch) else { return };
        if matches!(mine.phase, Phase::Starting { .. }) {
            mine.phase = Phase::Running;
            mine.runs_since = cx.now;
            mine.history.is_started();
            cx.books.troubles.is_over(run.app);
            self.own_slot_changed(cx, run.slot);
        }
    }

    /// What comes before the start goes on: files arrive, or are laid out.
    pub fn on_progress(&mut self, now: Instant, run: SlotRun) {
        let Some(mine) = self.mine_mut(run.slot).filter(|mine| mine.epoch == run.epoch) else { return };
        if let Phase::Starting { since } = &mut mine.phase {
            *since = now;
        }
    }

    pub fn on_exited<H: Host>(&mut self, cx: &mut Context<'_, H>, run: SlotRun, exit: Exit) {
        let restart = self.application.spec.restart;
        let Some(mine) = self.mine_mut(run.slot).filter(|mine| mine.epoch == run.epoch) else { return };
        match mine.phase {
            Phase::Stopping { then } => return self.after_stop(cx, run.slot, then),
            Phase::Starting { .. } | Phase::Running => {}
            _ => return,
        }
        mine.judge_run(cx.now, cx.config);
        match (restart, exit.is_success()) {
            (Restart::Never | Restart::OnFailure, true) => self.end_slot(cx, run.slot, SlotState::Done(exit)),
            (Restart::Never, false) => self.end_slot(cx, run.slot, SlotState::Failed(exit)),
            (Restart::Always, true) => {
                mine.pause(cx.now, cx.config, After::End(exit));
                self.own_slot_changed(cx, run.slot);
            }
            (Restart::OnFailure | Restart::Always, false) => self.count_failure(cx, run.slot, exit),
        }
    }

    pub fn on_not_started<H: Host>(&mut self, cx: &mut Context<'_, H>, run: SlotRun, why: NotStarted) {
        let trouble = match why {
            NotStarted::Broken(exit) => return self.on_exited(cx, run, exit),
            NotStarted::Trouble(trouble) => trouble,
        };
        let (me, restart) = (cx.me, self.application.spec.restart);
        let Some(mine) = self.mine_mut(run.slot).filter(|mine| mine.epoch == run.epoch) else { return };
        match mine.phase {
            Phase::Stopping { then } => return self.after_stop(cx, run.slot, then),
            Phase::Starting { .. } => {}
            _ => return,
        }
        let why = FailureKind::Node(trouble);
        mine.history.note(me.id, me.handle, why);
        let next = mine.history.next(restart, why, false);
        self.follow(cx, run.slot, why, next);
    }

    /// The program failed: after a few times in a short while it is tried on another node.
    fn count_failure<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, exit: Exit) {
        let (me, restart) = (cx.me, self.application.spec.restart);
        self.is_failing(me.handle);
        let why = FailureKind::Program(exit);
        let is_well = |holder: Handle| !self.failing.contains(&holder);
        let runs =
            |entry: &Entry| entry.state == SlotState::Running && entry.live_holder().is_some_and(is_well);
        let others_run = self.known.iter().any(|(_, entry)| runs(entry));
        let Some(mine) = self.mine_mut(slot) else { return };
        let next = if mine.fails_too_often(cx.now, cx.config) {
            mine.history.note(me.id, me.handle, why);
            mine.history.next(restart, why, others_run)
        } else {
            Next::Here { pause: None }
        };
        self.follow(cx, slot, why, next);
    }

    fn follow<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, why: FailureKind, next: Next) {
        let Some(mine) = self.mine_mut(slot) else { return };
        match (next, why) {
            (Next::Final, FailureKind::Program(exit)) => {
                return self.end_slot(cx, slot, SlotState::Failed(exit));
            }
            (Next::Elsewhere { pause }, _) => mine.phase = Phase::Moving { until: cx.now + pause, why },
            (Next::Here { pause: Some(pause) }, _) => {
                mine.phase = Phase::Pausing { until: cx.now + pause, after: After::Failure(why) };
            }
            (Next::Here { pause: None } | Next::Final, _) => {
                mine.pause(cx.now, cx.config, After::Failure(why))
            }
        }
        self.own_slot_changed(cx, slot);
    }

    /// No other node could be had for a slot that is to move. `is_only`: no other one matches.
    pub fn stay<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, is_only: bool) {
        let restart = self.application.spec.restart;
        let Some(mine) = self.mine(slot) else { return };
        if let Phase::Moving { why, .. } = mine.phase {
            let next = mine.history.next_when_alone(restart, why, is_only);
            self.follow(cx, slot, why, next);
        }
    }

    /// Looks for another node; this one stays the slot's holder until that has confirmed.
    fn tick_move<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let pause = match cx.host.connection(cx.now) {
            Connection::Connected if cx.now >= self.quiet_until => {
                self.start_recruit(cx, slot, 0);
                BUSY_PERIOD
            }
            Connection::Connected | Connection::Pending => BUSY_PERIOD,
            // It may take an hour, and what failed may work again here.
            Connection::CutOff => return self.stay(cx, slot, false),
        };
        if let Some(Phase::Moving { until, .. }) = self.mine_mut(slot).map(|mine| &mut mine.phase) {
            *until = cx.now + pause;
        }
    }

    fn end_slot<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, state: SlotState) {
        cx.books.ledger.free(self.id(), slot);
        let is_end_secret = cx.books.journal.is_on();
        if let Some(mine) = self.mine_mut(slot) {
            mine.phase = Phase::Ended(state);
            mine.is_end_secret = is_end_secret;
        }
        cx.books.journal.mark(self.id());
        if !is_end_secret {
            self.tell_own_end(cx, slot);
        }
    }

    /// Signs how an own slot ended, and tells it.
    fn tell_own_end<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        self.sign_end(cx, slot);
        self.own_slot_changed(cx, slot);
        self.tell_end(cx, slot);
        self.check_finished(cx);
    }

    /// The proof that an own slot ended, as this node saw it.
    pub(super) fn sign_end<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let Some((epoch, Phase::Ended(state))) = self.mine(slot).map(|mine| (mine.epoch, &mine.phase)) else {
            return;
        };
        let ended = Final { app: self.id(), slot, epoch, state: *state, holder: cx.me.id };
        let finals = alloc::vec![Signed::by(cx.host, ended)];
        self.chain.admit(&Evidence { finals, ..Evidence::default() });
    }

    /// What was handed over of this application is on disk: slots that ended may be told.
    pub fn on_stored<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let ended: Vec<u16> =
            self.mine.iter().filter(|mine| mine.is_end_secret).map(|mine| mine.slot).collect();
        for slot in ended {
            if let Some(mine) = self.mine_mut(slot) {
                mine.is_end_secret = false;
            }
            self.tell_own_end(cx, slot);
        }
    }

    fn own_slot_changed<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        if let Some(known) = self.newest(slot, cx.me.handle) {
            cx.host.event(Notice::SlotChanged { app: self.id(), slot: known });
        }
        self.tell_partners(cx);
        self.due = cx.now;
    }

    pub fn tick_mine<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let (now, config) = (cx.now, cx.config);
        let slots: Vec<u16> = self.mine.iter().map(|mine| mine.slot).collect();
        for slot in slots {
            let versions = self.versions();
            let app = self.id();
            let is_moving = self.recruits.contains_key(&slot);
            let Some(mine) = self.mine_mut(slot) else { continue };
            let epoch = mine.epoch;
            match &mut mine.phase {
                Phase::Announcing { waiting, until, resend } => {
                    if waiting.is_empty() || *until <= now {
                        self.start(cx, slot);
                    } else if *resend <= now {
                        *resend = now + config.reply_timeout;
                        for peer in waiting.iter() {
                            cx.host.send(*peer, Message::Announce { app, versions, slot, epoch });
                        }
                    }
                }
                Phase::Starting { since } if now.since(*since) >= config.start_limit => {
                    self.stop_slot(cx, slot, StopReason::Freed);
                }
                Phase::Pausing { until, .. } if *until <= now => self.start(cx, slot),
                Phase::Moving { until, .. } if *until <= now && !is_moving => self.tick_move(cx, slot),
                _ => {}
            }
        }
    }

    fn start<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let mut sources = self.sources(cx);
        let (app, application) = (self.id(), self.application.clone());
        let Some(mine) = self.mine_mut(slot) else { return };
        sources.push(mine.confirmed_by);
        sources.sort_unstable();
        sources.dedup();
        sources.retain(|peer| *peer != cx.me.handle);
        mine.phase = Phase::Starting { since: cx.now };
        mine.runs_since = cx.now;
        let (run, restarts) = (mine.run(app), mine.restarts);
        mine.restarts += 1;
        cx.host.event(Notice::Start { run, application, sources, restarts });
        if restarts == 0 {
            self.own_slot_changed(cx, slot);
        }
    }
}
