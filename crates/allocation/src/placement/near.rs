//! The nodes with the shortest round trips to the submitter, or to a node that is named.
//!
//! Who replaces a lost slot knows neither: it takes the nodes that are nearest to the other holders, which
//! were near.

use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{Coordinate, Rng};

use super::{Candidate, Choice, Placement, Wishes, surplus};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Host name, id or address of a node; the submitter when there is none.
    to: Option<String>,
}

impl Near {
    pub fn submitter() -> Self {
        Near { to: None }
    }

    pub fn to(node: &str) -> Self {
        Near { to: Some(node.into()) }
    }
}

impl Placement for Near {
    fn wishes(&self, wanted: u16) -> Wishes {
        Wishes { surplus: surplus(wanted), ..Wishes::default() }
    }

    fn address(&self) -> Option<&str> {
        self.to.as_deref()
    }

    fn choose(&self, choice: &Choice<'_>, _: &mut Rng) -> Vec<usize> {
        let holders = choice.kept.iter().filter_map(|facts| facts.coordinate);
        let origins: Vec<Coordinate> = match choice.origin {
            Some(origin) => [origin].into(),
            None => holders.collect(),
        };
        choice.best_by_key(|candidate: &Candidate| {
            let sum = |at: Coordinate| origins.iter().map(|origin| origin.distance(&at)).sum();
            candidate.facts.coordinate.map_or(i64::MAX, sum)
        })
    }
}
