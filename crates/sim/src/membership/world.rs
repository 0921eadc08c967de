//! The whole world: who lives, dies and is replaced, in one shard or several.

use std::convert::Infallible;

use xtreem_base::{Handle, Instant, Plane, Rng};
use xtreem_membership::{Config, Cyclon, Message};

use super::{Options, parallel};
use crate::arena::{Arena, Churn, Deal, Member, slot_of, successor};
use crate::digest::Digest;
use crate::link::{Latency, Link};

/// Ring predecessors that a node knows at the start.
const PREDECESSORS: u32 = 5;

/// Every so manieth node with all its events.
pub(super) type Shard = Arena<Cyclon>;

impl Member for Cyclon {
    type Event = Infallible;

    #[inline]
    fn plane(_: &Message) -> Plane {
        Plane::Datagram
    }
}

pub(super) struct World {
    config: Config,
    seed: u64,
    nodes: u32,
    /// Who dies and who replaces them.
    fate: Rng,
    deal: Deal,
    shards: Vec<Shard>,
    now: Instant,
    churn: Churn,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let config = Config::default();
        let bits = options.shards.trailing_zeros();
        let room = (options.nodes >> bits) as usize + 1;
        let link = Link::new(options.seed, Latency::WORLD, (options.loss * 1e6).round() as u32);
        let shard =
            |part| Arena::part(config.clone(), link.clone(), room, options.queue, Deal { bits, part });
        let mut world = World {
            seed: options.seed,
            nodes: options.nodes,
            fate: Rng::derive(options.seed, 0, "fate"),
            deal: Deal { bits, part: 0 },
            shards: (0..options.shards as usize).map(shard).collect(),
            config,
            now: Instant::ZERO,
            churn: Churn::default(),
        };
        for slot in 0..options.nodes {
            let handle = Handle::from_u32(slot);
            let mut node = world.newborn(handle);
            for back in 1..=PREDECESSORS.min(options.nodes - 1) {
                let predecessor = (slot + options.nodes - back) % options.nodes;
                node.seed(&world.config, Handle::from_u32(predecessor));
            }
            world.shards[world.deal.part_of(slot)].add(handle, node);
        }
        world
    }

    fn newborn(&self, handle: Handle) -> Cyclon {
        let rng = Rng::derive(self.seed, u64::from(handle.as_u32()), "membership");
        Cyclon::new(&self.config, handle, rng, self.now)
    }

    fn shard(&self, slot: u32) -> &Shard {
        &self.shards[self.deal.part_of(slot)]
    }

    /// One period. Comes back with the processor time that it took.
    pub(super) fn run_round(&mut self) -> std::time::Duration {
        let end = self.now + self.config.period;
        let cpu = parallel::run(&mut self.shards, self.now, end);
        self.now = end;
        cpu
    }

    /// Takes the life of a share of the living, all at once. They keep silent, and nobody is told.
    pub(super) fn kill(&mut self, share: f64) {
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let dying = (living.len() as f64 * share).round() as usize;
        for slot in living.into_iter().take(dying) {
            self.shards[self.deal.part_of(slot)].kill(slot);
        }
    }

    /// Replaces a share of all nodes: each dies, and a newcomer in its slot joins through a random live node.
    pub(super) fn replace(&mut self, share: f64) {
        if share == 0.0 {
            return;
        }
        let due = self.churn.due(self.live(), share);
        if due == 0 {
            return;
        }
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let (replaced, staying) = living.split_at(due.min(living.len()));
        for &slot in replaced {
            let Some(&introducer) = self.fate.pick(staying) else { return };
            let introducer = self.shard(introducer).handle(introducer);
            let handle = successor(self.shard(slot).handle(slot));
            let newcomer = self.newborn(handle);
            self.shards[self.deal.part_of(slot)].replace(handle, newcomer, |node, call, out| {
                node.join(call, introducer, out);
            });
        }
    }

    fn is_alive(&self, handle: Handle) -> bool {
        self.shard(slot_of(handle)).is_alive(handle)
    }

    fn living(&self) -> Vec<u32> {
        (0..self.nodes).filter(|&slot| self.shard(slot).handle(slot) != Handle::NONE).collect()
    }

    pub(super) fn live(&self) -> usize {
        (0..self.nodes).filter(|&slot| self.shard(slot).handle(slot) != Handle::NONE).count()
    }

    /// Live nodes in the order of their slots, each with its links to live nodes, as numbers in that order.
    pub(super) fn live_links(&self) -> Vec<Vec<u32>> {
        let mut number = vec![0; self.nodes as usize];
        let living = self.living();
        for (i, &slot) in living.iter().enumerate() {
            number[slot as usize] = i as u32;
        }
        let links = |slot: &u32| {
            let view = self.shard(*slot).member(*slot).view();
            let alive = view.filter(|&(handle, _)| self.is_alive(handle));
            alive.map(|(handle, _)| number[slot_of(handle) as usize]).collect()
        };
        living.iter().map(links).collect()
    }

    /// Share of the links of live nodes that lead to dead ones.
    pub(super) fn dead_links(&self) -> f64 {
        let (mut dead, mut all) = (0u64, 0u64);
        for slot in self.living() {
            for (handle, _) in self.shard(slot).member(slot).view() {
                all += 1;
                dead += u64::from(!self.is_alive(handle));
            }
        }
        dead as f64 / all.max(1) as f64
    }

    pub(super) fn events(&self) -> u64 {
        self.shards.iter().map(Shard::events).sum()
    }

    /// Of all events so far and all views of now.
    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        digest.add(self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.happened())));
        for slot in self.living() {
            digest.add(u64::from(slot));
            for (handle, age) in self.shard(slot).member(slot).view() {
                digest.add(u64::from(handle.as_u32()) << 16 | u64::from(age));
            }
        }
        digest
    }
}
