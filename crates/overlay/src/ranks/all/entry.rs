//! One member as others know it.

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, NodeId};

/// What a member is sorted by: the number of its slot, or the head of its node's id. A replacement bears the
/// name of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Name(#[n(0)] pub u64);

impl Name {
    pub fn of_node(id: &NodeId) -> Name {
        Name(id.as_u64())
    }
}

/// What is thought of one incarnation, in the order in which one word beats another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    #[n(0)]
    Alive,
    /// It did not answer somebody. It keeps its rank.
    #[n(1)]
    Suspect,
    /// It has no rank since the members were numbered anew without it.
    #[n(2)]
    Out,
}

/// The newest word on a member: the higher one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Life {
    /// The slot's epoch, or the node's incarnation: a replacement has a higher one.
    #[n(0)]
    pub incarnation: u64,
    /// How often it has said that it is there although others thought otherwise.
    #[n(1)]
    pub beat: u32,
    #[n(2)]
    pub status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Entry {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub life: Life,
    #[n(2)]
    pub handle: Handle,
}

impl Entry {
    /// One that is there and was never suspected.
    pub fn new(name: Name, incarnation: u64, handle: Handle) -> Entry {
        Entry { name, life: Life { incarnation, beat: 0, status: Status::Alive }, handle }
    }
}
