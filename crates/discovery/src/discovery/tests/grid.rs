//! Nodes with random links and a queue between them; node 0 searches.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{AppId, Call, Core, Driven, Duration, Events, Handle, Instant, NodeId, Rng, Sink};

use crate::discovery::Discovery;
use crate::search::report::Report;
use crate::search::spec::{SearchId, SearchSpec};
use crate::trie::Trie;
use crate::visit::application::{AppFilter, AppSummary};
use crate::visit::hold::{Claimant, HoldAnswer, HoldAsk, HoldRefusal};
use crate::visit::host::{Host, Hosted, SearchEvent};
use crate::visit::message::{CONTACTS_MAX, Message, Query};
use crate::{Attributes, Number, Requirement, Value};

const LATENCY: Duration = Duration::from_millis(20);

pub(super) struct Node {
    pub(super) attributes: Attributes,
    pub(super) links: Vec<Handle>,
    pub(super) trie: Option<Trie>,
    pub(super) applications: Vec<AppSummary>,
    /// Holds that can still be granted.
    pub(super) room: u64,
    pub(super) holds: BTreeSet<u64>,
    pub(super) is_dead: bool,
}

impl Host for Node {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn trie(&self, version: Option<u32>) -> Option<&Trie> {
        self.trie.as_ref().filter(|trie| version.is_none_or(|version| version == trie.schema().version()))
    }

    fn contacts(&mut self, max: usize) -> Vec<Handle> {
        self.links.iter().copied().take(max).collect()
    }

    fn hold(&mut self, _: Instant, _: Handle, _: &HoldAsk) -> HoldAnswer {
        if self.room == 0 {
            return HoldAnswer::Refused(HoldRefusal::Busy);
        }
        self.room -= 1;
        self.holds.insert(self.room);
        HoldAnswer::Granted { id: self.room }
    }

    fn applications(&self, wanted: &AppFilter, _: usize) -> (Vec<AppSummary>, u32) {
        let accepts = |app: &&AppSummary| wanted.accepts(app.id, app.owner, &app.name);
        (self.applications.iter().filter(accepts).cloned().collect(), 0)
    }
}

#[derive(Default)]
pub(super) struct Outbox {
    pub(super) sent: Vec<(Handle, Message)>,
    pub(super) events: Vec<SearchEvent>,
    pub(super) silent: u32,
}

impl Sink<Message> for &mut Outbox {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }

    fn contact_silent(&mut self, _: Handle) {
        self.silent += 1;
    }
}

impl Events<SearchEvent> for &mut Outbox {
    fn event(&mut self, event: SearchEvent) {
        self.events.push(event);
    }
}

pub(super) fn at(now: Instant) -> Call<'static, ()> {
    Call::new(&(), now)
}

/// A node that says what it has to say into an outbox.
pub(super) fn hosted<'a>(node: &'a mut Node, out: &'a mut Outbox) -> Hosted<&'a mut Node, &'a mut Outbox> {
    Hosted { host: node, out }
}

/// Node 0 searches.
pub(super) struct Grid {
    pub(super) nodes: Vec<Node>,
    pub(super) discovery: Discovery,
    pub(super) now: Instant,
    /// In flight: (arrival, number) to (from, to, message).
    pub(super) queue: BTreeMap<(Instant, u64), (Handle, Handle, Message)>,
    pub(super) sent: u64,
    pub(super) out: Outbox,
    pub(super) in_flight_most: usize,
    /// A node that is asked for a hold has less free disk than before.
    pub(super) falls: bool,
    /// Every message arrives twice.
    pub(super) doubles: bool,
    /// It dies when it is asked for a hold.
    pub(super) dies_when_held: Option<Handle>,
}

pub(super) fn handle(i: usize) -> Handle {
    Handle::from_u32(i as u32)
}

