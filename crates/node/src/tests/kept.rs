//! What a node has on its disk, and a start that must not take it up.

use xtreem_allocation::Found;

use super::*;
use crate::Saved;

const DAY: u64 = 24 * 3_600;

/// A grid of one node with a disk that kept all of `kept`, after `days` without the node.
fn started(kept: Vec<Kept>, days: u64, is_cloned: bool) -> Net {
    let mut net = Net::new(1, 202_611_271_330);
    net.kept = kept.iter().map(|kept| ((0, kept.app()), kept.clone())).collect();
    net.with(0, |node, _, _| node.set_cloned(is_cloned));
    let away = Duration::from_secs(days * DAY);
    let found = kept.into_iter().map(|kept| Found { kept, age: away }).collect();
    let saved = Saved { found, reference: Vec::new(), away };
    net.with(0, |node, now, out| node.restore(now, saved, out));
    net
}

/// What a node keeps of an application that runs on it alone.
fn of_a_running_one() -> Vec<Kept> {
    let mut net = started(Vec::new(), 0, false);
    let mut application = application(1, Wanted::Running);
    application.record.submitter = net.ids[0];
    net.with(0, |node, now, out| node.submit(now, application, SECS(60), out)).unwrap().unwrap();
    net.run(SECS(10));
    assert_eq!(net.slots(), [0]);
    net.kept.into_values().collect()
}

#[test]
fn what_a_node_had_is_forgotten_after_a_month_also_by_its_disk() {
    for (days, starts) in [(1, 1), (30, 1), (31, 0)] {
        let mut net = started(of_a_running_one(), days, false);
        net.run(SECS(60));
        assert_eq!((net.starts, net.kept.len()), (starts, starts), "after {days} days");
        // The next start is a minute later.
        let mut net = started(net.kept.into_values().collect(), 0, false);
        net.run(SECS(60));
        assert_eq!(net.starts, starts, "the second start after {days} days");
    }
}

#[test]
fn what_was_stopped_stays_so_however_long_the_node_was_away() {
    let mut net = started(of_a_running_one(), 0, false);
    net.run(SECS(60));
    let mut stop = application(1, Wanted::Stopped).record;
    stop.submitter = net.ids[0];
    net.with(0, |node, now, out| node.publish(now, stop, &[handle(0)], out));
    net.run(SECS(10));
    assert_eq!(net.slots(), [0; 0]);
    let mut net = started(net.kept.into_values().collect(), 300, false);
    let mut again = application(1, Wanted::Running);
    again.record.submitter = net.ids[0];
    let refused = net.with(0, |node, now, out| node.submit(now, again, SECS(60), out)).unwrap();
    assert!(refused.is_err(), "a stopped application has its id for good");
}

#[test]
fn a_copy_of_a_node_takes_up_nothing_while_the_other_machine_runs() {
    let mut net = started(of_a_running_one(), 0, true);
    net.run(SECS(300));
    assert_eq!(net.starts, 0, "the other machine runs it");
    net.with(0, |node, _, _| node.set_cloned(false));
    net.run(SECS(30));
    assert_eq!(net.starts, 1, "the other machine is gone");
}

#[test]
fn a_node_that_is_found_to_be_a_copy_refuses_the_confirm_of_a_hold_that_it_granted() {
    let mut net = Net::new(4, 202_611_271_331);
    let mut application = application(1, Wanted::Running);
    application.record.submitter = net.ids[0];
    net.with(0, |node, now, out| node.submit(now, application, SECS(60), out)).unwrap().unwrap();
    let mut copy = None;
    for _ in 0..400 {
        net.run(Duration::from_millis(5));
        copy = (0..4).find(|at| net.nodes[*at].as_ref().is_some_and(|node| node.status().open_holds > 0));
        if let Some(at) = copy {
            net.with(at, |node, _, _| node.set_cloned(true));
            break;
        }
    }
    net.run(SECS(20));
    assert_eq!(net.slots(), [0], "{:?}", net.progress);
    assert!(copy.is_some() && copy != Some(net.holder(0)));
}
