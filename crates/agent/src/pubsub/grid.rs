//! What the relay asks of the grid: operations on the ring, and streams to other servers.
//!
//! Both are begun on the agent's own runtime, where the node's connections live; the serving thread only
//! takes what comes of it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::Handle;
use xtreem_base::Duration;
use xtreem_net::{Contact, Net, OpenError, RecvStream, SendStream, Service};
use xtreem_overlay::store::{self, Failed, Operation, Refused, SCANNED_MAX, Success, Value, end_of_prefix};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::keeper::{self, Ask, Kept, Page, Task};
use xtreem_pubsub::relay::{self, Action, Answer, Failure, Item, Share, Space, What};

use super::clients::Server;
use crate::operating::{Unfinished, operate};
use crate::waiting::Waiting;

/// Copies of each item beside its owner's: two nodes may die at once.
pub(super) const COPIES: u8 = 2;

/// The grid, as the serving thread reaches it.
pub(super) struct Grid {
    pub net: Net,
    pub waiting: Arc<Waiting>,
    runtime: Handle,
}

impl Grid {
    pub fn new(net: Net, waiting: Arc<Waiting>, runtime: Handle) -> Grid {
        Grid { net, waiting, runtime }
    }

    /// This server as others reach it.
    pub fn own(&self) -> relay::Server {
        let Contact { id, addr, incarnation } = self.net.own_contact();
        relay::Server { id, incarnation, addr }
    }

    pub async fn open(&self, to: relay::Server) -> Result<(SendStream, RecvStream), OpenError> {
        let net = self.net.clone();
        let contact = Contact { id: to.id, addr: to.addr, incarnation: to.incarnation };
        let opening = self.runtime.spawn(async move { net.open(contact, Service::EVENTS).await });
        opening.await.unwrap_or(Err(OpenError::Stopped))
    }

    async fn ask(&self, what: What) -> Result<Vec<Item>, Failure> {
        let operation = operation(what, &self.own()).ok_or(Failure::Unanswered)?;
        match self.operate(operation).await {
            Ok(Success::Scanned { found, next }) => {
                if next.is_some() {
                    tracing::warn!("more than {SCANNED_MAX} servers at one topic: some hear nothing");
                }
                Ok(found.into_iter().map(item).collect())
            }
            Ok(_) => Ok(Vec::new()),
            Err(refused) => Err(refused.map_or(Failure::Unanswered, |it| Failure::Refused(it.to_string()))),
        }
    }

    async fn ask_for_kept(&self, ask: Ask) -> Result<Page, Failure> {
        let operation = self.kept(ask).ok_or(Failure::Unanswered)?;
        match self.operate(operation).await {
            Ok(Success::Scanned { found, next }) => {
                let next = next.map(|key| key.as_bytes().get(1..).unwrap_or_default().to_vec());
                let kept = |found: store::Found| Kept { left: found.left, item: item(found) };
                Ok(Page { items: found.into_iter().map(kept).collect(), next })
            }
            Ok(_) => Ok(Page::default()),
            Err(refused) => Err(refused.map_or(Failure::Unanswered, |it| Failure::Refused(it.to_string()))),
        }
    }

    /// None as an error: it may work the next time.
    async fn operate(&self, operation: Operation) -> Result<Success, Option<Refused>> {
        self.begin(operation).await.map_err(|unfinished| match unfinished {
            Unfinished::Failed(Failed::Refused(refused)) => Some(refused),
            _ => None,
        })
    }

    pub async fn begin(&self, operation: Operation) -> Result<Success, Unfinished> {
        let (net, waiting) = (self.net.clone(), self.waiting.clone());
        let asking = self.runtime.spawn(async move { operate(&net, &waiting, operation).await });
        asking.await.unwrap_or(Err(Unfinished::Failed(Failed::Indefinite)))
    }

    /// None for what is too long for the ring: nothing is.
    fn kept(&self, ask: Ask) -> Option<Operation> {
        let of = match &ask {
            Ask::Retain(..) | Ask::ReadRetained(..) => Namespace::RETAINED,
            Ask::Log { .. } | Ask::ReadLogs(..) => Namespace::PUBLISHED,
        };
        let write =
            |value, lease: Duration| store::Action::Write { value, degree: COPIES, lease, expected: None };
        let (name, action) = match ask {
            // Another update may be under way there: see `updates`.
            Ask::Retain(..) => return None,
            Ask::Log { topic, slot, value, lease } => {
                let own = self.own();
                let key = keeper::log_key(&topic, own.id, own.incarnation, slot);
                (key, write(Some(Value::new(&value).ok()?), lease))
            }
            Ask::ReadRetained(section, limit) | Ask::ReadLogs(section, limit) => {
                let hi = end_of(of, section.to)?;
                (section.from, store::Action::Scan { hi, limit })
            }
        };
        Some(Operation { key: Key::new(of, &name).ok()?, action })
    }
}

impl Server {
    /// Does what the relay, the keeper and updates ask for.
    pub(super) fn act(self: &Rc<Self>) {
        // What either of them does may have the other one do something.
        while self.act_for_keeper() || self.act_for_updates() || self.act_for_relay() {}
    }

