//! Values on their way to the ring: of each topic one is written at a time, and the newest waits.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Ask, Asker, Job, Keeper, Page, REFUSED, Task, words};
use crate::Pattern;
use crate::relay::Failure;

/// What waits until it is kept, with its publishers, and bytes of it; beyond it something is not kept, and
/// its publisher is told. Our guess: as many items, and as many bytes as wait for one server.
pub const WAITING_MAX: usize = 4_096;
pub const WAITING_MAX_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Writes {
    running: Option<Write>,
    waiting: Option<Write>,
}

#[derive(Debug)]
struct Write {
    number: u64,
    event: Option<Bytes>,
    /// Who published it, and whoever published what it took the place of.
    askers: Vec<Asker>,
}

impl Writes {
    /// Of those that are not over.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.running.iter().chain(&self.waiting).map(|write| write.number)
    }
}

impl Keeper {
    /// Keeps this as the last value of the topic, or ends that it has one. [`Task::Kept`] follows.
    pub fn retain(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>, event: Option<Bytes>) {
        let bytes = event.as_ref().map_or(0, Bytes::len);
        let waiters: usize =
            self.writes.get(topic).and_then(|it| it.waiting.as_ref()).map_or(0, |it| it.askers.len());
        let is_full = self.unwritten.len() >= WAITING_MAX
            || waiters >= WAITING_MAX
            || self.waiting_bytes + bytes > WAITING_MAX_BYTES;
        if is_full {
            return self.out.push_back(Task::Kept(asker, topic.clone(), Err(REFUSED.into())));
        }
        let writes = self.writes.entry(topic.clone()).or_default();
        self.waiting_bytes += bytes;
        if let Some(waiting) = &mut writes.waiting {
            // Only the last one counts. It has the older number: readers that wait for that one find this.
            self.waiting_bytes -= waiting.event.as_ref().map_or(0, Bytes::len);
            waiting.event = event;
            return waiting.askers.push(asker);
        }
        self.writings += 1;
        self.unwritten.insert(self.writings);
        writes.waiting = Some(Write { number: self.writings, event, askers: [asker].into() });
        if writes.running.is_none() {
            self.ready.push_back(topic.clone());
        }
    }

    pub(super) fn start_write(&mut self) -> Option<(Job, Ask)> {
        let topic = self.ready.pop_front()?;
        let writes = self.writes.get_mut(&topic)?;
        let write = writes.waiting.take()?;
        self.waiting_bytes -= write.event.as_ref().map_or(0, Bytes::len);
        let ask = Ask::Retain(topic.clone(), write.event.clone());
        writes.running = Some(write);
        Some((Job::Write(topic), ask))
    }

    pub(super) fn written(&mut self, topic: &Arc<Pattern<'static>>, done: Result<Page, Failure>) {
        let Some(writes) = self.writes.get_mut(topic) else { return };
        if let Some(write) = writes.running.take() {
            self.unwritten.remove(&write.number);
            let result = done.map(drop).map_err(|failure| words(&failure));
            self.out.extend(
                write.askers.into_iter().map(|asker| Task::Kept(asker, topic.clone(), result.clone())),
            );
        }
        if writes.waiting.is_some() {
            self.ready.push_back(topic.clone());
        } else {
            self.writes.remove(topic);
        }
        self.release_written(topic);
    }
}
