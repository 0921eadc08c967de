//! What a mailbox asks of the agent of its slot.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use xtreem_allocation::Epoch;
use xtreem_trust::Grounds;

use crate::address::{Address, Misaddressed};

/// An answer that may take some time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a slot's mailbox is, and under which epoch its holder runs. Whoever is met there has to prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub epoch: Epoch,
    pub address: SocketAddr,
}

/// Why a slot's mailbox is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error("nobody has slot {slot}: the application has {slots}")]
    Nobody { slot: u16, slots: u16 },
    #[error("slot {slot} has ended")]
    Ended { slot: u16 },
    /// This may change: it is being replaced, its program has opened no mailbox yet, the agent is busy.
    #[error("{why}")]
    NotNow { why: String },
}

/// A new credential, and what to judge others by.
#[derive(Clone, Debug)]
pub struct Issued {
    /// As `xtreem_trust::sign_slot` makes it.
    pub credential: Vec<u8>,
    pub grounds: Grounds,
    /// What time the agent has (unix milliseconds): credentials are judged by it, as its clock is corrected.
    pub now_unix_ms: u64,
}

/// Why there is no new credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    #[error("this slot runs elsewhere, or its application is over")]
    Over,
    #[error("{why}")]
    NotNow { why: String },
}

/// Answers by the agent of the slot.
pub trait Directory: Send + Sync + 'static {
    fn find(&self, slot: u16) -> Answer<'_, Result<Found, FindError>>;
    fn renew(&self) -> Answer<'_, Result<Issued, RenewError>>;
    /// Whether a message by this address, which another member wrote, is for this slot.
    fn check<'a>(&'a self, address: &'a Address) -> Answer<'a, Result<(), Misaddressed>>;
    /// The next epoch that becomes known, with its slot: somebody was replaced. One asks at a time.
    fn news(&self) -> Answer<'_, (u16, Epoch)>;
}
