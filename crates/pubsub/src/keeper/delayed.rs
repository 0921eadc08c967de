//! Events that are kept go to other servers once they are written: whoever subscribes there later finds what
//! came there before.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use bytes::Bytes;

use super::{Keeper, Task};
use crate::Pattern;

/// Bytes of all events that wait; beyond it those of the topic go at once. Our guess: as for one server.
const DELAYED_MAX_BYTES: usize = 8 << 20;

/// Events of one topic, each batch with the number of the last writing that it waits for.
#[derive(Debug, Default)]
pub(super) struct Delayed(VecDeque<(u64, Bytes, u32)>);

impl Keeper {
    /// Events are to go to other servers: whether they wait until what is kept of the topic is written. Then
    /// [`Task::Publish`] follows, also if that fails.
    pub fn publish(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) -> bool {
        let write = self.writes.get(topic).and_then(|writes| writes.numbers().max());
        let log = self.logs.get(topic).and_then(|log| log.numbers().max());
        let Some(number) = write.max(log) else { return false };
        self.delayed.entry(topic.clone()).or_default().0.push_back((number, events.clone(), count));
        self.delayed_bytes += events.len();
        if self.delayed_bytes > DELAYED_MAX_BYTES {
            self.release(topic, u64::MAX);
        }
        true
    }

    /// Lets go what waits for nothing any more.
    pub(super) fn release_written(&mut self, topic: &Arc<Pattern<'static>>) {
        let write = self.writes.get(topic).and_then(|writes| writes.numbers().min());
        let log = self.logs.get(topic).and_then(|log| log.numbers().min());
        let oldest = write.into_iter().chain(log).min().unwrap_or(u64::MAX);
        self.release(topic, oldest);
    }

    fn release(&mut self, topic: &Arc<Pattern<'static>>, until: u64) {
        let Some(Delayed(delayed)) = self.delayed.get_mut(topic) else { return };
        while let Some((number, events, count)) = delayed.pop_front() {
            if number >= until {
                delayed.push_front((number, events, count));
                return;
            }
            self.delayed_bytes -= events.len();
            self.out.push_back(Task::Publish(topic.clone(), events, count));
        }
        self.delayed.remove(topic);
    }
}
