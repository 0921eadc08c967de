use super::*;
use crate::queue::Kind;

fn of(nodes: u32, rounds: u32) -> Options {
    Options { nodes, rounds, ..Options::default() }
}

fn done(options: &Options) -> Report {
    run(options).expect("options that can be followed")
}

#[test]
fn a_ring_becomes_a_random_graph_within_50_rounds() {
    let report = done(&of(2_000, 50));
    assert!((19.9..=20.0).contains(&report.in_degree_mean), "{report:?}");
    assert!(report.in_degree_sd < 3.0, "{report:?}");
    assert!(report.mean_path < report.random_mean_path * 1.02, "{report:?}");
    assert!(report.clustering < report.random_clustering * 1.5, "{report:?}");
    assert_eq!((report.survivors_cut_off, report.dead_links.len()), (None, 0));
}

#[test]
fn survivors_stay_one_component_when_80_percent_die() {
    let report = done(&Options { kill: "0.8@40".parse().ok(), ..of(5_000, 41) });
    assert!(report.survivors_cut_off.is_some_and(|share| share <= 0.001), "{report:?}");
}

#[test]
fn dead_links_are_gone_30_rounds_after_half_the_nodes_died() {
    let report = done(&Options { kill: "0.5@30".parse().ok(), ..of(2_000, 60) });
    let at = |round| report.dead_links.iter().find(|dead| dead.round == round).map(|dead| dead.fraction);
    assert_eq!(report.dead_links.len(), 31);
    assert!(at(30).is_some_and(|fraction| (0.4..0.6).contains(&fraction)), "{report:?}");
    assert!(at(60).is_some_and(|fraction| fraction < 0.01), "{report:?}");
}

