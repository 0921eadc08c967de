//! What members of the ring say to each other.

use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Duration, Handle, HandleTable, Travel};

use super::contact::{Contact, Contacts};
use super::rows::{ENTRIES, ROWS_MAX, Row};
use super::{PROMISES_MAX, SUCCESSORS_MAX};
use crate::{Key, Position, Range};

/// Rows that can be asked for: one to [`ROWS_MAX`].
pub const LEVEL_MAX: u8 = ROWS_MAX as u8;
/// Bytes of keys in a message that still fits a datagram with eight contacts and a credential.
const DATAGRAM_KEYS_MAX: usize = 320;

/// Everything that one [`Ring`](super::Ring) says to another. The sender is in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    /// "I stand here and take you for one of my successors. Who is around you?"
    #[n(0)]
    Stabilise {
        #[n(0)]
        seq: u16,
        #[n(1)]
        position: Position,
        #[n(2)]
        claim: Claim,
    },
    /// The answer to [`Message::Stabilise`], with its number.
    #[n(1)]
    Neighbours {
        #[n(0)]
        seq: u16,
        #[n(1)]
        position: Position,
        /// Heard of lately.
        #[n(2)]
        predecessor: Option<Contact>,
        #[n(3)]
        successors: Contacts,
        /// Of the one that answers: the highest that it knows of.
        #[n(4)]
        epoch: u64,
        #[n(5)]
        verdict: Verdict,
        /// For so long it has had no lease and promised none.
        #[n(6)]
        quiet: Duration,
    },
    /// "What is in your row `level`?", 1 to [`LEVEL_MAX`].
    #[n(2)]
    AskRow {
        #[n(0)]
        seq: u16,
        #[n(1)]
        level: u8,
    },
    /// The answer to [`Message::AskRow`], with its number.
    #[n(3)]
    TellRow {
        #[n(0)]
        seq: u16,
        #[n(1)]
        entries: Row,
    },
    /// "Who owns this?"
    #[n(4)]
    Find {
        #[n(0)]
        seq: u16,
        #[n(1)]
        target: Position,
    },
    /// Not the one who is asked; the first of these is the best to ask next, the others stand in for it.
    #[n(5)]
    Nearer {
        #[n(0)]
        seq: u16,
        #[n(1)]
        contacts: Contacts,
    },
    /// The one who is asked owns it.
    #[n(6)]
    Owned {
        #[n(0)]
        seq: u16,
        #[n(1)]
        range: Range,
        #[n(2)]
        epoch: u64,
    },
    /// The one who is asked is not on the ring, or may not answer now: ask again, or another.
    #[n(7)]
    Absent {
        #[n(0)]
        seq: u16,
    },
    /// "How much lies in your range?"
    #[n(8)]
    AskLoad {
        #[n(0)]
        seq: u16,
    },
    /// The answer to [`Message::AskLoad`], with its number.
    #[n(9)]
    Load {
        #[n(0)]
        seq: u16,
        #[n(1)]
        load: u64,
    },
    /// "Where shall I stand to take half of it?"
    #[n(10)]
    AskMiddle {
        #[n(0)]
        seq: u16,
    },
    /// The answer to [`Message::AskMiddle`], with its number.
    #[n(11)]
    Middle {
        #[n(0)]
        seq: u16,
        /// None: there is nothing to share, or somebody else is coming for it.
        #[n(1)]
        key: Option<Key>,
    },
    /// "I leave; what was mine is yours." From an owner to its first granter.
    #[n(12)]
    Leave {
        #[n(0)]
        seq: u16,
        #[n(1)]
        range: Range,
        #[n(2)]
        epoch: u64,
        #[n(3)]
        promises: Inheritance,
        /// It comes back at another place.
        #[cbor(n(4), default)]
        moves: bool,
    },
    /// The answer to [`Message::Leave`], with its number: taken.
    #[n(13)]
    Left {
        #[n(0)]
        seq: u16,
    },
}

