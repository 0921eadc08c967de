//! The address that this node tells others, found anew when the machine has it no more.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use xtreem_base::{Duration, Instant};

/// Between two looks (our guess: half a round of gossip, so that a change is told within one).
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A node that listens at all addresses of its machine, and was not told by its operator which one to tell.
#[derive(Debug)]
pub(crate) struct Roaming {
    is_v6: bool,
    /// Whom to ask the routing table about when no contact is known.
    hints: Vec<SocketAddr>,
    next: Instant,
}

impl Roaming {
    pub(crate) fn new(bound: SocketAddr, hints: Vec<SocketAddr>, now: Instant) -> Roaming {
        Roaming { is_v6: bound.is_ipv6(), hints, next: now + LOOK_EVERY }
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        self.next
    }

    /// The address to tell from now on, when the machine does not have `own` any more and has another one. A
    /// machine with several keeps to the one that it told first.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        own: IpAddr,
        contacts: impl IntoIterator<Item = SocketAddr>,
    ) -> Option<IpAddr> {
        if now < self.next {
            return None;
        }
        self.next = now + LOOK_EVERY;
        if is_mine(own) {
            return None;
        }
        let found = by_route(self.is_v6, contacts).or_else(|| by_route(self.is_v6, self.hints.clone()));
        found.filter(|found| *found != own)
    }
}

/// Whether an interface of this machine has it, as far as can be told: only what certainly is gone is not.
fn is_mine(own: IpAddr) -> bool {
    let bound = UdpSocket::bind((own, 0));
    !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
}

/// The address from which this machine would send to the first of these that it has a route to.
pub(crate) fn by_route(is_v6: bool, to: impl IntoIterator<Item = SocketAddr>) -> Option<IpAddr> {
    let to = to.into_iter().filter(|addr| is_v6 || addr.is_ipv4());
    to.into_iter().find_map(|to| {
        let any: SocketAddr = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse().ok()?;
        // Connecting a UDP socket sends nothing: it asks the routing table.
        let probe = UdpSocket::bind(any).ok()?;
        probe.connect(to).ok()?;
        Some(probe.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_long_as_the_machine_has_it_and_found_anew_afterwards() {
        let at = |secs: u64| Instant::from_millis(1_000 * secs);
        let near: SocketAddr = ([127, 0, 0, 9], 9).into();
        let mut roaming = Roaming::new(([0, 0, 0, 0], 1).into(), vec![near], at(0));
        let look = |roaming: &mut Roaming, now, own: [u8; 4]| roaming.look(at(now), own.into(), []);
        // No machine has an address of documentation (RFC 5737).
        assert_eq!(look(&mut roaming, 4, [192, 0, 2, 7]), None, "it looks every five seconds");
        assert_eq!(look(&mut roaming, 5, [127, 0, 0, 2]), None, "another one, but still its own");
        let found = look(&mut roaming, 10, [192, 0, 2, 7]).expect("loopback has a route");
        assert!(found.is_loopback());
        assert_eq!(by_route(false, ["[::1]:9".parse().expect("an address")]), None, "of the other family");
    }
}
