//! What lies on the ring: keys that are spread evenly, crowded, or with prefixes of which few have most.

use xtreem_base::Rng;
use xtreem_overlay::{Key, Namespace, Position, Range};

use super::Keys;

/// Items a node: where they decide about places, and where they are only looked up.
const ITEMS: (usize, usize) = (100, 10);
/// Prefixes of the Zipf spread, such as the sites or the topics of a grid.
const PREFIXES: usize = 1_000;

/// All items in their order. They belong to whoever owns their place.
#[derive(Debug, Default)]
pub(super) struct Items {
    keys: Vec<Key>,
    spread: Keys,
    /// Sums of 1/rank, in millionths.
    weights: Vec<u64>,
    /// Whether nodes know of them: places are then chosen by load.
    are_told: bool,
}

fn key(bytes: &[u8]) -> Key {
    Key::new(Namespace::USER, bytes).expect("far below the longest")
}

impl Items {
    pub(super) fn new(spread: Keys, nodes: usize, rng: &mut Rng) -> Self {
        let mut sum = 0;
        let weights = (1..=PREFIXES as u64).map(|rank| {
            sum += 1_000_000 / rank;
            sum
        });
        let weights = weights.collect();
        let mut items = Items { keys: Vec::new(), spread, weights, are_told: spread == Keys::Zipf };
        let each = if items.are_told { ITEMS.0 } else { ITEMS.1 };
        items.keys = (0..nodes * each).map(|_| items.key(rng)).collect();
        items.keys.sort_unstable();
        items
    }

    /// One more key of the same spread.
    pub(super) fn key(&self, rng: &mut Rng) -> Key {
        match self.spread {
            Keys::Uniform => key(&rng.next_u64().to_be_bytes()),
            Keys::U8 => {
                let unit = rng.next_u64() as f64 / u64::MAX as f64;
                key(&((unit.powi(8) * u64::MAX as f64) as u64).to_be_bytes())
            }
            Keys::Zipf => {
                let all = self.weights.last().copied().unwrap_or(1);
                let drawn = rng.between(0, all - 1);
                let rank = self.weights.partition_point(|sum| *sum <= drawn) as u64;
                // Neighbouring ranks lie anywhere.
                let prefix = xtreem_base::mix(rank) as u16;
                let mut bytes = prefix.to_be_bytes().to_vec();
                bytes.extend(rng.next_u64().to_be_bytes());
                key(&bytes)
            }
        }
    }

    /// An item's key, of the spread that lookups have.
    pub(super) fn any(&self, rng: &mut Rng) -> Key {
        rng.pick(&self.keys).cloned().unwrap_or_default()
    }

    /// Items before the first that lies behind `position`.
    fn rank(&self, position: &Position) -> usize {
        self.keys.partition_point(|key| Position::of_key(key.clone()) <= *position)
    }

    pub(super) fn count(&self, range: &Range) -> usize {
        let (after, to) = (self.rank(&range.after), self.rank(&range.to));
        if range.after < range.to { to - after } else { self.keys.len() - after + to }
    }

    pub(super) fn load(&self, range: &Range) -> u64 {
        if self.are_told { self.count(range) as u64 } else { 0 }
    }

    pub(super) fn middle(&self, range: &Range) -> Option<Key> {
        let count = self.load(range) as usize;
        let at = (self.rank(&range.after) + count / 2).checked_sub(1)?;
        (count > 1).then(|| self.keys[at % self.keys.len()].clone())
    }
}
