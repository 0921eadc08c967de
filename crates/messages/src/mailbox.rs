//! The mailbox of one slot: sends to other members of its application, and takes what they send.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;
use xtreem_allocation::Epoch;

use crate::address::Address;
use crate::directory::{Directory, FindError, Issued};
use crate::error::{OpenError, SendError};
use crate::inbox::{Inbox, cost};
use crate::incoming::{Doors, accept};
use crate::limits::{
    IN_FLIGHT_MAX_BYTES, LINKS_MAX, MEETINGS_MAX, MESSAGE_COST_BYTES, MESSAGE_MAX_BYTES, PATIENCE, SEND_MAX,
    UNREAD_MAX_BYTES,
};
use crate::link::{self, Decision, Job, Label, Out};
use crate::standing::Standing;
use crate::stream::{InStream, OutStream};
use crate::tls::SlotKey;

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum To {
    /// Whoever holds this slot: when it is replaced, its replacement.
    Slot(u16),
}

impl From<u16> for To {
    fn from(slot: u16) -> To {
        To::Slot(slot)
    }
}

/// Who sent something: it has shown that it holds this slot under this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub slot: u16,
    pub epoch: Epoch,
}

/// A message that arrived. Those of one member come in the order in which it sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub from: Member,
    /// By what it was addressed, if not by this slot; boxed, as most have none.
    pub to: Option<Box<Address>>,
    pub body: Bytes,
}

/// What becomes of a message that was handed over.
#[derive(Debug)]
pub struct Receipt {
    slot: u16,
    answer: oneshot::Receiver<Result<(), SendError>>,
    decision: Decision,
}

impl Receipt {
    /// Waits until the message lies in the other member's mailbox.
    pub async fn acknowledged(self) -> Result<(), SendError> {
        let why = || "the link ended".to_owned();
        let slot = self.slot;
        self.answer.await.unwrap_or_else(|_| Err(SendError::NotAcknowledged { slot, why: why() }))
    }

    /// The same, and gives it up then.
    async fn acknowledged_by(self, end: Instant) -> Result<(), SendError> {
        let (slot, decision) = (self.slot, self.decision.clone());
        let why = || format!("SEND_MAX: not within {} s of the send", SEND_MAX.as_secs());
        match timeout_at(end.into(), self.acknowledged()).await {
            Ok(acknowledged) => acknowledged,
            Err(_) if decision.is_mine() => Err(SendError::NoRoom { slot }),
            Err(_) => Err(SendError::NotAcknowledged { slot, why: why() }),
        }
    }
}

/// Everything that the tasks of one mailbox share.
pub(crate) struct Shared {
    pub endpoint: Endpoint,
    pub standing: Standing,
    pub inbox: Arc<Inbox>,
    pub doors: Doors,
    pub patience: Duration,
}

#[derive(Clone)]
struct Link {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    used: Instant,
}

impl Link {
    fn is_idle(&self) -> bool {
        self.room.available_permits() == IN_FLIGHT_MAX_BYTES
    }
}

/// Sends and receives for one slot. What is sent and not acknowledged when it is dropped may be lost.
pub struct Mailbox {
    shared: Arc<Shared>,
    links: Mutex<BTreeMap<u16, Link>>,
    keeping: AbortHandle,
}

/// A socket whose port others have to be told before the slot's credential is of use.
pub struct Socket {
    endpoint: Endpoint,
}

/// What may differ from one mailbox to another.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A member is looked for so long before a message to it fails.
    pub patience: Duration,
    /// Messages of all members that are not taken yet; one member has the half of it at most. Four times
    /// [`MESSAGE_MAX_BYTES`] at least.
    pub unread_max_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { patience: PATIENCE, unread_max_bytes: UNREAD_MAX_BYTES }
    }
}

