//! Copies for which nobody has asked for long: they may be too many, or all that is left.
//!
//! Their owner is looked for, and decides. So a copy goes only when its owner has one as new, and what a
//! split or a change of places left behind comes home.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant};

use super::message::{BATCH_MAX, Entry, Message, Winner};
use super::{Config, Fault, Host, List, Shelf, Stamp, Store, batch, tell_loser};
use crate::ring::{LookupId, Owner};
use crate::{Key, Position, Range};

/// Rounds until the same copy is asked about again.
const AGAIN: u64 = 4;

/// When each copy is asked about, and what is asked now.
#[derive(Clone, Debug, Default)]
pub(super) struct Strays {
    check: BTreeMap<Key, Instant>,
    unneeded: BTreeSet<Key>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
enum Open {
    LookingUp { lookup: LookupId, due: Instant },
    Offered { to: Handle, seq: u32, entries: Vec<(Key, Stamp)>, due: Instant },
    Sent { to: Handle, seq: u32, due: Instant },
}

impl Open {
    fn due(&self) -> Instant {
        match self {
            Open::LookingUp { due, .. } | Open::Offered { due, .. } | Open::Sent { due, .. } => *due,
        }
    }

    fn peer(&self) -> Option<Handle> {
        match self {
            Open::LookingUp { .. } => None,
            Open::Offered { to, .. } | Open::Sent { to, .. } => Some(*to),
        }
    }
}

impl Strays {
    /// A copy has come: its sender wants it here.
    pub(super) fn keep(&mut self, key: &Key, until: Instant) {
        self.check.insert(key.clone(), until);
        self.unneeded.remove(key);
    }

    /// Its owner counts on it, unless it said otherwise.
    pub(super) fn confirm(&mut self, key: &Key, until: Instant) {
        if !self.unneeded.contains(key) {
            self.check.insert(key.clone(), until);
        }
    }

    pub(super) fn unneeded(&mut self, shelf: &Shelf, keys: &[Key], now: Instant) {
        for key in keys.iter().filter(|key| shelf.get(key).is_some()) {
            if !self.check.contains_key(key) {
                continue;
            }
            self.unneeded.insert(key.clone());
            self.check.insert(key.clone(), now);
        }
    }

    pub(super) fn is_unneeded(&self, key: &Key) -> bool {
        self.unneeded.contains(key)
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.check.remove(key);
        self.unneeded.remove(key);
    }

    pub(super) fn forget_range(&mut self, range: &Range) {
        self.check.retain(|key, _| !range.contains_key(key));
        self.unneeded.retain(|key| !range.contains_key(key));
    }

    pub(super) fn forget(&mut self, peer: Handle, _: Instant) {
        self.open.take_if(|open| open.peer() == Some(peer));
    }

    pub(super) fn next_due(&self) -> Instant {
        self.open.as_ref().map_or(Instant::FAR, Open::due)
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.open.iter().filter_map(Open::peer).for_each(f);
    }

    /// True when that was the answer to what it sent home.
    pub(super) fn copied(&mut self, from: Handle, number: u32) -> bool {
        let is_it =
            |open: &mut Open| matches!(open, Open::Sent { to, seq, .. } if (*to, *seq) == (from, number));
        self.open.take_if(is_it).is_some()
    }
}

impl Store {
    /// All that lies here outside of `own` is a copy like others now.
    pub(super) fn note_strays(&mut self, call: Call<'_, Config>, own: Option<&Range>) {
        let until = call.now + call.config.keep;
        for (key, _) in self.shelf.iter() {
            if own.is_none_or(|range| !range.contains_key(key)) && !self.strays.check.contains_key(key) {
                self.strays.check.insert(key.clone(), until);
            }
        }
    }

    /// Looks for the owner of one copy that is due.
    pub(super) fn begin_stray<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if self.strays.open.is_some() {
            return;
        }
        let due = self.strays.check.iter().filter(|(_, at)| **at <= call.now);
        let Some(key) = due.min_by_key(|(_, at)| **at).map(|(key, _)| key.clone()) else { return };
        // Whatever comes of it, others have their turn before this one comes again.
        self.strays.check.insert(key.clone(), call.now + call.config.period * AGAIN);
        if let Some(lookup) = out.look_up(Position::of_key(key)) {
            let due = call.now + call.config.deadline;
            self.strays.open = Some(Open::LookingUp { lookup, due });
        }
    }

