//! A role from before this agent's start: it asks how the application stands, and offers its slots.
//!
//! Whoever is awake recruits as if this node had never been, and takes an offer where it has come in time.
//! Only where nobody is awake the role wakes by itself: its slots go on under new epochs of this node's own.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant};

use super::App;
use crate::context::Context;
use crate::guardian::Guard;
use crate::knowledge::Entry;
use crate::message::Message;
use crate::mine::{Mine, Phase};
use crate::recruit;
use crate::restored::{OFFER_LIMIT, OFFERS_AT_A_TIME, Offer, RETURN_PERIOD, Restored, Ripe, Standing};
use crate::role::{Older, Role};
use crate::{Connection, Epoch, Fault, Host, Known, Notice, SlotReport, SlotState, Ticket, Versions, Wish};

/// How long one that wakes waits for others that have restarted before it recruits their slots. Our guess:
/// they ask and offer once a second.
const GRACE: Duration = Duration::from_secs(2);

impl App {
    /// A role as it was when the agent ended. `is_remembered`: see [`Restored`].
    pub fn restore<H: Host>(role: Role, is_remembered: bool, cx: &mut Context<'_, H>) -> App {
        let Role { application, guardians, is_guardian, slots, known, is_finished, .. } = role;
        let Role { evidence, older, suppliers, .. } = role;
        let (now, me) = (cx.now, cx.me.handle);
        let mut app = App::new(application, now);
        app.chain.begin_with(&evidence);
        let rank = guardians.members.iter().position(|member| *member == me).unwrap_or(0) as u16;
        app.guardians.adopt(now, guardians, &mut cx.books.rng);
        app.guard = is_guardian.then(|| Guard { has_met_holder: true, ..Guard::new(now, rank) });
        app.is_finished = is_finished;
        app.left = is_finished.then_some(now);
        let there_are = app.slots();
        for known in known.into_iter().filter(|known| known.slot < there_are) {
            // Under no epoch of before does this incarnation hold anything but what has ended.
            let holder = known.holder.filter(|holder| *holder != me);
            app.known.learn(now, Known { holder, ..known }, false, &mut cx.books.rng);
        }
        // The other side of a split may have lost its memory in the same moment: it is asked for still.
        for Older { slot, peer } in older.into_iter().filter(|old| old.slot < there_are && old.peer != me) {
            app.older.add(now, slot, peer);
        }
        // Nobody may have fetched the files from the submitter yet when all lose their power.
        suppliers.into_iter().filter(|peer| *peer != me).for_each(|peer| app.add_supplier(peer));
        let mut offers: Vec<Offer> = Vec::new();
        for SlotReport { slot, epoch, state, .. } in slots.into_iter().filter(|own| own.slot < there_are) {
            if app.mine(slot).is_some() || offers.iter().any(|offer| offer.slot == slot) {
                continue;
            }
            if state.is_final() {
                app.mine.push(Mine::new(slot, epoch, Phase::Ended(state), me));
                app.sign_end(cx, slot);
                continue;
            }
            let hold = cx.books.rng.next_u64();
            cx.books.ledger.reserve(hold, app.id(), slot, &app.application.spec);
            offers.push(Offer { slot, epoch, hold });
            // Its epoch counts for the next one, and against older news.
            let own = Known { slot, epoch, holder: None, state: SlotState::Starting };
            app.known.learn(now, own, false, &mut cx.books.rng);
        }
        if !is_finished {
            app.restored = Some(Box::new(Restored::new(now, is_remembered, offers)));
        }
        app
    }

