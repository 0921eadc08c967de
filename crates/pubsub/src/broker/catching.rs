//! A connection with new subscriptions, while it gets what was kept before, and shortly after: each event
//! comes once.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xtreem_base::Duration;

use crate::{Framer, HashId, PAYLOAD_MAX_BYTES, Pattern, Replay, Reply, Step};

/// An event may still be on its way so long after it was found where it is kept. Our guess: twice what a
/// server that does not answer is waited for.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// Publishers, each with each of its topics, of which it is known what came; of more an event may come twice.
/// Our guess: 100 KiB.
const MARKS_MAX: usize = 4_096;
/// Bytes of events of one connection that wait for past ones; beyond it the oldest go, told as `LOST`. As
/// what waits for a first list.
const HELD_MAX_BYTES: usize = 2 << 20;

/// What came to one connection since it has new subscriptions.
#[derive(Debug, Default)]
pub(super) struct Catching {
    patterns: BTreeMap<Pattern<'static>, Phase>,
    /// Events of topics of which past ones are still to come.
    held: VecDeque<Events>,
    held_bytes: usize,
    /// Of each publisher and topic the newest event that came as it was published.
    heard: Marks,
    /// And the newest one that was kept.
    kept: Marks,
}

/// Events of one topic, and how many.
pub(super) type Events = (Bytes, Arc<Pattern<'static>>, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Servers that publish may not know yet that somebody is here. Which past events are wanted.
    New(Option<Replay>),
    /// For past events, or for values.
    Looking(bool),
    Over,
}

#[derive(Debug, Default)]
struct Marks(BTreeMap<u64, u64>);

impl Marks {
    fn is_new(&self, id: HashId) -> bool {
        let (stem, _) = id.place();
        self.0.get(&stem).is_none_or(|number| id.is_after((stem, *number)))
    }

    fn add(&mut self, id: HashId) {
        let (stem, number) = id.place();
        if self.is_new(id) && (self.0.len() < MARKS_MAX || self.0.contains_key(&stem)) {
            self.0.insert(stem, number);
        }
    }
}

impl Catching {
    pub(super) fn add(&mut self, pattern: Pattern<'static>, replay: Option<Replay>) {
        self.patterns.insert(pattern, Phase::New(replay));
    }

    /// Whether anything is left.
    pub(super) fn remove(&mut self, pattern: &Pattern<'static>) -> bool {
        self.patterns.remove(pattern);
        !self.patterns.is_empty()
    }

    pub(super) fn has(&self, pattern: &Pattern<'static>) -> bool {
        self.patterns.contains_key(pattern)
    }

    /// Whether to look for what is kept of this, once: for values, or for these past events.
    pub(super) fn begin(&mut self, pattern: &Pattern<'static>) -> Option<Option<Replay>> {
        let phase = self.patterns.get_mut(pattern)?;
        let Phase::New(replay) = *phase else { return None };
        *phase = Phase::Looking(replay.is_some());
        Some(replay)
    }

    /// Whether any event came that was kept.
    pub(super) fn has_found(&self) -> bool {
        !self.kept.0.is_empty()
    }

    /// All that is kept of this has come.
    pub(super) fn end(&mut self, pattern: &Pattern<'static>) {
        self.patterns.entry(pattern.clone()).and_modify(|phase| *phase = Phase::Over);
    }

    /// Whether past events of this topic are still to come.
    pub(super) fn is_holding(&self, topic: &Pattern<'_>) -> bool {
        let is_replay = |phase: &Phase| matches!(phase, Phase::New(Some(_)) | Phase::Looking(true));
        self.patterns.iter().any(|(pattern, phase)| is_replay(phase) && pattern.overlaps(topic))
    }

    /// Keeps events until the past ones have come; how many, and of which topics, go for want of room.
    pub(super) fn hold(&mut self, events: Events) -> Vec<Events> {
        self.held_bytes += events.0.len();
        self.held.push_back(events);
        let mut gone = Vec::new();
        while self.held_bytes > HELD_MAX_BYTES
            && let Some(oldest) = self.held.pop_front()
        {
            self.held_bytes -= oldest.0.len();
            gone.push(oldest);
        }
        gone
    }

    /// What need not wait any more, in its order.
    pub(super) fn release(&mut self) -> Vec<Events> {
        let (held, mut free) = (core::mem::take(&mut self.held), Vec::new());
        for events in held {
            if self.is_holding(&events.1) {
                self.held.push_back(events);
            } else {
                self.held_bytes -= events.0.len();
                free.push(events);
            }
        }
        free
    }

    /// Whether a kept event is to come: not when it, or a later one of its publisher, came already.
    pub(super) fn is_missing(&mut self, id: HashId) -> bool {
        let is_missing = self.heard.is_new(id) && self.kept.is_new(id);
        self.kept.add(id);
        is_missing
    }

    /// Of events as they are published, those that did not come as kept ones, and how many they are.
    pub(super) fn filter(&mut self, events: &Bytes, count: u32) -> (Bytes, u32) {
        let mut is_all = true;
        for_each(events, |id, _| is_all &= self.kept.is_new(id));
        let mut left = (events.clone(), count);
        if !is_all {
            let mut rest = BytesMut::new();
            left.1 = 0;
            for_each(events, |id, event| {
                if self.kept.is_new(id) {
                    rest.extend_from_slice(event);
                    left.1 += 1;
                }
            });
            left.0 = rest.freeze();
        }
        for_each(&left.0, |id, _| self.heard.add(id));
        left
    }
}

/// Goes through events that were written one after the other.
pub(super) fn for_each(events: &Bytes, mut f: impl FnMut(HashId, &[u8])) {
    let mut framer = Framer::new(PAYLOAD_MAX_BYTES);
    let mut rest = &events[..];
    while let (taken, Step::Frame(frame)) = framer.next(rest) {
        if let Ok(Reply::Event(event)) = Reply::parse(frame) {
            f(event.id, &rest[..taken]);
        }
        rest = &rest[taken..];
    }
}
