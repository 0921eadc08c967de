//! Slot 0 is confirmed, then all others; what became of them is asked for until all run or have ended.

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle};

use super::{APPOINT_ROUNDS, CONFIRMS, Phase, Place, Submission};
use crate::context::Context;
use crate::message::{Confirm, Message, PEERS_MAX};
use crate::{Epoch, Host, Known, Progress, SlotState, window};

/// How often the submitter asks what became of a slot. Our guess: what a waiting user notices.
const POLL_PERIOD: Duration = Duration::from_millis(500);
/// Polls in a row without an answer before others are asked. Our guess.
const SILENT_POLLS: u8 = 3;
impl Submission {
    pub(super) fn tick_first<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Some(first) = self.places.first() else { return };
        if first.due > cx.now {
            return;
        }
        if first.hold.is_some() && first.sent < CONFIRMS {
            self.confirm(cx, 0);
        } else {
            self.try_another_first(cx);
        }
    }

    /// The node planned for slot 0 does not confirm: another planned one takes its place.
    fn try_another_first<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Some(other) = (1..self.places.len()).find(|at| self.places[*at].hold.is_some()) else {
            return self.look_for_another_first(cx);
        };
        let (hold, holder) = (self.places[other].hold.take(), self.places[other].known.holder.take());
        let silent = self.places[0].known.holder;
        self.places[0].hold = hold;
        self.places[0].known.holder = holder;
        self.places[0].sent = 0;
        self.places[0].due = cx.now;
        // What the silent node holds, if anything, is the lower epoch of slot 0: the holders resolve it.
        self.places[other].known.holder = None;
        self.places[other].silent = 0;
        if let Some(peer) = silent {
            self.confirm_with_older(cx, 0, alloc::vec![peer]);
        } else {
            self.confirm(cx, 0);
        }
    }

    /// None of the planned nodes confirms: others are searched for, as after any loss.
    fn look_for_another_first<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let is_silent = |place: &Place| place.hold.is_some();
        let gone: Vec<(Handle, bool)> =
            self.places.iter().filter_map(|place| Some((place.known.holder?, is_silent(place)))).collect();
        for (peer, is_silent) in gone {
            if is_silent && self.silent.len() < PEERS_MAX {
                self.silent.push(peer);
            }
            self.refusers.push(peer);
        }
        self.places.clear();
        self.search_again(cx);
    }

    pub(super) fn tick_rest<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            if place.due > cx.now {
                continue;
            }
            if place.hold.is_some() {
                if place.sent < CONFIRMS {
                    self.confirm(cx, at);
                } else {
                    place.hold = None;
                    place.due = cx.now;
                }
                continue;
            }
            let is_settled = place.known.state == SlotState::Running || place.known.state.is_final();
            place.due = cx.now + if is_settled { POLL_PERIOD * 4 } else { POLL_PERIOD };
            place.silent = place.silent.saturating_add(1);
            let (about, is_silent) = (place.known, place.silent > SILENT_POLLS);
            let app = self.application.record.id;
            if let Some(holder) = about.holder {
                cx.host.send(holder, Message::Probe { app, versions: None, about, mine: Vec::new() });
            }
            if about.holder.is_none() || is_silent {
                let near = window::around(about.slot, self.slots());
                let holders = near.filter_map(|slot| self.places[usize::from(slot)].known.holder);
                let mut asked: Vec<Handle> = holders.take(3).chain(self.guardians.iter().copied()).collect();
                asked.sort_unstable();
                asked.dedup();
                for peer in asked {
                    cx.host.send(peer, Message::Locate { app, slot: about.slot });
                }
            }
        }
        self.check_complete(cx);
    }

    fn confirm<H: Host>(&mut self, cx: &mut Context<'_, H>, at: usize) {
        let older = if at == 0 { self.silent.clone() } else { Vec::new() };
        self.confirm_with_older(cx, at, older);
    }

    fn confirm_with_older<H: Host>(&mut self, cx: &mut Context<'_, H>, at: usize, older: Vec<Handle>) {
        let Some((peer, hold)) = self.places[at].hold else { return };
        if self.places[at].sent > 0 {
            self.places[at].link = None;
        }
        self.plan(cx, at);
        let epoch = self.places[at].known.epoch;
        let slot = at as u16;
        let mut peers: Vec<Handle> = self.places.iter().filter_map(|place| place.known.holder).collect();
        peers.retain(|other| *other != peer);
        cx.books.rng.shuffle(&mut peers);
        peers.truncate(PEERS_MAX);
        let neighbours: Vec<Known> =
            window::around(slot, self.slots()).map(|other| self.places[usize::from(other)].known).collect();
        let guardians = match &self.appointed {
            Some(set) => set.clone(),
            None => self.set_of(APPOINT_ROUNDS + 1, self.guardians.clone(), cx),
        };
        self.appointed = Some(guardians.clone());
        let mut told = neighbours.clone();
        told.push(self.places[at].known);
        let evidence = self.evidence(&told, &guardians, cx);
        let application = self.application.clone();
        let confirm = Confirm::of(application, (slot, epoch, hold), guardians, evidence);
        let confirm = Confirm { neighbours, older, peers, ..confirm };
        let place = &mut self.places[at];
        place.sent = place.sent.saturating_add(1);
        place.due = cx.now + cx.config.reply_timeout;
        cx.host.send(peer, Message::Confirm(confirm.into()));
    }

    pub fn on_confirmed<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        let Some(place) = self.places.get_mut(usize::from(slot)) else { return };
        if place.hold.is_none_or(|(peer, _)| peer != from) || !self.is_holder(cx, from, slot, epoch) {
            return;
        }
        let place = &mut self.places[usize::from(slot)];
        place.hold = None;
        place.known = Known { slot, epoch, holder: Some(from), state: SlotState::Starting };
        place.due = cx.now + POLL_PERIOD;
        let progress = Progress::Slot { slot, state: SlotState::Starting, holder: Some(from) };
        self.tell_host(cx, progress);
        if self.phase == Phase::First {
            self.phase = Phase::Rest;
            self.tell_host(cx, Progress::Accepted);
            self.tick_rest(cx);
        }
        self.due = self.next_due(cx.now);
    }

    pub fn on_refused<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16) {
        let Some(place) = self.places.get_mut(usize::from(slot)) else { return };
        if place.hold.is_none_or(|(peer, _)| peer != from) {
            return;
        }
        place.hold = None;
        place.due = cx.now;
        if self.phase == Phase::First {
            self.try_another_first(cx);
        } else {
            place.known.holder = None;
        }
        self.due = cx.now;
    }
}
