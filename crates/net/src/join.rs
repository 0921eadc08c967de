//! When to dial the addresses that the operator gave, and those that were kept from earlier.
//!
//! Each given one is dialled until it was met once; all of them, and the kept ones in turns, whenever the
//! node reaches nobody. One that was met is dialled now and then by a node that has lost contacts: it may be
//! on an island whose nodes know each other and whose memory of the rest leads to machines that are gone.
//! Names are resolved at every try: one that is unknown today is a node tomorrow.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use tokio::time::timeout;
use xtreem_base::{Duration, Instant, Rng};

const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two rounds; the waits double up to it (our guess: a site that boots at once must not
/// hammer its first node).
const LAST_WAIT: Duration = Duration::from_secs(30);

/// Kept addresses that are dialled in one round (our guess: half of them may be gone).
const KEPT_PER_ROUND: usize = 8;

/// Addresses of one name that are dialled.
const ADDRESSES_MAX: usize = 16;

/// Rounds of gossip without a word from anybody after which a node reaches nobody, whomever it knows: it has
/// asked some twenty of them by then.
const SILENT_ROUNDS: u64 = 3;

/// Rounds of gossip between two names that were met and are dialled again (our guess: five minutes) ...
const LOOK_ROUNDS: u64 = 30;

/// ... or more, so that all nodes of a grid together dial no more than this a second: all may name the same
/// first node (our guess: a handshake costs it a millisecond).
const LOOKS_A_SECOND: u64 = 10;

/// Longest wait for a name server.
const RESOLVE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Whom a node has around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    /// It has a contact; whether that one is there is another question.
    pub knows_somebody: bool,
    /// Somebody whom it knew does not answer.
    pub has_lost: bool,
    /// Nodes of the grid, about.
    pub grid_size: u64,
}

/// What to dial.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Members to join through.
    pub join: Vec<String>,
    /// A member that may belong to another part of the grid.
    pub look: Option<String>,
}

/// The addresses, as `HOST:PORT`, and the back-off.
#[derive(Debug)]
pub(crate) struct Join {
    given: Vec<(String, bool)>,
    kept: Vec<String>,
    round: Duration,
    rng: Rng,
    heard: Instant,
    next_look: Instant,
    /// Which of the given ones is dialled at the next look.
    looks: usize,
    /// Where among the kept ones the next round begins.
    turn: usize,
    /// Addresses at which this node met itself: a site may give all its nodes one list.
    own: BTreeSet<SocketAddr>,
    wait: Duration,
    next: Instant,
}

impl Join {
    /// `round` is one of gossip.
    pub(crate) fn new(
        now: Instant,
        round: Duration,
        rng: Rng,
        given: Vec<String>,
        kept: Vec<String>,
    ) -> Join {
        let given = given.into_iter().map(|name| (name, false)).collect();
        let (own, next_look) = (BTreeSet::new(), now + round * LOOK_ROUNDS);
        let (heard, wait, next) = (now, FIRST_WAIT, now);
        Join { given, kept, round, rng, heard, next_look, looks: 0, turn: 0, own, wait, next }
    }

