//! Many small worlds in which everything goes wrong, one a seed.

use std::ops::Range;

use serde::Serialize;

use super::{Faults, Options, run};

/// Nodes of the worlds, in turn.
const SIZES: [u32; 4] = [3, 5, 10, 30];
/// Long enough for a lease after the split.
const ROUNDS: u32 = 130;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepReport {
    pub seeds: u64,
    pub failed: u64,
    /// Over all worlds.
    pub expected: u64,
    pub delivered: u64,
    pub failures: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    pub seed: u64,
    /// The first thing that went wrong.
    pub wrong: String,
    /// The command that plays it again.
    pub replay: String,
}

/// The world of a seed, and the command that plays it.
pub fn world_of(seed: u64) -> (Options, String) {
    let nodes = SIZES[(seed % SIZES.len() as u64) as usize];
    let (subscribers, publishers) = (nodes.div_ceil(2), (nodes / 3).min(3));
    let faults = Faults::ALL;
    let options =
        Options { nodes, subscribers, publishers, rounds: ROUNDS, faults, seed, ..Options::default() };
    let replay = format!(
        "xtreem sim pubsub --nodes {nodes} --subscribers {subscribers} --publishers {publishers} --rounds \
         {ROUNDS} --faults {faults} --seed {seed}"
    );
    (options, replay)
}

/// Plays the worlds of these seeds. `told` hears of each that failed at once.
pub fn sweep(seeds: Range<u64>, mut told: impl FnMut(&Failure)) -> SweepReport {
    let mut report = SweepReport { seeds: 0, failed: 0, expected: 0, delivered: 0, failures: Vec::new() };
    for seed in seeds {
        let (options, replay) = world_of(seed);
        // These options are possible ones.
        let Ok(one) = run(&options) else { continue };
        report.seeds += 1;
        report.expected += one.expected;
        report.delivered += one.delivered;
        if !one.ok {
            let failure = Failure { seed, wrong: one.wrong.first().cloned().unwrap_or_default(), replay };
            told(&failure);
            report.failed += 1;
            report.failures.push(failure);
        }
    }
    report
}
