//! A slot that this node holds, and where it is in its life.

use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, Instant};

use crate::{Config, Epoch, Known, SlotRun, SlotState};

/// The pause before a failed program is started again is doubled so often at most.
const PAUSE_DOUBLINGS_MAX: usize = 4;

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
    /// Its end is not on disk yet: others are told only then.
    pub is_end_secret: bool,
    /// When the program failed, within the window that counts.
    failures: Vec<Instant>,
}

impl Mine {
    pub fn new(slot: u16, epoch: Epoch, phase: Phase, confirmed_by: Handle) -> Self {
        Mine { slot, epoch, phase, confirmed_by, restarts: 0, is_end_secret: false, failures: Vec::new() }
    }

    /// The program failed: a pause follows, twice as long each time. False when it failed too often for that.
    pub fn pause_after_failure(&mut self, now: Instant, config: &Config) -> bool {
        self.failures.retain(|at| now.since(*at) < config.failures_window);
        self.failures.push(now);
        let failures = self.failures.len();
        if failures >= config.failures_max {
            return false;
        }
        let doublings = failures.min(PAUSE_DOUBLINGS_MAX + 1) - 1;
        self.phase = Phase::Pausing { until: now + config.restart_pause * (1 << doublings) };
        true
    }

    /// As told to others.
    pub fn state(&self) -> SlotState {
        if self.is_end_secret { SlotState::Running } else { self.own_state() }
    }

    /// As it is.
    pub fn own_state(&self) -> SlotState {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_pauses_longer_each_time_and_fails_for_good_at_the_fifth() {
        let config = Config::default();
        let mut mine = Mine::new(0, Epoch::NONE, Phase::Running, Handle::from_u32(1));
        for (second, millis) in [(0, 500), (1, 1_000), (3, 2_000), (6, 4_000)] {
            let now = Instant::from_millis(second * 1_000);
            assert!(mine.pause_after_failure(now, &config));
            let until = Instant::from_millis(second * 1_000 + millis);
            assert_eq!(mine.phase, Phase::Pausing { until });
        }
        assert!(!mine.clone().pause_after_failure(Instant::from_millis(11_000), &config));
        let later = Instant::from_millis(120_000);
        assert!(mine.pause_after_failure(later, &config), "failures long ago do not count");
    }
}
