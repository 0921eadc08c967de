//! One node: the partial view, T-Man on it, the ring on both, and a machine that may pause.

use xtreem_base::{
    Call, Core, Driven, Duration, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake,
};
use xtreem_membership::Cyclon;
use xtreem_overlay::ring::{self, Event, Host, LookupId, Owner, Ring};
use xtreem_overlay::tman::{self, Side, TMan};
use xtreem_overlay::{Key, Position, Range};

use super::common::Common;
use crate::arena::{Member, Post};

/// Messages that a paused machine keeps in its sockets; more are lost.
const BACKLOG_MAX: usize = 4_096;
/// Nearest peers that T-Man hands to the ring.
const HANDED: usize = ring::SUCCESSORS_MAX;

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Order(Box<tman::Message<Position>>),
    Ring(Box<ring::Message>),
}

/// What the world is told.
pub(super) enum Told {
    Found { lookup: LookupId, owner: Owner },
    NotFound { lookup: LookupId },
}

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    /// Once it stands somewhere.
    order: Option<Box<TMan<tman::Ring>>>,
    pub(super) ring: Box<Ring>,
    rng: Rng,
    pub(super) paused_until: Instant,
    backlog: Vec<(Handle, Message)>,
    /// It does not hear that one until then.
    pub(super) deaf: Option<(Handle, Instant)>,
}

/// Who lives behind a handle.
pub(super) fn id_of(handle: Handle) -> NodeId {
    let mut bytes = [0; 16];
    let number = handle.as_u32();
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
    common: &'a Common,
    is_nearest_new: bool,
    /// It said that it owns what it was asked for.
    has_answered: bool,
    has_left: bool,
    silent: Vec<Handle>,
}

impl<'a, 'b> Sampling<'a, 'b> {
    fn new(out: &'a mut Post<'b, Node>, cyclon: &'a mut Cyclon, common: &'a Common) -> Self {
        Sampling {
            out,
            cyclon,
            common,
            is_nearest_new: false,
            has_answered: false,
            has_left: false,
            silent: Vec::new(),
        }
    }
}

impl Sink<tman::Message<Position>> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: tman::Message<Position>) {
        self.out.send(to, Message::Order(message.into()));
    }
}

impl Sink<ring::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: ring::Message) {
        self.has_answered |= matches!(message, ring::Message::Owned { .. });
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

impl Events<Event> for Sampling<'_, '_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Found { lookup, owner } => self.out.event(Told::Found { lookup, owner }),
            Event::NotFound { lookup } => self.out.event(Told::NotFound { lookup }),
            Event::Left => self.has_left = true,
            _ => {}
        }
    }
}

