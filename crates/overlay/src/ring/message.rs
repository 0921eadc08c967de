//! What members of the ring say to each other.

use minicbor::{Decode, Encode};
use xtreem_base::{HandleTable, Travel};

use super::SUCCESSORS_MAX;
use super::contact::{Contact, Contacts};
use super::rows::{ENTRIES, ROWS_MAX, Row};
use crate::{Position, Range};

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
}

impl Message {
    /// A datagram unless it has long keys. A question is padded to the size of its answer.
    pub fn travel(&self) -> Travel {
        let is_padded =
            matches!(self, Message::Stabilise { .. } | Message::AskRow { .. } | Message::Find { .. });
        Travel::sized(self.key_bytes() <= DATAGRAM_KEYS_MAX).padded(is_padded)
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
            Message::AskRow { .. } | Message::Absent { .. } => 0,
        }
    }
}
