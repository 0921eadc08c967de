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
