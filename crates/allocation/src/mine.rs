//! A slot that this node holds, and where it is in its life.

use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, Instant};

use crate::failure::History;
use crate::{Config, Epoch, Exit, FailureKind, Known, SlotRun, SlotState, Trouble};

/// Doubled so often, every pause is at its longest.
const DOUBLINGS_MAX: u32 = 16;

/// What a pause follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The program ended well, and its application wants it to run always.
    End(Exit),
    Failure(FailureKind),
}

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
    /// The program ended, or could not be started, and is started again after a while.
    Pausing {
        until: Instant,
        after: After,
    },
    /// Another node is looked for, from then on: this one failed, or its program did here.
    Moving {
        until: Instant,
        why: FailureKind,
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
    /// Since when it runs, or is being started.
    pub runs_since: Instant,
    /// Ends in a row, each before the program had run for as long as failures count.
    quick_ends: u32,
    /// What failed of the slot, here and before on other nodes.
    pub history: History,
}

impl Mine {
    pub fn new(slot: u16, epoch: Epoch, phase: Phase, confirmed_by: Handle) -> Self {
        Mine {
            slot,
            epoch,
            phase,
            confirmed_by,
            restarts: 0,
            is_end_secret: false,
            failures: Vec::new(),
            runs_since: Instant::ZERO,
            quick_ends: 0,
            history: History::default(),
        }
    }

    /// The program failed. Says whether it did so too often, from which on it is counted anew.
    pub fn fails_too_often(&mut self, now: Instant, config: &Config) -> bool {
        self.failures.retain(|at| now.since(*at) < config.failures_window);
        self.failures.push(now);
        let is_too_often = self.failures.len() >= config.failures_max;
        if is_too_often {
            self.failures.clear();
        }
        is_too_often
    }

    /// The program ended: once it had run for long enough, earlier failures are over.
    pub fn judge_run(&mut self, now: Instant, config: &Config) {
        if now.since(self.runs_since) >= config.failures_window {
            self.quick_ends = 0;
            self.history.is_healthy();
        }
    }

    /// The program ended and is started again after a pause, twice as long each time up to its end. After one
    /// that ran for as long as failures count the shortest comes again.
    pub fn pause(&mut self, now: Instant, config: &Config, after: After) {
        let pause = config.restart_pause * (1 << self.quick_ends.min(DOUBLINGS_MAX));
        self.quick_ends = self.quick_ends.saturating_add(1);
        self.phase = Phase::Pausing { until: now + pause.min(config.restart_pause_max), after };
    }

    /// As told to others.
    pub fn state(&self) -> SlotState {
        if self.is_end_secret { SlotState::Running } else { self.own_state() }
    }

    /// As it is.
    pub fn own_state(&self) -> SlotState {
        use FailureKind::{Node, Program};
        let not_running = || self.history.lasting_trouble().map_or(SlotState::Starting, SlotState::Troubled);
        match &self.phase {
            Phase::Running => SlotState::Running,
            Phase::Pausing { after: After::Failure(Program(exit)), .. }
            | Phase::Moving { why: Program(exit), .. } => SlotState::Failing(*exit),
            // That no other node can be had is what its user has to know.
            Phase::Pausing { after: After::Failure(Node(trouble)), .. } => SlotState::Troubled(*trouble),
            Phase::Pausing { after: After::End(exit), .. } => SlotState::Pausing(*exit),
            Phase::Moving { why: Node(Trouble::Files), .. } if not_running() == SlotState::Starting => {
                SlotState::FilesLost
            }
            Phase::Ended(state) => *state,
            Phase::Stopping { then: Then::End(state) } => *state,
            Phase::Starting { .. } | Phase::Moving { .. } | Phase::Announcing { .. } => not_running(),
            Phase::Stopping { .. } => SlotState::Starting,
        }
    }

    /// No node that could be reached has had its files so far.
    pub fn waits_for_files(&self) -> bool {
        let files = FailureKind::Node(Trouble::Files);
        match self.phase {
            Phase::Pausing { after, .. } => after == After::Failure(files),
            Phase::Moving { why, .. } => why == files,
            _ => false,
        }
    }

    /// Who holds the slot now, while the program that gives way to it still ends here.
    pub fn winner(&self) -> Option<Known> {
        match self.phase {
            Phase::Stopping { then: Then::Leave { winner } } => winner,
            _ => None,
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
            Phase::Pausing { until, .. } | Phase::Moving { until, .. } => Some(until),
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
            mine.judge_run(at(now), &config);
            mine.pause(at(now), &config, After::End(Exit::Code(0)));
            assert_eq!(mine.state(), SlotState::Pausing(Exit::Code(0)), "not to be taken for a slow start");
            let Phase::Pausing { until, .. } = mine.phase else { panic!("it pauses") };
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
        let mut often = mine.clone();
        assert!(often.fails_too_often(at(11_000), &config));
        assert!(!often.fails_too_often(at(12_000), &config), "it is counted anew");
        assert!(!mine.fails_too_often(at(120_000), &config), "failures long ago do not count");
    }
}
