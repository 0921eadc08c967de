//! What happens to the grid, and when: all of it drawn from the seed before the run starts.
//!
//! Swarm testing (Groce et al., ISSTA 2012): the seed also decides which of the allowed kinds of faults occur
//! at all and how hard, because some errors show only when other faults are absent.

use std::fmt;

use xtreem_base::{Duration, Instant, Rng};

use super::apps::Shape;
use super::faults::{FaultKind, Faults};
use super::power::{self, Hit};

/// The grid-wide collection mixes before anything else happens: ten rounds of the emulated period.
pub(crate) const WARM_UP: Duration = Duration::from_secs(20);
/// Submissions fall into this time after the warm-up.
pub(crate) const SUBMISSIONS: Duration = Duration::from_secs(30);
/// Time under faults after the warm-up (docs/design/allocation.md, "What is judged in the simulator").
pub(crate) const UNDER_FAULTS: Duration = Duration::from_secs(120);
/// Time to heal after the last fault (the same).
pub(crate) const HEALING: Duration = Duration::from_secs(30);

/// Whom a fault hits; found when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    AnyHost,
    /// A host on which a process of that application runs.
    Holder(usize),
    Submitter(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Submit {
        app: usize,
    },
    /// The owner stops it.
    Stop {
        app: usize,
    },
    Kill(Target),
    /// Hosts of neighbouring slots die at once: as many as that, or all.
    KillNeighbours {
        app: usize,
        count: u16,
    },
    Cut(Target, Duration),
    /// Per cent of the hosts in the smaller part.
    Split {
        smaller_percent: u32,
        lasts: Duration,
    },
    Pause(Target, Duration),
    Restart(Target, Duration),
    /// Machines lose their power at once; each is back within that time.
    Power {
        hit: Hit,
        within: Duration,
    },
}

/// The whole plan of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(crate) apps: Vec<Shape>,
    /// In the order of time.
    pub(crate) actions: Vec<(Instant, Action)>,
    pub(crate) loss_percent: u32,
    pub(crate) are_clocks_skewed: bool,
}

/// When the faults begin and end, on the world's clock.
pub(crate) const FAULTS_BEGIN: Instant = Instant::from_micros(WARM_UP.as_micros());
pub(crate) const FAULTS_END: Instant = Instant::from_micros(WARM_UP.as_micros() + UNDER_FAULTS.as_micros());
pub(crate) const RUN_END: Instant =
    Instant::from_micros(WARM_UP.as_micros() + UNDER_FAULTS.as_micros() + HEALING.as_micros());

impl Schedule {
    /// The plan of `seed`.
    pub(crate) fn draw(nodes: u32, apps: u32, faults: Faults, seed: u64) -> Self {
        let mut rng = Rng::derive(seed, 0, "schedule");
        let chosen = swarm(faults.without(FaultKind::Power), &mut rng);
        let shapes: Vec<_> = (0..apps).map(|number| Shape::draw(number, &mut rng)).collect();
        let mut plan = Plan { rng, apps, nodes, actions: Vec::new() };
        plan.submissions_and_stops();
        for (kind, add) in [
            (FaultKind::Kill, Plan::kills as fn(&mut Plan)),
            (FaultKind::Cut, Plan::cuts),
            (FaultKind::Split, Plan::splits),
            (FaultKind::Pause, Plan::pauses),
            (FaultKind::Restart, Plan::restarts),
        ] {
            if chosen.has(kind) {
                add(&mut plan);
            }
        }
        let mut actions = plan.actions;
        let mut power = Rng::derive(seed, 0, "power");
        let occurs = power.chance(3, 4) || chosen == Faults::NONE;
        if faults.has(FaultKind::Power) && occurs {
            actions.extend(power::cuts(&mut power));
        }
        actions.sort_by_key(|(at, _)| *at);
        Schedule {
            apps: shapes,
            actions,
            loss_percent: u32::from(chosen.has(FaultKind::Loss)),
            are_clocks_skewed: chosen.has(FaultKind::Clock),
        }
    }
}

