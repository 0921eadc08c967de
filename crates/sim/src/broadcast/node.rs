//! One node: the partial view, T-Man on it, the ring on both, and broadcasts on the ring.

use std::cell::Cell;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake};
use xtreem_membership::Cyclon;
use xtreem_overlay::broadcast::{self, Around, Broadcast, BroadcastId, Extent};
use xtreem_overlay::ring::{self, Ring, SUCCESSORS_MAX};
use xtreem_overlay::store::Value;
use xtreem_overlay::tman::{self, Side, TMan};
use xtreem_overlay::{Key, Namespace, Position, Range};

use crate::arena::{Member, Post};

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Order(Box<tman::Message<Position>>),
    Ring(Box<ring::Message>),
    Broadcast(Box<broadcast::Message>),
}

/// The numbers of all protocols, and what was counted.
#[derive(Default)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    pub(super) tman: tman::Config,
    pub(super) ring: ring::Config,
    pub(super) broadcast: broadcast::Config,
    pub(super) delegations: Cell<u64>,
    pub(super) accepts: Cell<u64>,
}

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    /// Once it stands somewhere.
    order: Option<Box<TMan<tman::Ring>>>,
    pub(super) ring: Box<Ring>,
    broadcast: Broadcast,
}

/// Who lives behind a handle.
fn id_of(handle: Handle) -> NodeId {
    let number = handle.as_u32();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&xtreem_base::mix(u64::from(number) + 1).to_be_bytes());
    bytes[8..12].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// The sink of the partial view.
struct Shuffling<'a, 'b>(&'a mut Post<'b, Node>);

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.0.send(to, Message::Grid(message));
    }
}

/// The sink of T-Man and of the ring: both meet members of the partial view.
struct Sampling<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    is_nearest_new: bool,
    silent: Vec<Handle>,
}

impl Sink<tman::Message<Position>> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: tman::Message<Position>) {
        self.out.send(to, Message::Order(message.into()));
    }
}

impl Sink<ring::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: ring::Message) {
        self.out.send(to, Message::Ring(message.into()));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl Sampler for Sampling<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

impl Events<tman::Event> for Sampling<'_, '_> {
    fn event(&mut self, _: tman::Event) {
        self.is_nearest_new = true;
    }
}

impl Events<ring::Event> for Sampling<'_, '_> {
    fn event(&mut self, _: ring::Event) {}
}

/// Nothing lies on this ring.
impl ring::Host for Sampling<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn load(&self, _: &Range) -> u64 {
        0
    }

    fn middle(&self, _: &Range) -> Option<Key> {
        None
    }
}

/// The sink of broadcasts.
struct Calling<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    ring: &'a Ring,
    common: &'a Common,
}

impl Sink<broadcast::Message> for Calling<'_, '_> {
    fn send(&mut self, to: Handle, message: broadcast::Message) {
        let count = match message {
            broadcast::Message::Delegate { .. } => &self.common.delegations,
            broadcast::Message::Accept { .. } => &self.common.accepts,
        };
        count.set(count.get() + 1);
        self.out.send(to, Message::Broadcast(message.into()));
    }
}

impl Events<broadcast::Event> for Calling<'_, '_> {
    fn event(&mut self, event: broadcast::Event) {
        self.out.event(event);
    }
}

impl broadcast::Host for Calling<'_, '_> {
    fn around(&self) -> Around {
        Around {
            position: self.ring.position().cloned(),
            successors: self.ring.successors().to_vec(),
            others: self.ring.contacts().skip(self.ring.successors().len()).cloned().collect(),
        }
    }

    fn may_broadcast(&self, _: Handle, _: BroadcastId, _: Option<&Extent>, _: &Value) -> bool {
        true
    }
}

