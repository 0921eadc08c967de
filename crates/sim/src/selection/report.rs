//! What a run of `sim selection` says.

use serde::Serialize;

use super::aggregates::Aggregates;
use super::data::Data;
use super::sets::SetFigures;

/// Means are over nodes or queries; fractions are 0..1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub nodes: u32,
    pub data: Data,
    pub data_seed: u64,
    pub seed: u64,
    pub scheme: Scheme,
    pub wanted: u32,
    /// Share of the nodes replaced in each round while queries ran.
    pub churn: f64,
    pub loss: f64,
    pub link_memory_bytes_mean: f64,
    pub rss_bytes: u64,
    pub recall_by_round: Vec<RoundRecall>,
    /// Rounds after which 19 of 20 newcomers were found by a walk from a random node.
    pub newcomer_rounds: u32,
    /// That the gossip of trie and aggregation sent in one round, about.
    pub bytes_sent_per_node: f64,
    /// Of those, aggregation's.
    pub aggregation_bytes_per_node: f64,
    /// Left out when no epoch of aggregation has ended.
    #[serde(flatten)]
    pub aggregates: Option<Aggregates>,
    pub classes: Vec<ClassReport>,
    /// Classes with fewer than 150 matches.
    pub scarce: Vec<ClassReport>,
    pub load: Option<Load>,
    /// Of the process, while links filled and while queries ran.
    pub cpu_seconds: f64,
}

/// The structure that searches follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Trie,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RoundRecall {
    pub round: u32,
    pub recall: f64,
}

/// Each query was asked twice: for as many nodes as wanted, and for all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    pub name: String,
    /// Queries whose requester lived to see the end.
    pub queries: u32,
    pub matches_mean: f64,
    /// Nodes that received the query, as those below, when as many as wanted were asked for.
    pub visits_mean: f64,
    pub visits_p99: u32,
    /// Visits of which each waited for the one before.
    pub round_trips_mean: f64,
    /// Queries that found as many as wanted, or all there are.
    pub satisfied: f64,
    /// Queries that visited the most-visited node.
    pub worst_node_share: f64,
    /// Matching nodes found when all were asked for, of those that lived from beginning to end.
    pub recall: f64,
    /// When all were asked for.
    pub visits_per_match: f64,
    pub find_all_round_trips_mean: f64,
    /// What the searches for all said that they missed, as a share of the matches and nodes near them.
    pub lost_mean: f64,
    #[serde(flatten)]
    pub set: SetFigures,
}

/// How queries spread over the nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    pub queries: u32,
    pub visits_mean: f64,
    pub visits_max: u32,
    /// Visits of the most-visited node, as a multiple of the mean.
    pub worst_over_mean: f64,
}
