//! The farmer's side: what it is asked, and what is due. `workers` hands out and takes back, `ring` stores.

mod ring;
mod workers;

use minicbor::{Decode, Encode};
use xtreem_base::{Call, Events, Handle, Instant, Rng, Sink, Wake};

pub use ring::Stored;

use super::message::Message;
use super::table::{Lease, Table};
use super::task::{Body, BodyTooLong, Outcome, State, TaskId};
use super::{BYTES_MAX, Config, Event, PUTS_MAX, Shelf, TASKS_MAX, earlier};

/// Why a task was not added. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    #[error("this node is not the farmer, or has not read its table yet: wait until it is ready")]
    NotFarmer,
    #[error("a table of {TASKS_MAX} tasks or {BYTES_MAX} bytes is full: collect what is done")]
    Full,
    #[error(transparent)]
    TooLong(#[from] BodyTooLong),
}

/// Why there is no outcome to take. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    #[error("this node is not the farmer, or has not read its table yet: wait until it is ready")]
    NotFarmer,
    #[error("no such task, or it was collected")]
    Unknown,
    #[error("it has no outcome yet, or none that is stored: wait until it is settled")]
    NotSettled,
}

/// How far the work has come, at a farmer that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Progress {
    #[n(0)]
    pub open: u32,
    /// Of the open ones, those that somebody is at.
    #[n(1)]
    pub leased: u32,
    #[n(2)]
    pub given_up: u32,
    #[n(3)]
    pub done: u32,
    #[n(4)]
    pub collected: u32,
    /// Results that were one too many: of a worker that was thought to be lost, or of the other side of a
    /// partition.
    #[n(5)]
    pub duplicates: u32,
    /// Leases that ran out or whose worker is gone.
    #[n(6)]
    pub lost_leases: u32,
    /// Items of the ring that this table had no room for; they stay where they are, for a later reading.
    #[n(7)]
    pub left_out: u32,
    /// As [`Farmer::is_whole`]: false where tasks may be missing in these numbers.
    #[n(8)]
    pub whole: bool,
    /// For how many seconds the task is in hand that is so longest, as far as this farmer has seen. None
    /// while nobody is at anything.
    #[n(9)]
    pub oldest_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Duty {
    /// Not the farmer.
    #[default]
    Off,
    /// Waits for the table; asks again then.
    Loading(Instant),
    /// Hears until then who is at what, and hands out nothing.
    Hearing(Instant),
    On,
}

/// One member as the farmer.
#[derive(Clone, Debug)]
pub struct Farmer {
    me: Handle,
    duty: Duty,
    /// When the own program may be given a task, as far as others have asked.
    own_turn_at: Instant,
    table: Table,
    reload_at: Instant,
    /// What is read from then on is the whole table; never while members are missing.
    whole_from: Instant,
    /// The reading that is under way began then, or one after it.
    reads_whole: bool,
    is_whole: bool,
    rng: Rng,
    duplicates: u32,
    lost_leases: u32,
    left_out: u32,
}

impl Farmer {
    pub(super) fn new(me: Handle, rng: Rng) -> Self {
        Farmer {
            me,
            duty: Duty::Off,
            own_turn_at: Instant::FAR,
            table: Table::default(),
            reload_at: Instant::FAR,
            whole_from: Instant::FAR,
            reads_whole: false,
            is_whole: false,
            rng,
            duplicates: 0,
            lost_leases: 0,
            left_out: 0,
        }
    }

    /// Whether this node is the farmer and knows its table.
    pub fn is_ready(&self) -> bool {
        matches!(self.duty, Duty::Hearing(_) | Duty::On)
    }

    /// Whether the table has all tasks that there are: it was read after all members were there, and they
    /// still are. On one side of a partition the ring has a part of the table only.
    pub fn is_whole(&self) -> bool {
        self.is_ready() && self.is_whole
    }

    pub fn progress(&self, now: Instant) -> Progress {
        let [open, given_up, done, collected] = self.table.counts();
        let age = |since| u32::try_from(now.since(since).as_micros() / 1_000_000).unwrap_or(u32::MAX);
        Progress {
            open,
            leased: self.table.leased() as u32,
            given_up,
            done,
            collected,
            duplicates: self.duplicates,
            lost_leases: self.lost_leases,
            left_out: self.left_out,
            whole: self.is_whole(),
            oldest_s: self.table.oldest().map(age),
        }
    }

