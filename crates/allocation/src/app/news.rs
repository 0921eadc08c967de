//! News of slots: who holds which, how far it is, and when all of them are done.

use xtreem_base::Handle;

use super::App;
use crate::context::Context;
use crate::knowledge::{Entry, Learned};
use crate::message::KNOWN_MAX;
use crate::mine::Mine;
use crate::{Fault, Host, Known, Notice, SlotReport, SlotState};

impl App {
    /// A holder speaks of its own slot: news and a sign of life in one.
    pub fn hear<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, report: SlotReport) {
        if report.slot >= self.slots() {
            cx.books.fault(Fault::NoSuchSlot);
            return;
        }
        if from == cx.me.handle {
            return;
        }
        let SlotReport { slot, epoch, state, done_run } = report;
        let newest = self.proven(slot, cx.me.handle);
        if newest.is_some_and(|known| known.epoch > epoch) {
            // It has not heard who holds the slot now.
            self.enlighten(cx, from, slot);
        }
        if !self.is_holder(cx, from, slot, epoch) {
            match self.chain.holder(slot, epoch) {
                None if self.wants(slot) => self.ask_proof(cx, from, slot, epoch),
                None => {}
                Some(_) => cx.books.fault(Fault::NotEntitled),
            }
            return;
        }
        self.meet_holder(cx, from);
        if matches!(state, SlotState::Failing(_)) {
            self.is_failing(from);
        }
        let news = Known { slot, epoch, holder: Some(from), state };
        let is_there = |entry: &&mut Entry| entry.epoch == epoch && entry.holder.is_some();
        if let Some(state) = self.proven_state(cx, from, news) {
            self.take(cx, Known { state, ..news }, Some(from));
        } else if let Some(entry) = self.known.entry_mut(slot).filter(is_there) {
            // So much is true of it in any case.
            entry.mark_alive(cx.now);
        }
        if let Some(entry) = self.known.entry_mut(slot).filter(|entry| entry.epoch == epoch) {
            entry.heard = Some(cx.now);
            entry.done_run = entry.done_run.max(done_run.min(self.application.record.slots));
        }
        if done_run >= self.slots() {
            self.finish(cx);
        }
        // Another holder finished it before this one was recruited across a split: it is not done twice.
        let known =
            self.known.entry(slot).filter(|entry| entry.epoch == epoch).map(|entry| entry.known(slot));
        if let Some(known) = known.filter(|known| known.state.is_final() && !state.is_final()) {
            self.tell(cx, from, alloc::vec![known]);
        }
    }

    /// The state of a slot as it is proven. An end that is only named is asked for, and says nothing
    /// meanwhile: `from` may have restarted since the slot ended, and then it is not the incarnation that
    /// held it while it ran.
    fn proven_state<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        news: Known,
    ) -> Option<SlotState> {
        let Known { slot, epoch, state, .. } = news;
        match self.chain.final_state(slot) {
            Some(ended) => Some(ended),
            None if state.is_final() => {
                self.ask_proof(cx, from, slot, epoch);
                None
            }
            None => Some(state),
        }
    }

    /// Whether there is room to know of this slot: guardians of large applications know the lowest ones.
    fn wants(&self, slot: u16) -> bool {
        let is_lower = self.known.iter().next_back().is_none_or(|(highest, _)| slot <= highest);
        is_lower || self.known.len() < KNOWN_MAX || self.watched().contains(&slot)
    }

    /// Somebody speaks of any slot. What is not proven changes nothing, and is asked for.
    pub fn learn<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, news: Known) {
        let Known { slot, epoch, holder, state } = news;
        let is_own = holder == Some(cx.me.handle);
        if slot >= self.slots() || state == SlotState::Planned || (is_own && !state.is_final()) {
            return;
        }
        let is_old = self.proven(slot, cx.me.handle).is_some_and(|known| known.epoch > epoch);
        if is_old && !state.is_final() {
            return;
        }
        let Some(id) = self.chain.holder(slot, epoch) else {
            return self.ask_proof(cx, from, slot, epoch);
        };
        // Where the holder is, and whether it is the incarnation that holds the slot, no link says: for that
        // a member is believed, and the holder itself.
        let is_meant = holder.is_none_or(|holder| cx.host.id_of(holder) == Some(id));
        if !is_meant || !self.is_member(cx, from) {
            cx.books.fault(Fault::NotEntitled);
            return;
        }
        if let Some(state) = self.proven_state(cx, from, news) {
            self.take(cx, Known { state, ..news }, holder.filter(|holder| *holder == from));
        }
    }

    /// The recruiter of an own slot, or who appointed this node, states who holds or is to hold others.
    pub fn learn_stated<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, news: Known) {
        if news.slot >= self.slots() || news.holder == Some(cx.me.handle) {
            return;
        }
        match news.holder {
            _ if news.state != SlotState::Planned && self.chain.holder(news.slot, news.epoch).is_some() => {
                self.learn(cx, from, news);
            }
            Some(holder) if self.mine(news.slot).is_none() => {
                self.known.plan(cx.now, news.slot, news.epoch, holder, &mut cx.books.rng);
                self.due = cx.now;
            }
            _ => {}
        }
    }

    /// Takes what is proven.
    pub(super) fn take<H: Host>(&mut self, cx: &mut Context<'_, H>, news: Known, first_hand: Option<Handle>) {
        let slot = news.slot;
        if let Some(mine) = self.mine(slot).filter(|mine| mine.is_held()) {
            if news.state.is_final() && !mine.state().is_final() {
                self.adopt_final(cx, slot, news.state);
            } else if mine.epoch == news.epoch {
                return;
            } else if mine.epoch < news.epoch {
                self.tell_placed(cx, news);
                self.yield_slot(cx, slot, news);
            } else if let Some(older) = first_hand {
                self.suspect(cx.now, slot, older);
            }
            return;
        }
        match self.known.learn(cx.now, news, first_hand.is_some(), &mut cx.books.rng) {
            Learned::Same => {}
            Learned::Changed => self.settle(cx, slot),
            Learned::Replaced { before } => {
                if let Some(before) = before {
                    self.suspect(cx.now, slot, before);
                }
                self.settle(cx, slot);
            }
            Learned::Stale => {
                if let Some(entry) = self.known.entry_mut(slot) {
                    if news.state.is_final() && !entry.state.is_final() {
                        entry.state = news.state;
                        if let Some(holder) = entry.holder {
                            let told = Known { state: news.state, ..entry.known(slot) };
                            self.tell(cx, holder, alloc::vec![told]);
                        }
                        self.settle(cx, slot);
                    } else if let Some(older) = first_hand {
                        self.suspect(cx.now, slot, older);
                    }
                }
            }
        }
    }

    /// After news of a slot: who runs it now is no longer looked for.
    fn settle<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        cx.books.journal.mark(self.id());
        let Some(entry) = self.known.entry(slot) else { return };
        let (is_settled, known) = (entry.lost.is_none() || entry.state.is_final(), entry.known(slot));
        if let Some(holder) = entry.live_holder()
            && self.older.of(slot).any(|older| older == holder)
        {
            self.older.remove(slot, holder);
        }
        if is_settled {
            self.tell_placed(cx, known);
            self.abort_recruit(cx, slot);
        }
        cx.host.event(Notice::SlotChanged { app: self.id(), slot: known });
        self.due = cx.now;
    }

    /// How many slots from `slot` upwards are known to have ended, done or failed.
    pub fn done_run(&self, slot: u16, state: SlotState) -> u16 {
        if !state.is_final() {
            return 0;
        }
        let slots = u32::from(self.slots());
        let mut run = 1u32;
        while run < slots {
            let next = ((u32::from(slot) + run) % slots) as u16;
            let is_done = match self.mine(next) {
                Some(mine) => u32::from(mine.state().is_final()),
                None => self.known.entry(next).map_or(0, |entry| {
                    if entry.state.is_final() { u32::from(entry.done_run.max(1)) } else { 0 }
                }),
            };
            if is_done == 0 {
                break;
            }
            run += is_done;
        }
        run.min(slots) as u16
    }

    /// Whether a slot is known to be done or failed: by itself, or within a run of done ones.
    pub fn is_over(&self, slot: u16, me: Handle) -> bool {
        let slots = u32::from(self.slots());
        let covers = |from: u16, run: u16| {
            let steps = (u32::from(slot) + slots - u32::from(from)) % slots;
            steps < u32::from(run)
        };
        self.is_finished
            || self.newest(slot, me).is_some_and(|known| known.state.is_final())
            || self.known.iter().any(|(from, entry)| {
                matches!(entry.state, SlotState::Done(_)) && covers(from, entry.done_run)
            })
    }

    /// Ends the application when every slot is known to have ended.
    pub fn check_finished<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let all_done = |mine: &Mine| self.done_run(mine.slot, mine.state()) >= self.slots();
        if !self.is_finished && self.mine.iter().any(all_done) {
            self.finish(cx);
        }
    }

    fn finish<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.is_finished {
            return;
        }
        self.is_finished = true;
        cx.books.journal.mark(self.id());
        for (_, entry) in self.known.iter_mut() {
            entry.done_run = self.application.record.slots;
        }
        self.abort_recruits(cx);
        self.tell_partners(cx);
        self.leave(cx);
    }
}
