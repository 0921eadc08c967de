//! `sim ranks`: how soon all nodes know their ranks by counting along the ring, and what they keep for it.
//!
//! Partial view, T-Man, ring and counting are the product's own cores, on links that lose; nobody is told
//! anything. A kill or churn comes after that, and it is measured how it settles again.

mod node;
mod options;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use options::{NODES_MAX, OptionError, Options};
pub use report::{Again, Report};

use world::World;

/// Rounds that anything may take before it counts as never.
const ROUNDS_MAX: u32 = 150;
/// Rounds of churn.
const CHURNING: u32 = 30;

/// Runs one world. The same options give the same figures.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let mut world = World::new(options);
    let (mut ring, mut right, mut settled) = (None, None, None);
    let mut state = (0.0, 0);
    for round in 1..=ROUNDS_MAX {
        world.advance();
        eprintln!("{round} {}", world.debug());
        if ring.is_none() && world.is_ring_right() {
            ring = Some(round);
        }
        if right.is_none() && world.are_ranks_right() {
            (right, state) = (Some(round), world.entries());
        }
        if right.is_some() && world.is_settled() {
            settled = Some(round);
            break;
        }
    }
    let messages = world.messages_per_node_round();
    let again = (options.churn > 0.0 || options.kill > 0.0).then(|| {
        let before = world.ranks();
        world.kill(options.kill);
        (0..if options.churn > 0.0 { CHURNING } else { 0 }).for_each(|_| world.churn(options.churn));
        let moved = world.moved(&before);
        let is_smaller = world.is_smaller();
        let (mut right, mut settled) = (None, None);
        for round in 1..=ROUNDS_MAX {
            world.advance();
            if right.is_none() && world.are_ranks_right() {
                right = Some(round);
                if is_smaller {
                    world.number_anew();
                }
            }
            if right.is_some() && world.is_settled() {
                settled = Some(round);
                break;
            }
        }
        Again { rounds_to_right: right, rounds_to_settled: settled, survivors_moved: moved }
    });
    Ok(Report {
        rounds_to_right: right,
        state_entries_mean: state.0,
        state_entries_max: state.1,
        rounds_to_right_ring: ring,
        rounds_to_settled: settled,
        messages_per_node_round: messages,
        again,
        digest: world.digest(),
    })
}
