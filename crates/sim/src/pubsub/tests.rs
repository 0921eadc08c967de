//! What the figures of `sim pubsub` promise, in small worlds, and that the one who watches sees what is
//! wrong.

use xtreem_base::{Duration, Handle, Instant};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::{Pattern, relay};

use super::node::{id_of, topic};
use super::watch::Watch;
use super::*;
use crate::membership::Kill;

fn world(nodes: u32, subscribers: u32, publishers: u32, rounds: u32) -> World {
    let options = Options { nodes, subscribers, publishers, rounds, ..Options::default() };
    options.check().expect("possible");
    let mut world = World::new(&options);
    world.form();
    world
}

fn all_heard(world: World, what: &str) -> Report {
    let report = world.finish();
    assert!(report.ok, "{what}: {report:#?}");
    assert!(report.expected > 20 && report.delivered == report.expected, "{what}: {report:#?}");
    report
}

#[test]
fn a_hot_topic_reaches_all_by_few_steps_of_each_and_touches_nobody_else() {
    let options = Options { nodes: 120, subscribers: 90, rounds: 20, ..Options::default() };
    let report = run(&options).expect("possible");
    assert!(report.ok && report.delivered == report.expected && report.expected == 1_800, "{report:#?}");
    assert!(report.fan_out_max <= 8 && report.depth_max <= 3, "{report:#?}");
    let nothing = (report.bystanders_touched, report.redundant, report.told_lost);
    assert_eq!(nothing, (0, 0, 0), "{report:#?}");
}

#[test]
fn the_owner_of_the_place_of_all_subscriptions_may_die() {
    let mut world = world(30, 10, 2, 10);
    world.subscribe();
    world.play();
    for _ in 0..3 {
        let item = relay::key_of(&topic().into(), id_of(Handle::from_u32(world.subscribers[0])));
        let key = Key::new(Namespace::SUBSCRIBERS, &item).expect("short");
        let owns = |slot: &u32| {
            let lease = world.arena.member(*slot).overlay.ring().lease();
            lease.is_some_and(|lease| lease.range().contains_key(&key))
        };
        let owner = world.living().into_iter().find(owns).expect("somebody owns it");
        if !world.publishers.contains(&owner) {
            world.kill(owner);
        }
        (0..8).for_each(|_| world.play_round());
    }
    assert_eq!(all_heard(world, "owner").bystanders_touched, 0);
}

#[test]
fn publishers_on_both_sides_of_a_split_reach_all_again() {
    let mut world = world(20, 10, 2, 5);
    world.subscribe();
    world.play();
    let other = world.publishers[1];
    world.begin_split((0..20).map(|slot| u8::from(slot == other || slot % 2 == 0)).collect());
    (0..10).for_each(|_| world.play_round());
    world.end_split(Duration::from_secs(24));
    (0..80).for_each(|_| world.play_round());
    all_heard(world, "split");
}

#[test]
fn subscriptions_of_all_kinds_hear_what_they_mean_and_nothing_else() {
    let mut world = world(20, 1, 1, 5);
    let others: Vec<u32> = (0..20)
        .filter(|slot| !world.publishers.contains(slot) && !world.subscribers.contains(slot))
        .collect();
    for (slot, pattern) in others.iter().zip(["hot/*", "hot/**", "**", "hot", "hot/topic/*", "cold/**"]) {
        let pattern = Pattern::new(pattern).expect("a pattern");
        world.arena.with(*slot, |node, call, out| node.subscribe(call, &pattern, out));
    }
    let range = Pattern::range("hot/a", "hot/z").expect("a range");
    world.arena.with(others[6], |node, call, out| node.subscribe(call, &range, out));
    world.subscribe();
    world.play();
    let report = all_heard(world, "patterns");
    assert_eq!((report.expected, report.bystanders_touched), (5 * 5, 0), "{report:#?}");
}

#[test]
fn who_starts_anew_subscribes_again_and_hears() {
    let mut world = world(20, 6, 1, 5);
    world.subscribe();
    world.play();
    let again = world.subscribers[0];
    world.replace(again);
    world.arena.with(again, |node, call, out| node.subscribe(call, &topic(), out));
    (0..20).for_each(|_| world.play_round());
    let report = all_heard(world, "again");
    assert!(report.expected > 5 * 25, "{report:#?}");
}

