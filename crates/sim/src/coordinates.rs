//! Network coordinates over links between places: how well they tell round trips, and what choosing by them
//! is worth.
//!
//! Only the coordinates' own core runs, one a node, so that thousands of nodes take seconds. Whole nodes with
//! the same links are played by `grid`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use xtreem_base::{Call, Coordinate, Core, Driven, Duration, Handle, Instant, Rng, Sampler, Sink};
use xtreem_membership::coordinates::{Config, Coordinates, Message};

use crate::link::{Latency, Link};

/// Pairs of nodes whose distance is compared with the truth.
const PAIRS: u32 = 20_000;
/// Requesters that choose by coordinates, each a few of some candidates.
const REQUESTERS: u32 = 500;
const CANDIDATES: usize = 40;
const CHOSEN: usize = 10;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub nodes: u32,
    pub rounds: u32,
    pub seed: u64,
    pub loss_per_million: u32,
    /// Nodes that stand wherever they like and say that they are sure of it, per thousand.
    pub liars_per_mille: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 1_000, rounds: 100, seed: 1, loss_per_million: 10_000, liars_per_mille: 0 }
    }
}

/// What came of it. Errors are in thousandths of the true round trip, over pairs that never need to have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub error_median: u32,
    pub error_p90: u32,
    /// Mean true round trip to 10 nodes of 40, µs: taken at random, chosen by coordinates, and the best there
    /// are.
    pub random_micros: u64,
    pub near_micros: u64,
    pub best_micros: u64,
}

/// Rounds of ten seconds, as in a real grid.
const CONFIG: Config = Config { period: Duration::from_secs(10) };

enum Event {
    Timeout,
    Arrival(Handle, Message),
}

struct Out<'a> {
    sent: Vec<(Handle, Message)>,
    rng: &'a mut Rng,
    nodes: u32,
    me: u32,
}

impl Sink<Message> for Out<'_> {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Sampler for Out<'_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        Some(Handle::from_u32(self.rng.below(self.nodes))).filter(|peer| peer.as_u32() != self.me)
    }
}

/// Plays the rounds and compares.
pub fn run(options: &Options) -> Report {
    let Options { nodes, rounds, seed, .. } = *options;
    let link = Link::new(seed, Latency::EUROPE, options.loss_per_million);
    let mut rng = Rng::derive(seed, 0, "coordinates");
    let stream = |slot| Rng::derive(seed, slot, "coordinate");
    let mut all: Vec<Coordinates> =
        (0..nodes).map(|slot| Coordinates::new(&CONFIG, stream(slot.into()), Instant::ZERO)).collect();
    let liars = nodes * options.liars_per_mille / 1_000;
    let mut queue = BTreeMap::new();
    let mut number = 0u32;
    for slot in 0..nodes {
        queue.insert((all[slot as usize].next_timeout(&CONFIG).at, number), (slot, Event::Timeout));
        number += 1;
    }
    let end = Instant::ZERO + CONFIG.period * u64::from(rounds);
    while let Some(((now, _), (slot, event))) = queue.pop_first().filter(|((now, _), _)| *now < end) {
        let mut out = Out { sent: Vec::new(), rng: &mut rng, nodes, me: slot };
        let node = &mut all[slot as usize];
        match event {
            Event::Timeout => {
                node.handle_timeout(Call::new(&CONFIG, now), &mut out);
                queue.insert((node.next_timeout(&CONFIG).at, number), (slot, Event::Timeout));
                number += 1;
            }
            // An answer that comes after the next question is nobody's fault here.
            Event::Arrival(from, message) => {
                let _ = node.handle_message(Call::new(&CONFIG, now), from, message, &mut out);
            }
        }
        for (to, mut message) in out.sent {
            if let (Message::Answer { coordinate, .. }, true) = (&mut message, slot < liars) {
                let anywhere = |rng: &mut Rng| {
                    rng.below(2 * Coordinate::LENGTH_MAX as u32) as i32 - Coordinate::LENGTH_MAX
                };
                *coordinate =
                    Coordinate { at: [(); 3].map(|()| anywhere(&mut rng)), error: 0, ..*coordinate };
            }
            if let Some(at) = link.carry(now, slot, to.as_u32(), number) {
                queue.insert((at, number), (to.as_u32(), Event::Arrival(Handle::from_u32(slot), message)));
            }
            number += 1;
        }
    }
    let honest: Vec<(u32, Coordinate)> =
        (liars..nodes).map(|slot| (slot, all[slot as usize].coordinate())).collect();
    compare(&link, &honest, &mut rng)
}

fn compare(link: &Link, nodes: &[(u32, Coordinate)], rng: &mut Rng) -> Report {
    let any = |rng: &mut Rng| nodes[rng.below(nodes.len() as u32) as usize];
    let mut errors: Vec<u32> = (0..PAIRS)
        .map(|_| (any(rng), any(rng)))
        .filter(|(a, b)| a.0 != b.0)
        .map(|(a, b)| {
            let (told, truth) = (a.1.round_trip(&b.1).as_micros(), link.round_trip(a.0, b.0).as_micros());
            (told.abs_diff(truth) * 1_000 / truth.max(1)) as u32
        })
        .collect();
    errors.sort_unstable();
    let (mut random, mut near, mut best) = (0, 0, 0);
    for _ in 0..REQUESTERS {
        let me = any(rng);
        let mut candidates: Vec<_> = (0..CANDIDATES).map(|_| any(rng)).collect();
        let truth = |other: &(u32, Coordinate)| link.round_trip(me.0, other.0).as_micros();
        let sum = |list: &[(u32, Coordinate)]| list[..CHOSEN].iter().map(truth).sum::<u64>();
        random += sum(&candidates);
        candidates.sort_by_key(|other| me.1.distance(&other.1));
        near += sum(&candidates);
        candidates.sort_by_key(truth);
        best += sum(&candidates);
    }
    let of = u64::from(REQUESTERS) * CHOSEN as u64;
    Report {
        error_median: errors[errors.len() / 2],
        error_p90: errors[errors.len() * 9 / 10],
        random_micros: random / of,
        near_micros: near / of,
        best_micros: best / of,
    }
}
