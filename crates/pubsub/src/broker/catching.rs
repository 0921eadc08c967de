//! A connection with new subscriptions, while it gets what was kept before, and shortly after: each event
//! comes once.

use alloc::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use xtreem_base::Duration;

use crate::{Framer, HashId, PAYLOAD_MAX_BYTES, Pattern, Reply, Step};

/// An event may still be on its way so long after it was found where it is kept. Our guess: twice what a
/// server that does not answer is waited for.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// Publishers, each with each of its topics, of which it is known what came; of more an event may come twice.
/// Our guess: 100 KiB.
const MARKS_MAX: usize = 4_096;

/// What came to one connection since it has new subscriptions.
#[derive(Debug, Default)]
pub(super) struct Catching {
    patterns: BTreeMap<Pattern<'static>, Phase>,
    /// Of each publisher and topic the newest event that came as it was published.
    heard: Marks,
    /// And the newest one that was kept.
    kept: Marks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Servers that publish may not know yet that somebody is here.
    New,
    Looking,
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
    pub(super) fn add(&mut self, pattern: Pattern<'static>) {
        self.patterns.insert(pattern, Phase::New);
    }

    /// Whether anything is left.
    pub(super) fn remove(&mut self, pattern: &Pattern<'static>) -> bool {
        self.patterns.remove(pattern);
        !self.patterns.is_empty()
    }

    pub(super) fn has(&self, pattern: &Pattern<'static>) -> bool {
        self.patterns.contains_key(pattern)
    }

    /// Whether to look for what is kept of this: once.
    pub(super) fn begin(&mut self, pattern: &Pattern<'static>) -> bool {
        let phase = self.patterns.get_mut(pattern);
        phase.is_some_and(|phase| core::mem::replace(phase, Phase::Looking) == Phase::New)
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
