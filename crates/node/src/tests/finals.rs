//! Applications that are over: they leave room for others, and are answered for all the same.

use xtreem_allocation::{Found, Kept, NotStarted, Trouble};
use xtreem_discovery::{AppSummary, Role};

use super::*;
use crate::Saved;

/// More than the applications that a node takes part in at one time.
const JOBS: u32 = 1_200;
/// Of one slot, at one time, on four nodes with room for four each.
const AT_ONCE: u32 = 12;

fn job(number: u32, submitter: NodeId) -> Application {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let mut application = application(1, Wanted::Running);
    application.record.id = AppId::from_bytes(id);
    application.record.submitter = submitter;
    application
}

fn submit(net: &mut Net, at: usize, number: u32) -> AppId {
    let application = job(number, net.ids[at]);
    let app = application.record.id;
    net.with(at, |node, now, out| node.submit(now, application, SECS(60), out)).unwrap().unwrap();
    app
}

#[test]
fn more_short_jobs_than_a_node_takes_part_in_all_run_and_are_remembered() {
    for program in [Program::Finishes, Program::Fails] {
        let mut net = Net::new(4, 202_611_261_040);
        let mut config = Config::emulated();
        config.allocation.failures_max = 1;
        let config = Arc::new(config);
        if program == Program::Fails {
            // Each is failed at once on every node.
            net = Net::of(4, 202_611_261_041, &config, |_| {
                let mut attributes = Attributes::default();
                attributes.set("cpu.cores", Value::from(4)).unwrap();
                attributes
            });
        }
        net.program = program;
        let jobs = if program == Program::Fails { AT_ONCE } else { JOBS };
        for first in (0..jobs).step_by(AT_ONCE as usize) {
            for number in first..first + AT_ONCE {
                submit(&mut net, number as usize % 4, number);
            }
            net.run(SECS(if program == Program::Fails { 60 } else { 8 }));
        }
        if program == Program::Finishes {
            assert_eq!(net.starts, JOBS as usize, "each ran once");
        }
        for node in net.nodes.iter().flatten() {
            let apps = node.apps(net.now);
            // Who gave a slot away still answers for it.
            let may_stay = program == Program::Fails;
            let is_done = |app: &AppSummary| app.role == Role::Former && (app.is_over() || may_stay);
            let rest: Vec<_> = apps.iter().filter(|app| !is_done(app)).collect();
            assert!(rest.is_empty(), "{} of {}: {:?}", rest.len(), apps.len(), rest[0]);
            assert_eq!(node.status().used, Resources::default());
        }
        let known = |net: &Net, number| {
            let app = job(number, net.ids[0]).record.id;
            net.nodes.iter().flatten().any(|node| node.app(net.now, app).is_some())
        };
        assert!((0..jobs).all(|number| known(&net, number)), "each is remembered somewhere");
        // Nothing that is over runs again.
        let starts = net.starts;
        let again = job(0, net.ids[0]);
        let refused = net.with(0, |node, now, out| node.submit(now, again, Duration::ZERO, out)).unwrap();
        let refused_or_not_placed = refused.is_err() || {
            net.run(SECS(10));
            net.starts == starts
        };
        assert!(refused_or_not_placed);
    }
}

/// Restarts do not give it another thirty days.
#[test]
fn what_ended_before_this_start_is_forgotten_thirty_days_after_its_end() {
    let day = SECS(24 * 3_600);
    let role = |number| {
        let kept = xtreem_allocation::Role {
            application: job(number, NodeId::from_bytes([1; 16])),
            guardians: xtreem_allocation::GuardianSet::NONE,
            is_guardian: false,
            slots: Vec::new(),
            known: Vec::new(),
            is_finished: true,
            evidence: Default::default(),
            older: Vec::new(),
            suppliers: Vec::new(),
        };
        Found { kept: Kept::Role(Box::new(kept)), age: day * (30 - u64::from(number)) }
    };
    let app = |number| job(number, NodeId::from_bytes([1; 16])).record.id;
    let mut net = Net::new(1, 1);
    // Not in the order of their ends.
    let found = vec![role(3), role(1), role(2)];
    net.with(0, |node, now, out| node.restore(now, Saved { found, ..Saved::default() }, out));
    let ended = net.nodes[0].as_ref().unwrap().apps(net.now);
    let ended: Vec<_> = ended.iter().map(|summary| (summary.id, summary.ended_s.unwrap() / 86_400)).collect();
    assert_eq!(ended, [(app(3), 27), (app(2), 28), (app(1), 29)], "the newest comes first, with its age");
    let mut known = Vec::new();
    for _ in 0..4 {
        let node = net.nodes[0].as_ref().unwrap();
        known.push([1, 2, 3].map(|number| node.app(net.now, app(number)).is_some()));
        net.now += day;
        net.with(0, |node, now, out| node.handle_timeout(now, out));
    }
    let expected = [[true, true, true], [false, true, true], [false, false, true], [false, false, false]];
    assert_eq!(known, expected);
}

#[test]
fn a_confirm_that_is_refused_is_followed_by_another_node() {
    for seed in 202_611_261_050..202_611_261_056 {
        let mut net = Net::new(4, seed);
        // Node 0 submits; whoever grants the hold falls into trouble before the confirm.
        submit(&mut net, 0, 1);
        let mut troubled = None;
        for _ in 0..400 {
            net.run(Duration::from_millis(5));
            let held: Vec<usize> = (0..4).filter(|at| is_held(&net, *at)).collect();
            if let Some(at) = held.first().copied() {
                troubled = Some(at);
                net.with(at, |node, now, out| {
                    let run = SlotRun {
                        app: AppId::from_bytes([9; 16]),
                        slot: 0,
                        epoch: xtreem_allocation::Epoch::NONE,
                    };
                    node.program_not_started(now, run, NotStarted::Trouble(Trouble::Disk), out);
                });
                break;
            }
        }
        net.run(SECS(20));
        assert_eq!(net.slots(), [0], "seed {seed}: {:?}", net.progress);
        assert!(troubled.is_some() && troubled != Some(net.holder(0)), "seed {seed}");
        assert!(
            net.progress.iter().any(|progress| matches!(progress, Progress::Complete { running: 1, .. }))
        );
    }
}

fn is_held(net: &Net, at: usize) -> bool {
    net.nodes[at].as_ref().is_some_and(|node| node.status().open_holds > 0)
}
