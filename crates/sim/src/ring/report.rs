//! What a run tells.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Nodes asked until the owner was reached, of lookups at the start when nothing is broken yet.
    pub hops_mean: f64,
    pub hops_max: u32,
    /// The same for plain Chord with random identifiers; null when it was not measured.
    pub chord_hops_mean: Option<f64>,
    pub lookups: u64,
    /// Answered by the live node that owns the key, within 15 s.
    pub lookups_right: u64,
    pub unanswered: u64,
    /// Answers that another node could have given at the same moment, too.
    pub double_owner_lookups: u64,
    /// Items of the fullest node over those of the mean one.
    pub balance_max_over_mean: f64,
    /// The same if every node stood at a random place.
    pub balance_random_max_over_mean: f64,
    /// Growth of resident memory from before the world was made to the end.
    pub bytes_per_node: u64,
    /// From the start, or from the kill, until all nodes have the right predecessor and successor; null: not
    /// to the end.
    pub rounds_to_right_ring: Option<u32>,
}
