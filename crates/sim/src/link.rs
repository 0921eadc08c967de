//! The network between simulated nodes: latency, loss, and who hears whom.
//!
//! The fate of a message is a pure function of seed, time, sender, receiver and its number at the sender, so
//! one message more or less leaves all others as they were, and no order of evaluation shows.

use xtreem_base::{Duration, Instant, Rng};

/// How long messages take, uniform between the two bounds, which are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Drawn for each message: messages overtake each other.
    PerMessage { min: Duration, max: Duration },
    /// Drawn once for each pair, the same both ways: messages of a pair stay in order.
    PerPair { min: Duration, max: Duration },
    /// Nodes stand at sites in a square; each has an access link of its own. A message takes half of the way between the two
    /// and both links, and up to a tenth longer.
    Places {
        sites: u32,
        /// Round trip along a side of the square.
        width: Duration,
        /// Round trip between the farthest two of one site, about.
        site_width: Duration,
        /// Longest access link, as a round trip.
        access: Duration,
    },
}

impl Latency {
    /// Any two places on Earth, roughly; the range of the published CYCLON and PeerSim experiments.
    pub const WORLD: Latency =
        Latency::PerMessage { min: Duration::from_millis(5), max: Duration::from_millis(165) };

    /// No message takes less.
    pub const fn least(self) -> Duration {
        match self {
            Latency::PerMessage { min, .. } | Latency::PerPair { min, .. } => min,
            Latency::Places { .. } => Duration::ZERO,
        }
    }

    /// Thirty sites over a continent.
    pub const EUROPE: Latency = Latency::Places {
        sites: 30,
        width: Duration::from_millis(60),
        site_width: Duration::from_micros(500),
        access: Duration::from_millis(2),
    };
}

/// On this side a node hears nobody and nobody hears it.
pub const CUT: u8 = u8::MAX;

/// All links of a world. Nodes are numbered by their slots.
#[derive(Clone, Debug)]
pub struct Link {
    seed: u64,
    latency: Latency,
    loss_per_million: u32,
    /// Empty: all are on side 0.
    sides: Vec<u8>,
}

impl Link {
    /// `loss_per_million` of all messages get lost, independently.
    pub fn new(seed: u64, latency: Latency, loss_per_million: u32) -> Self {
        Link { seed, latency, loss_per_million, sides: Vec::new() }
    }

    pub fn set_loss(&mut self, loss_per_million: u32) {
        self.loss_per_million = loss_per_million;
    }

    /// From now on only nodes on one side hear each other. `sides` is indexed by slot; who is not in it, is on
    /// side 0. Messages on their way still arrive, unless the world asks [`Self::is_open`] again.
    pub fn split(&mut self, sides: Vec<u8>) {
        self.sides = sides;
    }

    /// Moves one node to another side; [`CUT`] takes it off the network.
    pub fn set_side(&mut self, slot: u32, side: u8) {
        let slot = slot as usize;
        if self.sides.len() <= slot {
            self.sides.resize(slot + 1, 0);
        }
        self.sides[slot] = side;
    }

    /// Everybody hears everybody.
    pub fn heal(&mut self) {
        self.sides.clear();
    }

    pub fn is_open(&self, from: u32, to: u32) -> bool {
        self.sides.is_empty() || (self.side(from) == self.side(to) && self.side(from) != CUT)
    }

    /// When the `nth` message that `from` sends at `now` reaches `to`; None when it gets lost.
    pub fn carry(&self, now: Instant, from: u32, to: u32, nth: u32) -> Option<Instant> {
        if !self.is_open(from, to) {
            return None;
        }
        let message = now.as_micros() ^ (u64::from(nth) << 48);
        let mut fate = Rng::new(self.pair(from, to) ^ message.wrapping_mul(0xd6e8_feb8_6659_fd93));
        if self.loss_per_million > 0 && fate.chance(self.loss_per_million, 1_000_000) {
            return None;
        }
        let span = match self.latency {
            Latency::PerMessage { min, max } => between(&mut fate, min, max),
            Latency::PerPair { min, max } => {
                between(&mut Rng::new(self.pair(from.min(to), from.max(to))), min, max)
            }
            Latency::Places { .. } => {
                let half = self.round_trip(from, to).as_micros() / 2;
                Duration::from_micros(half + fate.between(0, half / 10))
            }
        };
        Some(now + span)
    }

