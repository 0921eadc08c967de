//! What nodes say to each other in a broadcast.

use minicbor::{Decode, Encode};
use xtreem_base::{NodeId, Travel};

use super::extent::Extent;
use crate::store::Value;

/// Delegations on the way from the first to the last node at most: four times what rows of base 4 need for a
/// billion nodes.
pub const DEPTH_MAX: u8 = 60;
/// Bytes of content in a delegation that still fits a datagram.
const DATAGRAM_CONTENT_MAX: usize = 512;

/// Names one broadcast: who began it, and what it says. So nobody on the way can put other words under the
/// name, and the same words of one origin are one broadcast while they are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct BroadcastId {
    /// Who began it.
    #[n(0)]
    pub origin: NodeId,
    /// The first eight bytes of the content's BLAKE3 hash.
    #[n(1)]
    pub number: u64,
}

impl BroadcastId {
    pub fn new(origin: NodeId, content: &Value) -> BroadcastId {
        let mut number = [0; 8];
        number.copy_from_slice(&blake3::hash(content.as_bytes()).as_bytes()[..8]);
        BroadcastId { origin, number: u64::from_be_bytes(number) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// "Take this, and see to it that all in `extent` get it." None: nobody else has to.
    #[n(0)]
    Delegate {
        #[n(0)]
        id: BroadcastId,
        /// The sender's number for it.
        #[n(1)]
        seq: u16,
        #[n(2)]
        extent: Option<Extent>,
        #[n(3)]
        content: Value,
        /// Delegations on the way so far, this one included.
        #[n(4)]
        depth: u8,
        /// There may be nodes in the extent that the sender does not know.
        #[n(5)]
        is_wide: bool,
    },
    /// "I do."
    #[n(1)]
    Accept {
        #[n(0)]
        id: BroadcastId,
        #[n(1)]
        seq: u16,
        /// As it was delegated.
        #[n(2)]
        is_wide: bool,
    },
}

impl Message {
    /// A wide extent travels on a stream: if it got lost, nobody in it would hear of anything for a while,
    /// and to give it to another one without need would tell all of it twice. So does its answer.
    pub fn travel(&self) -> Travel {
        match self {
            Message::Delegate { extent, content, is_wide, .. } => {
                let len = |it: &Extent| it.after.key.as_bytes().len() + it.before.key.as_bytes().len();
                let keys = extent.as_ref().map_or(0, len);
                Travel::sized(!is_wide && content.as_bytes().len() + keys <= DATAGRAM_CONTENT_MAX)
            }
            Message::Accept { is_wide, .. } => Travel::sized(!is_wide),
        }
    }
}
