//! The numbers of all protocols of a node.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::Duration;
use xtreem_discovery::schema::Schema;
use xtreem_discovery::trie;
use xtreem_membership::aggregation::{self, ATTRIBUTES_MAX, Bounds};
use xtreem_membership::{coordinates, reference, rumour};
use xtreem_overlay::{overlay, tman};

/// Shared by all parts of a node; the simulator shares one between all nodes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The grid-wide collection.
    pub membership: xtreem_membership::Config,
    /// Every application's own collection.
    pub app_membership: xtreem_membership::Config,
    pub reference: reference::Config,
    pub allocation: xtreem_allocation::Config,
    pub trie: trie::Config,
    pub aggregation: aggregation::Config,
    pub coordinates: coordinates::Config,
    /// The ring of all nodes.
    pub ring: overlay::Config,
    /// How the VO's policy spreads.
    pub policy: rumour::Config,
    /// What aggregation begins with: shared by the nodes of a simulation.
    pub even_bounds: Arc<Bounds>,
    /// Each runs as a trie of its own. More than one only while a changed schema takes the place of an older
    /// one.
    pub schemas: Vec<Arc<Schema>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            membership: Default::default(),
            app_membership: Default::default(),
            reference: Default::default(),
            allocation: Default::default(),
            trie: Default::default(),
            aggregation: Default::default(),
            coordinates: Default::default(),
            ring: ring_of_all(),
            policy: rumour::Config { period: xtreem_membership::Config::default().period },
            even_bounds: Arc::new(Bounds::even(ATTRIBUTES_MAX)),
            schemas: [Arc::new(Schema::standard())].into(),
        }
    }
}

impl Config {
    /// For many nodes on one machine: shorter rounds, so that a fresh grid is mixed before somebody gets
    /// bored. No other period differs from a real grid.
    pub fn emulated() -> Self {
        let mut config = Config::default();
        config.set_period(Duration::from_secs(2));
        config
    }

    /// Sets the period of all rounds of gossip: of CYCLON, and of what rides on it.
    pub fn set_period(&mut self, period: Duration) {
        self.membership.period = period;
        self.app_membership.period = period;
        self.coordinates.period = period;
        self.policy.period = period;
        self.trie.period = period;
        self.aggregation.period = period;
        self.ring.order.period = period;
    }
}

/// The ring itself mends what nodes that come and go leave behind; T-Man finds the places of many that start
/// at once, and of rings that become one, in messages that fit a datagram.
fn ring_of_all() -> overlay::Config {
    let period = xtreem_membership::Config::default().period;
    let order = tman::Config { view_size: 24, message_peers: 6, period, exchanges: 1, ..Default::default() };
    overlay::Config { order, ..Default::default() }
}
