//! What is kept of published events, for those who subscribe later: the last value of a topic, and past
//! events of topics that the configuration names.
//!
//! It lies on the ring of all nodes, so that every server finds it and it outlives the server that took it.
//! A topic has one key there for its last value: the newest event stays, whoever published it. Past events
//! lie in a few items of each server that took them. This holds no socket and no clock
//! and asks the ring through its caller; nobody waits here for the ring but whom it answers.
//!
//! *A subscriber misses nothing.* What is kept goes to other servers when it is written; so what came to a
//! server before somebody subscribed there is found, and the rest comes as it is published. Of what its own
//! clients publish, what is to be written when somebody subscribes is written before that one looks.

mod delayed;
mod logs;
mod past;
mod reads;
#[cfg(test)]
mod tests;
mod writes;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Deadlines, Duration, Instant};

use self::delayed::Delayed;
use self::logs::Log;
pub use self::logs::{LOGS_MAX, Rule, SLOTS};
pub use self::past::log_key;
use self::reads::{Read, Reader};
pub use self::reads::{key_of, retained};
use self::writes::Writes;
pub use self::writes::{WAITING_MAX, WAITING_MAX_BYTES};
use crate::Pattern;
use crate::broker::ConnectionId;
use crate::relay::{Arrival, Failure, Item, Section};

/// Writes under way, and as many questions: a sixteenth of what a node may have. Our guess.
const RUNNING_MAX: usize = 16;

/// Who published something that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub connection: ConnectionId,
    /// Among all that there were: ids are used again.
    pub number: u64,
    /// The word of its `Ack`.
    pub ack: Option<String>,
}

/// One operation on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The last value of a topic: as an event, or none any more.
    Retain(Arc<Pattern<'static>>, Option<Bytes>),
    /// Past events of a topic, in one of this server's items.
    Log { topic: Arc<Pattern<'static>>, slot: u16, value: Bytes, lease: Duration },
    /// Reads so many of the retained values that lie there.
    ReadRetained(Section, u16),
    /// The same of items with past events.
    ReadLogs(Section, u16),
}

/// What lies on the ring in one section, and where to go on if there may be more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Kept>,
    pub next: Option<Vec<u8>>,
}

/// An item that lies there, and what is left of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub item: Item,
    pub left: Duration,
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Asks the ring; [`Keeper::handle_done`] has the answer.
    Ring(u64, Ask),
    /// These events, so many, may go to other servers now.
    Publish(Arc<Pattern<'static>>, Bytes, u32),
    /// What this one published is kept, or not and why.
    Kept(Asker, Arc<Pattern<'static>>, Result<(), String>),
    /// This is for a subscriber that looks.
    Found(ConnectionId, Arc<Pattern<'static>>, Arrival),
    /// It is answered, with these words behind.
    Answer(ConnectionId, Arc<Pattern<'static>>, &'static str),
    /// Nothing more comes.
    Over(ConnectionId, Arc<Pattern<'static>>),
}

#[derive(Debug)]
enum Job {
    Write(Arc<Pattern<'static>>),
    Log(Arc<Pattern<'static>>),
    Read(Reader, u64),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Keeper {
    rules: Vec<Rule>,
    logs: BTreeMap<Arc<Pattern<'static>>, Log>,
    /// As `ready`.
    ready_logs: VecDeque<Arc<Pattern<'static>>>,
    writes: BTreeMap<Arc<Pattern<'static>>, Writes>,
    /// Topics of which something is to be written and nothing is being written.
    ready: VecDeque<Arc<Pattern<'static>>>,
    delayed: BTreeMap<Arc<Pattern<'static>>, Delayed>,
    delayed_bytes: usize,
    /// Bytes of all that waits to be written.
    waiting_bytes: usize,
    /// The numbers of all writes that are not over.
    unwritten: BTreeSet<u64>,
    writings: u64,
    reads: BTreeMap<Reader, Read>,
    /// Whose turn it is to read.
    turns: BTreeMap<u64, Reader>,
    timers: Deadlines<Reader>,
    running: BTreeMap<u64, Job>,
    requests: u64,
    out: VecDeque<Task>,
}

/// Why something is not kept when too much waits.
const REFUSED: &str = "more waits for the ring than possible: publish it again later";

impl Keeper {
    /// `rules`: of which topics past events are kept. The first one that means a topic counts.
    pub fn new(rules: Vec<Rule>) -> Keeper {
        Keeper { rules, ..Keeper::default() }
    }

    pub fn next_task(&mut self, now: Instant) -> Option<Task> {
        if let Some(task) = self.out.pop_front() {
            return Some(task);
        }
        let reads = self.running.values().filter(|job| matches!(job, Job::Read(..))).count();
        let may_write = self.running.len() - reads < RUNNING_MAX;
        let (job, ask) = if may_write && !self.ready.is_empty() {
            self.start_write()?
        } else if may_write && !self.ready_logs.is_empty() {
            self.start_log(now)?
        } else if reads < RUNNING_MAX {
            self.start_read()?
        } else {
            return None;
        };
        self.requests += 1;
        self.running.insert(self.requests, job);
        Some(Task::Ring(self.requests, ask))
    }

    /// What the ring said.
    pub fn handle_done(&mut self, now: Instant, request: u64, done: Result<Page, Failure>) {
        match self.running.remove(&request) {
            Some(Job::Write(topic)) => self.written(&topic, done),
            Some(Job::Log(topic)) => self.logged(&topic, done),
            Some(Job::Read(reader, turn)) => self.read(now, reader, turn, done),
            None => {}
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(reader) = self.timers.expire(now) {
            self.look_after(now, reader);
        }
    }

    /// Every writing with a lower number is over.
    fn oldest_writing(&self) -> u64 {
        self.unwritten.first().copied().unwrap_or(self.writings + 1)
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Refused(words) => alloc::format!("the ring does not take it: {words}"),
        Failure::Unanswered => "the ring did not answer in time: publish it again".to_string(),
    }
}
