//! One node: the partial view, T-Man on it, the ring on both, and the store on the ring.

use std::collections::VecDeque;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake};
use xtreem_membership::Cyclon;
use xtreem_overlay::ring::{self, LookupId, Ring};
use xtreem_overlay::store::{self, Operation, RequestId, Shelf, Store, Tenure};
use xtreem_overlay::tman::{self, Side, TMan};
use xtreem_overlay::{Key, Namespace, Position, Range};

use crate::arena::{Member, Post};

/// Messages that a paused machine keeps in its sockets; more are lost.
const BACKLOG_MAX: usize = 4_096;

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Order(Box<tman::Message<Position>>),
    Ring(Box<ring::Message>),
    Store(Box<store::Message>),
}

#[derive(Default)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    tman: tman::Config,
    pub(super) ring: ring::Config,
    pub(super) store: store::Config,
}

impl Common {
    pub(super) fn new(seed: u64) -> Self {
        Common { seed, ..Common::default() }
    }
}

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    /// Once it stands somewhere.
    order: Option<Box<TMan<tman::Ring>>>,
    pub(super) ring: Ring,
    pub(super) store: Store,
    rng: Rng,
    pub(super) paused_until: Instant,
    backlog: Vec<(Handle, Message)>,
}

/// Who lives behind a handle.
pub(super) fn id_of(handle: Handle) -> NodeId {
    NodeId::from_bytes((u128::from(handle.as_u32()) + 1).to_be_bytes())
}

struct Shuffling<'a, 'b>(&'a mut Post<'b, Node>);

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.0.send(to, Message::Grid(message));
    }
}

/// The sink of T-Man and of the ring.
struct Ringing<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    shelf: &'a Shelf,
    told: VecDeque<ring::Event>,
    is_nearest_new: bool,
    silent: Vec<Handle>,
}

impl<'a, 'b> Ringing<'a, 'b> {
    fn new(out: &'a mut Post<'b, Node>, cyclon: &'a mut Cyclon, shelf: &'a Shelf) -> Self {
        let (told, silent) = (VecDeque::new(), Vec::new());
        Ringing { out, cyclon, shelf, told, is_nearest_new: false, silent }
    }
}

impl Sink<tman::Message<Position>> for Ringing<'_, '_> {
    fn send(&mut self, to: Handle, message: tman::Message<Position>) {
        self.out.send(to, Message::Order(message.into()));
    }
}

impl Events<tman::Event> for Ringing<'_, '_> {
    fn event(&mut self, _: tman::Event) {
        self.is_nearest_new = true;
    }
}

impl Sink<ring::Message> for Ringing<'_, '_> {
    fn send(&mut self, to: Handle, message: ring::Message) {
        self.out.send(to, Message::Ring(message.into()));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl Sampler for Ringing<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

impl Events<ring::Event> for Ringing<'_, '_> {
    fn event(&mut self, event: ring::Event) {
        self.told.push_back(event);
    }
}

impl ring::Host for Ringing<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn load(&self, range: &Range) -> u64 {
        self.shelf.load(range)
    }

    fn middle(&self, range: &Range) -> Option<Key> {
        self.shelf.median(range)
    }
}

/// The sink of the store.
struct Storing<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    ring: &'a mut Ring,
    common: &'a Common,
    now: Instant,
    told: VecDeque<ring::Event>,
}

impl Sink<store::Message> for Storing<'_, '_> {
    fn send(&mut self, to: Handle, message: store::Message) {
        self.out.send(to, Message::Store(message.into()));
    }
}

impl Events<store::Event> for Storing<'_, '_> {
    fn event(&mut self, event: store::Event) {
        self.out.event(event);
    }
}

impl store::Host for Storing<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    fn site_of(&self, peer: Handle) -> Option<u64> {
        Some(u64::from(crate::arena::slot_of(peer)) % 6)
    }

    fn tenure(&self) -> Tenure {
        Tenure::of(self.ring)
    }

    fn look_up(&mut self, target: Position) -> Option<LookupId> {
        let shelf = Shelf::default();
        let mut out = Ringing::new(self.out, self.cyclon, &shelf);
        let lookup = self.ring.lookup(Call::new(&self.common.ring, self.now), target, &mut out).ok();
        self.told.extend(out.told);
        lookup
    }
}

