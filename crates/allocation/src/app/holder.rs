//! The life of a slot on the node that holds it: confirmed, announced, started, ended, given up.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use super::App;
use crate::context::Context;
use crate::message::{Confirm, Message, Refused};
use crate::mine::{Mine, Phase, Then};
use crate::{Epoch, Exit, Host, Known, NotStarted, Notice, Restart, SlotRun, SlotState, StopReason, Wish};

impl App {
    /// A recruiter wants this node to hold a slot. Records have been compared already.
    pub fn on_confirm<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, confirm: Confirm) {
        let Confirm { slot, epoch, hold, guardians, neighbours, older, peers, .. } = confirm;
        let app = self.id();
        let refuse = |cx: &mut Context<'_, H>, why| {
            cx.books.ledger.release(from, hold);
            cx.host.send(from, Message::Refused { app, slot, epoch, why });
        };
        if slot >= self.slots() {
            return refuse(cx, Refused::Record(self.application.record.clone().into()));
        }
        if let Some(mine) = self.mine(slot) {
            let is_held = mine.is_held();
            let known = Known { slot, epoch: mine.epoch, holder: Some(cx.me.handle), state: mine.state() };
            if is_held && mine.epoch.has_same_recruiter(&epoch) && mine.epoch <= epoch {
                cx.books.ledger.release(from, hold);
                cx.host.send(from, Message::Confirmed { app, slot, epoch: known.epoch });
                return;
            }
            return refuse(cx, if is_held { Refused::Higher(known) } else { Refused::NoHold });
        }
        if let Some(higher) = self.known.entry(slot).filter(|entry| entry.epoch > epoch) {
            let higher = higher.known(slot);
            return refuse(cx, Refused::Higher(higher));
        }
        if !cx.books.ledger.confirm(cx.now, from, hold, app, slot) {
            return refuse(cx, Refused::NoHold);
        }
        self.take_up_duty(cx.now);
        self.abort_recruit(cx, slot);
        self.known.remove(slot);
        self.guardians.adopt(cx.now, guardians, &mut cx.books.rng);
        for known in neighbours.iter().filter(|known| known.slot != slot) {
            self.learn(cx, *known);
        }
        for peer in older {
            self.suspect(cx.now, slot, peer);
        }
        self.add_supplier(from);
        let mut members = peers;
        members.extend(self.known.holders());
        members.retain(|peer| *peer != cx.me.handle);
        cx.host.event(Wish::JoinCollection { app, members });
        let mut waiting = self.partners(cx.me.handle);
        waiting.extend(self.older.of(slot).filter(|peer| *peer != cx.me.handle));
        waiting.sort_unstable();
        waiting.dedup();
        let phase = Phase::Announcing { waiting, until: cx.now + cx.config.announce_limit, resend: cx.now };
        self.mine.push(Mine::new(slot, epoch, phase, from));
        self.mine.sort_by_key(|mine| mine.slot);
        // What the neighbours' news above made this node yield may have been all that it had.
        self.left = None;
        cx.host.send(from, Message::Confirmed { app, slot, epoch });
        self.tick_mine(cx);
        self.due = cx.now;
    }

    /// A new holder of a slot speaks to this node before it starts the program.
    pub fn on_announce<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        let higher = self
            .newest(slot, cx.me.handle)
            .filter(|known| known.holder != Some(from) && (known.epoch > epoch || known.state.is_final()));
        cx.host.send(from, Message::Announced { app: self.id(), slot, epoch, higher });
        let report = crate::SlotReport { slot, epoch, state: SlotState::Starting, done_run: 0 };
        // Guardians hear announcements as well, but stay outside the application's collection.
        if higher.is_none() && self.mine.iter().any(Mine::is_held) {
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
        let Some(mine) = self.mine_mut(slot).filter(|mine| mine.epoch == epoch) else { return };
        if let Phase::Announcing { waiting, .. } = &mut mine.phase {
            waiting.retain(|peer| *peer != from);
        }
        match higher.filter(|higher| higher.slot == slot) {
            Some(higher) => self.learn(cx, higher),
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
            Phase::Announcing { .. } | Phase::Pausing { .. } | Phase::NoFiles { .. } | Phase::Ended(_) => {
                self.after_stop(cx, slot, then);
            }
        }
        self.due = cx.now;
    }

    fn after_stop<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, then: Then) {
        cx.books.ledger.free(self.id(), slot);
        match then {
            Then::End(state) => {
                if let Some(mine) = self.mine_mut(slot) {
                    mine.phase = Phase::Ended(state);
                }
                self.tell_partners(cx);
            }
            Then::Leave { winner } => {
                self.mine.retain(|mine| mine.slot != slot);
                if let Some(winner) = winner {
                    self.learn(cx, winner);
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
        match (restart, exit.is_success()) {
            (Restart::Never | Restart::OnFailure, true) => self.end_slot(cx, run.slot, SlotState::Done(exit)),
            (Restart::Never, false) => self.end_slot(cx, run.slot, SlotState::Failed(exit)),
            (Restart::OnFailure, false) | (Restart::Always, _) => self.count_failure(cx, run.slot, exit),
        }
    }

    pub fn on_not_started<H: Host>(&mut self, cx: &mut Context<'_, H>, run: SlotRun, why: NotStarted) {
        let exit = match why {
            NotStarted::Broken(exit) => exit,
            NotStarted::FilesLost => {
                let until = cx.now + cx.config.files_pause;
                let Some(mine) = self.mine_mut(run.slot).filter(|mine| mine.epoch == run.epoch) else {
                    return;
                };
                match mine.phase {
                    Phase::Starting { .. } => {
                        mine.phase = Phase::NoFiles { until };
                        self.own_slot_changed(cx, run.slot);
                    }
                    Phase::Stopping { then } => self.after_stop(cx, run.slot, then),
                    _ => {}
                }
                return;
            }
        };
        self.on_exited(cx, run, exit);
    }

    fn count_failure<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, exit: Exit) {
        let is_lasting = self.application.spec.restart == Restart::Always;
        let Some(mine) = self.mine_mut(slot) else { return };
        if mine.fails_too_often(cx.now, cx.config) && !is_lasting {
            self.end_slot(cx, slot, SlotState::Failed(exit));
        } else {
            mine.pause(cx.now, cx.config);
            self.own_slot_changed(cx, slot);
        }
    }

    fn end_slot<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, state: SlotState) {
        cx.books.ledger.free(self.id(), slot);
        if let Some(mine) = self.mine_mut(slot) {
            mine.phase = Phase::Ended(state);
        }
        self.own_slot_changed(cx, slot);
        self.check_finished(cx);
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
                Phase::Pausing { until } | Phase::NoFiles { until } if *until <= now => self.start(cx, slot),
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