    /// The shortest round trip between two places.
    ///
    /// # Panics
    /// Without places.
    pub fn round_trip(&self, a: u32, b: u32) -> Duration {
        let (a, b) = (self.place(a), self.place(b));
        let square = |a: u64, b: u64| a.abs_diff(b).pow(2);
        let plane = (square(a.x, b.x) + square(a.y, b.y)).isqrt();
        Duration::from_micros(plane + a.access + b.access)
    }

    fn place(&self, slot: u32) -> Place {
        let Latency::Places { sites, width, site_width, access } = self.latency else {
            panic!("these links have no places");
        };
        let mut node = Rng::derive(self.seed, slot.into(), "place");
        let mut site = Rng::derive(self.seed, node.below(sites).into(), "site");
        let mut along = || site.between(0, width.as_micros()) + node.between(0, site_width.as_micros());
        let (x, y) = (along(), along());
        // Squared: most have a short one.
        let share = node.between(0, 1_000);
        Place { x, y, access: access.as_micros() * share * share / 1_000_000 }
    }

    fn side(&self, slot: u32) -> u8 {
        self.sides.get(slot as usize).copied().unwrap_or(0)
    }

    fn pair(&self, from: u32, to: u32) -> u64 {
        (self.seed ^ (u64::from(from) << 32 | u64::from(to))).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// In µs of round trip.
struct Place {
    x: u64,
    y: u64,
    access: u64,
}

fn between(rng: &mut Rng, min: Duration, max: Duration) -> Duration {
    Duration::from_micros(rng.between(min.as_micros(), max.as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(link: &Link, count: u32) -> Vec<Option<u64>> {
        let now = Instant::from_millis(77);
        (0..count).map(|nth| link.carry(now, 3, 4, nth).map(|at| at.since(now).as_micros())).collect()
    }

    #[test]
    fn latencies_fill_their_range_and_loss_its_share() {
        let link = Link::new(1, Latency::WORLD, 10_000);
        let spans = spans(&link, 60_000);
        let arrived: Vec<u64> = spans.iter().copied().flatten().collect();
        assert!((500..700).contains(&(spans.len() - arrived.len())), "{}", spans.len() - arrived.len());
        assert!(arrived.iter().all(|span| (5_000..=165_000).contains(span)));
        let mean = arrived.iter().sum::<u64>() / arrived.len() as u64;
        assert!((84_000..86_000).contains(&mean), "{mean}");
    }

    #[test]
    fn the_same_seed_gives_the_same_fate_and_another_one_does_not() {
        let of = |seed| spans(&Link::new(seed, Latency::WORLD, 10_000), 100);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_pairs_latency_is_constant_and_symmetric() {
        let (min, max) = (Duration::from_millis(1), Duration::from_millis(90));
        let link = Link::new(1, Latency::PerPair { min, max }, 0);
        let span = |from, to, nth| link.carry(Instant::ZERO, from, to, nth);
        assert_eq!(span(1, 2, 0), span(1, 2, 9));
        assert_eq!(span(1, 2, 0), span(2, 1, 0));
        assert_ne!(span(1, 2, 0), span(1, 3, 0));
    }

    #[test]
    fn sides_hear_only_themselves_and_the_cut_nobody() {
        let mut link = Link::new(1, Latency::WORLD, 0);
        link.split(vec![0, 0, 1, 1]);
        link.set_side(9, CUT);
        link.set_side(10, CUT);
        for (from, to, open) in [(0, 1, true), (2, 3, true), (1, 2, false), (0, 7, true), (3, 9, false)] {
            assert_eq!(link.carry(Instant::ZERO, from, to, 0).is_some(), open, "{from} {to}");
            assert_eq!(link.is_open(to, from), open, "{to} {from}");
        }
        assert!(!link.is_open(9, 10));
        link.heal();
        assert!(link.is_open(9, 10) && link.is_open(1, 2));
    }
}