#[test]
fn half_may_die_at_once_and_some_in_each_round() {
    let kill = Some(Kill { fraction: 0.5, at_round: 5 });
    let options = Options { nodes: 120, subscribers: 60, kill, rounds: 30, ..Options::default() };
    let report = run(&options).expect("possible");
    assert!(report.ok && report.delivered == report.expected && report.expected > 500, "{report:#?}");
    assert!(report.resumed_after_ms.is_some_and(|ms| ms < 3 * relay::LEASE.as_secs() * 1_000));
    let options = Options { nodes: 120, subscribers: 80, publishers: 2, kill_per_round: 2, ..options };
    let report = run(&Options { kill: None, ..options }).expect("possible");
    assert!(report.ok && report.delivered == report.expected && report.expected > 1_000, "{report:#?}");
    let counted = (report.redundant > 0, report.told_lost, report.fan_out_max <= 16, report.depth_max <= 4);
    assert_eq!(counted, (true, 0, true, true), "{report:#?}");
}

#[test]
fn the_other_trees_reach_nearly_all_where_nothing_goes_wrong() {
    for tree in [Tree::Reverse, Tree::Gossip] {
        let options = Options { nodes: 100, subscribers: 50, rounds: 15, tree, ..Options::default() };
        let report = run(&options).expect("possible");
        assert!(report.delivered * 20 >= report.expected * 19, "{report:#?}");
        assert!(report.expected == 750 && report.bystanders_touched > 0, "{report:#?}");
    }
}

#[test]
fn small_worlds_keep_their_promises_whatever_goes_wrong() {
    let report = sweep(0..8, |_| {});
    assert_eq!((report.seeds, report.failed), (8, 0), "{report:#?}");
    assert!(report.expected > 1_000 && report.delivered == report.expected, "{report:#?}");
}

#[test]
fn the_same_seed_tells_the_same() {
    let of =
        |seed| run(&Options { nodes: 30, subscribers: 9, seed, ..Options::default() }).expect("possible");
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn impossible_options_are_named() {
    let default = Options::default;
    assert_eq!(run(&Options { nodes: 1, ..default() }), Err(OptionError::Nodes(1)));
    assert!(matches!(run(&Options { subscribers: 0, ..default() }), Err(OptionError::Servers { .. })));
    assert!(matches!(run(&Options { publishers: 950, ..default() }), Err(OptionError::Servers { .. })));
    assert_eq!(run(&Options { rounds: 20_000, ..default() }), Err(OptionError::Events(20_000)));
    assert_eq!(run(&Options { loss: -0.1, ..default() }), Err(OptionError::Loss(-0.1)));
    let kill = Some(Kill { fraction: 0.5, at_round: 30 });
    assert!(matches!(run(&Options { kill, ..default() }), Err(OptionError::KillTooLate { .. })));
    let options = Options { tree: Tree::Gossip, faults: Faults::ALL, ..default() };
    assert_eq!(run(&options), Err(OptionError::FaultsOfAnotherTree));
    assert_eq!("loss,split".parse::<Faults>().map(|faults| faults.to_string()), Ok("loss,split".to_owned()));
    assert!("losss".parse::<Faults>().is_err() && "tree".parse::<Tree>().is_err());
}

#[test]
fn who_watches_sees_each_broken_promise() {
    let at = |seconds: u64| Instant::from_millis(1_000 * seconds);
    let [publisher, one] = [0, 1].map(Handle::from_u32);
    let judge = |watch: Watch| watch.report(None, true).wrong;
    let begin = || {
        let mut watch = Watch::new(2);
        watch.asked(at(1), one);
        watch.answered(at(2), one);
        let events = [watch.published(at(3), publisher), watch.published(at(4), publisher)];
        (watch, events)
    };
    let (mut watch, [first, second]) = begin();
    [first, second].iter().for_each(|event| watch.heard(at(5), *event, one));
    assert_eq!(judge(watch), [""; 0]);
    let (mut watch, [first, second]) = begin();
    [second, first].iter().for_each(|event| watch.heard(at(5), *event, one));
    assert!(judge(watch)[0].contains("after"));
    let (mut watch, [first, second]) = begin();
    [first, first, second].iter().for_each(|event| watch.heard(at(5), *event, one));
    assert!(judge(watch)[0].contains("twice"));
    let (mut watch, [first, _]) = begin();
    watch.heard(at(5), first, one);
    assert!(judge(watch)[0].contains("never"));
    let (mut watch, _) = begin();
    watch.died(at(5), one);
    watch.sent_to(at(60), one, None);
    assert_eq!(judge(watch), [""; 0]);
    let (mut watch, _) = begin();
    watch.died(at(5), one);
    watch.sent_to(at(600), one, None);
    assert!(judge(watch)[0].contains("still served"));
}
