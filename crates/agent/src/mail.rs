//! Messages between members: credentials of the slots that run here, where their mailboxes listen, and
//! mailboxes that the agent keeps: for programs which cannot have one of their own, and for the slot's
//! collections.

mod cores;
mod issue;
mod kept;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xtreem_allocation::{Epoch, SlotRun};
use xtreem_base::AppId;
use xtreem_messages::{OpenError, SlotKey};

use crate::agent::Agent;
use crate::waiting::TooMany;

pub(crate) use cores::CoreMail;
pub(crate) use issue::{grounds, issue, now_unix_ms};
pub(crate) use kept::Kept;
pub(crate) use told::{ask, serve};

/// Mailboxes that the agent keeps for programs; one more program is refused (our guess: each may have 8 MiB
/// of messages that are not read).
const KEPT_MAX: usize = 64;
/// Slots here that are members of collections; one more is refused (our guess: each may have 4 MiB that are
/// not read).
const CORES_MAX: usize = 128;

/// Who speaks through a mailbox of a slot; the byte by which other agents ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The program.
    Messages = 0,
    /// The agent, for the collections of which the slot is a member.
    Cores = 1,
}

/// Where the mailboxes of the slots here listen: ports of this node's address.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    ports: Mutex<BTreeMap<(Purpose, SlotRun), u16>>,
    kept: Arc<()>,
    cores: Arc<()>,
}

impl Mail {
    /// Epoch and port of the newest run of the slot here that has such a mailbox.
    fn here(&self, app: AppId, slot: u16, purpose: Purpose) -> Option<(Epoch, u16)> {
        let ports = self.ports();
        let is_it = |of: Purpose, run: &SlotRun| of == purpose && run.app == app && run.slot == slot;
        let mut of_it = ports.iter().filter(|((of, run), _)| is_it(*of, run));
        of_it.next_back().map(|((_, run), port)| (run.epoch, *port))
    }

    fn set(&self, purpose: Purpose, run: SlotRun, port: u16) {
        self.ports().insert((purpose, run), port);
    }

    fn remove(&self, purpose: Purpose, run: SlotRun) {
        self.ports().remove(&(purpose, run));
    }

    /// A panic elsewhere cannot leave the table half-changed: every change is one insertion or removal.
    fn ports(&self) -> MutexGuard<'_, BTreeMap<(Purpose, SlotRun), u16>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a slot has no mailbox of this kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoMailbox {
    #[error("the program of this slot has a mailbox of its own")]
    ItsOwn,
    #[error("the agent keeps the mailbox of this slot")]
    TheAgents,
    #[error("KEPT_MAX: this agent keeps {KEPT_MAX} mailboxes")]
    TooMany,
    #[error("CORES_MAX: this agent has {CORES_MAX} slots with collections")]
    TooManyCores,
    #[error("this slot runs elsewhere, or its application is over")]
    Over,
    #[error(transparent)]
    TooManyWait(#[from] TooMany),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Who takes the messages of a slot.
enum Keeper {
    Nobody,
    Program,
    Agent(Arc<Kept>),
}

/// What one run of a slot has for messages, while its program runs.
pub(crate) struct SlotMail {
    agent: Arc<Agent>,
    run: SlotRun,
    key: SlotKey,
    keeper: tokio::sync::Mutex<Keeper>,
}

impl SlotMail {
    pub(crate) fn new(agent: Arc<Agent>, run: SlotRun) -> std::io::Result<SlotMail> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
        let key = SlotKey::from_seed(seed);
        Ok(SlotMail { agent, run, key, keeper: tokio::sync::Mutex::new(Keeper::Nobody) })
    }

    pub(crate) fn key(&self) -> &SlotKey {
        &self.key
    }

    /// The program listens there itself.
    pub(crate) async fn is_at(&self, port: u16) -> Result<(), NoMailbox> {
        let mut keeper = self.keeper.lock().await;
        if let Keeper::Agent(_) = *keeper {
            return Err(NoMailbox::TheAgents);
        }
        *keeper = Keeper::Program;
        self.agent.mail.set(Purpose::Messages, self.run, port);
        Ok(())
    }

    /// The mailbox that the agent keeps for the program; opened when it is asked for first.
    pub(crate) async fn kept(&self) -> Result<Arc<Kept>, NoMailbox> {
        let mut keeper = self.keeper.lock().await;
        match &*keeper {
            Keeper::Program => Err(NoMailbox::ItsOwn),
            Keeper::Agent(kept) => Ok(kept.clone()),
            Keeper::Nobody => {
                let place = self.agent.mail.kept.clone();
                // The table has one itself.
                if Arc::strong_count(&place) > KEPT_MAX + 1 {
                    return Err(NoMailbox::TooMany);
                }
                let kept = Arc::new(Kept::open(&self.agent, self.run, &self.key, place).await?);
                self.agent.mail.set(Purpose::Messages, self.run, kept.port()?);
                *keeper = Keeper::Agent(kept.clone());
                Ok(kept)
            }
        }
    }
}

impl Drop for SlotMail {
    fn drop(&mut self) {
        self.agent.mail.remove(Purpose::Messages, self.run);
    }
}
