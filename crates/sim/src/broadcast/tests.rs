//! What the figures of `sim broadcast` promise, in small worlds.

use super::*;

#[test]
fn every_live_node_is_told_once_although_some_have_just_died() {
    for (seed, stale, most) in [(1, 0.0, 1.06), (2, 0.05, 1.12), (3, 0.2, 1.5)] {
        let report = run(&Options { nodes: 250, stale, loss: 0.01, seed }).expect("possible");
        assert!(report.rounds_to_right_ring.is_some(), "seed {seed}: {report:?}");
        assert_eq!((report.reached, report.told_twice), (report.live, 0), "seed {seed}: {report:?}");
        assert!(report.messages_per_node <= most && report.depth <= 12, "seed {seed}: {report:?}");
    }
}

#[test]
fn the_same_seed_tells_the_same() {
    let of = |seed| run(&Options { nodes: 100, seed, ..Options::default() }).expect("possible");
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn impossible_options_are_named() {
    let default = Options::default;
    assert_eq!(run(&Options { nodes: 1, ..default() }), Err(OptionError::Nodes(1)));
    assert_eq!(run(&Options { stale: 0.6, ..default() }), Err(OptionError::Stale(0.6)));
    assert_eq!(run(&Options { loss: -0.1, ..default() }), Err(OptionError::Loss(-0.1)));
}
