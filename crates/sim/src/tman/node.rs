//! One node: the partial view of its collection, and T-Man or the plain algorithm on top.

use std::cell::Cell;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, Plane, Rng, Sampler, Sink, Travel, Wake};
use xtreem_membership::{Cyclon, PEERS_MAX};
use xtreem_overlay::Position;
use xtreem_overlay::tman::{self, Event, Kind, Ring, Side, TMan};

use super::plain::Plain;
use crate::arena::{Member, Post};

pub(super) type Gossip = tman::Message<Position>;

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Ring(Box<Gossip>),
}

/// The numbers of both protocols, and what is counted of all nodes.
#[derive(Default)]
pub(super) struct Common {
    pub(super) membership: xtreem_membership::Config,
    pub(super) tman: tman::Config,
    pub(super) cyclon_bytes: Cell<u64>,
    pub(super) tman_bytes: Cell<u64>,
    /// Begun.
    pub(super) exchanges: Cell<u64>,
}

/// Longest datagram and its longest envelope, of `docs/protocols/wire.md`.
const DATAGRAM_BYTES: usize = 1_200;
const ENVELOPE_BYTES: usize = 464;
/// Longest hint of a peer with its age.
const HINT_BYTES: usize = 56;

/// What a message takes on the wire.
fn on_wire(travel: Travel, bytes: usize) -> u64 {
    let all = match travel.plane {
        Plane::Stream => bytes,
        Plane::Datagram if travel.is_padded => DATAGRAM_BYTES,
        Plane::Datagram => ENVELOPE_BYTES + bytes,
    };
    all as u64
}

/// What keeps the order of the nodes.
pub(super) enum Engine {
    Product(TMan<Ring>),
    Plain(Plain),
}

impl Engine {
    pub(super) fn product(common: &Common, me: Handle, position: Position, rng: Rng, now: Instant) -> Self {
        Engine::Product(TMan::new(&common.tman, Ring, me, position, rng, now))
    }

    pub(super) fn plain(common: &Common, me: Handle, position: Position, rng: Rng, now: Instant) -> Self {
        Engine::Plain(Plain::new(&common.tman, me, position, rng, now))
    }

    /// The nearest after and before it.
    pub(super) fn nearest(&self) -> [Option<Handle>; 2] {
        match self {
            Engine::Product(tman) => {
                [Side::After, Side::Before].map(|side| tman.neighbours(side).next().map(|peer| peer.handle))
            }
            Engine::Plain(plain) => plain.nearest(),
        }
    }
}

pub(super) struct Node {
    pub(super) cyclon: Cyclon,
    pub(super) engine: Engine,
}

/// The sink of the partial view.
struct Shuffling<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    common: &'a Common,
    silent: Option<Handle>,
}

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        let bytes = &self.common.cyclon_bytes;
        bytes.set(bytes.get() + on_wire(message.travel(), PEERS_MAX * HINT_BYTES));
        self.out.send(to, Message::Grid(message));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent = Some(peer);
    }
}

/// The sink of the engine: it meets members of the partial view.
pub(super) struct Sampling<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    common: &'a Common,
}

impl Sink<Gossip> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: Gossip) {
        let Common { tman_bytes, exchanges, .. } = self.common;
        tman_bytes.set(tman_bytes.get() + on_wire(message.travel(), message.wire_bytes()));
        exchanges.set(exchanges.get() + u64::from(message.kind == Kind::Ask));
        self.out.send(to, Message::Ring(message.into()));
    }
}

impl Sampler for Sampling<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

impl Events<Event> for Sampling<'_, '_> {
    fn event(&mut self, event: Event) {
        self.out.event(event);
    }
}

impl Node {
    fn shuffle(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Cyclon, Call<'_, xtreem_membership::Config>, &mut Shuffling<'_, '_>),
    ) {
        let mut out = Shuffling { out, common: call.config, silent: None };
        f(&mut self.cyclon, call.narrow(|common| &common.membership), &mut out);
        if let (Some(silent), Engine::Product(tman)) = (out.silent, &mut self.engine) {
            tman.handle_silent(call.narrow(|common| &common.tman), silent);
        }
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        let engine = match &self.engine {
            Engine::Product(tman) => tman.next_timeout(&common.tman),
            Engine::Plain(plain) => plain.next_timeout(),
        };
        self.cyclon.next_timeout(&common.membership).or(engine)
    }

    fn handle_gone(&mut self, _: Call<'_, Common>, _: Handle) {}
    fn for_each_handle(&self, _: &mut dyn FnMut(Handle)) {}
}

impl Driven<Post<'_, Node>> for Node {
    fn handle_message(
        &mut self,
        call: Call<'_, Common>,
        from: Handle,
        message: Message,
        out: &mut Post<'_, Node>,
    ) -> Result<(), ()> {
        match message {
            Message::Grid(message) => {
                // Late answers are faults by design.
                self.shuffle(call, out, |cyclon, call, out| {
                    let _ = cyclon.handle_message(call, from, message, out);
                });
                Ok(())
            }
            Message::Ring(message) => {
                let mut out = Sampling { out, cyclon: &mut self.cyclon, common: call.config };
                let call = call.narrow(|common| &common.tman);
                match &mut self.engine {
                    Engine::Product(tman) => {
                        tman.handle_message(call, from, *message, &mut out).map_err(drop)
                    }
                    Engine::Plain(plain) => {
                        plain.handle_message(call, from, *message, &mut out);
                        Ok(())
                    }
                }
            }
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        if self.cyclon.next_timeout(&call.config.membership).at <= call.now {
            self.shuffle(call, out, |cyclon, call, out| cyclon.handle_timeout(call, out));
        }
        let mut out = Sampling { out, cyclon: &mut self.cyclon, common: call.config };
        let call = call.narrow(|common| &common.tman);
        match &mut self.engine {
            Engine::Product(tman) => tman.handle_timeout(call, &mut out),
            Engine::Plain(plain) => plain.handle_timeout(call, &mut out),
        }
    }
}

impl Member for Node {
    type Event = Event;

    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(message) => message.travel().plane,
            Message::Ring(message) => message.travel().plane,
        }
    }
}
