//! The invariants of a grid run, one a file. Each sees the observations in order and the world at the end,
//! and nothing else.

mod capacity;
mod component;
mod cut_off;
mod epochs;
mod false_failures;
mod final_state;
mod holds;
mod liars;
mod overlap;
mod partitions;
mod power;
#[cfg(test)]
mod proofs;
mod puts;
mod ring;
mod stopped;

pub(crate) use false_failures::NAME as FALSE_FAILURES;
pub(crate) use holds::NAME as HOLDS_END;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xtreem_base::{AppId, Instant};

use super::seen::{Seen, Snapshot};

/// One promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Name of the invariant.
    pub checker: String,
    /// Milliseconds of virtual time since the start of the warm-up.
    pub at_ms: u64,
    pub what: String,
}

/// Violations kept of one run; the count goes on. One broken rule tends to break every second.
pub(crate) const VIOLATIONS_MAX: usize = 100;

/// Takes what the checkers find.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub list: Vec<Violation>,
    /// Those that did not fit the list.
    pub dropped: u64,
    /// The application of each of the list that is about one.
    about: Vec<Option<AppId>>,
    /// Applications in which a liar has or had a part.
    excused: BTreeSet<AppId>,
}

impl Findings {
    /// A finding about one application: nothing once a liar has a part in it.
    fn add_about(&mut self, app: AppId, checker: &str, at: Instant, what: String) {
        if !self.excused.contains(&app) {
            let known = self.list.len();
            self.add(checker, at, what);
            self.about.resize(known, None);
            self.about.resize(self.list.len(), Some(app));
        }
    }

    /// Nothing is demanded of this application any more, and nothing was since its first liar came near.
    pub fn excuse(&mut self, app: AppId) {
        self.excused.insert(app);
    }

    pub fn excused(&self) -> u32 {
        self.excused.len() as u32
    }

    /// Takes out what was found of an application before a liar had a part in it: how close the two were is
    /// nobody's business.
    pub fn leave_out_the_excused(&mut self) {
        self.about.resize(self.list.len(), None);
        let mut about = self.about.drain(..);
        let excused = &self.excused;
        self.list.retain(|_| !about.next().flatten().is_some_and(|app| excused.contains(&app)));
    }

    fn add(&mut self, checker: &str, at: Instant, what: String) {
        if self.list.len() < VIOLATIONS_MAX {
            self.list.push(Violation { checker: checker.into(), at_ms: at.as_millis(), what });
        } else {
            self.dropped += 1;
        }
    }
}

/// One invariant.
pub(crate) trait Checker {
    /// One more observation, in the order of time.
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings);

    /// The run is over.
    fn finish(&mut self, _at: Instant, _end: &Snapshot, _findings: &mut Findings) {}
}

/// Every invariant, ready for a run of `hosts` hosts.
pub(crate) fn all(hosts: u32) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(epochs::Epochs::default()),
        Box::new(capacity::Capacity),
        Box::new(overlap::Overlap::new(hosts)),
        Box::new(final_state::FinalState::new(hosts)),
        Box::new(component::Component),
        Box::new(ring::OneRing::default()),
        Box::new(puts::Puts::default()),
        Box::new(cut_off::CutOff),
        Box::new(stopped::Stopped::default()),
        Box::new(power::Power::default()),
        Box::new(holds::Holds::default()),
        Box::new(false_failures::FalseFailures::new(hosts)),
        Box::new(liars::Harmless::new(hosts)),
    ]
}
