//! What is published and subscribed to in the grid.

use serde::{Deserialize, Serialize};

/// `GET /v1/topics?prefix=TOPIC`: in the order of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicList {
    pub topics: Vec<TopicView>,
    /// There are more: ask again with `from` this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One topic, or several as they are subscribed to or published to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicView {
    /// As `xtreem sub` takes it: `a/b`, `a/*`, `a/**`, `**`; or a range.
    pub topic: String,
    /// Agents whose clients subscribed to just this.
    pub subscribers: usize,
    /// Agents whose clients published to just this a short while ago.
    pub publishers: usize,
    /// Groups of which one member gets each event; their agents count among the subscribers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Bytes of its last value, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_bytes: Option<usize>,
    /// Seconds that this one still lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_left_s: Option<u64>,
}
