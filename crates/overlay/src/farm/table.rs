//! The farmer's table: what each task is, who is at it, what has to be stored, what is to be handed out next.

use alloc::collections::{BTreeMap, BTreeSet};

use xtreem_base::{Deadlines, Handle, Instant};

use super::Config;
use super::task::{Item, Stamp, State, TaskId};

/// Who is at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) worker: Handle,
    pub(super) attempt: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Of `state`.
    pub(super) stamp: Stamp,
    /// The ring has this state.
    pub(super) is_stored: bool,
    pub(super) lease: Option<Lease>,
    /// Who waits until the state is stored: the worker that brought it.
    pub(super) reporter: Option<Lease>,
    /// The last attempt that failed, or whose result was one too many: it counts once.
    pub(super) surplus: Option<u64>,
    /// Place in the order of handing out: by attempts that came to nothing, then as they were added.
    place: (u32, u64),
    /// Since when somebody is at it, under the attempt of the lease.
    pub(super) since: Instant,
}

/// All tasks of one farmer.
///
/// Invariants: `ready` has the open, stored tasks that nobody is at; `workers` has a worker for each lease,
/// and a worker has one at most; `unsent` has tasks that are not stored and not on their way.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<TaskId, Entry>,
    ready: BTreeSet<((u32, u64), TaskId)>,
    workers: BTreeMap<Handle, TaskId>,
    /// When leases run out.
    pub(super) leases: Deadlines<TaskId>,
    /// When those who are at a task have had all the time that there is for one.
    pub(super) limits: Deadlines<TaskId>,
    /// When what is on its way to the ring is put again.
    pub(super) puts: Deadlines<TaskId>,
    /// When collected tasks are forgotten.
    pub(super) forgets: Deadlines<TaskId>,
    unsent: BTreeSet<TaskId>,
    next_order: u64,
    bytes: usize,
    counts: [u32; 4],
}

