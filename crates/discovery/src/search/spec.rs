//! What a search is told: what is wanted, of how many nodes, and how much it may cost.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle};

use crate::language::need::Need;
use crate::language::requirement::{SetError, SetQuery};
use crate::visit::hold::HoldAsk;
use crate::visit::host::Asked;
use crate::visit::message::Query;
use crate::{FactsAsk, Requirement};

/// How long a search goes on unless told otherwise (our guess: a user waits for it).
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that a search may be given.
pub const DEADLINE_MAX: Duration = Duration::from_secs(600);
/// Visits of a search unless told otherwise (our guess: a bound on what one search costs the grid).
pub const VISITS_DEFAULT: u32 = 2_000;
/// Visits at once unless told otherwise (8 keeps both round trips and overshoot low:
/// docs/design/selection.md, "Visits in flight").
pub const IN_FLIGHT_DEFAULT: u32 = 8;
/// The most visits that a search may be given.
pub const VISITS_MAX: u32 = 100_000;
/// The most visits at once that a search may be given.
pub const IN_FLIGHT_MAX: u32 = 64;
/// The most nodes that a search may be told to leave out.
pub const EXCLUDE_MAX: usize = 4_096;

/// Names a search on its own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub u32);

/// What a search is told.
#[derive(Clone, Debug)]
pub struct SearchSpec {
    pub query: Query,
    /// Matching nodes after which it ends; holds granted, when holds are asked for.
    pub wanted: u32,
    /// Whether matching nodes shall send their attributes.
    pub attributes: bool,
    /// What they shall tell of themselves for a choice among them; those that grant the hold, when one is
    /// asked for.
    pub facts: Option<FactsAsk>,
    pub deadline: Duration,
    pub visits_max: u32,
    pub in_flight: u32,
    /// Nodes that must not be matches. To leave the requester out, name it here.
    pub exclude: Vec<Handle>,
    /// Ask all nodes by handing the query down the trie, where that is known and the grid is not small.
    /// Whoever matches is then told by the nodes on the way; holds and excluded nodes are not possible.
    pub gather: bool,
    /// Whether matching nodes are named or only counted, where `gather` is chosen.
    pub list: bool,
    /// The nodes are to be a set that is enough together; `query` is what each of them must have, and
    /// `wanted` does not count. Matches are told when the set is there, held when the query asks for holds:
    /// the whole set or nothing.
    pub set: Option<SetQuery>,
    /// The attribute whose values among the matching nodes are counted.
    pub histogram: Option<Box<str>>,
    /// Every node that matches is found with equal odds, the requester among them, instead of the quickest
    /// to find. So many visits at most go out for that which ask for nothing but the way; without any, nodes
    /// that are linked to are found before those behind them.
    pub by_lot: Option<u32>,
}

impl SearchSpec {
    pub fn new(query: Query, wanted: u32) -> Self {
        SearchSpec {
            query,
            wanted,
            attributes: false,
            facts: None,
            deadline: DEADLINE_DEFAULT,
            visits_max: VISITS_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
            exclude: Vec::new(),
            gather: false,
            list: true,
            set: None,
            histogram: None,
            by_lot: None,
        }
    }

    /// A set of nodes, held when there is something to ask them for.
    pub fn set(set: SetQuery, hold: Option<HoldAsk>) -> Self {
        let query = Query::Nodes { requirement: set.member().clone(), hold };
        let spec = SearchSpec::new(query, set.most().into());
        SearchSpec { attributes: true, set: Some(set), in_flight: IN_FLIGHT_MAX, ..spec }
    }

    /// So many nodes for the slots of an application, held when there is something to ask them for; where
    /// they are to be enough together, a set of exactly so many.
    ///
    /// # Errors
    /// A set cannot have so many members.
    pub fn slots(need: &Need, slots: u16, hold: Option<HoldAsk>) -> Result<Self, SetError> {
        Ok(match need {
            Need::Each(requirement) => {
                SearchSpec::new(Query::Nodes { requirement: requirement.clone(), hold }, slots.into())
            }
            Need::Together(set) => SearchSpec::set(set.of_exactly(slots)?, hold),
        })
    }

    /// All nodes that meet `requirement`, or how many they are.
    pub fn all(requirement: Requirement, list: bool) -> Self {
        let spec = SearchSpec::new(Query::Nodes { requirement, hold: None }, u32::MAX);
        SearchSpec { gather: true, list, visits_max: VISITS_MAX, in_flight: IN_FLIGHT_MAX, ..spec }
    }

    /// Nodes that meet `requirement`, without holds, with their attributes.
    pub fn nodes(requirement: Requirement, wanted: u32) -> Self {
        let spec = SearchSpec::new(Query::Nodes { requirement, hold: None }, wanted);
        SearchSpec { attributes: true, ..spec }
    }

    /// How often whoever asks was turned away, when holds are asked for.
    pub(crate) fn patience(&self) -> u8 {
        match &self.query {
            Query::Nodes { hold: Some(ask), .. } => ask.patience,
            _ => 0,
        }
    }

    /// What matching nodes shall tell.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { attributes: self.attributes, facts: self.facts.as_ref() }
    }

    pub(crate) fn is_within_limits(&self) -> bool {
        (1..=VISITS_MAX).contains(&self.visits_max)
            && (1..=IN_FLIGHT_MAX).contains(&self.in_flight)
            && self.exclude.len() <= EXCLUDE_MAX
            && self.deadline <= DEADLINE_MAX
    }
}
