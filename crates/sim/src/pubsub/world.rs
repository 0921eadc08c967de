//! A world of servers, publishers and subscribers, and what goes wrong in it.

use std::cell::RefCell;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_pubsub::relay;

use super::node::{Common, Node, topic};
use super::watch::{Count, Watch};
use super::{Options, Report, Tree};
use crate::arena::{Arena, successor};
use crate::link::{Latency, Link};

/// Ring predecessors, by slot, that a node's partial view has at the start.
const PREDECESSORS: u32 = 5;
/// Periods of CYCLON before anybody stands on the ring: views are random then.
const MIXING: u64 = 12;
/// Rounds that the ring has to form before subscribers come all the same.
const FORMING_MAX: u32 = 150;
/// Rounds in which rows fill once the ring is right: one row a round.
const ROWS: u32 = 40;
/// Subscribers come within so long, and are waited for so long.
const COMING: Duration = Duration::from_secs(10);
const WAITING_MAX: Duration = Duration::from_secs(240);
const ROUND: Duration = Duration::from_secs(2);
/// Steps of a round: publishers publish in any of them.
const STEPS: u64 = 8;
/// What is on its way at the end may come so long.
const DRAINING: Duration = Duration::from_secs(60);
const LOSS_PER_MILLION: u32 = 20_000;
/// Rounds of the split.
const SPLIT: (u32, u32) = (20, 30);
/// After a split: what one side's ring did not have is written anew when its lease has ended, and found then.
const HEALING: Duration = Duration::from_secs(relay::LEASE.as_secs() + 30);
/// Rounds between two deaths or new starts, and until somebody stands in for a dead one.
const DEATHS: u32 = 12;
const REPLACED: u32 = 8;
/// Whom a newcomer knows: that all of them are paused or do not hear it is rare.
const INTRODUCERS: usize = 4;
/// Rounds in which who started anew finds its place on the ring, before its clients come back.
const FINDING: u32 = 1;

