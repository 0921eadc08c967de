//! One gust: which faults, when, and for how long. Drawn from a seed, before anything happens.

use std::fmt;
use std::time::Duration;

use xtreem_base::Rng;

/// In this time the faults of a gust begin.
const BEGIN_MAX_SECONDS: u64 = 60;
/// Faults of one host each, a gust.
const SINGLE: (u64, u64) = (6, 14);
/// How long they last, in seconds: around the ten in which a slot is replaced, below the twenty for which a
/// paused process is waited for, and above both.
const LASTS_SECONDS: (u64, u64) = (2, 45);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// All processes of a host die at once, and it starts again.
    HostKilled,
    /// An agent dies, what it started with it, and it starts again.
    AgentKilled,
    /// An agent is asked to end, and is started again.
    AgentTerminated,
    /// All processes of a host stand still.
    Paused,
    /// A host has no network.
    Cut,
    /// A share of the hosts has a network of its own.
    Split,
    /// All hosts die at once, and start one after the other.
    Power,
    /// A host's disk has no room.
    DiskFull,
}

impl Kind {
    /// As people and figures name it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::HostKilled => "host killed",
            Kind::AgentKilled => "agent killed",
            Kind::AgentTerminated => "agent terminated",
            Kind::Paused => "paused",
            Kind::Cut => "cut",
            Kind::Split => "split",
            Kind::Power => "power cut of all",
            Kind::DiskFull => "disk full",
        }
    }
}

/// One fault of a gust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// Places in the grid's list of hosts: one, the smaller side of a split, or all in the order in which
    /// they have power again.
    pub hosts: Vec<usize>,
    /// After the gust's beginning.
    pub at: Duration,
    pub lasts: Duration,
}

/// The faults of one gust, by their beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gust {
    pub faults: Vec<Fault>,
}

impl Gust {
    /// Draws one for so many hosts. A third of them has a fault of its own at most; beside that one gust in
    /// three splits the grid, and one in three is a power cut of everything.
    pub fn draw(rng: &mut Rng, hosts: usize, has_namespaces: bool) -> Gust {
        let mut order: Vec<usize> = (0..hosts).collect();
        rng.shuffle(&mut order);
        let single = (rng.between(SINGLE.0, SINGLE.1) as usize).min(hosts / 3);
        let mut faults: Vec<Fault> =
            order.iter().take(single).map(|host| Fault::of_one(rng, *host, has_namespaces)).collect();
        match rng.below(3) {
            0 if has_namespaces => {
                rng.shuffle(&mut order);
                let aside = rng.between(1, hosts as u64 / 2) as usize;
                faults.push(Fault::drawn(rng, Kind::Split, order[..aside].to_vec()));
            }
            1 => {
                rng.shuffle(&mut order);
                faults.push(Fault::drawn(rng, Kind::Power, order));
            }
            _ => {}
        }
        faults.sort_by_key(|fault| fault.at);
        Gust { faults }
    }
}

impl Fault {
    fn of_one(rng: &mut Rng, host: usize, has_namespaces: bool) -> Fault {
        let kind = match rng.below(if has_namespaces { 8 } else { 7 }) {
            0 | 1 => Kind::HostKilled,
            2 => Kind::AgentKilled,
            3 => Kind::AgentTerminated,
            4 | 5 => Kind::Paused,
            6 => Kind::Cut,
            _ => Kind::DiskFull,
        };
        Fault::drawn(rng, kind, vec![host])
    }

    fn drawn(rng: &mut Rng, kind: Kind, hosts: Vec<usize>) -> Fault {
        let at = Duration::from_secs(rng.between(0, BEGIN_MAX_SECONDS));
        let lasts = Duration::from_secs(rng.between(LASTS_SECONDS.0, LASTS_SECONDS.1));
        Fault { kind, hosts, at, lasts }
    }
}

impl fmt::Display for Gust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            let and = if at == 0 { "" } else { ", " };
            let (at, lasts) = (fault.at.as_secs(), fault.lasts.as_secs());
            write!(f, "{and}{} ", fault.kind.word())?;
            match fault.hosts[..] {
                [host] => write!(f, "{}", host + 1)?,
                _ => write!(f, "({} hosts)", fault.hosts.len())?,
            }
            write!(f, " at {at} s for {lasts} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_a_gust_and_no_host_has_two_faults_of_its_own() {
        let draw = |seed| Gust::draw(&mut Rng::derive(seed, 0, "storm"), 20, true);
        assert_eq!(draw(1), draw(1));
        for seed in 0..200 {
            let gust = draw(seed);
            let own = gust.faults.iter().filter(|fault| !matches!(fault.kind, Kind::Split | Kind::Power));
            let mut hosts: Vec<usize> = own.flat_map(|fault| fault.hosts.clone()).collect();
            let all = hosts.len();
            hosts.sort_unstable();
            hosts.dedup();
            assert_eq!(hosts.len(), all, "{gust}");
            assert!(all >= 6 && gust.faults.is_sorted_by_key(|fault| fault.at), "{gust}");
        }
    }

    #[test]
    fn every_kind_is_drawn_and_none_that_needs_namespaces_without_them() {
        let kinds = |has_namespaces| -> Vec<Kind> {
            let draw = |seed| Gust::draw(&mut Rng::derive(seed, 0, "storm"), 20, has_namespaces).faults;
            let mut kinds: Vec<Kind> = (0..100).flat_map(draw).map(|fault| fault.kind).collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds(true).len(), 8, "all there are");
        assert!(!kinds(false).contains(&Kind::Split) && !kinds(false).contains(&Kind::DiskFull));
    }
}
