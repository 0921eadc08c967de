//! One node: the partial view, T-Man on it, the ring on both, and the counting on the ring.

use xtreem_base::{
    Call, Core, Driven, Duration, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake,
};
use xtreem_membership::Cyclon;
use xtreem_overlay::ranks::sums::{self, Sums};
use xtreem_overlay::ring::{self, Host, Ring};
use xtreem_overlay::tman::{self, Side, TMan};
use xtreem_overlay::{Key, Position, Range};

use crate::arena::{Member, Post};

/// Nearest peers that T-Man hands to the ring.
const HANDED: usize = ring::SUCCESSORS_MAX;

/// What all nodes share.
#[derive(Default)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    pub(super) tman: tman::Config,
    pub(super) ring: ring::Config,
    pub(super) sums: sums::Config,
}

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Order(Box<tman::Message<Position>>),
    Ring(Box<ring::Message>),
    Sums(Box<sums::Message>),
}

/// The world asks the nodes themselves.
pub(super) struct Told;

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    order: Option<Box<TMan<tman::Ring>>>,
    pub(super) ring: Box<Ring>,
    pub(super) sums: Box<Sums>,
    /// Messages of the counting that it sent.
    pub(super) sent: u64,
}

/// Who lives behind a handle.
pub(super) fn id_of(handle: Handle) -> NodeId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&xtreem_base::mix(u64::from(handle.as_u32()) + 1).to_be_bytes());
    bytes[8..12].copy_from_slice(&handle.as_u32().to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// The sink of all cores of a node.
struct Out<'a, 'b> {
    post: &'a mut Post<'b, Node>,
    /// None while the partial view itself speaks.
    cyclon: Option<&'a mut Cyclon>,
    is_nearest_new: bool,
    silent: Vec<Handle>,
    sent: u64,
}

impl<'a, 'b> Out<'a, 'b> {
    fn new(post: &'a mut Post<'b, Node>, cyclon: Option<&'a mut Cyclon>) -> Self {
        Out { post, cyclon, is_nearest_new: false, silent: Vec::new(), sent: 0 }
    }
}

impl Sink<xtreem_membership::Message> for Out<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.post.send(to, Message::Grid(message));
    }
}

impl Sink<tman::Message<Position>> for Out<'_, '_> {
    fn send(&mut self, to: Handle, message: tman::Message<Position>) {
        self.post.send(to, Message::Order(message.into()));
    }
}

impl Sink<ring::Message> for Out<'_, '_> {
    fn send(&mut self, to: Handle, message: ring::Message) {
        self.post.send(to, Message::Ring(message.into()));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl Sink<sums::Message> for Out<'_, '_> {
    fn send(&mut self, to: Handle, message: sums::Message) {
        self.sent += 1;
        self.post.send(to, Message::Sums(message.into()));
    }
}

impl Sampler for Out<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.as_mut()?.fresh_peer()
    }
}

impl Events<tman::Event> for Out<'_, '_> {
    fn event(&mut self, _: tman::Event) {
        self.is_nearest_new = true;
    }
}

/// Who comes next is asked after each call.
impl Events<ring::Event> for Out<'_, '_> {
    fn event(&mut self, _: ring::Event) {}
}

impl Events<sums::Event> for Out<'_, '_> {
    fn event(&mut self, _: sums::Event) {}
}

/// Nothing lies on this ring.
impl Host for Out<'_, '_> {
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

impl Node {
    /// A node that knows nobody and stands nowhere yet. `place`: where it will stand.
    pub(super) fn new(common: &Common, handle: Handle, place: u64, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            order: None,
            ring: Ring::new(id_of(handle), handle, stream("ring")).into(),
            sums: Sums::new(&common.sums, handle, Some(place), None, stream("sums"), now).into(),
            sent: 0,
        }
    }

    /// Comes through one that is there.
    pub(super) fn join(&mut self, call: Call<'_, Common>, introducer: Handle, post: &mut Post<'_, Node>) {
        let config = call.narrow(|common| &common.membership);
        self.cyclon.join(config, introducer, &mut Out::new(post, None));
    }

