//! After each input: drains effects, search events and messages to the node itself until nothing is left.

use xtreem_allocation::{Notice, Wish};
use xtreem_base::Instant;
use xtreem_membership::reference::Verdict;

use crate::{Event, Node, Output};

/// More steps than this for one input mean that two cores keep each other busy: a bug, not a load.
const STEPS_MAX: usize = 100_000;

/// What the allocation core asked for, in the order in which it did.
pub(crate) enum Effect {
    Wish(Wish),
    Notice(Notice),
}

impl Node {
    pub(crate) fn settle(&mut self, now: Instant, out: &mut impl Output) {
        for peer in core::mem::take(&mut self.silent) {
            self.tries.handle_silent(self.desk.call(now), peer);
            self.ring.handle_silent(self.desk.call(now), peer);
        }
        for _ in 0..STEPS_MAX {
            let (allocation, call, mut host) = self.allocating(now, out);
            allocation.tell_revoked(&mut host);
            allocation.save(call, &mut host);
            if let Some(effect) = self.effects.pop_front() {
                match effect {
                    Effect::Wish(wish) => self.grant(now, wish, out),
                    Effect::Notice(notice) => out.event(Event::Allocation(notice)),
                }
            } else if let Some(event) = self.search_events.pop_front() {
                self.on_search_event(now, event, out);
            } else if let Some(message) = self.desk.loopback.pop_front() {
                self.dispatch(now, self.desk.me.handle, message, out);
            } else {
                self.keep_reference(now, out);
                return self.watch_connection(now, out);
            }
        }
        panic!("a node keeps itself busy for ever");
    }

    fn grant(&mut self, now: Instant, wish: Wish, out: &mut impl Output) {
        match wish {
            Wish::Search { ticket, need, ask, wanted, exclude, facts } => {
                self.recruit(now, (ticket, &need, exclude), ask, (wanted, facts), out);
            }
            Wish::CancelSearch(ticket) => self.cancel_recruiting(now, ticket, out),
            Wish::Locate { app, node } => self.locate(now, app, &node, out),
            Wish::CountOwner { app, owner } => self.count(now, app, owner, out),
            Wish::AskOthers { about, helpers } => {
                self.ask_others(now, about, helpers, out);
            }
            Wish::JoinCollection { app, members } => {
                self.collections.join(self.desk.call(now), app, self.desk.me.handle, members);
            }
            Wish::LeaveCollection { app } => self.collections.leave(app),
        }
    }

    /// Hands the reference set over when it is another one than the host has.
    fn keep_reference(&mut self, now: Instant, out: &mut impl Output) {
        if self.keeps_reference
            && let Some(peers) = self.reference.take_changed(now)
        {
            out.event(Event::Reference(peers));
        }
    }

    /// Tells the host when the verdict on the own connection changes.
    fn watch_connection(&mut self, now: Instant, out: &mut impl Output) {
        let is_cut_off = match self.reference.verdict(self.reference.narrow(self.desk.call(now))) {
            Verdict::CutOff => true,
            Verdict::Connected => false,
            Verdict::Pending => return,
        };
        if is_cut_off != self.is_cut_off {
            self.is_cut_off = is_cut_off;
            out.event(Event::CutOff { reach: self.reach(now) });
        }
    }
}
