//! Events of topics that are replayed, on their way to the ring: of each topic a server has a few items, one
//! after the other, and writes over the oldest one.
//!
//! What is published while an item is being written waits, and goes with the next writing: however fast
//! events come, a topic has one writing under way.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Duration, Instant};

use super::past::Entry;
use super::{Ask, Asker, Job, Keeper, Page, REFUSED, Task, WAITING_MAX, WAITING_MAX_BYTES, words};
use crate::relay::Failure;
use crate::{Pattern, RETAINED_MAX_BYTES};

/// Items of one topic of one server. Our guess: so few that a writer's quota holds some hundred topics.
pub const SLOTS: u16 = 8;
/// Bytes of events in one of them: what may be retained, and its headers.
const SLOT_BYTES: usize = RETAINED_MAX_BYTES + (2 << 10);
/// Topics of which a server keeps events at a time; of more none, and the publisher is told. With all their
/// items half of a writer's quota.
pub const LOGS_MAX: usize = 256;

/// What is kept of which topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub topics: Pattern<'static>,
    /// The newest events of each topic, so many at least where they fit the items.
    pub events: u32,
    /// And each of them so long.
    pub lease: Duration,
}

/// One topic of this server.
#[derive(Debug)]
pub(super) struct Log {
    events_max: u32,
    lease: Duration,
    /// Counts items, and the one that is being filled.
    number: u64,
    item: Vec<(Instant, Entry)>,
    item_bytes: usize,
    waiting: VecDeque<Waiting>,
    /// What is being written, with its numbers among all writings.
    running: Vec<(u64, Option<Asker>)>,
    is_running: bool,
    used: Instant,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    at: Instant,
    entry: Entry,
    asker: Option<Asker>,
}

impl Log {
    /// Of writings that are not over.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let waiting = self.waiting.iter().map(|waiting| waiting.number);
        self.running.iter().map(|(number, _)| *number).chain(waiting)
    }

    /// Whether it goes into the item that is being filled.
    fn has_room(&self, entry: &Entry) -> bool {
        // One item is always being written over, and one being filled.
        let count_max = self.events_max.div_ceil(u32::from(SLOTS) - 2) as usize;
        self.item.len() < count_max && self.item_bytes + entry.len_bytes() <= SLOT_BYTES
    }
}

impl Keeper {
    /// Whether events of all these topics are kept.
    pub fn is_replayed(&self, topics: &Pattern<'_>) -> bool {
        self.rules.iter().any(|rule| rule.topics.covers(topics))
    }

    /// Keeps an event of a topic that is replayed, as it is sent with all headers. [`Task::Kept`] follows for
    /// whoever wants to hear it.
    pub fn log(&mut self, now: Instant, asker: Option<Asker>, topic: &Arc<Pattern<'static>>, event: &[u8]) {
        let Some(rule) = self.rules.iter().find(|rule| rule.topics.covers(topic)) else { return };
        let entry = Entry(Bytes::copy_from_slice(event));
        let (bytes, is_known) = (entry.len_bytes(), self.logs.contains_key(topic));
        if !is_known && self.logs.len() >= LOGS_MAX {
            self.logs
                .retain(|_, log| log.is_running || !log.waiting.is_empty() || now < log.used + log.lease);
        }
        let is_full = self.unwritten.len() >= WAITING_MAX || self.waiting_bytes + bytes > WAITING_MAX_BYTES;
        if is_full || bytes > SLOT_BYTES || (!is_known && self.logs.len() >= LOGS_MAX) {
            let refused = if is_full {
                REFUSED
            } else if bytes > SLOT_BYTES {
                "it is too long to be replayed"
            } else {
                "too many topics are replayed at this agent: wait until others are over"
            };
            let told = asker.map(|asker| Task::Kept(asker, topic.clone(), Err(refused.into())));
            return self.out.extend(told);
        }
        let log = self.logs.entry(topic.clone()).or_insert_with(|| Log {
            events_max: rule.events,
            lease: rule.lease,
            number: 0,
            item: Vec::new(),
            item_bytes: 0,
            waiting: VecDeque::new(),
            running: Vec::new(),
            is_running: false,
            used: now,
        });
        log.used = now;
        self.waiting_bytes += bytes;
        self.writings += 1;
        self.unwritten.insert(self.writings);
        let is_first = log.waiting.is_empty() && !log.is_running;
        log.waiting.push_back(Waiting { number: self.writings, at: now, entry, asker });
        if is_first {
            self.ready_logs.push_back(topic.clone());
        }
    }

    pub(super) fn start_log(&mut self, now: Instant) -> Option<(Job, Ask)> {
        let topic = self.ready_logs.pop_front()?;
        let log = self.logs.get_mut(&topic)?;
        if log.waiting.front().is_some_and(|first| !log.has_room(&first.entry)) {
            log.number += 1;
            log.item.clear();
            log.item_bytes = 0;
        }
        while let Some(first) = log.waiting.pop_front() {
            if !log.has_room(&first.entry) {
                log.waiting.push_front(first);
                break;
            }
            let Waiting { number, at, entry, asker } = first;
            self.waiting_bytes -= entry.len_bytes();
            log.item_bytes += entry.len_bytes();
            log.item.push((at, entry));
            log.running.push((number, asker));
        }
        log.is_running = true;
        let value = super::past::write(now, log.number, log.lease, &log.item);
        let slot = (log.number % u64::from(SLOTS)) as u16;
        let ask = Ask::Log { topic: topic.clone(), slot, value, lease: log.lease };
        Some((Job::Log(topic), ask))
    }

    pub(super) fn logged(&mut self, topic: &Arc<Pattern<'static>>, done: Result<Page, Failure>) {
        let Some(log) = self.logs.get_mut(topic) else { return };
        log.is_running = false;
        let result = done.map(drop).map_err(|failure| words(&failure));
        for (number, asker) in log.running.drain(..) {
            self.unwritten.remove(&number);
            let told = asker.map(|asker| Task::Kept(asker, topic.clone(), result.clone()));
            self.out.extend(told);
        }
        if !log.waiting.is_empty() {
            self.ready_logs.push_back(topic.clone());
        }
        self.release_written(topic);
    }
}
