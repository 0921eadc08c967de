//! What happens next: the order of events, and the two queues that keep it.

use std::str::FromStr;

use xtreem_base::Instant;

use crate::heap::Heap;
use crate::wheel::Wheel;

/// An event on its way. Queues order events by (time, destination, tie, order of pushing): the order is total
/// and does not depend on how a queue works inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Instant,
    /// Slot of the node that it is for.
    pub dst: u32,
    /// Decides between events for one node at one instant; by convention the sender's slot.
    pub tie: u32,
    /// What happens, as its number with whoever pushed it.
    pub number: u32,
}

/// How a queue works inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The slotted timing wheel: what every world uses.
    #[default]
    Wheel,
    /// A binary heap: the usual way, to compare with.
    Heap,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: expected wheel or heap")]
pub struct ParseKindError {
    text: String,
}

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, ParseKindError> {
        match text {
            "wheel" => Ok(Kind::Wheel),
            "heap" => Ok(Kind::Heap),
            _ => Err(ParseKindError { text: text.to_owned() }),
        }
    }
}

/// The events of a world, or of a shard of it.
#[derive(Clone, Debug)]
pub enum Queue {
    Wheel(Wheel),
    Heap(Heap),
}

impl Queue {
    /// An empty queue that expects about so many events at a time.
    pub fn with_room(kind: Kind, events: usize) -> Self {
        match kind {
            Kind::Wheel => Queue::Wheel(Wheel::with_room(events)),
            Kind::Heap => Queue::Heap(Heap::default()),
        }
    }

    /// Queues an event.
    ///
    /// # Panics
    /// The wheel, when the event lies before the one popped last.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        match self {
            Queue::Wheel(wheel) => wheel.push(entry),
            Queue::Heap(heap) => heap.push(entry),
        }
    }

    /// The next event, when it is due at `limit`.
    #[inline]
    pub fn pop(&mut self, limit: Instant) -> Option<Entry> {
        match self {
            Queue::Wheel(wheel) => wheel.pop(limit),
            Queue::Heap(heap) => heap.pop(limit),
        }
    }

    /// The event `distance` after the next one, as far as it is known already; nothing may be concluded from
    /// it.
    #[inline]
    pub fn ahead(&self, distance: usize) -> Option<Entry> {
        match self {
            Queue::Wheel(wheel) => wheel.ahead(distance),
            Queue::Heap(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(queue: &mut Queue, limit: u64) -> Vec<(u64, u32, u32, u32)> {
        let next = || queue.pop(Instant::from_micros(limit));
        std::iter::from_fn(next).map(|e| (e.at.as_micros(), e.dst, e.tie, e.number)).collect()
    }

    fn entry((at, dst, tie, number): (u64, u32, u32, u32)) -> Entry {
        Entry { at: Instant::from_micros(at), dst, tie, number }
    }

    proptest! {
        /// Near, far and same-slot pushes, between pops: as a sorted list would give them.
        #[test]
        fn events_come_out_in_the_total_order(
            batches in prop::collection::vec(
                (prop::collection::vec((0u64..60_000_000, 0u32..3, 0u32..3, any::<bool>()), 0..60), 0u64..40_000_000),
                1..8,
            ),
        ) {
            for kind in [Kind::Wheel, Kind::Heap] {
                let mut queue = Queue::with_room(kind, 0);
                let (mut model, mut now, mut number) = (Vec::new(), 0, 0);
                for (pushes, step) in batches.clone() {
                    for (ahead, dst, tie, close) in pushes {
                        let at = now + if close { ahead % 9_000 } else { ahead };
                        queue.push(entry((at, dst, tie, number)));
                        model.push((at, dst, tie, number));
                        number += 1;
                    }
                    now += step;
                    model.sort();
                    let later = model.split_off(model.partition_point(|event| event.0 <= now));
                    prop_assert_eq!(drain(&mut queue, now), model);
                    model = later;
                }
            }
        }
    }

    #[test]
    fn an_event_pushed_while_its_slot_is_drained_comes_in_its_place() {
        for kind in [Kind::Wheel, Kind::Heap] {
            let mut queue = Queue::with_room(kind, 0);
            [10, 30].into_iter().for_each(|at| queue.push(entry((at, 1, 0, at as u32))));
            assert_eq!(queue.pop(Instant::FAR).map(|e| e.number), Some(10));
            [40, 20, 30].into_iter().for_each(|at| queue.push(entry((at, 1, 0, at as u32 + 1))));
            let rest: Vec<u32> = drain(&mut queue, u64::MAX).into_iter().map(|event| event.3).collect();
            assert_eq!(rest, [21, 30, 31, 41], "{kind:?}");
        }
    }

    #[test]
    fn events_of_one_key_come_in_the_order_of_pushing_however_many_and_far() {
        for kind in [Kind::Wheel, Kind::Heap] {
            let mut queue = Queue::with_room(kind, 0);
            for number in 0..100 {
                queue.push(entry((100_000_000, 7, 7, number)));
                queue.push(entry((5_000, 7, 7, number)));
            }
            let numbers: Vec<u32> = drain(&mut queue, u64::MAX).into_iter().map(|event| event.3).collect();
            assert_eq!(numbers, (0..100).chain(0..100).collect::<Vec<_>>(), "{kind:?}");
        }
    }

    #[test]
    fn what_lies_ahead_is_what_comes() {
        let mut queue = Queue::with_room(Kind::Wheel, 0);
        (0..40).for_each(|number| queue.push(entry((8_192 + u64::from(number / 2), 9, number, number))));
        assert_eq!(queue.ahead(0), None, "the slot is not sorted yet");
        let mut foreseen = None;
        for number in 0..40 {
            let next = queue.pop(Instant::FAR);
            assert!(foreseen.is_none() || foreseen == next, "{number}");
            foreseen = queue.ahead(0);
            assert_eq!(queue.ahead(3).map(|entry| entry.number), Some(number + 4).filter(|&it| it < 40));
        }
    }
}
