//! What members say to each other when they count.

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel, mix};

use crate::ranks::Epoch;

/// Members of a part of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Sum {
    #[n(0)]
    pub members: u32,
    /// Of their marks: the same only for the same members.
    #[n(1)]
    pub marks: u64,
}

impl Sum {
    pub const NONE: Sum = Sum { members: 0, marks: 0 };

    /// One member.
    pub fn of(mark: u64) -> Sum {
        Sum { members: 1, marks: mix(mark.wrapping_add(1)) }
    }

    pub(super) fn plus(self, other: Sum) -> Sum {
        Sum {
            members: self.members.saturating_add(other.members),
            marks: self.marks.wrapping_add(other.marks),
        }
    }
}

/// Row i of the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
#[cbor(flat)]
pub enum Told {
    /// It does not know yet.
    #[n(0)]
    Unknown,
    /// The node 2^i steps further on, and the sum of those before it, the one that was asked included.
    #[n(1)]
    Ahead {
        #[n(0)]
        peer: Handle,
        #[n(1)]
        sum: Sum,
    },
    /// There are no more than 2^i nodes up to the end: this is the sum of them.
    #[n(2)]
    End {
        #[n(0)]
        sum: Sum,
    },
}

impl Told {
    /// The sum, if it goes up to the end.
    pub(super) fn end(self) -> Option<Sum> {
        match self {
            Told::End { sum } => Some(sum),
            Told::Unknown | Told::Ahead { .. } => None,
        }
    }
}

/// A numbering that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Frozen {
    /// Its digest is that of the marks.
    #[n(0)]
    pub epoch: Epoch,
    #[n(1)]
    pub members: u32,
}

/// What the last node knows of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Total {
    /// All that are counted now.
    #[n(0)]
    pub current: Sum,
    /// The numbering that is in force. None: there was none yet.
    #[n(1)]
    pub frozen: Option<Frozen>,
    /// The sum has not changed for some rounds.
    #[n(2)]
    pub is_quiet: bool,
}

impl Total {
    /// Whether the members are those that were numbered.
    pub(super) fn is_current(&self) -> bool {
        let is_same = |frozen: Frozen| {
            (frozen.members, frozen.epoch.digest) == (self.current.members, self.current.marks)
        };
        self.is_quiet && self.frozen.is_some_and(is_same)
    }
}

/// Everything that one [`Sums`](super::Sums) says to another. The sender is in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
#[cbor(flat)]
pub enum Message {
    /// "What is your row of this level, now and whenever it changes?"
    #[n(0)]
    Ask {
        #[n(0)]
        level: u8,
        /// The version of it that the asker has heard; 0: none.
        #[n(1)]
        heard: u32,
        #[n(2)]
        frozen: Option<Frozen>,
        /// The numbering that somebody wants; the last node makes it.
        #[n(3)]
        wish: u32,
    },
    #[n(1)]
    Tell {
        #[n(0)]
        level: u8,
        /// Counts the changes of this row.
        #[n(1)]
        version: u32,
        #[n(2)]
        told: Told,
        /// With [`Told::End`].
        #[n(3)]
        total: Option<Total>,
    },
    /// "I have heard that."
    #[n(2)]
    Heard {
        #[n(0)]
        level: u8,
        #[n(1)]
        version: u32,
    },
    /// "Others asked, and you will not hear when it changes: ask again, if you still need it."
    #[n(3)]
    Forgotten {
        #[n(0)]
        level: u8,
    },
}

impl Message {
    pub fn travel(&self) -> Travel {
        Travel::DATAGRAM.padded(matches!(self, Message::Ask { .. }))
    }
}