    /// When [`Join::due`] is to be asked; never when there is nothing to dial.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let look = (!self.given.is_empty()).then_some(self.next_look);
        let next = (!self.given.is_empty() || !self.kept.is_empty()).then_some(self.next);
        [look, next].into_iter().flatten().min()
    }

    /// A member has said something.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// What to dial now.
    pub(crate) fn due(&mut self, now: Instant, company: Company) -> Due {
        Due { join: self.due_to_join(now, company), look: self.due_to_look(now, company) }
    }

    fn due_to_look(&mut self, now: Instant, company: Company) -> Option<String> {
        if now < self.next_look {
            return None;
        }
        let share = Duration::from_micros(company.grid_size * (1_000_000 / LOOKS_A_SECOND));
        // Nodes that started at the same moment come one after the other.
        let wait = self.rng.jitter((self.round * LOOK_ROUNDS).max(share), 20);
        self.next_look = now + wait;
        if !company.has_lost || self.given.is_empty() {
            return None;
        }
        self.looks = (self.looks + 1) % self.given.len();
        // One that was never met is dialled in any case.
        self.given.get(self.looks).filter(|(_, is_met)| *is_met).map(|(name, _)| name.clone())
    }

    fn due_to_join(&mut self, now: Instant, company: Company) -> Vec<String> {
        if now < self.next {
            return Vec::new();
        }
        let reaches_somebody = company.knows_somebody && now.since(self.heard) < self.round * SILENT_ROUNDS;
        let missing = |(name, is_met): &(String, bool)| (!is_met || !reaches_somebody).then(|| name.clone());
        let mut due: Vec<_> = self.given.iter().filter_map(missing).collect();
        if !reaches_somebody && !self.kept.is_empty() {
            let turns = self.kept.iter().cycle().skip(self.turn);
            due.extend(turns.take(KEPT_PER_ROUND.min(self.kept.len())).cloned());
            self.turn = (self.turn + KEPT_PER_ROUND) % self.kept.len();
        }
        self.wait = if due.is_empty() { FIRST_WAIT } else { LAST_WAIT.min(self.wait * 2) };
        self.next = now + self.wait;
        due
    }

    /// Somebody answered at an address of `name`. Whether for the first time.
    pub(crate) fn met(&mut self, name: &str) -> bool {
        let mut is_first = false;
        for (_, is_met) in self.given.iter_mut().filter(|(other, _)| other == name) {
            is_first |= !std::mem::replace(is_met, true);
        }
        is_first
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

    const ROUND: Duration = Duration::from_secs(10);

    fn of(given: Vec<String>, kept: Vec<String>) -> Join {
        Join::new(Instant::ZERO, ROUND, Rng::new(1), given, kept)
    }

    fn company(knows_somebody: bool) -> Company {
        Company { knows_somebody, has_lost: false, grid_size: 3 }
    }

    /// What is dialled to join through by a node that has just heard somebody.
    fn due(join: &mut Join, now: Instant, knows_somebody: bool) -> Vec<String> {
        join.heard(now);
        join.due(now, company(knows_somebody)).join
    }

    #[test]
    fn addresses_are_dialled_until_met_and_again_when_alone() {
        let at = Instant::from_millis;
        let mut join = of(names([1, 2]), Vec::new());
        assert_eq!(due(&mut join, at(0), false), names([1, 2]));
        assert_eq!(due(&mut join, at(999), false), names([]), "the back-off holds");
        join.met("node1:7227");
        assert_eq!(due(&mut join, at(1_000), true), names([2]));
        join.met("node2:7227");
        assert_eq!(due(&mut join, at(3_000), true), names([]));
        assert_eq!(due(&mut join, at(3_500), false), names([1, 2]), "alone again");
        let (own, other) = (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 1)));
        join.is_oneself("node1:7227", own);
        assert_eq!(join.others(vec![own, other]), [other]);
        join.moved();
        assert_eq!(join.others(vec![own, other]), [own, other]);
    }

    #[test]
    fn kept_addresses_are_dialled_in_turns_and_only_by_a_node_that_knows_nobody() {
        let mut join = of(names([1]), names(100..120));
        let mut dialled = Vec::new();
        for round in 0..3 {
            let due = due(&mut join, Instant::from_millis(60_000 * round), false);
            assert_eq!(due[0], "node1:7227");
            dialled.extend(due[1..].to_vec());
        }
        assert_eq!(dialled, names((100..120).chain(100..104)));
        join.met("node1:7227");
        assert_eq!(due(&mut join, Instant::from_millis(900_000), true), names([]));
    }

    #[test]
    fn who_hears_nobody_for_some_rounds_dials_all_names_whomever_it_knows() {
        let mut join = of(names([1, 2]), Vec::new());
        join.met("node1:7227");
        join.met("node2:7227");
        let mut dialled =
            |seconds| join.due(Instant::ZERO + Duration::from_secs(seconds), company(true)).join;
        assert_eq!(dialled(29), names([]));
        assert_eq!(dialled(30), names([1, 2]));
    }

    #[test]
    fn who_has_lost_contacts_dials_the_names_that_it_met_one_after_the_other() {
        let looks = |has_lost, grid_size| {
            let mut join = of(names([1, 2, 3]), Vec::new());
            join.met("node1:7227");
            join.met("node2:7227");
            let mut dialled = Vec::new();
            for second in 0..3_600 {
                let now = Instant::ZERO + Duration::from_secs(second);
                join.heard(now);
                dialled.extend(join.due(now, Company { knows_somebody: true, has_lost, grid_size }).look);
            }
            dialled
        };
        assert_eq!(looks(false, 3), names([]), "nobody was lost");
        let hour = looks(true, 3);
        assert!((7..=9).contains(&hour.len()), "twelve an hour, one of three was never met: {}", hour.len());
        assert!(hour.contains(&names([1])[0]) && hour.contains(&names([2])[0]), "{hour:?}");
        assert!(!hour.contains(&names([3])[0]), "that one is dialled in any case");
        assert!(looks(true, 100_000).len() <= 1, "a large grid spares its first node");
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let mut join = of(names([1]), Vec::new());
        let mut waits = Vec::new();
        for _ in 0..8 {
            let now = join.next_timeout().expect("an address to dial");
            due(&mut join, now, false);
            waits.push(join.next_timeout().expect("an address to dial").since(now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(of(Vec::new(), Vec::new()).next_timeout(), None);
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
