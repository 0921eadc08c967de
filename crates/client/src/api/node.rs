//! One node's state, and the search for nodes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor core.
    pub cores_milli: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    Flag(bool),
    /// Sizes are bytes, frequencies hertz.
    Whole(i64),
    /// At most three places are exact.
    Decimal(f64),
    Text(String),
    List(Vec<String>),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Flag(flag) => flag.fmt(f),
            AttributeValue::Whole(number) => number.fmt(f),
            AttributeValue::Decimal(number) => number.fmt(f),
            AttributeValue::Text(text) => f.write_str(text),
            AttributeValue::List(entries) => f.write_str(&entries.join(", ")),
        }
    }
}

/// Attributes of a node by name.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// `GET /v1/node`: the agent that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub id: String,
    pub name: String,
    pub vo: String,
    /// Of the node's credential.
    #[serde(default)]
    pub credential: Validity,
    pub address: String,
    /// Higher at every start of the agent.
    pub incarnation: u32,
    /// Version of the agent's program.
    pub version: String,
    /// Grid-wide contacts in its partial view.
    pub contacts: usize,
    /// Too few of its contacts answer: it recruits nobody until they do.
    pub cut_off: bool,
    /// While it is cut off: how much it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// What the agent adds to the machine's clock, which is more than 30 s off its peers'; else 0.
    #[serde(default)]
    pub clock_correction_ms: i64,
    pub offered: Resources,
    pub used: Resources,
    pub attributes: Attributes,
    /// Faults and drops since the start, by name.
    pub counters: BTreeMap<String, u64>,
    /// How programs are kept apart on this machine, in words.
    pub isolation: String,
    /// Why this node takes no slots just now; absent when it does. Searches show the same as `slots.none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_no_slots: Option<String>,
    /// What network the agent uses, in words.
    pub network: String,
    /// What is wrong with this node and what to do, a sentence or two each; empty when all is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What slots left and nobody can remove.
    #[serde(default)]
    pub left_behind: LeftBehind,
    /// There is hardly any room on the disk: the node grants no holds.
    #[serde(default)]
    pub disk_is_full: bool,
    /// Others do not believe its credential, or by its clock it does not believe theirs: whom it does not
    /// reach may be well. `troubles` says what to do.
    #[serde(default)]
    pub is_out_of_date: bool,
}

/// When a credential counts, in Unix seconds, both ends included; zeros when the agent does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    pub not_before: u64,
    pub not_after: u64,
}

/// Files and directories of slots that cannot be removed: immutable ones, or ones of another owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Since the start of the agent, which tries all of them once.
    pub count: u64,
    /// The first of them, with the reason, in words.
    pub some: Vec<String>,
}

/// How much of its reference set a node that is cut off reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    pub answering: u8,
    pub members: u8,
    /// So many have to answer: then it replaces what is lost again.
    pub needed: u8,
    /// After this time it does so whoever answers.
    pub ends_in_s: u64,
}

/// `POST /v1/node/accept-loss`: whoever did not answer this node is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossAccepted {
    /// Nodes of the reference set that are no longer waited for.
    pub given_up: u8,
}

/// `POST /v1/search`: find nodes, hold nothing. The answer is a [`SearchLine`] a line, as matches come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// In the requirement language; empty means any node. A set query (`1..6 nodes with …`) finds a whole set
    /// or nothing.
    pub requirement: String,
    /// The search ends when so many match. Without meaning when all are asked for.
    pub limit: u16,
    /// Find every node that matches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Count the nodes that match, and name none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub count: bool,
    /// Count the values of this attribute among all nodes that match, and name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
    /// The search ends after this time; the agent's default (10 s) when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// One line of the answer to [`SearchRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SearchLine {
    Match(NodeMatch),
    /// So many matches came faster than they were read.
    Dropped {
        dropped: u64,
    },
    /// The last line.
    Done {
        report: SearchReport,
    },
}

/// A whole answer to [`SearchRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchReply {
    pub matches: Vec<NodeMatch>,
    pub report: SearchReport,
}

/// A node that matched when it was visited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeMatch {
    pub id: String,
    pub address: String,
    pub attributes: Attributes,
}

