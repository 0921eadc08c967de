//! A world of rings: who lives, who dies, what goes wrong, and who asks for what.

use std::collections::BTreeMap;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_overlay::Position;
use xtreem_overlay::ring::LookupId;

use super::common::Common;
use super::items::Items;
use super::node::{Node, Told};
use super::{Keys, Options};
use crate::arena::{Arena, Churn, successor};
use crate::link::{Latency, Link};

/// Ring predecessors, by slot, that a node's partial view has at the start.
const PREDECESSORS: u32 = 5;
/// Periods of CYCLON before anybody stands on the ring: views are random then.
const MIXING: u64 = 12;
/// Nodes of a Zipf world that begin; the others come by load.
const PIONEERS: u32 = 32;
/// Share of the present nodes that comes in one round then: each needs a sample, a middle and a grant.
const COMING: f64 = 0.06;
/// Rounds in which rows fill once the ring is right.
const ROWS: u32 = 14;
/// Steps of one round: what happened in one is seen at its end.
const STEPS: u64 = 4;
/// Share of the nodes that each kind of fault meets in a round.
const FAULTY: f64 = 0.004;
/// Share of the messages that get lost when some shall.
const LOSS_PER_MILLION: u32 = 50_000;
/// Rounds after which a split begins, and ends.
const SPLIT: (u32, u32) = (5, 20);

/// What became of the lookups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) lookups: u64,
    pub(super) answered: u64,
    pub(super) right: u64,
    pub(super) unanswered: u64,
    pub(super) hops: u64,
    pub(super) hops_max: u32,
}

pub(super) struct World {
    pub(super) arena: Arena<Node>,
    options: Options,
    fate: Rng,
    churn: Churn,
    faulty: Churn,
    asked: BTreeMap<(Handle, LookupId), Position>,
    tally: Tally,
    period: Duration,
}

impl World {
    pub(super) fn new(options: &Options, is_chord: bool) -> Self {
        let mut fate = Rng::derive(options.seed, 0, "fate");
        let items = Items::new(options.keys, options.nodes as usize, &mut fate);
        let common = Common::new(options.seed, items, is_chord);
        let period = common.ring.period;
        let link = Link::new(options.seed, Latency::WORLD, 0);
        let begin = World::begin(options);
        let mut arena: Arena<Node> = Arena::new(common, link, options.nodes as usize);
        for slot in 0..options.nodes {
            let handle = Handle::from_u32(slot);
            let mut node = Node::new(&arena.config, handle, Instant::ZERO);
            for back in 1..=PREDECESSORS.min(begin - 1) {
                let predecessor = Handle::from_u32((slot + begin - back) % begin);
                node.cyclon.seed(&arena.config.membership, predecessor);
            }
            arena.add(handle, node);
            if slot >= begin {
                arena.kill(slot);
            }
        }
        let mixing = Duration::from_micros(arena.config.membership.period.as_micros() * MIXING);
        arena.run_until(Instant::ZERO + mixing);
        World {
            arena,
            options: options.clone(),
            fate,
            churn: Churn::default(),
            faulty: Churn::default(),
            asked: BTreeMap::new(),
            tally: Tally::default(),
            period,
        }
    }

    fn living(&self) -> Vec<u32> {
        (0..self.options.nodes).filter(|&slot| self.arena.handle(slot) != Handle::NONE).collect()
    }

    /// How many are there at the start.
    fn begin(options: &Options) -> u32 {
        match options.keys {
            Keys::Zipf => PIONEERS.min(options.nodes),
            Keys::Uniform | Keys::U8 => options.nodes,
        }
    }

