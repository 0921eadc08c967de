//! Sending by slot, rank, place and key.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use xtreem_messages::OutStream;

use super::Mailbox;
use super::address::{Addresses, To};
use crate::ClientError;
use crate::api::ErrorKind;

/// A message or stream was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Which slot that is was not told: nothing was sent.
    #[error("{to}: {source}")]
    Unknown { to: To, source: ClientError },
    #[error(transparent)]
    Slot(#[from] xtreem_messages::SendError),
}

impl SendError {
    /// True when the other member does not have the message, false when it may.
    pub fn is_definite(&self) -> bool {
        match self {
            SendError::Unknown { .. } => true,
            SendError::Slot(error) => error.is_definite(),
        }
    }

    /// The same in the words of the local API.
    pub fn kind(&self) -> ErrorKind {
        if self.is_definite() { ErrorKind::Definite } else { ErrorKind::Indefinite }
    }
}

/// What becomes of a message that was handed over.
pub struct Receipt {
    receipt: xtreem_messages::Receipt,
    to: To,
    addresses: Arc<Addresses>,
}

impl Receipt {
    /// Waits until the message lies in the other member's mailbox.
    pub async fn acknowledged(self) -> Result<(), SendError> {
        let Receipt { receipt, to, addresses } = self;
        let acknowledged = receipt.acknowledged().await;
        acknowledged.inspect_err(|_| addresses.forget(&to)).map_err(SendError::from)
    }
}

impl Mailbox {
    /// Sends a message, and waits until it lies in the other member's mailbox.
    ///
    /// A rank, place or key is looked up first, and what was found is remembered until this member hears of a
    /// change or a message does not arrive. Such a message is sent again when it certainly did not arrive and
    /// the agent tells of another slot now.
    ///
    /// # Errors
    /// [`SendError::is_definite`] says whether the other member may have it.
    pub async fn send(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<(), SendError> {
        let body = body.into();
        self.addresses.send(&to.into(), |slot| self.mailbox.send(slot, body.clone())).await
    }

    /// Hands a message over, and waits only while too much is under way to that member, and for the look-up.
    /// Messages to one slot that are handed over one after the other arrive in that order.
    pub async fn post(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<Receipt, SendError> {
        let to = to.into();
        let slot = self.slot_of(&to).await?;
        let receipt = self.mailbox.post(slot, body).await?;
        Ok(Receipt { receipt, to, addresses: self.addresses.clone() })
    }

    /// Opens a stream to a member, for what is longer than a message. It has no order with messages.
    pub async fn stream(&self, to: impl Into<To>) -> Result<OutStream, SendError> {
        let to = to.into();
        let slot = self.slot_of(&to).await?;
        Ok(self.mailbox.stream(slot).await.inspect_err(|_| self.addresses.forget(&to))?)
    }

    async fn slot_of(&self, to: &To) -> Result<u16, SendError> {
        self.addresses.slot_of(to).await
    }
}

impl Addresses {
    async fn slot_of(&self, to: &To) -> Result<u16, SendError> {
        self.slot(to).await.map_err(|source| SendError::Unknown { to: to.clone(), source })
    }

    async fn send<F>(&self, to: &To, send: impl Fn(u16) -> F) -> Result<(), SendError>
    where
        F: Future<Output = Result<(), xtreem_messages::SendError>>,
    {
        let slot = self.slot_of(to).await?;
        let Err(error) = send(slot).await else { return Ok(()) };
        self.forget(to);
        if !error.is_definite() {
            return Err(error.into());
        }
        match self.slot(to).await {
            Ok(other) if other != slot => Ok(send(other).await.inspect_err(|_| self.forget(to))?),
            _ => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use xtreem_messages::SendError as Failed;

    use super::super::address::tests::Agent;
    use super::*;

    /// Whether a failure is definite.
    type Failure = Option<bool>;

    /// To which slots a message by rank goes when the sends of it fail so.
    async fn sent(failures: &[Failure]) -> (Vec<u16>, Failure) {
        let agent = Agent::start();
        let slots = RefCell::new(Vec::new());
        let to = To::rank("r", 7);
        let sent = agent.addresses.send(&to, |slot| {
            let at = slots.borrow().len();
            slots.borrow_mut().push(slot);
            let why = "broken".to_owned();
            let result = match failures[at] {
                None => Ok(()),
                Some(true) => Err(Failed::NotReached { slot, why }),
                Some(false) => Err(Failed::NotAcknowledged { slot, why }),
            };
            async { result }
        });
        let failed = sent.await.err().map(|error| error.is_definite());
        (slots.into_inner(), failed)
    }

    #[tokio::test]
    async fn only_what_certainly_did_not_arrive_is_sent_again_and_once() {
        type Row = (&'static [Failure], &'static [u16], Failure);
        let table: [Row; 4] = [
            (&[None], &[0], None),
            (&[Some(true), None], &[0, 1], None),
            (&[Some(true), Some(true)], &[0, 1], Some(true)),
            (&[Some(false)], &[0], Some(false)),
        ];
        for (failures, slots, failed) in table {
            assert_eq!(sent(failures).await, (slots.to_vec(), failed), "{failures:?}");
        }
    }
}
