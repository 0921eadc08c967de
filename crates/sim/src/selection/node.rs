//! One node of a selection world: partial view, trie, aggregation and searches, composed as in the product.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use xtreem_base::{Call, Core, Driven, Handle, Instant, Plane, Rng, Sampler, Sink, Wake};
use xtreem_discovery::schema::Schema;
use xtreem_discovery::trie::{self, Trie};
use xtreem_discovery::{Attributes, SearchSpec};
use xtreem_membership::Cyclon;
use xtreem_membership::aggregation::{self, Aggregation, Bounds};

use super::data::ATTRIBUTES;
use super::search::{Lent, Searcher};
use super::sets;
use crate::arena::{Member, Post, slot_of};
use crate::memory::{prefetch, prefetch_all};

/// Bytes of a hint, the wire's form of a handle, for figures.
const HINT_BYTES: usize = 42;

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Trie(Box<trie::Message>),
    /// With the visits, each waiting for the one before, that led to it.
    Search(Box<xtreem_discovery::Message>, u16),
    Aggregation(Box<aggregation::Message>),
}

/// The numbers of all protocols, and what is counted of all nodes.
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    trie: trie::Config,
    aggregation: aggregation::Config,
    even: Arc<Bounds>,
    schema: Arc<Schema>,
    /// That tries and aggregation have sent, about.
    pub(super) bytes: Cell<u64>,
    /// That aggregation alone has sent, about.
    pub(super) aggregation_bytes: Cell<u64>,
    /// Visits that each slot has had.
    pub(super) visits: Vec<Cell<u32>>,
}

impl Common {
    pub(super) fn new(seed: u64, schema: Schema, nodes: usize) -> Self {
        Common {
            seed,
            membership: Default::default(),
            trie: trie::Config::default(),
            aggregation: aggregation::Config::default(),
            even: Arc::new(Bounds::even(ATTRIBUTES)),
            schema: Arc::new(schema),
            bytes: Cell::new(0),
            aggregation_bytes: Cell::new(0),
            visits: vec![Cell::new(0); nodes],
        }
    }
}

pub(super) struct Node {
    pub(super) handle: Handle,
    pub(super) cyclon: Cyclon,
    pub(super) trie: Trie,
    pub(super) aggregation: Aggregation,
    /// Its free disk space, see [`super::sets`].
    pub(super) free: u16,
    /// What its machine says of itself.
    pub(super) attributes: Attributes,
    /// Nothing before it has searched, or was handed what others ask.
    pub(super) searcher: Option<Box<Searcher>>,
    /// When these two have something to do: kept here, because looking it up takes memory of theirs.
    trie_due: Instant,
    aggregation_due: Instant,
}

/// The sink of the partial view.
struct Shuffling<'a, 'b>(&'a mut Post<'b, Node>);

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.0.send(to, Message::Grid(message));
    }
}

/// The sink of cores that meet random nodes.
struct Sampling<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    common: &'a Common,
}

impl Sink<trie::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: trie::Message) {
        let bytes = &self.common.bytes;
        bytes.set(bytes.get() + message.wire_bytes(HINT_BYTES) as u64);
        self.out.send(to, Message::Trie(message.into()));
    }
}

impl Sink<aggregation::Message> for Sampling<'_, '_> {
    fn send(&mut self, to: Handle, message: aggregation::Message) {
        for bytes in [&self.common.bytes, &self.common.aggregation_bytes] {
            bytes.set(bytes.get() + message.wire_bytes() as u64);
        }
        self.out.send(to, Message::Aggregation(message.into()));
    }
}

impl Sampler for Sampling<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

