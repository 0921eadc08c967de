//! What can go wrong, and whether the other member may have the message.

use std::io;

use crate::address::{Address, BadAddress, Misaddressed};
use crate::directory::FindError;
use crate::limits::{LINKS_MAX, MESSAGE_MAX_BYTES, SEND_MAX};

/// No mailbox was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the slot's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("no socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the agent's answer is not understood: {0}")]
    Agent(&'static str),
}

/// A message or stream was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("a message of {len} bytes: MESSAGE_MAX_BYTES is {MESSAGE_MAX_BYTES}; send it by a stream")]
    TooLong { len: u64 },
    #[error(transparent)]
    BadAddress(#[from] BadAddress),
    /// The other member says that it is not the one that is meant, and does not have the message.
    #[error("slot {slot} is not {address}: {why}; ask again who is")]
    Misaddressed { slot: u16, address: Box<Address>, why: Misaddressed },
    #[error("LINKS_MAX: messages to {LINKS_MAX} other members are under way")]
    TooManyPeers,
    #[error("this slot runs elsewhere under a higher epoch: {why}")]
    Replaced { why: String },
    #[error("slot {slot} was not reached: {why}")]
    NotReached { slot: u16, why: String },
    #[error(
        "SEND_MAX: nothing was sent to slot {slot} within {} s: too much is under way to it, and not taken",
        SEND_MAX.as_secs()
    )]
    NoRoom { slot: u16 },
    #[error("this mailbox is closed")]
    Closed,
    /// The only one after which the other member may have the message.
    #[error("sent to slot {slot} and not acknowledged: {why}")]
    NotAcknowledged { slot: u16, why: String },
}

impl SendError {
    /// True when the other member does not have the message, false when it may.
    pub fn is_definite(&self) -> bool {
        !matches!(self, SendError::NotAcknowledged { .. })
    }
}

/// A stream from another member broke off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream from slot {slot} broke off: {why}")]
pub struct StreamError {
    pub slot: u16,
    pub why: String,
}
