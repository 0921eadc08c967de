//! All nodes: where they stand, whom they know at the start, who dies, and whether their ring is right.

use xtreem_base::{Handle, Instant, NodeId, Rng};
use xtreem_overlay::{Key, Namespace, Position};

use super::Options;
use super::node::{Common, Engine, Node};
use crate::arena::{Arena, slot_of};
use crate::digest::Digest;
use crate::link::{Latency, Link};

/// Random members that the partial view of a node has at the start: as many as it holds.
const CONTACTS: u32 = 20;
/// Bytes of a key, as long as a digest of our lookups; the namespace comes before it.
const KEY_BYTES: usize = 16;

/// Sent a node and round.
pub(super) struct Traffic {
    pub(super) tman_bytes: f64,
    pub(super) cyclon_bytes: f64,
    pub(super) exchanges: f64,
}

pub(super) struct World {
    arena: Arena<Node>,
    /// Slots in the order of their positions.
    ring: Vec<u32>,
    fate: Rng,
    /// The half of each node while the network is split.
    halves: Vec<u8>,
    /// Node rounds since traffic was counted.
    node_rounds: u64,
}

fn position_of(seed: u64, slot: u32) -> Position {
    let mut rng = Rng::derive(seed, slot.into(), "position");
    let mut bytes = || rng.next_u64().to_be_bytes();
    let mut key = [0; KEY_BYTES];
    key.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&bytes()));
    let mut id = [0; 16];
    id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&bytes()));
    Position::new(Key::new(Namespace::USER, &key).expect("a short key"), NodeId::from_bytes(id))
}

impl World {
    pub(super) fn new(
        options: &Options,
        engine: impl Fn(&Common, Handle, Position, Rng, Instant) -> Engine,
    ) -> Self {
        let Options { nodes, seed, .. } = *options;
        let mut common = Common::default();
        common.tman.view_size = options.view;
        if let Ok(far) = std::env::var("FAR") {
            common.tman.far = far.parse().unwrap();
        }
        let link = Link::new(seed, Latency::WORLD, (options.loss * 1e6).round() as u32);
        let mut arena: Arena<Node> = Arena::new(common, link, nodes as usize);
        let positions: Vec<Position> = (0..nodes).map(|slot| position_of(seed, slot)).collect();
        let mut chance = Rng::derive(seed, 0, "contacts");
        for (slot, position) in (0..).zip(&positions) {
            let handle = Handle::from_u32(slot);
            let stream = |label| Rng::derive(seed, slot.into(), label);
            let common = &arena.config;
            let mut cyclon = xtreem_membership::Cyclon::new(
                &common.membership,
                handle,
                stream("membership"),
                Instant::ZERO,
            );
            for _ in 0..CONTACTS {
                cyclon.seed(&common.membership, Handle::from_u32(chance.below(nodes)));
            }
            let engine = engine(common, handle, position.clone(), stream("tman"), Instant::ZERO);
            arena.add(handle, Node { cyclon, engine });
        }
        let mut ring: Vec<u32> = (0..nodes).collect();
        ring.sort_by(|a, b| positions[*a as usize].cmp(&positions[*b as usize]));
        World { arena, ring, fate: Rng::derive(seed, 0, "fate"), halves: Vec::new(), node_rounds: 0 }
    }

    pub(super) fn run_rounds(&mut self, rounds: u32) {
        let end = self.arena.now() + self.arena.config.tman.period * u64::from(rounds);
        self.arena.run_until(end);
        self.arena.take_events();
        self.node_rounds += self.ring.len() as u64 * u64::from(rounds);
    }

    /// Plays until everybody is right; notes the share of those that are not after each round.
    pub(super) fn rounds_until_right(&mut self, most: u32, wrong: &mut Vec<f64>) -> Option<u32> {
        (0..=most).find(|round| {
            if *round > 0 {
                self.run_rounds(1);
                wrong.push(self.wrong());
            }
            self.wrong() == 0.0
        })
    }

    /// Share of the live nodes whose successor or predecessor is wrong; in its own half, while there are
    /// halves.
    pub(super) fn wrong(&self) -> f64 {
        let wrong: usize = match self.halves.is_empty() {
            true => self.wrong_of(&self.ring),
            false => (0..2)
                .map(|half| {
                    let of_half = |slot: &&u32| self.halves[**slot as usize] == half;
                    self.wrong_of(&self.ring.iter().filter(of_half).copied().collect::<Vec<_>>())
                })
                .sum(),
        };
        wrong as f64 / self.ring.len() as f64
    }

    fn wrong_of(&self, ring: &[u32]) -> usize {
        let len = ring.len();
        let at = |place: usize| self.arena.handle(ring[place % len]);
        let is_wrong = |place: &usize| {
            let nearest = self.arena.member(ring[*place]).engine.nearest();
            len > 1 && nearest != [Some(at(place + 1)), Some(at(place + len - 1))]
        };
        (0..len).filter(is_wrong).count()
    }

    /// Takes the life of a share of the living, all at once. They keep silent, and nobody is told.
    pub(super) fn kill(&mut self, share: f64) {
        let mut living = self.ring.clone();
        self.fate.shuffle(&mut living);
        living.truncate((living.len() as f64 * share).round() as usize);
        living.into_iter().for_each(|slot| self.arena.kill(slot));
        self.ring.retain(|slot| self.arena.handle(*slot) != Handle::NONE);
    }

    /// Nobody hears the other half, which was drawn at random.
    pub(super) fn split(&mut self) {
        self.halves = self.arena.members().map(|_| self.fate.below(2) as u8).collect();
        let halves = self.halves.clone();
        self.arena.link().split(halves);
    }

    pub(super) fn heal(&mut self) {
        self.halves.clear();
        self.arena.link().split(Vec::new());
    }

    /// Since the last time, or the start.
    pub(super) fn take_traffic(&mut self) -> Traffic {
        let rounds = std::mem::take(&mut self.node_rounds).max(1) as f64;
        let common = &self.arena.config;
        Traffic {
            tman_bytes: common.tman_bytes.take() as f64 / rounds,
            cyclon_bytes: common.cyclon_bytes.take() as f64 / rounds,
            exchanges: common.exchanges.take() as f64 / rounds,
        }
    }

    pub(super) fn events(&self) -> u64 {
        self.arena.events()
    }

    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        digest.add(self.arena.happened());
        for slot in &self.ring {
            for peer in self.arena.member(*slot).engine.nearest().into_iter().flatten() {
                digest.add(u64::from(slot_of(peer)));
            }
        }
        digest
    }
}
