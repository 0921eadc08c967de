//! This node's place on the ring of all nodes, and who owns a key.

use serde::{Deserialize, Serialize};

use super::Blob;

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

/// `GET /v1/ring/items?key=TEXT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingItem {
    pub key: String,
    pub value: Blob,
    /// The node that wrote it.
    pub writer: String,
    pub version: String,
    /// Of its lease.
    pub left_s: u64,
}

/// `GET /v1/ring/scan?prefix=TEXT`: in the order of the keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingItems {
    pub items: Vec<RingItem>,
    /// There are more: ask again with `from` this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to `PUT` and `DELETE /v1/ring/items?key=TEXT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingVersion {
    /// Higher than that of whatever lay there before, by its parts from the left.
    pub version: String,
}

/// `POST /v1/ring/announcements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {
    /// CBOR of the signed announcement.
    pub announcement: Blob,
}

/// All nodes are being told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceReply {
    /// Whose word it is.
    pub by: String,
}

/// One line of `GET /v1/ring/announcements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementView {
    /// Id and name of who signed it.
    pub by: String,
    pub name: String,
    /// Unix seconds.
    pub at_unix: u64,
    /// Nodes on the way here.
    pub depth: u8,
    pub body: Blob,
}

/// How something is written; what is absent is the agent's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingWrite {
    /// Copies beside the owner's.
    pub copies: Option<u8>,
    /// Seconds that it lies there.
    pub lease_s: Option<u64>,
    /// Only if this version lies there; `none`: only if nothing does.
    pub expected: Option<String>,
}