impl Mailbox {
    /// Binds a socket for the key of a slot; port 0 is any that is free. Must be called in a tokio runtime.
    pub fn bind(key: &SlotKey, address: IpAddr, port: u16) -> Result<Socket, OpenError> {
        let (client, mut server) = key.tls()?;
        server.max_incoming(MEETINGS_MAX);
        let socket = std::net::UdpSocket::bind((address, port))?;
        let config = EndpointConfig::default();
        let mut endpoint = Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))?;
        endpoint.set_default_client_config(client);
        Ok(Socket { endpoint })
    }

    pub fn slot(&self) -> u16 {
        self.shared.standing.slot
    }

    pub fn epoch(&self) -> Epoch {
        self.shared.standing.epoch
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, OpenError> {
        Ok(self.shared.endpoint.local_addr()?)
    }

    /// How many slots the application has, as far as the agent has told.
    pub fn slots(&self) -> u16 {
        self.shared.standing.slots()
    }

    /// The agent says that this slot runs under this epoch: connections to and from an older one end.
    pub fn raise(&self, slot: u16, epoch: Epoch) {
        self.shared.standing.raise(slot, epoch);
    }

    /// Sends a message, and waits until it lies in the other member's mailbox, for [`SEND_MAX`] at most.
    ///
    /// # Errors
    /// [`SendError::is_definite`] says whether the other member may have it.
    pub async fn send(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_by(to, body, Instant::now() + SEND_MAX).await
    }

    /// The same for who has waited before: it fails at this time.
    pub async fn send_by(
        &self,
        to: impl Into<To>,
        body: impl Into<Bytes>,
        end: Instant,
    ) -> Result<(), SendError> {
        let To::Slot(slot) = to.into();
        self.send_within(slot, None, body.into(), end).await
    }

    /// Hands a message over, and waits only while too much is under way to that member
    /// ([`IN_FLIGHT_MAX_BYTES`]). Messages to one member that are handed over one after the other arrive in
    /// that order.
    pub async fn post(&self, to: impl Into<To>, body: impl Into<Bytes>) -> Result<Receipt, SendError> {
        let To::Slot(slot) = to.into();
        self.hand_over(slot, None, body.into()).await
    }

    /// The same, for whoever has the rank, place or key of this address, which was this slot when it was
    /// looked up. The other member is told of it; when it is another one by now it does not take the message
    /// ([`SendError::Misaddressed`]).
    pub async fn post_as(
        &self,
        slot: u16,
        address: Address,
        body: impl Into<Bytes>,
    ) -> Result<Receipt, SendError> {
        let label = Box::new(Label { bytes: address.write()?, address });
        self.hand_over(slot, Some(label), body.into()).await
    }

    /// The same, waiting until the message lies in the other member's mailbox, for [`SEND_MAX`] at most.
    pub async fn send_as(
        &self,
        slot: u16,
        address: Address,
        body: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.send_as_by(slot, address, body, Instant::now() + SEND_MAX).await
    }

    /// The same for who has waited before: it fails at this time.
    pub async fn send_as_by(
        &self,
        slot: u16,
        address: Address,
        body: impl Into<Bytes>,
        end: Instant,
    ) -> Result<(), SendError> {
        let label = Box::new(Label { bytes: address.write()?, address });
        self.send_within(slot, Some(label), body.into(), end).await
    }

    async fn send_within(
        &self,
        slot: u16,
        label: Option<Box<Label>>,
        body: Bytes,
        end: Instant,
    ) -> Result<(), SendError> {
        let posted = timeout_at(end.into(), self.hand_over(slot, label, body)).await;
        posted.map_err(|_| SendError::NoRoom { slot })??.acknowledged_by(end).await
    }

    async fn hand_over(
        &self,
        slot: u16,
        label: Option<Box<Label>>,
        body: Bytes,
    ) -> Result<Receipt, SendError> {
        if body.len() > MESSAGE_MAX_BYTES {
            return Err(SendError::TooLong { len: body.len() as u64 });
        }
        let link = self.link(slot)?;
        let len = body.len() + label.as_ref().map_or(0, |label| label.bytes.len());
        let room = link.room.acquire_many_owned(cost(len)).await.map_err(|_| SendError::Closed)?;
        let (receipt, answer) = oneshot::channel();
        let decision = Decision::default();
        let out = Out { label, body, receipt, room, since: Instant::now(), decision: decision.clone() };
        link.jobs.send(Job::Message(out)).await.map_err(|_| SendError::Closed)?;
        Ok(Receipt { slot, answer, decision })
    }

    /// Opens a stream to a member, for what is longer than a message. It has no order with messages.
    pub async fn stream(&self, to: impl Into<To>) -> Result<OutStream, SendError> {
        let To::Slot(slot) = to.into();
        let (reply, answer) = oneshot::channel();
        let job = Job::Stream { reply, since: Instant::now() };
        self.link(slot)?.jobs.send(job).await.map_err(|_| SendError::Closed)?;
        // A link that ends answers nothing: nothing was sent.
        let why = || "the link ended".to_owned();
        answer.await.unwrap_or_else(|_| Err(SendError::NotReached { slot, why: why() }))
    }

    /// The next message of any member.
    pub async fn recv(&self) -> Message {
        self.shared.inbox.take().await
    }

    /// The next message, when one is here.
    pub fn try_recv(&self) -> Option<Message> {
        self.shared.inbox.try_take()
    }

    /// The next stream that a member opened.
    pub async fn accept(&self) -> InStream {
        self.shared.inbox.take_stream().await
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn link(&self, slot: u16) -> Result<Link, SendError> {
        let slots = self.slots();
        // The agent may know of more by now, when the application has grown.
        if slot >= xtreem_allocation::SLOTS_MAX {
            return Err(FindError::Nobody { slot, slots }.into());
        }
        let mut links = self.links();
        if let Some(link) = links.get_mut(&slot) {
            link.used = Instant::now();
            return Ok(link.clone());
        }
        if links.len() >= LINKS_MAX {
            let idle = links.iter().filter(|(_, link)| link.is_idle());
            let longest = idle.min_by_key(|(_, link)| link.used).map(|(slot, _)| *slot);
            // Its task ends when nobody can send to it.
            links.remove(&longest.ok_or(SendError::TooManyPeers)?);
        }
        // As many as there can be room for, so that nobody waits here.
        let (jobs_in, jobs) = mpsc::channel(IN_FLIGHT_MAX_BYTES / MESSAGE_COST_BYTES);
        let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX_BYTES));
        let link = Link { jobs: jobs_in, room, used: Instant::now() };
        links.insert(slot, link.clone());
        tokio::spawn(link::run(self.shared.clone(), slot, jobs));
        Ok(link)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<u16, Link>> {
        // No task can leave it half changed: each change is one call.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Socket {
    #[cfg(test)]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, OpenError> {
        Ok(self.endpoint.local_addr()?)
    }

    /// The mailbox, with the slot's first credential.
    pub fn open(self, issued: Issued, directory: Arc<dyn Directory>) -> Result<Mailbox, OpenError> {
        self.open_with(issued, directory, Options::default())
    }

    /// The same with limits of its own.
    pub fn open_with(
        self,
        issued: Issued,
        directory: Arc<dyn Directory>,
        options: Options,
    ) -> Result<Mailbox, OpenError> {
        let Options { patience, unread_max_bytes } = options;
        let standing = Standing::new(issued, directory)?;
        let (inbox, doors) = (Arc::new(Inbox::new(unread_max_bytes)), Doors::default());
        let shared = Arc::new(Shared { endpoint: self.endpoint, standing, inbox, doors, patience });
        let kept = shared.clone();
        let keeping = tokio::spawn(async move { kept.standing.keep().await }).abort_handle();
        tokio::spawn(accept(shared.clone()));
        Ok(Mailbox { shared, links: Mutex::default(), keeping })
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.keeping.abort();
        // Ends the task that accepts, and all connections; links end when nobody can send to them.
        self.shared.endpoint.close(0u32.into(), b"the mailbox is closed");
    }
}
