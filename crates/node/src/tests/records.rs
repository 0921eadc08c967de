//! Which of two records of one application is in force.

use super::*;

/// Its owner signed it twice, to be submitted through two nodes.
#[test]
fn of_two_records_that_differ_only_in_their_submitter_all_members_have_the_same_one() {
    for seed in 0..4 {
        let mut net = Net::new(16, seed);
        let app = net.submit(3, 6);
        net.run(SECS(5));
        let (first, holder) = (net.ids[3], handle(net.holder(4)));
        let higher = net.ids.iter().copied().find(|id| *id > first);
        let lower = net.ids.iter().copied().find(|id| *id < first);
        for (submitter, expected) in [(lower, first), (higher, higher.unwrap_or(first))] {
            let Some(submitter) = submitter else { continue };
            let record = Record { submitter, ..application(6, Wanted::Running).record };
            net.with(3, |node, now, out| node.publish(now, record, &[holder], out));
            net.run(SECS(30));
            let known = net.nodes.iter().flatten().filter_map(|node| node.app(net.now, app));
            let submitters: Vec<NodeId> = known.map(|known| known.record.submitter).collect();
            assert!(submitters.len() >= 6, "its holders at least");
            assert!(submitters.iter().all(|id| *id == expected), "seed {seed}: {submitters:?}");
        }
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}");
    }
}

/// So that a program can show other members which slot it has.
#[test]
fn every_holder_shows_what_a_newcomer_believes_and_no_former_one_does() {
    let mut net = Net::new(16, 7);
    let app = net.submit(0, 3);
    net.run(SECS(5));
    let runs_of = |net: &Net| -> Vec<(usize, SlotRun)> {
        let shown = net.nodes[net.holder(0)].as_ref().and_then(|node| node.app(net.now, app));
        let known = shown.expect("its holder knows it").slots.into_iter();
        known
            .map(|known| (net.holder(known.slot), SlotRun { app, slot: known.slot, epoch: known.epoch }))
            .collect()
    };
    let before = runs_of(&net);
    net.kill(net.holder(1));
    net.run(SECS(40));
    let after = runs_of(&net);
    assert_ne!(before[1].1, after[1].1);
    for (at, run) in after {
        let node = net.nodes[at].as_ref().expect("it lives");
        let held = node.held(run).expect("it holds it");
        let mut newcomer = Chain::new(app, held.record.submitter);
        assert_eq!(newcomer.admit(&held.evidence), 0, "slot {}", run.slot);
        assert_eq!(newcomer.holder(run.slot, run.epoch), Some(net.ids[at]));
        assert!(held.epochs.contains(&(run.slot, run.epoch)));
        let other = SlotRun { epoch: before[1].1.epoch, ..run };
        assert!(node.held(other).is_none() || other == run, "an epoch that it does not hold");
    }
}
