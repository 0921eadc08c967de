//! Farmer and workers: one member hands out tasks, the others do them; each task ends with one outcome.
//!
//! The farmer is whoever has the lowest rank that lives. Its table lies on the ring, one item a task, so that
//! the next one takes it over: nothing is acknowledged, to the application or to a worker, before the item
//! that says it is stored. Leases of tasks are not stored: workers tell a new farmer what they are at, and it
//! hands out nothing before one lease has passed. After a partition the two tables are merged item by item by
//! the ring's own rule, higher [`Stamp`]. `docs/protocols/farm.md`. *Absent: what tasks mean, who has which
//! rank, and how the ring stores.*

mod farmer;
mod message;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod worker;

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sink, Wake};

pub use farmer::{AddError, CollectError, Farmer, Progress, Stored};
pub use message::Message;
pub use task::{BODY_MAX, Body, BodyTooLong, Item, Outcome, Stamp, State, TaskId, WHY_MAX, Why};
pub use worker::{FinishError, Worker};

/// Tasks in a table at most, those included whose outcome was collected and that are still remembered.
pub const TASKS_MAX: usize = 1 << 16;
/// Bytes of inputs and results in a table at most: our guess of what a farmer can spare.
pub const BYTES_MAX: usize = 256 << 20;
/// Items on their way to the ring at most; others wait for their turn.
pub const PUTS_MAX: usize = 64;

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A task whose worker does not say that it is still at it for so long is handed to another one. It
    /// says so three times as often. Our guess.
    pub lease: Duration,
    /// Attempts that fail before a task is given up. Hadoop's `mapreduce.map.maxattempts`.
    pub failures_max: u16,
    /// Whoever has a task in hand for so long has failed at it. None: it may take any time.
    pub time_max: Option<Duration>,
    /// Attempts whose worker was lost before a task is given up: it may be the task that kills them. Our
    /// guess: more, because workers die by themselves, too.
    pub losses_max: u16,
    /// The farmer's own program is given tasks when no other member has one, nor asked for one for so long.
    /// Our guess: two pauses of a worker that asks, and a question that was lost.
    pub own_turn: Duration,
    /// An unanswered question of a worker is repeated after that, then twice that, up to `rest_max`.
    pub reply_timeout: Duration,
    /// A worker for which there is nothing asks again after so long.
    pub rest: Duration,
    /// Longest pause between two tries to reach the farmer.
    pub rest_max: Duration,
    /// What the ring does not acknowledge is put or asked for again after so long.
    pub store_timeout: Duration,
    /// The ring's table is read again so often: what the other side of a partition did shows there.
    pub reload: Duration,
    /// When all members are there again the ring has become one after so long, and what is read then is the
    /// whole table.
    /// In tests the last items came after 30 to 40 s.
    pub merge: Duration,
    /// A collected task is remembered for so long, for workers and partitions that come back with it.
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            lease: Duration::from_secs(30),
            failures_max: 4,
            time_max: None,
            losses_max: 16,
            own_turn: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(1),
            rest: Duration::from_secs(2),
            rest_max: Duration::from_secs(30),
            store_timeout: Duration::from_secs(2),
            reload: Duration::from_secs(60),
            merge: Duration::from_secs(45),
            keep: Duration::from_secs(3_600),
        }
    }
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// For a farmer, and this node is none, or no more, or does not know its table yet.
    #[error("a message for a farmer")]
    NotFarmer,
    /// From somebody whom this node does not take for the farmer.
    #[error("orders from somebody who is not the farmer")]
    NotMyFarmer,
    /// Answers no question that is open: late, repeated or made up.
    #[error("an answer that nobody waits for")]
    Unsolicited,
}

/// What the application is told, as farmer and as worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This node is the farmer now and knows the table: tasks may be added.
    Ready,
    /// The task is on the ring: it is not lost any more.
    Added(TaskId),
    /// The task has its outcome, which is on the ring: [`Farmer::outcome`] has it.
    Settled(TaskId),
    /// The other side of a partition had another outcome, which is the one that stays.
    Replaced(TaskId),
    /// Do this.
    Start { task: TaskId, input: Arc<[u8]> },
    /// Leave it: it is done elsewhere, or not wanted any more.
    Stop(TaskId),
}

/// The part of the ring on which the table lies. What it answers comes in by [`Farm::handle_stored`] and
/// [`Farm::handle_loaded`].
pub trait Shelf {
    /// Stores an item unless one of a higher stamp lies there, with all its copies.
    fn put(&mut self, item: &Item);

    /// Asks for all items.
    fn load(&mut self);

    /// As [`Shelf::load`]; what was read before does not count.
    fn load_anew(&mut self);

    /// The item is not needed any more.
    fn remove(&mut self, task: TaskId);
}

