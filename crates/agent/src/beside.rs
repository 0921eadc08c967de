//! Commands beside slots, which users and other slots start with `xtreem exec`: the service of the node that
//! holds the slot.
//!
//! `conversation` is how a caller comes to a command, and `running` what they say to each other then. Every
//! caller has a task of its own, which takes a bounded piece at a time. What is said, and who may, is in
//! `xtreem_net::beside`; how processes are started is in `exec`.

mod conversation;
mod running;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use xtreem_allocation::SlotRun;
use xtreem_base::{AppId, NodeId};
use xtreem_net::beside::{Seal, seal};
use xtreem_net::{Guests, Identity, TlsError};

pub(crate) use conversation::serve;

/// Commands that run beside slots of this node at one time. Our guess: dozens of each of a few users.
const COMMANDS_MAX: usize = 256;
/// Of them, those beside one slot.
const COMMANDS_PER_SLOT_MAX: usize = 64;
/// Conversations by which nothing runs yet; one more is dropped. Each costs a handshake, and ends by itself.
const BEGINNINGS_MAX: usize = 256;
/// Conversations that came by one node, whose agent passes on what its users say: nobody alone takes all.
const PER_PEER_MAX: usize = 64;
/// Conversations that users of this agent and slots here have, with whomever (our guess: one a node for a
/// parallel program).
const CALLERS_MAX: usize = 256;
/// Of them, those of one slot: no program alone keeps users from theirs.
const CALLERS_PER_SLOT_MAX: usize = 64;
/// From the first byte to the warrant. A user's key is a file: nobody types anything meanwhile.
const BEGINNING_MAX: Duration = Duration::from_secs(10);
/// The holder says something at least so often: connections between nodes end after ten silent seconds.
const ALIVE_PERIOD: Duration = Duration::from_secs(3);
/// A caller that says nothing for so long counts as gone, whatever the agents between say. It speaks every
/// few seconds; the rest is for one that is stopped for a while (Ctrl-Z). Our guess.
const CALLER_SILENCE_MAX: Duration = Duration::from_secs(60);
/// From SIGTERM to SIGKILL when the caller is gone.
const GRACE_GONE: Duration = Duration::from_secs(1);

/// What all conversations of this agent share.
pub(crate) struct Commands {
    seal: Seal,
    running: Arc<Semaphore>,
    beginning: Semaphore,
    of_slots: Arc<Guests<(AppId, u16)>>,
    of_peers: Arc<Guests<NodeId>>,
    /// Turns of this agent's own users and slots.
    pub(crate) callers: Arc<Semaphore>,
    /// Seats of its slots among them.
    pub(crate) calling_slots: Arc<Guests<SlotRun>>,
}

impl Commands {
    /// Of the identity of a node.
    pub(crate) fn new(node: &Identity) -> Result<Commands, TlsError> {
        Ok(Commands {
            seal: seal(node)?,
            running: Arc::new(Semaphore::new(COMMANDS_MAX)),
            beginning: Semaphore::new(BEGINNINGS_MAX),
            of_slots: Guests::new(COMMANDS_PER_SLOT_MAX),
            of_peers: Guests::new(PER_PEER_MAX),
            callers: Arc::new(Semaphore::new(CALLERS_MAX)),
            calling_slots: Guests::new(CALLERS_PER_SLOT_MAX),
        })
    }
}
