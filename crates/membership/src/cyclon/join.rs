//! The paper's join (§4.3): random walks from the introducer end at nodes that each make room for the
//! newcomer and hand it the neighbour they gave up. Everyone's in-degree stays as it was, the newcomer's is
//! right at once.

use alloc::vec::Vec;

use xtreem_base::{Call, Duration, Handle, Instant, Rng, Sink};

use super::{Cyclon, Fault};
use crate::config::{Config, WALK_TTL_MAX};
use crate::message::{Message, Peer};

/// A random part of `span`.
pub(super) fn random_part(rng: &mut Rng, span: Duration) -> Duration {
    Duration::from_micros(rng.between(0, span.as_micros()))
}

impl Cyclon {
    /// Joins the collection that `contact` belongs to; repeated every `join_timeout` while the view is empty.
    ///
    /// Each repetition reports `contact` as failed first; the driver may then join through another one.
    pub fn join(&mut self, call: Call<'_, Config>, contact: Handle, out: &mut impl Sink<Message>) {
        if contact == self.me || contact == Handle::NONE {
            return;
        }
        self.introducer = contact;
        self.send_join(call, out);
        if self.view.is_empty() {
            // The first shuffle waits for the walks to end: their answers are taken until then.
            self.next_shuffle = self.join_deadline + random_part(&mut self.rng, call.config.period);
        }
    }

    fn send_join(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        self.join_deadline = call.now + call.config.join_timeout;
        self.welcomes = call.config.view_limit() as u8;
        out.send(self.introducer, Message::Join);
    }

    pub(super) fn repeat_join(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        if self.view.is_empty() && self.pending == Handle::NONE {
            out.contact_silent(self.introducer);
            self.send_join(call, out);
        } else {
            self.stop_joining();
        }
    }

    pub(super) fn stop_joining(&mut self) {
        self.introducer = Handle::NONE;
        self.join_deadline = Instant::FAR;
        self.welcomes = 0;
    }

    /// As many walks as a view has places, over distinct neighbours as far as there are any.
    pub(super) fn on_join(&mut self, config: &Config, joiner: Handle, out: &mut impl Sink<Message>) {
        let neighbours: Vec<Handle> =
            self.sample(self.view.len()).into_iter().filter(|&handle| handle != joiner).collect();
        if neighbours.is_empty() {
            self.take_in(config, joiner, out);
        }
        // `take` ends the cycle; without neighbours it never starts.
        for &neighbour in neighbours.iter().cycle().take(config.view_limit()) {
            out.send(neighbour, Message::Walk { joiner, ttl: config.walk_limit() });
        }
    }

    pub(super) fn on_walk(
        &mut self,
        config: &Config,
        from: Handle,
        joiner: Handle,
        ttl: u8,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if ttl > WALK_TTL_MAX {
            return Err(Fault::WalkTooLong(ttl));
        }
        if joiner == Handle::NONE {
            return Err(Fault::FromMyself);
        }
        if joiner == self.me {
            // A walk that crosses its own joiner, which others know already: in small collections.
            return Ok(());
        }
        let next = if ttl == 0 {
            None
        } else {
            let all = self.sample(self.view.len());
            all.into_iter().find(|&handle| handle != joiner && handle != from)
        };
        match next {
            Some(next) => out.send(next, Message::Walk { joiner, ttl: ttl - 1 }),
            None => self.take_in(config, joiner, out),
        }
        Ok(())
    }

    /// The end of a walk.
    fn take_in(&mut self, config: &Config, joiner: Handle, out: &mut impl Sink<Message>) {
        let peer = Peer { handle: joiner, age: 0 };
        let has_place = self.view.refresh(joiner) || self.view.push(config.view_limit(), peer);
        // Beyond the limit the newcomer still learns of this node, and becomes known by its own exchanges.
        let replaced = if has_place || !self.takes(config, joiner) {
            None
        } else {
            self.view.replace_random(&mut self.rng, peer)
        };
        self.remembered.remove(joiner);
        out.send(joiner, Message::Welcome { replaced });
    }

    pub(super) fn on_welcome(
        &mut self,
        config: &Config,
        from: Handle,
        replaced: Option<Peer>,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if self.welcomes == 0 {
            return Err(Fault::Unsolicited);
        }
        self.welcomes -= 1;
        let peer = replaced.unwrap_or(Peer { handle: from, age: 0 });
        if peer.handle != self.me && peer.handle != Handle::NONE && !self.view.contains(peer.handle) {
            self.view.push(config.view_limit(), peer);
        }
        self.remembered.remove(from);
        out.contact_answered(from);
        Ok(())
    }
}