/// Each allowed kind occurs in three of four seeds; at least one does.
fn swarm(allowed: Faults, rng: &mut Rng) -> Faults {
    use FaultKind::{Clock, Cut, Kill, Loss, Pause, Restart, Split};
    let mut chosen = Faults::NONE;
    for kind in [Kill, Cut, Split, Pause, Restart, Loss, Clock] {
        let occurs = rng.chance(3, 4);
        if allowed.has(kind) && occurs {
            chosen = chosen.with(kind);
        }
    }
    if chosen == Faults::NONE { allowed } else { chosen }
}

struct Plan {
    rng: Rng,
    apps: u32,
    nodes: u32,
    actions: Vec<(Instant, Action)>,
}

impl Plan {
    fn add(&mut self, at: Instant, action: Action) {
        self.actions.push((at, action));
    }

    /// Some instant of the time under faults, in `from..to` seconds of it.
    fn instant(&mut self, from: u64, to: u64) -> Instant {
        FAULTS_BEGIN + Duration::from_micros(self.rng.between(from * 1_000_000, to * 1_000_000))
    }

    /// A length of time in milliseconds, cut at the end of the faults.
    fn lasting(&mut self, at: Instant, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.rng.between(low_ms, high_ms)).min(FAULTS_END.since(at))
    }

    fn app(&mut self) -> usize {
        self.rng.below(self.apps) as usize
    }

    /// One in two hits a holder: by chance alone the faults would fall among hosts that run nothing.
    fn target(&mut self) -> Target {
        if self.apps > 0 && self.rng.chance(1, 2) { Target::Holder(self.app()) } else { Target::AnyHost }
    }

    /// Between one and `fixed` + one in `per` of the hosts.
    fn count(&mut self, fixed: u32, per: u32) -> u64 {
        self.rng.between(1, u64::from(fixed + self.nodes / per))
    }

    fn submissions_and_stops(&mut self) {
        for app in 0..self.apps as usize {
            let at = self.instant(0, SUBMISSIONS.as_secs());
            self.add(at, Action::Submit { app });
        }
        let mut all: Vec<_> = (0..self.apps as usize).collect();
        self.rng.shuffle(&mut all);
        all.truncate(self.rng.between(0, u64::from(self.apps / 4)) as usize);
        for app in all {
            let at = self.instant(35, 115);
            self.add(at, Action::Stop { app });
        }
    }

    fn kills(&mut self) {
        for _ in 0..self.count(3, 50) {
            let (at, target) = (self.instant(0, 120), self.target());
            self.add(at, Action::Kill(target));
        }
        if self.apps > 0 && self.rng.chance(1, 2) {
            let app = self.app();
            let count = if self.rng.chance(1, 3) { u16::MAX } else { self.rng.between(2, 6) as u16 };
            let at = self.instant(35, 118);
            self.add(at, Action::KillNeighbours { app, count });
        }
        if self.apps > 0 && self.rng.chance(1, 2) {
            let app = self.app();
            let submitted =
                |(at, action): &(Instant, Action)| (*action == Action::Submit { app }).then_some(*at);
            let at = self.actions.iter().find_map(submitted).unwrap_or(FAULTS_BEGIN);
            let at = at + Duration::from_millis(self.rng.between(50, 3_000));
            self.add(at, Action::Kill(Target::Submitter(app)));
        }
    }

    fn cuts(&mut self) {
        for _ in 0..self.count(2, 100) {
            let (at, target) = (self.instant(0, 120), self.target());
            let lasts = self.lasting(at, 500, 40_000);
            self.add(at, Action::Cut(target, lasts));
        }
    }

    /// One split, or two that do not touch.
    fn splits(&mut self) {
        let windows = if self.rng.chance(1, 3) { &[(5, 35), (75, 100)][..] } else { &[(5, 95)][..] };
        for (from, to) in windows {
            let at = self.instant(*from, *to);
            let lasts = self.lasting(at, 2_000, 38_000);
            let smaller_percent = if self.rng.chance(1, 2) { 50 } else { 10 };
            self.add(at, Action::Split { smaller_percent, lasts });
        }
    }

    fn pauses(&mut self) {
        for _ in 0..self.count(3, 50) {
            let (at, target) = (self.instant(0, 120), self.target());
            let lasts = self.lasting(at, 3_000, 25_000);
            self.add(at, Action::Pause(target, lasts));
        }
    }

    fn restarts(&mut self) {
        for _ in 0..self.count(2, 100) {
            let (at, target) = (self.instant(0, 120), self.target());
            let lasts = self.lasting(at, 100, 5_000);
            self.add(at, Action::Restart(target, lasts));
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "loss {} %, clocks skewed: {}", self.loss_percent, self.are_clocks_skewed)?;
        for (number, app) in self.apps.iter().enumerate() {
            let Shape { slots, behaviour, requirement, resources, colocate, placement, .. } = app;
            let together = if *colocate { ", may share hosts" } else { "" };
            writeln!(
                f,
                "app{number}: {slots} slots, {behaviour:?}, needs {resources}{together}, {:?} {placement}",
                requirement.text()
            )?;
        }
        for (at, action) in &self.actions {
            writeln!(f, "{:>8} ms  {action:?}", at.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(schedule: &Schedule) -> [bool; 7] {
        let any = |f: fn(&Action) -> bool| schedule.actions.iter().any(|(_, action)| f(action));
        [
            any(|a| matches!(a, Action::Kill(_) | Action::KillNeighbours { .. })),
            any(|a| matches!(a, Action::Cut(..))),
            any(|a| matches!(a, Action::Split { .. })),
            any(|a| matches!(a, Action::Pause(..))),
            any(|a| matches!(a, Action::Restart(..))),
            schedule.loss_percent > 0,
            schedule.are_clocks_skewed,
        ]
    }

    #[test]
    fn every_kind_occurs_in_some_seeds_and_is_absent_in_others() {
        let drawn: Vec<_> =
            (0..40).map(|seed| kinds(&Schedule::draw(1_000, 20, Faults::ALL, seed))).collect();
        for kind in 0..7 {
            let seeds = drawn.iter().filter(|kinds| kinds[kind]).count();
            assert!((15..40).contains(&seeds), "kind {kind} in {seeds} of 40 seeds");
        }
    }

    #[test]
    fn only_allowed_kinds_occur_and_a_single_one_always_does() {
        for seed in 0..20 {
            assert_eq!(kinds(&Schedule::draw(60, 3, Faults::NONE, seed)), [false; 7]);
            let cut = Faults::NONE.with(FaultKind::Cut);
            let expected = [false, true, false, false, false, false, false];
            assert_eq!(kinds(&Schedule::draw(60, 3, cut, seed)), expected, "seed {seed}");
        }
    }

    #[test]
    fn every_fault_begins_and_ends_under_faults() {
        for seed in 0..50 {
            let schedule = Schedule::draw(1_000, 20, Faults::ALL, seed);
            let submits = |(_, action): &&(Instant, Action)| matches!(action, Action::Submit { .. });
            assert_eq!(schedule.actions.iter().filter(submits).count(), 20);
            for (at, action) in &schedule.actions {
                let lasts = match action {
                    Action::Cut(_, lasts) | Action::Pause(_, lasts) | Action::Restart(_, lasts) => *lasts,
                    Action::Split { lasts, .. } => *lasts,
                    _ => Duration::ZERO,
                };
                assert!(*at >= FAULTS_BEGIN && *at + lasts <= FAULTS_END, "seed {seed}: {at:?} {action:?}");
            }
        }
    }
}
