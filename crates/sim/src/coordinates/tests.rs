use super::*;

#[test]
fn coordinates_tell_round_trips_between_nodes_that_never_met() {
    let report = run(&Options { nodes: 400, ..Options::default() });
    assert!(report.error_median <= 150, "{report:?}");
    let early = run(&Options { nodes: 400, rounds: 1, ..Options::default() });
    assert!(early.error_median > 2 * report.error_median, "{early:?}");
}

#[test]
fn nodes_chosen_by_coordinates_are_clearly_nearer_than_random_ones_and_nearly_the_nearest() {
    let Report { random_micros, near_micros, best_micros, .. } =
        run(&Options { nodes: 400, ..Options::default() });
    assert!(near_micros * 2 < random_micros, "{near_micros} of {random_micros}");
    assert!(near_micros * 4 < best_micros * 5, "{near_micros}, best {best_micros}");
}

#[test]
fn one_liar_in_a_hundred_hurts_but_moves_nobody_out_of_reach() {
    let report = run(&Options { nodes: 400, liars_per_mille: 10, ..Options::default() });
    assert!(report.near_micros * 3 < report.random_micros * 2, "{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_coordinates() {
    let of = |seed| run(&Options { nodes: 60, rounds: 20, seed, ..Options::default() });
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
}
