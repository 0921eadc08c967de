//! What a run found.

use serde::Serialize;

/// A round is the period of T-Man, 2 s; rounds are null when the ring was not right in time. Bytes are those
/// that are sent, as on the wire: datagrams with the longest envelope and their padding, streams without
/// their headers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub nodes: u32,
    pub view: u8,
    pub seed: u64,
    pub loss: f64,
    /// Until the nearest on both sides of everybody were right.
    pub rounds_to_perfect: Option<u32>,
    /// Share of the nodes with a wrong successor or predecessor, at the start and after each round.
    pub wrong_by_round: Vec<f64>,
    /// The same of the plain algorithm; null also when it was left out.
    pub baseline_rounds: Option<u32>,
    pub baseline_wrong_by_round: Vec<f64>,
    /// Of T-Man, until the ring was right.
    pub bytes_per_node_round: f64,
    /// Of CYCLON, in the same rounds.
    pub cyclon_bytes_per_node_round: f64,
    /// Exchanges begun.
    pub exchanges_per_node_round: f64,
    /// Of T-Man, in 20 rounds after the ring was right.
    pub bytes_per_node_round_kept: Option<f64>,
    /// Until the survivors were right.
    pub rounds_after_kill: Option<u32>,
    /// Until both halves were right, when the split had lasted for as long as was asked.
    pub rounds_split: Option<u32>,
    /// Until all were right again.
    pub rounds_after_heal: Option<u32>,
    /// Deliveries and timeouts that reached a live node, of the product.
    pub events: u64,
    /// Of all these events and all views at the end.
    pub digest: String,
}
