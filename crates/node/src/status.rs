//! What a node says of itself when asked.

use xtreem_allocation::Resources;

/// A moment's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Peers in the grid-wide partial view, with the one of the exchange that is under way.
    pub contacts: usize,
    pub offered: Resources,
    /// Held and allocated.
    pub used: Resources,
    pub open_holds: usize,
    /// Holds since the start that nobody renewed, released or confirmed.
    pub lapsed_holds: u64,
    pub slots: usize,
    pub is_cut_off: bool,
}
