//! Small crowds, run whole.

use super::*;

fn crowd(faults: &str, seed: u64) -> Report {
    placed_crowd("", faults, seed)
}

fn placed_crowd(placement: &str, faults: &str, seed: u64) -> Report {
    let faults: Faults = faults.parse().expect("a list of faults");
    let placement = placement.to_owned();
    let small = Options { nodes: 150, requests: 20, slots: 5, scarce: 30, ..Options::default() };
    run(&Options { placement, faults, seed, ..small }).expect("possible options")
}

#[test]
fn looking_for_more_than_one_needs_starves_nobody_and_leaks_nothing() {
    for (faults, seed) in [("none", 0), ("none", 1), ("loss,split", 2)] {
        let report = placed_crowd("spread by site", faults, seed);
        assert_eq!(report.violations, [], "{}", report.replay);
        let figures = (report.granted, report.leaked_holds, report.slots_left);
        assert_eq!(figures, (20, 0, 0), "{}", report.replay);
    }
}

#[test]
fn all_are_granted_in_turn_and_nothing_is_left_over() {
    for seed in 0..5 {
        let report = crowd("none", seed);
        assert_eq!(report.violations, [], "{}", report.replay);
        let figures = (report.granted, report.leaked_holds, report.rounds_without_progress, report.refused);
        assert_eq!((figures, report.slots_left), ((20, 0, 0, 0), 0), "{}", report.replay);
        assert_eq!(report.lapsed_holds, 0, "each hold was confirmed, released or revoked: {}", report.replay);
    }
}

#[test]
fn neither_lost_messages_nor_a_split_keep_anybody_from_their_turn() {
    for faults in ["loss", "split", "loss,split"] {
        for seed in 0..3 {
            let report = crowd(faults, seed);
            assert_eq!(report.violations, [], "{}", report.replay);
            let figures = (report.granted, report.leaked_holds, report.slots_left);
            assert_eq!(figures, (20, 0, 0), "{}", report.replay);
        }
    }
}

#[test]
fn equal_seeds_give_equal_reports_and_others_do_not() {
    assert_eq!(crowd("none", 3), crowd("none", 3));
    assert_ne!(crowd("none", 3).digest, crowd("none", 4).digest);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let base = Options::default;
    let table = [
        (Options { nodes: 0, ..base() }, Unfit::Nodes),
        (Options { scarce: 2_001, ..base() }, Unfit::Scarce),
        (Options { slots: 0, ..base() }, Unfit::Slots),
        (Options { slots: 401, ..base() }, Unfit::Slots),
        (Options { requests: 0, ..base() }, Unfit::Requests),
        (Options { faults: Faults::ALL, ..base() }, Unfit::Faults),
    ];
    for (options, why) in table {
        assert_eq!(run(&options).map(|_| ()), Err(why));
    }
}
