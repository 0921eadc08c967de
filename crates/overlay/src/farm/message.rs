//! What workers and farmer say to each other.

use minicbor::{Decode, Encode};
use xtreem_base::{Duration, Travel};

use super::task::{Body, Outcome, TaskId};

/// Bytes of an input that a datagram of 1,200 bytes has room for beside its envelope.
const DATAGRAM_BODY_MAX: usize = 512;

/// Everything that one [`Farm`](super::Farm) says to another. The sender is in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Message {
    /// "Give me something to do."
    #[n(0)]
    Ask {
        #[n(0)]
        seq: u16,
    },
    /// "I am still at it."
    #[n(1)]
    Renew {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        attempt: u64,
    },
    /// "This came of it"; repeated until [`Message::Kept`] or [`Message::Stop`].
    #[n(2)]
    Report {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        attempt: u64,
        #[n(2)]
        outcome: Outcome,
    },
    /// "I do not wait for this any more": to a [`Message::Hand`] that came late.
    #[n(3)]
    Return {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        attempt: u64,
    },
    /// The answer to [`Message::Ask`], with its number: do this, and say so within each lease.
    #[n(4)]
    Hand {
        #[n(0)]
        seq: u16,
        #[n(1)]
        task: TaskId,
        #[n(2)]
        attempt: u64,
        #[n(3)]
        lease: Duration,
        #[n(4)]
        input: Body,
    },
    /// The answer to [`Message::Ask`] when there is nothing to do.
    #[n(5)]
    Idle {
        #[n(0)]
        seq: u16,
    },
    /// The answer to [`Message::Report`], once it is on the ring: forget it.
    #[n(6)]
    Kept {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        attempt: u64,
    },
    /// Leave it: another's result is kept, or nobody wants it.
    #[n(7)]
    Stop {
        #[n(0)]
        task: TaskId,
        #[n(1)]
        attempt: u64,
    },
}

impl Message {
    /// Whatever may be long travels on a stream.
    pub fn travel(&self) -> Travel {
        match self {
            Message::Hand { input, .. } => Travel::sized(input.as_bytes().len() <= DATAGRAM_BODY_MAX),
            Message::Report { outcome: Outcome::Done(result), .. } => {
                Travel::sized(result.as_bytes().len() <= DATAGRAM_BODY_MAX)
            }
            message => Travel::DATAGRAM.padded(matches!(message, Message::Ask { .. })),
        }
    }
}