    /// What is to be kept on disk of this node's part; nothing when it has none, or none that counts yet.
    pub fn role(&self) -> Option<Role> {
        let is_guardian = self.guard.as_ref().is_some_and(|guard| guard.has_met_holder);
        // What is held again is no longer only offered.
        let offers = self.restored.iter().flat_map(|restored| &restored.offers);
        let offers = offers.filter(|offer| self.mine(offer.slot).is_none());
        let offered = offers.map(|Offer { slot, epoch, .. }| (*slot, *epoch, SlotState::Starting));
        let held = self.mine.iter().filter(|mine| mine.is_held());
        let held = held.map(|mine| (mine.slot, mine.epoch, mine.own_state()));
        let lasting = |state: SlotState| if state.is_final() { state } else { SlotState::Starting };
        let mut slots: Vec<SlotReport> = held
            .chain(offered)
            .map(|(slot, epoch, state)| SlotReport { slot, epoch, state: lasting(state), done_run: 0 })
            .collect();
        slots.sort_unstable_by_key(|own| own.slot);
        let is_over = self.left.is_some() && !self.is_finished;
        if is_over || (slots.is_empty() && !is_guardian && !self.is_finished) {
            return None;
        }
        // Whom a slot was yielded to is not lost where the agent ends before the program has.
        let winners: Vec<Known> = self.mine.iter().filter_map(Mine::winner).collect();
        let is_yielded = |slot: u16| winners.iter().any(|winner| winner.slot == slot);
        let known = self.known.iter().filter(|(slot, entry)| entry.epoch > Epoch::NONE && !is_yielded(*slot));
        let known = known.map(|(slot, entry)| entry.known(slot)).chain(winners.iter().copied());
        let known = known.map(|known| Known { state: lasting(known.state), ..known });
        Some(Role {
            application: self.application.clone(),
            guardians: self.guardians.set.clone(),
            is_guardian,
            slots,
            known: known.collect(),
            is_finished: self.is_finished,
            evidence: self.chain.all(),
            older: self.older.iter().map(|(slot, peer)| Older { slot, peer }).collect(),
            // Nobody needs the files of what is over.
            suppliers: if self.is_finished { Vec::new() } else { self.suppliers.clone() },
        })
    }

    /// Slots that are held here, or were and are kept room for.
    pub fn slots_here(&self) -> Vec<u16> {
        let held = self.mine.iter().filter(|mine| mine.is_held()).map(|mine| mine.slot);
        let offers = self.restored.iter().flat_map(|restored| &restored.offers).map(|offer| offer.slot);
        held.chain(offers.filter(|slot| self.mine(*slot).is_none())).collect()
    }

    pub fn is_asleep(&self) -> bool {
        self.restored.as_ref().is_some_and(|restored| restored.is_asleep)
    }

    /// This node held the slot before its agent's start, and keeps room for it.
    pub fn offers_slot(&self, slot: u16) -> bool {
        self.restored.iter().flat_map(|restored| &restored.offers).any(|offer| offer.slot == slot)
    }

    pub fn has_offers(&self) -> bool {
        self.restored.as_ref().is_some_and(|restored| !restored.offers.is_empty())
    }

    pub fn restored_due(&self) -> Instant {
        self.restored.as_ref().map_or(Instant::FAR, |restored| restored.due)
    }

    /// How this node stands to the application, for a restarted one that asks. Who is cut off recruits
    /// nobody: nobody is to wait for that.
    fn standing<H: Host>(&self, cx: &mut Context<'_, H>) -> Standing {
        match &self.restored {
            Some(restored) if restored.is_asleep => restored.own_standing(cx.now),
            _ if self.left.is_some() => Standing::Stranger,
            _ if cx.host.connection(cx.now) == Connection::CutOff => Standing::Asleep,
            _ => Standing::Awake,
        }
    }

    /// A peer restarted, and this is its new incarnation: it may have its old role yet.
    pub fn on_successor(&mut self, old: Handle, new: Handle) {
        let is_asleep = self.is_asleep();
        for (_, entry) in self.known.iter_mut().filter(|(_, entry)| entry.holder == Some(old)) {
            entry.successor = Some(new);
        }
        self.older.rename(old, new);
        for supplier in self.suppliers.iter_mut().filter(|supplier| **supplier == old) {
            *supplier = new;
        }
        if let Some(restored) = &mut self.restored {
            restored.rename(old, new);
        }
        for member in self.guardians.set.members.iter_mut().filter(|member| **member == old) {
            if is_asleep {
                *member = new;
            } else {
                self.guardians.successor = Some(new);
            }
        }
    }

    /// Everybody who had a part in the application when this node's agent ended, as far as known, without
    /// `me`; those that have restarted as what they are now.
    fn old_partners(&self, me: Handle) -> Vec<Handle> {
        let holders = self.known.iter().filter_map(|(_, entry)| entry.successor.or(entry.holder));
        let mut partners: Vec<Handle> = holders.chain(self.guardians.set.members.iter().copied()).collect();
        partners.sort_unstable();
        partners.dedup();
        partners.retain(|peer| *peer != me);
        partners
    }

