//! When to dial the addresses that the operator gave, and those that were kept from earlier.
//!
//! Each given one is dialled until it was met once; all of them, and the kept ones in turns, whenever the
//! node knows nobody. Names are resolved at every try: one that is unknown today is a node tomorrow.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use tokio::time::timeout;
use xtreem_base::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two rounds; the waits double up to it (our guess: a site that boots at once must not
/// hammer its first node).
const LAST_WAIT: Duration = Duration::from_secs(30);

/// Kept addresses that are dialled in one round (our guess: half of them may be gone).
const KEPT_PER_ROUND: usize = 8;

/// Addresses of one name that are dialled.
const ADDRESSES_MAX: usize = 16;

/// Longest wait for a name server.
const RESOLVE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The addresses, as `HOST:PORT`, and the back-off.
#[derive(Debug)]
pub(crate) struct Join {
    given: Vec<(String, bool)>,
    kept: Vec<String>,
    /// Where among the kept ones the next round begins.
    turn: usize,
    /// Addresses at which this node met itself: a site may give all its nodes one list.
    own: BTreeSet<SocketAddr>,
    wait: Duration,
    next: Instant,
}

impl Join {
    pub(crate) fn new(now: Instant, given: Vec<String>, kept: Vec<String>) -> Join {
        let given = given.into_iter().map(|name| (name, false)).collect();
        Join { given, kept, turn: 0, own: BTreeSet::new(), wait: FIRST_WAIT, next: now }
    }

    /// When [`Join::due`] is to be asked; never when there is nothing to dial.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (!self.given.is_empty() || !self.kept.is_empty()).then_some(self.next)
    }

    /// What to dial now.
    pub(crate) fn due(&mut self, now: Instant, knows_somebody: bool) -> Vec<String> {
        if now < self.next {
            return Vec::new();
        }
        let missing = |(name, is_met): &(String, bool)| (!is_met || !knows_somebody).then(|| name.clone());
        let mut due: Vec<_> = self.given.iter().filter_map(missing).collect();
        if !knows_somebody && !self.kept.is_empty() {
            let turns = self.kept.iter().cycle().skip(self.turn);
            due.extend(turns.take(KEPT_PER_ROUND.min(self.kept.len())).cloned());
            self.turn = (self.turn + KEPT_PER_ROUND) % self.kept.len();
        }
        self.wait = if due.is_empty() { FIRST_WAIT } else { LAST_WAIT.min(self.wait * 2) };
        self.next = now + self.wait;
        due
    }

    /// Somebody answered at an address of `name`.
    pub(crate) fn met(&mut self, name: &str) {
        for (other, is_met) in &mut self.given {
            *is_met |= other == name;
        }
    }

    /// `addr`, of `name`, is this node's.
    pub(crate) fn is_oneself(&mut self, name: &str, addr: SocketAddr) {
        self.own.insert(addr);
        // Other nodes behind the same name are dialled when this one knows nobody.
        self.met(name);
    }

    /// Where `name` leads to now, without this node itself.
    pub(crate) fn others(&self, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        found.into_iter().filter(|addr| !self.own.contains(addr)).take(ADDRESSES_MAX).collect()
    }

    /// This node has another address: it may not be itself any more that answers at the old ones.
    pub(crate) fn moved(&mut self) {
        self.own.clear();
    }
}

/// Every address of `HOST:PORT`. A link-local address names its interface, as `[fe80::1%eth0]:7227`.
pub async fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some(addr) = scoped(name)? {
        return Ok(vec![addr]);
    }
    let looked_up = timeout(RESOLVE_MAX, tokio::net::lookup_host(name)).await;
    Ok(looked_up.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect())
}

/// An IP address and port as text, the interface's name in it included.
pub fn parse_address(text: &str) -> io::Result<SocketAddr> {
    match scoped(text)? {
        Some(addr) => Ok(addr),
        None => text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

/// The address when it names an interface (RFC 4007, section 11).
fn scoped(text: &str) -> io::Result<Option<SocketAddr>> {
    let parts = || {
        let (inner, port) = text.strip_prefix('[')?.split_once("]:")?;
        let (ip, zone) = inner.split_once('%')?;
        Some((ip.parse::<Ipv6Addr>().ok()?, zone, port.parse::<u16>().ok()?))
    };
    let Some((ip, zone, port)) = parts() else { return Ok(None) };
    let scope = match zone.parse() {
        Ok(number) => number,
        Err(_) => nix::net::if_::if_nametoindex(zone).map_err(|_| {
            io::Error::new(io::ErrorKind::NotFound, format!("this machine has no interface {zone:?}"))
        })?,
    };
    Ok(Some(SocketAddrV6::new(ip, port, 0, scope).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
        numbers.into_iter().map(|number| format!("node{number}:7227")).collect()
    }

    #[test]
    fn addresses_are_dialled_until_met_and_again_when_alone() {
        let at = Instant::from_millis;
        let mut join = Join::new(at(0), names([1, 2]), Vec::new());
        assert_eq!(join.due(at(0), false), names([1, 2]));
        assert_eq!(join.due(at(999), false), names([]), "the back-off holds");
        join.met("node1:7227");
        assert_eq!(join.due(at(1_000), true), names([2]));
        join.met("node2:7227");
        assert_eq!(join.due(at(3_000), true), names([]));
        assert_eq!(join.due(at(3_500), false), names([1, 2]), "alone again");
        let (own, other) = (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 1)));
        join.is_oneself("node1:7227", own);
        assert_eq!(join.others(vec![own, other]), [other]);
        join.moved();
        assert_eq!(join.others(vec![own, other]), [own, other]);
    }

    #[test]
    fn kept_addresses_are_dialled_in_turns_and_only_by_a_node_that_knows_nobody() {
        let mut join = Join::new(Instant::ZERO, names([1]), names(100..120));
        let mut dialled = Vec::new();
        for round in 0..3 {
            let due = join.due(Instant::from_millis(60_000 * round), false);
            assert_eq!(due[0], "node1:7227");
            dialled.extend(due[1..].to_vec());
        }
        assert_eq!(dialled, names((100..120).chain(100..104)));
        join.met("node1:7227");
        assert_eq!(join.due(Instant::from_millis(900_000), true), names([]));
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let mut join = Join::new(Instant::ZERO, names([1]), Vec::new());
        let mut waits = Vec::new();
        for _ in 0..8 {
            let now = join.next_timeout().expect("an address to dial");
            join.due(now, false);
            waits.push(join.next_timeout().expect("an address to dial").since(now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(Join::new(Instant::ZERO, Vec::new(), Vec::new()).next_timeout(), None);
    }

    #[tokio::test]
    async fn names_and_addresses_are_resolved_with_the_interface_in_them() {
        let lo = nix::net::if_::if_nametoindex("lo").expect("every machine has one");
        for name in ["[fe80::7%lo]:9", &format!("[fe80::7%{lo}]:9")] {
            let SocketAddr::V6(addr) = resolve(name).await.expect("an address")[0] else { panic!("of IPv6") };
            assert_eq!((addr.scope_id(), addr.port()), (lo, 9));
            assert_eq!(parse_address(name).expect("an address"), addr.into());
        }
        assert_eq!(resolve("127.0.0.1:9").await.expect("an address").len(), 1);
        let error = resolve("[fe80::7%nowhere7]:9").await.expect_err("no interface").to_string();
        assert!(error.contains("no interface \"nowhere7\""), "{error}");
        assert!(parse_address("localhost:9").is_err());
    }
}
