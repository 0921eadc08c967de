//! The table behind a collection's handles: lives of slots.

use std::collections::BTreeMap;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode as _, Encode as _};
use xtreem_base::{Handle, HandleTable};

use super::life::Life;

/// Most entries; beyond it a hint to an unknown member makes its message malformed. Each of the most slots
/// that there can be, and as many replacements.
const HANDLES_MAX: usize = 2 * xtreem_allocation::SLOTS_MAX as usize;
/// When the table has this many entries, those that nobody names any more are swept.
const SWEEP_AT: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Entry {
    life: Life,
    mark: [u8; 8],
    /// It spoke itself.
    is_proven: bool,
    /// Used since the last sweep.
    is_recent: bool,
}

/// Interned lives.
#[derive(Debug, Default)]
pub(super) struct Handles {
    entries: BTreeMap<Handle, Entry>,
    handles: BTreeMap<Life, Handle>,
    next: u32,
    sweep_at: usize,
}

impl Handles {
    /// A table that has this one.
    pub(super) fn of(own: Life) -> (Handles, Handle) {
        let mut handles = Handles::default();
        let handle = handles.fresh();
        handles.insert(handle, own, true);
        (handles, handle)
    }

    /// The handle of a life that somebody mentioned; none when the table is full.
    pub(super) fn intern(&mut self, life: Life) -> Option<Handle> {
        if let Some(handle) = self.known(life) {
            if let Some(entry) = self.entries.get_mut(&handle) {
                entry.is_recent = true;
            }
            return Some(handle);
        }
        if self.entries.len() >= HANDLES_MAX {
            return None;
        }
        let handle = self.fresh();
        self.insert(handle, life, false);
        Some(handle)
    }

    /// The handle of a member that spoke itself. None when a later life of its slot has spoken, or the table
    /// is full.
    pub(super) fn intern_proven(&mut self, life: Life) -> Option<Handle> {
        if self.is_over(life) {
            return None;
        }
        let unknown = Life { start: Life::UNKNOWN, ..life };
        let handle = match self.handles.get(&life) {
            Some(handle) => *handle,
            // Whoever was asked without its start being known is the one who answers.
            None => match self.handles.remove(&unknown) {
                Some(handle) => handle,
                None if self.entries.len() >= HANDLES_MAX => return None,
                None => self.fresh(),
            },
        };
        self.insert(handle, life, true);
        Some(handle)
    }

    pub(super) fn life(&self, handle: Handle) -> Option<Life> {
        self.entries.get(&handle).map(|entry| entry.life)
    }

    /// A later life of its slot has spoken.
    pub(super) fn is_over(&self, life: Life) -> bool {
        let proven = self.of_slot(life.slot).into_iter().filter_map(|handle| self.entries.get(&handle));
        proven
            .filter(|entry| entry.is_proven)
            .any(|entry| entry.life.epoch > life.epoch || entry.life > life && life.start != Life::UNKNOWN)
    }

    /// All lives of a slot.
    pub(super) fn of_slot(&self, slot: u16) -> Vec<Handle> {
        let is_it = |(life, _): &(&Life, &Handle)| life.slot == slot;
        self.handles.range(first(slot)..).take_while(is_it).map(|(_, handle)| *handle).collect()
    }

    /// The mark of the latest life of a slot that has spoken.
    pub(super) fn spoken(&self, slot: u16) -> Option<[u8; 8]> {
        let mut latest = self.of_slot(slot).into_iter().rev().filter_map(|handle| self.entries.get(&handle));
        latest.find(|entry| entry.is_proven).map(|entry| entry.mark)
    }

    /// Lives of the same run, which its program ended before it was started again.
    pub(super) fn earlier_starts(&self, life: Life) -> Vec<Handle> {
        let first = Life { start: Life::UNKNOWN + 1, ..life };
        self.handles.range(first..life).map(|(_, handle)| *handle).collect()
    }

    pub(super) fn mark(&self, handle: Handle) -> Option<[u8; 8]> {
        self.entries.get(&handle).map(|entry| entry.mark)
    }

    /// Forgets those that are not named and that nobody used since the last sweep, when there are many.
    pub(super) fn sweep(&mut self, for_each_live: impl FnOnce(&mut dyn FnMut(Handle))) {
        if self.entries.len() < self.sweep_at.max(SWEEP_AT) {
            return;
        }
        for_each_live(&mut |handle| {
            if let Some(entry) = self.entries.get_mut(&handle) {
                entry.is_recent = true;
            }
        });
        self.entries.retain(|_, entry| entry.is_recent);
        self.handles.retain(|_, handle| self.entries.contains_key(handle));
        self.entries.values_mut().for_each(|entry| entry.is_recent = false);
        self.sweep_at = (2 * self.entries.len()).min(HANDLES_MAX);
    }

    /// A life whose start is not known is the latest of that epoch which has spoken.
    fn known(&self, life: Life) -> Option<Handle> {
        if life.start != Life::UNKNOWN {
            return self.handles.get(&life).copied();
        }
        let all = self.handles.range(life..=Life { start: u32::MAX, ..life }).rev();
        let has_spoken = |handle: &Handle| self.entries.get(handle).is_some_and(|entry| entry.is_proven);
        let mut all = all.map(|(_, handle)| *handle);
        let latest = all.find(has_spoken);
        latest.or_else(|| self.handles.get(&life).copied())
    }

