//! The arena: partial view, trie and searches of every node, with typed messages and no codec.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xtreem_base::{Call, Core, Driven, Duration, Handle, Instant, Plane, Rng, Sampler, Sink};
use xtreem_discovery::schema::{Dimension, Scale, Schema};
use xtreem_discovery::trie::{self, Trie};
use xtreem_discovery::{Attributes, Number, SearchSpec};
use xtreem_membership::Cyclon;
use xtreem_membership::aggregation::{self, Aggregation, Bounds};

use super::data::{ATTRIBUTES, Machine, RANGE};
use super::search::{Lent, Searcher};
use super::sets;
use crate::agenda::Agenda;
use crate::link::{Latency, Link};
use crate::memory::{prefetch, prefetch_all, vec_on_huge_pages};

/// A handle is 24 bits of slot and 8 of incarnation, as in `sim membership`.
const SLOT_BITS: u32 = 24;
/// Ring predecessors that a node knows at the start.
const PREDECESSORS: u32 = 5;
/// A lost packet of a stream is sent again after so long: about twice the mean round trip.
const RESENT_AFTER: Duration = Duration::from_millis(300);
/// Bytes of a hint, the wire's form of a handle, for figures.
const HINT_BYTES: usize = 42;
/// Events before its own at which an event and its node are fetched into the cache, then its message, then the tables.
const AHEAD_EVENT: usize = 16;
const AHEAD_MESSAGE: usize = 8;
const AHEAD_TABLES: usize = 3;

pub fn slot_of(handle: Handle) -> u32 {
    handle.as_u32() & ((1 << SLOT_BITS) - 1)
}

enum Message {
    Grid(xtreem_membership::Message),
    Trie(Box<trie::Message>),
    /// With the visits, each waiting for the one before, that led to it.
    Search(Box<xtreem_discovery::Message>, u16),
    Aggregation(Box<aggregation::Message>),
}

enum Event {
    Timer,
    Deliver { from: Handle, to: Handle, message: Message },
}

pub struct Member {
    pub(super) handle: Handle,
    pub(super) cyclon: Cyclon,
    pub trie: Trie,
    pub aggregation: Aggregation,
    /// Its free disk space, see [`super::sets`].
    pub(super) free: u16,
    /// When these two have something to do: kept here, because looking it up takes memory of theirs.
    trie_due: Instant,
    aggregation_due: Instant,
    armed: Instant,
}

struct Network {
    link: Link,
    agenda: Agenda<Event>,
    bytes: u64,
    aggregation_bytes: u64,
}

pub(super) struct Sender<'a> {
    network: &'a mut Network,
    now: Instant,
    from: Handle,
    sent: u32,
}

impl Sender<'_> {
    pub(super) fn search(&mut self, to: Handle, message: xtreem_discovery::Message, depth: u16) {
        self.stream(to, Message::Search(message.into(), depth));
    }

    /// In a datagram when it fits, as in the product.
    fn aggregation(&mut self, to: Handle, message: aggregation::Message) {
        self.network.aggregation_bytes += message.wire_bytes() as u64;
        let plane = message.travel().plane;
        let message = Message::Aggregation(message.into());
        match plane {
            Plane::Datagram => self.post(to, message),
            Plane::Stream => self.stream(to, message),
        }
    }

    /// What the product sends on streams: what gets lost is sent again.
    fn stream(&mut self, to: Handle, message: Message) {
        let (from_slot, to_slot) = (slot_of(self.from), slot_of(to));
        let (now, mut wait) = (self.now, Duration::ZERO);
        let at = loop {
            self.sent += 1;
            if let Some(at) = self.network.link.carry(now, from_slot, to_slot, self.sent) {
                break at + wait;
            }
            wait = wait + RESENT_AFTER;
        };
        self.network.agenda.push(at, to_slot, from_slot, Event::Deliver { from: self.from, to, message });
    }

    fn post(&mut self, to: Handle, message: Message) {
        let (from_slot, to_slot) = (slot_of(self.from), slot_of(to));
        if let Some(at) = self.network.link.carry(self.now, from_slot, to_slot, self.sent) {
            self.network.agenda.push(at, to_slot, from_slot, Event::Deliver { from: self.from, to, message });
        }
        self.sent += 1;
    }
}

impl Sink<xtreem_membership::Message> for Sender<'_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.post(to, Message::Grid(message));
    }
}

/// The sink of cores that meet random nodes.
struct Sampling<'a, 'b> {
    sender: &'a mut Sender<'b>,
    cyclon: &'a mut Cyclon,
}

