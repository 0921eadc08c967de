//! The slots that this node runs: one task a run, so that no slow fetch or stubborn program holds up another.
//!
//! The node core decides what is started and stopped; this table only carries it out, and remembers the last
//! words of runs that ended.

mod failure;
mod run;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use xtreem_allocation::StopReason;
use xtreem_allocation::{SlotRun, Spec};
use xtreem_base::AppId;
use xtreem_net::Contact;
use xtreem_net::beside::Refusal;
use xtreem_pubsub::broker::Member;

use crate::agent::Agent;
use crate::exec::{Door, Log};
use crate::program::ExecBy;
use crate::trash::Trash;

/// From SIGTERM to SIGKILL when an application is stopped (our guess: what service managers of small daemons
/// use; long enough to write a buffer out).
const GRACE_STOP: Duration = Duration::from_secs(5);
/// The same when the slot already runs elsewhere: two runs of one slot may overlap at most 5 s.
const GRACE_YIELD: Duration = Duration::from_secs(1);
/// Ended slots whose log is kept; beyond it the oldest goes.
const ENDED_MAX: usize = 256;

/// What the node core asks to be started.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub run: SlotRun,
    pub name: String,
    pub slots: u16,
    pub spec: Arc<Spec>,
    /// Nodes that may have the files.
    pub sources: Vec<Contact>,
    pub restarts: u32,
    /// Who submitted it.
    pub by: Member,
}

/// How a run is to be ended: the time between SIGTERM and SIGKILL.
pub(crate) type Grace = Duration;

#[derive(Debug, Default)]
pub(crate) struct Slots {
    table: Mutex<Table>,
    /// Told whenever a run has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Table {
    running: BTreeMap<SlotRun, Running>,
    /// The newest run of each slot that ran here and has ended.
    last_words: BTreeMap<(AppId, u16), LastWords>,
    /// The order in which last words came.
    order: VecDeque<(AppId, u16)>,
    /// Numbers the runs of this agent: short names for directories and sockets.
    started: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<Option<Grace>>,
    /// Once the program has been started.
    log: Option<Log>,
    door: Option<Arc<Door>>,
    /// As the specification has it.
    exec: ExecBy,
}

/// The newest run of a slot here, for commands beside it.
pub(crate) struct Neighbour {
    pub(crate) run: SlotRun,
    pub(crate) door: Arc<Door>,
    /// Who may start commands beside it.
    pub(crate) exec: ExecBy,
    /// Says when the run is to stop, and ends with it.
    pub(crate) stop: watch::Receiver<Option<Grace>>,
}

#[derive(Debug)]
struct LastWords {
    /// Why the run ended without its program, if so.
    trouble: Option<String>,
    log: Option<(Log, PathBuf)>,
}

impl Slots {
    /// Starts a run; the node is told how it goes.
    pub(crate) fn start(&self, agent: &Arc<Agent>, order: Order) {
        let (stop, stopped) = watch::channel(None);
        let mut table = self.table();
        if table.is_closed || table.running.contains_key(&order.run) {
            return;
        }
        table.started += 1;
        let number = table.started;
        table.running.insert(order.run, Running { stop, log: None, door: None, exec: ExecBy::default() });
        drop(table);
        tokio::spawn(run::carry_out(agent.clone(), order, number, stopped));
    }

    /// Asks a run to end. False when there is none.
    pub(crate) fn stop(&self, run: SlotRun, why: StopReason) -> bool {
        let grace = match why {
            StopReason::Stopped | StopReason::Freed => GRACE_STOP,
            StopReason::Yielded => GRACE_YIELD,
        };
        match self.table().running.get(&run) {
            Some(running) => {
                running.stop.send_replace(Some(grace));
                true
            }
            None => false,
        }
    }

    /// Takes no more runs; those that there are.
    pub(crate) fn shut(&self) -> Vec<SlotRun> {
        let mut table = self.table();
        table.is_closed = true;
        table.running.keys().copied().collect()
    }