impl Node {
    /// A node that knows nobody, on a machine that says `attributes`; of what changes it has values of its
    /// own.
    pub(super) fn new(common: &Common, handle: Handle, mut attributes: Attributes, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        let codes = common.schema.codes(&attributes);
        let hash = stream("id").next_u32();
        let free = sets::first_value(&mut stream("free"));
        let call = Call::new(&common.trie, now);
        let mut trie = Trie::new(call, common.schema.clone(), handle, codes, hash, stream("trie"));
        trie.set_present([free, 0, 0, 0]);
        sets::say(&mut attributes, free);
        let aggregation = Aggregation::new(
            &common.aggregation,
            common.schema.version(),
            common.even.clone(),
            handle,
            &codes[..ATTRIBUTES],
            stream("aggregation"),
            now,
        );
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            trie_due: trie.next_timeout(&common.trie).at,
            trie,
            aggregation_due: aggregation.next_timeout(&common.aggregation).at,
            aggregation,
            free,
            attributes,
            searcher: None,
        }
    }

    pub(super) fn join(&mut self, call: Call<'_, Common>, introducer: Handle, out: &mut Post<'_, Node>) {
        self.cyclon.join(call.narrow(|common| &common.membership), introducer, &mut Shuffling(out));
        let out = &mut Sampling { out, cyclon: &mut self.cyclon, common: call.config };
        self.trie.join(call.narrow(|common| &common.trie), introducer, out);
        self.trie_due = self.trie.next_timeout(&call.config.trie).at;
    }

    /// Its machine has changed.
    pub(super) fn set_free(&mut self, free: u16) {
        self.free = free;
        self.trie.set_present([free, 0, 0, 0]);
        sets::say(&mut self.attributes, free);
    }

    /// Starts a search; one that runs is forgotten.
    pub(super) fn search(&mut self, call: Call<'_, Common>, spec: SearchSpec, out: &mut Post<'_, Node>) {
        self.searcher = None;
        let (searcher, lent) = self.lend(call);
        searcher.start(lent, call.now, spec, out);
    }

    /// The search, and what it is lent.
    fn lend(&mut self, call: Call<'_, Common>) -> (&mut Searcher, Lent<'_>) {
        let Node { handle, cyclon, trie, attributes, searcher, .. } = self;
        let searcher =
            searcher.get_or_insert_with(|| Box::new(Searcher::new(*handle, call.config.seed, call.now)));
        (searcher, Lent { cyclon, trie, attributes })
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = Infallible;

    fn next_timeout(&self, common: &Common) -> Wake {
        let searcher = self.searcher.as_ref().map_or(Wake::NEVER, |it| it.discovery.next_timeout(&()));
        let at = self.cyclon.next_timeout(&common.membership).at.min(self.trie_due);
        Wake::new(at.min(self.aggregation_due).min(searcher.at), "one of its cores")
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
    ) -> Result<(), Infallible> {
        let common = call.config;
        // Faults of the cores are what late answers are.
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Shuffling(out));
            }
            Message::Trie(message) => {
                let out = &mut Sampling { out, cyclon: &mut self.cyclon, common };
                let _ = self.trie.handle_message(call.narrow(|common| &common.trie), from, *message, out);
                self.trie_due = self.trie.next_timeout(&common.trie).at;
            }
            Message::Aggregation(message) => {
                let out = &mut Sampling { out, cyclon: &mut self.cyclon, common };
                let call = call.narrow(|common| &common.aggregation);
                let _ = self.aggregation.handle_message(call, from, *message, out);
                self.aggregation_due = self.aggregation.next_timeout(&common.aggregation).at;
            }
            Message::Search(message, depth) => {
                use xtreem_discovery::Message as Search;
                if matches!(*message, Search::Visit { .. } | Search::Delegate(_)) {
                    let visits = &common.visits[slot_of(self.handle) as usize];
                    visits.set(visits.get() + 1);
                }
                let (searcher, lent) = self.lend(call);
                searcher.handle_message(call.now, from, lent, *message, depth, out);
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        let (common, now) = (call.config, call.now);
        if self.cyclon.next_timeout(&common.membership).at <= now {
            self.cyclon.handle_timeout(call.narrow(|common| &common.membership), &mut Shuffling(out));
        }
        if self.trie_due <= now {
            let out = &mut Sampling { out, cyclon: &mut self.cyclon, common };
            self.trie.handle_timeout(call.narrow(|common| &common.trie), out);
            self.trie_due = self.trie.next_timeout(&common.trie).at;
        }
        if self.aggregation_due <= now {
            let out = &mut Sampling { out, cyclon: &mut self.cyclon, common };
            self.aggregation.handle_timeout(call.narrow(|common| &common.aggregation), out);
            self.aggregation_due = self.aggregation.next_timeout(&common.aggregation).at;
        }
        if self.searcher.is_some() {
            let (searcher, lent) = self.lend(call);
            searcher.handle_timeout(now, lent, out);
            for peer in std::mem::take(&mut searcher.silent) {
                self.trie.handle_silent(call.narrow(|common| &common.trie), peer);
            }
            self.trie_due = self.trie.next_timeout(&common.trie).at;
        }
    }
}

impl Member for Node {
    type Event = Infallible;

    /// Before what hangs on both, which is fetched in two steps.
    const AHEAD: usize = 16;

    /// As in the product, but that a search always travels on streams.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Aggregation(message) => message.travel().plane,
            Message::Trie(_) | Message::Search(..) => Plane::Stream,
        }
    }

    fn fetch_message(message: &Message) {
        match message {
            Message::Trie(message) => prefetch(&**message),
            Message::Aggregation(message) => prefetch(&**message),
            Message::Search(message, _) => prefetch(&**message),
            Message::Grid(_) => {}
        }
    }

    fn fetch_tables(&self, message: &Message) {
        match message {
            Message::Trie(message) => {
                if let trie::Message::Give { part, .. } | trie::Message::Return { part, .. } = &**message {
                    prefetch_all(&part.descriptors);
                    prefetch_all(&part.reports);
                }
                prefetch_all(self.trie.table().buckets());
            }
            Message::Aggregation(message) => {
                use aggregation::Message::{Pull, Push};
                if let Push { half, .. } | Pull { half, .. } = &**message {
                    prefetch_all(&half.values);
                }
                prefetch_all(self.aggregation.shares());
            }
            Message::Search(..) | Message::Grid(_) => {}
        }
    }
}
