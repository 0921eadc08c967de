use super::*;

fn done(options: &Options) -> Report {
    run(options).expect("options that can be followed")
}

fn of(nodes: u32) -> Options {
    Options { nodes, ..Options::default() }
}

/// 3 log2 of the nodes.
fn bound(nodes: u32) -> u32 {
    (3.0 * f64::from(nodes).log2()) as u32
}

#[test]
fn all_ranks_are_right_within_three_logarithms_of_rounds_and_rows() {
    for (nodes, seed) in [(64, 1), (1_000, 2)] {
        let report = done(&Options { seed, ..of(nodes) });
        assert!(report.rounds_to_right.is_some_and(|rounds| rounds <= bound(nodes)), "{report:?}");
        // Beside the rows a node keeps its two askers of one level more for a while.
        assert!(report.state_entries_max <= bound(nodes) + 2, "{report:?}");
        assert!(report.rounds_to_settled.is_some() && report.messages_per_node_round < 6.0, "{report:?}");
    }
}

#[test]
fn one_two_and_three_nodes_are_no_trouble() {
    for nodes in [1, 2, 3] {
        let report = done(&of(nodes));
        assert!(report.rounds_to_settled.is_some(), "{nodes}: {report:?}");
    }
}

#[test]
fn survivors_keep_their_ranks_through_churn_and_it_settles_again() {
    let report = done(&Options { churn: 0.02, seed: 3, ..of(300) });
    let again = report.again.expect("there was churn");
    assert_eq!(again.survivors_moved, 0);
    assert!(again.rounds_to_right.is_some_and(|rounds| rounds <= 2 * bound(300)), "{again:?}");
    assert!(again.rounds_to_settled.is_some_and(|rounds| rounds <= 3 * bound(300)), "{again:?}");
}

#[test]
fn a_third_dies_at_once_and_the_others_are_numbered_anew_on_request() {
    let report = done(&Options { kill: 0.3, seed: 4, ..of(300) });
    let again = report.again.expect("some were killed");
    assert_eq!(again.survivors_moved, 0);
    assert!(again.rounds_to_right.is_some_and(|rounds| rounds <= bound(300)), "{again:?}");
    assert!(again.rounds_to_settled.is_some_and(|rounds| rounds <= 2 * bound(300)), "{again:?}");
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_one_another() {
    let options = Options { churn: 0.02, loss: 0.05, ..of(60) };
    let (one, again) = (done(&options), done(&options));
    assert_eq!(one, again);
    assert_ne!(one.digest, done(&Options { seed: 2, ..options }).digest);
}

#[test]
fn options_that_cannot_be_followed_are_refused() {
    let cases = [
        (of(0), OptionError::Nodes(0)),
        (of(NODES_MAX + 1), OptionError::Nodes(NODES_MAX + 1)),
        (Options { loss: 0.6, ..of(9) }, OptionError::Loss(0.6)),
        (Options { kill: 1.0, ..of(9) }, OptionError::Kill(1.0)),
        (Options { churn: -0.1, ..of(9) }, OptionError::Churn(-0.1)),
    ];
    for (options, error) in cases {
        assert_eq!(run(&options), Err(error));
    }
}

#[test]
fn the_report_has_the_fields_that_users_rely_on() {
    let json = serde_json::to_value(done(&of(8))).expect("plain numbers and text");
    for field in ["rounds_to_right", "state_entries_mean", "state_entries_max"] {
        assert!(json.get(field).is_some_and(serde_json::Value::is_number), "{json}");
    }
}
