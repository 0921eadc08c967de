//! Where a node stands in the space of attributes: a key whose prefixes are regions of like machines.
//!
//! The bits of all attribute codes come interleaved from the highest down, so that a longer common prefix
//! means machines that are more alike in every attribute; bits of the node's own hash follow, so that
//! identical machines differ too (docs/design/selection.md, "Key").

use core::fmt;

use minicbor::{Decode, Encode};

use crate::area::Area;

/// Attributes in a key.
pub const DIMENSIONS_MAX: usize = 8;
/// Bits of an attribute's code.
pub const CODE_BITS: usize = 16;
/// Bits of the node's hash, behind the codes: two of 80,000 identical machines share them with odds of one
/// half.
pub const HASH_BITS: usize = 32;
/// Bits of a key.
pub const KEY_BITS: usize = DIMENSIONS_MAX * CODE_BITS + HASH_BITS;

const WORDS: usize = KEY_BITS / 32;

/// The codes of one node's attributes in the order of the schema; those beyond its dimensions are zero.
pub type Codes = [u16; DIMENSIONS_MAX];

/// Each bit as the lowest of a lane of eight.
fn spread(bits: u8) -> u64 {
    const ONE_EACH: u64 = 0x8040_2010_0804_0201;
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    let alone = (u64::from(bits) * LOWEST) & ONE_EACH;
    // Whichever bit is left in a lane carries into its highest one.
    ((((alone & !(LOWEST << 7)) + LOWEST * 0x7f) | alone) >> 7) & LOWEST
}

/// 160 bits, the first one highest. With fewer than eight attributes the hash follows the last code bit at
/// once, and zeros follow the hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Key(#[n(0)] [u32; WORDS]);

impl Key {
    /// The key of a node with these codes, of which the first `dimensions` count.
    pub fn new(codes: &Codes, dimensions: usize, hash: u32) -> Self {
        let mut key = Key([0; WORDS]);
        let dimensions = dimensions.min(DIMENSIONS_MAX);
        let mut at = 0;
        for bit in (0..CODE_BITS).rev() {
            for code in &codes[..dimensions] {
                key.0[at / 32] |= u32::from(code >> bit & 1) << (31 - at % 32);
                at += 1;
            }
        }
        let (word, shift) = (at / 32, at % 32);
        key.0[word] |= hash >> shift;
        if shift > 0 {
            key.0[word + 1] |= hash << (32 - shift);
        }
        key
    }

