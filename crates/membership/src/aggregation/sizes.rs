//! The number of nodes, as the average of a one among zeros, from several starts at once.
//!
//! Source: Jelasity, Montresor, Babaoglu 2005, §5 (COUNT) and §7.3 (several instances against loss and
//! crashes). Every node starts one under a random rank; those of the lowest ranks stay. They stay everywhere,
//! because no list that lacks one of them is full of lower ones: nobody has to know the size to start the
//! right number of instances.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// Instances that are kept. Eight: the middle four of eight are far from a single spoiled one, and 64 bytes
/// fit.
pub const INSTANCES: usize = 8;
/// The value at the node that starts an instance; a grid of 2²⁸ nodes still averages to eight.
pub const WHOLE: u32 = 1 << 31;

/// The instances that a node knows, by rising rank. One that is not there has the value zero here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    ranks: [u32; INSTANCES],
    values: [u32; INSTANCES],
    len: u8,
}

impl Sizes {
    pub const EMPTY: Sizes = Sizes { ranks: [u32::MAX; INSTANCES], values: [0; INSTANCES], len: 0 };

    /// What a node begins with.
    pub fn start(rank: u32) -> Self {
        let mut sizes = Sizes::EMPTY;
        sizes.push(rank, WHOLE);
        sizes
    }

    fn push(&mut self, rank: u32, value: u32) {
        let at = usize::from(self.len);
        if at < INSTANCES {
            (self.ranks[at], self.values[at]) = (rank, value);
            self.len += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ranks.iter().copied().zip(self.values.iter().copied()).take(self.len.into())
    }

    pub fn has(&self, rank: u32) -> bool {
        self.iter().any(|(known, _)| known == rank)
    }

    /// Whether a correct node could say this.
    pub fn is_sound(&self) -> bool {
        self.ranks[..usize::from(self.len)].is_sorted_by(|a, b| a < b)
            && self.values.iter().all(|value| *value <= WHOLE)
    }

    /// What this side of an exchange keeps: the mean of each value, rounded so that the two sides together
    /// lose none.
    pub fn average(&mut self, other: &Sizes) {
        let mut merged = Sizes::EMPTY;
        let known = *self;
        let (mut mine, mut theirs) = (known.iter().peekable(), other.iter().peekable());
        loop {
            let rank = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(one), None) | (None, Some(one)) => one.0,
                (None, None) => break,
            };
            let a = mine.next_if(|one| one.0 == rank).map_or(0, |one| one.1);
            let b = theirs.next_if(|one| one.0 == rank).map_or(0, |one| one.1);
            merged.push(rank, mean(a, b));
        }
        *self = merged;
    }

    /// How many nodes there are: from the mean of the middle half of the instances. Nothing without any.
    pub fn estimate(&self) -> Option<Size> {
        let mut values = self.values;
        let values = &mut values[..self.len.into()];
        values.sort_unstable();
        let cut = values.len() / 4;
        let middle = &values[cut..values.len() - cut];
        let (low, high) = (u64::from(*middle.first()?), u64::from(*middle.last()?));
        let sum: u64 = middle.iter().map(|value| u64::from(*value)).sum();
        let whole = u64::from(WHOLE) * middle.len() as u64;
        let nodes = u32::try_from((whole + sum / 2).checked_div(sum)?).ok()?;
        let spread = (high - low) * 1_000_000 * middle.len() as u64 / (2 * sum);
        Some(Size { nodes, error_ppm: u32::try_from(spread).unwrap_or(u32::MAX) })
    }
}

/// A number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub nodes: u32,
    /// Half of what the middle half of the instances differ by, in millionths of the number.
    pub error_ppm: u32,
}

/// `a` after an exchange with `b`. Rounded towards `a`, so that `mean(a, b) + mean(b, a) == a + b`.
fn mean(a: u32, b: u32) -> u32 {
    if a > b { a - (a - b) / 2 } else { a + (b - a) / 2 }
}

