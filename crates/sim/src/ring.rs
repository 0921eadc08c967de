//! `sim ring`: what lookups on the ring cost and whom they find, under deaths, churn and faults.

mod common;
mod items;
mod node;
mod options;
mod report;
#[cfg(test)]
mod tests;

mod world;

pub use options::{Faults, Keys, NODES_MAX, OptionError, Options, ParseFaultsError, ParseKeysError};
pub use report::Report;

use crate::membership::process;
use world::World;

/// Rounds that the ring has to form before lookups are made all the same.
const FORMING_MAX: u32 = 150;

/// Runs one world. The same options give the same figures, but for memory.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let before = process::resident_bytes();
    let mut world = World::new(options, false);
    let formed = world.form(FORMING_MAX);
    let mut rounds_to_right_ring = formed;
    let mut killed_at = None;
    for round in 0..options.rounds {
        if let Some(kill) = options.kill.filter(|kill| kill.at_round == round) {
            world.kill(kill.fraction);
            (killed_at, rounds_to_right_ring) = (Some(round), None);
        }
        world.run_round(round);
        if let Some(killed_at) = killed_at
            && rounds_to_right_ring.is_none()
            && world.is_right()
        {
            rounds_to_right_ring = Some(round + 1 - killed_at);
        }
    }
    world.finish();
    let bytes = process::resident_bytes().saturating_sub(before);
    let (balance, random) = world.balance();
    let tally = world.tally();
    Ok(Report {
        hops_mean: tally.hops as f64 / tally.answered.max(1) as f64,
        hops_max: tally.hops_max,
        chord_hops_mean: options.chord.then(|| chord_hops(options)),
        lookups: tally.lookups,
        lookups_right: tally.right,
        unanswered: tally.unanswered,
        double_owner_lookups: world.doubles(),
        balance_max_over_mean: balance,
        balance_random_max_over_mean: random,
        bytes_per_node: bytes / u64::from(options.nodes),
        rounds_to_right_ring,
    })
}

/// Lookups beside which those of the ring are put.
const CHORD_LOOKUPS: u32 = 2_000;

/// Mean hops of plain Chord among as many nodes, with nothing broken. Its identifiers are random, whatever
/// the keys are: it hashes them.
fn chord_hops(options: &Options) -> f64 {
    let options = Options {
        keys: Keys::Uniform,
        rounds: 2,
        lookups: CHORD_LOOKUPS,
        seed: options.seed,
        ..options.clone()
    };
    let options = Options { churn: 0.0, kill: None, faults: Faults::default(), ..options };
    let mut world = World::new(&options, true);
    world.form(FORMING_MAX);
    (0..options.rounds).for_each(|round| world.run_round(round));
    world.finish();
    let tally = world.tally();
    tally.hops as f64 / tally.answered.max(1) as f64
}
