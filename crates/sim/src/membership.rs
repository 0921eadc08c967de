//! `sim membership`: how good and how cheap the partial view is, at any size, under deaths, churn and loss.

mod analysis;
mod graph;
mod options;
mod parallel;
mod plot;
pub(crate) mod process;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use options::{Kill, NODES_MAX, OptionError, Options, ParseKillError, SHARDS_MAX};
pub use plot::plot;
pub use report::{DeadLinks, Report, RoundFigures, Series};

use world::World;

/// Moments at which the figures of a series are taken, beside the last: each takes longer than a round.
const SERIES_MAX: u32 = 50;

/// Runs one world. The same options give the same figures and digest, but for memory and speed.
///
/// A round is one period of virtual time. At its start nodes are killed (when `kill.at_round` rounds are
/// over) and replaced (`churn`); dead links are counted at its end.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let rss_before = process::resident_bytes();
    let mut world = World::new(options);
    let (mut cpu, mut node_rounds) = (std::time::Duration::ZERO, 0);
    let mut survivors_cut_off = None;
    let mut dead_links = Vec::new();
    let mut rounds = Vec::new();
    for round in 0..=options.rounds {
        if let Some(kill) = options.kill.filter(|kill| kill.at_round == round) {
            world.kill(kill.fraction);
            survivors_cut_off = Some(analysis::share_cut_off(&world));
        }
        let killed = options.kill.is_some_and(|kill| kill.at_round <= round);
        if killed || (options.churn > 0.0 && round > 0) {
            dead_links.push(DeadLinks { round, fraction: world.dead_links() });
        }
        if options.series && (round % options.rounds.div_ceil(SERIES_MAX) == 0 || round == options.rounds) {
            rounds.push(analysis::at_round(&world, round));
        }
        if round == options.rounds {
            break;
        }
        world.replace(options.churn);
        cpu += world.run_round();
        node_rounds += world.live() as u64;
    }
    let bytes = process::resident_bytes().saturating_sub(rss_before);
    let figures = analysis::figures(&world, options.seed);
    Ok(Report {
        in_degree_mean: figures.in_degree_mean,
        in_degree_sd: figures.in_degree_sd,
        mean_path: figures.mean_path,
        clustering: figures.clustering,
        random_mean_path: figures.random_mean_path,
        random_clustering: figures.random_clustering,
        survivors_cut_off,
        dead_links,
        bytes_per_node: bytes / u64::from(options.nodes),
        node_rounds_per_cpu_second: (node_rounds as f64 / cpu.as_secs_f64().max(1e-9)).round() as u64,
        events: world.events(),
        digest: world.digest().to_string(),
        series: options.series.then(|| Series { rounds, in_degrees: analysis::in_degrees(&world) }),
    })
}