impl Grid {
    /// `size` nodes with 20 random links each; node i has `i % 10` cores and every third is at site "b".
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut nodes = Vec::new();
        for i in 0..size {
            let mut attributes = Attributes::new();
            attributes.set("cpu.cores", i as u64 % 10).unwrap();
            attributes.set("site", if i % 3 == 0 { "b" } else { "a" }).unwrap();
            let mut links = BTreeSet::new();
            while links.len() < CONTACTS_MAX.min(size - 1) {
                links.insert(handle(rng.below(size as u32) as usize));
                links.remove(&handle(i));
            }
            let links = links.into_iter().collect();
            let (applications, holds) = (Vec::new(), BTreeSet::new());
            nodes.push(Node { attributes, links, trie: None, applications, room: 1, holds, is_dead: false });
        }
        Grid {
            nodes,
            discovery: Discovery::new(handle(0), rng),
            now: Instant::from_millis(1_000),
            queue: BTreeMap::new(),
            sent: 0,
            out: Outbox::default(),
            in_flight_most: 0,
            falls: false,
            doubles: false,
            dies_when_held: None,
        }
    }

    pub(super) fn start(&mut self, spec: SearchSpec) -> SearchId {
        let seeds = self.nodes[0].links.clone();
        let to = &mut hosted(&mut self.nodes[0], &mut self.out);
        let id = self.discovery.start(at(self.now), spec, &seeds, to).unwrap();
        self.post(handle(0));
        id
    }

    fn post(&mut self, from: Handle) {
        for (to, message) in self.out.sent.drain(..) {
            // Different latencies, so that answers overtake one another.
            let at = self.now + LATENCY + Duration::from_millis(self.sent * 7 % 11);
            self.queue.insert((at, self.sent), (from, to, message));
            self.sent += 1;
        }
        let visits = self.queue.values().filter(|(from, to, _)| *from == handle(0) || *to == handle(0));
        self.in_flight_most = self.in_flight_most.max(visits.count());
    }

    /// Until nothing is in flight and no search runs.
    pub(super) fn run(&mut self) {
        loop {
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.discovery.next_timeout(&()).at;
            let timeout = (self.discovery.running() > 0).then_some(timeout);
            let Some(next) = arrival.into_iter().chain(timeout).min() else { return };
            self.now = next;
            if timeout == Some(next) {
                self.discovery.handle_timeout(at(next), &mut hosted(&mut self.nodes[0], &mut self.out));
                self.post(handle(0));
            } else if let Some((_, (from, to, message))) = self.queue.pop_first() {
                let node = &mut self.nodes[to.as_u32() as usize];
                let is_for_hold =
                    matches!(&message, Message::Visit { query: Query::Nodes { hold: Some(_), .. }, .. });
                node.is_dead |= is_for_hold && self.dies_when_held == Some(to);
                if node.is_dead {
                    continue;
                }
                if let (true, true, Some(Value::Number(free))) =
                    (self.falls, is_for_hold, node.attributes.value("disk.free").cloned())
                {
                    node.attributes.set("disk.free", Number::from_whole(free.whole() / 2)).unwrap();
                }
                let again = self.doubles.then(|| (from, to, message.clone()));
                if let Some(message) = again.filter(|_| self.sent < 4_000) {
                    let at = self.now + LATENCY * 2;
                    self.queue.insert((at, u64::MAX - self.sent), message);
                    self.sent += 1;
                }
                let (call, lent) = (at(next), &mut hosted(node, &mut self.out));
                if to == handle(0) {
                    let handled = self.discovery.handle_message(call, from, message, lent);
                    assert!(handled.is_ok() || self.doubles, "{handled:?}");
                } else {
                    let mut peer = Discovery::new(to, Rng::new(0));
                    peer.handle_message(call, from, message, lent).unwrap();
                }
                self.post(to);
                self.release_surplus();
            }
        }
    }

    fn release_surplus(&mut self) {
        for event in &self.out.events {
            if let SearchEvent::Surplus { peer, hold } = event {
                self.nodes[peer.as_u32() as usize].holds.remove(hold);
            }
        }
    }

    pub(super) fn matches(&self) -> BTreeSet<u32> {
        let matched = |event: &SearchEvent| match event {
            SearchEvent::Match { peer, .. } => Some(peer.as_u32()),
            _ => None,
        };
        self.out.events.iter().filter_map(matched).collect()
    }

    /// The report of the one search that was done.
    pub(super) fn report(&self) -> Report {
        let done = |event: &SearchEvent| match event {
            SearchEvent::Done { report, .. } => Some(report.clone()),
            _ => None,
        };
        let mut reports: Vec<_> = self.out.events.iter().filter_map(done).collect();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    pub(super) fn holds(&self) -> usize {
        self.nodes.iter().map(|node| node.holds.len()).sum()
    }
}

pub(super) fn nodes(requirement: &str, wanted: u32) -> SearchSpec {
    SearchSpec::nodes(Requirement::parse(requirement).unwrap(), wanted)
}

pub(super) fn with_holds(requirement: &str, wanted: u32) -> SearchSpec {
    let ask = HoldAsk {
        app: AppId::from_bytes([7; 16]),
        cores_milli: 1_000,
        memory_bytes: 256 << 20,
        disk_bytes: 0,
        colocate: false,
        patience: 0,
        by: Arc::new(Claimant {
            owner: NodeId::from_bytes([8; 16]),
            roles: 2,
            name: String::from("alice"),
            slots: 3,
        }),
        is_spare: false,
        ports: crate::FixedPorts::NONE,
    };
    SearchSpec::new(
        Query::Nodes { requirement: Requirement::parse(requirement).unwrap(), hold: Some(ask) },
        wanted,
    )
}
