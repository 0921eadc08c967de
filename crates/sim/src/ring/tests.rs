use super::*;
use crate::membership::Kill;

fn done(options: &Options) -> Report {
    run(options).expect("options that can be followed")
}

fn of(nodes: u32, seed: u64) -> Options {
    Options { nodes, seed, rounds: 10, lookups: 500, chord: false, ..Options::default() }
}

fn faults(list: &str) -> Faults {
    list.parse().expect("known faults")
}

/// Replayed by `xtreem sim ring` with the same options.
fn check(options: &Options, is_good: impl Fn(&Report) -> bool) {
    let report = done(options);
    assert!(is_good(&report), "{options:?}\n{report:?}");
}

#[test]
fn rings_of_any_size_find_the_owner_of_every_key() {
    for nodes in [1, 2, 3, 7, 50, 300] {
        check(&of(nodes, 1), |it| {
            (it.lookups_right, it.unanswered, it.double_owner_lookups) == (it.lookups, 0, 0)
                && it.rounds_to_right_ring.is_some_and(|rounds| rounds <= 8)
                && it.hops_max <= 6
        });
    }
}

#[test]
fn crowded_keys_make_no_way_longer() {
    let [even, crowded] = [Keys::Uniform, Keys::U8].map(|keys| done(&Options { keys, ..of(300, 2) }));
    assert!((even.hops_mean - crowded.hops_mean).abs() < 0.3, "{even:?}\n{crowded:?}");
    assert_eq!(crowded.lookups_right, crowded.lookups);
}

#[test]
fn newcomers_share_the_load_of_the_fullest() {
    check(&Options { keys: Keys::Zipf, ..of(200, 1) }, |it| {
        it.balance_max_over_mean <= 5.0
            && it.balance_random_max_over_mean > 10.0
            && it.double_owner_lookups == 0
    });
}

#[test]
fn a_ring_is_right_again_soon_after_many_died_at_once() {
    for (fraction, nodes) in [(0.3, 300), (0.5, 300), (0.9, 50)] {
        let kill = Some(Kill { fraction, at_round: 2 });
        check(&Options { kill, rounds: 40, ..of(nodes, 3) }, |it| {
            it.rounds_to_right_ring.is_some_and(|rounds| rounds <= 20) && it.double_owner_lookups == 0
        });
    }
}

#[test]
fn no_fault_short_of_a_partition_gives_a_key_two_owners() {
    for (nodes, seed) in [(3, 1), (7, 2), (50, 3), (300, 4)] {
        let faults = faults("pause,loss,suspect,churn,leave");
        check(&Options { faults, rounds: 60, lookups: 3_000, ..of(nodes, seed) }, |it| {
            it.double_owner_lookups == 0 && it.lookups_right * 10 >= it.lookups * 9
        });
    }
}

#[test]
fn halves_serve_what_they_can_and_heal() {
    let report = done(&Options { faults: faults("split"), rounds: 60, lookups: 3_000, ..of(50, 1) });
    assert!(report.double_owner_lookups > 0, "each half has an owner of every key: {report:?}");
}

/// The watcher notices what it is there for.
#[test]
fn who_overstays_its_lease_is_noticed() {
    // Leases that are taken for four times as long do harm only where much else happens, too.
    let faults = faults("pause,loss,suspect,churn,overstay");
    check(&Options { faults, rounds: 100, lookups: 20_000, ..of(60, 2) }, |it| it.double_owner_lookups > 0);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let options = Options { faults: faults("pause,loss,churn"), ..of(50, 5) };
    let without_memory = |options| Report { bytes_per_node: 0, ..done(options) };
    assert_eq!(without_memory(&options), without_memory(&options));
}

#[test]
fn options_that_cannot_be_followed_are_refused() {
    let cases = [
        (Options { nodes: 0, ..of(1, 1) }, OptionError::Nodes(0)),
        (Options { rounds: 0, ..of(1, 1) }, OptionError::Rounds),
        (Options { churn: 1.5, ..of(1, 1) }, OptionError::Churn(1.5)),
    ];
    for (options, error) in cases {
        assert_eq!(run(&options), Err(error));
    }
    assert!("pause,rain".parse::<Faults>().is_err() && "zip".parse::<Keys>().is_err());
}