/// Who the farmer is, as far as the ranks tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This node: nobody that lives has a lower rank.
    Farmer,
    /// Another node.
    WorkerOf(Handle),
    /// Nobody is known yet.
    Unknown,
}

/// One member: a worker, and a farmer when its turn has come. A farmer works as long as nobody else does: a
/// task that ends its program would take the farmer along. What it has in hand when others come it still
/// reports, to itself.
#[derive(Clone, Debug)]
pub struct Farm {
    me: Handle,
    farmer: Farmer,
    worker: Worker,
}

impl Farm {
    pub fn new(me: Handle, rng: Rng) -> Self {
        Farm { me, farmer: Farmer::new(me, rng), worker: Worker::default() }
    }

    pub fn farmer(&self) -> &Farmer {
        &self.farmer
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The ranks say who the farmer is. Nothing happens when it is the one that it was.
    pub fn handle_role<S>(&mut self, call: Call<'_, Config>, role: Role, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        match role {
            Role::Farmer => self.farmer.take_over(call, out),
            Role::WorkerOf(_) | Role::Unknown => self.farmer.step_down(),
        }
        let farmer = match role {
            Role::Farmer => Some(self.me),
            Role::WorkerOf(farmer) => Some(farmer),
            Role::Unknown => None,
        };
        self.worker.handle_farmer(call, farmer, out);
    }

    /// Since when the ring is one, or from when on it will be; None while somebody is missing, on the other
    /// side of a partition or elsewhere. Nothing happens when it was known.
    pub fn handle_one(&mut self, call: Call<'_, Config>, from: Option<Instant>, out: &mut impl Shelf) {
        self.farmer.handle_one(call, from.unwrap_or(Instant::FAR), out);
    }

    /// Adds a task; [`Event::Added`] says when it is safe. One that is known already under this id is the
    /// same task, and nothing happens.
    pub fn add<S>(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        input: &[u8],
        out: &mut S,
    ) -> Result<(), AddError>
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        self.farmer.add(call, task, input, out)
    }

    /// Takes the outcome of a task out of the table, which then only remembers that it was done.
    pub fn collect<S>(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        out: &mut S,
    ) -> Result<Outcome, CollectError>
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        self.farmer.collect(call, task, out)
    }

    /// Whether the program of this member wants something to do; it does in the beginning. While it does not,
    /// no task is asked for, so that none lies at a member where nobody does it.
    pub fn set_wants(&mut self, call: Call<'_, Config>, wants: bool, out: &mut impl Sink<Message>) {
        self.worker.set_wants(call, wants, out);
    }

    /// The program is done with its task, or failed at it.
    pub fn finish(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        outcome: Outcome,
        out: &mut impl Sink<Message>,
    ) -> Result<(), FinishError> {
        self.worker.finish(call, task, outcome, out)
    }

    /// The program does not do its task: the farmer gives it to another one, and nothing counts.
    pub fn give_back(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        self.worker.give_back(call, out);
    }

    /// A worker's program has ended and runs anew. If it had a task in hand, that one may be why.
    pub fn handle_ended(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.farmer.handle_ended(call, peer);
    }

    /// The ring has answered a put.
    pub fn handle_stored<S>(&mut self, call: Call<'_, Config>, task: TaskId, stored: Stored, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        self.farmer.handle_stored(call, task, stored, out);
    }

    /// The ring has answered [`Shelf::load`].
    pub fn handle_loaded<S>(&mut self, call: Call<'_, Config>, items: Vec<Item>, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        self.farmer.handle_loaded(call, items, out);
    }
}

impl Core for Farm {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        self.farmer.next_timeout(config).or(self.worker.next_timeout())
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.farmer.handle_gone(call, peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.farmer.for_each_handle(f);
        self.worker.farmer().into_iter().for_each(f);
    }
}

impl<S: Sink<Message> + Events<Event> + Shelf> Driven<S> for Farm {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        match message {
            Message::Ask { seq } => self.farmer.on_ask(call, from, seq, out),
            Message::Renew { task, attempt } => self.farmer.on_renew(call, from, task, attempt, out),
            Message::Report { task, attempt, outcome } => {
                self.farmer.on_report(call, from, task, attempt, outcome, out)
            }
            Message::Return { task, attempt } => self.farmer.on_return(from, task, attempt),
            answer => self.worker.on_answer(call, from, answer, out),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        self.farmer.handle_timeout(call, out);
        self.worker.handle_timeout(call, out);
    }
}

/// `timeout` and twice as long for each try, up to `most`.
fn backed_off(timeout: Duration, tries: u32, most: Duration) -> Duration {
    (timeout * (1 << tries.min(16))).min(most)
}

/// The earlier one.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