    /// A restarted partner asks how the application stands, and may offer a slot that it held.
    pub fn on_return<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, offer: Option<Offer>) {
        let (app, versions) = (self.id(), Some(self.versions()));
        let standing = self.standing(cx);
        cx.host.send(from, Message::Returned { app, versions, standing });
        let Some(Offer { slot, epoch, hold }) = offer.filter(|offer| offer.slot < self.slots()) else {
            return;
        };
        if let Some(newest) = self.proven(slot, cx.me.handle)
            && (newest.epoch > epoch || newest.state.is_final())
        {
            return self.enlighten(cx, from, slot);
        }
        // Where its holder was is not known everywhere; that the epoch names it is proven.
        let is_holder = self.is_holder(cx, from, slot, epoch);
        let is_its_own = |entry: &&mut Entry| is_holder && entry.epoch == epoch && !entry.state.is_final();
        if let Some(entry) = self.known.entry_mut(slot).filter(is_its_own) {
            entry.offer = Some((from, hold));
            self.take_offer(cx, slot);
        } else if self.chain.holder(slot, epoch).is_none() {
            self.ask_proof(cx, from, slot, epoch);
        }
    }

    /// The answer.
    pub fn on_returned<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, standing: Standing) {
        // Anybody else could keep the application asleep.
        if !self.is_member(cx, from) {
            cx.books.fault(Fault::NotEntitled);
            return;
        }
        if let Some(restored) = &mut self.restored {
            restored.hear(cx.now, from, standing);
            self.due = cx.now;
        }
    }

    /// A recruiter that has nobody yet takes the slot's old holder, if it is back. Says whether it did.
    pub(super) fn take_offer<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) -> bool {
        let Some(recruit) = self.recruits.get_mut(&slot) else { return false };
        if matches!(recruit.phase, recruit::Phase::Held { .. } | recruit::Phase::Confirming { .. }) {
            return false;
        }
        let Some(entry) = self.known.entry_mut(slot) else { return false };
        let Some((peer, hold)) = entry.offer.take_if(|(peer, _)| !recruit.exclude.contains(peer)) else {
            return false;
        };
        let before = core::mem::replace(&mut recruit.phase, recruit::Phase::Held { peer, hold });
        if let recruit::Phase::Searching(look) = before {
            cx.host.event(Wish::CancelSearch(Ticket::Slot(self.application.record.id, slot)));
            for candidate in look.into_iter().flat_map(|look| look.candidates) {
                cx.host.send(candidate.peer, Message::Release { hold: candidate.hold });
            }
        }
        self.due = cx.now;
        true
    }

    /// Asks and offers again, and sees what came of it.
    pub(super) fn tick_restored<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.drop_taken_offers(cx);
        let partners = self.old_partners(cx.me.handle);
        let (app, versions) = (self.id(), self.versions());
        let Some(restored) = &mut self.restored else { return };
        if cx.books.is_cloned {
            // What it has on its disk may be a copy of what the other machine runs.
            restored.due = cx.now + RETURN_PERIOD;
            return;
        }
        if !restored.is_asleep && (restored.offers.is_empty() || cx.now.since(restored.since) >= OFFER_LIMIT)
        {
            return self.drop_offers(cx);
        }
        if restored.due <= cx.now {
            restored.due = cx.now + RETURN_PERIOD;
            let at_a_time = OFFERS_AT_A_TIME.min(restored.offers.len());
            restored.offers.rotate_left(at_a_time);
            let offers: Vec<Option<Offer>> = match restored.offers.get(..at_a_time) {
                Some([]) | None => alloc::vec![None],
                Some(some) => some.iter().copied().map(Some).collect(),
            };
            let near = restored.offers.first().map(|offer| offer.slot);
            let near = near.or_else(|| self.mine.first().map(|mine| mine.slot));
            for peer in &partners {
                for offer in &offers {
                    cx.host.send(*peer, Message::Return { app, versions, offer: *offer });
                }
                // What the others know by now of the slots around.
                let slot = near.filter(|_| restored.is_asleep);
                slot.into_iter().for_each(|slot| cx.host.send(*peer, Message::Locate { app, slot }));
            }
        }
        if restored.is_asleep {
            self.wake_when_ripe(cx, &partners);
        }
    }

    fn wake_when_ripe<H: Host>(&mut self, cx: &mut Context<'_, H>, partners: &[Handle]) {
        let Some(restored) = &mut self.restored else { return };
        let led_for = restored.led_for(cx.now);
        match restored.ripe(cx.now, partners, cx.config.restored_quiet, cx.config.restored_limit) {
            Ripe::NotYet => {}
            // Who was not taken back by then is needed no more; what it knows of ended slots stays known.
            Ripe::Led if led_for >= cx.config.guardian_lapse => {
                self.guard = None;
                self.drop_offers(cx);
                if self.mine.is_empty() { self.leave(cx) } else { self.be_awake(cx.now) }
            }
            Ripe::Led => {}
            Ripe::ToWake => {
                if cx.host.connection(cx.now) == Connection::Connected {
                    self.wake(cx);
                }
            }
        }
    }

    /// Nobody is awake: the slots go on here.
    fn wake<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let (now, app, me) = (cx.now, self.id(), cx.me.handle);
        let Some(restored) = self.restored.take() else { return };
        self.be_awake(now);
        for Offer { slot, hold, .. } in restored.offers {
            let Some(link) = self.sign_link(cx, slot, me) else { continue };
            let epoch = link.body.epoch;
            if !cx.books.ledger.confirm(now, me, hold, app, slot) {
                continue;
            }
            self.own_link_taken(cx, me, slot, epoch);
            self.known.remove(slot);
            let mut waiting = self.old_partners(me);
            waiting.extend(self.older.of(slot).filter(|peer| *peer != me));
            waiting.sort_unstable();
            waiting.dedup();
            let told = waiting.clone();
            let phase = Phase::Announcing { waiting, until: now + cx.config.announce_limit, resend: now };
            self.mine.push(Mine::new(slot, epoch, phase, me));
            // Nobody else has the link.
            let own = Known { slot, epoch, holder: Some(me), state: SlotState::Starting };
            told.into_iter().for_each(|peer| self.tell(cx, peer, alloc::vec![own]));
        }
        self.mine.sort_by_key(|mine| mine.slot);
        cx.books.journal.mark(app);
        cx.host.event(Wish::JoinCollection { app, members: self.old_partners(me) });
        if self.is_guardian() {
            let (application, sources) = (self.application.clone(), self.sources(cx));
            cx.host.event(Notice::KeepFiles { application, sources });
        }
        self.tick_mine(cx);
        self.due = now;
    }

    /// Takes up watching: whatever was known of others counts from now.
    pub fn be_awake(&mut self, now: Instant) {
        if let Some(restored) = &mut self.restored {
            (restored.is_asleep, restored.since) = (false, now);
        }
        for (_, entry) in self.known.iter_mut() {
            match (entry.holder, entry.successor) {
                // It has restarted as well. It may wake by itself, or offer the slot: its turn comes first.
                (_, Some(_)) => entry.mark_lost_later(now + GRACE),
                (Some(_), None) => entry.mark_alive(now),
                (None, None) => entry.unknown = Some(now),
            }
        }
        self.guardians.resume(now);
        self.due = now;
    }

    /// Gives back the room of slots that run elsewhere by now, have ended, or are here again.
    fn drop_taken_offers<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Some(mut restored) = self.restored.take() else { return };
        restored.offers.retain(|offer| {
            let entry = self.known.entry(offer.slot);
            let is_newer = |entry: &Entry| entry.epoch > offer.epoch || entry.state.is_final();
            let is_taken = entry.is_some_and(is_newer) || self.mine(offer.slot).is_some();
            if is_taken {
                cx.books.ledger.unreserve(offer.hold);
                cx.books.journal.mark(self.application.record.id);
            }
            !is_taken
        });
        self.restored = Some(restored);
    }

    /// Gives all of it back: nothing is left to be restored.
    pub(super) fn drop_offers<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if let Some(restored) = self.restored.take() {
            restored.offers.iter().for_each(|offer| cx.books.ledger.unreserve(offer.hold));
            cx.books.journal.mark(self.id());
        }
    }
}

/// What a node that knows nothing of an application says to one that had a part in it.
pub(crate) fn of_a_stranger(app: xtreem_base::AppId) -> Message {
    let versions: Option<Versions> = None;
    Message::Returned { app, versions, standing: Standing::Stranger }
}
