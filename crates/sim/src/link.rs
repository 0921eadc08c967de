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
    /// Nodes stand at sites in a square; each has an access link of its own. A message takes half of the way
    /// between the two and both links, and up to a tenth longer.
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

/// All links of a world. Nodes are numbered by their slots.
#[derive(Clone, Debug)]
pub struct Link {
    seed: u64,
    latency: Latency,
    loss_per_million: u32,
    /// Who is off the network; who is not in it, is not.
    cut: Vec<bool>,
    /// The part of each node when the network is split; who is not in it, is in part 0. Empty: it is whole.
    parts: Vec<u8>,
}

impl Link {
    /// `loss_per_million` of all messages get lost, independently.
    pub fn new(seed: u64, latency: Latency, loss_per_million: u32) -> Self {
        Link { seed, latency, loss_per_million, cut: Vec::new(), parts: Vec::new() }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn set_loss(&mut self, loss_per_million: u32) {
        self.loss_per_million = loss_per_million;
    }

    /// A node that is cut hears only itself, and nobody else hears it.
    pub fn set_cut(&mut self, slot: u32, is_cut: bool) {
        let slot = slot as usize;
        if self.cut.len() <= slot {
            self.cut.resize(slot + 1, false);
        }
        self.cut[slot] = is_cut;
    }

    pub fn is_cut(&self, slot: u32) -> bool {
        self.cut.get(slot as usize).is_some_and(|cut| *cut)
    }

    /// Splits the network by the part of each node; with no parts it is whole.
    pub fn split(&mut self, parts: Vec<u8>) {
        self.parts = parts;
    }

    /// Whether a message between the two gets through now, but for its chance to be lost. Worlds ask on
    /// arrival: what is on its way when a cut or a split begins gets lost.
    #[inline]
    pub fn can_reach(&self, a: u32, b: u32) -> bool {
        self.cut.is_empty() && self.parts.is_empty() || self.can_reach_in_part(a, b)
    }

    fn can_reach_in_part(&self, a: u32, b: u32) -> bool {
        let part = |slot: u32| self.parts.get(slot as usize).copied().unwrap_or(0);
        a == b || !self.is_cut(a) && !self.is_cut(b) && part(a) == part(b)
    }

    /// When the `nth` message that `from` sends at `now` reaches `to`; None when chance loses it.
    pub fn carry(&self, now: Instant, from: u32, to: u32, nth: u32) -> Option<Instant> {
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
    fn cuts_and_splits_separate_and_heal_each_on_its_own() {
        let mut link = Link::new(1, Latency::WORLD, 0);
        assert!(link.can_reach(0, 1));
        link.set_cut(1, true);
        assert!(!link.can_reach(0, 1) && !link.can_reach(1, 0) && link.can_reach(0, 2));
        assert!(link.can_reach(1, 1), "a cut node reaches itself");
        link.split(vec![0, 0, 1, 1]);
        link.set_cut(1, false);
        assert!(link.can_reach(0, 1) && link.can_reach(2, 3) && !link.can_reach(1, 2));
        assert!(link.can_reach(0, 7) && !link.can_reach(3, 7), "who is not named is in part 0");
        link.split(Vec::new());
        assert!(link.can_reach(1, 2));
    }
}