    fn insert(&mut self, handle: Handle, life: Life, is_proven: bool) {
        let entry = Entry { life, mark: life.mark(), is_proven, is_recent: true };
        self.entries.insert(handle, entry);
        self.handles.insert(life, handle);
    }

    fn fresh(&mut self) -> Handle {
        loop {
            let handle = Handle::from_u32(self.next);
            self.next = self.next.wrapping_add(1);
            if handle != Handle::NONE && !self.entries.contains_key(&handle) {
                return handle;
            }
        }
    }
}

/// Not after any life of the slot.
fn first(slot: u16) -> Life {
    Life { slot, epoch: xtreem_allocation::Epoch::NONE, start: Life::UNKNOWN }
}

impl HandleTable for Handles {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        let Some(entry) = self.entries.get_mut(&handle) else {
            return Err(encode::Error::message("a handle that the table does not know"));
        };
        entry.is_recent = true;
        entry.life.encode(e, &mut ())
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        let life = Life::decode(d, &mut ())?;
        if life.slot >= xtreem_allocation::SLOTS_MAX {
            return Err(decode::Error::message("a slot that no application has"));
        }
        self.intern(life).ok_or_else(|| decode::Error::message("the table of handles is full"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::Epoch;

    fn life(slot: u16, counter: u32, start: u32) -> Life {
        Life { slot, epoch: Epoch { counter, ..Epoch::NONE }, start }
    }

    #[test]
    fn who_answers_is_who_was_asked_without_its_start_being_known() {
        let (mut handles, _) = Handles::of(life(0, 1, 1));
        let asked = handles.intern(life(1, 1, 0)).expect("room");
        assert_eq!(handles.intern_proven(life(1, 1, 7)), Some(asked));
        assert_eq!(handles.life(asked), Some(life(1, 1, 7)));
        assert_eq!(handles.intern(life(1, 1, 0)), Some(asked), "heard of again");
    }

    #[test]
    fn after_a_later_life_has_spoken_no_earlier_one_of_its_slot_is_taken() {
        let (mut handles, own) = Handles::of(life(0, 1, 1));
        let other = handles.intern(life(2, 1, 0)).expect("room");
        let first = handles.intern_proven(life(1, 1, 7)).expect("room");
        let again = handles.intern_proven(life(1, 1, 8)).expect("room");
        assert_eq!(handles.earlier_starts(life(1, 1, 8)), [first]);
        assert_eq!(handles.earlier_starts(life(1, 2, 9)), [], "of another run");
        assert_eq!((handles.intern_proven(life(1, 1, 7)), handles.is_over(life(1, 1, 0))), (None, false));
        let replaced = handles.intern_proven(life(1, 2, 1)).expect("room");
        assert_eq!(handles.intern_proven(life(1, 1, 9)), None);
        assert!(handles.is_over(life(1, 1, 0)) && !handles.is_over(life(1, 2, 0)));
        assert_eq!(handles.life(first), Some(life(1, 1, 7)), "a core may name it yet");
        assert_eq!(handles.of_slot(1), [first, again, replaced]);
        assert_eq!(handles.spoken(1), Some(life(1, 2, 1).mark()));
        assert_eq!(handles.spoken(2), None);
        assert_eq!((handles.of_slot(2), handles.of_slot(0)), (vec![other], vec![own]));
    }

    #[test]
    fn a_hint_to_a_later_life_that_did_not_speak_ends_nobody() {
        let (mut handles, _) = Handles::of(life(0, 1, 1));
        let first = handles.intern_proven(life(1, 1, 7)).expect("room");
        let hints = [life(1, 9, 1), life(1, 1, 9)].map(|hint| handles.intern(hint).expect("room"));
        assert!(!hints.contains(&first));
        assert_eq!(handles.intern_proven(life(1, 1, 7)), Some(first));
        assert_eq!(handles.intern(life(1, 1, 0)), Some(first), "it is not whom a hint names");
    }

    #[test]
    fn a_full_table_refuses_and_a_sweep_makes_room() {
        let mut handles = Handles::default();
        for number in 0..HANDLES_MAX {
            assert!(handles.intern(life(5, number as u32, 1)).is_some());
        }
        assert_eq!(handles.intern(life(6, 1, 1)), None);
        let kept = Handle::from_u32(3);
        handles.sweep(|f| f(kept));
        handles.sweep(|f| f(kept));
        assert_eq!(handles.life(kept), Some(life(5, 3, 1)));
        assert!(handles.intern(life(6, 1, 1)).is_some());
    }

    #[test]
    fn handles_travel_as_lives() {
        let (mut from, mut to) = (Handles::default(), Handles::default());
        let handle = from.intern_proven(life(4_095, 3, 7)).expect("room");
        let bytes = minicbor::to_vec_with(handle, &mut from).expect("encoded");
        let read: Handle = minicbor::decode_with(&bytes, &mut to).expect("decoded");
        assert_eq!(to.life(read), Some(life(4_095, 3, 7)));
        assert!(minicbor::to_vec_with(Handle::from_u32(77), &mut from).is_err());
        let odd = minicbor::to_vec(life(4_096, 3, 7)).expect("encoded");
        assert!(minicbor::decode_with::<_, Handle>(&odd, &mut to).is_err());
    }
}
