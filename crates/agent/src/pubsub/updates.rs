//! What atomic updates ask of the ring, and what they hear of it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use xtreem_net::Named;
use xtreem_node::{Event, Node};
use xtreem_overlay::overlay;
use xtreem_overlay::store::{self, Action, Failed, Operation, Refused, Success, Value, end_of_prefix};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::broker::Host as _;
use xtreem_pubsub::keeper::Page;
use xtreem_pubsub::update::{Ask, Done, Found, Place, Task, Version, may_be_left};

use super::clients::Server;
use super::grid::{COPIES, Grid};
use crate::operating::Unfinished;
use crate::waiting::Topic;

/// How often this node's part of the ring is looked through for updates that were left half-done. Our guess:
/// it asks nobody.
const LOOK: Duration = Duration::from_secs(10);
/// Of them so many are finished at a time.
const LEFT_MAX: usize = 32;

impl Grid {
    async fn ask_for_update(&self, ask: Ask) -> Done {
        let Some(operation) = operation(ask) else {
            return Done::Refused("it is too long for the ring".into());
        };
        match self.begin(operation).await {
            Ok(Success::Got { found, .. }) => Done::Got(found.map(|found| Found {
                value: Bytes::copy_from_slice(found.value.as_bytes()),
                version: version(found.version),
                left: found.left,
            })),
            Ok(Success::Written { version: at, .. }) => Done::Written(version(at)),
            Err(Unfinished::Failed(Failed::Refused(Refused::AnotherVersion(_) | Refused::Nothing))) => {
                Done::Differs
            }
            Err(Unfinished::Failed(Failed::Refused(refused))) => Done::Refused(refused.to_string()),
            Err(
                Unfinished::Failed(Failed::Unanswered) | Unfinished::TooManyWait(_) | Unfinished::TooMany(_),
            ) => Done::Unanswered,
            Ok(_) | Err(Unfinished::Failed(Failed::Indefinite) | Unfinished::Stopped(_)) => Done::Unsure,
        }
    }
}

/// None for what is too long.
fn operation(ask: Ask) -> Option<Operation> {
    let namespace = |place| match place {
        Place::Values => Namespace::RETAINED,
        Place::Records => Namespace::UPDATES,
    };
    let (place, name, action) = match ask {
        Ask::Get(place, name) => (place, name, Action::Get),
        Ask::Write { place, key, value, expected, lease } => {
            let value = value.map(|value| Value::new(&value)).transpose().ok()?;
            let expected = store::Version { epoch: expected.epoch, number: expected.number };
            (place, key, Action::Write { value, degree: COPIES, lease, expected: Some(expected) })
        }
    };
    Some(Operation { key: Key::new(namespace(place), &name).ok()?, action })
}

fn version(version: store::Version) -> Version {
    Version { epoch: version.epoch, number: version.number }
}

/// A key without its namespace.
fn name(key: &Key) -> &[u8] {
    key.as_bytes().get(1..).unwrap_or_default()
}

impl Server {
    /// Whether there was anything to do.
    pub(super) fn act_for_updates(self: &Rc<Self>) -> bool {
        let mut outside = self.outside.borrow_mut();
        let Some(task) = outside.updates.next_task() else { return false };
        let now = outside.now();
        let mut broker = self.broker.borrow_mut();
        match task {
            Task::Ring(job, ask) => {
                let server = self.clone();
                tokio::task::spawn_local(async move {
                    let done = server.grid.ask_for_update(ask).await;
                    let mut outside = server.outside.borrow_mut();
                    let now = outside.now();
                    outside.updates.handle_done(now, job, done);
                    drop(outside);
                    server.flush();
                });
            }
            Task::Wake(job, after) => {
                let server = self.clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_micros(after.as_micros())).await;
                    server.outside.borrow_mut().updates.wake(job);
                    server.flush();
                });
            }
            Task::Publish(event) => {
                broker.deliver(&event.topic, &event.plain, &event.full, event.count);
                if outside.keeper.is_replayed(&event.topic) {
                    outside.keeper.log(now, None, &event.topic, &event.full);
                }
                outside.published(&event.topic, &event.full, event.count);
            }
            Task::Updated(asker, result) => broker.updated(&asker, &result),
            Task::Overtaken(asker, topic) => broker.overtaken(&asker, &topic),
            Task::Value(asker, topic, result) => broker.value(&asker, &topic, &result),
            Task::Put(request, result) => {
                outside.keeper.handle_done(now, request, result.map(|()| Page::default()));
            }
            Task::Page(request, result) => outside.keeper.handle_done(now, request, result),
        }
        true
    }

    /// When a split ends, the ring says what of this agent's lost against the other side's.
    pub(super) async fn hear_of_losses(self: Rc<Self>) {
        let Ok(mut losses) = self.grid.waiting.subscribe(Topic::Overtaken) else {
            return tracing::warn!("too many wait for the ring: clients will not hear of lost updates");
        };
        loop {
            let Named { what, .. } = losses.event().await;
            let Event::Ring(overlay::Event::Store(store::Event::Lost { version: lost, winner })) = what
            else {
                continue;
            };
            let won = version(winner.stamp.version);
            self.outside.borrow_mut().updates.overtaken(name(&winner.key), version(lost), won);
            self.flush();
        }
    }

    /// Finishes updates whose records this node owns and whose servers have left them.
    pub(super) async fn look_after_updates(self: Rc<Self>) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let Ok(left) = self.grid.net.call(|node, now, _| left_half_done(node, now)).await else { return };
            if left.is_empty() {
                continue;
            }
            let mut outside = self.outside.borrow_mut();
            let now = outside.now();
            for (key, found) in &left {
                outside.updates.look_after(now, name(key), found);
            }
            drop(outside);
            self.flush();
        }
    }
}

fn left_half_done(node: &Node, now: xtreem_base::Instant) -> Vec<(Key, Found)> {
    let mut left = Vec::new();
    let (Some(lease), Ok(first)) = (node.ring().lease(), Key::new(Namespace::UPDATES, b"")) else {
        return left;
    };
    let end = end_of_prefix(&first);
    let mut next = Some(first);
    while let Some(from) = next.take().filter(|_| left.len() < LEFT_MAX) {
        let page = node.overlay().store().shelf().scan(&from, end.as_ref(), usize::MAX, u64::MAX);
        for (key, item) in page.found {
            let Some(value) = item.value.as_ref().filter(|_| lease.range().contains_key(key)) else {
                continue;
            };
            if may_be_left(value.as_bytes(), item.until.since(now)) && left.len() < LEFT_MAX {
                let value = Bytes::copy_from_slice(value.as_bytes());
                let version = version(item.stamp.version);
                left.push((key.clone(), Found { value, version, left: item.until.since(now) }));
            }
        }
        next = page.next;
    }
    left
}