    /// Takes its place, whatever there is around it.
    pub(super) fn stand(&mut self, call: Call<'_, Common>, place: u64) {
        let key = Key::from_bytes(&[&[1][..], &place.to_be_bytes()].concat()).expect("nine bytes");
        let position = Position::new(key, id_of(self.handle));
        self.ring.stand(call.narrow(|common| &common.ring), position.clone());
        let rng = Rng::derive(call.config.seed, u64::from(self.handle.as_u32()), "order");
        let tman = TMan::new(&call.config.tman, tman::Ring, self.handle, position, rng, call.now);
        self.order = Some(tman.into());
    }

    pub(super) fn number_anew(&mut self, call: Call<'_, Common>, post: &mut Post<'_, Node>) {
        self.with_sums(call, post, |sums, call, out| sums.number_anew(call, out));
    }

    fn with_ring(
        &mut self,
        call: Call<'_, Common>,
        post: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Ring, Call<'_, ring::Config>, &mut Out<'_, '_>),
    ) {
        let mut out = Out::new(post, Some(&mut self.cyclon));
        f(&mut self.ring, call.narrow(|common| &common.ring), &mut out);
        let silent = out.silent;
        if let Some(order) = &mut self.order {
            silent.iter().for_each(|peer| order.handle_silent(call.narrow(|common| &common.tman), *peer));
        }
        let (own, first) = (self.ring.position().cloned(), self.ring.successors().first().cloned());
        self.with_sums(call, post, |sums, call, out| {
            sums.handle_ring(call, own.as_ref(), first.as_ref(), out);
        });
    }

    fn with_order(
        &mut self,
        call: Call<'_, Common>,
        post: &mut Post<'_, Node>,
        f: impl FnOnce(&mut TMan<tman::Ring>, Call<'_, tman::Config>, &mut Out<'_, '_>),
    ) {
        let Some(order) = &mut self.order else { return };
        let mut out = Out::new(post, Some(&mut self.cyclon));
        f(order, call.narrow(|common| &common.tman), &mut out);
        if !out.is_nearest_new {
            return;
        }
        let near: Vec<(Handle, Position)> =
            order.neighbours(Side::After).take(HANDED).map(|it| (it.handle, it.profile.clone())).collect();
        self.with_ring(call, post, |ring, call, out| {
            near.iter().for_each(|(peer, position)| ring.learn(call, *peer, position, out));
        });
    }

    fn with_sums(
        &mut self,
        call: Call<'_, Common>,
        post: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Sums, Call<'_, sums::Config>, &mut Out<'_, '_>),
    ) {
        let mut out = Out::new(post, None);
        f(&mut self.sums, call.narrow(|common| &common.sums), &mut out);
        self.sent += out.sent;
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
        let views = self.cyclon.next_timeout(&common.membership).at.min(self.order_due(common));
        let rings = self.ring.next_timeout(&common.ring).at.min(self.sums.next_timeout(&common.sums).at);
        Wake::new(views.min(rings), "one of its cores")
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
        post: &mut Post<'_, Node>,
    ) -> Result<(), ()> {
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Out::new(post, None));
            }
            Message::Order(message) => self.with_order(call, post, |order, call, out| {
                let _ = order.handle_message(call, from, *message, out);
            }),
            Message::Ring(message) => self.with_ring(call, post, |ring, call, out| {
                let _ = ring.handle_message(call, from, *message, out);
            }),
            Message::Sums(message) => self.with_sums(call, post, |sums, call, out| {
                let _ = sums.handle_message(call, from, *message, out);
            }),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Common>, post: &mut Post<'_, Node>) {
        if self.cyclon.next_timeout(&call.config.membership).at <= call.now {
            let config = call.narrow(|common| &common.membership);
            self.cyclon.handle_timeout(config, &mut Out::new(post, None));
        }
        if self.order_due(call.config) <= call.now {
            self.with_order(call, post, |order, call, out| order.handle_timeout(call, out));
        }
        if self.ring.next_timeout(&call.config.ring).at <= call.now {
            self.with_ring(call, post, |ring, call, out| ring.handle_timeout(call, out));
        }
        if self.sums.next_timeout(&call.config.sums).at <= call.now {
            self.with_sums(call, post, |sums, call, out| sums.handle_timeout(call, out));
        }
    }
}

impl Member for Node {
    type Event = Told;

    /// As in the product.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Order(message) => message.travel().plane,
            Message::Ring(message) => message.travel().plane,
            Message::Sums(message) => message.travel().plane,
        }
    }
}

/// A round: the ring's period, which is the counting's, too.
pub(super) fn period(common: &Common) -> Duration {
    common.ring.period
}
