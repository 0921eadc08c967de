//! CYCLON: a small random view of a large collection, kept random and alive by exchanging parts of it.
//!
//! Source: Voulgaris, Gavidia, van Steen: CYCLON, JNSM 13(2), 2005: enhanced shuffle §3, join §4.3.
//! Departures, each with its reason, are listed in `docs/protocols/membership.md`.

mod join;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Handle, Instant, Rng, Sampler, Sink, Wake};

use crate::config::Config;
use crate::message::{Message, Peer, Peers, SHUFFLE_PEERS_MAX};
use crate::remembered::{REMEMBERED_MAX, Remembered};
use crate::view::{Places, View};

/// Exchanges and walks of others that change a full view in one round: on average there is one, and more than
/// four in one round of 270.
const TAKEN_MAX: u8 = 4;
/// Contacts tried in one round at most, whatever is configured.
const RETRIES_MAX: u8 = 15;
/// The bit that says that the first contact of the round was silent.
const VACANT: u8 = 0x80;

/// A message that a correct and timely peer would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Answers nothing that is still open: late, repeated or made up.
    #[error("an answer that nobody waits for")]
    Unsolicited,
    #[error("a shuffle with {0} peers")]
    TooManyPeers(usize),
    #[error("a join walk with {0} hops to go")]
    WalkTooLong(u8),
    /// The sender, or the joiner of a walk, is this node itself.
    #[error("a message from this node to itself")]
    FromMyself,
}

/// One member's part of one collection, grid-wide or of one application.
///
/// Invariants: the view holds no handle twice and never the own one. A simulation keeps a million of these,
/// so all tables are inline, and the whole takes 192 bytes: three cache lines.
#[derive(Clone, Debug)]
pub struct Cyclon {
    rng: Rng,
    next_shuffle: Instant,
    /// When `pending` counts as failed; `FAR` without one.
    reply_deadline: Instant,
    /// When the join is repeated; `FAR` unless joining.
    join_deadline: Instant,
    me: Handle,
    /// The contact whose shuffle reply is awaited. Not in the view: its place is what the reply is for.
    pending: Handle,
    /// The remembered contact that was pinged in this round.
    pinged: Handle,
    introducer: Handle,
    /// Knows also which of its neighbours `pending` was told.
    view: View,
    remembered: Remembered,
    seq: u16,
    /// Of this round: contacts tried in the lowest four bits, exchanges of others taken in the next three,
    /// and whether the first contact was silent.
    round: u8,
    /// Answers to join walks that may still come.
    welcomes: u8,
}

impl Cyclon {
    /// A member that knows nobody. Its first shuffle is at a random point in one period.
    pub fn new(config: &Config, me: Handle, mut rng: Rng, now: Instant) -> Self {
        let next_shuffle = now + join::random_part(&mut rng, config.period);
        let seq = rng.next_u32() as u16;
        Cyclon {
            rng,
            next_shuffle,
            reply_deadline: Instant::FAR,
            join_deadline: Instant::FAR,
            me,
            pending: Handle::NONE,
            pinged: Handle::NONE,
            introducer: Handle::NONE,
            view: View::EMPTY,
            remembered: Remembered::new(seq),
            seq,
            round: 0,
            welcomes: 0,
        }
    }

    /// Puts a contact that is known to be a member into the view, over a random one when it is full.
    pub fn seed(&mut self, config: &Config, contact: Handle) {
        if contact != self.me && contact != Handle::NONE && !self.view.refresh(contact) {
            let peer = Peer { handle: contact, age: 0 };
            if !self.view.push(config.view_limit(), peer) {
                self.view.replace_random(&mut self.rng, peer);
            }
        }
    }

    /// Keeps a contact to be tried from time to time: a bootstrap address, a member before a split.
    ///
    /// One of these is pinged each round; when it answers it enters the view and is no longer remembered.
    pub fn remember(&mut self, contact: Handle) {
        if contact != self.me && contact != Handle::NONE {
            self.remembered.add(&mut self.rng, contact);
        }
    }

