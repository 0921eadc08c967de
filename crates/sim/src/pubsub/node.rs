//! One node: the partial view, the ring with its store, and what carries events on both.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::BytesMut;
use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake};
use xtreem_membership::Cyclon;
use xtreem_overlay::broadcast::BroadcastId;
use xtreem_overlay::overlay::{self, Host, Overlay};
use xtreem_overlay::store::{self, Failed, Operation, RequestId, SCANNED_MAX, Success, Value, end_of_prefix};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::relay::{self, Action, Answer, Failure, Item, Relay, Server, Space, What};
use xtreem_pubsub::{EventWriter, HashId, Pattern};

use super::courier::{Courier, Lent, Line, event_of};
use super::gossip::{self, Gossip};
use super::reverse::{self, Reverse};
use super::watch::Watch;
use super::{Tree, reverse::key as key_of_topic};
use crate::arena::{Member, Post, slot_of};

/// The topic of this world.
const TOPIC: &str = "hot/topic";
/// Copies of each item beside its owner's, as the agent has it.
const COPIES: u8 = 2;
/// Messages that a paused machine keeps in its sockets; more are lost.
const BACKLOG_MAX: usize = 4_096;

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Ring(Box<overlay::Message>),
    Line(Box<Line>),
    Reverse(reverse::Message),
    Gossip(Box<gossip::Message>),
}

/// The numbers of all protocols, and the one who sees all.
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) tree: Tree,
    pub(super) membership: xtreem_membership::Config,
    pub(super) overlay: overlay::Config,
    pub(super) watch: RefCell<Watch>,
}

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    pub(super) overlay: Box<Overlay>,
    pub(super) relay: Box<Relay>,
    courier: Courier,
    asked: BTreeMap<RequestId, u64>,
    reverse: Reverse,
    gossip: Gossip,
    /// Somebody here subscribes; since when nobody does any more.
    pub(super) is_wanted: bool,
    cancelled: Option<Instant>,
    pub(super) paused_until: Instant,
    backlog: Vec<(Handle, Message)>,
    /// When it was called last: what is due since then is due now.
    called: Instant,
}

/// Who lives in a slot. A server that starts anew is the same.
pub(super) fn id_of(handle: Handle) -> NodeId {
    let slot = slot_of(handle);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&xtreem_base::mix(u64::from(slot) + 1).to_be_bytes());
    bytes[8..12].copy_from_slice(&slot.to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn server_of(handle: Handle) -> Server {
    let ip = std::net::Ipv4Addr::from(handle.as_u32());
    Server { id: id_of(handle), incarnation: (handle.as_u32() >> 24) + 1, addr: (ip, 7227).into() }
}

pub(super) fn topic() -> Pattern<'static> {
    // It is one.
    Pattern::new(TOPIC).expect("a topic")
}

/// The sink of the partial view.
struct Shuffling<'a, 'b>(&'a mut Post<'b, Node>);

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.0.send(to, Message::Grid(message));
    }
}

/// The sink of the ring, which meets members of the partial view.
struct Ringing<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    common: &'a Common,
    done: Vec<(RequestId, Result<Success, Failed>)>,
}

impl Sink<overlay::Message> for Ringing<'_, '_> {
    fn send(&mut self, to: Handle, message: overlay::Message) {
        if matches!(message, overlay::Message::Store(_)) {
            let count = &mut self.common.watch.borrow_mut().count;
            count.store += 1;
            count.control += 1;
        }
        self.out.send(to, Message::Ring(message.into()));
    }
}

impl Sampler for Ringing<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

impl Events<overlay::Event> for Ringing<'_, '_> {
    fn event(&mut self, event: overlay::Event) {
        if let overlay::Event::Store(store::Event::Done { request, result }) = event {
            self.done.push((request, result));
        }
    }
}

impl Host for Ringing<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    fn site_of(&self, _: Handle) -> Option<u64> {
        None
    }

    fn may_broadcast(&self, _: BroadcastId, _: &Value) -> bool {
        false
    }
}

