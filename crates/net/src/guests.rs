//! How much of something each peer has at one time, so that nobody alone takes all of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xtreem_base::NodeId;

/// Seats by peer. Who has none is not remembered.
#[derive(Debug)]
pub struct Guests {
    each_max: usize,
    seats: Mutex<BTreeMap<NodeId, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    guests: Arc<Guests>,
    peer: NodeId,
}

impl Guests {
    /// So many for each peer at most.
    pub fn new(each_max: usize) -> Arc<Guests> {
        Arc::new(Guests { each_max, seats: Mutex::default() })
    }

    /// Nothing when the peer has as many as one may have.
    pub fn seat(self: &Arc<Self>, peer: NodeId) -> Option<Seat> {
        let mut seats = self.lock();
        let taken = seats.entry(peer).or_default();
        if *taken >= self.each_max {
            return None;
        }
        *taken += 1;
        Some(Seat { guests: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        // No task can leave the map half changed: each change is one call.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.guests.lock();
        if let Some(taken) = seats.get_mut(&self.peer) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_alone_takes_all_seats() {
        let guests = Guests::new(3);
        let (one, other) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
        let mut seats: Vec<Seat> = (0..9).filter_map(|_| guests.seat(one)).collect();
        assert_eq!(seats.len(), 3);
        assert!(guests.seat(one).is_none() && guests.seat(other).is_some());
        seats.pop();
        assert!(guests.seat(one).is_some());
        seats.clear();
        assert!(guests.lock().is_empty(), "who left is forgotten");
    }
}
