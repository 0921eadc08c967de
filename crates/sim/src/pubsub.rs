//! `sim pubsub`: whether events reach everybody who subscribed, by which ways, and what it costs.
//!
//! Each node has the partial view, the ring with its store, and the relay of the product between them; the
//! streams between servers are played as the agent keeps them. Two other trees are there to compare with:
//! `reverse` and `gossip`.

mod courier;
mod gossip;
mod node;
mod options;
mod report;
mod reverse;
mod sweep;
#[cfg(test)]
mod tests;
mod watch;
mod world;

pub use options::{Faults, OptionError, Options, ParseFaultsError, ParseTreeError, Tree};
pub use report::Report;
pub use sweep::{Failure, SweepReport, sweep};

use world::World;

/// Runs one world. The same options give the same figures.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let mut world = World::new(options);
    world.form();
    world.subscribe();
    world.play();
    Ok(world.finish())
}
