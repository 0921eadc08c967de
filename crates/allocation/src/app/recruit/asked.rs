//! What is asked of the node that replaces a lost holder where the holders are to be enough together.
//!
//! The others tell what they have; whoever is found then makes the set whole again. Where no such node can be
//! had, one with an even share of the sums is better than none, at best one that is apart from the others.

use alloc::vec::Vec;

use xtreem_base::Handle;
use xtreem_discovery::{Attributes, Demand, Facts, FactsAsk, Requirement, SetQuery};

use super::App;

impl App {
    /// Whether the holders are to be a set.
    pub(super) fn is_set(&self) -> bool {
        self.application.spec.requirement.set().is_some()
    }

    /// The set that the holders are to be, if the application wants one.
    pub(super) fn set(&self) -> Option<SetQuery> {
        let set = self.application.spec.requirement.set()?;
        // Whoever signed wrote both numbers; the slots are those that there are.
        Some(set.of_exactly(self.slots()).unwrap_or_else(|_| set.clone()))
    }
}

/// What other holders are asked to tell.
pub(super) fn of_others(set: &SetQuery) -> FactsAsk {
    FactsAsk::new(set.names()).unwrap_or_default()
}

/// What the new holder must have beside those who told: in turn, until somebody is found.
pub(super) fn of_the_new(set: &SetQuery, told: &[(Handle, Facts)]) -> Vec<Requirement> {
    let others: Vec<&Attributes> = told.iter().map(|(_, facts)| &facts.values).collect();
    let demands = [Demand::Whole, Demand::ShareApart, Demand::Share];
    let mut asked: Vec<Requirement> = demands.into_iter().map(|demand| set.beside(&others, demand)).collect();
    asked.dedup();
    asked
}
