//! What the broker asks of the agent: what the relay and the keeper do, and whom tokens stand for.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use xtreem_pubsub::broker::{Access, ConnectionId, Host};
use xtreem_pubsub::keeper::{Asker, Keeper, Rule};
use xtreem_pubsub::relay::{Relay, Server};
use xtreem_pubsub::update::{Update, Updates};
use xtreem_pubsub::{Pattern, Replay};

use super::tokens::Tokens;

pub(super) struct Outside {
    tokens: Arc<Tokens>,
    pub relay: Relay,
    pub keeper: Keeper,
    pub updates: Updates,
    begun: Instant,
}

impl Outside {
    /// `key` and `updates` are made of random bytes.
    pub fn new(
        tokens: Arc<Tokens>,
        own: Server,
        key: [u8; 32],
        updates: Updates,
        replay: Vec<Rule>,
    ) -> Outside {
        let (relay, keeper) = (Relay::new(own, key), Keeper::new(replay));
        Outside { tokens, relay, keeper, updates, begun: Instant::now() }
    }

    pub fn now(&self) -> xtreem_base::Instant {
        xtreem_base::Instant::from_micros(self.begun.elapsed().as_micros() as u64)
    }
}

impl Host for Outside {
    fn wanted(&mut self, pattern: &Pattern<'static>, is_wanted: bool) -> bool {
        if is_wanted {
            self.relay.wanted(self.now(), pattern);
        } else {
            self.relay.unwanted(pattern);
        }
        true
    }

    fn published(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) {
        if !self.keeper.publish(topic, events, count) {
            self.relay.publish(self.now(), topic, events, count);
        }
    }

    fn is_wanted_elsewhere(&mut self, topic: &Arc<Pattern<'static>>) -> bool {
        self.relay.is_wanted(self.now(), topic)
    }

    fn access(&mut self, token: &str) -> Option<Access> {
        self.tokens.access(token)
    }

    fn retain(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>, event: Option<Bytes>) {
        self.keeper.retain(asker, topic, event);
    }

    fn is_replayed(&self, topics: &Pattern<'_>) -> bool {
        self.keeper.is_replayed(topics)
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
