//! What nodes say to each other about what lies on the ring. The sender is in the envelope.

use minicbor::{Decode, Encode};
use xtreem_base::{Duration, HandleTable, NodeId, Travel};

use super::item::{RequestId, Sent, Stamp, Value, Version, weight};
use super::list::List;
use super::overwrite::{Overwrite, Word};
use super::shelf::{PAGE_MAX, Refused, Sum};
use crate::{Key, Range};

/// Items of one message at most.
pub const BATCH_MAX: usize = 64;
/// Bytes of items in one message at which it is full: one more value may stand above it.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Bytes of keys and values in a message that still fits a datagram beside a credential.
const DATAGRAM_MAX: usize = 512;

/// What is to be done with a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    #[n(0)]
    Get,
    /// Writes; without a value it removes.
    #[n(1)]
    Write {
        #[n(0)]
        value: Option<Value>,
        #[n(1)]
        degree: u8,
        #[n(2)]
        lease: Duration,
        #[n(3)]
        expected: Option<Version>,
    },
    /// Live items from the key on and before `hi` (none: to the end of the order).
    #[n(2)]
    Scan {
        #[n(0)]
        hi: Option<Key>,
        #[n(1)]
        limit: u16,
    },
    /// An administrator writes over what lies there, or removes it.
    #[n(3)]
    Overwrite {
        #[n(0)]
        what: Overwrite,
        #[n(1)]
        word: Word,
    },
}

impl Action {
    /// Whether it changes what lies there.
    pub fn is_write(&self) -> bool {
        matches!(self, Action::Write { .. } | Action::Overwrite { .. })
    }
}

/// A live item as it is told to who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    #[n(0)]
    pub key: Key,
    #[n(1)]
    pub value: Value,
    #[n(2)]
    pub writer: NodeId,
    #[n(3)]
    pub version: Version,
    /// Of its lease.
    #[n(4)]
    pub left: Duration,
}

/// What an owner says to an action.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Written, with all copies.
    #[n(0)]
    Written {
        #[n(0)]
        version: Version,
    },
    #[n(1)]
    Got(#[n(0)] Option<Found>),
    #[n(2)]
    Scanned {
        #[n(0)]
        found: List<Found, PAGE_MAX>,
        /// Where to go on; none: everything up to `hi` was looked at.
        #[n(1)]
        next: Option<Key>,
    },
    #[n(3)]
    Refused(#[n(0)] Refused),
    /// Ask the one who is.
    #[n(4)]
    NotOwner,
    /// It has just taken over, or too much is under way: ask again.
    #[n(5)]
    Later,
}

/// What one node has, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    #[n(0)]
    pub key: Key,
    #[n(1)]
    pub stamp: Stamp,
}

/// What another copy lost against.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Winner {
    #[n(0)]
    pub key: Key,
    #[n(1)]
    pub stamp: Stamp,
    #[n(2)]
    pub writer: NodeId,
}

