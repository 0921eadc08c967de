//! What a visited node tells of the applications it has to do with. Names are found by the same search as
//! nodes.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{AppId, NodeId};

use crate::bounded;

/// Applications in one answer; a node with more tells the first ones, those that run before those that are
/// over, and how many it left out. At their longest they fill half of a message.
pub const APPLICATIONS_MAX: usize = 512;
/// Slots of one application in one summary; a node with more tells the first ones.
pub const SLOTS_HERE_MAX: usize = 64;
/// Bytes of an application's name.
pub const APP_NAME_LEN_MAX: usize = 64;

/// Which applications are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AppFilter {
    #[n(0)]
    All,
    #[n(1)]
    Id(#[n(0)] AppId),
    /// Names are per owner, so several may answer.
    #[n(2)]
    Name {
        #[cbor(n(0), decode_with = "bounded::text::<_, APP_NAME_LEN_MAX>")]
        name: String,
    },
    /// Those of one owner that are not over: what counts against what it may hold.
    #[n(3)]
    Owner(#[n(0)] NodeId),
    /// Those that are neither stopped nor over.
    #[n(4)]
    Active,
}

impl AppFilter {
    pub fn accepts(&self, id: AppId, owner: NodeId, name: &str) -> bool {
        match self {
            AppFilter::All | AppFilter::Active => true,
            AppFilter::Id(wanted) => *wanted == id,
            AppFilter::Name { name: wanted } => wanted == name,
            AppFilter::Owner(wanted) => *wanted == owner,
        }
    }
}

/// What the answering node is to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Runs or ran slots of it and watches.
    #[n(0)]
    Holder,
    /// Keeps its record and runs nothing.
    #[n(1)]
    Guardian,
    /// Was a holder.
    #[n(2)]
    Former,
}

/// One application as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AppSummary {
    #[n(0)]
    pub id: AppId,
    #[n(1)]
    pub owner: NodeId,
    #[cbor(n(2), decode_with = "bounded::text::<_, APP_NAME_LEN_MAX>")]
    pub name: String,
    /// The newest record that the node has is of this generation.
    #[n(3)]
    pub generation: u32,
    #[n(4)]
    pub stopped: bool,
    /// How many slots the record wants.
    #[n(5)]
    pub slots: u16,
    /// The slots that the answering node holds.
    #[cbor(n(6), decode_with = "bounded::list::<_, _, SLOTS_HERE_MAX>")]
    pub here: Vec<u16>,
    #[n(7)]
    pub role: Role,
    /// How many slots the node knows to be done or failed.
    #[n(8)]
    pub ended: u16,
    /// For how many seconds the node has known it to be stopped or over.
    #[n(9)]
    pub ended_s: Option<u32>,
}

impl AppSummary {
    /// Nothing of it runs any more, or is to run.
    pub fn is_over(&self) -> bool {
        self.stopped || self.ended >= self.slots
    }
}
