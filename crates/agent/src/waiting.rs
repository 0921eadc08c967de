//! Who waits for which events of the node: requests of the local API, each with a bounded queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xtreem_base::AppId;
use xtreem_discovery::SearchId;
use xtreem_node::Event;

use crate::queue::{Next, Queue};

/// Most who wait at one time; more requests are refused (our guess: well above what one machine's users ask).
const WAITING_MAX: usize = 1_024;
/// Events kept for one who waits (our guess: a burst of a whole search).
const EVENTS_MAX: usize = 4_096;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Search(SearchId),
    Submission(AppId),
    Described(AppId),
    RecordTaken(AppId),
    /// Slots, losses and record of an application, for its programs and its operators.
    Changes(AppId),
}

/// Too many wait; nothing was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{WAITING_MAX} requests are waiting for the grid already; try again later")]
pub(crate) struct TooMany;

type Queues = BTreeMap<(Topic, u64), Arc<Queue<Event>>>;

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: Queues,
    next: u64,
}

/// The events of one topic, until dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    waiting: Arc<Waiting>,
    key: (Topic, u64),
    queue: Arc<Queue<Event>>,
}

impl Waiting {
    /// Subscribes before anything is asked.
    pub(crate) fn subscribe(self: &Arc<Self>, topic: Topic) -> Result<Subscription, TooMany> {
        let mut state = self.state();
        if state.queues.len() >= WAITING_MAX {
            return Err(TooMany);
        }
        Ok(state.enter(self, topic))
    }

    /// Runs `ask`, which names its topic only by asking; no event can pass by in between, as they wait for the
    /// same lock.
    pub(crate) fn subscribe_to<E>(
        self: &Arc<Self>,
        ask: impl FnOnce() -> Result<Topic, E>,
    ) -> Result<Result<Subscription, E>, TooMany> {
        let mut state = self.state();
        if state.queues.len() >= WAITING_MAX {
            return Err(TooMany);
        }
        Ok(ask().map(|topic| state.enter(self, topic)))
    }

    /// Hands an event to everybody who waits for it.
    pub(crate) fn publish(&self, event: Event) {
        let Some(topic) = topic_of(&event) else { return };
        let state = self.state();
        for (_, queue) in state.queues.range((topic, 0)..=(topic, u64::MAX)) {
            queue.push(event.clone());
        }
    }

    /// A panic elsewhere cannot leave the table half-changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, waiting: &Arc<Waiting>, topic: Topic) -> Subscription {
        let key = (topic, self.next);
        self.next += 1;
        let queue = Queue::new(EVENTS_MAX);
        self.queues.insert(key, queue.clone());
        Subscription { waiting: waiting.clone(), key, queue }
    }
}

impl Subscription {
    pub(crate) async fn next(&self) -> Next<Event> {
        self.queue.next().await
    }

    /// The next event, whatever was dropped before it.
    pub(crate) async fn event(&self) -> Event {
        loop {
            if let Next::Item(event) = self.queue.next().await {
                return event;
            }
        }
    }

    pub(crate) fn topic(&self) -> Topic {
        self.key.0
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.waiting.state().queues.remove(&self.key);
    }
}

fn topic_of(event: &Event) -> Option<Topic> {
    match event {
        Event::Match { search, .. }
        | Event::Applications { search, .. }
        | Event::SearchDone { search, .. } => Some(Topic::Search(*search)),
        Event::Submission { app, .. } => Some(Topic::Submission(*app)),
        Event::Described { app, .. } => Some(Topic::Described(*app)),
        Event::RecordTaken { app, .. } => Some(Topic::RecordTaken(*app)),
        Event::SlotChanged { app, .. } => Some(Topic::Changes(*app)),
        Event::HolderLost { app, .. } => Some(Topic::Changes(*app)),
        Event::RecordChanged { record } => Some(Topic::Changes(record.id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_node::Progress;

    fn app(byte: u8) -> AppId {
        AppId::from_bytes([byte; 16])
    }

    fn accepted(byte: u8) -> Event {
        Event::Submission { app: app(byte), progress: Progress::Accepted }
    }

    #[tokio::test]
    async fn events_reach_those_who_wait_for_them_and_no_others() {
        let waiting = Arc::new(Waiting::default());
        let first = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        let second = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        let other = waiting.subscribe(Topic::Submission(app(2))).unwrap();
        waiting.publish(accepted(1));
        waiting.publish(accepted(2));
        for subscription in [first, second] {
            let Event::Submission { app: found, .. } = subscription.event().await else { panic!() };
            assert_eq!(Topic::Submission(found), subscription.topic());
        }
        let Event::Submission { app: found, .. } = other.event().await else { panic!() };
        assert_eq!(found, app(2));
        drop(other);
        assert!(waiting.state().queues.is_empty());
    }

    #[test]
    fn one_more_than_the_maximum_is_refused() {
        let waiting = Arc::new(Waiting::default());
        let all: Vec<_> =
            (0..WAITING_MAX).map(|_| waiting.subscribe(Topic::Changes(app(0))).unwrap()).collect();
        assert!(waiting.subscribe(Topic::Changes(app(0))).is_err());
        drop(all);
        assert!(waiting.subscribe(Topic::Changes(app(0))).is_ok());
    }
}
