//! What a run is asked for, checked once.

/// Nodes of one world at most: each takes some kilobytes.
pub const NODES_MAX: u32 = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// Share of the datagrams that gets lost, 0..1.
    pub loss: f64,
    /// Share of the nodes that dies at once when all is settled, 0..1.
    pub kill: f64,
    /// Share of the nodes that is replaced in 10 s, for a while after that, 0..1. A replacement stands where
    /// the one before it stood.
    pub churn: f64,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 1_000, loss: 0.01, kill: 0.0, churn: 0.0, seed: 1 }
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 1 to {NODES_MAX}")]
    Nodes(u32),
    #[error("loss {0}: expected a fraction from 0 to 0.5")]
    Loss(f64),
    #[error("kill {0}: expected a fraction from 0 to 1, of which some survive")]
    Kill(f64),
    #[error("churn {0}: expected a fraction from 0 to 1")]
    Churn(f64),
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(OptionError::Nodes(self.nodes));
        }
        if !(0.0..=0.5).contains(&self.loss) {
            return Err(OptionError::Loss(self.loss));
        }
        if !(0.0..1.0).contains(&self.kill) {
            return Err(OptionError::Kill(self.kill));
        }
        if !(0.0..=1.0).contains(&self.churn) {
            return Err(OptionError::Churn(self.churn));
        }
        Ok(())
    }
}
