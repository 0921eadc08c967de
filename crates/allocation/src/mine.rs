//! A slot that this node holds, and where it is in its life.

use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, Instant};

use crate::{Config, Epoch, Known, SlotRun, SlotState};

/// Where a slot is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Telling watchers, guardians and older holders; `waiting` have not answered.
    Announcing {
        waiting: Vec<Handle>,
        until: Instant,
        resend: Instant,
    },
    /// The host was asked to start the program.
    Starting {
        since: Instant,
    },
    Running,
    /// The program failed and is started again after a while.
    Pausing {
        until: Instant,
    },
    /// No live node has its files.
    NoFiles {
        until: Instant,
    },
    /// The host was asked to stop the program.
    Stopping {
        then: Then,
    },
    /// Done or failed.
    Ended(SlotState),
}

/// What follows once the program has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing is left of the slot here; the winner, if there is one, is told to its watchers.
    Leave { winner: Option<Known> },
    /// The slot was ended elsewhere.
    End(SlotState),
}

/// A slot that this node holds.
#[derive(Clone, Debug)]
pub(crate) struct Mine {
    pub slot: u16,
    pub epoch: Epoch,
    pub phase: Phase,
    pub confirmed_by: Handle,
    pub restarts: u32,
    /// When the program failed, within the window that counts.
    pub failures: Vec<Instant>,
}

impl Mine {
    pub fn state(&self) -> SlotState {
        match &self.phase {
            Phase::Running => SlotState::Running,
            Phase::NoFiles { .. } => SlotState::FilesLost,
            Phase::Ended(state) => *state,
            Phase::Stopping { then: Then::End(state) } => *state,
            _ => SlotState::Starting,
        }
    }

    /// True as long as this node is the slot's holder in the eyes of others.
    pub fn is_held(&self) -> bool {
        !matches!(self.phase, Phase::Stopping { then: Then::Leave { .. } })
    }

    /// True while its resources are taken.
    pub fn takes_room(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    pub fn is_announcing(&self) -> bool {
        matches!(self.phase, Phase::Announcing { .. })
    }

    pub fn due(&self, config: &Config) -> Option<Instant> {
        match self.phase {
            Phase::Starting { since } => Some(since + config.start_limit),
            Phase::Pausing { until } | Phase::NoFiles { until } => Some(until),
            _ => None,
        }
    }

    pub fn run(&self, app: AppId) -> SlotRun {
        SlotRun { app, slot: self.slot, epoch: self.epoch }
    }
}
