//! What the broker asks of the agent: what the relay and the keeper do, and whom tokens stand for.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use xtreem_allocation::policy::Policy;
use xtreem_pubsub::broker::{Access, ConnectionId, Host};
use xtreem_pubsub::keeper::{Asker, Keeper, Rule};
use xtreem_pubsub::relay::{Interest, Relay, Server};
use xtreem_pubsub::update::{Update, Updates};
use xtreem_pubsub::{Pattern, Replay, reserved};

use super::rules;
use super::tokens::Tokens;

pub(super) struct Outside {
    tokens: Arc<Tokens>,
    policy: watch::Receiver<Option<Arc<Policy>>>,
    pub relay: Relay,
    pub keeper: Keeper,
    pub updates: Updates,
    begun: Instant,
}

impl Outside {
    /// `key` and `updates` are made of random bytes.
    pub fn new(
        tokens: Arc<Tokens>,
        policy: watch::Receiver<Option<Arc<Policy>>>,
        own: Server,
        key: [u8; 32],
        updates: Updates,
        replay: Vec<Rule>,
    ) -> Outside {
        let (relay, keeper) = (Relay::new(own, key), Keeper::new(replay));
        Outside { tokens, policy, relay, keeper, updates, begun: Instant::now() }
    }

    /// Makes an access what the policy in force leaves of it.
    pub fn limit(&self, access: &mut Access) {
        let policy = self.policy.borrow();
        rules::apply(access, policy.as_deref());
    }

    pub fn now(&self) -> xtreem_base::Instant {
        xtreem_base::Instant::from_micros(self.begun.elapsed().as_micros() as u64)
    }
}

/// The topic whose list of servers is used.
fn list(topic: &Arc<Pattern<'static>>) -> Arc<Pattern<'static>> {
    reserved::family(topic).map_or_else(|| topic.clone(), Arc::new)
}

impl Host for Outside {
    fn wanted(&mut self, interest: &Interest, is_wanted: bool) -> bool {
        if is_wanted {
            self.relay.wanted(self.now(), interest.clone());
        } else {
            self.relay.unwanted(interest.clone());
        }
        true
    }

    fn published(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) {
        if !self.keeper.publish(topic, events, count) {
            self.relay.publish(self.now(), &list(topic), events, count);
        }
    }

    fn is_wanted_elsewhere(&mut self, topic: &Arc<Pattern<'static>>) -> bool {
        self.relay.is_wanted(self.now(), &list(topic))
    }

    fn access(&mut self, token: &str) -> Option<Access> {
        let mut access = self.tokens.access(token)?;
        self.limit(&mut access);
        Some(access)
    }

    fn retain(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>, event: Option<Bytes>) {
        self.keeper.retain(asker, topic, event);
    }

    fn is_replayed(&self, topics: &Pattern<'_>) -> bool {
        !reserved::is_reserved(topics) && self.keeper.is_replayed(topics)
    }

    fn log(&mut self, asker: Option<Asker>, topic: &Arc<Pattern<'static>>, event: &[u8]) {
        self.keeper.log(self.now(), asker, topic, event);
    }

    fn recall(
        &mut self,
        id: ConnectionId,
        pattern: &Pattern<'static>,
        replay: Option<Replay>,
        is_answered: bool,
    ) -> bool {
        self.keeper.recall(self.now(), id, pattern, replay, is_answered);
        true
    }

    fn forget(&mut self, id: ConnectionId, pattern: &Pattern<'static>) {
        self.keeper.forget(id, pattern);
    }

    fn update(&mut self, asker: Asker, who: &str, update: Update) -> bool {
        self.updates.update(self.now(), asker, who, update);
        true
    }

    fn read(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>) -> bool {
        self.updates.read(self.now(), asker, topic);
        true
    }
}
