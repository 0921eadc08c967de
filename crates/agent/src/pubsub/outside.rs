//! What the broker asks of the agent: what the relay does, and whom tokens stand for.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use xtreem_allocation::policy::Policy;
use xtreem_pubsub::broker::{Access, Host};
use xtreem_pubsub::relay::{Relay, Server};
use xtreem_pubsub::{Pattern, reserved};

use super::rules;
use super::tokens::Tokens;

pub(super) struct Outside {
    tokens: Arc<Tokens>,
    policy: watch::Receiver<Option<Arc<Policy>>>,
    pub relay: Relay,
    begun: Instant,
}

impl Outside {
    /// `key` are random bytes.
    pub fn new(
        tokens: Arc<Tokens>,
        policy: watch::Receiver<Option<Arc<Policy>>>,
        own: Server,
        key: [u8; 32],
    ) -> Outside {
        Outside { tokens, policy, relay: Relay::new(own, key), begun: Instant::now() }
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
    fn wanted(&mut self, pattern: &Pattern<'static>, is_wanted: bool) -> bool {
        if is_wanted {
            self.relay.wanted(self.now(), pattern);
        } else {
            self.relay.unwanted(pattern);
        }
        true
    }

    fn published(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) {
        self.relay.publish(self.now(), &list(topic), events, count);
    }

    fn is_wanted_elsewhere(&mut self, topic: &Arc<Pattern<'static>>) -> bool {
        self.relay.is_wanted(self.now(), &list(topic))
    }

    fn access(&mut self, token: &str) -> Option<Access> {
        let mut access = self.tokens.access(token)?;
        self.limit(&mut access);
        Some(access)
    }
}