    /// Lets all nodes come onto the ring. Comes back with the rounds until it was right.
    pub(super) fn form(&mut self, rounds_max: u32) -> Option<u32> {
        let begin = World::begin(&self.options);
        if begin == 1 {
            self.arena.with(0, |node, call, out| node.found(call, out));
        } else {
            (0..begin).for_each(|slot| self.arena.with(slot, |node, call, _| node.stand(call)));
        }
        let (mut present, mut right_at, mut settled) = (begin, None, 0);
        for round in 1..=rounds_max {
            self.advance();
            let is_right = self.is_right();
            if is_right && right_at.is_none() && present == self.options.nodes {
                right_at = Some(round);
            }
            settled += u32::from(is_right && self.all_own());
            if present < self.options.nodes {
                if settled > 0 {
                    let more = (f64::from(present) * COMING).ceil() as u32;
                    let until = (present + more).min(self.options.nodes);
                    for slot in present..until {
                        let introducer = self.arena.handle(self.fate.below(present));
                        self.put_newcomer(slot, introducer);
                    }
                    present = until;
                }
            } else if settled > ROWS {
                break;
            }
        }
        right_at
    }

    /// One round without anything special.
    fn advance(&mut self) {
        let end = self.arena.now() + self.period;
        self.arena.run_until(end);
        self.count();
    }

    fn all_own(&self) -> bool {
        let now = self.arena.now();
        let owns = |slot: u32| {
            let ring = &self.arena.member(slot).ring;
            ring.position().is_none() || ring.is_owner(now)
        };
        self.living().into_iter().all(owns)
    }

    /// Whether all that stand on the ring know their right neighbours.
    pub(super) fn is_right(&self) -> bool {
        let mut standing: Vec<(&Position, u32)> = Vec::new();
        for slot in self.living() {
            if let Some(position) = self.arena.member(slot).ring.position() {
                standing.push((position, slot));
            }
        }
        standing.sort_unstable();
        let count = standing.len();
        (0..count).all(|at| {
            let ring = &self.arena.member(standing[at].1).ring;
            let (after, before) = (standing[(at + 1) % count].1, standing[(at + count - 1) % count].1);
            let is = |slot: u32, handle: Option<Handle>| handle == Some(self.arena.handle(slot));
            count == 1
                || is(after, ring.successors().first().map(|it| it.handle))
                    && is(before, ring.predecessor().map(|it| it.handle))
        })
    }

    pub(super) fn kill(&mut self, share: f64) {
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let dying = (living.len() as f64 * share).round() as usize;
        living.into_iter().take(dying).for_each(|slot| self.kill_one(slot));
    }

    fn kill_one(&mut self, slot: u32) {
        self.arena.kill(slot);
        self.arena.config.note_death(slot);
    }