    /// All bits, folded (FNV-1a by words).
    pub(crate) fn salt(&self) -> u64 {
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |fold: u64, word| {
            (fold ^ u64::from(*word)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// Bits that both begin with; [`KEY_BITS`] when they are equal.
    pub fn common_prefix(&self, other: &Key) -> usize {
        for (i, (mine, theirs)) in self.0.iter().zip(&other.0).enumerate() {
            let differ = mine ^ theirs;
            if differ != 0 {
                return i * 32 + differ.leading_zeros() as usize;
            }
        }
        KEY_BITS
    }

    /// The codes that the key was made of.
    pub fn codes(&self, dimensions: usize) -> Codes {
        let mut codes = [0; DIMENSIONS_MAX];
        let dimensions = dimensions.min(DIMENSIONS_MAX);
        if dimensions == 0 {
            return codes;
        }
        // One bit of each code at a time, all of them in the lanes of one word; half of a code fits a lane.
        let mut halves = [0; 2];
        for (half, lanes) in halves.iter_mut().enumerate() {
            for bit in 0..CODE_BITS / 2 {
                let plane = self.window((half * CODE_BITS / 2 + bit) * dimensions) >> (16 - dimensions);
                *lanes = *lanes << 1 | spread(plane as u8);
            }
        }
        let lane = |lanes: u64, at: usize| (lanes >> (8 * at)) as u16 & 0xff;
        for (i, code) in codes[..dimensions].iter_mut().enumerate() {
            let at = dimensions - 1 - i;
            *code = lane(halves[0], at) << 8 | lane(halves[1], at);
        }
        codes
    }

    #[cfg(test)]
    fn bit(&self, at: usize) -> bool {
        self.0[at / 32] >> (31 - at % 32) & 1 == 1
    }

    /// The same key with one bit turned round and all behind it cleared: a name for the subtree beside this
    /// node's at that level.
    pub fn sibling(&self, level: usize) -> Key {
        let mut key = *self;
        let (word, shift) = (level / 32, 31 - level % 32);
        key.0[word] = (key.0[word] ^ 1 << shift) & (u32::MAX << shift);
        key.0[word + 1..].fill(0);
        key
    }

    /// The sixteen bits from `at` on; zeros behind the end.
    pub fn window(&self, at: usize) -> u16 {
        let word = |i: usize| u64::from(self.0.get(i).copied().unwrap_or_default());
        let pair = word(at / 32) << 32 | word(at / 32 + 1);
        (pair << (at % 32) >> 48) as u16
    }

    /// The same key with these sixteen bits from `at` on, where they are zero.
    pub(crate) fn with_window(&self, at: usize, bits: u16) -> Key {
        let mut key = *self;
        let pair = u64::from(bits) << 48 >> (at % 32);
        for (word, bits) in key.0[(at / 32).min(WORDS)..].iter_mut().zip([pair >> 32, pair]) {
            *word |= bits as u32;
        }
        key
    }

    /// All codes that keys with the same first `len` bits can have.
    pub fn cell(&self, len: usize, dimensions: usize) -> Area {
        cell(&self.codes(dimensions), len, dimensions)
    }
}

/// All codes whose keys share the first `len` bits with that of `codes`.
pub(crate) fn cell(codes: &Codes, len: usize, dimensions: usize) -> Area {
    let dimensions = dimensions.min(DIMENSIONS_MAX);
    let mut area = Area::of(codes);
    let all = (len as u32).checked_div(dimensions as u32).unwrap_or_default() as usize;
    for (i, code) in codes[..dimensions].iter().enumerate() {
        // Bits of this attribute among the first `len`.
        let fixed = (all + usize::from(all * dimensions + i < len)).min(CODE_BITS);
        let open = u16::MAX.checked_shr(fixed as u32).unwrap_or(0);
        area.low[i] = code & !open;
        area.high[i] = code | open;
    }
    area
}

/// The codes in the subtree beside that of `codes` at `level`: as [`Key::sibling`] and [`Key::cell`], without
/// the key.
pub(crate) fn sibling_cell(codes: &Codes, level: usize, dimensions: usize) -> Area {
    let mut codes = *codes;
    if level < dimensions * CODE_BITS {
        codes[level % dimensions] ^= 1 << (CODE_BITS - 1 - level / dimensions);
    }
    cell(&codes, level + 1, dimensions)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:08x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_key() -> impl Strategy<Value = (Codes, usize, u32)> {
        (any::<Codes>(), 0..=DIMENSIONS_MAX, any::<u32>()).prop_map(|(mut codes, dimensions, hash)| {
            codes[dimensions..].fill(0);
            (codes, dimensions, hash)
        })
    }

    proptest! {
        #[test]
        fn a_key_gives_its_codes_back((codes, dimensions, hash) in some_key()) {
            prop_assert_eq!(Key::new(&codes, dimensions, hash).codes(dimensions), codes);
        }

        #[test]
        fn a_cell_holds_exactly_what_shares_the_prefix(
            (codes, dimensions, hash) in some_key(),
            other: Codes,
            len in 0..=KEY_BITS,
        ) {
            let mut other = other;
            other[dimensions..].fill(0);
            let (key, other_key) = (Key::new(&codes, dimensions, hash), Key::new(&other, dimensions, 7));
            let attribute_bits = dimensions * CODE_BITS;
            let shared = key.common_prefix(&other_key);
            let inside = key.cell(len, dimensions).contains(&other);
            prop_assert_eq!(inside, shared.min(attribute_bits) >= len.min(attribute_bits) );
        }

        #[test]
        fn a_window_is_what_stands_there((codes, dimensions, hash) in some_key(), at in 0..KEY_BITS) {
            let key = Key::new(&codes, dimensions, hash);
            let bit = |key: &Key, at: usize| at < KEY_BITS && key.bit(at);
            for i in 0..16 {
                prop_assert_eq!(key.window(at) >> (15 - i) & 1 == 1, bit(&key, at + i));
            }
            // Put back behind the same prefix, it makes keys share so much more.
            let from = at.max(1);
            let cleared = key.sibling(from - 1).sibling(from - 1);
            let again = cleared.with_window(from, key.window(from));
            prop_assert!(again.common_prefix(&key) >= (from + 16).min(KEY_BITS));
        }

        #[test]
        fn a_sibling_leaves_at_its_level((codes, dimensions, hash) in some_key(), level in 0..KEY_BITS) {
            let key = Key::new(&codes, dimensions, hash);
            prop_assert_eq!(key.common_prefix(&key.sibling(level)), level);
            let cell = key.sibling(level).cell(level + 1, dimensions);
            prop_assert_eq!(sibling_cell(&codes, level, dimensions), cell);
        }
    }

    #[test]
    fn the_highest_bits_of_all_codes_come_first_and_the_hash_follows_the_last() {
        let mut codes = [0; DIMENSIONS_MAX];
        (codes[0], codes[1]) = (0x8000, 0xc000);
        let key = Key::new(&codes, 2, 0x8000_0001);
        assert_eq!(
            alloc::format!("{key:?}"),
            "d0000000800000010000000000000000000000000000000000000000"[..40]
        );
        assert_eq!(key.common_prefix(&key), KEY_BITS);
    }
}
