//! Which numbered events came already: what a publisher repeats, because it heard no answer, is one event.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::HashId;

/// Publishers, each with each of its topics, whose numbers are remembered; of more the one goes that was
/// heard of longest ago. Our guess: as many topics as a server publishes to.
pub(super) const PUBLISHERS_MAX: usize = 4_096;
/// Numbers of one that are remembered; when there are more the lowest go, and what is lower counts as
/// repeated. Our guess: more than a program has on its way at one time.
pub(super) const NUMBERS_MAX: usize = 128;

/// Whether an event was published before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    New,
    /// And no newer one since.
    Last,
    Older,
}

#[derive(Debug, Default)]
pub(super) struct Repeats {
    publishers: BTreeMap<u64, Numbers>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    known: BTreeSet<u64>,
    last: u64,
    used: u64,
}

impl Repeats {
    /// An event with a number of its publisher's own.
    pub(super) fn add(&mut self, event: HashId, number: u64) -> Repeat {
        let (publisher, _) = event.place();
        self.clock += 1;
        if self.publishers.len() >= PUBLISHERS_MAX && !self.publishers.contains_key(&publisher) {
            let oldest = self.publishers.iter().min_by_key(|(_, numbers)| numbers.used);
            if let Some(oldest) = oldest.map(|(oldest, _)| *oldest) {
                self.publishers.remove(&oldest);
            }
        }
        let numbers = self.publishers.entry(publisher).or_default();
        numbers.used = self.clock;
        let is_full = numbers.known.len() >= NUMBERS_MAX;
        let is_forgotten = is_full && numbers.known.first().is_some_and(|lowest| number < *lowest);
        if is_forgotten || !numbers.known.insert(number) {
            return if number == numbers.last { Repeat::Last } else { Repeat::Older };
        }
        numbers.last = number;
        if is_full {
            numbers.known.pop_first();
        }
        Repeat::New
    }
}

#[cfg(test)]
mod tests {
    use xtreem_base::NodeId;

    use super::*;
    use crate::Stem;

    #[test]
    fn a_number_is_new_once_and_memory_is_bounded() {
        let mut repeats = Repeats::default();
        let stem = |name: u32| Stem::new(NodeId::from_bytes([1; 16]), &name.to_be_bytes(), 1, "t");
        let mut add = |name, number| repeats.add(stem(name).event(number), number);
        assert_eq!((add(1, 5), add(1, 5), add(1, 3)), (Repeat::New, Repeat::Last, Repeat::New));
        assert_eq!((add(1, 5), add(1, 3), add(2, 5)), (Repeat::Older, Repeat::Last, Repeat::New));
        let many = 1_000 + NUMBERS_MAX as u64;
        for number in 1_000..many {
            assert_eq!(add(1, number), Repeat::New);
        }
        assert_eq!((add(1, 999), add(1, many - 1)), (Repeat::Older, Repeat::Last));
        for name in 10..10 + PUBLISHERS_MAX as u32 {
            assert_eq!(add(name, 1), Repeat::New);
        }
        assert_eq!(repeats.publishers.len(), PUBLISHERS_MAX);
        assert!(repeats.publishers.values().all(|numbers| numbers.known.len() <= NUMBERS_MAX));
    }
}
