//! The VO's policy.

use serde::{Deserialize, Serialize};

use super::Blob;

/// `POST /v1/policy`: put a policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRequest {
    /// CBOR of the signed policy.
    pub policy: Blob,
}

/// Answer to it, and to `GET /v1/policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReply {
    /// What is in force at the agent now; nothing when it knows of none.
    pub policy: Option<PolicyView>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    pub version: u64,
    /// BLAKE3 hash of the document.
    pub digest: String,
    pub rules: Vec<RuleView>,
    /// Digest of another policy that the VO's root signed under this version, and that lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<String>,
}

/// One rule, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    pub name: String,
    pub says: String,
}
