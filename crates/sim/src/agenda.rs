//! A queue of events that carry data: the queue orders numbers, a slab keeps what they stand for.

use xtreem_base::Instant;

use crate::memory::prefetch;
use crate::queue::{Entry, Kind, Queue};

/// In the queue: a node's timer, which carries nothing, not the number of an event.
const TIMER: u32 = u32::MAX;

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Instant,
    /// Slot of the node that it is for.
    pub dst: u32,
    number: u32,
}

/// Events in the order of [`Entry`].
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    queue: Queue,
    /// By number; empty places are listed in `free`.
    events: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Agenda::with_room(Kind::Wheel, 0)
    }
}

impl<E> Agenda<E> {
    /// An empty agenda that expects about so many events and timers at a time.
    pub fn with_room(kind: Kind, entries: usize) -> Self {
        Agenda { queue: Queue::with_room(kind, entries), events: Vec::new(), free: Vec::new() }
    }

    /// Queues an event; `tie` decides between events for one node at one instant.
    ///
    /// # Panics
    /// When it lies before the one popped last.
    #[inline]
    pub fn push(&mut self, at: Instant, dst: u32, tie: u32, event: E) {
        let number = match self.free.pop() {
            Some(number) => {
                self.events[number as usize] = Some(event);
                number
            }
            None => {
                self.events.push(Some(event));
                self.events.len() as u32 - 1
            }
        };
        self.queue.push(Entry { at, dst, tie, number });
    }

    /// Queues a node's timer.
    ///
    /// # Panics
    /// As [`Self::push`] does.
    #[inline]
    pub fn push_timer(&mut self, at: Instant, dst: u32) {
        self.queue.push(Entry { at, dst, tie: dst, number: TIMER });
    }

    /// The next event or timer, when it is due at `limit`. [`Self::take`] has what it carries.
    #[inline]
    pub fn pop(&mut self, limit: Instant) -> Option<Due> {
        let Entry { at, dst, number, .. } = self.queue.pop(limit)?;
        Some(Due { at, dst, number })
    }

    /// What has come due; nothing: it is the node's timer. Every event is to be taken before the next is
    /// popped.
    #[inline]
    pub fn take(&mut self, due: Due) -> Option<E> {
        if due.number == TIMER {
            return None;
        }
        self.free.push(due.number);
        self.events[due.number as usize].take()
    }

    /// Starts to fetch the event `distance` after the next one into the cache, and says whom it is for, as in
    /// [`Self::ahead`].
    #[inline]
    pub fn fetch(&self, distance: usize) -> Option<u32> {
        let Entry { dst, number, .. } = self.queue.ahead(distance)?;
        if let Some(event) = self.events.get(number as usize) {
            prefetch(event);
        }
        Some(dst)
    }

    /// The event `distance` after the next one and the slot that it is for, as far as it is known already;
    /// nothing may be concluded from it.
    #[inline]
    pub fn ahead(&self, distance: usize) -> Option<(u32, &E)> {
        let Entry { dst, number, .. } = self.queue.ahead(distance)?;
        Some((dst, self.events.get(number as usize)?.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_data_and_places_are_used_again() {
        let mut agenda = Agenda::default();
        for round in 0..10u64 {
            for nth in 0..5u64 {
                let at = Instant::from_micros(round * 100_000 + 7_000 * (5 - nth));
                agenda.push_timer(at, 1);
                agenda.push(at, 1, 2, format!("{round} {nth}"));
            }
            let mut out = Vec::new();
            while let Some(due) = agenda.pop(Instant::FAR) {
                out.extend(agenda.take(due));
            }
            assert_eq!(out, (0..5).rev().map(|nth| format!("{round} {nth}")).collect::<Vec<_>>());
        }
        assert_eq!(agenda.events.len(), 5);
    }
}
