//! What a run of `sim selection` says.

use std::fmt;
use std::str::FromStr;

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
    pub newcomer_rounds: Option<u32>,
    /// That the gossip of trie and aggregation sent in one round, about.
    pub bytes_sent_per_node: Option<f64>,
    /// Of those, aggregation's.
    pub aggregation_bytes_per_node: Option<f64>,
    /// Left out when no epoch of aggregation has ended.
    #[serde(flatten)]
    pub aggregates: Option<Aggregates>,
    pub classes: Vec<ClassReport>,
    /// Classes with fewer than 150 matches.
    pub scarce: Vec<ClassReport>,
    pub load: Option<Load>,
    /// What the baseline came to with the same machines and classes.
    pub baseline: Option<Baseline>,
    /// Of the process, while links filled and while queries ran.
    pub cpu_seconds: f64,
}

/// The structure that searches follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// The product's.
    #[default]
    Trie,
    /// The baseline: fixed nested cells, with perfect links.
    Cells,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Trie => "trie",
            Scheme::Cells => "cells",
        })
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trie" => Ok(Scheme::Trie),
            "cells" => Ok(Scheme::Cells),
            _ => Err(format!("{text:?}: expected trie or cells")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RoundRecall {
    pub round: u32,
    pub recall: f64,
}

/// Each query was asked for as many nodes as wanted, and for all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassReport {
    pub name: String,
    pub matches_mean: f64,
    /// For the number of nodes named first.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Matching nodes found when all were asked for, of those that lived from beginning to end.
    pub recall: f64,
    /// When all were asked for.
    pub visits_per_match: f64,
    pub find_all_round_trips_mean: f64,
    /// What the searches for all said that they missed, as a share of the matches and nodes near them.
    pub lost_mean: f64,
    #[serde(flatten)]
    pub set: Option<SetFigures>,
    /// For the other numbers of nodes.
    pub also: Vec<Wanted>,
}

/// What queries for so many nodes came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wanted {
    pub wanted: u32,
    /// Queries whose requester lived to see the end.
    pub queries: u32,
    /// Nodes that received the query, as those below.
    pub visits_mean: f64,
    pub visits_p99: u32,
    /// Visits of which each waited for the one before.
    pub round_trips_mean: f64,
    /// Queries that found as many as wanted, or all there are.
    pub satisfied: f64,
    /// Queries that visited the most-visited node.
    pub worst_node_share: f64,
}

/// One query for some nodes.
pub(super) struct Tried {
    pub visits: u32,
    pub round_trips: u32,
    pub is_satisfied: bool,
}

/// What queries for all came to: as in [`ClassReport`].
pub(super) struct Everything {
    pub recall: f64,
    pub visits_per_match: f64,
    pub round_trips_mean: f64,
    pub lost_mean: f64,
    /// The baseline knows no sets.
    pub set: Option<SetFigures>,
}

impl Wanted {
    /// `worst` is how often the most-visited node was visited.
    pub(super) fn of(wanted: u32, tries: Vec<Tried>, worst: u32) -> Self {
        let mut visits: Vec<u32> = tries.iter().map(|tried| tried.visits).collect();
        visits.sort_unstable();
        let last = (visits.len() * 99).div_ceil(100).saturating_sub(1);
        let queries = tries.len().max(1) as f64;
        let sum = |part: fn(&Tried) -> u32| tries.iter().map(|tried| f64::from(part(tried))).sum::<f64>();
        Wanted {
            wanted,
            queries: tries.len() as u32,
            visits_mean: sum(|tried| tried.visits) / queries,
            visits_p99: visits.get(last).copied().unwrap_or_default(),
            round_trips_mean: sum(|tried| tried.round_trips) / queries,
            satisfied: sum(|tried| tried.is_satisfied.into()) / queries,
            worst_node_share: f64::from(worst) / queries,
        }
    }
}

impl ClassReport {
    /// `few` has the number of nodes first that was named first.
    pub(super) fn new(name: &str, matches_mean: f64, mut few: Vec<Wanted>, all: Everything) -> Self {
        ClassReport {
            name: name.into(),
            matches_mean,
            wanted: few.remove(0),
            recall: all.recall,
            visits_per_match: all.visits_per_match,
            find_all_round_trips_mean: all.round_trips_mean,
            lost_mean: all.lost_mean,
            set: all.set,
            also: few,
        }
    }
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

/// The baseline's figures: those that it has of a whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    pub scheme: Scheme,
    pub link_memory_bytes_mean: f64,
    pub classes: Vec<ClassReport>,
    pub scarce: Vec<ClassReport>,
}
