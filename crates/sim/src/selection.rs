//! `sim selection`, first part: how the links of the k-d prefix trie fill, and what a search along them would find.
//!
//! The real cores (partial view and trie) with typed messages. Searches are not played yet: a walk over the links
//! of this moment, dead ones skipped, tells what a find-all would visit and find.

pub mod data;
mod world;

use serde::Serialize;
use xtreem_base::Rng;
use xtreem_discovery::area::Area;

use data::{ATTRIBUTES, Data, RANGE, Ranks};
use world::{World, slot_of};

/// Requirements that are walked at each reading.
const WALKS: u32 = 20;
/// Attributes that a requirement bounds, each to 30 % of its ranks (design note on discovery, "3x.3").
const BOUNDED: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    pub data: Data,
    pub data_seed: u64,
    pub seed: u64,
    /// Periods of virtual time.
    pub rounds: u32,
    /// Share of the nodes that is replaced by newcomers in each round from `churn_from` on, 0..1.
    pub churn: f64,
    pub churn_from: u32,
    /// Share of the messages that get lost, 0..1.
    pub loss: f64,
    /// Rounds from one reading to the next.
    pub every: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 1_000,
            data: Data::Uniform,
            data_seed: 1,
            seed: 1,
            rounds: 60,
            churn: 0.0,
            churn_from: 60,
            loss: 0.0,
            every: 5,
        }
    }
}

/// The links when `round` rounds were over. Means are over nodes; fractions are 0..1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    pub round: u32,
    /// Matching nodes that a walk along links finds.
    pub recall: f64,
    pub visits_per_match: f64,
    pub matches_mean: f64,
    /// Subtrees with a link.
    pub links_mean: f64,
    /// Linked nodes that live.
    pub alive: f64,
    pub link_memory_bytes_mean: f64,
    /// What nodes believe the grid's size to be.
    pub size_mean: f64,
    /// Bytes that the trie sent a node and round since the last reading, about.
    pub bytes_per_round: f64,
}

/// Runs one world from nothing known but five ring predecessors a node.
pub fn links(options: &Options) -> Vec<Reading> {
    let machines = options.data.machines(options.nodes, options.data_seed);
    let ranks = Ranks::new(&machines);
    let mut world = World::new(machines, options.seed, options.loss);
    let mut readings = Vec::new();
    let mut sent = 0;
    for round in 1..=options.rounds {
        if round > options.churn_from {
            world.replace(options.churn);
        }
        world.run_round();
        if round % options.every.max(1) == 0 {
            let bytes = (world.bytes() - sent) as f64 / f64::from(options.every.max(1));
            sent = world.bytes();
            readings.push(read(&world, &ranks, round, bytes));
        }
    }
    readings
}

fn read(world: &World, ranks: &Ranks, round: u32, bytes: f64) -> Reading {
    let nodes = world.members.len() as f64;
    let mut rng = Rng::derive(world.seed, u64::from(round), "walks");
    let (mut visits, mut found, mut matches) = (0, 0, 0);
    for _ in 0..WALKS {
        let region = some_region(ranks, &mut rng);
        let walk = walk(world, rng.below(world.members.len() as u32), &region);
        visits += walk.0;
        found += walk.1;
        let codes = world.members.iter().map(|member| member.trie.key().codes(ATTRIBUTES));
        matches += codes.filter(|codes| region.contains(codes)).count();
    }
    let tables = || world.members.iter().map(|member| member.trie.table());
    let alive = |(_, known): &(usize, &xtreem_discovery::trie::Alternate)| world.is_alive(known.handle);
    let linked: usize = tables().map(|table| table.all().count()).sum();
    let living: usize = tables().map(|table| table.all().filter(alive).count()).sum();
    let heap: usize = world.members.iter().map(|member| member.trie.heap_bytes()).sum();
    Reading {
        round,
        recall: found as f64 / matches.max(1) as f64,
        visits_per_match: visits as f64 / found.max(1) as f64,
        matches_mean: matches as f64 / f64::from(WALKS),
        links_mean: tables().map(|table| table.buckets().len()).sum::<usize>() as f64 / nodes,
        alive: living as f64 / linked.max(1) as f64,
        link_memory_bytes_mean: heap as f64 / nodes,
        size_mean: world.members.iter().map(|member| f64::from(member.trie.summary(0).count)).sum::<f64>()
            / nodes,
        bytes_per_round: bytes / nodes,
    }
}

/// Three random attributes, each bounded to a random stretch of 30 % of its ranks.
fn some_region(ranks: &Ranks, rng: &mut Rng) -> Area {
    let mut region = Area::EVERYTHING;
    let mut attributes: [usize; ATTRIBUTES] = std::array::from_fn(|i| i);
    rng.shuffle(&mut attributes);
    let width = RANGE * 3 / 10;
    for &attribute in &attributes[..BOUNDED] {
        let low = rng.below(RANGE - width);
        // Codes are one above values: zero is "unknown".
        let code = |rank| u16::try_from(ranks.value(attribute, rank) + 1).unwrap_or(u16::MAX);
        region.low[attribute] = code(low);
        region.high[attribute] = code(low + width).max(region.low[attribute]);
    }
    region
}

/// Visits, and matches found, when living links are followed from `start` into every subtree that can match.
fn walk(world: &World, start: u32, region: &Area) -> (usize, usize) {
    let (mut visits, mut found) = (0, 0);
    let mut open = vec![(start, 0)];
    while let Some((slot, len)) = open.pop() {
        let trie = &world.members[slot as usize].trie;
        visits += 1;
        found += usize::from(region.contains(&trie.key().codes(ATTRIBUTES)));
        for bucket in trie.table().buckets().iter().filter(|bucket| usize::from(bucket.level) >= len) {
            let level = usize::from(bucket.level);
            let cell = || trie.key().sibling(level).cell(level + 1, ATTRIBUTES);
            let area = bucket.summary().map_or_else(cell, |summary| summary.area);
            let living = bucket.alternates().iter().find(|known| world.is_alive(known.handle));
            if let Some(known) = living.filter(|_| area.meet(region).is_sound()) {
                open.push((slot_of(known.handle), level + 1));
            }
        }
    }
    (visits, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_fill_from_nothing_on_both_data_sets_and_stand_churn() {
        for data in [Data::Uniform, Data::Clustered] {
            let churn = Options { churn: 0.002, churn_from: 30, rounds: 40, every: 10, ..Options::default() };
            let options = Options { nodes: 250, data, ..churn };
            let readings = links(&options);
            let [first, .., filled, churned] = &readings[..] else { panic!("{readings:?}") };
            assert!(first.recall < filled.recall, "{first:?}");
            assert!(filled.recall > 0.99 && (filled.size_mean - 250.0).abs() < 10.0, "{filled:?}");
            assert!(churned.recall > 0.95, "{churned:?}");
            assert_eq!(readings, links(&options), "the same seed, the same way");
        }
    }
}
