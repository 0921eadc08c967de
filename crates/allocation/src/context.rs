//! All that one call may use besides the application or submission that it is about.

use alloc::sync::Arc;

use xtreem_base::{AppId, Handle, Instant};
use xtreem_discovery::{Facts, FactsAsk, Free};

use crate::books::Books;
use crate::placement::{Placement, Random};
use crate::{Config, Epoch, Host, Me, Message, Resources, Spec};

pub(crate) struct Context<'a, H> {
    pub config: &'a Config,
    pub now: Instant,
    pub me: Me,
    pub books: &'a mut Books,
    pub host: &'a mut H,
}

impl<H> Context<'_, H> {
    /// The placement that a specification asks for; any node does where it is unknown here.
    pub fn placement(&self, spec: &Spec) -> Arc<dyn Placement> {
        self.config.placements.parse(&spec.placement).unwrap_or_else(|_| Arc::new(Random))
    }

    /// What this node tells of itself.
    pub fn facts(&self, ask: &FactsAsk) -> Facts
    where
        H: Host,
    {
        let ledger = &self.books.ledger;
        let Resources { cores_milli, memory_bytes, disk_bytes } = ledger.offer().minus(&ledger.used());
        Facts { free: Free { cores_milli, memory_bytes, disk_bytes }, ..self.host.facts(ask) }
    }

    /// An answer by which `to` counts on this node: it goes out once what led to it is on disk.
    pub fn acknowledge(&mut self, app: AppId, to: Handle, answer: Message)
    where
        H: Host,
    {
        if self.books.journal.is_on() {
            self.books.journal.ack(app, to, answer);
        } else {
            self.host.send(to, answer);
        }
    }

    /// An epoch that no confirm has used.
    pub fn fresh_epoch(&mut self, counter: u32) -> Epoch {
        self.books.attempts = self.books.attempts.saturating_add(1);
        let attempt = self.books.attempts;
        Epoch { counter, recruiter: self.me.id, incarnation: self.me.incarnation, attempt }
    }
}