impl Sink<trie::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: trie::Message) {
        self.sender.network.bytes += message.wire_bytes(HINT_BYTES) as u64;
        self.sender.stream(to, Message::Trie(Box::new(message)));
    }
}

impl Sink<aggregation::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: aggregation::Message) {
        self.sender.aggregation(to, message);
    }
}

impl Sampler for Sampling<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

/// What a machine says of itself.
pub(super) fn attributes_of(machine: &Machine) -> Attributes {
    const NAMES: [&str; ATTRIBUTES] = ["a0", "a1", "a2", "a3", "a4", "a5"];
    let mut attributes = Attributes::new();
    for (name, value) in NAMES.iter().zip(machine) {
        attributes.set(name, u64::from(*value)).expect("a sound name and a small value");
    }
    attributes
}

/// Of every attribute.
pub(super) const SCALE: Scale = Scale::Linear {
    low: Number::from_thousandths(0),
    high: Number::from_thousandths((RANGE as i64 - 1) * 1_000),
};

/// The six attributes of all machines.
pub(super) fn schema() -> Schema {
    let dimension = |i| Dimension { name: format!("a{i}").into(), scale: SCALE };
    Schema::new(1, (0..ATTRIBUTES).map(dimension).collect(), [sets::dynamic()].into())
        .expect("six static attributes and a dynamic one with sound names")
}

pub struct World {
    pub seed: u64,
    fate: Rng,
    /// How values change.
    weather: Rng,
    membership: xtreem_membership::Config,
    config: trie::Config,
    aggregation: aggregation::Config,
    even: Arc<Bounds>,
    schema: Arc<Schema>,
    pub members: Vec<Member>,
    network: Network,
    pub(super) now: Instant,
    owed: u64,
    /// What the machine of each slot says of itself: whoever takes a slot over has the same machine, with other values of
    /// what changes.
    pub(super) attributes: Vec<Attributes>,
    /// Nodes that have searched, by slot.
    pub(super) searchers: BTreeMap<u32, Searcher>,
    /// Visits that each slot has had.
    pub visits: Vec<u32>,
    /// Nodes of even and of odd slots do not hear each other.
    pub is_split: bool,
}

impl World {
    pub fn new(machines: &[Machine], seed: u64, loss: f64) -> Self {
        let mut world = World {
            seed,
            fate: Rng::derive(seed, 0, "fate"),
            weather: Rng::derive(seed, 0, "weather"),
            membership: Default::default(),
            config: trie::Config::default(),
            aggregation: aggregation::Config::default(),
            even: Arc::new(Bounds::even(ATTRIBUTES)),
            schema: Arc::new(schema()),
            attributes: machines.iter().map(attributes_of).collect(),
            members: vec_on_huge_pages(machines.len()),
            network: Network {
                link: Link::new(seed, Latency::WORLD, (loss * 1e6) as u32),
                agenda: Agenda::default(),
                bytes: 0,
                aggregation_bytes: 0,
            },
            now: Instant::ZERO,
            owed: 0,
            searchers: BTreeMap::new(),
            visits: vec![0; machines.len()],
            is_split: false,
        };
        let nodes = machines.len() as u32;
        for slot in 0..nodes {
            let mut member = world.newborn(Handle::from_u32(slot));
            for back in 1..=PREDECESSORS.min(nodes - 1) {
                member.cyclon.seed(&world.membership, Handle::from_u32((slot + nodes - back) % nodes));
            }
            world.members.push(member);
            world.arm(slot);
        }
        world
    }

    fn newborn(&mut self, handle: Handle) -> Member {
        let stream = |label| Rng::derive(self.seed, u64::from(handle.as_u32()), label);
        let codes = self.schema.codes(&self.attributes[slot_of(handle) as usize]);
        let hash = stream("id").next_u32();
        let free = sets::first_value(&mut stream("free"));
        let mut trie = Trie::new(
            Call::new(&self.config, self.now),
            self.schema.clone(),
            handle,
            codes,
            hash,
            stream("trie"),
        );
        trie.set_present([free, 0, 0, 0]);
        sets::say(&mut self.attributes[slot_of(handle) as usize], free);
        let aggregation = Aggregation::new(
            &self.aggregation,
            self.schema.version(),
            self.even.clone(),
            handle,
            &codes[..ATTRIBUTES],
            stream("aggregation"),
            self.now,
        );
        Member {
            handle,
            cyclon: Cyclon::new(&self.membership, handle, stream("membership"), self.now),
            trie_due: trie.next_timeout(&self.config).at,
            trie,
            aggregation_due: aggregation.next_timeout(&self.aggregation).at,
            aggregation,
            free,
            armed: Instant::FAR,
        }
    }

