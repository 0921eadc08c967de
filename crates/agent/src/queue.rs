//! A bounded queue for one reader: when it is full the oldest item goes, and the reader is told how many went.
//!
//! The newest matters most everywhere it is used: the end of a search, the last state of a slot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Shared by the one who fills it and the one who reads.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    len_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    dropped: u64,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Item(T),
    /// So many items that stood here are gone.
    Dropped(u64),
}

impl<T> Queue<T> {
    pub(crate) fn new(len_max: usize) -> Arc<Self> {
        let state = Mutex::new(State { items: VecDeque::new(), dropped: 0 });
        Arc::new(Queue { state, changed: Notify::new(), len_max })
    }

    pub(crate) fn push(&self, item: T) {
        let mut state = self.state();
        if state.items.len() >= self.len_max {
            state.items.pop_front();
            state.dropped += 1;
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next item. May be cancelled; nothing is lost by it.
    pub(crate) async fn next(&self) -> Next<T> {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Option<Next<T>> {
        let mut state = self.state();
        if state.dropped > 0 {
            return Some(Next::Dropped(std::mem::take(&mut state.dropped)));
        }
        state.items.pop_front().map(Next::Item)
    }

    /// A panic elsewhere cannot leave the state half-changed.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_gets_the_newest() {
        let queue = Queue::new(2);
        (1..=5).for_each(|n| queue.push(n));
        assert_eq!(queue.next().await, Next::Dropped(3));
        assert_eq!(queue.next().await, Next::Item(4));
        queue.push(6);
        assert_eq!(queue.next().await, Next::Item(5));
        assert_eq!(queue.next().await, Next::Item(6));
        assert_eq!(queue.take(), None);
    }
}
