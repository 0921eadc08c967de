//! A selection world: machines with a node each, whose values change, and who dies.

use std::cell::Cell;
use std::collections::BTreeSet;

use xtreem_base::{Handle, Instant, Rng};
use xtreem_discovery::schema::{Dimension, Scale, Schema};
use xtreem_discovery::{Attributes, Number, SearchSpec};

use super::data::{ATTRIBUTES, Machine, RANGE};
use super::node::{Common, Node};
use super::search::Searcher;
use super::sets;
use crate::arena::{Arena, Churn, successor};
use crate::link::{Latency, Link};

/// Ring predecessors that a node knows at the start.
const PREDECESSORS: u32 = 5;

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

pub(super) struct World {
    fate: Rng,
    /// How values change.
    weather: Rng,
    pub(super) arena: Arena<Node>,
    churn: Churn,
}

impl World {
    pub(super) fn new(machines: &[Machine], seed: u64, loss: f64) -> Self {
        let common = Common::new(seed, schema(), machines.len());
        let link = Link::new(seed, Latency::WORLD, (loss * 1e6) as u32);
        let mut arena: Arena<Node> = Arena::new(common, link, machines.len());
        let nodes = machines.len() as u32;
        for (slot, machine) in (0..).zip(machines) {
            let handle = Handle::from_u32(slot);
            let mut node = Node::new(&arena.config, handle, attributes_of(machine), Instant::ZERO);
            for back in 1..=PREDECESSORS.min(nodes - 1) {
                let predecessor = Handle::from_u32((slot + nodes - back) % nodes);
                node.cyclon.seed(&arena.config.membership, predecessor);
            }
            arena.add(handle, node);
        }
        let (fate, weather) = (Rng::derive(seed, 0, "fate"), Rng::derive(seed, 0, "weather"));
        World { fate, weather, arena, churn: Churn::default() }
    }

    pub(super) fn seed(&self) -> u64 {
        self.arena.config.seed
    }

    /// Slots, whether somebody lives there or not.
    pub(super) fn slots(&self) -> u32 {
        self.nodes().len() as u32
    }

    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.arena.members()
    }

    pub(super) fn node(&self, slot: u32) -> &Node {
        self.arena.member(slot)
    }

    pub(super) fn run_round(&mut self) {
        for node in self.arena.members_mut() {
            node.set_free(sets::next_value(node.free, &mut self.weather));
        }
        self.arena.run_until(self.arena.now() + self.arena.config.membership.period);
    }

    /// Replaces a share of all nodes: each dies, and a newcomer on such a machine joins through a random
    /// node.
    pub(super) fn replace(&mut self, share: f64) {
        let nodes = self.slots();
        let due = self.churn.due(nodes as usize, share);
        let dying: BTreeSet<u32> = (0..due).map(|_| self.fate.below(nodes)).collect();
        for slot in &dying {
            // Nobody joins through a node that dies in the same moment: it would try another.
            let introducer = loop {
                let introducer = self.fate.below(nodes);
                if !dying.contains(&introducer) || dying.len() as u32 == nodes {
                    break introducer;
                }
            };
            self.replace_one(*slot, self.arena.handle(introducer));
        }
    }

    /// Whoever takes a slot over has the same machine, with other values of what changes.
    fn replace_one(&mut self, slot: u32, introducer: Handle) {
        let handle = successor(self.arena.handle(slot));
        let attributes = self.node(slot).attributes.clone();
        let newcomer = Node::new(&self.arena.config, handle, attributes, self.arena.now());
        self.arena.replace(handle, newcomer, |node, call, out| node.join(call, introducer, out));
    }

    /// About this share of all nodes dies, and nobody comes in their place.
    pub(super) fn kill(&mut self, share: f64) {
        for slot in 0..self.slots() {
            if self.fate.chance((share * 1e6) as u32, 1_000_000) {
                self.arena.kill(slot);
            }
        }
    }

    /// Nodes of even and of odd slots do not hear each other, until they do.
    pub(super) fn split(&mut self, is_split: bool) {
        let parts = (0..self.slots()).filter(|_| is_split).map(|slot| (slot & 1) as u8);
        let parts = parts.collect();
        self.arena.link().split(parts);
    }

    pub(super) fn lives(&self, slot: u32) -> bool {
        self.arena.handle(slot) != Handle::NONE
    }

    pub(super) fn is_alive(&self, handle: Handle) -> bool {
        self.arena.is_alive(handle)
    }

    /// Starts a search at a node that runs none.
    pub(super) fn search(&mut self, slot: u32, spec: SearchSpec) {
        self.arena.with(slot, |node, call, out| node.search(call, spec, out));
    }

    /// Takes all searches away, each with its slot.
    pub(super) fn take_searchers(&mut self) -> impl Iterator<Item = (u32, Box<Searcher>)> {
        let searchers = (0..).zip(self.arena.members_mut());
        searchers.filter_map(|(slot, node)| Some((slot, node.searcher.take()?)))
    }

    /// Visits that each slot has had since the last time this was asked.
    pub(super) fn take_visits(&mut self) -> Vec<u32> {
        self.arena.config.visits.iter().map(Cell::take).collect()
    }
}
