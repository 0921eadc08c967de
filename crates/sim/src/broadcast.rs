//! `sim broadcast`: whether a broadcast reaches everybody although some have just died, and what it costs.
//!
//! The ring comes about as in [`ring`](crate::ring): from the partial view through T-Man, over links that lose
//! messages. Nobody has noticed the dead when the broadcast begins.

mod node;
mod options;
mod report;
#[cfg(test)]
mod tests;
mod world;

pub use options::{OptionError, Options};
pub use report::Report;

use world::World;

/// Runs one world. The same options give the same figures.
pub fn run(options: &Options) -> Result<Report, OptionError> {
    options.check()?;
    let mut world = World::new(options);
    let formed = world.form();
    world.kill(options.stale);
    Ok(world.broadcast(formed))
}
