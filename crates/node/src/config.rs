//! The numbers of all protocols of a node.

use xtreem_base::Duration;
use xtreem_membership::reference;

/// Shared by all parts of a node; the simulator shares one between all nodes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The grid-wide collection.
    pub membership: xtreem_membership::Config,
    /// Every application's own collection.
    pub app_membership: xtreem_membership::Config,
    pub reference: reference::Config,
    pub allocation: xtreem_allocation::Config,
}

impl Config {
    /// For many nodes on one machine: a shorter CYCLON period, so that a fresh grid is mixed before somebody
    /// gets bored. No other period differs from a real grid (architecture, "Membership").
    pub fn emulated() -> Self {
        let mut config = Config::default();
        config.membership.period = Duration::from_secs(2);
        config.app_membership.period = Duration::from_secs(2);
        config
    }
}
