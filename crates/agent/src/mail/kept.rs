//! A mailbox that the agent keeps for a program of any language: it sends and receives in tasks of its own,
//! on a socket of its own, away from the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;
use xtreem_allocation::{Epoch, Notice, SlotRun, SlotState};
use xtreem_messages::{
    Address, Answer, Directory, FindError, Found, Issued, Mailbox, Misaddressed, OpenError, Options,
    RenewError, SlotKey,
};

use xtreem_net::Named;
use xtreem_node::Event;

use super::{NoMailbox, Purpose, issue};
use crate::agent::Agent;
use crate::api::member;
use crate::collections;
use crate::waiting::{Subscription, Topic};

/// Messages that a program has not read yet: less than in its own memory, as the agent is everybody's.
const UNREAD_MAX_BYTES: usize = 8 << 20;

/// A mailbox, and whether somebody reads it.
pub(crate) struct Kept {
    pub(crate) mailbox: Mailbox,
    is_read: AtomicBool,
    /// Counts mailboxes.
    _place: Arc<()>,
}

/// The only one who reads, until it is dropped.
pub(crate) struct Reader(pub(crate) Arc<Kept>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.is_read.store(false, Ordering::Release);
    }
}

impl Kept {
    pub(super) async fn open(
        agent: &Arc<Agent>,
        run: SlotRun,
        key: &SlotKey,
        place: Arc<()>,
    ) -> Result<Kept, NoMailbox> {
        let options = Options { unread_max_bytes: UNREAD_MAX_BYTES, ..Options::default() };
        let mailbox = open(agent, run, key, Purpose::Messages, options).await?;
        Ok(Kept { mailbox, is_read: AtomicBool::new(false), _place: place })
    }

    pub(super) fn port(&self) -> Result<u16, OpenError> {
        Ok(self.mailbox.address()?.port())
    }

    /// Nothing while somebody else reads.
    pub(crate) fn read(self: Arc<Self>) -> Option<Reader> {
        let is_read = self.is_read.swap(true, Ordering::Acquire);
        (!is_read).then(|| Reader(self))
    }
}

/// A mailbox of a slot that runs here, in the agent.
pub(super) async fn open(
    agent: &Arc<Agent>,
    run: SlotRun,
    key: &SlotKey,
    purpose: Purpose,
    options: Options,
) -> Result<Mailbox, NoMailbox> {
    // Where the agent itself listens, which may be all addresses.
    let socket = Mailbox::bind(key, agent.config.bind.ip(), 0)?;
    let changes = Mutex::new(agent.waiting.subscribe(Topic::Changes(run.app))?);
    let directory = Here { agent: agent.clone(), run, purpose, key: key.public(), changes };
    let issued = directory.renew().await.map_err(|error| match error {
        RenewError::Over => NoMailbox::Over,
        RenewError::NotNow { .. } => NoMailbox::Open(OpenError::Agent("no credential just now")),
    })?;
    Ok(socket.open_with(issued, Arc::new(directory), options)?)
}

/// What the agent tells a mailbox of its own.
struct Here {
    agent: Arc<Agent>,
    run: SlotRun,
    purpose: Purpose,
    key: [u8; 32],
    changes: Mutex<Subscription>,
}

impl Directory for Here {
    fn find(&self, slot: u16) -> Answer<'_, Result<Found, FindError>> {
        Box::pin(async move {
            let found = member::find(&self.agent, self.run.app, slot, self.purpose).await?;
            Ok(Found { epoch: found.0, address: found.1 })
        })
    }

    fn renew(&self) -> Answer<'_, Result<Issued, RenewError>> {
        Box::pin(issue(&self.agent, self.run, self.key))
    }

    fn check<'a>(&'a self, address: &'a Address) -> Answer<'a, Result<(), Misaddressed>> {
        Box::pin(async {
            match self.purpose {
                Purpose::Messages => collections::check(&self.agent, self.run, address).await,
                // What collections say to each other goes from slot to slot.
                Purpose::Cores => Err(Misaddressed::NoMember),
            }
        })
    }

    fn news(&self) -> Answer<'_, (u16, Epoch)> {
        Box::pin(async {
            let mut changes = self.changes.lock().await;
            loop {
                if let Ok(Named { what: Event::Allocation(Notice::SlotChanged { slot, .. }), .. }) =
                    changes.next().await
                    && slot.state != SlotState::Planned
                {
                    return (slot.slot, slot.epoch);
                }
                // What was missed is heard of with the next renewal.
            }
        })
    }
}
