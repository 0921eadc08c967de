//! Structured collections of applications: for each slot here one core a collection, driven in a task of its
//! own, away from the node.
//!
//! Cores talk to each other through a second mailbox of each slot, which is the agent's own: a peer is a slot
//! under its epoch, as the mailbox has proven it. Of the node they ask who runs. Deliberately absent: what
//! ranks, items and tasks are (the cores know that), and how programs ask for them (`api`).

mod driver;
mod feed;
mod frame;
mod fuzzed;
mod handles;
mod host;
mod life;
mod post;
mod registry;
mod stands;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use xtreem_allocation::SlotRun;
use xtreem_client::api::{COLLECTIONS_MAX, CollectionEvent, CollectionSpec, ToldView};

use crate::agent::Agent;
use crate::mail::{CoreMail, NoMailbox};
use crate::program::{self, CollectionRef};
use crate::waiting::TooMany;

pub(crate) use driver::{AtHand, Driver, Outcome, Question};
use driver::{Command, Parts};
use feed::{Inboxes, News};
pub(crate) use fuzzed::read_frame;
use life::Life;
pub(crate) use life::Starts;
use post::Post;
pub(crate) use registry::Registry;
pub(crate) use stands::{check, numbering};
pub(crate) use told::{of, serve};

/// What the API may ask of one collection before it is answered; more wait.
const COMMANDS_MAX: usize = 64;
/// Events that a slow reader has not taken; beyond it the oldest go.
const EVENTS_MAX: usize = 256;
/// Longest wait until what a member owns is another's. Our guess: a question and its answer, tried thrice.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Longest wait until the farmer has what a program leaves behind: the same guess.
const REPORT_MAX: Duration = Duration::from_secs(2);

/// What a program is told of its collections.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Changed(CollectionEvent),
    /// A member told all.
    Told(ToldView),
}

/// Why a collection was not joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("collection {name:?}: {why}")]
    Bad { name: String, why: String },
    #[error("this slot is a member of {name:?} already, and it is said to be {is}")]
    Other { name: String, is: String },
    #[error("COLLECTIONS_MAX: this slot is a member of {COLLECTIONS_MAX} collections: leave one")]
    TooMany,
    #[error(transparent)]
    NoMailbox(#[from] NoMailbox),
}

impl From<TooMany> for JoinError {
    fn from(error: TooMany) -> Self {
        JoinError::NoMailbox(error.into())
    }
}

/// The collection ended before it answered: the slot has left it, or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this slot is not a member of the collection any more")]
pub(crate) struct Ended;

/// One collection, as long as this slot is a member of it.
pub(crate) struct Joined {
    pub(crate) name: String,
    pub(crate) spec: CollectionSpec,
    commands: mpsc::Sender<Command>,
    /// Counts what changed.
    changed: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Joined {
    /// Runs `ask` in the collection's task.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Driver) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |driver| drop(reply.send(ask(driver))));
        self.commands.send(command).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Told of everything that changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changed = self.changed.clone();
        changed.mark_unchanged();
        changed
    }

    /// The program does no tasks any more. `ended`: why, when nobody asked it to end; a task that it had in
    /// hand has failed then.
    async fn lay_down(&self, ended: Option<String>) {
        let mut changes = self.changes();
        let reporting = async {
            self.call(move |driver| driver.lay_down(ended.as_deref())).await?;
            while self.call(|driver| driver.is_reporting()).await? {
                changes.changed().await.map_err(|_| Ended)?;
            }
            Ok::<_, Ended>(())
        };
        // Whom no farmer hears by then its next start betrays, or the lease of its task, which runs out.
        let _ = timeout(REPORT_MAX, reporting).await;
    }

    /// Hands on what this member owns, for a while.
    async fn hand_on(&self) {
        let mut changes = self.changes();
        let leaving = async {
            self.call(|driver| driver.with(|core, call, out| core.leave(call, out))).await?;
            while !self.call(|driver| driver.has_left()).await? {
                changes.changed().await.map_err(|_| Ended)?;
            }
            Ok::<_, Ended>(())
        };
        // Who has to wait longer leaves as one who dies.
        let _ = timeout(LEAVE_MAX, leaving).await;
    }

    /// Whoever still asks is told so.
    fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all collections of a slot share, from the first that is joined.
struct Opened {
    mail: Arc<CoreMail>,
    inboxes: Inboxes,
    tasks: [AbortHandle; 2],
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[derive(Default)]
struct Table {
    joined: BTreeMap<String, Arc<Joined>>,
    opened: Option<Opened>,
    /// The program has ended.
    is_closed: bool,
}

/// The collections of one run of a slot, while its program runs.
pub(crate) struct Collections {
    agent: Arc<Agent>,
    run: SlotRun,
    /// Of the application.
    slots: u16,
    table: Mutex<Table>,
    events: broadcast::Sender<Said>,
}

impl Collections {
    pub(crate) fn new(agent: Arc<Agent>, run: SlotRun, slots: u16) -> Collections {
        let events = broadcast::Sender::new(EVENTS_MAX);
        Collections { agent, run, slots, table: Mutex::default(), events }
    }