    /// Whether there was anything to do.
    fn act_for_keeper(self: &Rc<Self>) -> bool {
        let mut outside = self.outside.borrow_mut();
        let now = outside.now();
        let Some(task) = outside.keeper.next_task(now) else { return false };
        if let Task::Ring(request, Ask::Retain(topic, event)) = task {
            outside.updates.put(now, request, &topic, event);
            return true;
        }
        drop(outside);
        let mut broker = self.broker.borrow_mut();
        match task {
            Task::Ring(request, ask) => {
                let server = self.clone();
                tokio::task::spawn_local(async move {
                    let is_of_values = matches!(ask, Ask::ReadRetained(..));
                    let done = server.grid.ask_for_kept(ask).await;
                    let mut outside = server.outside.borrow_mut();
                    let now = outside.now();
                    match done {
                        Ok(page) if is_of_values => outside.updates.settle(now, request, page),
                        done => outside.keeper.handle_done(now, request, done),
                    }
                    drop(outside);
                    server.flush();
                });
            }
            Task::Publish(topic, events, count) => {
                self.outside.borrow_mut().relay.publish(now, &topic, &events, count);
            }
            Task::Kept(asker, topic, result) => {
                broker.kept(&asker, &topic, result.as_ref().copied().map_err(String::as_str));
            }
            Task::Found(id, pattern, found) => broker.found(id, &pattern, &found),
            Task::Answer(id, pattern, words) => broker.answer_recall(id, &pattern, words),
            Task::Over(id, pattern) => broker.recalled(now, id, &pattern),
        }
        true
    }

    /// Whether there was anything to do.
    fn act_for_relay(self: &Rc<Self>) -> bool {
        let mut is_any = false;
        loop {
            let action = self.outside.borrow_mut().relay.next_action();
            match action {
                None => return is_any,
                Some(Action::Ring(request, what)) => {
                    let server = self.clone();
                    tokio::task::spawn_local(async move {
                        let done = server.grid.ask(what).await;
                        let mut outside = server.outside.borrow_mut();
                        let now = outside.now();
                        outside.relay.handle_done(now, request, done);
                        drop(outside);
                        server.flush();
                    });
                }
                Some(Action::Call(peer)) => self.call(peer.id),
                Some(Action::Answer(interest, answer)) => {
                    let answer = match &answer {
                        Answer::Done => Ok(""),
                        Answer::Late => Ok("late"),
                        Answer::Refused(words) => Err(("too-many", words.as_str())),
                    };
                    let mut outside = self.outside.borrow_mut();
                    self.broker.borrow_mut().answer(&interest, answer, &mut *outside);
                }
                Some(Action::Deliver(events)) => {
                    let mut broker = self.broker.borrow_mut();
                    broker.deliver(&events.topic, &events.plain, &events.full, events.count);
                }
                Some(Action::Share(share)) => self.give(&share),
                Some(Action::Taken(peer, number)) => self.acknowledge(peer, number),
            }
            is_any = true;
        }
    }

    /// Events for a member of a group here, if one may hear them; else for another server's.
    pub(super) fn give(&self, share: &Share) {
        if !self.broker.borrow_mut().deliver_share(&share.group, &share.arrival) {
            self.outside.borrow_mut().relay.hand_on(share);
        }
    }
}

/// None for a name that is too long for a key: no topic is.
fn operation(what: What, own: &relay::Server) -> Option<Operation> {
    let (space, name) = match &what {
        What::Put(space, interest) | What::Remove(space, interest) => {
            (*space, relay::key_of(interest, own.id))
        }
        What::Scan(space, section) => (*space, section.from.clone()),
    };
    let (namespace, lease) = match space {
        Space::Subscribers => (Namespace::SUBSCRIBERS, relay::LEASE),
        Space::Publishers => (Namespace::PUBLISHERS, relay::HOLD),
    };
    let key = Key::new(namespace, &name).ok()?;
    let write =
        |value, lease: Duration| store::Action::Write { value, degree: COPIES, lease, expected: None };
    let action = match what {
        What::Put(_, interest) => write(Some(Value::new(&Item::new(&interest, own).value).ok()?), lease),
        What::Remove(..) => write(None, lease),
        What::Scan(_, section) => {
            store::Action::Scan { hi: end_of(namespace, section.to)?, limit: SCANNED_MAX as u16 }
        }
    };
    Some(Operation { key, action })
}

fn end_of(namespace: Namespace, to: Option<Vec<u8>>) -> Option<Option<Key>> {
    match to {
        Some(to) => Key::new(namespace, &to).ok().map(Some),
        None => Some(end_of_prefix(&Key::new(namespace, b"").ok()?)),
    }
}

/// An item of the ring, as what was found.
pub(crate) fn item(found: store::Found) -> Item {
    let key = found.key.as_bytes().get(1..).unwrap_or_default().to_vec();
    Item { key, value: found.value.as_bytes().to_vec(), writer: found.writer }
}
