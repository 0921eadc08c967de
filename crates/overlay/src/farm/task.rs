//! One task: what it is now, as an item of the ring, and which of two such items stays.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::Digest;

/// Bytes of an input or a result at most: with what stands beside it an item fits a value of the ring
/// (64 KiB).
pub const BODY_MAX: usize = 60 << 10;
/// Bytes of a reason at most; longer ones are cut.
pub const WHY_MAX: usize = 256;

/// What its application calls a task. Whoever adds it draws it at random or makes it of what the task is, so
/// that a task that is added twice is one task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TaskId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    #[n(0)]
    Done(#[n(0)] Body),
    /// For people to read.
    #[n(1)]
    Failed(#[n(0)] Why),
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum State {
    #[n(0)]
    Open {
        #[n(0)]
        input: Body,
        /// Attempts that failed.
        #[n(1)]
        failed: u16,
        /// Attempts whose worker was lost.
        #[n(2)]
        lost: u16,
    },
    /// It failed as often as it may.
    #[n(1)]
    GivenUp {
        #[n(0)]
        why: Why,
        /// What nobody could do.
        #[n(1)]
        input: Body,
    },
    #[n(2)]
    Done {
        /// Which attempt's result it is.
        #[n(0)]
        attempt: u64,
        #[n(1)]
        result: Body,
    },
    /// Its outcome was handed over, and the task is remembered so that nobody does it again.
    #[n(3)]
    Collected {
        /// Whose result it was; None: it was given up.
        #[n(0)]
        attempt: Option<u64>,
    },
}

/// Which of two items of one task stays: the higher one, on the ring as at a farmer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// A later state has a higher one whatever came before, so the ring needs no rule for tasks: open, given
    /// up, done, collected; of two that are open the one with more attempts behind it.
    pub version: u64,
    /// Of the encoded item.
    pub digest: Digest,
}

/// A task as it lies on the ring.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Item {
    #[n(0)]
    pub task: TaskId,
    #[n(1)]
    pub state: State,
}

impl Item {
    pub fn stamp(&self) -> Stamp {
        let mut hasher = blake3::Hasher::new();
        // Writing to a hasher cannot fail, and the codec of an item never refuses.
        let _ = minicbor::encode(self, Hashed(&mut hasher));
        Stamp { version: self.state.version(), digest: Digest::from_bytes(*hasher.finalize().as_bytes()) }
    }
}

impl State {
    fn version(&self) -> u64 {
        let rank = match self {
            State::Open { .. } => 0,
            State::GivenUp { .. } => 1,
            State::Done { .. } => 2,
            State::Collected { .. } => 3,
        };
        rank << 32 | u64::from(self.attempts())
    }

    /// Attempts that came to nothing, of a task that is open.
    pub(super) fn attempts(&self) -> u32 {
        match self {
            State::Open { failed, lost, .. } => u32::from(*failed) + u32::from(*lost),
            State::GivenUp { .. } | State::Done { .. } | State::Collected { .. } => 0,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self, State::Open { .. })
    }

    /// Whose result is kept; None: nobody's.
    pub(super) fn kept(&self) -> Option<u64> {
        match self {
            State::Done { attempt, .. } => Some(*attempt),
            State::Collected { attempt } => *attempt,
            State::Open { .. } | State::GivenUp { .. } => None,
        }
    }

    /// Bytes of its input or result.
    pub(super) fn body_len(&self) -> usize {
        match self {
            State::Open { input: body, .. } | State::Done { result: body, .. } => body.0.len(),
            State::GivenUp { why, input } => why.0.len() + input.0.len(),
            State::Collected { .. } => 0,
        }
    }

    /// None while it is open, and when it was collected.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            State::Done { result, .. } => Some(Outcome::Done(result.clone())),
            State::GivenUp { why, .. } => Some(Outcome::Failed(why.clone())),
            State::Open { .. } | State::Collected { .. } => None,
        }
    }
}

/// At most [`BODY_MAX`] bytes that mean something to the application.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Body(pub(super) Arc<[u8]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes: {BODY_MAX} are possible; put more into a file and its name here")]
pub struct BodyTooLong(pub usize);

impl Body {
    /// # Errors
    /// Longer than [`BODY_MAX`].
    pub fn new(bytes: &[u8]) -> Result<Body, BodyTooLong> {
        if bytes.len() > BODY_MAX { Err(BodyTooLong(bytes.len())) } else { Ok(Body(bytes.into())) }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<C> Encode<C> for Body {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Body {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Body::new(d.bytes()?).map_err(|_| decode::Error::message("a body of more than 60 KiB").at(at))
    }
}

/// At most [`WHY_MAX`] bytes of text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Why(String);

impl Why {
    /// Cut at the last character that fits.
    pub fn new(text: &str) -> Why {
        Why(text[..text.floor_char_boundary(WHY_MAX)].to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<C> Encode<C> for Why {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Why {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let text = Some(d.str()?).filter(|text| text.len() <= WHY_MAX);
        text.map(Why::new).ok_or_else(|| decode::Error::message("a reason of more than 256 bytes").at(at))
    }
}

/// Writes into a hash.
struct Hashed<'a>(&'a mut blake3::Hasher);

impl Write for Hashed<'_> {
    type Error = core::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.update(bytes);
        Ok(())
    }
}
