//! When to dial the addresses that the operator gave.
//!
//! Each is dialled until it was met once; all of them again whenever the node knows nobody.

use std::net::SocketAddr;

use xtreem_base::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two rounds; the waits double up to it (our guess: a site that boots at once must not
/// hammer its first node).
const LAST_WAIT: Duration = Duration::from_secs(30);

/// The addresses and the back-off.
#[derive(Debug)]
pub(crate) struct Join {
    addresses: Vec<(SocketAddr, bool)>,
    wait: Duration,
    next: Instant,
}

impl Join {
    pub(crate) fn new(now: Instant, addresses: Vec<SocketAddr>) -> Join {
        let addresses = addresses.into_iter().map(|addr| (addr, false)).collect();
        Join { addresses, wait: FIRST_WAIT, next: now }
    }

    /// When [`Join::due`] is to be asked; never when there is nothing to dial.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (!self.addresses.is_empty()).then_some(self.next)
    }

    /// The addresses to dial now.
    pub(crate) fn due(&mut self, now: Instant, knows_somebody: bool) -> Vec<SocketAddr> {
        if now < self.next {
            return Vec::new();
        }
        let missing = |(addr, is_met): &(SocketAddr, bool)| (!is_met || !knows_somebody).then_some(*addr);
        let due: Vec<_> = self.addresses.iter().filter_map(missing).collect();
        self.wait = if due.is_empty() { FIRST_WAIT } else { LAST_WAIT.min(self.wait * 2) };
        self.next = now + self.wait;
        due
    }

    /// Somebody answered at `addr`.
    pub(crate) fn met(&mut self, addr: SocketAddr) {
        for (other, is_met) in &mut self.addresses {
            *is_met |= *other == addr;
        }
    }

    /// `addr` is this node's: a site may give all its nodes one list.
    pub(crate) fn is_oneself(&mut self, addr: SocketAddr) {
        self.addresses.retain(|(other, _)| *other != addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_dialled_until_met_and_again_when_alone() {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let at = Instant::from_millis;
        let mut join = Join::new(at(0), vec![addr(1), addr(2)]);
        assert_eq!(join.due(at(0), false), [addr(1), addr(2)]);
        assert_eq!(join.due(at(999), false), [], "the back-off holds");
        join.met(addr(1));
        assert_eq!(join.due(at(1_000), true), [addr(2)]);
        join.met(addr(2));
        assert_eq!(join.due(at(3_000), true), []);
        assert_eq!(join.due(at(3_500), false), [addr(1), addr(2)], "alone again");
        join.is_oneself(addr(1));
        assert_eq!(join.due(at(10_000), false), [addr(2)]);
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let mut join = Join::new(Instant::ZERO, vec![SocketAddr::from(([127, 0, 0, 1], 1))]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let now = join.next_timeout().expect("an address to dial");
            join.due(now, false);
            waits.push(join.next_timeout().expect("an address to dial").since(now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(Join::new(Instant::ZERO, Vec::new()).next_timeout(), None);
    }
}
