//! What a run found.

use serde::Serialize;

/// Fractions are 0..1. Path and clustering take links as undirected, with dead nodes removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Directed links between live nodes.
    pub in_degree_mean: f64,
    pub in_degree_sd: f64,
    /// Hops between two nodes that can reach each other, from at least 100 sources.
    pub mean_path: f64,
    pub clustering: f64,
    /// The same for a random graph in which every node has as many links.
    pub random_mean_path: f64,
    pub random_clustering: f64,
    /// Share of the survivors outside the largest component directly after the kill; null without one.
    pub survivors_cut_off: Option<f64>,
    /// From the kill on; under churn from the first round on.
    pub dead_links: Vec<DeadLinks>,
    /// Growth of resident memory from before the world was made to the end of the last round.
    pub bytes_per_node: u64,
    /// Making the world and analysing it are not counted.
    pub node_rounds_per_cpu_second: u64,
    /// Deliveries and timeouts that reached a live node.
    pub events: u64,
    /// Of all events in their order and all views at the end.
    pub digest: String,
    /// When it was asked for.
    #[serde(skip)]
    pub series: Option<Series>,
}

/// What pictures are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub rounds: Vec<RoundFigures>,
    /// How many live nodes have 0, 1, 2 … links of live nodes to them at the end.
    pub in_degrees: Vec<u32>,
}

/// Figures of the graph when `round` rounds were over, from 64 sources and 2,000 nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundFigures {
    pub round: u32,
    pub mean_path: f64,
    pub clustering: f64,
}

/// Links of live nodes that lead to dead ones, when `round` rounds were over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DeadLinks {
    pub round: u32,
    pub fraction: f64,
}
