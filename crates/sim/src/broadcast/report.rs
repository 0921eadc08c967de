//! What a run tells.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Live nodes that were told, each counted once.
    pub reached: u64,
    /// Nodes that lived when it began, and to its end.
    pub live: u64,
    /// Told more than once.
    pub told_twice: u64,
    /// Delegations a live node, those to the dead and the repeated ones included.
    pub messages_per_node: f64,
    /// Answers to delegations a live node.
    pub acks_per_node: f64,
    /// Delegations on the longest way to a node.
    pub depth: u32,
    /// Seconds until half, 99 %, and all of those reached were told.
    pub seconds_half: f64,
    pub seconds_99: f64,
    pub seconds_all: f64,
    /// Rounds of two seconds until every node knew its right neighbours; null: not before it began.
    pub rounds_to_right_ring: Option<u32>,
    /// Of a row entry that a node had when the broadcast began, and of a successor.
    pub dead_contacts: f64,
}
