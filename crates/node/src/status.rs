//! What a node says of itself when asked.

use xtreem_allocation::Resources;

/// Messages that made no sense, counted. None of them changed anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub membership: u64,
    pub reference: u64,
    pub discovery: u64,
    pub trie: u64,
    pub coordinates: u64,
    pub aggregation: u64,
    pub allocation: xtreem_allocation::Faults,
    /// A policy that could not be read.
    pub policy: u64,
    /// A message of a collection that this node is not part of.
    pub no_such_collection: u64,
}

/// A moment's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Peers in the grid-wide partial view.
    pub contacts: usize,
    pub offered: Resources,
    /// Held and allocated.
    pub used: Resources,
    pub open_holds: usize,
    /// Since the start: holds that nobody renewed, released or confirmed.
    pub lapsed_holds: u64,
    pub slots: usize,
    pub is_cut_off: bool,
    pub faults: Faults,
}
