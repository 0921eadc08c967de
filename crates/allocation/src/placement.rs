//! Placement: which of the nodes that match get the slots.
//!
//! It stands between search and confirm. A submission whose placement has something to choose from looks for more
//! candidates than it needs, each with a spare hold (`Ask::is_spare`) and the facts that the placement asks for; the
//! placement chooses; the rest is released at once. A placement is one small type behind [`Placement`], so that a site's
//! own scheduler can be plugged in. *Absent: searching, holding, giving back; that is `submission::holding`.*

mod random;

use alloc::vec::Vec;
use core::fmt::Debug;

use xtreem_base::{Handle, Rng};
use xtreem_discovery::{Facts, FactsAsk};

pub use random::Random;

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
}

/// Chooses nodes for the slots of one application. Integers only: what it decides must be the same in the simulator and on
/// every machine.
pub trait Placement: Debug + Send + Sync {
    /// What to look for when `wanted` nodes are missing.
    fn wishes(&self, wanted: u16) -> Wishes;

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
    rng: &mut Rng,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let named = placement.choose(&Choice { candidates: &candidates, kept, wanted }, rng);
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