#[test]
fn a_fifth_of_a_percent_of_churn_a_round_leaves_few_dead_links() {
    let report = done(&Options { churn: 0.002, loss: 0.01, ..of(2_000, 80) });
    let last = report.dead_links.last().map(|dead| dead.fraction);
    assert!(last.is_some_and(|fraction| fraction > 0.0 && fraction < 0.03), "{report:?}");
    assert!(report.in_degree_mean > 19.0 && report.in_degree_sd < 4.0, "{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_one_another() {
    let options = Options { kill: "0.3@5".parse().ok(), churn: 0.01, loss: 0.02, ..of(500, 12) };
    let (first, again) = (done(&options), done(&options));
    let other = done(&Options { seed: 2, ..options });
    assert_eq!((&first.digest, first.events), (&again.digest, again.events));
    assert_eq!(first.dead_links, again.dead_links);
    assert_ne!(first.digest, other.digest);
}

#[test]
fn queue_and_shards_change_nothing_that_happens() {
    let world =
        |kill: &str, rounds| Options { kill: kill.parse().ok(), churn: 0.01, loss: 0.02, ..of(701, rounds) };
    // Eight threads on fewer processors meet 244 times a virtual second: they get a shorter run.
    let table: [(Options, &[(Kind, u32)]); 2] = [
        (world("0.3@5", 12), &[(Kind::Heap, 1), (Kind::Wheel, 2), (Kind::Heap, 2)]),
        (world("0.3@2", 4), &[(Kind::Wheel, 8)]),
    ];
    for (options, others) in table {
        let first = done(&options);
        for &(queue, shards) in others {
            let other = done(&Options { queue, shards, ..options.clone() });
            assert_eq!((&first.digest, first.events), (&other.digest, other.events), "{queue:?} {shards}");
            assert_eq!(first.dead_links, other.dead_links);
        }
    }
}

#[test]
fn tiny_worlds_and_the_death_of_everybody_are_no_trouble() {
    for (nodes, kill) in [(2, "0.5@5"), (2, "1@5"), (3, "0.5@1"), (7, "1@0"), (30, "0.9@20")] {
        let report = done(&Options { kill: kill.parse().ok(), churn: 0.1, loss: 0.1, ..of(nodes, 20) });
        assert!(report.survivors_cut_off.is_some(), "{nodes} {kill}");
    }
}

#[test]
fn a_series_tells_how_a_ring_becomes_random_and_is_drawn() {
    let options = Options { kill: "0.5@30".parse().ok(), series: true, ..of(600, 60) };
    let report = done(&options);
    let series = report.series.as_ref().expect("it was asked for");
    let [first, .., last] = &series.rounds[..] else { panic!("{series:?}") };
    assert_eq!((first.round, last.round), (0, 60));
    assert!(
        first.mean_path > 10.0 * last.mean_path && first.clustering > 5.0 * last.clustering,
        "{series:?}"
    );
    assert!(series.rounds.len() <= 52 && series.in_degrees.iter().sum::<u32>() == 300, "{series:?}");
    let directory = std::env::temp_dir().join(format!("xtreem-plot-{}", std::process::id()));
    let files = plot(&report, &directory).expect("a directory to write to");
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(names, ["in-degree.svg", "path.svg", "clustering.svg", "dead-links.svg"]);
    for file in &files {
        let text = std::fs::read_to_string(file).expect("it was just written");
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{file:?}");
    }
    std::fs::remove_dir_all(&directory).expect("it is ours");
}

#[test]
fn the_report_has_the_fields_that_users_rely_on() {
    let json = serde_json::to_value(done(&of(10, 2))).expect("plain numbers and text");
    let fields: Vec<&String> = json.as_object().expect("an object").keys().collect();
    let mut expected = [
        "in_degree_mean",
        "in_degree_sd",
        "mean_path",
        "clustering",
        "random_mean_path",
        "random_clustering",
        "survivors_cut_off",
        "dead_links",
        "bytes_per_node",
        "node_rounds_per_cpu_second",
        "events",
        "digest",
    ];
    expected.sort();
    let mut fields: Vec<&str> = fields.into_iter().map(String::as_str).collect();
    fields.sort();
    assert_eq!(fields, expected);
}

#[test]
fn options_that_cannot_be_followed_are_refused() {
    let base = of(10, 10);
    let kill = |fraction, at_round| Some(Kill { fraction, at_round });
    let cases = [
        (Options { nodes: 1, ..base.clone() }, OptionError::Nodes(1)),
        (Options { nodes: 1 << 24, ..base.clone() }, OptionError::Nodes(1 << 24)),
        (Options { rounds: 0, ..base.clone() }, OptionError::Rounds),
        (Options { kill: kill(1.5, 3), ..base.clone() }, OptionError::Kill(1.5)),
        (
            Options { kill: kill(0.5, 11), ..base.clone() },
            OptionError::KillTooLate { at_round: 11, rounds: 10 },
        ),
        (Options { churn: -0.1, ..base.clone() }, OptionError::Churn(-0.1)),
        (Options { loss: 2.0, ..base.clone() }, OptionError::Loss(2.0)),
        (Options { shards: 0, ..base.clone() }, OptionError::Shards(0)),
        (Options { shards: 3, ..base.clone() }, OptionError::Shards(3)),
        (Options { shards: 16, ..base.clone() }, OptionError::Shards(16)),
    ];
    for (options, error) in cases {
        assert_eq!(run(&options), Err(error));
    }
    assert!(run(&Options { loss: f64::NAN, ..base }).is_err());
}

#[test]
fn a_kill_is_written_fraction_at_round() {
    assert_eq!("0.8@60".parse(), Ok(Kill { fraction: 0.8, at_round: 60 }));
    for text in ["", "0.8", "@60", "0.8@", "1.2@60", "-1@6", "x@6", "0.8@6.5", "NaN@3"] {
        let error = text.parse::<Kill>().expect_err(text).to_string();
        assert!(error.contains("FRACTION@ROUND such as 0.8@60"), "{error}");
    }
}