impl Node {
    /// A node that knows nobody and stands nowhere.
    pub(super) fn new(common: &Common, handle: Handle, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        let mut key = [0; 32];
        key[..8].copy_from_slice(&stream("relay").next_u64().to_be_bytes());
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            overlay: Overlay::new(&common.overlay, id_of(handle), handle, stream("ring"), now).into(),
            relay: Relay::new(server_of(handle), key).into(),
            courier: Courier::default(),
            asked: BTreeMap::new(),
            reverse: Reverse::default(),
            gossip: Gossip::new(stream("gossip")),
            is_wanted: false,
            cancelled: None,
            paused_until: Instant::ZERO,
            backlog: Vec::new(),
            called: now,
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    /// Stands at a random key, whether there is a ring or not.
    pub(super) fn stand(&mut self, call: Call<'_, Common>) {
        let mut rng = Rng::derive(call.config.seed, u64::from(self.handle.as_u32()), "place");
        // Eight bytes and the namespace.
        let key = Key::new(Namespace::USER, &rng.next_u64().to_be_bytes()).expect("a short key");
        self.overlay.stand(call.narrow(|common| &common.overlay), key);
    }

    /// Comes through another; the ring follows by itself.
    pub(super) fn join(&mut self, call: Call<'_, Common>, introducer: Handle, out: &mut Post<'_, Node>) {
        self.cyclon.join(call.narrow(|common| &common.membership), introducer, &mut Shuffling(out));
    }

    pub(super) fn begin_gossip(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        self.gossip.begin(call.now);
        self.flush_gossip(call, out);
    }

    /// Only of patterns that mean this world's topic anything is expected.
    pub(super) fn subscribe(
        &mut self,
        call: Call<'_, Common>,
        pattern: &Pattern<'static>,
        out: &mut Post<'_, Node>,
    ) {
        if pattern.overlaps(&topic()) {
            call.config.watch.borrow_mut().asked(call.now, self.handle);
            (self.is_wanted, self.cancelled) = (true, None);
        }
        match call.config.tree {
            Tree::List => {
                self.relay.wanted(call.now, pattern);
                self.pump(call, out);
            }
            Tree::Reverse => {
                self.reverse.is_member = true;
                self.with_reverse(call, out, |core, now, next, out| core.refresh(now, next, out));
            }
            Tree::Gossip => call.config.watch.borrow_mut().answered(call.now, self.handle),
        }
    }

    pub(super) fn cancel(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        self.cancelled = Some(call.now);
        call.config.watch.borrow_mut().cancelled(call.now, self.handle);
        self.relay.unwanted(topic());
        self.pump(call, out);
    }

    /// It is cancelled, and may be subscribed to anew.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    pub(super) fn publish(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let number = call.config.watch.borrow_mut().published(call.now, self.handle);
        match call.config.tree {
            Tree::List => {
                let topic = topic().into();
                if self.relay.is_wanted(call.now, &topic) {
                    let mut bytes = BytesMut::new();
                    let payload = format!("#:{number:010}");
                    EventWriter::new(&topic).write(
                        &mut bytes,
                        HashId(number.into()),
                        None,
                        payload.as_bytes(),
                    );
                    self.relay.publish(call.now, &topic, &bytes.freeze(), 1);
                }
                self.pump(call, out);
            }
            Tree::Reverse => {
                self.with_reverse(call, out, |core, now, next, out| core.publish(now, number, next, out));
            }
            Tree::Gossip => {
                self.gossip.publish(call.now, number);
                self.flush_gossip(call, out);
            }
        }
    }

    fn with_overlay<R>(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Overlay, Call<'_, overlay::Config>, &mut Ringing<'_, '_>) -> R,
    ) -> R {
        let mut lent = Ringing { out, cyclon: &mut self.cyclon, common: call.config, done: Vec::new() };
        let result = f(&mut self.overlay, call.narrow(|common| &common.overlay), &mut lent);
        for (request, done) in lent.done {
            let Some(request) = self.asked.remove(&request) else { continue };
            self.relay.handle_done(call.now, request, answer(done));
        }
        result
    }

