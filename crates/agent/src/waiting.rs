//! Who waits for which events of the node: requests of the local API, each with so much room for those to
//! come.
//!
//! The newest events matter most: the end of a search, the last state of a slot. So one who is too slow loses
//! the oldest ones, and is told how many.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use xtreem_allocation::Notice;
use xtreem_base::AppId;
use xtreem_discovery::{SearchEvent, SearchId};
use xtreem_net::Named;
use xtreem_node::Event;
use xtreem_overlay::Namespace;
use xtreem_overlay::broadcast;
use xtreem_overlay::overlay;
use xtreem_overlay::ring::{self, LookupId};
use xtreem_overlay::store::{self, RequestId};

/// Most who wait at one time; more requests are refused (our guess: well above what one machine's users ask).
const WAITING_MAX: usize = 1_024;
/// Events of a search that are kept for those who are slow (our guess: a burst of a whole search).
const MATCHES_MAX: usize = 4_096;
/// The same of every other topic, which has an event a slot or a member. Our guess: most applications in one
/// burst. Room for all of them is taken at once, 40 bytes an event.
const EVENTS_MAX: usize = 1_024;
/// Announcements that wait for one reader; each may have 60 KiB.
const ANNOUNCEMENTS_MAX: usize = 64;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Search(SearchId),
    Submission(AppId),
    Described(AppId),
    RecordTaken(AppId),
    /// Slots, losses and record of an application, for its programs and its operators.
    Changes(AppId),
    /// Who owns a key of the ring.
    Owner(LookupId),
    /// The end of an operation on what lies on the ring.
    Item(RequestId),
    /// What was written for publish/subscribe and has lost against what another side of a split wrote.
    Overtaken,
    /// What is told to all nodes.
    Announcements,
}

impl Topic {
    fn events_max(self) -> usize {
        match self {
            Topic::Search(_) => MATCHES_MAX,
            Topic::Owner(_) | Topic::Item(_) => 1,
            Topic::Announcements => ANNOUNCEMENTS_MAX,
            Topic::Submission(_)
            | Topic::Described(_)
            | Topic::RecordTaken(_)
            | Topic::Changes(_)
            | Topic::Overtaken => EVENTS_MAX,
        }
    }
}

/// Too many wait; nothing was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{WAITING_MAX} requests are waiting for the grid already; try again later")]
pub(crate) struct TooMany;

type Topics = BTreeMap<Topic, Sender<Arc<Named<Event>>>>;

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    topics: Arc<Mutex<Topics>>,
}

/// The events of one topic, until dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    topics: Arc<Mutex<Topics>>,
    topic: Topic,
    events: Receiver<Arc<Named<Event>>>,
}

/// One who waits was too slow: so many events that stood here are gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) u64);

impl Waiting {
    /// Subscribes before anything is asked.
    pub(crate) fn subscribe(&self, topic: Topic) -> Result<Subscription, TooMany> {
        let Ok(subscription) = self.subscribe_to(|| Ok::<_, Infallible>(topic))?;
        Ok(subscription)
    }

    /// Runs `ask`, which names its topic only by asking; no event can pass by in between, as they wait for
    /// the same lock.
    pub(crate) fn subscribe_to<E>(
        &self,
        ask: impl FnOnce() -> Result<Topic, E>,
    ) -> Result<Result<Subscription, E>, TooMany> {
        let mut topics = self.topics();
        if topics.values().map(Sender::receiver_count).sum::<usize>() >= WAITING_MAX {
            return Err(TooMany);
        }
        Ok(ask().map(|topic| {
            let events = topics.entry(topic).or_insert_with(|| Sender::new(topic.events_max())).subscribe();
            Subscription { topics: self.topics.clone(), topic, events }
        }))
    }

    /// Hands an event to everybody who waits for it.
    pub(crate) fn publish(&self, event: Named<Event>) {
        let Some(topic) = topic_of(&event.what) else { return };
        if let Some(events) = self.topics().get(&topic) {
            // A topic has somebody who waits, or it would not be in the table.
            let _ = events.send(Arc::new(event));
        }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        locked(&self.topics)
    }
}

