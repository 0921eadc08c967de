//! `sim tman`: how many rounds nodes with a few random contacts need until everybody knows who comes next.
//!
//! Each node runs CYCLON and T-Man, ranked by key order. The plain published algorithm plays beside it, with
//! as many exchanges and as large messages.

mod node;
mod options;
mod plain;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use options::{NODES_MAX, OptionError, Options};
pub use report::Report;

use node::Engine;
use world::World;

/// Rounds after the ring is right in which it is counted what it costs to keep it.
const STEADY_ROUNDS: u32 = 20;

/// Runs the product, and the plain algorithm unless it was left out. The same options give the same report.
///
/// # Errors
/// An option that no run can follow.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let mut world = World::new(options, Engine::product);
    let mut wrong_by_round = vec![world.wrong()];
    let rounds_to_perfect = world.rounds_until_right(options.rounds, &mut wrong_by_round);
    let built = world.take_traffic();
    let mut report = Report {
        nodes: options.nodes,
        view: options.view,
        seed: options.seed,
        loss: options.loss,
        rounds_to_perfect,
        wrong_by_round,
        baseline_rounds: None,
        baseline_wrong_by_round: Vec::new(),
        bytes_per_node_round: built.tman_bytes,
        cyclon_bytes_per_node_round: built.cyclon_bytes,
        exchanges_per_node_round: built.exchanges,
        bytes_per_node_round_kept: None,
        rounds_after_kill: None,
        rounds_split: None,
        rounds_after_heal: None,
        events: 0,
        digest: String::new(),
    };
    if rounds_to_perfect.is_some() {
        world.run_rounds(STEADY_ROUNDS);
        report.bytes_per_node_round_kept = Some(world.take_traffic().tman_bytes);
    }
    let mut ignored = Vec::new();
    if options.kill > 0.0 {
        world.kill(options.kill);
        report.rounds_after_kill = world.rounds_until_right(options.rounds, &mut ignored);
    }
    if options.split > 0 {
        world.split();
        world.run_rounds(options.split);
        report.rounds_split = world.rounds_until_right(options.rounds, &mut ignored);
        world.heal();
        report.rounds_after_heal = world.rounds_until_right(options.rounds, &mut ignored);
    }
    report.events = world.events();
    report.digest = world.digest().to_string();
    drop(world);
    if options.baseline_rounds > 0 {
        let mut world = World::new(options, Engine::plain);
        report.baseline_wrong_by_round.push(world.wrong());
        report.baseline_rounds =
            world.rounds_until_right(options.baseline_rounds, &mut report.baseline_wrong_by_round);
    }
    Ok(report)
}
