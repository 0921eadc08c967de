//! What a run tells.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rounds of two seconds from views that are random until every node counts itself right and all of them;
    /// null: not to the end.
    pub rounds_to_right: Option<u32>,
    /// Other nodes that a node keeps for counting: where its rows lead, and who asks it.
    pub state_entries_mean: f64,
    pub state_entries_max: u32,
    /// Until every node knew its right successor, without which nobody counts right.
    pub rounds_to_right_ring: Option<u32>,
    /// Until every node knew, too, that nothing would change.
    pub rounds_to_settled: Option<u32>,
    /// Of counting alone, when all is settled.
    pub messages_per_node_round: f64,
    /// After a kill or churn.
    pub again: Option<Again>,
    /// Two runs with one digest went the same way.
    pub digest: String,
}

/// How it settled again; rounds are counted from the end of the trouble.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Again {
    pub rounds_to_right: Option<u32>,
    /// Where there are fewer nodes than before one of them asks for a new numbering as soon as all count
    /// right.
    pub rounds_to_settled: Option<u32>,
    /// Nodes that lived through it and had another rank at its end than before.
    pub survivors_moved: u32,
}