    fn with_courier(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Courier, &mut Lent<'_>),
    ) {
        let mut watch = call.config.watch.borrow_mut();
        let mut lent = Lent {
            now: call.now,
            own: server_of(self.handle),
            handle: self.handle,
            relay: &mut self.relay,
            watch: &mut watch,
            is_wanted: self.is_wanted,
            cancelled: self.cancelled,
            out: &mut |to, line| out.send(to, Message::Line(line.into())),
        };
        f(&mut self.courier, &mut lent);
    }

    /// Does what the relay asks for.
    fn pump(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        self.called = call.now;
        while let Some(action) = self.relay.next_action() {
            match action {
                Action::Ring(request, what) => {
                    let operation = operation(what, &server_of(self.handle));
                    match self.with_overlay(call, out, |core, call, out| core.begin(call, operation, out)) {
                        Ok(begun) => drop(self.asked.insert(begun, request)),
                        Err(_) => self.relay.handle_done(call.now, request, Err(Failure::Unanswered)),
                    }
                }
                Action::Call(peer) => {
                    self.with_courier(call, out, |courier, lent| courier.call(lent, peer.id));
                }
                Action::Taken(peer, number) => {
                    self.with_courier(call, out, |courier, lent| courier.acknowledge(lent, peer, number));
                }
                Action::Deliver(arrival) => {
                    let event = event_of(&arrival.plain);
                    if let Some(event) = event.filter(|_| self.is_wanted && self.cancelled.is_none()) {
                        call.config.watch.borrow_mut().heard(call.now, event, self.handle);
                    }
                }
                // No groups are played.
                Action::Share(_) => {}
                Action::Answer(_, answer) => {
                    let since = match answer {
                        Answer::Done => Some(call.now),
                        // What is published elsewhere comes later.
                        Answer::Late => Some(call.now + relay::LEASE),
                        Answer::Refused(_) => None,
                    };
                    if let Some(since) = since {
                        call.config.watch.borrow_mut().answered(since, self.handle);
                    }
                }
            }
        }
    }

    fn with_reverse(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Reverse, Instant, reverse::Next<'_>, &mut reverse::Out),
    ) {
        let ring = self.overlay.ring();
        let next =
            |avoided: &dyn Fn(Handle) -> bool| reverse::next_hop(ring, &key_of_topic(), call.now, avoided);
        let mut told = reverse::Out::default();
        f(&mut self.reverse, call.now, &next, &mut told);
        let mut watch = call.config.watch.borrow_mut();
        for (to, message) in told.sent {
            match message {
                reverse::Message::Event { .. } => watch.count.payloads += 1,
                _ => watch.count.control += 1,
            }
            out.send(to, Message::Reverse(message));
        }
        if told.is_joined {
            watch.answered(call.now, self.handle);
        }
    }

    fn flush_gossip(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let mut watch = call.config.watch.borrow_mut();
        for (to, message) in self.gossip.take() {
            match message {
                gossip::Message::Event { .. } => watch.count.payloads += 1,
                _ => watch.count.control += 1,
            }
            out.send(to, Message::Gossip(message.into()));
        }
    }

