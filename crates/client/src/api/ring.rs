//! This node's place on the ring of all nodes, and who owns a key.

use serde::{Deserialize, Serialize};

/// `GET /v1/ring`. Keys are hexadecimal, their namespace first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingReply {
    /// Where the node stands; absent while it looks for a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it owns; absent while nobody grants it anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owns: Option<RingRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<RingMember>,
    /// The nodes that come next, nearest first.
    pub successors: Vec<RingMember>,
    /// Row `i`, entry `j`: the node about `(j + 1) * 4^i` places on.
    pub rows: Vec<Vec<Option<RingMember>>>,
    /// Peers that may become neighbours.
    pub candidates: usize,
}

/// All keys after `after`, up to and with the node's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingRange {
    pub after: String,
    /// Higher than that of everybody who owned a part of it before.
    pub epoch: u64,
    /// For so long it may be used without asking again; absent when there is nobody to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMember {
    pub id: String,
    pub address: String,
    pub key: String,
}

/// `GET /v1/ring/owner?key=HEX`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingOwner {
    pub owner: RingMember,
    /// All keys after this one, up to and with the owner's, are its own.
    pub after: String,
    pub epoch: u64,
    /// Nodes asked on the way.
    pub hops: u8,
    pub micros: u64,
}
