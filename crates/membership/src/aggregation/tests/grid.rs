//! A small grid in which any node can meet any other: no partial view, so that what is seen is aggregation's
//! own.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::super::*;
use xtreem_base::Plane;

pub(super) const LATENCY_MAX: u64 = 165;

enum Event {
    Timer,
    Deliver(Handle, Message),
}

pub(super) struct Grid {
    pub config: Config,
    pub nodes: BTreeMap<Handle, Aggregation>,
    pub codes: BTreeMap<Handle, Vec<u16>>,
    pub now: Instant,
    pub faults: Vec<Fault>,
    pub sent: usize,
    /// Messages that get lost, in parts of a thousand.
    pub loss: u32,
    even: Arc<Bounds>,
    rng: Rng,
    queue: BTreeMap<(Instant, u64), (Handle, Event)>,
    pushed: u64,
    next: u32,
}

pub(super) struct Post<'a> {
    rng: &'a mut Rng,
    all: &'a [Handle],
    pub sent: Vec<(Handle, Message)>,
}

impl Sink<Message> for Post<'_> {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Sampler for Post<'_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.rng.pick(self.all).copied()
    }
}

impl Grid {
    pub fn new(machines: &[Vec<u16>], seed: u64) -> Self {
        let mut grid = Grid {
            config: Config::default(),
            nodes: BTreeMap::new(),
            codes: BTreeMap::new(),
            now: Instant::ZERO,
            faults: Vec::new(),
            sent: 0,
            loss: 0,
            even: Arc::new(Bounds::even(machines[0].len())),
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            pushed: 0,
            next: 0,
        };
        machines.iter().for_each(|codes| {
            grid.add(codes.clone());
        });
        grid
    }

    pub fn add(&mut self, codes: Vec<u16>) -> Handle {
        let me = Handle::from_u32(self.next);
        self.next += 1;
        let rng = Rng::new(self.rng.next_u64());
        let node = Aggregation::new(&self.config, 1, self.even.clone(), me, &codes, rng, self.now);
        self.push(node.next_timeout(&self.config).at, me, Event::Timer);
        self.nodes.insert(me, node);
        self.codes.insert(me, codes);
        me
    }

    pub fn remove(&mut self, node: Handle) {
        self.nodes.remove(&node);
        self.codes.remove(&node);
    }

    /// Some random nodes die, and as many newcomers of the same kinds come.
    pub fn replace(&mut self, count: usize) {
        for _ in 0..count {
            let all: Vec<Handle> = self.nodes.keys().copied().collect();
            let gone = all[self.rng.below(all.len() as u32) as usize];
            let codes = self.codes[&gone].clone();
            self.remove(gone);
            self.add(codes);
        }
    }

    fn push(&mut self, at: Instant, to: Handle, event: Event) {
        self.pushed += 1;
        self.queue.insert((at, self.pushed), (to, event));
    }

    pub fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            let end = self.now + self.config.period;
            self.run_until(end);
        }
    }

    fn run_until(&mut self, end: Instant) {
        let all: Vec<Handle> = self.nodes.keys().copied().collect();
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), (to, event)) = entry.remove_entry();
            self.now = at;
            self.happen(&all, to, event);
        }
        self.now = end;
    }

    fn happen(&mut self, all: &[Handle], to: Handle, event: Event) {
        let Some(node) = self.nodes.get_mut(&to) else { return };
        let before = node.next_timeout(&self.config).at;
        let mut post = Post { rng: &mut self.rng, all, sent: Vec::new() };
        let is_timer = matches!(event, Event::Timer);
        match event {
            Event::Timer if before > self.now => {}
            Event::Timer => node.handle_timeout(Call::new(&self.config, self.now), &mut post),
            Event::Deliver(from, message) => {
                let result = node.handle_message(Call::new(&self.config, self.now), from, message, &mut post);
                self.faults.extend(result.err());
            }
        }
        let (sent, after) = (post.sent, node.next_timeout(&self.config).at);
        if is_timer || after < before {
            self.push(after, to, Event::Timer);
        }
        for (peer, message) in sent {
            self.sent += message.wire_bytes();
            if message.travel().plane == Plane::Datagram && self.rng.chance(self.loss, 1_000) {
                continue;
            }
            let latency = Duration::from_millis(self.rng.between(5, LATENCY_MAX));
            self.push(self.now + latency, peer, Event::Deliver(to, message));
        }
    }

    /// The sum of all nodes' values of one bound.
    pub fn mass(&self, bound: usize) -> u64 {
        self.nodes.values().filter(|node| node.epochs.is_in).map(|node| u64::from(node.values[bound])).sum()
    }

    pub fn estimates(&self) -> Vec<Arc<Estimate>> {
        self.nodes
            .values()
            .filter(|node| !node.is_heard())
            .filter_map(|node| node.estimate().cloned())
            .collect()
    }

    /// The mean of |estimate - nodes| / nodes, in thousandths.
    pub fn size_error(&self) -> u64 {
        let nodes = self.nodes.len() as u64;
        let estimates = self.estimates();
        let off: u64 = estimates.iter().map(|one| u64::from(one.size.nodes).abs_diff(nodes)).sum();
        off * 1_000 / nodes / estimates.len().max(1) as u64
    }

    /// The largest difference to the true share at any code, in thousandths.
    pub fn histogram_error(&self) -> u64 {
        let mut errors = Vec::new();
        for estimate in self.estimates().iter().take(20) {
            for attribute in 0..estimate.attributes() {
                let mut sorted: Vec<u16> = self.codes.values().map(|codes| codes[attribute]).collect();
                sorted.sort_unstable();
                let curve = estimate.curve(attribute).unwrap();
                for code in sorted.iter().flat_map(|code| [code.saturating_sub(1), *code]) {
                    let below = sorted.partition_point(|other| *other <= code) as u64;
                    let share = u64::from(curve.at_most(code)) * 1_000 / u64::from(WHOLE);
                    errors.push(share.abs_diff(below * 1_000 / sorted.len() as u64));
                }
            }
        }
        errors.into_iter().max().unwrap_or(1_000)
    }
}
