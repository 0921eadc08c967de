//! Sending by slot, rank, place and key.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;
use xtreem_messages::{OutStream, pause_after};

use super::Mailbox;
use super::address::{Addresses, Target, To};
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
    /// change or a message does not arrive. The other member is told by what it was addressed. Such a message
    /// is sent again when it certainly did not arrive and the agent tells of another slot now; and, up to
    /// [`TRIES_MAX`](crate::messages::TRIES_MAX) times, when the other member says that it is not the one that
    /// is meant.
    ///
    /// # Errors
    /// [`SendError::is_definite`] says whether the other member may have it.
    pub async fn send(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<(), SendError> {
        let body = body.into();
        self.addresses.send(&to.into(), |target| deliver(&self.mailbox, target, body.clone())).await
    }

    /// Hands a message over, and waits only while too much is under way to that member, and for the look-up.
    /// Messages to one slot that are handed over one after the other arrive in that order. It is looked up
    /// once: who finds that another member is meant by now posts it again.
    pub async fn post(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<Receipt, SendError> {
        let to = to.into();
        let receipt = match self.addresses.target(&to).await? {
            Target { slot, address: None } => self.mailbox.post(slot, body).await?,
            Target { slot, address: Some(address) } => self.mailbox.post_as(slot, address, body).await?,
        };
        Ok(Receipt { receipt, to, addresses: self.addresses.clone() })
    }

    /// Opens a stream to a member, for what is longer than a message. It has no order with messages, and the
    /// other member is not told by what it was addressed.
    pub async fn stream(&self, to: impl Into<To>) -> Result<OutStream, SendError> {
        let to = to.into();
        let Target { slot, .. } = self.addresses.target(&to).await?;
        Ok(self.mailbox.stream(slot).await.inspect_err(|_| self.addresses.forget(&to))?)
    }
}

async fn deliver(
    mailbox: &xtreem_messages::Mailbox,
    target: Target,
    body: Bytes,
) -> Result<(), xtreem_messages::SendError> {
    match target.address {
        None => mailbox.send(target.slot, body).await,
        Some(address) => mailbox.send_as(target.slot, address, body).await,
    }
}

impl Addresses {
    async fn target(&self, to: &To) -> Result<Target, SendError> {
        self.find(to).await.map_err(|source| SendError::Unknown { to: to.clone(), source })
    }

    async fn send<F>(&self, to: &To, send: impl Fn(Target) -> F) -> Result<(), SendError>
    where
        F: Future<Output = Result<(), xtreem_messages::SendError>>,
    {
        let mut target = self.target(to).await?;
        let (mut tries, mut has_moved) = (1, false);
        loop {
            let Err(error) = send(target.clone()).await else { return Ok(()) };
            self.forget(to);
            let is_another = matches!(error, xtreem_messages::SendError::Misaddressed { .. });
            match pause_after(tries) {
                // One of both is behind, and hears of it soon.
                Some(pause) if is_another => sleep(pause).await,
                Some(_) if error.is_definite() && !has_moved => {}
                _ => return Err(error.into()),
            }
            let Ok(next) = self.find(to).await else { return Err(error.into()) };
            if !is_another && next.slot == target.slot {
                return Err(error.into());
            }
            has_moved |= !is_another;
            target = next;
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use xtreem_messages::{Misaddressed, SendError as Failed, TRIES_MAX};

    use super::super::address::tests::Agent;
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fails {
        Definitely,
        Indefinitely,
        /// As another member is there.
        AsAnother,
    }
    use Fails::{AsAnother, Definitely, Indefinitely};

    /// To which slots a message by rank goes when the sends of it fail so, and whether it fails definitely.
    async fn sent(failures: &[Option<Fails>]) -> (Vec<u16>, Option<bool>) {
        let agent = Agent::start();
        let slots = RefCell::new(Vec::new());
        let to = To::rank("r", 7);
        let sent = agent.addresses.send(&to, |target| {
            let (at, slot) = (slots.borrow().len(), target.slot);
            slots.borrow_mut().push(slot);
            let why = "broken".to_owned();
            let result = match failures[at] {
                None => Ok(()),
                Some(Definitely) => Err(Failed::NotReached { slot, why }),
                Some(Indefinitely) => Err(Failed::NotAcknowledged { slot, why }),
                Some(AsAnother) => {
                    let address = Box::new(target.address.expect("by rank"));
                    Err(Failed::Misaddressed { slot, address, why: Misaddressed::NotKnown })
                }
            };
            async { result }
        });
        let failed = sent.await.err().map(|error| error.is_definite());
        (slots.into_inner(), failed)
    }

    #[tokio::test]
    async fn only_what_certainly_did_not_arrive_is_sent_again_and_once() {
        let is_definite = Some(true);
        type Row = (&'static [Option<Fails>], &'static [u16], Option<bool>);
        let table: [Row; 5] = [
            (&[None], &[0], None),
            (&[Some(Definitely), None], &[0, 1], None),
            (&[Some(Definitely), Some(Definitely)], &[0, 1], is_definite),
            (&[Some(Indefinitely)], &[0], Some(false)),
            (&[Some(AsAnother), Some(Definitely), Some(AsAnother), None], &[0, 1, 2, 3], None),
        ];
        for (failures, slots, failed) in table {
            assert_eq!(sent(failures).await, (slots.to_vec(), failed), "{failures:?}");
        }
    }

    #[tokio::test]
    async fn who_is_never_the_one_that_is_meant_is_asked_for_so_often_and_fails_definitely() {
        let tries = TRIES_MAX as usize;
        let slots: Vec<u16> = (0..TRIES_MAX as u16).collect();
        assert_eq!(sent(&vec![Some(AsAnother); tries]).await, (slots, Some(true)));
    }
}