    /// Ends every run that the node has not ended.
    pub(crate) fn stop_all(&self) {
        for running in self.table().running.values() {
            running.stop.send_replace(Some(GRACE_STOP));
        }
    }

    /// Returns when nothing runs.
    pub(crate) async fn emptied(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // From here on the end of a run wakes this, also before it is waited for.
            ended.as_mut().enable();
            if self.table().running.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// The node has nothing to do with the application any more: its last words go.
    pub(crate) fn forget(&self, trash: &Trash, app: AppId) {
        let mut table = self.table();
        let slots: Vec<_> =
            table.last_words.range((app, 0)..=(app, u16::MAX)).map(|(slot, _)| *slot).collect();
        let gone: Vec<_> = slots.into_iter().filter_map(|slot| table.forget(slot)).collect();
        drop(table);
        gone.into_iter().for_each(|dir| trash.discard(dir));
    }

    /// The last lines of the newest run of a slot here; nothing when the slot never ran here. Blocks on the
    /// disk.
    pub(crate) fn last_words(&self, app: AppId, slot: u16, count: usize) -> Option<String> {
        let table = self.table();
        let mut running = table.running.iter().filter(|(run, _)| run.app == app && run.slot == slot);
        let log = running.next_back().and_then(|(_, running)| running.log.clone());
        let (log, trouble) = match (log, table.last_words.get(&(app, slot))) {
            (Some(log), _) => (Some(log), None),
            (None, Some(words)) => (words.log.as_ref().map(|(log, _)| log.clone()), words.trouble.clone()),
            (None, None) => return None,
        };
        drop(table);
        let lines = log.and_then(|log| log.tail_lines(count).ok()).unwrap_or_default();
        let mut text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        if let Some(trouble) = trouble {
            text.push_str(&format!("xtreem: {trouble}\n"));
        }
        Some(text)
    }

    /// The run beside which a command would be started now.
    pub(crate) fn neighbour(&self, app: AppId, slot: u16) -> Result<Neighbour, Refusal> {
        let table = self.table();
        let mut running = table.running.iter().filter(|(run, _)| run.app == app && run.slot == slot);
        let (run, running) = running.next_back().ok_or(Refusal::NotHere)?;
        let stop = running.stop.subscribe();
        if stop.borrow().is_some() {
            return Err(Refusal::NotHere);
        }
        let door = running.door.clone().ok_or(Refusal::NotYet)?;
        Ok(Neighbour { run: *run, door, exec: running.exec, stop })
    }

    fn has_started(&self, run: SlotRun, log: Log, door: Arc<Door>, exec: ExecBy) {
        if let Some(running) = self.table().running.get_mut(&run) {
            (running.log, running.door, running.exec) = (Some(log), Some(door), exec);
        }
    }

    /// The run is over: what it leaves replaces what earlier runs of its slot left.
    fn has_ended(&self, trash: &Trash, run: SlotRun, log_dir: PathBuf, trouble: Option<String>) {
        let mut table = self.table();
        let mut gone = Vec::new();
        if let Some(running) = table.running.remove(&run) {
            let slot = (run.app, run.slot);
            gone.extend(table.forget(slot));
            let log = match running.log {
                Some(log) => Some((log, log_dir)),
                // Without a program there is nothing in it worth keeping.
                None => {
                    gone.push(log_dir);
                    None
                }
            };
            table.last_words.insert(slot, LastWords { trouble, log });
            table.order.push_back(slot);
            while table.order.len() > ENDED_MAX {
                let Some(oldest) = table.order.front().copied() else { break };
                gone.extend(table.forget(oldest));
            }
        }
        drop(table);
        gone.into_iter().for_each(|dir| trash.discard(dir));
        self.ended.notify_waiters();
    }

    /// A panic elsewhere cannot leave the table half-changed: every change is one insertion or removal.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The directory of the log that goes with it.
    fn forget(&mut self, slot: (AppId, u16)) -> Option<PathBuf> {
        let words = self.last_words.remove(&slot);
        self.order.retain(|other| *other != slot);
        words?.log.map(|(_, dir)| dir)
    }
}
