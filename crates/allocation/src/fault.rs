//! Messages that made no sense: what was wrong with one, and how many there were.

use thiserror::Error;

use crate::allocation::APPS_MAX;

/// What a correct and timely peer would not have sent. The rest of the same message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("a report names a slot that the application does not have: it was passed over")]
    NoSuchSlot,
    #[error("this node takes part in {APPS_MAX} applications: it was not made to take part in one more")]
    TooManyApps,
    #[error("an appointment does not name this node among the guardians: it was passed over")]
    NotAppointed,
    #[error("a claim about a slot comes from somebody who is not entitled to it: it was passed over")]
    NotEntitled,
    #[error("facts were not asked for, or name a place outside the world: they were passed over")]
    UnsuitableFacts,
}

/// Messages that made no sense, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A slot number that the application does not have.
    pub no_such_slot: u64,
    /// An application beyond the most that one node takes part in.
    pub too_many_apps: u64,
    /// An appointment that does not name this node.
    pub not_appointed: u64,
    /// A claim about a slot, by somebody who is not entitled to it.
    pub not_entitled: u64,
    /// Facts that were not asked for, or a place outside the world.
    pub unsuitable_facts: u64,
}

impl Faults {
    /// Each count, by its name.
    pub fn by_name(&self) -> [(&'static str, u64); 5] {
        [
            ("no_such_slot", self.no_such_slot),
            ("too_many_apps", self.too_many_apps),
            ("not_appointed", self.not_appointed),
            ("not_entitled", self.not_entitled),
            ("unsuitable_facts", self.unsuitable_facts),
        ]
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        let counter = match fault {
            Fault::NoSuchSlot => &mut self.no_such_slot,
            Fault::TooManyApps => &mut self.too_many_apps,
            Fault::NotEntitled => &mut self.not_entitled,
            Fault::NotAppointed => &mut self.not_appointed,
            Fault::UnsuitableFacts => &mut self.unsuitable_facts,
        };
        *counter += 1;
    }
}
