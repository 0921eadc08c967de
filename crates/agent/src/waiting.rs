//! Who waits for which events of the node: requests of the local API, each with a bounded queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xtreem_allocation::Notice;
use xtreem_base::AppId;
use xtreem_discovery::{SearchEvent, SearchId};
use xtreem_net::Named;
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

type Queues = BTreeMap<(Topic, u64), Arc<Queue<Named<Event>>>>;

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
    queue: Arc<Queue<Named<Event>>>,
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
    pub(crate) fn publish(&self, event: Named<Event>) {
        let Some(topic) = topic_of(&event.what) else { return };
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
    pub(crate) async fn next(&self) -> Next<Named<Event>> {
        self.queue.next().await
    }

    /// The next event, whatever was dropped before it.
    pub(crate) async fn event(&self) -> Named<Event> {
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

/// What an event is about, as far as somebody may wait for it.
fn topic_of(event: &Event) -> Option<Topic> {
    match event {
        Event::Search(event) => match event {
            SearchEvent::Match { search, .. }
            | SearchEvent::Applications { search, .. }
            | SearchEvent::Done { search, .. } => Some(Topic::Search(*search)),
            // The node's own affair.
            SearchEvent::Surplus { .. } => None,
        },
        Event::Allocation(notice) => match notice {
            Notice::Submission { app, .. } => Some(Topic::Submission(*app)),
            Notice::Described { app, .. } => Some(Topic::Described(*app)),
            Notice::RecordTaken { app, .. } => Some(Topic::RecordTaken(*app)),
            Notice::SlotChanged { app, .. } | Notice::HolderLost { app, .. } => Some(Topic::Changes(*app)),
            Notice::RecordChanged { record } => Some(Topic::Changes(record.id)),
            Notice::Start { .. }
            | Notice::KeepFiles { .. }
            | Notice::Stop { .. }
            | Notice::AppLeft { .. } => None,
        },
        Event::Policy(_) | Event::CutOff { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::Progress;

    fn app(byte: u8) -> AppId {
        AppId::from_bytes([byte; 16])
    }

    fn accepted(byte: u8) -> Named<Event> {
        let notice = Notice::Submission { app: app(byte), progress: Progress::Accepted };
        Named::without_peers(Event::Allocation(notice))
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
            assert_eq!(topic_of(&subscription.event().await.what), Some(subscription.topic()));
        }
        assert_eq!(topic_of(&other.event().await.what), Some(Topic::Submission(app(2))));
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
