//! What two nodes say to each other to keep their links.

use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel};

use super::summary::Summary;
use super::table::{Descriptor, Levels};
use crate::bounded;
use crate::key::{KEY_BITS, Key};

/// Descriptors in one message (docs/design/selection.md, "Filling the links": 24 brought nothing).
pub const DESCRIPTORS_MAX: usize = 12;
/// Summaries in one message: a table has 17 to 40 buckets.
pub const REPORTS_MAX: usize = 40;

/// One half of an exchange: what one side knows and the other can use.
#[derive(Clone, Debug, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Part {
    /// All nodes on the sender's side of the bit in which the two keys part.
    #[n(0)]
    pub own: Option<Summary>,
    #[cbor(n(1), decode_with = "bounded::list::<_, _, DESCRIPTORS_MAX>")]
    pub descriptors: Vec<Descriptor>,
    /// They are of subtrees beside both.
    #[cbor(n(2), decode_with = "bounded::list::<_, _, REPORTS_MAX>")]
    pub reports: Vec<Report>,
    /// A newcomer knows too few of those on its side: only the large values of `own` are taken from it.
    #[n(3)]
    pub is_settled: bool,
}

/// What is known of the subtree beside both nodes at a level above the bit in which their keys part.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Report {
    #[n(0)]
    pub level: u8,
    /// Seconds since the summary was made.
    #[n(1)]
    pub age: u16,
    #[n(2)]
    pub summary: Summary,
}

/// What a node is and lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lack {
    #[n(0)]
    pub key: Key,
    /// Levels at which it could use more nodes.
    #[n(1)]
    pub wants: Levels,
    /// Levels whose summary it would like to have newer.
    #[n(2)]
    pub stale: Levels,
}

/// An exchange has three messages, so that each half is cut to what the other side lacks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    #[n(0)]
    Ask {
        #[n(0)]
        seq: u16,
        #[n(1)]
        lack: Lack,
    },
    #[n(1)]
    Give {
        #[n(0)]
        seq: u16,
        #[n(1)]
        lack: Lack,
        #[n(2)]
        part: Part,
    },
    #[n(2)]
    Return {
        #[n(0)]
        key: Key,
        #[n(1)]
        part: Part,
    },
}

impl Message {
    /// An answer has more than a datagram takes.
    pub fn travel(&self) -> Travel {
        Travel::STREAM
    }

    /// Bytes on the wire, about, with hints of `hint` bytes: for figures.
    pub fn wire_bytes(&self, hint: usize) -> usize {
        let of_part = |part: &Part| {
            let tops = |summary: &Summary| {
                let mut holders = 0;
                summary.for_each_handle(&mut |_| holders += 1);
                80 + holders * (hint + 10)
            };
            1 + part.own.as_ref().map_or(1, tops)
                + part.descriptors.len() * (hint + 26)
                + part.reports.iter().map(|report| 6 + tops(&report.summary)).sum::<usize>()
        };
        match self {
            Message::Ask { .. } => 75,
            Message::Give { part, .. } => 80 + of_part(part),
            Message::Return { part, .. } => 30 + of_part(part),
        }
    }
}

impl<C: HandleTable> Encode<C> for Descriptor {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?;
        self.handle.encode(e, table)?;
        self.key.encode(e, table)?;
        e.u16(self.age)?.ok()
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Descriptor {
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        if d.array()? != Some(3) {
            return Err(decode::Error::message("a descriptor has three parts").at(at));
        }
        Ok(Descriptor { handle: Handle::decode(d, table)?, key: Key::decode(d, table)?, age: d.u16()? })
    }
}

/// The bytes of its words.
impl<C> Encode<C> for Levels {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let mut bytes = [0; KEY_BITS / 8];
        for (four, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            four.copy_from_slice(&word.to_be_bytes());
        }
        e.bytes(&bytes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Levels {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let bytes = d.bytes()?;
        if bytes.len() != KEY_BITS / 8 {
            return Err(decode::Error::message("a set of levels of another length").at(at));
        }
        let word = |i: usize| [bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]];
        Ok(Levels(core::array::from_fn(|i| u32::from_be_bytes(word(i)))))
    }
}