impl Host for Sampling<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn load(&self, range: &Range) -> u64 {
        self.common.items.load(range)
    }

    fn middle(&self, range: &Range) -> Option<Key> {
        self.common.items.middle(range)
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
            ring: if common.is_chord {
                Ring::chord(id_of(handle), handle, stream("ring")).into()
            } else {
                Ring::new(id_of(handle), handle, stream("ring")).into()
            },
            rng: stream("node"),
            paused_until: Instant::ZERO,
            backlog: Vec::new(),
            deaf: None,
        }
    }

    /// Stands at a key of its own, whether there is a ring or not.
    pub(super) fn stand(&mut self, call: Call<'_, Common>) {
        let (key, handle) = (call.config.items.key(&mut self.rng), self.handle);
        self.ring.stand(call.narrow(|common| common.ring(handle)), Position::new(key, id_of(self.handle)));
        self.follow_position(call);
    }

    /// Is the first of the grid.
    pub(super) fn found(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let key = call.config.items.key(&mut self.rng);
        let position = Position::new(key, id_of(self.handle));
        self.with_ring(call, out, |ring, call, out| ring.found(call, position, out));
    }

    /// Comes to a grid that is there, through one of its nodes.
    pub(super) fn join(&mut self, call: Call<'_, Common>, introducer: Handle, out: &mut Post<'_, Node>) {
        self.cyclon.join(call.narrow(|common| &common.membership), introducer, &mut Shuffling(out));
        self.come(call, out);
    }

    /// Takes a place by load.
    pub(super) fn come(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let key = call.config.items.key(&mut self.rng);
        self.with_ring(call, out, |ring, call, out| ring.join(call, key, out));
    }

    /// Starts a lookup; none when there are too many.
    pub(super) fn lookup(
        &mut self,
        call: Call<'_, Common>,
        target: Position,
        out: &mut Post<'_, Node>,
    ) -> Option<LookupId> {
        let is_own =
            self.ring.lease().is_some_and(|it| it.is_valid(call.now) && it.range().contains(&target));
        if is_own {
            call.config.note_answer(call.now, self.handle, self.handle, &target);
        }
        self.with_ring(call, out, |ring, call, out| ring.lookup(call, target, out)).ok()
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    /// Does not hear its successor for a while, and is told that it is dead.
    pub(super) fn suspect_first(&mut self, call: Call<'_, Common>, span: Duration, out: &mut Post<'_, Node>) {
        let Some(first) = self.ring.successors().first().map(|it| it.handle) else { return };
        self.deaf = Some((first, call.now + span));
        self.with_ring(call, out, |ring, call, _| ring.handle_silent(call, first));
    }

    /// Hands its range on and comes back as a newcomer.
    pub(super) fn leave(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        if self.ring.is_owner(call.now) {
            self.with_ring(call, out, |ring, call, out| ring.leave(call, out));
        }
    }

    fn with_ring<R>(
        &mut self,
        call: Call<'_, Common>,
        post: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Ring, Call<'_, ring::Config>, &mut Sampling<'_, '_>) -> R,
    ) -> R {
        let handle = self.handle;
        let mut out = Sampling::new(post, &mut self.cyclon, call.config);
        let result = f(&mut self.ring, call.narrow(|common| common.ring(handle)), &mut out);
        let (silent, has_left) = (out.silent, out.has_left);
        let is_owner = self.ring.is_owner(call.now);
        if let Some(order) = &mut self.order {
            silent
                .iter()
                .for_each(|peer| order.handle_silent(call.narrow(|common| common.order(is_owner)), *peer));
        }
        self.follow_position(call);
        call.config.time.set(call.now);
        call.config.note_lease(self.handle, self.ring.lease());
        if has_left && self.ring.position().is_none() && !self.ring.is_joining() {
            // Where it comes back is drawn anew.
            self.come(call, post);
        }
        result
    }

    /// T-Man works for the place where the ring stands.
    fn follow_position(&mut self, call: Call<'_, Common>) {
        let is_owner = self.ring.is_owner(call.now);
        let config = call.narrow(|common| common.order(is_owner));
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
        f: impl FnOnce(&mut TMan<tman::Ring>, Call<'_, tman::Config>, &mut Sampling<'_, '_>),
    ) {
        let is_owner = self.ring.is_owner(call.now);
        let Some(order) = &mut self.order else { return };
        let mut sink = Sampling::new(out, &mut self.cyclon, call.config);
        f(order, call.narrow(|common| common.order(is_owner)), &mut sink);
        if !sink.is_nearest_new {
            return;
        }
        let near: Vec<(Handle, Position)> =
            order.neighbours(Side::After).take(HANDED).map(|it| (it.handle, it.profile.clone())).collect();
        self.with_ring(call, out, |ring, call, out| {
            near.iter().for_each(|(peer, position)| ring.learn(call, *peer, position, out));
        });
    }

    /// Fingers are taken from whatever T-Man shows.
    fn see_all(
        &mut self,
        call: Call<'_, Common>,
        peers: &[tman::Descriptor<Position>],
        out: &mut Post<'_, Node>,
    ) {
        self.with_ring(call, out, |ring, call, out| {
            peers.iter().for_each(|peer| ring.learn(call, peer.handle, &peer.profile, out));
        });
    }

    fn deliver(&mut self, call: Call<'_, Common>, from: Handle, message: Message, out: &mut Post<'_, Node>) {
        if self.deaf.is_some_and(|(peer, until)| peer == from && call.now < until) {
            return;
        }
        // Faults of the cores are what late answers are.
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Shuffling(out));
            }
            Message::Order(message) => {
                if call.config.is_chord {
                    self.see_all(call, &message.peers, out);
                }
                self.with_order(call, out, |order, call, out| {
                    let _ = order.handle_message(call, from, *message, out);
                });
            }
            Message::Ring(message) => {
                let asked = match &*message {
                    ring::Message::Find { target, .. } => Some(target.clone()),
                    _ => None,
                };
                let has_answered = self.with_ring(call, out, |ring, call, out| {
                    let _ = ring.handle_message(call, from, *message, out);
                    out.has_answered
                });
                if let Some(target) = asked.filter(|_| has_answered) {
                    call.config.note_answer(call.now, from, self.handle, &target);
                }
            }
        }
    }

    fn order_due(&self, common: &Common) -> Instant {
        self.order.as_ref().map_or(Instant::FAR, |order| order.next_timeout(common.order(false)).at)
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        let cores = self.cyclon.next_timeout(&common.membership).at.min(self.order_due(common));
        let at = cores.min(self.ring.next_timeout(common.ring(self.handle)).at);
        Wake::new(at.max(self.paused_until), "one of its cores")
    }

    /// Nobody tells.
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
        if self.ring.next_timeout(call.config.ring(self.handle)).at <= call.now {
            self.with_ring(call, out, |ring, call, out| ring.handle_timeout(call, out));
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
        }
    }
}
