//! Small worlds, run whole.

mod failures;
mod placement;

use super::{Faults, Options, Report, Trace, run, sweep};

fn small(faults: &str, seed: u64) -> Options {
    let faults: Faults = faults.parse().expect("a list of faults");
    Options { nodes: 60, apps: 3, faults, seed, trace: Trace::Off, until: None }
}

/// Without what depends on the machine that runs it.
fn repeatable(report: Report) -> Report {
    Report { cpu_seconds: 0.0, events_per_cpu_second: 0, rss_bytes: 0, bytes_per_node: 0, ..report }
}

#[test]
fn a_quiet_grid_places_every_application() {
    let report = run(&small("none", 1));
    assert!(report.ok, "{:#?}", report.violations);
    assert_eq!((report.accepted, report.lost, report.false_failures), (3, 0, 0));
    assert!(report.slots_running >= 3, "{report:#?}");
}

#[test]
fn equal_seeds_give_equal_reports_and_others_do_not() {
    let all = Faults::ALL.to_string();
    let first = repeatable(run(&small(&all, 7)));
    assert_eq!(first, repeatable(run(&small(&all, 7))));
    assert_ne!(first.digest, run(&small(&all, 8)).digest);
}

#[test]
fn dead_holders_are_replaced() {
    let mut replaced = 0;
    for seed in 0..6 {
        let report = run(&small("kill", seed));
        assert!(report.ok, "{:#?}", report.violations);
        replaced += report.replaced;
    }
    assert!(replaced > 0, "some of the kills hit holders");
}

#[test]
fn a_run_may_end_early_or_much_later() {
    let of = |until| run(&Options { until, ..small("kill,restart", 3) });
    assert_eq!(of(Some(30)).virtual_ms, 30_000);
    let (usual, later) = (of(None), of(Some(400)));
    assert_eq!((usual.virtual_ms, later.virtual_ms), (170_000, 400_000));
    assert!(usual.ok && later.ok, "{:#?}", later.violations);
    assert!(later.messages > usual.messages);
}

#[test]
fn a_sweep_to_the_last_seed_of_all_ends() {
    let last = Options { nodes: 2, apps: 0, ..small("none", 0) };
    assert_eq!(sweep(u64::MAX - 2..u64::MAX, &last, 3, |_, _| {}).seeds, 2);
}

#[test]
fn a_power_cut_ends_nothing_that_was_acknowledged() {
    for (nodes, seed) in [(3, 1), (6, 2), (10, 3), (60, 4), (60, 5), (60, 6)] {
        let report = run(&Options { nodes, ..small("power", seed) });
        assert!(report.ok, "{nodes} {seed}: {:#?}", report.violations);
        assert_eq!(report.lost, 0, "{nodes} {seed}");
    }
}

#[test]
fn the_other_faults_of_a_seed_are_the_same_with_power_and_without() {
    use crate::grid::schedule::{Action, Schedule};
    for seed in 0..20 {
        let all = Schedule::draw(60, 3, Faults::ALL, seed);
        let others = Schedule::draw(60, 3, Faults::ALL.without(super::FaultKind::Power), seed);
        let is_other = |action: &Action| !matches!(action, Action::Power { .. });
        let left: Vec<_> = all.actions.into_iter().filter(|(_, action)| is_other(action)).collect();
        assert_eq!(left, others.actions, "seed {seed}");
    }
}

#[test]
fn a_sweep_runs_each_seed_once_and_says_how_to_replay_it() {
    let mut seen = Vec::new();
    let report = sweep(4..7, &small("none", 0), 2, |seed, one| seen.push((seed, one.replay.clone())));
    seen.sort();
    let replay = |seed| format!("xtreem sim grid --nodes 60 --apps 3 --faults none --seed {seed}");
    assert_eq!(seen, [4, 5, 6].map(|seed| (seed, replay(seed))));
    assert_eq!((report.seeds, report.failed as usize), (3, report.failures.len()));
}
