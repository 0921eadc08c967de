//! The queue that everybody would write first: a binary heap. Kept to show what the wheel is worth.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use xtreem_base::Instant;

use crate::queue::Entry;

/// Events come out in the order of [`Entry`].
#[derive(Clone, Debug, Default)]
pub struct Heap {
    entries: BinaryHeap<Reverse<Numbered>>,
    pushed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbered {
    entry: Entry,
    nth: u32,
}

impl Ord for Numbered {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |Entry { at, dst, tie, .. }: Entry| (at, dst, tie);
        // The counter may wrap: events of one instant are never 2^31 pushes apart.
        let in_turn = || (self.nth.wrapping_sub(other.nth) as i32).cmp(&0);
        key(self.entry).cmp(&key(other.entry)).then_with(in_turn)
    }
}

impl PartialOrd for Numbered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Heap {
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(Reverse(Numbered { entry, nth: self.pushed }));
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// The next event, when it is due at `limit`.
    pub fn pop(&mut self, limit: Instant) -> Option<Entry> {
        let Reverse(next) = self.entries.peek()?;
        if next.entry.at > limit {
            return None;
        }
        self.entries.pop().map(|Reverse(next)| next.entry)
    }
}