/// What a task counts as in the progress.
fn kind(state: &State) -> usize {
    match state {
        State::Open { .. } => 0,
        State::GivenUp { .. } => 1,
        State::Done { .. } => 2,
        State::Collected { .. } => 3,
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of inputs, results and reasons.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tasks that are open, given up, done and collected.
    pub(super) fn counts(&self) -> [u32; 4] {
        self.counts
    }

    pub(super) fn leased(&self) -> usize {
        self.workers.len()
    }

    /// Since when the task is in hand that is so longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.workers.values().filter_map(|task| Some(self.entries.get(task)?.since)).min()
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = Handle> + '_ {
        self.workers.keys().copied()
    }

    /// Workers that wait until something is stored.
    pub(super) fn reporters(&self) -> impl Iterator<Item = Handle> + '_ {
        self.entries.values().filter_map(|entry| Some(entry.reporter?.worker))
    }

    pub(super) fn entry(&self, task: TaskId) -> Option<&Entry> {
        self.entries.get(&task)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = (TaskId, &Entry)> {
        self.entries.iter().map(|(task, entry)| (*task, entry))
    }

    pub(super) fn task_of(&self, worker: Handle) -> Option<TaskId> {
        self.workers.get(&worker).copied()
    }

    /// The task that is handed out next: those that were never tried before all others, so that one which
    /// ends programs does not take them from the good ones.
    pub(super) fn next_ready(&self) -> Option<TaskId> {
        self.ready.first().map(|(_, task)| *task)
    }

    /// Puts a task into a state; whoever was at it is not any more and comes back.
    pub(super) fn set(&mut self, task: TaskId, state: State, is_stored: bool) -> Option<Lease> {
        let before = self.remove_lease(task);
        let item = Item { task, state };
        let stamp = item.stamp();
        let state = item.state;
        self.bytes += state.body_len();
        self.counts[kind(&state)] += 1;
        let tried = state.attempts();
        match self.entries.get_mut(&task) {
            Some(entry) => {
                self.bytes -= entry.state.body_len();
                self.counts[kind(&entry.state)] -= 1;
                self.ready.remove(&(entry.place, task));
                entry.place.0 = tried;
                (entry.state, entry.stamp, entry.is_stored) = (state, stamp, is_stored);
            }
            None => {
                let (lease, reporter, surplus, since) = (None, None, None, Instant::FAR);
                let place = (tried, self.next_order);
                let entry = Entry { state, stamp, is_stored, lease, reporter, surplus, place, since };
                self.entries.insert(task, entry);
                self.next_order += 1;
            }
        }
        self.puts.clear(&task);
        if is_stored {
            self.unsent.remove(&task);
        } else {
            self.unsent.insert(task);
        }
        self.sort_in(task);
        before
    }

    pub(super) fn set_stored(&mut self, task: TaskId) {
        if let Some(entry) = self.entries.get_mut(&task) {
            entry.is_stored = true;
        }
        self.puts.clear(&task);
        self.unsent.remove(&task);
        self.sort_in(task);
    }

    /// It is to be stored anew: the ring has an older state, or did not answer.
    pub(super) fn set_unstored(&mut self, task: TaskId) {
        self.puts.clear(&task);
        if let Some(entry) = self.entries.get_mut(&task) {
            entry.is_stored = false;
            self.unsent.insert(task);
        }
        self.sort_in(task);
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// A task that is to be stored; it is on its way until then.
    pub(super) fn take_unsent(&mut self, again_at: Instant) -> Option<Item> {
        let task = self.unsent.pop_first()?;
        self.puts.set(task, again_at);
        Some(Item { task, state: self.entries.get(&task)?.state.clone() })
    }

    /// Notes that a worker is at a task, from then on. It must be at no other one, and nobody else at this.
    pub(super) fn begin_lease(&mut self, task: TaskId, lease: Lease, since: Instant, terms: &Config) {
        let Some(entry) = self.entries.get_mut(&task) else { return };
        (entry.lease, entry.since) = (Some(lease), since);
        self.workers.insert(lease.worker, task);
        if let Some(most) = terms.time_max {
            self.limits.set(task, since + most);
        }
        self.sort_in(task);
    }

    /// Whoever is at a task is so until then, and longer if it says so again.
    pub(super) fn extend_lease(&mut self, task: TaskId, until: Instant) {
        if self.entries.get(&task).is_some_and(|entry| entry.lease.is_some()) {
            self.leases.set(task, until);
        }
    }

    pub(super) fn remove_lease(&mut self, task: TaskId) -> Option<Lease> {
        let lease = self.entries.get_mut(&task)?.lease.take()?;
        self.workers.remove(&lease.worker);
        self.leases.clear(&task);
        self.limits.clear(&task);
        self.sort_in(task);
        Some(lease)
    }

    pub(super) fn set_reporter(&mut self, task: TaskId, reporter: Option<Lease>) {
        if let Some(entry) = self.entries.get_mut(&task) {
            entry.reporter = reporter;
        }
    }

    /// Whether it is the first time that this attempt fails, or that its result is one too many.
    pub(super) fn note_surplus(&mut self, task: TaskId, attempt: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&task) else { return false };
        entry.surplus.replace(attempt) != Some(attempt)
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        self.remove_lease(task);
        let Some(entry) = self.entries.remove(&task) else { return };
        self.bytes -= entry.state.body_len();
        self.counts[kind(&entry.state)] -= 1;
        self.ready.remove(&(entry.place, task));
        self.puts.clear(&task);
        self.unsent.remove(&task);
        self.forgets.clear(&task);
    }

    /// Keeps `ready` true for one task.
    fn sort_in(&mut self, task: TaskId) {
        let Some(entry) = self.entries.get(&task) else { return };
        if entry.state.is_open() && entry.is_stored && entry.lease.is_none() {
            self.ready.insert((entry.place, task));
        } else {
            self.ready.remove(&(entry.place, task));
        }
    }
}
