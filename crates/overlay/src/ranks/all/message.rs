//! What two members say to each other of all.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{HandleTable, Travel};

use super::entry::{Entry, Life, Name};
use super::list::{BUCKETS, MEMBERS_MAX};

/// Names and lives that a datagram of 1,200 bytes has room for.
const DATAGRAM_KNOWN_MAX: usize = 32;
/// Entries with their addresses that it has room for.
const DATAGRAM_ENTRIES_MAX: usize = 8;

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Of the exchange, as its beginner counts them.
    #[n(0)]
    pub seq: u16,
    /// The newest numbering that the sender knows of.
    #[n(1)]
    pub number: u32,
}

/// Everything that one [`All`](super::All) says to another. The sender is in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
#[cbor(flat)]
pub enum Message {
    /// "Is your list the same?"
    #[n(0)]
    Compare {
        #[n(0)]
        head: Head,
        /// A digest of each part.
        #[cbor(n(1), with = "digests")]
        buckets: Box<[u64; BUCKETS]>,
    },
    /// "It is."
    #[n(1)]
    Same {
        #[n(0)]
        head: Head,
    },
    /// "It is not in these parts, and this is whom I know in them."
    #[n(2)]
    Have {
        #[n(0)]
        head: Head,
        /// One bit a part.
        #[n(1)]
        mask: u32,
        #[cbor(n(2), with = "short")]
        known: Vec<(Name, Life)>,
    },
    /// "Take these, and give me those."
    #[n(3)]
    Swap {
        #[n(0)]
        head: Head,
        #[cbor(n(1), with = "short")]
        entries: Vec<Entry>,
        #[cbor(n(2), with = "short")]
        wants: Vec<Name>,
    },
    #[n(4)]
    Take {
        #[n(0)]
        head: Head,
        #[cbor(n(1), with = "short")]
        entries: Vec<Entry>,
    },
}

impl Message {
    /// A comparison is padded to the size of its answer.
    pub fn travel(&self) -> Travel {
        match self {
            Message::Compare { .. } => Travel::DATAGRAM.padded(true),
            Message::Same { .. } => Travel::DATAGRAM,
            Message::Have { known, .. } => Travel::sized(known.len() <= DATAGRAM_KNOWN_MAX),
            Message::Swap { entries, wants, .. } => {
                Travel::sized(entries.len() <= DATAGRAM_ENTRIES_MAX && wants.len() <= DATAGRAM_KNOWN_MAX)
            }
            Message::Take { entries, .. } => Travel::sized(entries.len() <= DATAGRAM_ENTRIES_MAX),
        }
    }
}

/// Lists of at most [`MEMBERS_MAX`].
mod short {
    use super::*;

    pub(super) fn encode<C, T: Encode<C>, W: Write>(
        list: &[T],
        e: &mut Encoder<W>,
        table: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(list.len() as u64)?;
        list.iter().try_for_each(|one| one.encode(e, table))
    }

    /// The length is checked before anything is read, so that a hostile one makes no handles.
    pub(super) fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        table: &mut C,
    ) -> Result<Vec<T>, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|len| *len <= MEMBERS_MAX as u64);
        let len = len.ok_or_else(|| decode::Error::message("more than 1024 members").at(at))?;
        // Not taken on trust: each one is read before there is room for many.
        let mut list = Vec::with_capacity(len.min(64) as usize);
        for _ in 0..len {
            list.push(T::decode(d, table)?);
        }
        Ok(list)
    }
}

/// As many as there are parts, as bytes.
mod digests {
    use super::*;

    pub(super) fn encode<C, W: Write>(
        digests: &[u64; BUCKETS],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.to_be_bytes()).collect();
        e.bytes(&bytes)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Box<[u64; BUCKETS]>, decode::Error> {
        let at = d.position();
        let bytes = Some(d.bytes()?).filter(|bytes| bytes.len() == 8 * BUCKETS);
        let bytes = bytes.ok_or_else(|| decode::Error::message("other than 32 digests").at(at))?;
        let mut digests = Box::new([0; BUCKETS]);
        for (digest, bytes) in digests.iter_mut().zip(bytes.chunks_exact(8)) {
            *digest = bytes.iter().fold(0, |digest, byte| digest << 8 | u64::from(*byte));
        }
        Ok(digests)
    }
}