    pub fn run_round(&mut self) {
        let end = self.now + self.membership.period;
        for (member, attributes) in self.members.iter_mut().zip(&mut self.attributes) {
            member.free = sets::next_value(member.free, &mut self.weather);
            member.trie.set_present([member.free, 0, 0, 0]);
            sets::say(attributes, member.free);
        }
        while let Some(entry) = self.network.agenda.pop(end) {
            self.fetch_ahead();
            self.now = entry.at;
            match entry.event {
                Event::Timer => self.on_timer(entry.dst),
                Event::Deliver { from, to, message } => self.deliver(from, to, message),
            }
        }
        self.now = end;
    }

    /// What the next events need is fetched into the cache while others are handled: first events and nodes, then the
    /// messages, then what hangs on both.
    fn fetch_ahead(&self) {
        let agenda = &self.network.agenda;
        if let Some(slot) = agenda.fetch(AHEAD_EVENT) {
            prefetch(&self.members[slot as usize]);
        }
        if let Some((_, Event::Deliver { message, .. })) = agenda.ahead(AHEAD_MESSAGE) {
            match message {
                Message::Trie(message) => prefetch(&**message),
                Message::Aggregation(message) => prefetch(&**message),
                Message::Search(message, _) => prefetch(&**message),
                Message::Grid(_) => {}
            }
        }
        if let Some((slot, Event::Deliver { message, .. })) = agenda.ahead(AHEAD_TABLES) {
            let member = &self.members[slot as usize];
            match message {
                Message::Trie(message) => {
                    if let trie::Message::Give { part, .. } | trie::Message::Return { part, .. } = &**message
                    {
                        prefetch_all(&part.descriptors);
                        prefetch_all(&part.reports);
                    }
                    prefetch_all(member.trie.table().buckets());
                }
                Message::Aggregation(message) => {
                    use aggregation::Message::{Pull, Push};
                    if let Push { half, .. } | Pull { half, .. } = &**message {
                        prefetch_all(&half.values);
                    }
                    prefetch_all(member.aggregation.shares());
                }
                Message::Search(..) | Message::Grid(_) => {}
            }
        }
    }

    fn on_timer(&mut self, slot: u32) {
        let member = &mut self.members[slot as usize];
        if member.armed != self.now {
            return;
        }
        member.armed = Instant::FAR;
        let mut sender = Sender { network: &mut self.network, now: self.now, from: member.handle, sent: 0 };
        if member.cyclon.next_timeout(&self.membership).at <= self.now {
            member.cyclon.handle_timeout(Call::new(&self.membership, self.now), &mut sender);
        }
        if member.trie_due <= self.now {
            let mut out = Sampling { sender: &mut sender, cyclon: &mut member.cyclon };
            member.trie.handle_timeout(Call::new(&self.config, self.now), &mut out);
            member.trie_due = member.trie.next_timeout(&self.config).at;
        }
        if member.aggregation_due <= self.now {
            let mut out = Sampling { sender: &mut sender, cyclon: &mut member.cyclon };
            member.aggregation.handle_timeout(Call::new(&self.aggregation, self.now), &mut out);
            member.aggregation_due = member.aggregation.next_timeout(&self.aggregation).at;
        }
        if let Some(searcher) = self.searchers.get_mut(&slot) {
            let lent = Lent { member, attributes: &self.attributes[slot as usize] };
            searcher.handle_timeout(self.now, lent, &mut sender);
            let call = Call::new(&self.config, self.now);
            std::mem::take(&mut searcher.silent)
                .into_iter()
                .for_each(|peer| member.trie.handle_silent(call, peer));
            member.trie_due = member.trie.next_timeout(&self.config).at;
        }
        self.arm(slot);
    }

