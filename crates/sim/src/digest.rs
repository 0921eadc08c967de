//! A running hash of everything that happened: two runs with one digest went the same way.

use std::fmt;

/// Order matters; not for secrets. The function (version 1) is fixed, so digests can be compared over time:
/// each word is xored in, then the state is multiplied and folded as in wyhash (Wang Yi 2019).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Digest {
    fn default() -> Self {
        Digest(0x2545_f491_4f6c_dd1d)
    }
}

impl Digest {
    pub fn add(&mut self, word: u64) {
        // The rotation keeps a state of zero from swallowing words.
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64 ^ (product >> 64) as u64).rotate_left(23).wrapping_add(MULTIPLIER);
    }
}

impl Digest {
    /// For sums over things whose order says nothing: what happens at different nodes at different times.
    pub fn of(words: [u64; 2]) -> u64 {
        Digest::of_all(words)
    }

    /// Of any number of words, in their order.
    pub fn of_all(words: impl IntoIterator<Item = u64>) -> u64 {
        let mut digest = Digest::default();
        words.into_iter().for_each(|word| digest.add(word));
        digest.0
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[u64]) -> String {
        let mut digest = Digest::default();
        words.iter().for_each(|&word| digest.add(word));
        digest.to_string()
    }

    #[test]
    fn order_number_and_value_all_show() {
        let words: [&[u64]; 7] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1], &[1], &[u64::MAX]];
        for (i, a) in words.iter().enumerate() {
            for (j, b) in words.iter().enumerate() {
                assert_eq!(of(a) == of(b), i == j, "{a:?} {b:?}");
            }
        }
        assert_eq!(of(&[1, 2]).len(), 16);
    }
}