    /// One round of lookups, with what goes wrong in it.
    pub(super) fn run_round(&mut self, round: u32) {
        self.break_things(round);
        let lookups = self.options.lookups / self.options.rounds;
        let churn = if self.options.faults.churn { self.options.churn.max(0.01) } else { self.options.churn };
        for step in 0..STEPS {
            let share = churn * self.period.as_secs() as f64 / 10.0 / STEPS as f64;
            let due = self.churn.due(self.options.nodes as usize, share);
            (0..due).for_each(|_| self.replace_one());
            let before = u64::from(lookups) * step / STEPS;
            for _ in before..u64::from(lookups) * (step + 1) / STEPS {
                self.look_up();
            }
            let end = self.arena.now() + Duration::from_micros(self.period.as_micros() / STEPS);
            self.arena.run_until(end);
            self.count();
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
        let introducer = self.arena.handle(introducer);
        self.kill_one(slot);
        self.put_newcomer(slot, introducer);
    }

    fn put_newcomer(&mut self, slot: u32, introducer: Handle) {
        let handle = successor(self.arena.member(slot).handle());
        let newcomer = Node::new(&self.arena.config, handle, self.arena.now());
        self.arena.replace(handle, newcomer, |node, call, out| node.join(call, introducer, out));
    }

    fn break_things(&mut self, round: u32) {
        let faults = self.options.faults;
        if faults.overstay && round == 0 {
            self.arena.config.let_overstay();
        }
        if faults.loss && round == 0 {
            self.arena.link().set_loss(LOSS_PER_MILLION);
        }
        if faults.split && round == SPLIT.0 {
            let parts = (0..self.options.nodes).map(|slot| (slot & 1) as u8).collect();
            self.arena.link().split(parts);
        }
        if faults.split && round == SPLIT.1 {
            self.arena.link().split(Vec::new());
        }
        let due = self.faulty.due(self.options.nodes as usize, FAULTY);
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        for slot in living.into_iter().take(due) {
            let span = Duration::from_millis(self.fate.between(1_000, 12_000));
            if faults.pause {
                self.arena.with(slot, |node, call, _| node.paused_until = call.now + span);
            }
        }
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        for (nth, slot) in living.into_iter().take(2 * due).enumerate() {
            let span = Duration::from_millis(self.fate.between(1_000, 4_000));
            if faults.suspect && nth % 2 == 0 {
                self.arena.with(slot, |node, call, out| node.suspect_first(call, span, out));
            }
            if faults.leave && nth % 2 == 1 {
                self.arena.with(slot, |node, call, out| node.leave(call, out));
            }
        }
    }

    fn look_up(&mut self) {
        let living = self.options.nodes;
        // A few tries: where half are dead every other one is one.
        for _ in 0..20 {
            let slot = self.fate.below(living);
            let handle = self.arena.handle(slot);
            if handle == Handle::NONE || self.arena.member(slot).paused_until > self.arena.now() {
                continue;
            }
            if !self.arena.member(slot).ring.is_owner(self.arena.now()) {
                continue;
            }
            let key = self.arena.config.items.any(&mut self.fate);
            let target = Position::of_key(key);
            let asked = target.clone();
            let Some(id) = self.arena.with(slot, |node, call, out| node.lookup(call, asked, out)) else {
                return;
            };
            self.tally.lookups += 1;
            self.asked.insert((handle, id), target);
            return;
        }
    }

    /// What became of lookups since the last time.
    fn count(&mut self) {
        for (_, asker, told) in self.arena.take_events() {
            match told {
                Told::Found { lookup, owner } => {
                    let Some(target) = self.asked.remove(&(asker, lookup)) else { continue };
                    let is_right = self.arena.config.take_answer(asker, &target);
                    self.tally.answered += 1;
                    self.tally.right += u64::from(is_right == Some(true));
                    self.tally.hops += u64::from(owner.hops);
                    self.tally.hops_max = self.tally.hops_max.max(u32::from(owner.hops));
                }
                Told::NotFound { lookup } => {
                    if self.asked.remove(&(asker, lookup)).is_some() {
                        self.tally.unanswered += 1;
                    }
                }
            }
        }
    }

    /// Lets the last lookups end. Those whose asker died do not count.
    pub(super) fn finish(&mut self) {
        for _ in 0..10 {
            self.advance();
        }
        let open: Vec<(Handle, LookupId)> = self.asked.keys().copied().collect();
        for (asker, _) in open {
            if self.arena.is_alive(asker) {
                self.tally.unanswered += 1;
            } else {
                self.tally.lookups -= 1;
            }
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn doubles(&self) -> u64 {
        self.arena.config.doubles.get()
    }

    /// Largest over mean load, as it is and for random places.
    pub(super) fn balance(&mut self) -> (f64, f64) {
        let items = &self.arena.config.items;
        let over_mean = |loads: Vec<usize>| {
            let (max, sum) = (loads.iter().copied().max().unwrap_or(0), loads.iter().sum::<usize>());
            (max * loads.len()) as f64 / sum.max(1) as f64
        };
        let owned = self.arena.config.ranges(self.arena.now());
        let balance = over_mean(owned.iter().map(|range| items.count(range)).collect());
        let mut places: Vec<Position> = (0..owned.len())
            .map(|_| {
                let mut bytes = [1; 9];
                bytes[1..].copy_from_slice(&self.fate.next_u64().to_be_bytes());
                Position::of_key(xtreem_overlay::Key::from_bytes(&bytes).expect("nine bytes"))
            })
            .collect();
        places.sort_unstable();
        let ranges = places.iter().zip(places.iter().cycle().skip(1));
        let random =
            ranges.map(|(a, b)| items.count(&xtreem_overlay::Range::new(a.clone(), b.clone()))).collect();
        (balance, over_mean(random))
    }
}