impl Node {
    /// A node that knows nobody and stands nowhere.
    pub(super) fn new(common: &Common, handle: Handle, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            order: None,
            ring: Ring::new(id_of(handle), handle, stream("ring")).into(),
            broadcast: Broadcast::new(stream("broadcast")),
        }
    }

    /// Stands at a random key, whether there is a ring or not.
    pub(super) fn stand(&mut self, call: Call<'_, Common>) {
        let mut rng = Rng::derive(call.config.seed, u64::from(self.handle.as_u32()), "place");
        // Eight bytes and the namespace.
        let key = Key::new(Namespace::USER, &rng.next_u64().to_be_bytes()).expect("a short key");
        let position = Position::new(key, id_of(self.handle));
        self.ring.stand(call.narrow(|common| &common.ring), position.clone());
        let config = &call.config.tman;
        self.order = Some(TMan::new(config, tman::Ring, self.handle, position, rng, call.now).into());
    }

    pub(super) fn begin(&mut self, call: Call<'_, Common>, content: Value, out: &mut Post<'_, Node>) {
        let id = id_of(self.handle);
        self.with_broadcast(call, out, |core, call, out| {
            core.begin(call, id, content, out).expect("it stands on the ring, and this is its first one");
        });
    }

    pub(super) fn is_busy(&self) -> bool {
        self.broadcast.is_busy()
    }

    fn with_broadcast(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Broadcast, Call<'_, broadcast::Config>, &mut Calling<'_, '_>),
    ) {
        let mut out = Calling { out, ring: &self.ring, common: call.config };
        f(&mut self.broadcast, call.narrow(|common| &common.broadcast), &mut out);
    }

    fn with_ring(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Ring, Call<'_, ring::Config>, &mut Sampling<'_, '_>),
    ) {
        let mut out = Sampling { out, cyclon: &mut self.cyclon, is_nearest_new: false, silent: Vec::new() };
        f(&mut self.ring, call.narrow(|common| &common.ring), &mut out);
        if let Some(order) = &mut self.order {
            let call = call.narrow(|common| &common.tman);
            out.silent.iter().for_each(|peer| order.handle_silent(call, *peer));
        }
    }

    fn with_order(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut TMan<tman::Ring>, Call<'_, tman::Config>, &mut Sampling<'_, '_>),
    ) {
        let Some(order) = &mut self.order else { return };
        let mut sink = Sampling { out, cyclon: &mut self.cyclon, is_nearest_new: false, silent: Vec::new() };
        f(order, call.narrow(|common| &common.tman), &mut sink);
        if !sink.is_nearest_new {
            return;
        }
        let near = order.neighbours(Side::After).take(SUCCESSORS_MAX);
        let near: Vec<(Handle, Position)> = near.map(|it| (it.handle, it.profile.clone())).collect();
        self.with_ring(call, out, |ring, call, out| {
            near.iter().for_each(|(peer, position)| ring.learn(call, *peer, position, out));
        });
    }

    fn order_due(&self, common: &Common) -> Instant {
        self.order.as_ref().map_or(Instant::FAR, |order| order.next_timeout(&common.tman).at)
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        let cores = self.cyclon.next_timeout(&common.membership).at.min(self.order_due(common));
        let ring = self.ring.next_timeout(&common.ring).at;
        Wake::new(cores.min(ring).min(self.broadcast.next_timeout(&common.broadcast).at), "one of its cores")
    }

    /// Nobody tells.
    fn handle_gone(&mut self, _: Call<'_, Common>, _: Handle) {}

    fn for_each_handle(&self, _: &mut dyn FnMut(Handle)) {}
}

impl Driven<Post<'_, Node>> for Node {
    /// Faults of the cores are what late answers are.
    fn handle_message(
        &mut self,
        call: Call<'_, Common>,
        from: Handle,
        message: Message,
        out: &mut Post<'_, Node>,
    ) -> Result<(), ()> {
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Shuffling(out));
            }
            Message::Order(message) => self.with_order(call, out, |order, call, out| {
                let _ = order.handle_message(call, from, *message, out);
            }),
            Message::Ring(message) => self.with_ring(call, out, |ring, call, out| {
                let _ = ring.handle_message(call, from, *message, out);
            }),
            Message::Broadcast(message) => self.with_broadcast(call, out, |core, call, out| {
                let _ = core.handle_message(call, from, *message, out);
            }),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        if self.cyclon.next_timeout(&call.config.membership).at <= call.now {
            self.cyclon.handle_timeout(call.narrow(|common| &common.membership), &mut Shuffling(out));
        }
        if self.order_due(call.config) <= call.now {
            self.with_order(call, out, |order, call, out| order.handle_timeout(call, out));
        }
        if self.ring.next_timeout(&call.config.ring).at <= call.now {
            self.with_ring(call, out, |ring, call, out| ring.handle_timeout(call, out));
        }
        if self.broadcast.next_timeout(&call.config.broadcast).at <= call.now {
            self.with_broadcast(call, out, |core, call, out| core.handle_timeout(call, out));
        }
    }
}

impl Member for Node {
    type Event = broadcast::Event;

    /// As in the product.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Order(message) => message.travel().plane,
            Message::Ring(message) => message.travel().plane,
            Message::Broadcast(message) => message.travel().plane,
        }
    }
}