    fn deliver(&mut self, from: Handle, to: Handle, message: Message) {
        let slot = slot_of(to);
        let member = &mut self.members[slot as usize];
        if member.handle != to || self.is_split && (slot ^ slot_of(from)) & 1 == 1 {
            return;
        }
        let mut sender = Sender { network: &mut self.network, now: self.now, from: to, sent: 0 };
        match message {
            Message::Grid(message) => {
                let _ = member.cyclon.handle_message(
                    Call::new(&self.membership, self.now),
                    from,
                    message,
                    &mut sender,
                );
            }
            Message::Trie(message) => {
                let mut out = Sampling { sender: &mut sender, cyclon: &mut member.cyclon };
                let _ =
                    member.trie.handle_message(Call::new(&self.config, self.now), from, *message, &mut out);
                member.trie_due = member.trie.next_timeout(&self.config).at;
            }
            Message::Aggregation(message) => {
                let mut out = Sampling { sender: &mut sender, cyclon: &mut member.cyclon };
                let aggregation = &mut member.aggregation;
                let _ = aggregation.handle_message(
                    Call::new(&self.aggregation, self.now),
                    from,
                    *message,
                    &mut out,
                );
                member.aggregation_due = member.aggregation.next_timeout(&self.aggregation).at;
            }
            Message::Search(message, depth) => {
                use xtreem_discovery::Message as Search;
                if matches!(*message, Search::Visit { .. } | Search::Delegate(_)) {
                    self.visits[slot as usize] += 1;
                }
                let searcher =
                    self.searchers.entry(slot).or_insert_with(|| Searcher::new(member, self.seed, self.now));
                let lent = Lent { member, attributes: &self.attributes[slot as usize] };
                searcher.handle_message(self.now, from, lent, *message, depth, &mut sender);
            }
        }
        self.arm(slot);
    }

    fn arm(&mut self, slot: u32) {
        let member = &mut self.members[slot as usize];
        let searcher = self.searchers.get(&slot).map(|searcher| searcher.discovery.next_timeout(&()).at);
        let next =
            member.cyclon.next_timeout(&self.membership).at.min(member.trie_due).min(member.aggregation_due);
        let next = searcher.map_or(next, |at| at.min(next));
        if next < member.armed {
            member.armed = next;
            self.network.agenda.push(next, slot, slot, Event::Timer);
        }
    }

    /// Replaces a share of all nodes: each dies, and a newcomer on such a machine joins through a random node.
    pub fn replace(&mut self, share: f64) {
        self.owed += (self.members.len() as f64 * share * 1e6).round() as u64;
        let due = (self.owed / 1_000_000) as usize;
        self.owed %= 1_000_000;
        let nodes = self.members.len() as u32;
        let dying: BTreeSet<u32> = (0..due).map(|_| self.fate.below(nodes)).collect();
        for slot in &dying {
            // Nobody joins through a node that dies in the same moment: it would try another.
            let introducer = loop {
                let introducer = self.fate.below(nodes);
                if !dying.contains(&introducer) || dying.len() as u32 == nodes {
                    break introducer;
                }
            };
            self.replace_one(*slot, introducer);
        }
    }

    fn replace_one(&mut self, slot: u32, introducer: u32) {
        let old = &self.members[slot as usize];
        let handle = Handle::from_u32(slot | ((old.handle.as_u32() >> SLOT_BITS) + 1) << SLOT_BITS);
        let introducer = self.members[introducer as usize].handle;
        let mut member = self.newborn(handle);
        let mut sender = Sender { network: &mut self.network, now: self.now, from: handle, sent: 0 };
        member.cyclon.join(Call::new(&self.membership, self.now), introducer, &mut sender);
        let mut out = Sampling { sender: &mut sender, cyclon: &mut member.cyclon };
        member.trie.join(Call::new(&self.config, self.now), introducer, &mut out);
        member.trie_due = member.trie.next_timeout(&self.config).at;
        self.members[slot as usize] = member;
        self.searchers.remove(&slot);
        self.arm(slot);
    }

    /// About this share of all nodes dies, and nobody comes in their place.
    pub fn kill(&mut self, share: f64) {
        for member in &mut self.members {
            if self.fate.chance((share * 1e6) as u32, 1_000_000) {
                (member.handle, member.armed) = (Handle::NONE, Instant::FAR);
            }
        }
    }

    pub fn lives(&self, slot: u32) -> bool {
        self.members[slot as usize].handle != Handle::NONE
    }

    /// Starts a search at a node that runs none.
    pub(super) fn search(&mut self, slot: u32, spec: SearchSpec) {
        let member = &self.members[slot as usize];
        let mut sender = Sender { network: &mut self.network, now: self.now, from: member.handle, sent: 0 };
        let mut searcher = Searcher::new(member, self.seed, self.now);
        let lent = Lent { member, attributes: &self.attributes[slot as usize] };
        searcher.start(lent, self.now, spec, &mut sender);
        self.searchers.insert(slot, searcher);
        self.arm(slot);
    }

    pub fn is_alive(&self, handle: Handle) -> bool {
        let member = &self.members[slot_of(handle) as usize];
        member.handle == handle
    }

    /// That tries and aggregation have sent, about.
    pub fn bytes(&self) -> u64 {
        self.network.bytes + self.network.aggregation_bytes
    }

    /// That aggregation alone has sent, about.
    pub fn aggregation_bytes(&self) -> u64 {
        self.network.aggregation_bytes
    }
}
