//! What the agent's node knows of all nodes of the grid together.

use serde::{Deserialize, Serialize};

/// `GET /v1/grid`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridReply {
    /// The one VO that this agent is in.
    pub vo: String,
    /// Averages begin anew in each epoch; zero: the node has heard of none yet.
    pub epoch: u32,
    /// Rounds since the epoch began, of so many.
    pub round: u16,
    pub rounds: u8,
    /// What the last epoch came to; absent before one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<GridEstimate>,
}

/// The grid as it was when an epoch began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridEstimate {
    pub epoch: u32,
    /// It is another node's word: this one has not been in an epoch to its end.
    pub heard: bool,
    /// About so many nodes.
    pub nodes: u32,
    /// The number may be off by this share of it.
    pub nodes_error: f64,
    pub attributes: Vec<GridAttribute>,
}

/// How an attribute is distributed over all nodes. Shares are of all nodes, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridAttribute {
    pub name: String,
    /// Rising; those without nodes are left out. Of a text only the value that this node has is told.
    pub bars: Vec<GridBar>,
    /// Nodes without the attribute.
    pub missing: f64,
    /// Nodes with other values than those told.
    pub others: f64,
    /// Shares may be off by so much, where most nodes are.
    pub error_max: f64,
    pub error_mean: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridBar {
    /// The value, or the least of a stretch that ends before the next bar.
    pub value: String,
    /// In whole thousandths, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousandths: Option<i64>,
    /// All nodes of the bar have this very value.
    pub exact: bool,
    pub nodes: u32,
    pub share: f64,
}
