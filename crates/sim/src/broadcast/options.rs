//! What a run is asked for, checked once.

use crate::ring::NODES_MAX;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// Share of the nodes that die just before the broadcast, 0 to 0.5.
    pub stale: f64,
    /// Share of the datagrams that get lost, 0 to 0.5, from the start on.
    pub loss: f64,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 1_000, stale: 0.05, loss: 0.01, seed: 1 }
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 2 to {NODES_MAX}")]
    Nodes(u32),
    #[error("stale {0}: expected a share from 0 to 0.5")]
    Stale(f64),
    #[error("loss {0}: expected a share from 0 to 0.5")]
    Loss(f64),
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        if !(2..=NODES_MAX).contains(&self.nodes) {
            return Err(OptionError::Nodes(self.nodes));
        }
        if !(0.0..=0.5).contains(&self.stale) {
            return Err(OptionError::Stale(self.stale));
        }
        if !(0.0..=0.5).contains(&self.loss) {
            return Err(OptionError::Loss(self.loss));
        }
        Ok(())
    }
}
