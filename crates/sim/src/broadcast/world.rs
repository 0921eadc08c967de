//! A world in which one broadcast is made.

use std::collections::BTreeMap;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_overlay::broadcast::Event;
use xtreem_overlay::store::Value;

use super::node::{Common, Node};
use super::{Options, Report};
use crate::arena::Arena;
use crate::link::{Latency, Link};

/// Ring predecessors, by slot, that a node's partial view has at the start.
const PREDECESSORS: u32 = 5;
/// Periods of CYCLON before anybody stands on the ring: views are random then.
const MIXING: u64 = 12;
/// Rounds that the ring has to form before the broadcast is made all the same.
const FORMING_MAX: u32 = 150;
/// Rounds in which rows fill once the ring is right: one row a round.
const ROWS: u32 = 14;
/// The broadcast is over at the latest then.
const LONGEST: Duration = Duration::from_secs(120);

pub(super) struct World {
    arena: Arena<Node>,
    nodes: u32,
    fate: Rng,
    period: Duration,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let common = Common { seed: options.seed, ..Common::default() };
        let period = common.overlay.ring.period;
        let link = Link::new(options.seed, Latency::WORLD, (options.loss * 1e6).round() as u32);
        let mut arena: Arena<Node> = Arena::new(common, link, options.nodes as usize);
        for slot in 0..options.nodes {
            let handle = Handle::from_u32(slot);
            let mut node = Node::new(&arena.config, handle, Instant::ZERO);
            for back in 1..=PREDECESSORS.min(options.nodes - 1) {
                let predecessor = Handle::from_u32((slot + options.nodes - back) % options.nodes);
                node.cyclon.seed(&arena.config.membership, predecessor);
            }
            arena.add(handle, node);
        }
        let mixing = Duration::from_micros(arena.config.membership.period.as_micros() * MIXING);
        arena.run_until(Instant::ZERO + mixing);
        World { arena, nodes: options.nodes, fate: Rng::derive(options.seed, 0, "fate"), period }
    }

    /// Lets all nodes come onto the ring and fill their rows. Comes back with the rounds until it was right.
    pub(super) fn form(&mut self) -> Option<u32> {
        (0..self.nodes).for_each(|slot| self.arena.with(slot, |node, call, _| node.stand(call)));
        let mut right_at = None;
        for round in 1..=FORMING_MAX {
            self.arena.run_until(self.arena.now() + self.period);
            if right_at.is_none() && self.is_right() {
                right_at = Some(round);
            }
            if right_at.is_some_and(|at| round >= at + ROWS) {
                break;
            }
        }
        right_at
    }

    fn is_right(&self) -> bool {
        let position = |slot: &u32| self.arena.member(*slot).overlay.ring().position();
        let mut standing: Vec<u32> = (0..self.nodes).collect();
        standing.sort_unstable_by_key(|slot| position(slot));
        let next = standing.iter().cycle().skip(1);
        standing.iter().zip(next).all(|(slot, next)| {
            let first = self.arena.member(*slot).overlay.ring().successors().first();
            first.is_some_and(|first| first.handle == self.arena.handle(*next))
        })
    }

    /// Takes the life of a share of the nodes. Nobody is told.
    pub(super) fn kill(&mut self, share: f64) {
        let mut slots: Vec<u32> = (0..self.nodes).collect();
        self.fate.shuffle(&mut slots);
        let dying = (slots.len() as f64 * share).round() as usize;
        slots.into_iter().take(dying).for_each(|slot| self.arena.kill(slot));
    }

    fn living(&self) -> Vec<u32> {
        (0..self.nodes).filter(|&slot| self.arena.handle(slot) != Handle::NONE).collect()
    }

    /// One of the living tells all, until nobody has anything left to do.
    pub(super) fn broadcast(mut self, rounds_to_right_ring: Option<u32>) -> Report {
        let living = self.living();
        let dead_contacts = self.dead_contacts(&living);
        // Half of the nodes live at least.
        let origin = *self.fate.pick(&living).expect("somebody lives");
        let begin = self.arena.now();
        self.arena.take_events();
        let content = Value::new(&[7; 64]).expect("short");
        self.arena.with(origin, |node, call, out| node.begin(call, content, out));
        while self.arena.now() < begin + LONGEST
            && living.iter().any(|&slot| self.arena.member(slot).is_busy())
        {
            self.arena.run_until(self.arena.now() + self.period);
        }
        let mut told: BTreeMap<Handle, u32> = BTreeMap::new();
        let (mut depth, mut times) = (0, Vec::new());
        for (at, who, event) in self.arena.take_events() {
            let Event::Delivered { depth: here, .. } = event else { continue };
            *told.entry(who).or_default() += 1;
            depth = depth.max(u32::from(here));
            times.push(at.since(begin).as_micros() as f64 / 1e6);
        }
        let live = living.len() as f64;
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Report {
            reached: told.len() as u64,
            live: living.len() as u64,
            told_twice: told.values().filter(|times| **times > 1).count() as u64,
            messages_per_node: self.arena.config.delegations.get() as f64 / live,
            acks_per_node: self.arena.config.accepts.get() as f64 / live,
            depth,
            seconds_half: at(0.5),
            seconds_99: at(0.99),
            seconds_all: at(1.0),
            rounds_to_right_ring,
            dead_contacts,
        }
    }

    fn dead_contacts(&self, living: &[u32]) -> f64 {
        let (mut dead, mut all) = (0u64, 0u64);
        for &slot in living {
            for contact in self.arena.member(slot).overlay.ring().contacts() {
                all += 1;
                dead += u64::from(!self.arena.is_alive(contact.handle));
            }
        }
        dead as f64 / all.max(1) as f64
    }
}
