//! What a run is asked for, checked once.

use std::str::FromStr;

use crate::membership::Kill;

/// Nodes of one world at most: each takes some kilobytes.
pub const NODES_MAX: u32 = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    pub keys: Keys,
    /// Share of the nodes that is replaced by newcomers in 10 s, 0..1, while lookups are made.
    pub churn: f64,
    /// Counted from the start of the lookups.
    pub kill: Option<Kill>,
    pub faults: Faults,
    /// Rounds of lookups, each of two seconds.
    pub rounds: u32,
    /// In all.
    pub lookups: u32,
    pub seed: u64,
    /// Measure plain Chord beside it.
    pub chord: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 1_000,
            keys: Keys::Uniform,
            churn: 0.0,
            kill: None,
            faults: Faults::default(),
            rounds: 30,
            lookups: 10_000,
            seed: 1,
            chord: true,
        }
    }
}

/// How keys are spread, those of nodes and those of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    #[default]
    Uniform,
    /// The eighth power of an even number below 1: half of all keys lie in 1/256 of the space.
    U8,
    /// Prefixes of which the n-th has 1/n of the items of the first; nodes come one after the other, and each
    /// takes half of the fullest of eight.
    Zipf,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected uniform, u8 or zipf")]
pub struct ParseKeysError(String);

impl FromStr for Keys {
    type Err = ParseKeysError;

    fn from_str(text: &str) -> Result<Self, ParseKeysError> {
        match text {
            "uniform" => Ok(Keys::Uniform),
            "u8" => Ok(Keys::U8),
            "zipf" => Ok(Keys::Zipf),
            _ => Err(ParseKeysError(text.to_owned())),
        }
    }
}

/// What goes wrong while lookups are made; each kind is met by a few nodes in every round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Nodes stop for 1 to 12 s and go on.
    pub pause: bool,
    /// A twentieth of all messages gets lost.
    pub loss: bool,
    /// Nodes do not hear a neighbour for 1 to 4 s, and take it for dead.
    pub suspect: bool,
    /// The network falls into halves for 30 s, and is one again.
    pub split: bool,
    /// Nodes die and others come: 1 % in 10 s.
    pub churn: bool,
    /// Nodes hand their range on and come back elsewhere.
    pub leave: bool,
    /// Every fourth node takes its leases for four times as long as they are: what the watcher is there for.
    pub overstay: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?}: expected some of pause, loss, suspect, split, churn, leave, overstay, with commas between them"
)]
pub struct ParseFaultsError(String);

impl FromStr for Faults {
    type Err = ParseFaultsError;

    fn from_str(text: &str) -> Result<Self, ParseFaultsError> {
        let mut faults = Faults::default();
        for name in text.split(',').filter(|name| !name.is_empty()) {
            match name {
                "pause" => faults.pause = true,
                "loss" => faults.loss = true,
                "suspect" => faults.suspect = true,
                "split" => faults.split = true,
                "churn" => faults.churn = true,
                "leave" => faults.leave = true,
                "overstay" => faults.overstay = true,
                _ => return Err(ParseFaultsError(name.to_owned())),
            }
        }
        Ok(faults)
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 1 to {NODES_MAX}")]
    Nodes(u32),
    #[error("0 rounds: expected at least 1")]
    Rounds,
    #[error("kill after round {at_round}: lookups end after round {rounds}")]
    KillTooLate { at_round: u32, rounds: u32 },
    #[error("churn {0}: expected a fraction from 0 to 1")]
    Churn(f64),
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(OptionError::Nodes(self.nodes));
        }
        if self.rounds == 0 {
            return Err(OptionError::Rounds);
        }
        match self.kill {
            Some(Kill { at_round, .. }) if at_round >= self.rounds => {
                return Err(OptionError::KillTooLate { at_round, rounds: self.rounds });
            }
            _ => {}
        }
        if !(0.0..=1.0).contains(&self.churn) {
            return Err(OptionError::Churn(self.churn));
        }
        Ok(())
    }
}
