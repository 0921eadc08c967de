//! What a run is asked for, checked once.

use xtreem_overlay::tman::VIEW_MAX;

/// Slots are 24 bits of a handle, and the last one is part of `Handle::NONE`.
pub const NODES_MAX: u32 = (1 << 24) - 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// Peers that a node keeps.
    pub view: u8,
    pub seed: u64,
    /// Share of the datagrams that get lost, 0..1. Streams resend.
    pub loss: f64,
    /// Rounds after which a ring that is not right is given up, each time that it is waited for.
    pub rounds: u32,
    /// The same of the plain algorithm; 0 leaves it out.
    pub baseline_rounds: u32,
    /// Share of the nodes that die at once when the ring is right, 0..1.
    pub kill: f64,
    /// Rounds for which the network is then split into halves; 0: it is not.
    pub split: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 1_000,
            view: 40,
            seed: 1,
            loss: 0.01,
            rounds: 100,
            baseline_rounds: 200,
            kill: 0.0,
            split: 0,
        }
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 3 to {NODES_MAX}")]
    Nodes(u32),
    #[error("a view of {0}: expected 4 to {VIEW_MAX}")]
    View(u8),
    #[error("loss {0}: expected a fraction from 0 to 1")]
    Loss(f64),
    #[error("0 rounds: expected at least 1")]
    Rounds,
    #[error("kill {0}: expected a fraction from 0 to 1")]
    Kill(f64),
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !(3..=NODES_MAX).contains(&self.nodes) {
            return Err(OptionError::Nodes(self.nodes));
        }
        if !(4..=VIEW_MAX).contains(&usize::from(self.view)) {
            return Err(OptionError::View(self.view));
        }
        if !is_share(self.loss) {
            return Err(OptionError::Loss(self.loss));
        }
        if self.rounds == 0 {
            return Err(OptionError::Rounds);
        }
        if !is_share(self.kill) {
            return Err(OptionError::Kill(self.kill));
        }
        Ok(())
    }
}