    /// False: it was not for a stray copy.
    pub(super) fn found_for_stray<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        found: LookupId,
        owner: Option<&Owner>,
        out: &mut H,
    ) -> bool {
        let is_it = |open: &mut Open| matches!(open, Open::LookingUp { lookup, .. } if *lookup == found);
        if self.strays.open.take_if(is_it).is_none() {
            return false;
        }
        let Some(owner) = owner.filter(|owner| owner.contact.handle != self.handle) else { return true };
        let soon = call.now + call.config.period * AGAIN;
        let due = |key: &Key| self.strays.check.get(key).is_some_and(|at| *at <= soon);
        let here = self.shelf.within(&owner.range).filter(|(key, _)| due(key)).take(BATCH_MAX);
        let entries: Vec<(Key, Stamp)> = here.map(|(key, item)| (key.clone(), item.stamp)).collect();
        if entries.is_empty() {
            return true;
        }
        let (seq, to) = (self.next_seq(), owner.contact.handle);
        let list = entries.iter().map(|(key, stamp)| Entry { key: key.clone(), stamp: *stamp }).collect();
        out.send(to, Message::Offer { seq, entries: list });
        self.strays.open =
            Some(Open::Offered { to, seq, entries, due: call.now + call.config.answer_timeout });
        true
    }

    pub(super) fn on_offer<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        entries: &[Entry],
        out: &mut H,
    ) {
        let tenure = out.tenure();
        let order = tenure.order(out.site_of(self.handle), |it| out.site_of(it));
        let place = order.iter().position(|it| *it == from);
        let (mut wanted, mut unneeded) = (List::default(), List::default());
        for Entry { key, stamp } in entries {
            if self.answers_for(&tenure, call.now, key).is_none() {
                continue;
            }
            match self.shelf.get(key) {
                Some(item) if item.stamp >= *stamp => {
                    let is_counted_on = place.is_some_and(|place| place < item.degree.into());
                    let is_settled = !self.unsettled.contains_key(key);
                    if is_settled && (!is_counted_on || item.stamp > *stamp) {
                        let (stamp, writer) = (item.stamp, item.writer.id);
                        unneeded.push(Winner { key: key.clone(), stamp, writer });
                    }
                }
                _ => wanted.push(key.clone()),
            }
        }
        out.send(from, Message::Placed { seq, wanted, unneeded });
    }

    pub(super) fn on_placed<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        wanted: &[Key],
        unneeded: Vec<Winner>,
        out: &mut H,
    ) -> Result<(), Fault> {
        let is_it =
            |open: &mut Open| matches!(open, Open::Offered { to, seq: it, .. } if (*to, *it) == (from, seq));
        let Some(Open::Offered { entries, .. }) = self.strays.open.take_if(is_it) else {
            return Err(Fault::Unasked);
        };
        out.contact_answered(from);
        let offered = |key: &Key| entries.iter().find(|(it, _)| it == key).map(|(_, stamp)| *stamp);
        for winner in unneeded {
            let stamp = self.shelf.get(&winner.key).map(|item| item.stamp);
            // Only what was offered, if it has not changed meanwhile, and against what is no older.
            if stamp.is_none() || stamp != offered(&winner.key) || stamp > Some(winner.stamp) {
                continue;
            }
            self.strays.remove(&winner.key);
            if let Some(item) = self.shelf.take(&winner.key).filter(|it| it.stamp != winner.stamp) {
                tell_loser(&item, winner, out);
            }
        }
        let until = call.now + call.config.keep;
        for (key, _) in entries.iter().filter(|(key, _)| !wanted.contains(key)) {
            if self.strays.check.contains_key(key) {
                self.strays.keep(key, until);
            }
        }
        let asked = wanted.iter().filter(|key| offered(key).is_some());
        let items = batch(asked.filter_map(|key| self.shelf.get(key).map(|item| (key, item))), call.now);
        if !items.as_slice().is_empty() {
            let seq = self.next_seq();
            out.send(from, Message::Copy { seq, items });
            let due = call.now + call.config.answer_timeout;
            self.strays.open = Some(Open::Sent { to: from, seq, due });
        }
        Ok(())
    }

    /// What was not answered is tried again in one of the next rounds.
    pub(super) fn tick_strays<H: Host>(&mut self, call: Call<'_, Config>, _: &mut H) {
        self.strays.open.take_if(|open| open.due() <= call.now);
    }
}
