//! What nodes say to each other to average.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::Travel;

use super::bounds::{BOUNDS, Bounds};
use super::estimate::Estimate;
use super::sizes::{INSTANCES, Sizes};

/// Attributes that one message averages: four times 126 bytes with all else fit a datagram's 736.
pub const PART_ATTRIBUTES: usize = 4;
/// Values of random nodes that one message brings of each of its attributes, the sender's own first.
pub const SAMPLES: usize = 8;

/// Where the sender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Head {
    /// The version of the schema: nodes average only with nodes that have the same attributes.
    #[n(0)]
    pub schema: u32,
    /// Zero: it knows of none.
    #[n(1)]
    pub epoch: u32,
    /// Sixteenths of a round since the epoch began.
    #[n(2)]
    pub age: u16,
    /// The rank of the bounds that it uses.
    #[n(3)]
    pub bounds: u32,
    /// The rank of the bounds that it would use next.
    #[n(4)]
    pub next: u32,
}

/// What is averaged: the attributes of one part, and with the first part the size.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Half {
    #[n(0)]
    pub part: u8,
    #[n(1)]
    pub sizes: Sizes,
    /// Shares of nodes at or below each bound, attribute by attribute.
    #[cbor(n(2), encode_with = "encode_numbers", decode_with = "decode_values")]
    pub values: Box<[u16]>,
    /// Codes of up to [`SAMPLES`] nodes, those of each in order.
    #[cbor(n(3), encode_with = "encode_numbers", decode_with = "decode_samples")]
    pub samples: Box<[u16]>,
}

/// Why a push was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Why {
    /// It was a question.
    #[n(0)]
    Asked,
    /// An exchange of this part is open here, or there were too many in this round.
    #[n(1)]
    Busy,
    /// This node takes no part in the epoch: it came too late.
    #[n(2)]
    Waiting,
    #[n(3)]
    OtherEpoch,
    #[n(4)]
    OtherBounds,
    #[n(5)]
    OtherSchema,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// My values before the exchange; what are yours?
    #[n(0)]
    Push {
        #[n(0)]
        seq: u16,
        #[n(1)]
        head: Head,
        #[n(2)]
        half: Half,
    },
    /// Mine before the exchange. I have the mean now.
    #[n(1)]
    Pull {
        #[n(0)]
        seq: u16,
        #[n(1)]
        head: Head,
        #[n(2)]
        half: Half,
    },
    /// No exchange; this is where I stand.
    #[n(2)]
    Here {
        #[n(0)]
        seq: u16,
        #[n(1)]
        head: Head,
        #[n(2)]
        why: Why,
    },
    /// Where do you stand? And, from a newcomer: what came out last?
    #[n(3)]
    Ask {
        #[n(0)]
        seq: u16,
        #[n(1)]
        head: Head,
        #[n(2)]
        wants_estimate: bool,
    },
    /// Bounds of a lower rank than yours, for this epoch.
    #[n(4)]
    Bounds {
        #[n(0)]
        schema: u32,
        #[n(1)]
        epoch: u32,
        #[cbor(n(2), encode_with = "encode_shared", decode_with = "decode_shared")]
        bounds: Arc<Bounds>,
    },
    /// What came out of my last epoch, for a newcomer that asked.
    #[n(5)]
    Estimate {
        #[n(0)]
        schema: u32,
        #[cbor(n(1), encode_with = "encode_shared", decode_with = "decode_shared")]
        estimate: Arc<Estimate>,
    },
}

impl Message {
    /// All but bounds and estimates fit a datagram.
    pub fn travel(&self) -> Travel {
        Travel::sized(!matches!(self, Message::Bounds { .. } | Message::Estimate { .. }))
    }

    /// Bytes on the wire, about: for figures.
    pub fn wire_bytes(&self) -> usize {
        let rows = |bounds: &Bounds| bounds.rows.len() * (2 * BOUNDS + 12);
        match self {
            Message::Push { half, .. } | Message::Pull { half, .. } => {
                40 + 8 * half.sizes.iter().count() + 2 * half.values.len() + 2 * half.samples.len()
            }
            Message::Here { .. } | Message::Ask { .. } => 28,
            Message::Bounds { bounds, .. } => 16 + rows(bounds),
            Message::Estimate { estimate, .. } => 40 + rows(estimate.bounds()) * 2,
        }
    }
}

const _: () = assert!(
    40 + 8 * INSTANCES + 2 * PART_ATTRIBUTES * (BOUNDS + SAMPLES) <= 736,
    "a datagram has 736 bytes for its payload"
);

/// Numbers as bytes, the high one first.
pub(super) fn pack(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// At most `max` numbers.
pub(super) fn unpack(d: &mut Decoder<'_>, max: usize) -> Result<Vec<u16>, decode::Error> {
    let at = d.position();
    let bytes = d.bytes()?;
    if bytes.len() > 2 * max || bytes.len() % 2 != 0 {
        return Err(decode::Error::message("too many numbers").at(at));
    }
    Ok(bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect())
}

fn encode_numbers<C, W: Write>(
    numbers: &[u16],
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.bytes(&pack(numbers))?.ok()
}

fn decode_values<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Box<[u16]>, decode::Error> {
    unpack(d, PART_ATTRIBUTES * BOUNDS).map(Vec::into_boxed_slice)
}

fn decode_samples<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Box<[u16]>, decode::Error> {
    unpack(d, PART_ATTRIBUTES * SAMPLES).map(Vec::into_boxed_slice)
}

fn encode_shared<C, T: Encode<C>, W: Write>(
    shared: &Arc<T>,
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    shared.as_ref().encode(e, ctx)
}

fn decode_shared<'b, C, T: Decode<'b, C>>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Arc<T>, decode::Error> {
    T::decode(d, ctx).map(Arc::new)
}