impl<C> Encode<C> for Sizes {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let mut bytes = [0; 8 * INSTANCES];
        for (eight, (rank, value)) in bytes.chunks_exact_mut(8).zip(self.iter()) {
            eight[..4].copy_from_slice(&rank.to_be_bytes());
            eight[4..].copy_from_slice(&value.to_be_bytes());
        }
        e.bytes(&bytes[..8 * usize::from(self.len)])?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Sizes {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes = d.bytes()?;
        if bytes.len() > 8 * INSTANCES || bytes.len() % 8 != 0 {
            return Err(decode::Error::message("more instances than are kept").at(at));
        }
        let mut sizes = Sizes::EMPTY;
        let number = |four: &[u8]| four.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        bytes.chunks_exact(8).for_each(|one| sizes.push(number(&one[..4]), number(&one[4..])));
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn sizes(list: &[(u32, u32)]) -> Sizes {
        let mut sizes = Sizes::EMPTY;
        list.iter().for_each(|(rank, value)| sizes.push(*rank, *value));
        sizes
    }

    proptest! {
        #[test]
        fn two_sides_together_lose_nothing(a in 0..=WHOLE, b in 0..=WHOLE) {
            prop_assert_eq!(u64::from(mean(a, b)) + u64::from(mean(b, a)), u64::from(a) + u64::from(b));
            prop_assert!(mean(a, b).abs_diff(mean(b, a)) <= 1);
        }

        #[test]
        fn the_lowest_ranks_stay(mut mine in prop::collection::btree_map(0u32..40, 1..WHOLE, 0..9),
                                 theirs in prop::collection::btree_map(0u32..40, 1..WHOLE, 0..9)) {
            type Map = std::collections::BTreeMap<u32, u32>;
            let list = |map: &Map| map.iter().map(|(r, v)| (*r, *v)).collect::<Vec<_>>();
            let mut merged = sizes(&list(&mine));
            merged.average(&sizes(&list(&theirs)));
            mine.extend(theirs);
            let lowest: Vec<u32> = mine.into_keys().take(INSTANCES).collect();
            prop_assert_eq!(merged.iter().map(|(rank, _)| rank).collect::<Vec<_>>(), lowest);
            prop_assert!(merged.is_sound());
        }
    }

    #[test]
    fn the_estimate_is_the_middle_half() {
        let of = |values: &[u32]| {
            let list: Vec<_> = values.iter().enumerate().map(|(i, value)| (i as u32, *value)).collect();
            sizes(&list).estimate().map(|size| (size.nodes, size.error_ppm))
        };
        let hundredth = WHOLE / 100;
        let table: [(&[u32], _); 5] = [
            (&[], None),
            (&[0], None),
            (&[WHOLE], Some((1, 0))),
            (&[WHOLE / 3; 3], Some((3, 0))),
            // Two spoiled ones at each end change nothing.
            (&[0, 9, hundredth, hundredth, hundredth, hundredth, WHOLE, WHOLE], Some((100, 0))),
        ];
        for (values, expected) in table {
            assert_eq!(of(values), expected, "{values:?}");
        }
        let spread = [9, 9, hundredth / 10 * 9, hundredth, hundredth, hundredth / 10 * 11, WHOLE, WHOLE];
        assert_eq!(of(&spread), Some((100, 99_999)));
    }

    #[test]
    fn what_no_correct_node_says_is_seen() {
        assert!(sizes(&[(1, 5), (2, WHOLE)]).is_sound());
        for unsound in [&[(2, 5), (2, 5)][..], &[(3, 5), (2, 5)], &[(1, WHOLE + 1)]] {
            assert!(!sizes(unsound).is_sound(), "{unsound:?}");
        }
        for len in [7, 72] {
            let bytes = minicbor::to_vec(minicbor::bytes::ByteVec::from(std::vec![0; len])).unwrap();
            assert!(minicbor::decode::<Sizes>(&bytes).is_err());
        }
        let all = sizes(&[(1, 2), (3, 4), (u32::MAX, WHOLE)]);
        assert_eq!(minicbor::decode::<Sizes>(&minicbor::to_vec(all).unwrap()).unwrap(), all);
    }
}
