//! How much of something each peer has at one time, so that nobody alone takes all of it. Who is not known
//! yet counts by the network that it comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xtreem_base::NodeId;

/// Seats by peer. Who has none is not remembered.
#[derive(Debug)]
pub struct Guests<K: Ord + Copy = NodeId> {
    each_max: usize,
    seats: Mutex<BTreeMap<K, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Seat<K: Ord + Copy = NodeId> {
    guests: Arc<Guests<K>>,
    peer: K,
}

/// What belongs to one host as a rule: an address, or the 64 bits of one that a network gives to a host (RFC
/// 4291, 2.5.4), who chooses the rest.
pub(crate) fn network_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => IpAddr::V6((u128::from(addr) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl<K: Ord + Copy> Guests<K> {
    /// So many for each peer at most.
    pub fn new(each_max: usize) -> Arc<Guests<K>> {
        Arc::new(Guests { each_max, seats: Mutex::default() })
    }

    /// Nothing when the peer has as many as one may have.
    pub fn seat(self: &Arc<Self>, peer: K) -> Option<Seat<K>> {
        let mut seats = self.lock();
        let taken = seats.entry(peer).or_default();
        if *taken >= self.each_max {
            return None;
        }
        *taken += 1;
        Some(Seat { guests: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
        // No task can leave the map half changed: each change is one call.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Copy> Drop for Seat<K> {
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
    fn a_host_is_an_address_or_what_it_may_choose_addresses_of() {
        let network = |text: &str| network_of(text.parse().expect("an address"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_eq!(network("2001:db8::1"), network("2001:db8:0:0:ffff::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

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
