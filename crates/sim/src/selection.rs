//! `sim selection`: how the links of the k-d prefix trie fill, and what searches along them cost and find.
//!
//! The real cores (partial view, trie and search) with typed messages. How links fill is read by a walk over
//! those of the moment, dead ones skipped; figures of queries come from searches that are played.

mod aggregates;
mod ask;
mod baseline;
mod cells;
pub mod classes;
pub mod data;
mod node;
pub mod recovery;
mod report;
mod run;
mod search;
mod sets;
mod world;

use xtreem_base::Rng;
use xtreem_discovery::area::Area;

pub use aggregates::Aggregates;
use data::{ATTRIBUTES, Data, RANGE, Ranks};
pub use report::{Baseline, ClassReport, Load, Report, RoundRecall, Scheme, Wanted};
pub use run::run;
pub use sets::SetFigures;
use world::World;

use crate::arena::slot_of;

/// Requirements that are walked at each reading.
const WALKS: u32 = 20;
/// Attributes that a requirement bounds, each to 30 % of its ranks (docs/design/selection.md, "Model").
const BOUNDED: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// The baseline is measured in any case.
    pub scheme: Scheme,
    pub data: Data,
    pub data_seed: u64,
    pub seed: u64,
    /// Periods of virtual time in which links fill.
    pub rounds: u32,
    /// Rounds from one reading of the recall to the next.
    pub every: u32,
    /// Share of the nodes that is replaced by newcomers in each round after those, 0..1.
    pub churn: f64,
    /// Rounds with that churn before the first query.
    pub churn_rounds: u32,
    /// Share of the packets that get lost, 0..1.
    pub loss: f64,
    /// Nodes that a query asks for; each query is asked for each of these numbers.
    pub wanted: Vec<u32>,
    /// Queries over which the load of the nodes is measured; none with zero.
    pub load: u32,
}

impl Default for Options {
    /// Rounds and wanted nodes are those of docs/figures.md; after 30 rounds churn is as steady as it gets
    /// (docs/design/selection.md, "Filling the links").
    fn default() -> Self {
        Options {
            nodes: 1_000,
            scheme: Scheme::Trie,
            data: Data::Uniform,
            data_seed: 1,
            seed: 1,
            rounds: 60,
            every: 5,
            churn: 0.0,
            churn_rounds: 30,
            loss: 0.0,
            wanted: vec![10],
            load: 20_000,
        }
    }
}

/// The largest world: handles have 24 bits for the slot, and memory is finite.
pub const NODES_MAX: u32 = 1_000_000;

impl Options {
    /// Says what is wrong with them.
    fn check(&self) -> Result<(), String> {
        let is_share = |share: f64| (0.0..=0.5).contains(&share);
        match self {
            _ if !(10..=NODES_MAX).contains(&self.nodes) => Err(format!("--nodes is 10 to {NODES_MAX}")),
            _ if !is_share(self.churn) || !is_share(self.loss) => {
                Err("--churn and --loss are 0 to 0.5".into())
            }
            _ if self.wanted.is_empty() || self.wanted.contains(&0) => Err("--wanted is at least 1".into()),
            _ if !(1..=10_000).contains(&self.rounds) => Err("--rounds is 1 to 10000".into()),
            _ => Ok(()),
        }
    }
}

/// The share of matching nodes that a walk along living links finds, over some random requirements.
fn read_recall(world: &World, ranks: &Ranks, round: u32) -> f64 {
    let mut rng = Rng::derive(world.seed(), u64::from(round), "walks");
    let (mut found, mut matches) = (0, 0);
    for _ in 0..WALKS {
        let region = some_region(ranks, &mut rng);
        found += walk(world, rng.below(world.slots()), &region, &mut |_| false).1;
        let codes = world.nodes().map(|node| node.trie.codes());
        matches += codes.filter(|codes| region.contains(codes)).count();
    }
    found as f64 / matches.max(1) as f64
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

/// Visits, matches found, and whether a visited slot was `sought`, when living links are followed from
/// `start` into every subtree that can match.
fn walk(
    world: &World,
    start: u32,
    region: &Area,
    sought: &mut dyn FnMut(u32) -> bool,
) -> (usize, usize, bool) {
    let (mut visits, mut found, mut is_there) = (0, 0, false);
    let mut open = vec![(start, 0)];
    while let Some((slot, len)) = open.pop() {
        let trie = &world.node(slot).trie;
        visits += 1;
        is_there |= sought(slot);
        found += usize::from(region.contains(trie.codes()));
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
    (visits, found, is_there)
}

#[cfg(test)]
mod tests {
    use super::classes::Class;
    use super::*;

    fn options(data: Data) -> Options {
        let (nodes, rounds, every, load) = (400, 30, 10, 100);
        Options { nodes, data, rounds, every, load, churn: 0.002, churn_rounds: 5, ..Options::default() }
    }

    #[test]
    fn links_fill_from_nothing_and_searches_find_their_nodes_in_churn() {
        for data in [Data::Uniform, Data::Clustered] {
            let classes = [classes::BUILTIN[4].clone(), Class::Line("a0 < 40000".into())];
            let report = run(&options(data), &classes, &mut |_| {}).unwrap();
            let [first, .., filled] = &report.recall_by_round[..] else { panic!("{report:?}") };
            assert!(first.recall <= filled.recall && filled.recall > 0.99, "{report:?}");
            assert!(report.newcomer_rounds.is_some_and(|rounds| rounds <= 3), "{report:?}");
            for class in report.classes.iter().chain(&report.scarce) {
                assert!(class.recall > 0.97 && class.wanted.satisfied > 0.97, "{class:?}");
                assert!(class.wanted.visits_mean < 40.0, "{class:?}");
                let set = class.set.as_ref().expect("the trie's classes have sets");
                assert!(set.set_solved == 1.0 && set.set_visits_mean < 40.0, "{class:?}");
            }
            assert_eq!((report.classes.len(), report.scarce.len()), (1, 1), "{report:?}");
        }
    }

    /// Of links that tell nothing of what changes, a search for few would visit as many nodes for each as one
    /// for all.
    #[test]
    fn what_links_say_of_changing_values_guides_the_search_though_it_ages() {
        let options = Options { nodes: 1_000, load: 0, ..options(Data::Uniform) };
        let classes = ["disk.free >= 64GiB", "disk.free >= 128GiB"].map(|line| Class::Line(line.into()));
        let report = run(&options, &classes, &mut |_| {}).unwrap();
        for class in report.classes.iter().chain(&report.scarce) {
            let blind = 10.0 * class.visits_per_match;
            assert!(class.matches_mean > 20.0 && blind > 50.0, "{class:?}");
            assert!(
                class.wanted.satisfied > 0.9 && class.wanted.visits_mean < 0.6 * blind,
                "{blind} {class:?}"
            );
        }
    }

    #[test]
    fn the_same_seed_runs_the_same_way() {
        let one = || {
            let options = Options { nodes: 100, rounds: 10, ..options(Data::Clustered) };
            let report = run(&options, &classes::BUILTIN[..1], &mut |_| {}).unwrap();
            (report.recall_by_round, report.bytes_sent_per_node, report.scarce, report.load)
        };
        assert_eq!(one(), one());
    }
}
