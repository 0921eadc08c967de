//! The parts of a node that are more than a core with its numbers: several cores of one kind, a core that
//! waits for something, or the host that a core asks.

pub(crate) mod aggregates;
pub(crate) mod allocation;
pub(crate) mod collections;
pub(crate) mod discovery;
pub(crate) mod policies;
pub(crate) mod tries;
