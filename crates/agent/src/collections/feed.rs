//! What comes in for the collections of one slot: frames of other members, and news of who runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use xtreem_allocation::{Epoch, Known, Notice, SlotRun, SlotState};
use xtreem_base::NodeId;
use xtreem_messages::Member;
use xtreem_net::Named;
use xtreem_node::Event;

use super::frame::Head;
use crate::agent::Agent;
use crate::mail::CoreMail;
use crate::waiting::{Subscription, TooMany, Topic};

/// Inputs that one collection has not taken yet; beyond it the slot's mailbox is read no further.
pub(super) const INBOX_MAX: usize = 64;
/// The node is asked who runs so often in the beginning, when slots of an application start together, and
/// later on, in case that a change was missed. Our guess.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// So long is the beginning, from the last time that a collection was joined.
const BEGINNING: Duration = Duration::from_secs(15);

/// A run of another slot of the application, as the node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    pub slot: u16,
    pub epoch: Epoch,
    pub node: Option<NodeId>,
}

/// What a collection is told.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Frame {
        from: Member,
        frame: Bytes,
    },
    Runs(Runs),
    /// The slot has ended: done or failed, not to be started again.
    Over(u16),
}

/// Where each collection takes its inputs, by its mark.
#[derive(Clone, Default)]
pub(super) struct Inboxes(Arc<Mutex<Doors>>);

#[derive(Default)]
struct Doors {
    senders: BTreeMap<[u8; 8], mpsc::Sender<Input>>,
    /// One more each time that a collection was joined.
    joined: u64,
}

impl Inboxes {
    pub(super) fn add(&self, mark: [u8; 8]) -> mpsc::Receiver<Input> {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let mut doors = self.doors();
        doors.senders.insert(mark, sender);
        doors.joined += 1;
        inbox
    }

    pub(super) fn remove(&self, mark: [u8; 8]) {
        self.doors().senders.remove(&mark);
    }

    fn of(&self, mark: [u8; 8]) -> Option<mpsc::Sender<Input>> {
        self.doors().senders.get(&mark).cloned()
    }

    fn all(&self) -> Vec<mpsc::Sender<Input>> {
        self.doors().senders.values().cloned().collect()
    }

    fn joined(&self) -> u64 {
        self.doors().joined
    }

    /// A panic elsewhere cannot leave the table half-changed: every change is one insertion or removal.
    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands frames to the collections that they name, for ever.
pub(super) async fn deliver(mail: Arc<CoreMail>, inboxes: Inboxes) {
    loop {
        let message = mail.mailbox.recv().await;
        let Some((head, _)) = Head::read(&message.body) else { continue };
        // Of a collection that this slot is no member of, or that says something else of the same name.
        let Some(inbox) = inboxes.of(head.collection) else { continue };
        // It waits while the collection has enough to do; one that has just ended takes nothing.
        let _ = inbox.send(Input::Frame { from: message.from, frame: message.body }).await;
    }
}

/// Tells all collections who runs, for ever.
pub(super) struct News {
    agent: Arc<Agent>,
    run: SlotRun,
    inboxes: Inboxes,
    changes: Subscription,
}

impl News {
    pub(super) fn new(agent: Arc<Agent>, run: SlotRun, inboxes: Inboxes) -> Result<News, TooMany> {
        let changes = agent.waiting.subscribe(Topic::Changes(run.app))?;
        Ok(News { agent, run, inboxes, changes })
    }

    pub(super) async fn tell(mut self) {
        let (mut joined, mut since) = (0, Instant::now());
        loop {
            if self.inboxes.joined() != joined {
                (joined, since) = (self.inboxes.joined(), Instant::now());
            }
            self.look().await;
            let pause = if since.elapsed() < BEGINNING { LOOKS.0 } else { LOOKS.1 };
            self.hear_until(Instant::now() + pause).await;
        }
    }

    /// All that the node knows of the application.
    async fn look(&self) {
        let app = self.run.app;
        let described = self.agent.net.call_named(move |node, now, _| node.app(now, app)).await;
        let Ok(Named { what: Some(description), contacts }) = described else { return };
        for known in &description.slots {
            let node = known.holder.and_then(|holder| contacts.of(holder)).map(|contact| contact.id);
            self.pass_on(known, node).await;
        }
    }

    /// Changes, as they come.
    async fn hear_until(&mut self, end: Instant) {
        loop {
            let change = tokio::select! {
                change = self.changes.next() => change,
                () = sleep_until(end) => return,
            };
            // What was missed is seen by the next look.
            let Ok(Named { what: Event::Allocation(Notice::SlotChanged { slot, .. }), contacts }) = change
            else {
                continue;
            };
            let node = slot.holder.and_then(|holder| contacts.of(holder)).map(|contact| contact.id);
            self.pass_on(&slot, node).await;
        }
    }

    async fn pass_on(&self, known: &Known, node: Option<NodeId>) {
        // Of the own slot only that another one has replaced this member.
        let is_replaced = known.state == SlotState::Running && known.epoch > self.run.epoch;
        if known.slot == self.run.slot && !is_replaced {
            return;
        }
        let input = match known.state {
            SlotState::Running => Input::Runs(Runs { slot: known.slot, epoch: known.epoch, node }),
            state if state.is_final() => Input::Over(known.slot),
            _ => return,
        };
        for inbox in self.inboxes.all() {
            let _ = inbox.send(input.clone()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_collection_has_an_inbox_until_it_is_left() {
        let inboxes = Inboxes::default();
        let (mut first, _second) = (inboxes.add([1; 8]), inboxes.add([2; 8]));
        inboxes.of([1; 8]).expect("joined").send(Input::Over(3)).await.expect("open");
        assert!(matches!(first.recv().await, Some(Input::Over(3))));
        assert_eq!((inboxes.all().len(), inboxes.joined()), (2, 2));
        inboxes.remove([1; 8]);
        assert!(inboxes.of([1; 8]).is_none() && first.recv().await.is_none());
    }
}
