//! The way out for one collection: frames to other slots, and what becomes of them.
//!
//! A core expects its messages to get lost now and then, and says what matters again. So nothing here waits
//! for a slow slot: what has no room, or does not arrive in time, is dropped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use crate::mail::CoreMail;

/// Frames of one collection that are not acknowledged; one more is dropped (our guess: one to each of 256
/// slots, four times).
const FLIGHT_MAX: usize = 1_024;
/// A frame that did not leave by then is dropped: what it says is old (our guess: as long as a handshake
/// between continents).
const LATE: Duration = Duration::from_secs(3);

pub(super) struct Post {
    mail: Arc<CoreMail>,
    /// Who drops a receipt before the frame was sent does not want it sent any more.
    flight: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Post {
    pub(super) fn new(mail: Arc<CoreMail>) -> Post {
        Post { mail, flight: FuturesUnordered::new() }
    }

    /// False when it is dropped at once.
    pub(super) fn send(&self, slot: u16, frame: Vec<u8>) -> bool {
        if self.flight.len() >= FLIGHT_MAX {
            return false;
        }
        match self.mail.mailbox.post(slot, frame).now_or_never() {
            Some(Ok(receipt)) => {
                let late = timeout(LATE, receipt.acknowledged());
                self.flight.push(async move { drop(late.await) }.boxed());
                true
            }
            // No room, or nobody has this slot.
            Some(Err(_)) | None => false,
        }
    }

    /// Sees to what is in flight, for ever. It may be cancelled.
    pub(super) async fn settle(&mut self) {
        loop {
            if self.flight.next().await.is_none() {
                return std::future::pending().await;
            }
        }
    }
}
