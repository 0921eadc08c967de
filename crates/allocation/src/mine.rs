//! A slot that this node holds, and where it is in its life.

use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, Instant};

use crate::{Config, Epoch, Known, SlotRun, SlotState};

/// Doubled so often, every pause is at its longest.
const DOUBLINGS_MAX: u32 = 16;

/// Where a slot is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Telling watchers, guardians and older holders; `waiting` have not answered.
    Announcing {
        waiting: Vec<Handle>,
        until: Instant,
        resend: Instant,
    },
    /// The host was asked to start the program; `since` is when, or when it last told of progress.
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
    failures: Vec<Instant>,
    /// Since when it runs, or is being started.
    pub runs_since: Instant,
    /// Ends in a row, each before the program had run for as long as failures count.
    quick_ends: u32,
}

impl Mine {
    pub fn new(slot: u16, epoch: Epoch, phase: Phase, confirmed_by: Handle) -> Self {
        Mine {
            slot,
            epoch,
            phase,
            confirmed_by,
            restarts: 0,
            failures: Vec::new(),
            runs_since: Instant::ZERO,
            quick_ends: 0,
        }
    }

    /// The program failed. Says whether it did so too often.
    pub fn fails_too_often(&mut self, now: Instant, config: &Config) -> bool {
        self.failures.retain(|at| now.since(*at) < config.failures_window);
        if self.failures.len() < config.failures_max {
            self.failures.push(now);
        }
        self.failures.len() >= config.failures_max
    }

    /// The program ended and is started again after a pause, twice as long each time up to its end. One that
    /// ran for as long as failures count begins with the shortest again.
    pub fn pause(&mut self, now: Instant, config: &Config) {
        if now.since(self.runs_since) >= config.failures_window {
            self.quick_ends = 0;
        }
        let pause = config.restart_pause * (1 << self.quick_ends.min(DOUBLINGS_MAX));
        self.quick_ends = self.quick_ends.saturating_add(1);
        self.phase = Phase::Pausing { until: now + pause.min(config.restart_pause_max) };
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// The pause after each of these ends, in milliseconds; each run takes `run`.
    fn pauses(run: u64, ends: usize) -> Vec<u64> {
        let config = Config::default();
        let mut mine = Mine::new(0, Epoch::NONE, Phase::Running, Handle::from_u32(1));
        let mut now = 1_000;
        let mut pauses = Vec::new();
        for _ in 0..ends {
            mine.runs_since = at(now);
            now += run;
            mine.pause(at(now), &config);
            let Phase::Pausing { until } = mine.phase else { panic!("it pauses") };
            pauses.push(until.since(at(now)).as_millis());
            now += until.since(at(now)).as_millis();
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_again_after_a_minute_of_running() {
        let doubled = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(pauses(0, 9), doubled);
        assert_eq!(pauses(8_000, 9), doubled, "a run of 8 s is no sign of health");
        assert_eq!(pauses(60_000, 3), [500; 3]);
        assert_eq!(pauses(1, 200)[199], 60_000);
    }

    #[test]
    fn a_program_fails_too_often_at_the_fifth_time_within_a_minute() {
        let config = Config::default();
        let mut mine = Mine::new(0, Epoch::NONE, Phase::Running, Handle::from_u32(1));
        for millis in [0, 1_000, 3_000, 6_000] {
            assert!(!mine.fails_too_often(at(millis), &config));
        }
        assert!(mine.clone().fails_too_often(at(11_000), &config));
        assert!(!mine.fails_too_often(at(120_000), &config), "failures long ago do not count");
    }
}
