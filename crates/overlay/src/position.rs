//! Where a node stands on the ring.

use minicbor::{Decode, Encode};
use xtreem_base::NodeId;

use crate::Key;

/// A node's place: a key that it chose, and its id, so that two nodes with one key have an order too.
///
/// A node may change its key (to carry another load); its id stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Position {
    #[n(0)]
    pub key: Key,
    #[n(1)]
    pub id: NodeId,
}

impl Position {
    pub fn new(key: Key, id: NodeId) -> Position {
        Position { key, id }
    }

    /// Where a key itself lies: before every node that stands at it.
    pub fn of_key(key: Key) -> Position {
        Position { key, id: NodeId::from_bytes([0; 16]) }
    }
}
