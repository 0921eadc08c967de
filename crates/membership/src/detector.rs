//! When a watched peer counts as lost: probes, then questions through others, then the verdict.
//!
//! After the failure detector of SWIM (Das, Gupta, Motivala 2002), with several rounds so that 1 % of lost
//! messages declares nobody dead. Pure arithmetic; the owner sends what an [`Action`] says.

use xtreem_base::{Duration, Instant, Rng};

/// Time between probes, which is also the time that an answer may take; ±5 %.
pub const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// Probes in a row that may go unanswered before others are asked.
pub const MISSES: u8 = 3;
/// Rounds of asking others.
pub const INDIRECT_ROUNDS: u8 = 3;
/// Others to ask in each round.
pub const INDIRECT_PROBES: u8 = 2;
/// All indirect rounds together.
pub const INDIRECT_SPAN: Duration = Duration::from_secs(2);

/// What the owner of a [`Watch`] has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Nothing,
    /// Ask the peer for a sign of life.
    Probe,
    /// Let [`INDIRECT_PROBES`] others ask it; others in each round (0, 1, 2) where possible. Ask it directly,
    /// too.
    IndirectProbe {
        round: u8,
    },
    /// It counts as lost. Said once; an answer takes it back.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Probes without an answer so far, the last one included.
    Probing {
        open: u8,
    },
    /// The next round to start.
    Asking {
        round: u8,
    },
    Down,
}

/// The watch over one peer.
///
/// All steps are counted from the call that made them, never from a missed deadline: an owner that was paused
/// goes on where it was, and does not find everybody dead.
#[derive(Clone, Debug)]
pub struct Watch {
    rng: Rng,
    due: Instant,
    phase: Phase,
}

impl Watch {
    /// Watches from `now` on. The first probe comes within one period, so that watches do not march in step.
    pub fn new(now: Instant, mut rng: Rng) -> Self {
        let due = now + Duration::from_micros(rng.between(0, PROBE_PERIOD.as_micros()));
        Watch { rng, due, phase: Phase::Probing { open: 0 } }
    }

    /// Any sign of life, direct or through others.
    pub fn answered(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Probing { .. }) {
            self.due = now + self.rng.jitter(PROBE_PERIOD, 5);
        }
        self.phase = Phase::Probing { open: 0 };
    }

    pub fn is_down(&self) -> bool {
        self.phase == Phase::Down
    }

    /// The last probe but one went unanswered, and nothing was heard since.
    pub fn has_missed(&self) -> bool {
        !matches!(self.phase, Phase::Probing { open: 0 | 1 })
    }

    /// Something is wrong but it is too early to say: direct probes went unanswered.
    pub fn is_suspect(&self) -> bool {
        matches!(self.phase, Phase::Asking { .. })
    }

    /// The next step, if it is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Action {
        if now < self.due {
            return Action::Nothing;
        }
        match self.phase {
            Phase::Probing { open } if open < MISSES => {
                self.phase = Phase::Probing { open: open + 1 };
                self.due = now + self.rng.jitter(PROBE_PERIOD, 5);
                Action::Probe
            }
            Phase::Probing { .. } => self.ask(now, 0),
            Phase::Asking { round } if round < INDIRECT_ROUNDS => self.ask(now, round),
            Phase::Asking { .. } => {
                self.phase = Phase::Down;
                self.due = Instant::FAR;
                Action::Down
            }
            Phase::Down => Action::Nothing,
        }
    }

    pub fn next_timeout(&self) -> Instant {
        self.due
    }

    fn ask(&mut self, now: Instant, round: u8) -> Action {
        self.phase = Phase::Asking { round: round + 1 };
        self.due = now + Duration::from_micros(INDIRECT_SPAN.as_micros() / u64::from(INDIRECT_ROUNDS));
        Action::IndirectProbe { round }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// Runs a watch over `until` of virtual time; its peer answers every probe sent before `dies`, at once.
    fn run(seed: u64, dies: Instant, until: Instant) -> Vec<(Instant, Action)> {
        let mut watch = Watch::new(Instant::ZERO, Rng::new(seed));
        let mut trace = Vec::new();
        while watch.next_timeout() <= until {
            let now = watch.next_timeout();
            let action = watch.handle_timeout(now);
            trace.push((now, action));
            if now < dies && matches!(action, Action::Probe | Action::IndirectProbe { .. }) {
                watch.answered(now);
            }
        }
        trace
    }

    #[test]
    fn silence_is_three_probes_three_rounds_and_down() {
        let trace = run(1, Instant::ZERO, Instant::from_millis(60_000));
        let actions: Vec<_> = trace.iter().map(|step| step.1).collect();
        let rounds = [0, 1, 2].map(|round| Action::IndirectProbe { round });
        let expected = [&[Action::Probe; 3][..], &rounds, &[Action::Down]].concat();
        assert_eq!(actions, expected);
    }

    #[test]
    fn a_dead_peer_is_down_within_5_5_s_of_its_first_missed_probe() {
        for seed in 0..1_000 {
            let dies = Instant::from_millis(20_000 + seed);
            let trace = run(seed, dies, Instant::from_millis(60_000));
            let missed = trace.iter().find(|step| step.0 >= dies).map(|step| step.0);
            let &(down, last) = trace.last().expect("a watch always acts");
            assert_eq!(last, Action::Down);
            let silence = down.since(missed.expect("probes go on after the death"));
            let range = Duration::from_millis(4_800)..=Duration::from_millis(5_500);
            assert!(range.contains(&silence), "{silence}");
        }
    }

    #[test]
    fn a_peer_that_answers_is_never_suspected() {
        let trace = run(3, Instant::FAR, Instant::from_millis(600_000));
        assert!(trace.iter().all(|step| step.1 == Action::Probe));
        assert!((570..=632).contains(&trace.len()), "{}", trace.len());
    }

    #[test]
    fn an_answer_takes_suspicion_and_death_back() {
        for steps in 4..=7 {
            let mut watch = Watch::new(Instant::ZERO, Rng::new(9));
            for _ in 0..steps {
                watch.handle_timeout(watch.next_timeout());
            }
            assert_eq!((watch.is_suspect(), watch.is_down()), (steps < 7, steps == 7));
            let now = Instant::from_millis(100_000);
            watch.answered(now);
            assert!(!watch.is_suspect() && !watch.is_down());
            assert!(watch.next_timeout() > now && watch.next_timeout() <= now + PROBE_PERIOD * 2);
            assert_eq!(watch.handle_timeout(watch.next_timeout()), Action::Probe);
        }
    }

    #[test]
    fn a_paused_owner_finds_nobody_dead() {
        let mut watch = Watch::new(Instant::ZERO, Rng::new(5));
        assert_eq!(watch.handle_timeout(watch.next_timeout()), Action::Probe);
        let back = Instant::from_millis(3_600_000);
        assert_eq!(watch.handle_timeout(back), Action::Probe);
        assert_eq!(watch.handle_timeout(back), Action::Nothing);
    }
}
