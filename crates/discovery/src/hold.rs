//! A hold: a node's promise to keep some of what it offers for one requester, 10 s long unless renewed.
//!
//! Here are only its words; who grants and releases holds is the composing node's business.

use minicbor::{Decode, Encode};
use xtreem_base::AppId;

/// What a slot of an application needs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum HoldAnswer {
    /// The number means something on the granting node only.
    #[n(0)]
    Granted {
        #[n(0)]
        id: u64,
    },
    #[n(1)]
    Refused(#[n(0)] HoldRefusal),
}

impl HoldAnswer {
    /// The number of the hold that was granted.
    pub fn granted(self) -> Option<u64> {
        match self {
            HoldAnswer::Granted { id } => Some(id),
            HoldAnswer::Refused(_) => None,
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
}