pub(super) struct World {
    pub(super) arena: Arena<Node>,
    options: Options,
    pub(super) fate: Rng,
    period: Duration,
    pub(super) publishers: Vec<u32>,
    pub(super) subscribers: Vec<u32>,
    rounds_to_right_ring: Option<u32>,
    /// Until which round these slots are dead, and those new to the ring.
    gone: Vec<(u32, u32)>,
    finding: Vec<(u32, u32)>,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let common = Common {
            seed: options.seed,
            tree: options.tree,
            membership: xtreem_membership::Config::default(),
            overlay: xtreem_overlay::overlay::Config::default(),
            watch: RefCell::new(Watch::new(options.nodes)),
        };
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
        let mut fate = Rng::derive(options.seed, 0, "fate");
        let mut slots: Vec<u32> = (0..options.nodes).collect();
        fate.shuffle(&mut slots);
        let subscribers = slots.split_off(options.publishers as usize);
        let subscribers = subscribers[..options.subscribers as usize].to_vec();
        let options = options.clone();
        World {
            arena,
            options,
            fate,
            period,
            publishers: slots,
            subscribers,
            rounds_to_right_ring: None,
            gone: Vec::new(),
            finding: Vec::new(),
        }
    }

    /// Lets all nodes come onto the ring and fill their rows.
    pub(super) fn form(&mut self) {
        for slot in 0..self.options.nodes {
            self.arena.with(slot, |node, call, out| {
                node.stand(call);
                if call.config.tree == Tree::Gossip {
                    node.begin_gossip(call, out);
                }
            });
        }
        let mut right_at = None;
        for round in 1..=FORMING_MAX {
            self.pass(self.period);
            if right_at.is_none() && self.is_right() {
                right_at = Some(round);
            }
            if right_at.is_some_and(|at| round >= at + ROWS) && self.all_own() {
                break;
            }
        }
        self.rounds_to_right_ring = right_at;
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.arena.run_until(self.arena.now() + span);
    }

    fn all_own(&self) -> bool {
        let now = self.arena.now();
        self.living().into_iter().all(|slot| {
            let overlay = &self.arena.member(slot).overlay;
            overlay.ring().is_owner(now) && overlay.store().is_open()
        })
    }

    fn is_right(&self) -> bool {
        let position = |slot: &u32| self.arena.member(*slot).overlay.ring().position();
        let mut standing: Vec<u32> = (0..self.options.nodes).collect();
        standing.sort_unstable_by_key(|slot| position(slot));
        let next = standing.iter().cycle().skip(1);
        standing.iter().zip(next).all(|(slot, next)| {
            let first = self.arena.member(*slot).overlay.ring().successors().first();
            first.is_some_and(|first| first.handle == self.arena.handle(*next))
        })
    }

    pub(super) fn living(&self) -> Vec<u32> {
        (0..self.options.nodes).filter(|&slot| self.is_alive(slot)).collect()
    }

    pub(super) fn is_alive(&self, slot: u32) -> bool {
        self.arena.handle(slot) != Handle::NONE
    }

    /// Subscribers come, and are waited for.
    pub(super) fn subscribe(&mut self) {
        let coming = self.subscribers.clone();
        let steps = 100;
        for step in 0..steps {
            let at = |step: usize| coming.len() * step / steps;
            for slot in &coming[at(step)..at(step + 1)] {
                self.arena.with(*slot, |node, call, out| node.subscribe(call, &topic(), out));
            }
            self.pass(Duration::from_micros(COMING.as_micros() / steps as u64));
        }
        let end = self.arena.now() + WAITING_MAX;
        while self.arena.now() < end && self.arena.config.watch.borrow().waiting() > 0 {
            self.pass(Duration::from_millis(500));
        }
    }

    /// Rounds of events.
    pub(super) fn play(&mut self) {
        self.arena.config.watch.borrow_mut().count = Count::default();
        if self.options.faults.loss {
            self.arena.link().set_loss(LOSS_PER_MILLION);
        }
        for round in 0..self.options.rounds {
            self.kill_some(round);
            self.break_things(round);
            self.play_round();
        }
    }

    pub(super) fn play_round(&mut self) {
        let mut due: Vec<(u64, u32)> =
            self.publishers.iter().map(|slot| (self.fate.between(0, STEPS - 1), *slot)).collect();
        due.sort_unstable();
        for step in 0..STEPS {
            for (_, slot) in due.iter().filter(|(at, _)| *at == step) {
                self.publish(*slot);
            }
            self.pass(Duration::from_micros(ROUND.as_micros() / STEPS));
        }
    }

    pub(super) fn publish(&mut self, slot: u32) {
        let is_finding = self.finding.iter().any(|(one, _)| *one == slot);
        if !is_finding && self.is_alive(slot) && self.arena.member(slot).paused_until <= self.arena.now() {
            self.arena.with(slot, |node, call, out| node.publish(call, out));
        }
    }

    fn kill_some(&mut self, round: u32) {
        let mut living = self.living();
        living.retain(|slot| !self.publishers.contains(slot));
        self.fate.shuffle(&mut living);
        let mut dying = self.options.kill_per_round as usize;
        if let Some(kill) = self.options.kill.filter(|kill| kill.at_round == round) {
            dying += (f64::from(self.options.nodes) * kill.fraction).round() as usize;
            self.arena.config.watch.borrow_mut().killed = Some(self.arena.now());
        }
        living.into_iter().take(dying).for_each(|slot| self.kill(slot));
    }

    pub(super) fn kill(&mut self, slot: u32) {
        let (now, handle) = (self.arena.now(), self.arena.handle(slot));
        self.arena.kill(slot);
        self.arena.config.watch.borrow_mut().died(now, handle);
    }

    pub(super) fn pause(&mut self, slot: u32, span: Duration) {
        let (now, handle) = (self.arena.now(), self.arena.handle(slot));
        self.arena.with(slot, |node, call, _| node.paused_until = call.now + span);
        self.arena.config.watch.borrow_mut().paused(handle, now, now + span);
    }

    /// Another server comes into this slot, and knows a few of the living.
    pub(super) fn replace(&mut self, slot: u32) {
        let mut living = self.living();
        living.retain(|other| *other != slot);
        self.fate.shuffle(&mut living);
        living.truncate(INTRODUCERS);
        if self.is_alive(slot) {
            self.kill(slot);
        }
        let known: Vec<Handle> = living.into_iter().map(|slot| self.arena.handle(slot)).collect();
        let handle = successor(self.arena.member(slot).handle());
        let newcomer = Node::new(&self.arena.config, handle, self.arena.now());
        self.arena.replace(handle, newcomer, |node, call, out| {
            known.iter().for_each(|introducer| node.join(call, *introducer, out));
        });
    }

    pub(super) fn begin_split(&mut self, parts: Vec<u8>) {
        self.arena.link().split(parts);
    }

    /// From shortly before the split, as events wait for a list that is made in it, until everybody has
    /// written anew after its end nothing is promised.
    pub(super) fn end_split(&mut self, span: Duration) {
        self.arena.link().split(Vec::new());
        let end = self.arena.now() + HEALING;
        let begin = Instant::from_micros((self.arena.now().as_micros()).saturating_sub(span.as_micros()));
        self.arena.config.watch.borrow_mut().split(begin, end);
    }

    fn break_things(&mut self, round: u32) {
        let faults = self.options.faults;
        if !faults.any() {
            return;
        }
        let is_split = faults.split && (SPLIT.0..SPLIT.1 + 10).contains(&round);
        if faults.split && round == SPLIT.0 {
            let parts = (0..self.options.nodes).map(|_| self.fate.below(2) as u8).collect();
            self.begin_split(parts);
        }
        if faults.split && round == SPLIT.1 {
            self.end_split(ROUND * u64::from(SPLIT.1 - SPLIT.0 + 8));
        }
        if let Some(at) = self.gone.iter().position(|(_, due)| *due == round) {
            let (slot, _) = self.gone.remove(at);
            self.replace(slot);
            self.finding.push((slot, round + FINDING));
        }
        if let Some(at) = self.finding.iter().position(|(_, due)| *due == round) {
            let (slot, _) = self.finding.remove(at);
            if self.is_alive(slot) && self.subscribers.contains(&slot) {
                self.arena.with(slot, |node, call, out| node.subscribe(call, &topic(), out));
            }
        }
        let mut living = self.living();
        living.retain(|slot| {
            let is_finding = self.finding.iter().any(|(one, _)| one == slot);
            !is_finding && self.arena.member(*slot).paused_until <= self.arena.now()
        });
        let Some(&one) = self.fate.pick(&living) else { return };
        if faults.pause && round % 5 == 1 {
            let span = Duration::from_millis(self.fate.between(1_000, 12_000));
            self.pause(one, span);
        } else if faults.death && round % DEATHS == 3 && !is_split {
            self.kill(one);
            self.gone.push((one, round + REPLACED));
            self.subscribers.retain(|slot| *slot != one);
            if self.publishers.contains(&one) {
                self.publishers.retain(|slot| *slot != one);
                living.retain(|slot| *slot != one);
                self.publishers.extend(self.fate.pick(&living));
            }
        } else if faults.restart && round % (2 * DEATHS) == 15 && !is_split {
            self.replace(one);
            self.finding.push((one, round + FINDING));
        } else if faults.cancel && round % 16 == 5 && self.subscribers.contains(&one) && !is_split {
            self.subscribers.retain(|slot| *slot != one);
            self.arena.with(one, |node, call, out| node.cancel(call, out));
        } else if faults.cancel && round % 16 == 12 && !is_split {
            let is_new = !self.subscribers.contains(&one) && !self.arena.member(one).is_cancelled();
            if is_new {
                self.subscribers.push(one);
                self.arena.with(one, |node, call, out| node.subscribe(call, &topic(), out));
            }
        }
    }

    /// Lets come what is on its way.
    pub(super) fn finish(mut self) -> Report {
        let sent = self.arena.config.watch.borrow().count;
        self.pass(DRAINING);
        let mut watch = std::mem::take(&mut *self.arena.config.watch.borrow_mut());
        watch.count.only_until(&sent);
        let must_all_hear = self.options.tree == Tree::List && self.options.kill.is_none();
        watch.report(self.rounds_to_right_ring, must_all_hear)
    }
}
