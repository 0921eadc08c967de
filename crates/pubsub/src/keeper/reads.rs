//! Subscribers that look for what is kept: a page at a time, in turns.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant};

use super::past::{self, Past};
use super::{Ask, Job, Keeper, Kept, Page, Task};
use crate::broker::ConnectionId;
use crate::relay::{Arrival, Failure, Item, Section};
use crate::{Pattern, Replay};

/// Values of one page: with the longest ones, 4 MiB.
const PAGE_MAX: u16 = 64;
/// Values for one subscription, and bytes of them after which no more pages are read: beyond it only the
/// first ones in the order of topics come, and the answer says `partial`. Our guess; the queue of a
/// connection has room for what is longest.
pub(super) const FOUND_MAX: usize = 10_000;
const FOUND_MAX_BYTES: usize = 4 << 20;
/// A subscriber is answered by then. As long as it waits for other servers.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// After a failure (our guess).
const PAUSE: Duration = Duration::from_secs(2);
/// When the ring has not answered for so long, nothing comes of it. Our guess: four times what an agent takes
/// that has just started.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// A subscription of a connection.
pub(super) type Reader = (ConnectionId, Arc<Pattern<'static>>);

#[derive(Debug)]
pub(super) struct Read {
    turn: u64,
    /// Values that were to be written when this began are written before it looks.
    after: u64,
    rest: Section,
    found: usize,
    found_bytes: usize,
    begun: Instant,
    is_answered: bool,
    is_pausing: bool,
    past: Option<Looking>,
}

/// Past events are looked for in place of retained values: which are wanted, and the items found, each with
/// the key that all of its topic and server have in common and its number.
#[derive(Debug)]
struct Looking {
    replay: Replay,
    items: Vec<(Vec<u8>, u64, Vec<Past>)>,
}

impl Keeper {
    /// Looks for what is kept of this, for a new subscription: for retained values, or for past events.
    /// [`Task::Answer`] follows unless it is answered, and [`Task::Over`].
    pub fn recall(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        pattern: &Pattern<'static>,
        replay: Option<Replay>,
        is_answered: bool,
    ) {
        let reader = (connection, Arc::new(pattern.clone()));
        self.forget(connection, pattern);
        let (mut from, mut to) = pattern.extent();
        if let (Pattern::Topic(_), Some(_)) = (pattern, replay) {
            // The topic's items, and nothing below it.
            to = Some([&from[..], &[past::END + 1]].concat());
            from.push(past::END);
        }
        let after = self.writings + 1;
        self.timers.set(reader.clone(), now + ANSWER_MAX);
        let read = Read {
            turn: 0,
            after,
            rest: Section { from, to },
            found: 0,
            found_bytes: 0,
            begun: now,
            is_answered,
            is_pausing: false,
            past: replay.map(|replay| Looking { replay, items: Vec::new() }),
        };
        self.reads.insert(reader.clone(), read);
        self.take_turn(reader);
    }

    /// Nobody looks there any more.
    pub fn forget(&mut self, connection: ConnectionId, pattern: &Pattern<'static>) {
        let reader = (connection, Arc::new(pattern.clone()));
        self.timers.clear(&reader);
        if let Some(read) = self.reads.remove(&reader) {
            self.turns.remove(&read.turn);
        }
    }

    fn take_turn(&mut self, reader: Reader) {
        let Some(read) = self.reads.get_mut(&reader) else { return };
        self.requests += 1;
        read.turn = self.requests;
        self.turns.insert(self.requests, reader);
    }

    pub(super) fn start_read(&mut self) -> Option<(Job, Ask)> {
        let oldest = self.oldest_writing();
        // Whoever stands behind it waits as well: mostly for as much.
        let (turn, reader) = self.turns.first_key_value()?;
        let read = self.reads.get(reader)?;
        if oldest < read.after {
            return None;
        }
        let section = read.rest.clone();
        let ask = match read.past {
            None => Ask::ReadRetained(section, PAGE_MAX),
            Some(_) => Ask::ReadLogs(section, PAGE_MAX),
        };
        let turn = *turn;
        let reader = self.turns.remove(&turn)?;
        Some((Job::Read(reader, turn), ask))
    }

    pub(super) fn read(&mut self, now: Instant, reader: Reader, turn: u64, done: Result<Page, Failure>) {
        let Some(read) = self.reads.get_mut(&reader).filter(|read| read.turn == turn) else { return };
        let Ok(Page { items, next }) = done else {
            read.is_pausing = true;
            let answer = read.begun + ANSWER_MAX;
            let again = now + PAUSE;
            let at = if read.is_answered { again } else { again.min(answer) };
            return self.timers.set(reader, at);
        };
        read.begun = if read.is_answered { now } else { read.begun };
        if let Some(looking) = &mut read.past {
            for kept in &items {
                let Some((number, events)) = past::read(kept, &reader.1) else { continue };
                let log = kept.item.key[..kept.item.key.len().saturating_sub(2)].to_vec();
                read.found_bytes += events.iter().map(Past::len_bytes).sum::<usize>();
                looking.items.push((log, number, events));
            }
        }
        for arrival in items.iter().filter_map(|kept| value(kept, &reader.1)).filter(|_| read.past.is_none())
        {
            read.found += 1;
            read.found_bytes += arrival.full.len();
            self.out.push_back(Task::Found(reader.0, reader.1.clone(), arrival));
        }
        let is_more = next.is_some();
        if let Some(next) = next.filter(|_| read.found < FOUND_MAX && read.found_bytes < FOUND_MAX_BYTES) {
            read.rest.from = next;
            return self.take_turn(reader);
        }
        self.end(reader, if is_more { "partial" } else { "" });
    }

    fn end(&mut self, reader: Reader, words: &'static str) {
        self.timers.clear(&reader);
        let Some(read) = self.reads.remove(&reader) else { return };
        let (connection, pattern) = reader;
        if let Some(Looking { replay, items }) = read.past {
            let chosen = past::choose(past::in_order(items), replay);
            let found = chosen.into_iter().map(|arrival| Task::Found(connection, pattern.clone(), arrival));
            self.out.extend(found);
        }
        if !read.is_answered {
            self.out.push_back(Task::Answer(connection, pattern.clone(), words));
        }
        self.out.push_back(Task::Over(connection, pattern));
    }

    /// Answers whom the ring keeps waiting, and asks it again.
    pub(super) fn look_after(&mut self, now: Instant, reader: Reader) {
        let Some(read) = self.reads.get_mut(&reader) else { return };
        if !read.is_answered && now >= read.begun + ANSWER_MAX {
            if read.past.is_some() {
                // Events that were published meanwhile wait for the past ones: not longer.
                return self.end(reader, "late");
            }
            read.is_answered = true;
            self.out.push_back(Task::Answer(reader.0, reader.1.clone(), "late"));
        }
        if now >= read.begun + GIVEN_UP {
            return self.end(reader, "late");
        }
        if core::mem::take(&mut read.is_pausing) {
            self.take_turn(reader.clone());
        }
        self.timers.set(reader, now + PAUSE);
    }
}

/// What it says, if that is the last value of the topic in its key.
fn value(Kept { item, .. }: &Kept, pattern: &Pattern<'_>) -> Option<Arrival> {
    let arrival = retained(item)?;
    let Pattern::Topic(topic) = &*arrival.topic else { return None };
    pattern.matches(topic.as_str()).then_some(arrival)
}

/// What an item says, if that is the last value of the topic in its key.
pub fn retained(item: &Item) -> Option<Arrival> {
    let arrival = Arrival::read_retained(&item.value)?;
    let Pattern::Topic(topic) = &*arrival.topic else { return None };
    (topic.order_key() == item.key && arrival.count == 1).then_some(arrival)
}

/// Where the last value of a topic lies.
pub fn key_of(topic: &Pattern<'_>) -> Vec<u8> {
    topic.extent().0
}
