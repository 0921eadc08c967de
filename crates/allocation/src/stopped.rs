//! Stopped records: final, kept for a day, and told to everybody who may still run the application.

use alloc::vec::Vec;

use xtreem_base::{Call, Duration, Handle, Instant};

use crate::older::OlderHolders;
use crate::{Config, Host, Kept, Message, Record};

/// A record that ended an application.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    pub record: Record,
    pub since: Instant,
    /// How long it had been stopped before this agent's start.
    pub before: Duration,
    unreached: OlderHolders,
}

impl Stopped {
    pub fn new(record: Record, now: Instant) -> Self {
        Stopped { record, since: now, before: Duration::ZERO, unreached: OlderHolders::default() }
    }

    /// How long ago that was.
    pub fn age(&self, now: Instant) -> Duration {
        self.before + now.since(self.since)
    }

    /// Keeps telling `peer` until it says that it knows.
    pub fn tell(&mut self, now: Instant, peer: Handle) {
        self.unreached.add(now, 0, peer);
    }

    /// A peer restarted: it has to be told all the same.
    pub fn rename(&mut self, old: Handle, new: Handle) {
        self.unreached.rename(old, new);
    }

    /// What is kept of it on disk.
    pub fn kept(&self) -> Kept {
        let mut untold: Vec<Handle> = self.unreached.peers().collect();
        untold.sort_unstable();
        untold.dedup();
        Kept::Stopped { record: self.record.clone(), untold }
    }

    pub fn is_told(&mut self, peer: Handle) {
        self.unreached.forget(peer);
    }

    pub fn tick<H: Host>(&mut self, call: Call<'_, Config>, host: &mut H) {
        for (_, peer) in self.unreached.take_due(call.now, call.config) {
            host.send(peer, Message::Record { record: self.record.clone().into() });
        }
    }

    pub fn next_due(&self, config: &Config) -> Instant {
        let end = self.since + config.keep;
        self.unreached.next_due().map_or(end, |due| due.min(end))
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.unreached.peers().for_each(f);
    }
}