    /// The neighbours and their ages in rounds, in no meaningful order.
    pub fn view(&self) -> impl Iterator<Item = (Handle, u16)> + '_ {
        self.view.iter().map(|peer| (peer.handle, peer.age))
    }

    /// The neighbours and the contact of the exchange that is under way: it left the view only to turn the
    /// link round, and in a collection of two it is all that this node knows.
    pub fn contacts(&self) -> impl Iterator<Item = Handle> + '_ {
        let asked = Some(self.pending).filter(|&contact| contact != Handle::NONE);
        self.view.handles().iter().copied().chain(asked)
    }

    /// `count` distinct random neighbours; all [`Self::contacts`] when there are fewer.
    pub fn sample(&mut self, count: usize) -> Vec<Handle> {
        if count > self.view.len() {
            let mut all: Vec<Handle> = self.contacts().collect();
            self.rng.shuffle(&mut all);
            return all;
        }
        let places = self.view.random_places(&mut self.rng, count);
        places.as_slice().iter().map(|&place| self.view.at(place).handle).collect()
    }

    pub fn remembered(&self) -> impl Iterator<Item = Handle> + '_ {
        self.remembered.iter()
    }

    fn start_round(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        if self.pending != Handle::NONE {
            // Only with a reply timeout near the period: the last contact of the old round gets no more time.
            self.lose_pending(out);
        }
        self.view.grow_older();
        self.round &= VACANT;
        self.shuffle_with_oldest(call, out);
        self.pinged = self.remembered.pick(&mut self.rng).unwrap_or(Handle::NONE);
        if self.pinged != Handle::NONE {
            self.remembered.ping_seq = self.remembered.ping_seq.wrapping_add(1);
            out.send(self.pinged, Message::Ping { seq: self.remembered.ping_seq });
        }
    }

    /// Steps 2 to 4 of the paper's shuffle. The contact leaves the view now: the link turns round.
    fn shuffle_with_oldest(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        let Some(contact) = self.view.take_oldest() else { return };
        self.round += 1;
        self.shuffle(call, contact, out);
    }

    /// Whether the first contact of a round was silent, said once: its place may be given to one that is
    /// known to be there. Who fills views with contacts that are not there has no node to itself then.
    pub fn has_vacancy(&mut self) -> bool {
        let has = self.round & VACANT != 0;
        self.round &= !VACANT;
        has
    }

    /// Takes in one that is known to be there, to be asked next.
    pub fn prefer(&mut self, config: &Config, contact: Handle) {
        if contact == self.me || contact == Handle::NONE || self.view.contains(contact) {
            return;
        }
        let peer = Peer { handle: contact, age: u16::MAX };
        if !self.view.push(config.view_limit(), peer) {
            self.view.replace_random(&mut self.rng, peer);
        }
    }

    fn tries(&self) -> u8 {
        self.round & 0xf
    }

    fn taken(&self) -> u8 {
        self.round >> 4 & 0x7
    }

    /// Whether what `from` brings may take the place of neighbours: of nobody twice in a round, as long as it
    /// is not forgotten, and only so often. Whoever is refused is answered all the same.
    fn takes(&mut self, config: &Config, from: Handle) -> bool {
        if self.view.len() < config.view_limit() {
            return true;
        }
        let is_repeated = self.taken() > 0 && self.view.is_fresh(from);
        if is_repeated || self.taken() >= TAKEN_MAX {
            return false;
        }
        self.round += 1 << 4;
        true
    }

    fn shuffle(&mut self, call: Call<'_, Config>, contact: Handle, out: &mut impl Sink<Message>) {
        let places = self.view.random_places(&mut self.rng, call.config.shuffle_limit() - 1);
        let peers = self.view.peers_at(&places);
        self.view.tell(&places);
        self.seq = self.seq.wrapping_add(1);
        self.pending = contact;
        self.reply_deadline = call.now + call.config.reply_timeout;
        out.send(contact, Message::Shuffle { seq: self.seq, peers });
    }

    /// Always answered, also while an own shuffle is open: nothing here waits for anything.
    fn on_shuffle(
        &mut self,
        config: &Config,
        from: Handle,
        seq: u16,
        mut peers: Peers,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if peers.len() > SHUFFLE_PEERS_MAX {
            return Err(Fault::TooManyPeers(peers.len()));
        }
        let places = self.view.random_places(&mut self.rng, config.shuffle_limit());
        let reply = self.view.peers_at(&places);
        self.remembered.remove(from);
        if !self.takes(config, from) {
            out.send(from, Message::ShuffleReply { seq, peers: reply });
            return Ok(());
        }
        peers.push(Peer { handle: from, age: 0 });
        self.merge(config, &peers, &places);
        out.send(from, Message::ShuffleReply { seq, peers: reply });
        Ok(())
    }

    fn on_shuffle_reply(
        &mut self,
        config: &Config,
        from: Handle,
        seq: u16,
        peers: &Peers,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if self.pending != from || self.seq != seq {
            return Err(Fault::Unsolicited);
        }
        let told = self.view.told_places();
        self.merge(config, peers, &told);
        self.clear_pending();
        if !self.view.contains(from) {
            // Room is left when the other had little that is new: in a small collection all know all.
            self.view.push(config.view_limit(), Peer { handle: from, age: 0 });
        }
        self.remembered.remove(from);
        out.contact_answered(from);
        Ok(())
    }

    fn on_pong(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if self.pinged != from || self.remembered.ping_seq != seq {
            return Err(Fault::Unsolicited);
        }
        self.pinged = Handle::NONE;
        self.remembered.remove(from);
        if self.view.is_empty() && self.pending == Handle::NONE {
            // The way back from isolation: no need to wait for the next round.
            self.next_shuffle = call.now;
        }
        self.seed(call.config, from);
        out.contact_answered(from);
        Ok(())
    }

    /// What was lost here is not taken from others until it answers, or the dead would be handed round for
    /// ever in a collection where everybody has room for them.
    fn merge(&mut self, config: &Config, received: &Peers, sent: &Places) {
        if self.remembered.is_empty() {
            self.view.merge(config.view_limit(), self.me, received, sent);
        } else {
            let alive = received.iter().filter(|peer| !self.remembered.contains(peer.handle)).collect();
            self.view.merge(config.view_limit(), self.me, &alive, sent);
        }
    }

    /// The peer whose reply is awaited did not answer in time.
    fn lose_pending(&mut self, out: &mut impl Sink<Message>) {
        let silent = self.pending;
        self.clear_pending();
        if self.view.len() < REMEMBERED_MAX {
            // Who has so few others may have no other way back: none of them is left to chance.
            self.remembered.add(&mut self.rng, silent);
        } else {
            self.remembered.add_lost(&mut self.rng, silent);
        }
        out.contact_silent(silent);
    }

    fn clear_pending(&mut self) {
        self.pending = Handle::NONE;
        self.reply_deadline = Instant::FAR;
        self.view.untell();
    }
}