/// A panic elsewhere cannot leave the table half-changed.
fn locked(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Subscription {
    /// The last one takes the topic's room along.
    fn drop(&mut self) {
        let mut topics = locked(&self.topics);
        if topics.get(&self.topic).is_some_and(|events| events.receiver_count() <= 1) {
            topics.remove(&self.topic);
        }
    }
}

impl Subscription {
    /// Waits for what comes next. It may be cancelled; nothing is lost by it.
    pub(crate) async fn next(&mut self) -> Result<Named<Event>, Missed> {
        match self.events.recv().await {
            Ok(event) => Ok(Arc::unwrap_or_clone(event)),
            Err(RecvError::Lagged(missed)) => Err(Missed(missed)),
            // The agent itself is gone: nothing comes any more.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// The next event, whatever was missed before it.
    pub(crate) async fn event(&mut self) -> Named<Event> {
        loop {
            if let Ok(event) = self.next().await {
                return event;
            }
        }
    }

    pub(crate) fn topic(&self) -> Topic {
        self.topic
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
            | Notice::AppLeft { .. }
            | Notice::SlotPlaced { .. }
            | Notice::Store { .. } => None,
        },
        Event::Ring(overlay::Event::Ring(event)) => match event {
            ring::Event::Found { lookup, .. } | ring::Event::NotFound { lookup } => {
                Some(Topic::Owner(*lookup))
            }
            _ => None,
        },
        Event::Ring(overlay::Event::Store(store::Event::Done { request, .. })) => Some(Topic::Item(*request)),
        Event::Ring(overlay::Event::Store(store::Event::Lost { winner, .. })) => {
            (winner.key.namespace() == Some(Namespace::RETAINED)).then_some(Topic::Overtaken)
        }
        Event::Ring(overlay::Event::Broadcast(broadcast::Event::Delivered { .. })) => {
            Some(Topic::Announcements)
        }
        Event::Ring(_) | Event::Policy(_) | Event::CutOff { .. } | Event::Reference(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::Progress;

    fn app(byte: u8) -> AppId {
        AppId::from_bytes([byte; 16])
    }

    fn submission(byte: u8, progress: Progress) -> Named<Event> {
        let notice = Notice::Submission { app: app(byte), progress };
        Named::without_peers(Event::Allocation(notice))
    }

    fn accepted(byte: u8) -> Named<Event> {
        submission(byte, Progress::Accepted)
    }

    #[tokio::test]
    async fn events_reach_those_who_wait_for_them_and_no_others() {
        let waiting = Waiting::default();
        let first = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        let second = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        let mut other = waiting.subscribe(Topic::Submission(app(2))).unwrap();
        waiting.publish(accepted(1));
        waiting.publish(accepted(2));
        for mut subscription in [first, second] {
            assert_eq!(topic_of(&subscription.event().await.what), Some(subscription.topic()));
        }
        assert_eq!(topic_of(&other.event().await.what), Some(Topic::Submission(app(2))));
        drop(other);
        assert!(waiting.topics().is_empty(), "topics go with the last who waits");
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_gets_the_newest() {
        let waiting = Waiting::default();
        let mut slow = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        let mut fast = waiting.subscribe(Topic::Submission(app(1))).unwrap();
        for nodes in 0..EVENTS_MAX as u16 + 3 {
            let progress = Progress::Held { nodes, wanted: u16::MAX };
            waiting.publish(submission(1, progress));
            assert!(fast.next().await.is_ok());
        }
        assert_eq!(slow.next().await.unwrap_err(), Missed(3));
        let oldest = slow.event().await.what;
        let Event::Allocation(Notice::Submission { progress: Progress::Held { nodes: 3, .. }, .. }) = oldest
        else {
            panic!("{oldest:?}")
        };
    }

    #[test]
    fn one_more_than_the_maximum_is_refused() {
        let waiting = Waiting::default();
        let all: Vec<_> =
            (0..WAITING_MAX).map(|_| waiting.subscribe(Topic::Changes(app(0))).unwrap()).collect();
        assert!(waiting.subscribe(Topic::Changes(app(0))).is_err());
        drop(all);
        assert!(waiting.subscribe(Topic::Changes(app(0))).is_ok());
    }
}
