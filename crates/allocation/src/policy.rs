//! A VO's policy: who may submit, how many nodes an application or a user may hold, what is reserved, and
//! whose topics are whose.
//!
//! The document is signed by the VO's root and the same on all nodes, sooner or later; each node judges by
//! the one it has. Here are the document and its arithmetic. Signatures are the driver's affair, and what a
//! node says of itself is the composing node's.

mod codec;
mod judge;
mod reserved;
#[cfg(test)]
mod tests;
mod topics;

pub use codec::PolicyError;
pub use judge::Extent;
pub use reserved::Reserved;
pub use topics::{KeptTopics, TOPICS_MAX_BYTES};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};
use xtreem_base::{Digest, NodeId};
use xtreem_membership::rumour::Document;

/// Longest encoded document: fits a stream's message many times, and says a lot.
pub const DOCUMENT_MAX_BYTES: usize = 16 << 10;
/// Most rules of a policy.
pub const RULES_MAX: usize = 64;
/// Longest name of a rule. Names are letters, digits, `-`, `_` and `.`, for they stand in messages to users.
pub const RULE_NAME_MAX_BYTES: usize = 48;
/// Most users that one rule names, and as many keys.
pub const USERS_MAX: usize = 256;
/// Longest name of a user; as long as in a credential.
pub const USER_NAME_MAX_BYTES: usize = 48;
/// Longest requirement of a rule.
pub const RESERVED_MAX_BYTES: usize = 1_024;

/// What the VO's root signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The higher one wins.
    pub version: u64,
    /// Each of them has to be kept.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Named by refusals; no two rules have the same.
    pub name: String,
    pub limit: Limit,
    pub who: Who,
}

/// What a rule limits.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Limit {
    /// Nobody but [`Rule::who`] may submit applications.
    #[n(0)]
    Submit,
    /// An application of [`Rule::who`] may hold so many nodes.
    #[n(1)]
    NodesPerApplication(#[n(0)] u16),
    /// Each user of [`Rule::who`] may hold so many nodes with all applications together.
    #[n(2)]
    NodesPerUser(#[n(0)] u32),
    /// These nodes are for nobody but [`Rule::who`].
    #[n(3)]
    Reserved(#[n(0)] Reserved),
    /// Nobody but [`Rule::who`] may publish to these topics.
    #[n(4)]
    Publish(#[n(0)] String),
    /// ... or subscribe to these.
    #[n(5)]
    Subscribe(#[n(0)] String),
}

/// Some members of the VO: those with one of the roles, one of the names or one of the keys. With nothing in
/// it, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// As in a credential.
    pub roles: u8,
    pub names: Vec<String>,
    /// Key hashes.
    pub keys: Vec<NodeId>,
}

/// Whom a policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Key hash of the application's owner.
    pub owner: NodeId,
    /// Name and roles in the credential of who signed the application.
    pub name: &'a str,
    pub roles: u8,
}

/// A rule's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rule: String,
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by VO rule {:?}: {}", self.rule, self.why)
    }
}

impl core::error::Error for Refusal {}

/// A policy as it travels and as it is kept: the document, and the root's signature on it.
///
/// The driver verifies signature and digest before it hands one to a core.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedPolicy {
    #[cbor(n(0), encode_with = "codec::encode_bytes", decode_with = "codec::decode_document")]
    pub document: Arc<[u8]>,
    /// BLAKE3 hash of the document.
    #[n(1)]
    pub digest: Digest,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// Orders policies: the higher version wins. Two of one version are their author's mistake, and then the
/// higher digest wins, so that all nodes end with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct PolicyVersion {
    #[n(0)]
    pub version: u64,
    #[n(1)]
    pub digest: Digest,
}

impl PolicyVersion {
    /// What a node without a policy has.
    pub const NONE: PolicyVersion = PolicyVersion { version: 0, digest: Digest::from_bytes([0; 32]) };
}

impl Document for SignedPolicy {
    type Version = PolicyVersion;
    type Error = PolicyError;
    const NONE: PolicyVersion = PolicyVersion::NONE;

    fn version(&self) -> Result<PolicyVersion, PolicyError> {
        self.open().map(|(_, version)| version)
    }

    fn are_rivals(one: PolicyVersion, other: PolicyVersion) -> bool {
        one.version == other.version && one.digest != other.digest
    }
}
