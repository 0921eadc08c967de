//! Placement: which of the nodes that match get the slots.
//!
//! It stands between search and confirm. A submission whose placement has something to choose from looks for more
//! candidates than it needs, each with a spare hold (`Ask::is_spare`) and the facts that the placement asks for; the
//! placement chooses; the rest is released at once. A placement is one small type behind [`Placement`], so that a site's
//! own scheduler can be plugged in. *Absent: searching, holding, giving back; that is `submission::holding`.*

mod named;
mod near;
mod pack;
mod random;
mod spread;
#[cfg(test)]
mod tests;
mod weighted;

use alloc::vec::Vec;
use core::fmt::Debug;

use xtreem_base::{Coordinate, Handle, Rng};
use xtreem_discovery::{Facts, FactsAsk};

pub use named::{PLACEMENT_MAX_BYTES, Placements, Reader};
pub use near::Near;
pub use pack::Pack;
pub use random::Random;
pub use spread::Spread;
pub use weighted::Weighted;

/// Candidates looked for beyond each node needed. The best of k + 1 is among the best 1/(k + 1) of all that match; each costs
/// about two visits (docs/design/selection.md, "Visits in flight"). Three take the best quarter.
const SURPLUS_PER_NODE: u16 = 3;
/// So many at least: one node alone is to be chosen well, too. Our guess.
const SURPLUS_MIN: u16 = 16;
/// So many at most, which bounds what one submission holds beyond its need. Our guess.
const SURPLUS_MAX: u16 = 192;

/// What the placements here look for beyond the need.
fn surplus(wanted: u16) -> u16 {
    wanted.saturating_mul(SURPLUS_PER_NODE).clamp(SURPLUS_MIN, SURPLUS_MAX)
}

/// A node that matches and is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub peer: Handle,
    pub hold: u64,
    /// Its own word on itself, of the moment when the hold was granted.
    pub facts: Facts,
}

/// What a placement wants before it chooses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Candidates beyond those that are needed, held as spare while the search runs. With none there is nothing to choose:
    /// each node is taken as it is found, in its turn.
    pub surplus: u16,
    /// Told by each candidate.
    pub facts: FactsAsk,
}

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// In the order in which they were found, which is nearly random.
    pub candidates: &'a [Candidate],
    /// Facts of nodes that have slots of the application already, or will have, as far as they are known here.
    pub kept: &'a [&'a Facts],
    /// Nodes to choose.
    pub wanted: usize,
    /// Where the submitter stands, or the node that [`Placement::address`] names. A node that replaces a lost slot does not
    /// know it.
    pub origin: Option<Coordinate>,
}

impl Choice<'_> {
    /// The places of the candidates with the lowest keys; of equal ones the first found.
    fn best_by_key<K: Ord>(&self, key: impl Fn(&Candidate) -> K) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.candidates.len()).collect();
        all.sort_by_cached_key(|at| key(&self.candidates[*at]));
        all.truncate(self.wanted);
        all
    }
}

/// Chooses nodes for the slots of one application. Integers only: what it decides must be the same in the simulator and on
/// every machine.
pub trait Placement: Debug + Send + Sync {
    /// What to look for when `wanted` nodes are missing.
    fn wishes(&self, wanted: u16) -> Wishes;

    /// Host name, id or address of the node whose coordinate is the origin; the submitter's own when there is none.
    fn address(&self) -> Option<&str> {
        None
    }

    /// The chosen candidates, by their place in the list, the best first. More than wanted, places that do not exist and
    /// repetitions are dropped; where it names too few, others are taken in the order of the list.
    fn choose(&self, choice: &Choice<'_>, rng: &mut Rng) -> Vec<usize>;
}

/// The candidates that `placement` chooses, and the others: never more than wanted, never one twice, whatever it says.
pub(crate) fn choose(
    placement: &dyn Placement,
    candidates: Vec<Candidate>,
    kept: &[&Facts],
    wanted: usize,
    origin: Option<Coordinate>,
    rng: &mut Rng,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let named = placement.choose(&Choice { candidates: &candidates, kept, wanted, origin }, rng);
    let mut left: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    let in_order = 0..left.len();
    let mut chosen = Vec::new();
    for at in named.into_iter().chain(in_order) {
        if chosen.len() < wanted {
            chosen.extend(left.get_mut(at).and_then(Option::take));
        }
    }
    (chosen, left.into_iter().flatten().collect())
}