    fn deliver(&mut self, call: Call<'_, Common>, from: Handle, message: Message, out: &mut Post<'_, Node>) {
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Shuffling(out));
            }
            Message::Ring(message) => self.with_overlay(call, out, |core, call, out| {
                let _ = core.handle_message(call, from, *message, out);
            }),
            Message::Line(line) => {
                let peer = id_of(from);
                self.with_courier(call, out, |courier, lent| courier.hear(lent, from, peer, *line));
            }
            Message::Reverse(message) => {
                let mut new = None;
                if let reverse::Message::Event { number, .. } = message {
                    let mut watch = call.config.watch.borrow_mut();
                    watch.came(number, from, self.handle, self.is_wanted);
                    new = Some(number).filter(|number| self.is_wanted && self.reverse.is_new(*number));
                }
                self.with_reverse(call, out, |core, now, next, out| {
                    core.handle(now, from, message, next, out)
                });
                // On its way up it is heard by the topic's owner only.
                if let Some(number) = new.filter(|number| !self.reverse.is_new(*number)) {
                    call.config.watch.borrow_mut().heard(call.now, number, self.handle);
                }
            }
            Message::Gossip(message) => {
                if let gossip::Message::Event { number, .. } = *message {
                    let mut watch = call.config.watch.borrow_mut();
                    watch.came(number, from, self.handle, self.is_wanted);
                    if self.is_wanted && self.gossip.is_new(number) {
                        watch.heard(call.now, number, self.handle);
                    }
                }
                self.gossip.handle(call.now, from, *message);
                self.flush_gossip(call, out);
            }
        }
    }

    /// When what carries events is called next.
    fn carrying_due(&self, common: &Common) -> Instant {
        match common.tree {
            Tree::List => {
                let relay = self.relay.next_timeout().unwrap_or(Instant::FAR);
                relay.min(self.courier.next_timeout(&self.relay))
            }
            Tree::Reverse => self.reverse.next_timeout(),
            Tree::Gossip => self.gossip.next_timeout(),
        }
    }

    fn carry(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        match call.config.tree {
            Tree::List => {
                self.relay.handle_timeout(call.now);
                self.with_courier(call, out, |courier, lent| courier.handle_timeout(lent));
            }
            Tree::Reverse => {
                self.with_reverse(call, out, |core, now, next, out| core.handle_timeout(now, next, out));
            }
            Tree::Gossip => {
                let peer = self.cyclon.fresh_peer();
                self.gossip.handle_timeout(call.now, peer);
                self.flush_gossip(call, out);
            }
        }
    }
}

fn answer(done: Result<Success, Failed>) -> Result<Vec<Item>, Failure> {
    let item = |found: store::Found| Item {
        key: found.key.as_bytes().get(1..).unwrap_or_default().to_vec(),
        value: found.value.as_bytes().to_vec(),
        writer: found.writer,
    };
    match done {
        Ok(Success::Scanned { found, .. }) => Ok(found.into_iter().map(item).collect()),
        Ok(_) => Ok(Vec::new()),
        Err(Failed::Refused(refused)) => Err(Failure::Refused(refused.to_string())),
        Err(_) => Err(Failure::Unanswered),
    }
}

/// As the agent asks the ring.
fn operation(what: What, own: &Server) -> Operation {
    let (space, name) = match &what {
        What::Put(space, pattern) | What::Remove(space, pattern) => (*space, relay::key_of(pattern, own.id)),
        What::Scan(space, section) => (*space, section.from.clone()),
    };
    let (namespace, lease) = match space {
        Space::Subscribers => (Namespace::SUBSCRIBERS, relay::LEASE),
        Space::Publishers => (Namespace::PUBLISHERS, relay::HOLD),
    };
    // This world's topic is short.
    let key = |name: &[u8]| Key::new(namespace, name).expect("a short key");
    let write = |value| store::Action::Write { value, degree: COPIES, lease, expected: None };
    let action = match what {
        What::Put(_, pattern) => write(Value::new(&Item::new(&pattern, own).value).ok()),
        What::Remove(..) => write(None),
        What::Scan(_, section) => {
            let hi = section.to.map_or_else(|| end_of_prefix(&key(b"")), |to| Some(key(&to)));
            store::Action::Scan { hi, limit: SCANNED_MAX as u16 }
        }
    };
    Operation { key: key(&name), action }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        let grid = self.cyclon.next_timeout(&common.membership).at;
        let ring = self.overlay.next_timeout(&common.overlay).at;
        let at = grid.min(ring).min(self.carrying_due(common));
        Wake::new(at.max(self.paused_until).max(self.called), "one of its cores")
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
        if call.now < self.paused_until {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push((from, message));
            }
            return Ok(());
        }
        self.deliver(call, from, message, out);
        self.pump(call, out);
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
        if self.overlay.next_timeout(&call.config.overlay).at <= call.now {
            self.with_overlay(call, out, |core, call, out| core.handle_timeout(call, out));
        }
        if self.carrying_due(call.config) <= call.now {
            self.carry(call, out);
        }
        self.pump(call, out);
    }
}

impl Member for Node {
    type Event = ();

    /// As in the product. What a stream needs besides, the courier makes.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Ring(message) => message.travel().plane,
            Message::Line(_) | Message::Reverse(_) | Message::Gossip(_) => Plane::Stream,
        }
    }
}
