//! A hold: a node's promise to keep some of what it offers for one requester, 10 s long unless renewed.
//!
//! Here are only its words; who grants and releases holds is the composing node's business.

use alloc::string::String;
use alloc::sync::Arc;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{AppId, NodeId};

use crate::bounded;
use crate::visit::ports::FixedPorts;

/// Bytes of a user's name, as long as in a credential.
const USER_NAME_LEN_MAX: usize = 48;
/// Bytes of the name of a policy's rule.
const RULE_NAME_LEN_MAX: usize = 48;

/// Who a hold is for, as the requester says. Good for refusing early: a confirm brings the proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claimant {
    /// Owner of the application.
    #[n(0)]
    pub owner: NodeId,
    /// These bits and the name stand in the credential of who signed it.
    #[n(1)]
    pub roles: u8,
    #[cbor(n(2), decode_with = "bounded::text::<_, USER_NAME_LEN_MAX>")]
    pub name: String,
    /// The whole application has so many.
    #[n(3)]
    pub slots: u16,
}

/// What a slot of an application needs of a node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HoldAsk {
    #[n(0)]
    pub app: AppId,
    /// Thousandths of a core.
    #[n(1)]
    pub cores_milli: u32,
    #[n(2)]
    pub memory_bytes: u64,
    #[n(3)]
    pub disk_bytes: u64,
    /// Whether the node may hold or run another slot of the application.
    #[n(4)]
    pub colocate: bool,
    /// Whose turn it is where several want the node; means something to who grants holds only.
    #[n(5)]
    pub patience: u8,
    #[cbor(n(6), encode_with = "encode_claimant", decode_with = "decode_claimant")]
    pub by: Arc<Claimant>,
    /// The asker holds more than it needs, to choose among them: it takes what is free only, and gives way to
    /// everybody.
    #[n(7)]
    pub is_spare: bool,
    /// Numbers that nobody else on the node may have.
    #[n(8)]
    pub ports: FixedPorts,
}

fn encode_claimant<C, W: Write>(
    by: &Arc<Claimant>,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.encode_with(&**by, ctx)?.ok()
}

fn decode_claimant<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Arc<Claimant>, decode::Error> {
    Ok(Arc::new(d.decode_with(ctx)?))
}

/// Letters, digits, `-`, `_` and `.` only: it is shown to people.
fn decode_rule<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<String, decode::Error> {
    let name = bounded::text::<_, RULE_NAME_LEN_MAX>(d, ctx)?;
    let is_good = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_good { Ok(name) } else { Err(decode::Error::message("no name of a rule")) }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum HoldAnswer {
    /// The number means something on the granting node only.
    #[n(0)]
    Granted {
        #[n(0)]
        id: u64,
    },
    #[n(1)]
    Refused(#[n(0)] HoldRefusal),
    /// The VO's policy keeps the node for others, or the claimant from more nodes.
    #[n(2)]
    Forbidden {
        /// Name of the rule.
        #[cbor(n(0), decode_with = "decode_rule")]
        rule: String,
    },
}

impl HoldAnswer {
    /// The number of the hold that was granted.
    pub fn granted(&self) -> Option<u64> {
        match self {
            HoldAnswer::Granted { id } => Some(*id),
            HoldAnswer::Refused(_) | HoldAnswer::Forbidden { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum HoldRefusal {
    /// The node has not enough left of what it offers.
    #[n(0)]
    Busy,
    /// The requester has the most holds open on this node that one may have.
    #[n(1)]
    TooMany,
    /// The application is here already and does not want to be twice on one node.
    #[n(2)]
    SameApp,
    /// The node knows the application as stopped.
    #[n(3)]
    Stopped,
    /// The node measures less than it declares.
    #[n(4)]
    Mismatch,
    /// The node cannot isolate programs, and its operator has not allowed it to run them all the same.
    #[n(5)]
    NotIsolated,
    /// The node could not start this application just now, or could not start any.
    #[n(6)]
    Troubled,
    /// Another slot or program has a port of the slot.
    #[n(7)]
    PortTaken,
    /// Another machine has the node's key.
    #[n(8)]
    Cloned,
    /// A port of the slot is so low that programs cannot listen there.
    #[n(9)]
    PortTooLow,
}