impl Core for Cyclon {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    #[inline]
    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.next_shuffle, "shuffle")
            .or(Wake::new(self.reply_deadline, "shuffle unanswered"))
            .or(Wake::new(self.join_deadline, "join again"))
    }

    /// The peer is not remembered either.
    fn handle_gone(&mut self, _: Call<'_, Config>, peer: Handle) {
        self.view.remove(peer);
        self.remembered.remove(peer);
        if self.pending == peer {
            self.clear_pending();
        }
        if self.pinged == peer {
            self.pinged = Handle::NONE;
        }
        if self.introducer == peer {
            self.stop_joining();
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        let single = [self.me, self.pending, self.pinged, self.introducer];
        let single = single.iter().filter(|&&handle| handle != Handle::NONE);
        self.view.handles().iter().chain(single).copied().chain(self.remembered.iter()).for_each(f);
    }
}

impl<S: Sink<Message>> Driven<S> for Cyclon {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        if from == self.me || from == Handle::NONE {
            return Err(Fault::FromMyself);
        }
        let config = call.config;
        match message {
            Message::Shuffle { seq, peers } => self.on_shuffle(config, from, seq, peers, out),
            Message::ShuffleReply { seq, peers } => self.on_shuffle_reply(config, from, seq, &peers, out),
            Message::Join => {
                self.on_join(config, from, out);
                Ok(())
            }
            Message::Walk { joiner, ttl } => self.on_walk(config, from, joiner, ttl, out),
            Message::Welcome { replaced } => self.on_welcome(config, from, replaced, out),
            Message::Ping { seq } => {
                out.send(from, Message::Pong { seq });
                Ok(())
            }
            Message::Pong { seq } => self.on_pong(call, from, seq, out),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        let now = call.now;
        if self.reply_deadline <= now {
            self.lose_pending(out);
            if self.tries() == 1 {
                self.round |= VACANT;
            }
            if self.tries() < call.config.retries.min(RETRIES_MAX) {
                self.shuffle_with_oldest(call, out);
            }
        }
        if self.join_deadline <= now {
            self.repeat_join(call, out);
        }
        if self.next_shuffle <= now {
            self.next_shuffle = now + self.rng.jitter(call.config.period, 5);
            self.start_round(call, out);
        }
    }
}

impl Sampler for Cyclon {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.sample(1).first().copied()
    }
}