    /// All tasks and where they stand.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &State)> {
        self.table.tasks().map(|(task, entry)| (task, &entry.state))
    }

    /// Where one task stands. None: there is no such task here.
    pub fn state(&self, task: TaskId) -> Option<&State> {
        self.table.entry(task).map(|entry| &entry.state)
    }

    /// None while there is none that is stored, and when it was collected.
    pub fn outcome(&self, task: TaskId) -> Option<Outcome> {
        self.table.entry(task).filter(|entry| entry.is_stored)?.state.outcome()
    }

    pub(super) fn take_over(&mut self, call: Call<'_, Config>, out: &mut impl Shelf) {
        if self.duty == Duty::Off {
            self.duty = Duty::Loading(call.now + call.config.store_timeout);
            self.own_turn_at = call.now + call.config.own_turn;
            out.load();
        }
    }

    /// What was not stored yet is told again by those that wait for it.
    pub(super) fn step_down(&mut self) {
        if self.duty != Duty::Off {
            self.duty = Duty::Off;
            self.table = Table::default();
            self.reload_at = Instant::FAR;
            self.left_out = 0;
            (self.reads_whole, self.is_whole) = (false, false);
        }
    }

    /// From when on the ring is one. It is read at once, and then once more.
    pub(super) fn handle_one(&mut self, call: Call<'_, Config>, from: Instant, out: &mut impl Shelf) {
        if from == self.whole_from {
            return;
        }
        (self.reads_whole, self.is_whole, self.whole_from) = (false, false, from);
        if from > call.now && from != Instant::FAR && self.is_ready() {
            out.load();
        }
    }

    pub(super) fn add(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        input: &[u8],
        out: &mut (impl Events<Event> + Shelf),
    ) -> Result<(), AddError> {
        if !self.is_ready() {
            return Err(AddError::NotFarmer);
        }
        let input = Body::new(input)?;
        if let Some(entry) = self.table.entry(task) {
            if entry.is_stored {
                out.event(Event::Added(task));
            }
            return Ok(());
        }
        if !self.has_room(input.as_bytes().len()) {
            return Err(AddError::Full);
        }
        self.table.set(task, State::Open { input, failed: 0, lost: 0 }, false);
        self.put_all(call, out);
        Ok(())
    }

    pub(super) fn collect(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        out: &mut impl Shelf,
    ) -> Result<Outcome, CollectError> {
        if !self.is_ready() {
            return Err(CollectError::NotFarmer);
        }
        let entry = self.table.entry(task).ok_or(CollectError::Unknown)?;
        if matches!(entry.state, State::Collected { .. }) {
            return Err(CollectError::Unknown);
        }
        let outcome = self.outcome(task).ok_or(CollectError::NotSettled)?;
        let attempt = entry.state.kept();
        self.set(call, task, State::Collected { attempt }, false);
        self.put_all(call, out);
        Ok(outcome)
    }

    pub(super) fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        if let Some(task) = self.table.task_of(peer) {
            self.lose(call, task);
        }
    }

    pub(super) fn handle_ended(&mut self, call: Call<'_, Config>, peer: Handle) {
        if let Some(task) = self.table.task_of(peer) {
            self.fail(call, task, "the program that had it ended");
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.table.workers().chain(self.table.reporters()).for_each(f);
    }

    pub(super) fn next_timeout(&self, _: &Config) -> Wake {
        let duty = match self.duty {
            Duty::Off => return Wake::NEVER,
            Duty::Loading(at) => Some(Wake::new(at, "to read the table again")),
            Duty::Hearing(at) => Some(Wake::new(at, "to hand out tasks")),
            Duty::On => None,
        };
        let first = |at: Option<(Instant, &TaskId)>| at.map(|(at, _)| at);
        let tables = earlier(first(self.table.puts.next()), first(self.table.forgets.next()));
        // What a death has changed is stored at once.
        let is_unsent = self.table.has_unsent() && self.table.puts.len() < PUTS_MAX;
        let tables = if is_unsent { Some(Instant::ZERO) } else { tables };
        let tables = tables.map(|at| Wake::new(at, "to store a task, or to forget one"));
        let leases = earlier(first(self.table.leases.next()), first(self.table.limits.next()));
        let lease = leases.map(|at| Wake::new(at, "a worker's lease ends, or its time"));
        let reload_at = if self.reads_whole { self.reload_at } else { self.reload_at.min(self.whole_from) };
        let reload = Some(Wake::new(reload_at, "to read the table again"));
        [duty, lease, tables, reload].into_iter().flatten().collect()
    }

    pub(super) fn handle_timeout<S>(&mut self, call: Call<'_, Config>, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        let Call { config, now } = call;
        match self.duty {
            Duty::Off => return,
            Duty::Loading(at) if at <= now => {
                self.duty = Duty::Loading(now + config.store_timeout);
                out.load();
            }
            Duty::Hearing(at) if at <= now => self.duty = Duty::On,
            Duty::Loading(_) | Duty::Hearing(_) | Duty::On => {}
        }
        while let Some(task) = self.table.leases.expire(now) {
            self.lose(call, task);
        }
        while let Some(task) = self.table.limits.expire(now) {
            self.run_out(call, task, out);
        }
        while let Some(task) = self.table.puts.expire(now) {
            self.table.set_unstored(task);
        }
        while let Some(task) = self.table.forgets.expire(now) {
            self.table.forget(task);
            out.remove(task);
        }
        if self.whole_from <= now && !self.reads_whole {
            self.reads_whole = true;
            self.reload_at = now + config.store_timeout;
            out.load_anew();
        } else if self.reload_at <= now {
            // A reading that failed is not told.
            let is_missing = self.reads_whole && !self.is_whole;
            self.reload_at = now + if is_missing { config.store_timeout } else { config.reload };
            out.load();
        }
        self.put_all(call, out);
    }

    /// As [`Table::set`]; a collected task is forgotten after a while.
    fn set(&mut self, call: Call<'_, Config>, task: TaskId, state: State, is_stored: bool) -> Option<Lease> {
        if matches!(state, State::Collected { .. }) {
            self.table.forgets.set(task, call.now + call.config.keep);
        }
        self.table.set(task, state, is_stored)
    }

    fn put_all(&mut self, call: Call<'_, Config>, out: &mut impl Shelf) {
        while self.table.puts.len() < PUTS_MAX {
            let Some(item) = self.table.take_unsent(call.now + call.config.store_timeout) else { return };
            out.put(&item);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.table.len() < TASKS_MAX && self.table.bytes() + bytes <= BYTES_MAX
    }
}
