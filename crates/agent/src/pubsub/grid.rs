//! What the relay asks of the grid: operations on the ring, and streams to other servers.
//!
//! Both are begun on the agent's own runtime, where the node's connections live; the serving thread only
//! takes what comes of it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::Handle;
use xtreem_base::Duration;
use xtreem_net::{Contact, Net, OpenError, RecvStream, SendStream, Service};
use xtreem_overlay::store::{self, Failed, Operation, SCANNED_MAX, Success, Value, end_of_prefix};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::relay::{self, Action, Answer, Failure, Item, Space, What};

use super::clients::Server;
use crate::operating::{Unfinished, operate};
use crate::waiting::Waiting;

/// Copies of each item beside its owner's: two nodes may die at once.
const COPIES: u8 = 2;

/// The grid, as the serving thread reaches it.
pub(super) struct Grid {
    net: Net,
    waiting: Arc<Waiting>,
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
        let (net, waiting) = (self.net.clone(), self.waiting.clone());
        let asking = self.runtime.spawn(async move { operate(&net, &waiting, operation).await });
        match asking.await {
            Ok(Ok(Success::Scanned { found, next })) => {
                if next.is_some() {
                    tracing::warn!("more than {SCANNED_MAX} servers at one topic: some hear nothing");
                }
                Ok(found.into_iter().map(item).collect())
            }
            Ok(Ok(_)) => Ok(Vec::new()),
            Ok(Err(Unfinished::Failed(Failed::Refused(refused)))) => {
                Err(Failure::Refused(refused.to_string()))
            }
            Ok(Err(_)) | Err(_) => Err(Failure::Unanswered),
        }
    }
}

impl Server {
    /// Does what the relay asks for.
    pub(super) fn act(self: &Rc<Self>) {
        loop {
            let action = self.outside.borrow_mut().relay.next_action();
            match action {
                None => return,
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
                Some(Action::Answer(pattern, answer)) => {
                    let answer = match &answer {
                        Answer::Done => Ok(""),
                        Answer::Late => Ok("late"),
                        Answer::Refused(words) => Err(("too-many", words.as_str())),
                    };
                    let mut outside = self.outside.borrow_mut();
                    self.broker.borrow_mut().answer(&pattern, answer, &mut *outside);
                }
                Some(Action::Deliver(events)) => {
                    let mut broker = self.broker.borrow_mut();
                    broker.deliver(&events.topic, &events.plain, &events.full, events.count);
                }
                Some(Action::Taken(peer, number)) => self.acknowledge(peer, number),
            }
        }
    }
}

/// None for a name that is too long for a key: no topic is.
fn operation(what: What, own: &relay::Server) -> Option<Operation> {
    let (space, name) = match &what {
        What::Put(space, pattern) | What::Remove(space, pattern) => (*space, relay::key_of(pattern, own.id)),
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
        What::Put(_, pattern) => write(Some(Value::new(&Item::new(&pattern, own).value).ok()?), lease),
        What::Remove(..) => write(None, lease),
        What::Scan(_, section) => {
            let hi = match section.to {
                Some(to) => Some(Key::new(namespace, &to).ok()?),
                None => end_of_prefix(&Key::new(namespace, b"").ok()?),
            };
            store::Action::Scan { hi, limit: SCANNED_MAX as u16 }
        }
    };
    Some(Operation { key, action })
}

fn item(found: store::Found) -> Item {
    let key = found.key.as_bytes().get(1..).unwrap_or_default().to_vec();
    Item { key, value: found.value.as_bytes().to_vec(), writer: found.writer }
}
