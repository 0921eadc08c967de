//! `sim grid`: whole nodes, running applications, under faults, watched by invariant checkers.
//!
//! One process, one thread, one seed. The world drives [`xtreem_node::Node`] through the face that a real
//! agent uses: typed messages, local clocks, orders to start and stop programs. Deliberately absent: the
//! codec, real processes, and any view of the whole for the nodes; only world and checkers see everything.

pub(crate) mod apps;
pub(crate) mod checker;
mod clock;
mod disk;
mod faults;
mod fit;
pub(crate) mod host;
mod liar;
mod notary;
mod power;
mod process;
mod queue;
mod report;
pub(crate) mod schedule;
pub(crate) mod seen;
mod size;
mod sweep;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod world;

pub use checker::Violation;
pub use faults::{FaultKind, Faults, UnknownFault};
pub use fit::{APPS_MAX, NODE_BYTES, NODES_MAX, SEEDS_MAX, THREADS_MAX, UNTIL_MAX, Unfit};
pub use report::{Failure, Report, SweepReport};
pub use schedule::Schedule;
pub use sweep::sweep;
pub use trace::Trace;

use xtreem_base::Instant;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hosts, at most [`NODES_MAX`].
    pub nodes: u32,
    pub apps: u32,
    /// Kinds of faults that the seed may choose from.
    pub faults: Faults,
    pub seed: u64,
    /// Applications whose events are printed on the error output.
    pub trace: Trace,
    /// Ends the run at this virtual time, in seconds. What is left then is judged unless it is before the
    /// usual end; after that one everything stays calm.
    pub until: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 1_000, apps: 20, faults: Faults::ALL, seed: 0, trace: Trace::Off, until: None }
    }
}

impl Options {
    /// The command that runs exactly this again.
    pub fn replay(&self) -> String {
        let Options { nodes, apps, faults, seed, until, .. } = self;
        let until = until.map(|seconds| format!(" --until {seconds}")).unwrap_or_default();
        format!("xtreem sim grid --nodes {nodes} --apps {apps} --faults {faults} --seed {seed}{until}")
    }
}

/// What the run of these options will meet; for printing before it.
pub fn plan(options: &Options) -> Schedule {
    Schedule::draw(options.nodes, options.apps, options.faults, options.seed)
}

/// Runs one seed to its end.
///
/// # Panics
/// When `options.nodes` is zero or above [`NODES_MAX`]; see [`Options::check`].
pub fn run(options: &Options) -> Report {
    assert!((1..=NODES_MAX).contains(&options.nodes), "a world has 1 to {NODES_MAX} nodes");
    world::World::new(options).run(options.until.map_or(schedule::RUN_END, Instant::from_secs))
}