/// What the sender wants granted: from there to where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// None: it was given nothing yet.
    #[n(0)]
    pub after: Option<Position>,
    #[n(1)]
    pub epoch: u64,
    /// Its first granter has granted it, and demands the grant of the one that is asked now.
    #[n(2)]
    pub is_second: bool,
    /// For so long the sender has had no lease and promised none.
    #[n(3)]
    pub quiet: Duration,
}

/// What a node says to a [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Verdict {
    /// By the one whose range begins where the claimed one ends; it is good for so long with the grant of
    /// `second`, if one is named.
    #[n(0)]
    Granted {
        #[n(0)]
        second: Option<Handle>,
        #[n(1)]
        left: Duration,
    },
    /// By the one behind it.
    #[n(1)]
    Seconded,
    /// "You stood in my range. What begins there is yours."
    #[n(2)]
    Yours {
        #[n(0)]
        after: Position,
        #[n(1)]
        epoch: u64,
        /// For so long it need not be claimed.
        #[n(2)]
        left: Duration,
    },
    /// Not now, or not by this node.
    #[n(3)]
    Wait,
}

/// A promise that goes to an heir.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Promised {
    #[n(0)]
    pub to: Handle,
    #[n(1)]
    pub range: Range,
    #[n(2)]
    pub left: Duration,
}

/// At most [`PROMISES_MAX`] promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance(pub(super) Vec<Promised>);

impl<C: HandleTable> Encode<C> for Inheritance {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|promise| promise.encode(e, table))
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Inheritance {
    /// The length is checked before anything is read, so that a hostile one makes no handles.
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|&len| len <= PROMISES_MAX as u64);
        let len = len.ok_or_else(|| decode::Error::message("more than 8 promises").at(at))?;
        (0..len).map(|_| Promised::decode(d, table)).collect::<Result<Vec<_>, _>>().map(Inheritance)
    }
}

impl Message {
    /// A datagram unless it has long keys. A question is padded to the size of its answer.
    pub fn travel(&self) -> Travel {
        use Message::{AskLoad, AskMiddle, AskRow, Find, Stabilise};
        let is_padded = matches!(
            self,
            Stabilise { .. } | AskRow { .. } | Find { .. } | AskLoad { .. } | AskMiddle { .. }
        );
        Travel::sized(self.key_bytes() <= DATAGRAM_KEYS_MAX).padded(is_padded)
    }

    /// The same question with another number.
    pub(super) fn numbered(mut self, number: u16) -> Message {
        if let Message::Stabilise { seq, .. }
        | Message::AskRow { seq, .. }
        | Message::AskLoad { seq }
        | Message::AskMiddle { seq } = &mut self
        {
            *seq = number;
        }
        self
    }

    fn key_bytes(&self) -> usize {
        let len = |position: &Position| position.key.as_bytes().len();
        let all = |contacts: &[Contact]| contacts.iter().map(|contact| len(&contact.position)).sum();
        match self {
            // As long as their answers may be.
            Message::Stabilise { position, .. } => len(position) * (SUCCESSORS_MAX + 2),
            Message::Find { target, .. } => len(target) * ENTRIES,
            Message::Neighbours { position, predecessor, successors, .. } => {
                let of_all: usize = all(successors.as_slice());
                len(position) + predecessor.as_ref().map_or(0, |it| len(&it.position)) + of_all
            }
            Message::TellRow { entries, .. } => entries.iter().flatten().map(|it| len(&it.position)).sum(),
            Message::Nearer { contacts, .. } => all(contacts.as_slice()),
            Message::Owned { range, .. } => len(&range.after) + len(&range.to),
            Message::Middle { key, .. } => key.as_ref().map_or(0, |key| key.as_bytes().len()),
            // Once in the life of a node.
            Message::Leave { .. } => DATAGRAM_KEYS_MAX + 1,
            Message::AskRow { .. } | Message::Absent { .. } | Message::AskLoad { .. } => 0,
            Message::Load { .. } | Message::AskMiddle { .. } | Message::Left { .. } => 0,
        }
    }
}
