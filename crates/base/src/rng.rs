//! Seeded randomness: one named, versioned generator, and independent streams derived from it.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), version 1.
///
/// Eight bytes of state, because 100,000 simulated nodes carry one or more each. Not for secrets: keys and
/// nonces come from the operating system, in the drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 ("mix13").
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Rng { state: mix(seed) }
    }

    /// The stream of `label` on `node` under `seed`.
    ///
    /// Streams do not depend on each other, so that one more node or one more protocol leaves all others as
    /// they were.
    pub fn derive(seed: u64, node: u64, label: &str) -> Self {
        // FNV-1a over the label: short, and fixed for ever.
        let label = label.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Rng { state: mix(mix(mix(seed).wrapping_add(node)).wrapping_add(label)) }
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `0..bound` from 32 random bits, by multiplication (Lemire 2019); the bias is below `bound`
    /// / 2^32. Zero without a bound.
    #[inline]
    pub const fn scaled(bits: u32, bound: u32) -> u32 {
        ((bits as u64 * bound as u64) >> 32) as u32
    }

    /// A number in `0..bound`, as [`Self::scaled`].
    ///
    /// # Panics
    /// When `bound` is zero.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "below(0) has no answer");
        Self::scaled(self.next_u32(), bound)
    }

    /// A number in `low..=high`.
    #[inline]
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "between({low}, {high}) has no answer");
        match (high - low).checked_add(1) {
            Some(span) => low + ((u128::from(self.next_u64()) * u128::from(span)) >> 64) as u64,
            None => self.next_u64(),
        }
    }

    /// True in `numerator` of `denominator` cases.
    #[inline]
    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.below(denominator) < numerator
    }

    /// `span` changed by at most `percent` per cent either way.
    pub fn jitter(&mut self, span: crate::Duration, percent: u64) -> crate::Duration {
        let micros = span.as_micros();
        let width = micros / 100 * percent;
        crate::Duration::from_micros(self.between(micros.saturating_sub(width), micros.saturating_add(width)))
    }

    /// Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    /// One of `items`, or nothing when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len() as u32) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64_for_ever() {
        // Reference outputs for state 0 from the authors' C code.
        let mut rng = Rng { state: 0 };
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn streams_differ_by_seed_node_and_label() {
        let first = |seed, node, label| Rng::derive(seed, node, label).next_u64();
        let base = first(1, 1, "a");
        assert_eq!(base, first(1, 1, "a"));
        for other in [first(2, 1, "a"), first(1, 2, "a"), first(1, 1, "b")] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn bounds_hold_and_every_value_occurs() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 6];
        for _ in 0..6_000 {
            seen[rng.below(6) as usize] += 1;
            assert!((10..=12).contains(&rng.between(10, 12)));
        }
        assert!(seen.iter().all(|&n| (800..1_200).contains(&n)), "{seen:?}");
        assert_eq!(rng.between(3, 3), 3);
        rng.between(0, u64::MAX);
    }
}