/// Everything that one [`Store`](super::Store) says to another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    /// To the owner of `key`.
    #[n(0)]
    Ask {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        key: Key,
        #[n(2)]
        action: Action,
    },
    /// The owner's answer, with the epoch of its range.
    #[n(1)]
    Answer {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        outcome: Outcome,
        #[n(2)]
        epoch: u64,
    },
    /// "Keep these."
    #[n(2)]
    Copy {
        #[n(0)]
        seq: u32,
        #[n(1)]
        items: List<Sent, BATCH_MAX>,
    },
    /// All of [`Message::Copy`] or newer ones lie here; `is_full`: not all, for want of room.
    #[n(3)]
    Copied {
        #[n(0)]
        seq: u32,
        #[n(1)]
        is_full: bool,
    },
    /// The owner of `range`: "what you shall have of it comes to this."
    #[n(4)]
    Compare {
        #[n(0)]
        seq: u32,
        #[n(1)]
        range: Range,
        #[n(2)]
        sum: Sum,
        /// Count what is on its way out, too: the sender takes the range over.
        #[n(3)]
        is_takeover: bool,
    },
    #[n(5)]
    Same {
        #[n(0)]
        seq: u32,
    },
    /// It does not; these are the first of what lies here.
    #[n(6)]
    Listing {
        #[n(0)]
        seq: u32,
        #[n(1)]
        entries: List<Entry, PAGE_MAX>,
        /// The last key that the list tells of; none: it tells of all.
        #[n(2)]
        through: Option<Key>,
    },
    #[n(7)]
    Fetch {
        #[n(0)]
        seq: u32,
        #[n(1)]
        keys: List<Key, BATCH_MAX>,
    },
    #[n(8)]
    Fetched {
        #[n(0)]
        seq: u32,
        #[n(1)]
        items: List<Sent, BATCH_MAX>,
    },
    /// The owner: "I do not count on you for these." They are looked after as stray copies.
    #[n(9)]
    Unneeded {
        #[n(0)]
        keys: List<Key, PAGE_MAX>,
    },
    /// To the owner: "these lie here, and nobody has asked for them for long."
    #[n(10)]
    Offer {
        #[n(0)]
        seq: u32,
        #[n(1)]
        entries: List<Entry, BATCH_MAX>,
    },
    /// Its answer: `wanted` is newer than what it has; `unneeded` it has as new or newer, and counts on
    /// others for copies. The rest is to be kept.
    #[n(11)]
    Placed {
        #[n(0)]
        seq: u32,
        #[n(1)]
        wanted: List<Key, BATCH_MAX>,
        #[n(2)]
        unneeded: List<Winner, BATCH_MAX>,
    },
    /// To a writer: what it wrote has lost against what another wrote on the other side of a split.
    #[n(12)]
    Lost {
        #[n(0)]
        version: Version,
        #[n(1)]
        winner: Winner,
    },
}

impl Message {
    /// A datagram when it is small, else a stream.
    pub fn travel(&self) -> Travel {
        // What an answer may hold is not known when it is asked for: streams carry pages and values.
        let is_padded = matches!(self, Message::Compare { .. });
        Travel::sized(self.len_bytes() <= DATAGRAM_MAX).padded(is_padded)
    }

    /// About, without numbers.
    fn len_bytes(&self) -> usize {
        let of_key = |key: &Key| key.as_bytes().len() + 8;
        let of_sent = |items: &List<Sent, BATCH_MAX>| items.as_slice().iter().map(Sent::len_bytes).sum();
        let of_entry = |entry: &Entry| of_key(&entry.key) + 48;
        let of_found = |found: &Found| weight(&found.key, Some(&found.value)) as usize - 100;
        match self {
            Message::Ask { key, action, .. } => {
                of_key(key)
                    + match action {
                        Action::Get => 0,
                        Action::Write { value, .. } => value.as_ref().map_or(0, |it| it.as_bytes().len()),
                        Action::Scan { hi, .. } => hi.as_ref().map_or(0, of_key),
                        Action::Overwrite { what, word } => {
                            let value = what.value.as_ref().map_or(0, |it| it.as_bytes().len());
                            value + word.proof.as_bytes().len() + 64
                        }
                    }
            }
            Message::Answer { outcome, .. } => match outcome {
                Outcome::Got(found) => found.as_ref().map_or(0, of_found),
                Outcome::Scanned { found, next } => {
                    let found: usize = found.as_slice().iter().map(of_found).sum();
                    found + next.as_ref().map_or(0, of_key)
                }
                _ => 0,
            },
            Message::Copy { items, .. } | Message::Fetched { items, .. } => of_sent(items),
            Message::Compare { range, .. } => of_key(&range.after.key) + of_key(&range.to.key),
            Message::Listing { entries, through, .. } => {
                let entries: usize = entries.as_slice().iter().map(of_entry).sum();
                entries + through.as_ref().map_or(0, of_key)
            }
            Message::Fetch { keys, .. } => keys.as_slice().iter().map(of_key).sum(),
            Message::Unneeded { keys } => keys.as_slice().iter().map(of_key).sum(),
            Message::Offer { entries, .. } => entries.as_slice().iter().map(of_entry).sum(),
            Message::Placed { wanted, unneeded, .. } => {
                let wanted: usize = wanted.as_slice().iter().map(of_key).sum();
                wanted + unneeded.as_slice().iter().map(|it| of_key(&it.key) + 64).sum::<usize>()
            }
            Message::Lost { winner, .. } => of_key(&winner.key) + 64,
            Message::Copied { .. } | Message::Same { .. } => 0,
        }
    }
}