impl Node {
    pub(super) fn new(common: &Common, handle: Handle, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            order: None,
            ring: Ring::new(id_of(handle), handle, stream("ring")),
            store: Store::new(handle, stream("store"), now),
            rng: stream("node"),
            paused_until: Instant::ZERO,
            backlog: Vec::new(),
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    fn any_key(&mut self) -> Key {
        Key::new(Namespace::USER, &self.rng.next_u64().to_be_bytes()).expect("short")
    }

    /// Is the first of the grid.
    pub(super) fn found(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let position = Position::new(self.any_key(), id_of(self.handle));
        self.with_ring(call, out, |ring, call, out| ring.found(call, position, out));
    }

    /// Comes through another.
    pub(super) fn join(&mut self, call: Call<'_, Common>, introducer: Handle, out: &mut Post<'_, Node>) {
        self.cyclon.join(call.narrow(|common| &common.membership), introducer, &mut Shuffling(out));
        let key = self.any_key();
        self.with_ring(call, out, |ring, call, out| ring.join(call, key, out));
    }

    pub(super) fn begin(
        &mut self,
        call: Call<'_, Common>,
        operation: Operation,
        out: &mut Post<'_, Node>,
    ) -> Option<RequestId> {
        self.with_store(call, out, |store, call, out| store.begin(call, operation, out).ok())
    }

    pub(super) fn load(
        &mut self,
        call: Call<'_, Common>,
        items: Vec<Operation>,
        out: &mut Post<'_, Node>,
    ) -> Option<RequestId> {
        self.with_store(call, out, |store, call, out| store.load(call, items, out).ok())
    }

    fn with_ring<R>(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Ring, Call<'_, ring::Config>, &mut Ringing<'_, '_>) -> R,
    ) -> R {
        let mut lent = Ringing::new(out, &mut self.cyclon, self.store.shelf());
        let result = f(&mut self.ring, call.narrow(|common| &common.ring), &mut lent);
        let (told, silent) = (lent.told, lent.silent);
        if let Some(order) = &mut self.order {
            silent.iter().for_each(|peer| order.handle_silent(call.narrow(|common| &common.tman), *peer));
        }
        self.follow_position(call);
        self.tell_store(call, told, out);
        result
    }

    /// T-Man works for the place where the ring stands.
    fn follow_position(&mut self, call: Call<'_, Common>) {
        let config = call.narrow(|common| &common.tman);
        match (self.ring.position(), &mut self.order) {
            (None, order) => *order = None,
            (Some(position), Some(order)) if order.profile() != position => {
                order.set_profile(config, position.clone());
            }
            (Some(_), Some(_)) => {}
            (Some(position), order) => {
                let rng = Rng::derive(self.rng.next_u64(), 0, "order");
                let tman = TMan::new(config.config, tman::Ring, self.handle, position.clone(), rng, call.now);
                *order = Some(tman.into());
            }
        }
    }

    fn with_order(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut TMan<tman::Ring>, Call<'_, tman::Config>, &mut Ringing<'_, '_>),
    ) {
        let Some(order) = &mut self.order else { return };
        let mut lent = Ringing::new(out, &mut self.cyclon, self.store.shelf());
        f(order, call.narrow(|common| &common.tman), &mut lent);
        if !lent.is_nearest_new {
            return;
        }
        let near = order.neighbours(Side::After).take(ring::SUCCESSORS_MAX);
        let near: Vec<(Handle, Position)> = near.map(|it| (it.handle, it.profile.clone())).collect();
        self.with_ring(call, out, |ring, call, out| {
            near.iter().for_each(|(peer, position)| ring.learn(call, *peer, position, out));
        });
    }

    fn order_due(&self, common: &Common) -> Instant {
        self.order.as_ref().map_or(Instant::FAR, |order| order.next_timeout(&common.tman).at)
    }

    fn with_store<R>(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Store, Call<'_, store::Config>, &mut Storing<'_, '_>) -> R,
    ) -> R {
        let (cyclon, ring, told) = (&mut self.cyclon, &mut self.ring, VecDeque::new());
        let mut lent = Storing { out, cyclon, ring, common: call.config, now: call.now, told };
        let result = f(&mut self.store, call.narrow(|common| &common.store), &mut lent);
        let told = lent.told;
        self.tell_store(call, told, out);
        result
    }

    fn tell_store(&mut self, call: Call<'_, Common>, told: VecDeque<ring::Event>, out: &mut Post<'_, Node>) {
        for event in told {
            self.with_store(call, out, |store, call, out| match event {
                ring::Event::Found { lookup, owner } => store.handle_found(call, lookup, &owner, out),
                ring::Event::NotFound { lookup } => store.handle_not_found(call, lookup, out),
                _ => store.handle_ring(call, out),
            });
        }
    }

    fn deliver(&mut self, call: Call<'_, Common>, from: Handle, message: Message, out: &mut Post<'_, Node>) {
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
            Message::Store(message) => self.with_store(call, out, |store, call, out| {
                let _ = store.handle_message(call, from, *message, out);
            }),
        }
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        let grid = self.cyclon.next_timeout(&common.membership).at;
        let ring = self.ring.next_timeout(&common.ring).at;
        let at = grid.min(ring).min(self.order_due(common)).min(self.store.next_timeout(&common.store).at);
        Wake::new(at.max(self.paused_until), "one of its cores")
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
        if call.now < self.paused_until {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push((from, message));
            }
            return Ok(());
        }
        self.deliver(call, from, message, out);
        Ok(())
    }

    /// A machine that goes on first finds what lies in its sockets.
    fn handle_timeout(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        for (from, message) in std::mem::take(&mut self.backlog) {
            self.deliver(call, from, message, out);
        }
        if self.cyclon.next_timeout(&call.config.membership).at <= call.now {
            self.cyclon.handle_timeout(call.narrow(|common| &common.membership), &mut Shuffling(out));
        }
        if self.order_due(call.config) <= call.now {
            self.with_order(call, out, |order, call, out| order.handle_timeout(call, out));
        }
        if self.ring.next_timeout(&call.config.ring).at <= call.now {
            self.with_ring(call, out, |ring, call, out| ring.handle_timeout(call, out));
        }
        if self.store.next_timeout(&call.config.store).at <= call.now {
            self.with_store(call, out, |store, call, out| store.handle_timeout(call, out));
        }
    }
}

impl Member for Node {
    type Event = store::Event;

    /// As in the product.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Order(message) => message.travel().plane,
            Message::Ring(message) => message.travel().plane,
            Message::Store(message) => message.travel().plane,
        }
    }
}
