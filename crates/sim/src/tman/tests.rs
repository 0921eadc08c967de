//! What is promised of rings that make themselves.

use super::*;

/// Without the plain algorithm.
fn options(nodes: u32, seed: u64) -> Options {
    Options { nodes, seed, baseline_rounds: 0, ..Options::default() }
}

fn replay(options: &Options) -> String {
    let Options { nodes, seed, loss, kill, split, .. } = options;
    format!("xtreem sim tman --nodes {nodes} --seed {seed} --loss {loss} --kill {kill} --split {split}")
}

fn within(rounds: Option<u32>, most: u32, options: &Options) {
    assert!(rounds.is_some_and(|rounds| rounds <= most), "{rounds:?} of {most} rounds: {}", replay(options));
}

#[test]
fn everybody_finds_who_comes_next_in_a_few_rounds() {
    for (nodes, most, seeds) in [(3, 4, 3), (40, 4, 3), (500, 6, 3), (2_000, 8, 2)] {
        for seed in 1..=seeds {
            let options = options(nodes, seed);
            let report = run(&options).expect("sound options");
            within(report.rounds_to_perfect, most, &options);
            assert!(report.exchanges_per_node_round <= 2.2, "{report:?}");
        }
    }
}

#[test]
fn a_tenth_of_the_datagrams_may_get_lost() {
    let options = Options { loss: 0.1, ..options(500, 1) };
    within(run(&options).expect("sound options").rounds_to_perfect, 9, &options);
}

#[test]
fn survivors_are_right_again_after_half_of_all_died_at_once() {
    for (nodes, most, seeds) in [(500, 13, 3), (2_000, 15, 1)] {
        for seed in 1..=seeds {
            let options = Options { kill: 0.5, ..options(nodes, seed) };
            within(run(&options).expect("sound options").rounds_after_kill, most, &options);
        }
    }
}

#[test]
fn halves_become_two_rings_and_one_again() {
    for (nodes, most, seeds) in [(500, 6, 3), (2_000, 9, 1)] {
        for seed in 1..=seeds {
            let options = Options { split: 30, ..options(nodes, seed) };
            let report = run(&options).expect("sound options");
            within(report.rounds_split, 10, &options);
            within(report.rounds_after_heal, most, &options);
        }
    }
}

#[test]
fn the_plain_algorithm_needs_longer() {
    let options = Options { nodes: 2_000, ..Options::default() };
    let report = run(&options).expect("sound options");
    assert!(report.rounds_to_perfect < report.baseline_rounds, "{report:?}");
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let of = |seed| run(&options(200, seed)).expect("sound options");
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).digest, of(2).digest);
}

#[test]
fn options_that_no_run_can_follow_are_named() {
    let base = Options::default();
    let cases = [
        (Options { nodes: 2, ..base.clone() }, OptionError::Nodes(2)),
        (Options { view: 3, ..base.clone() }, OptionError::View(3)),
        (Options { view: 64, ..base.clone() }, OptionError::View(64)),
        (Options { loss: 1.5, ..base.clone() }, OptionError::Loss(1.5)),
        (Options { kill: -0.5, ..base.clone() }, OptionError::Kill(-0.5)),
        (Options { rounds: 0, ..base }, OptionError::Rounds),
    ];
    for (options, error) in cases {
        assert_eq!(run(&options), Err(error));
    }
}
