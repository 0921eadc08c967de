//! How soon searches find everybody again after half of the grid has died, or was cut off for a while.

use xtreem_base::Rng;

use super::data::{Data, Ranks};
use super::world::World;
use super::{RoundRecall, WALKS, some_region, walk};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Disaster {
    /// This share of the nodes dies at once, 0..1.
    Kill(f64),
    /// Two halves do not hear each other for so many rounds; then they do.
    Split(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    pub nodes: u32,
    pub data: Data,
    pub seed: u64,
    /// Rounds in which links fill first.
    pub rounds: u32,
    /// Share of the packets that get lost, 0..1.
    pub loss: f64,
    pub disaster: Disaster,
    /// Rounds after it.
    pub after: u32,
}

/// The share of living matches that walks along living links find, before, right after the disaster (round
/// 0), and after each round from then on.
pub fn recovery(options: &Recovery) -> (f64, Vec<RoundRecall>) {
    let machines = options.data.machines(options.nodes, 1);
    let ranks = Ranks::new(&machines);
    let mut world = World::new(&machines, options.seed, options.loss);
    (0..options.rounds).for_each(|_| world.run_round());
    let before = recall_of_living(&world, &ranks, u32::MAX);
    match options.disaster {
        Disaster::Kill(share) => world.kill(share),
        Disaster::Split(rounds) => {
            world.split(true);
            (0..rounds).for_each(|_| world.run_round());
            world.split(false);
        }
    }
    let read = |round| {
        if round > 0 {
            world.run_round();
        }
        RoundRecall { round, recall: recall_of_living(&world, &ranks, round) }
    };
    (before, (0..=options.after).map(read).collect())
}

fn recall_of_living(world: &World, ranks: &Ranks, round: u32) -> f64 {
    let mut rng = Rng::derive(world.seed(), u64::from(round), "recovery");
    let living: Vec<u32> = (0..world.slots()).filter(|slot| world.lives(*slot)).collect();
    let (mut found, mut matches) = (0, 0);
    for _ in 0..WALKS {
        let region = some_region(ranks, &mut rng);
        let Some(start) = rng.pick(&living) else { return 0.0 };
        found += walk(world, *start, &region, &mut |_| false).1;
        let is_match = |slot: &&u32| region.contains(world.node(**slot).trie.codes());
        matches += living.iter().filter(is_match).count();
    }
    found as f64 / matches.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recall(data: Data, disaster: Disaster) -> Vec<f64> {
        let options = Recovery { nodes: 1_000, data, seed: 1, rounds: 40, loss: 0.01, disaster, after: 5 };
        let (before, after) = recovery(&options);
        assert!(before > 0.99, "{data:?}: {before} before");
        after.into_iter().map(|round| round.recall).collect()
    }

    #[test]
    fn searches_find_the_rest_when_half_of_the_grid_has_died() {
        for data in [Data::Uniform, Data::Clustered] {
            let after = recall(data, Disaster::Kill(0.5));
            assert!(after[0] < 0.8 && after[3..].iter().all(|recall| *recall > 0.93), "{data:?}: {after:?}");
        }
    }

    #[test]
    fn searches_find_the_other_half_after_a_split_however_long_it_was() {
        for data in [Data::Uniform, Data::Clustered] {
            for rounds in [6, 40] {
                let after = recall(data, Disaster::Split(rounds));
                let is_whole = after[2..].iter().all(|recall| *recall > 0.97);
                assert!(after[0] < 0.8 && is_whole, "{data:?}, {rounds} rounds: {after:?}");
            }
        }
    }
}
