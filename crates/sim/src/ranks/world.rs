//! A world that counts itself: who lives and dies, and what is right.

use xtreem_base::{Duration, Handle, Instant, Rng};

use super::Options;
use super::node::{Common, Node, period};
use crate::arena::{Arena, Churn, successor};
use crate::digest::Digest;
use crate::link::{Latency, Link};

/// Ring predecessors, by slot, that a node's partial view has at the start.
const PREDECESSORS: u32 = 5;
/// Periods of CYCLON before anybody stands on the ring: views are random then.
const MIXING: u64 = 12;
/// Steps of one round of churn.
const STEPS: u64 = 4;
/// Rounds over which messages are counted.
const COUNTED: u64 = 5;

pub(super) struct World {
    arena: Arena<Node>,
    /// Where the node of each slot stands.
    places: Vec<u64>,
    fate: Rng,
    churn: Churn,
    period: Duration,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let nodes = options.nodes;
        let mut fate = Rng::derive(options.seed, 0, "fate");
        let common = Common { seed: options.seed, ..Common::default() };
        let period = period(&common);
        let link = Link::new(options.seed, Latency::WORLD, (options.loss * 1e6).round() as u32);
        let mut arena: Arena<Node> = Arena::new(common, link, nodes as usize);
        let places: Vec<u64> = (0..nodes).map(|_| fate.next_u64()).collect();
        for slot in 0..nodes {
            let handle = Handle::from_u32(slot);
            let mut node = Node::new(&arena.config, handle, places[slot as usize], Instant::ZERO);
            for back in 1..=PREDECESSORS.min(nodes - 1) {
                let predecessor = Handle::from_u32((slot + nodes - back) % nodes);
                node.cyclon.seed(&arena.config.membership, predecessor);
            }
            arena.add(handle, node);
        }
        arena.run_until(Instant::ZERO + arena.config.membership.period * MIXING);
        for slot in 0..nodes {
            arena.with(slot, |node, call, _| node.stand(call, places[slot as usize]));
        }
        World { arena, places, fate, churn: Churn::default(), period }
    }

    /// One round.
    pub(super) fn advance(&mut self) {
        let end = self.arena.now() + self.period;
        self.arena.run_until(end);
    }

    fn nodes(&self) -> u32 {
        self.places.len() as u32
    }

    /// The living, in the order of their places.
    fn living(&self) -> Vec<u32> {
        let is_alive = |slot: &u32| self.arena.handle(*slot) != Handle::NONE;
        let mut living: Vec<u32> = (0..self.nodes()).filter(is_alive).collect();
        living.sort_unstable_by_key(|slot| self.places[*slot as usize]);
        living
    }

    pub(super) fn is_ring_right(&self) -> bool {
        let living = self.living();
        let next = living.iter().cycle().skip(1);
        living.len() == 1
            || living.iter().zip(next).all(|(slot, next)| {
                let first = self.arena.member(*slot).ring.successors().first();
                first.map(|first| first.handle) == Some(self.arena.handle(*next))
            })
    }

    pub(super) fn debug(&self) -> String {
        let living = self.living();
        let ring = living
            .iter()
            .zip(living.iter().cycle().skip(1))
            .filter(|(slot, next)| {
                let first = self.arena.member(**slot).ring.successors().first();
                first.map(|first| first.handle) != Some(self.arena.handle(**next))
            })
            .count();
        let sw: Vec<(u32, bool)> = living
            .iter()
            .zip(living.iter().cycle().skip(1))
            .filter(|(slot, next)| {
                self.arena.member(**slot).sums.successor() != Some(self.arena.handle(**next))
            })
            .map(|(slot, next)| {
                (
                    *slot,
                    self.arena.member(*slot).ring.successors().first().map(|f| f.handle)
                        == Some(self.arena.handle(*next)),
                )
            })
            .collect();
        let sw = if sw.len() < 8 { format!("{sw:?}") } else { sw.len().to_string() };
        let wrong = living
            .iter()
            .enumerate()
            .filter(|(rank, slot)| {
                let sums = &self.arena.member(**slot).sums;
                sums.counted() != Some((*rank as u32, living.len() as u32))
            })
            .count();
        let settled = living
            .iter()
            .filter(|slot| {
                self.arena
                    .member(**slot)
                    .sums
                    .standing(&self.arena.config.sums)
                    .is_some_and(|it| it.is_settled)
            })
            .count();
        let sent: u64 = living.iter().map(|slot| self.arena.member(*slot).sent).sum();
        format!(
            "sums {sw} ring wrong {ring} ranks wrong {wrong} settled {settled} sent {} events {}",
            sent as f64 / living.len() as f64,
            self.arena.events()
        )
    }

    pub(super) fn are_ranks_right(&self) -> bool {
        let living = self.living();
        living.iter().enumerate().all(|(rank, slot)| {
            let sums = &self.arena.member(*slot).sums;
            sums.counted() == Some((rank as u32, living.len() as u32))
        })
    }

    /// Everyone has its right rank, of one numbering, and knows that nothing will change.
    pub(super) fn is_settled(&self) -> bool {
        let living = self.living();
        let standing = |slot: &u32| self.arena.member(*slot).sums.standing(&self.arena.config.sums);
        let Some(epoch) = living.first().and_then(standing).map(|standing| standing.epoch) else {
            return false;
        };
        living.iter().enumerate().all(|(rank, slot)| {
            standing(slot)
                .is_some_and(|it| it.is_settled && it.epoch == epoch && it.rank == Some(rank as u32))
        })
    }

    /// Mean and maximum.
    pub(super) fn entries(&self) -> (f64, u32) {
        let living = self.living();
        let entries: Vec<usize> = living.iter().map(|slot| self.arena.member(*slot).sums.entries()).collect();
        let sum: usize = entries.iter().sum();
        (sum as f64 / living.len() as f64, entries.into_iter().max().unwrap_or(0) as u32)
    }

    /// Lets some rounds pass for it, the first ones for what was still to be told.
    pub(super) fn messages_per_node_round(&mut self) -> f64 {
        (0..COUNTED).for_each(|_| self.advance());
        let sent = |world: &World| world.arena.members().map(|node| node.sent).sum::<u64>();
        let before = sent(self);
        (0..COUNTED).for_each(|_| self.advance());
        (sent(self) - before) as f64 / (COUNTED * u64::from(self.nodes())) as f64
    }

    /// The handle that lives in each slot, and the rank that it says it has.
    pub(super) fn ranks(&self) -> Vec<(Handle, Option<u32>)> {
        let rank = |slot| {
            self.arena.member(slot).sums.standing(&self.arena.config.sums).and_then(|standing| standing.rank)
        };
        (0..self.nodes()).map(|slot| (self.arena.handle(slot), rank(slot))).collect()
    }

    /// How many of those that still live say that they have another rank.
    pub(super) fn moved(&self, before: &[(Handle, Option<u32>)]) -> u32 {
        let now = self.ranks();
        let pairs = before.iter().zip(&now);
        let living = pairs.filter(|(before, now)| now.0 != Handle::NONE && before.0 == now.0);
        living.filter(|(before, now)| before.1 != now.1).count() as u32
    }

    pub(super) fn is_smaller(&self) -> bool {
        self.living().len() < self.places.len()
    }

    /// A share dies at once; at least one lives on.
    pub(super) fn kill(&mut self, share: f64) {
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let dying = ((living.len() as f64 * share).round() as usize).min(living.len() - 1);
        living.into_iter().take(dying).for_each(|slot| self.arena.kill(slot));
    }

    /// One round in which nodes are replaced, `share` of them in 10 s.
    pub(super) fn churn(&mut self, share: f64) {
        for _ in 0..STEPS {
            let share = share * self.period.as_secs() as f64 / 10.0 / STEPS as f64;
            let due = self.churn.due(self.places.len(), share);
            (0..due).for_each(|_| self.replace_one());
            let end = self.arena.now() + Duration::from_micros(self.period.as_micros() / STEPS);
            self.arena.run_until(end);
        }
    }

    fn replace_one(&mut self) {
        let living = self.living();
        let (Some(&slot), Some(&introducer)) = (self.fate.pick(&living), self.fate.pick(&living)) else {
            return;
        };
        if slot == introducer {
            return;
        }
        let (introducer, place) = (self.arena.handle(introducer), self.places[slot as usize]);
        let handle = successor(self.arena.handle(slot));
        let newcomer = Node::new(&self.arena.config, handle, place, self.arena.now());
        self.arena.replace(handle, newcomer, |node, call, out| {
            node.join(call, introducer, out);
            node.stand(call, place);
        });
    }

    /// Any node asks for it.
    pub(super) fn number_anew(&mut self) {
        let living = self.living();
        if let Some(&slot) = self.fate.pick(&living) {
            self.arena.with(slot, |node, call, out| node.number_anew(call, out));
        }
    }

    pub(super) fn digest(&self) -> String {
        format!("{:016x}", Digest::of([self.arena.events(), self.arena.happened()]))
    }
}