/// What a search did, and why it found no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchReport {
    /// How often a node was asked: some are asked for the way first, or for a hold at the end.
    #[serde(default)]
    pub visits: u32,
    /// Nodes that were asked, each once.
    pub visited: u32,
    pub answered: u32,
    /// Nodes that did not answer in time.
    pub silent: u32,
    pub matched: u32,
    /// Matching nodes that granted a hold; 0 when none was asked for.
    #[serde(default)]
    pub granted: u32,
    /// Matching nodes that refused a hold.
    #[serde(default)]
    pub refused: HoldRefusals,
    /// Matching nodes that a rule of the VO's policy kept from holding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<Forbidden>,
    /// About how many nodes the grid has; absent when nothing was learnt of it.
    pub grid_size: Option<u64>,
    /// Per clause of the requirement, the nodes that it alone or among others excluded.
    pub excluded: Vec<Excluded>,
    pub ended: Ended,
    pub plan: Plan,
    /// Visits of which each waited for the one before.
    #[serde(default)]
    pub round_trips: u16,
    /// Share of the nodes that can match, about, that answered: from 0 to 1. It is 1 exactly when none was
    /// missed.
    pub covered: f64,
    /// Nodes, about, that can match but were not heard because all links to them were dead.
    #[serde(default)]
    pub lost: u64,
    /// Nodes, about, that can match but were not asked because the search ended first.
    #[serde(default)]
    pub unopened: u64,
    /// Of the attribute that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
    /// What was to be expected, from the distributions of the attributes over all nodes; absent before they
    /// are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// When the nodes were to be a set that is enough together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetReport>,
}

/// What came of a search for a set; its members are the matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReport {
    pub found: bool,
    /// Nodes in the set; 0 without one.
    pub members: u32,
    /// Nodes seen that could be members.
    pub candidates: u32,
    /// What each aggregate comes to over the members; without a set, the best that the candidates come to.
    pub reached: Vec<Reached>,
}

/// What one aggregate comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// As `sum(disk.free)`.
    pub aggregate: String,
    /// In whole thousandths; absent when nothing was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousandths: Option<i64>,
}

/// What a search should find and cost when attributes do not depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Nodes of the grid that match, about.
    pub matches: u32,
    /// Nodes that have to be asked, about.
    pub visits: u32,
}

/// How a search went about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// From random node to random node.
    Contacts,
    /// Along the prefix trie, node by node.
    Trie,
    /// Along the trie, then to everybody else, because the grid is small.
    TrieThenContacts,
    /// Handed down the trie.
    Gather,
}

/// How often each value of an attribute occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    pub bars: Vec<Bar>,
    /// Nodes without the attribute.
    pub missing: u32,
    /// Nodes whose value found no room, or is a list.
    pub others: u32,
}

/// A value, or the least of the numbers in a sixteenth of an octave, and how many nodes have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    pub value: String,
    /// In whole thousandths, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousandths: Option<i64>,
    pub nodes: u32,
}

/// Nodes that met the requirement but refused a hold, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRefusals {
    /// Its resources are taken.
    pub busy: u32,
    /// The asker has too many open holds there.
    pub too_many: u32,
    /// It already has a slot of this application, and slots may not share a node.
    pub same_app: u32,
    /// It knows that the application is stopped.
    pub stopped: u32,
    /// What it declares is not what it measures.
    pub mismatch: u32,
    /// Another machine has its key.
    #[serde(default)]
    pub cloned: u32,
    /// It could not start this application just now, or any.
    #[serde(default)]
    pub troubled: u32,
    /// It cannot isolate programs, and its operator has not allowed that.
    #[serde(default)]
    pub not_isolated: u32,
    /// Another slot or program has one of the ports.
    #[serde(default)]
    pub port_taken: u32,
    /// Programs cannot listen at one of the ports, which is too low.
    #[serde(default)]
    pub port_too_low: u32,
}

/// How many nodes a rule of the VO's policy kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbidden {
    /// Name of the rule.
    pub rule: String,
    pub count: u32,
    /// What the rule says, where the agent knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How many nodes failed one clause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// As written in the requirement.
    pub clause: String,
    pub count: u32,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Enough nodes matched.
    Enough,
    /// Every node that could be reached was visited.
    Exhausted,
    /// Its time was over.
    Deadline,
    /// It visited as many nodes as one search may.
    VisitLimit,
    /// It was given up.
    Cancelled,
}