    /// Joins those that the application declares: all of its slots are members.
    pub(crate) async fn join_declared(
        &self,
        declared: &[CollectionRef],
        slots: u16,
    ) -> Result<(), JoinError> {
        for CollectionRef { name, spec } in declared {
            self.join(name, spec.clone(), Some(slots.into())).await?;
        }
        Ok(())
    }

    /// Joins one, or is a member of it already. `members`: how many there will be, if that is known.
    pub(crate) async fn join(
        &self,
        name: &str,
        spec: CollectionSpec,
        members: Option<u32>,
    ) -> Result<Arc<Joined>, JoinError> {
        let bad = |why| JoinError::Bad { name: name.chars().take(80).collect(), why };
        program::check_name(name).map_err(bad)?;
        let kind = program::kind(&spec).map_err(bad)?;
        program::check_room(&spec, self.slots).map_err(bad)?;
        let mut table = self.table.lock().await;
        if let Some(joined) = table.joined.get(name) {
            if joined.spec == spec {
                return Ok(joined.clone());
            }
            let is = serde_json::to_string(&joined.spec).unwrap_or_default();
            return Err(JoinError::Other { name: name.to_owned(), is });
        }
        if table.is_closed {
            return Err(NoMailbox::Over.into());
        }
        if table.joined.len() >= COLLECTIONS_MAX {
            return Err(JoinError::TooMany);
        }
        let opened = match &mut table.opened {
            Some(opened) => opened,
            opened @ None => opened.insert(self.open().await?),
        };
        let mark = CollectionRef { name: name.to_owned(), spec: spec.clone() }.mark();
        let SlotRun { slot, epoch, .. } = self.run;
        let (changed, changes) = watch::channel(0);
        let parts = Parts {
            name: name.to_owned(),
            mark,
            own: Life { slot, epoch, start: self.agent.starts.next() },
            post: Post::new(opened.mail.clone()),
            events: self.events.clone(),
            changed,
        };
        let driver = Driver::new(kind, members, parts);
        let inbox = opened.inboxes.add(mark);
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let task = tokio::spawn(driver::run(driver, inbox, asked)).abort_handle();
        let joined = Joined { name: name.to_owned(), spec, commands, changed: changes, task };
        let joined = Arc::new(joined);
        table.joined.insert(name.to_owned(), joined.clone());
        tracing::info!(app = ?self.run.app, slot, collection = name, "collection joined");
        Ok(joined)
    }

    async fn open(&self) -> Result<Opened, JoinError> {
        let inboxes = Inboxes::default();
        let mail = Arc::new(CoreMail::open(&self.agent, self.run).await?);
        let news = News::new(self.agent.clone(), self.run, inboxes.clone())?;
        let tasks = [
            tokio::spawn(feed::deliver(mail.clone(), inboxes.clone())).abort_handle(),
            tokio::spawn(news.tell()).abort_handle(),
        ];
        Ok(Opened { mail, inboxes, tasks })
    }

    /// False when this slot is no member of it.
    pub(crate) async fn leave(&self, name: &str) -> bool {
        // Others may ask for it, or join it again, once this is over.
        let Some(joined) = self.get(name).await else { return false };
        joined.lay_down(None).await;
        joined.hand_on().await;
        joined.end();
        let mut table = self.table.lock().await;
        table.joined.remove(name);
        if let Some(opened) = &table.opened {
            let spec = joined.spec.clone();
            opened.inboxes.remove(CollectionRef { name: name.to_owned(), spec }.mark());
        }
        true
    }

    /// The program has ended: what it leaves of its work the farms are told, what this member owns is handed
    /// on, each for a while, and nothing is joined any more. `ended`: how, when nobody asked it to.
    pub(crate) async fn close(&self, ended: Option<String>) {
        let all = self.all().await;
        let closing = all.iter().map(|joined| async {
            joined.lay_down(ended.clone()).await;
            joined.hand_on().await;
        });
        futures_util::future::join_all(closing).await;
        let mut table = self.table.lock().await;
        (table.is_closed, table.opened) = (true, None);
        std::mem::take(&mut table.joined).into_values().for_each(|joined| joined.end());
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Arc<Joined>> {
        self.table.lock().await.joined.get(name).cloned()
    }

    /// In the order of their names.
    pub(crate) async fn all(&self) -> Vec<Arc<Joined>> {
        self.table.lock().await.joined.values().cloned().collect()
    }

    /// What changes in any of them.
    pub(crate) fn events(&self) -> broadcast::Receiver<Said> {
        self.events.subscribe()
    }
}
