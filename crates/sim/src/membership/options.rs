//! What a run is asked for, checked once.

use std::str::FromStr;

use crate::queue::Kind;

/// Slots are 24 bits of a handle, and the last one is part of `Handle::NONE`.
pub const NODES_MAX: u32 = (1 << 24) - 1;
/// Threads of one world at most: each waits for all others every 4 ms of virtual time.
pub const SHARDS_MAX: u32 = 8;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// Periods of virtual time.
    pub rounds: u32,
    pub seed: u64,
    pub kill: Option<Kill>,
    /// Share of the nodes that is replaced by newcomers at the start of each round, 0..1.
    pub churn: f64,
    /// Share of the messages that get lost, 0..1.
    pub loss: f64,
    pub queue: Kind,
    /// Threads that share the world; a power of two. They change no figure but speed and memory.
    pub shards: u32,
    /// Also take the figures of the graph from time to time: [`Series`](super::Series).
    pub series: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 1_000,
            rounds: 100,
            seed: 1,
            kill: None,
            churn: 0.0,
            loss: 0.0,
            queue: Kind::Wheel,
            shards: 1,
            series: false,
        }
    }
}

/// Sudden death: written `0.8@60`, 80 % of the nodes after 60 rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kill {
    /// 0..1.
    pub fraction: f64,
    pub at_round: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: expected FRACTION@ROUND such as 0.8@60, the fraction from 0 to 1")]
pub struct ParseKillError {
    text: String,
}

impl FromStr for Kill {
    type Err = ParseKillError;

    fn from_str(text: &str) -> Result<Self, ParseKillError> {
        let parse = || {
            let (fraction, at_round) = text.split_once('@')?;
            let kill = Kill { fraction: fraction.parse().ok()?, at_round: at_round.parse().ok()? };
            is_share(kill.fraction).then_some(kill)
        };
        parse().ok_or_else(|| ParseKillError { text: text.to_owned() })
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 2 to {NODES_MAX}")]
    Nodes(u32),
    #[error("0 rounds: expected at least 1")]
    Rounds,
    #[error("kill {0}: expected a fraction from 0 to 1")]
    Kill(f64),
    #[error("kill after round {at_round}: the run ends after round {rounds}")]
    KillTooLate { at_round: u32, rounds: u32 },
    #[error("churn {0}: expected a fraction from 0 to 1")]
    Churn(f64),
    #[error("loss {0}: expected a fraction from 0 to 1")]
    Loss(f64),
    #[error("{0} shards: expected 1, 2, 4 or {SHARDS_MAX}")]
    Shards(u32),
}

fn is_share(share: f64) -> bool {
    (0.0..=1.0).contains(&share)
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        if !(2..=NODES_MAX).contains(&self.nodes) {
            return Err(OptionError::Nodes(self.nodes));
        }
        if self.rounds == 0 {
            return Err(OptionError::Rounds);
        }
        match self.kill {
            Some(kill) if !is_share(kill.fraction) => return Err(OptionError::Kill(kill.fraction)),
            Some(Kill { at_round, .. }) if at_round > self.rounds => {
                return Err(OptionError::KillTooLate { at_round, rounds: self.rounds });
            }
            _ => {}
        }
        if !is_share(self.churn) {
            return Err(OptionError::Churn(self.churn));
        }
        if !is_share(self.loss) {
            return Err(OptionError::Loss(self.loss));
        }
        if !self.shards.is_power_of_two() || self.shards > SHARDS_MAX {
            return Err(OptionError::Shards(self.shards));
        }
        Ok(())
    }
}
