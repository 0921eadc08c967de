//! Programs that fail on some hosts, and hosts that cannot start programs.

use xtreem_allocation::{Resources, Restart, Trouble};
use xtreem_base::{AppId, Duration, Instant};
use xtreem_discovery::Attributes;

use crate::grid::Trace;
use crate::grid::apps::{Shape, parsed};
use crate::grid::host::HostNo;
use crate::grid::process::Sickness::{self, CannotStart, ProgramsFail};
use crate::grid::schedule::{Action, FAULTS_BEGIN, Schedule};
use crate::grid::seen::Behaviour;
use crate::grid::world::{Machine, Setup, World};
use crate::link::Latency;

const SEEDS: std::ops::Range<u64> = 202_611_261_020..202_611_261_026;

fn at(secs: u64) -> Instant {
    FAULTS_BEGIN + Duration::from_secs(secs)
}

fn shape(slots: u16, restart: Restart) -> Shape {
    Shape {
        name: "fails".to_owned(),
        slots,
        behaviour: Behaviour::Service,
        requirement: parsed(""),
        resources: Resources::SLOT_DEFAULT,
        colocate: false,
        restart,
        placement: "".into(),
        wait: Duration::ZERO,
    }
}

/// Hosts with room for three slots each, of which the first are sick; the application is submitted at 2 s.
fn world(nodes: u32, shape: Shape, sick: &[Sickness], seed: u64) -> World {
    let actions = vec![(at(2), Action::Submit { app: 0 })];
    let schedule = Schedule { apps: vec![shape], actions, loss_percent: 0, are_clocks_skewed: false };
    let setup = Setup { nodes, seed, schedule, latency: Latency::EUROPE, trace: Trace::Off };
    let offer = Resources { cores_milli: 3_000, memory_bytes: 3 << 30, disk_bytes: 3 << 30 };
    let mut world = World::set_up(setup, |_, _| Machine { attributes: Attributes::new(), offer });
    world.sick = sick.iter().enumerate().map(|(host, sickness)| (host as HostNo, *sickness)).collect();
    world
}

fn only(world: &World) -> AppId {
    assert_eq!(world.apps().len(), 1, "it is submitted once");
    world.apps()[0].record.id
}

#[test]
fn slots_leave_three_hosts_on_which_their_program_fails() {
    // Six hosts are well, each for one slot; and two, which share them.
    for (seed, (nodes, slots, colocate)) in SEEDS.zip([(9, 6, false), (5, 4, true)].repeat(3)) {
        let shape = Shape { colocate, ..shape(slots, Restart::OnFailure) };
        let mut world = world(nodes, shape, &[ProgramsFail; 3], seed);
        world.run_until(at(90));
        let runs = world.running(&only(&world));
        let running: Vec<u16> = runs.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(running, (0..slots).collect::<Vec<_>>(), "seed {seed}: {runs:?}");
        assert!(runs.iter().all(|(_, host)| *host >= 3), "seed {seed}: {runs:?}");
        assert!(world.violations().is_empty(), "seed {seed}: {:?}", world.violations());
    }
}

#[test]
fn a_program_that_fails_everywhere_fails_for_good_after_three_hosts_or_after_all_that_match() {
    for (seed, nodes) in SEEDS.zip([1, 2, 3, 4, 6, 9]) {
        let mut world = world(nodes, shape(1, Restart::OnFailure), &[ProgramsFail; 9], seed);
        world.run_until(at(100));
        let app = only(&world);
        let tried = world.tried(&app, 0);
        assert_eq!(tried.len(), 3.min(nodes as usize), "seed {seed}: {tried:?}");
        let runs = world.runs_by_host();
        assert!(runs.iter().all(|runs| [0, 5].contains(runs)), "seed {seed}: five times a host, {runs:?}");
        world.run_until(at(300));
        assert_eq!(world.runs_by_host(), runs, "seed {seed}: it is given up");
        assert!(world.violations().is_empty(), "seed {seed}: {:?}", world.violations());
    }
}

#[test]
fn always_is_tried_on_three_hosts_and_never_given_up() {
    for (seed, nodes) in SEEDS.zip([1, 2, 3, 4, 6, 9]) {
        let mut world = world(nodes, shape(1, Restart::Always), &[ProgramsFail; 9], seed);
        world.run_until(at(400));
        let app = only(&world);
        assert_eq!(world.tried(&app, 0).len(), 3.min(nodes as usize), "seed {seed}");
        let runs = world.runs_by_host().iter().sum::<u64>();
        world.run_until(at(470));
        assert!(world.runs_by_host().iter().sum::<u64>() > runs, "seed {seed}: once a minute at least");
        world.sick.clear();
        world.run_until(at(535));
        assert_eq!(world.running(&app).len(), 1, "seed {seed}: what it waited for is back");
    }
}

#[test]
fn a_slot_leaves_a_host_with_a_full_disk_within_seconds() {
    for seed in SEEDS {
        let mut world = world(4, shape(3, Restart::Never), &[CannotStart(Trouble::Disk)], seed);
        world.run_until(at(15));
        let runs = world.running(&only(&world));
        assert_eq!(runs.len(), 3, "seed {seed}: {runs:?}");
        assert!(runs.iter().all(|(_, host)| *host > 0), "seed {seed}: {runs:?}");
        assert_eq!(world.apps()[0].trouble, None, "seed {seed}: one host's trouble is none of the user's");
        let runs = world.runs_by_host()[0];
        assert!(runs <= 1, "seed {seed}: it is not asked again: {runs}");
    }
}

#[test]
fn whatever_troubles_three_hosts_the_fourth_runs_the_slot() {
    for (seed, trouble) in SEEDS.zip([Trouble::Port, Trouble::Command, Trouble::Isolation, Trouble::Files]) {
        let mut world = world(4, shape(1, Restart::OnFailure), &[CannotStart(trouble); 3], seed);
        world.run_until(at(20));
        let runs = world.running(&only(&world));
        assert_eq!(runs, [(0, 3)], "seed {seed}, {trouble}");
        assert!(world.violations().is_empty(), "seed {seed}: {:?}", world.violations());
    }
}

#[test]
fn where_no_host_can_start_it_the_user_hears_why_and_the_tries_go_on() {
    for (seed, nodes) in SEEDS.zip([1, 2, 3, 5, 8, 12]) {
        let sick = [CannotStart(Trouble::Command); 12];
        let mut world = world(nodes, shape(1, Restart::OnFailure), &sick, seed);
        world.run_until(at(20));
        let app = only(&world);
        assert_eq!(world.apps()[0].trouble, Some(Trouble::Command), "seed {seed}, {nodes} hosts");
        world.run_until(at(400));
        let tries = world.runs_by_host().iter().sum::<u64>();
        assert!((6..40).contains(&tries), "seed {seed}, {nodes} hosts: {tries} tries in 400 s");
        world.sick.clear();
        world.run_until(at(470));
        assert_eq!(world.running(&app).len(), 1, "seed {seed}, {nodes} hosts");
        assert!(world.violations().is_empty(), "seed {seed}: {:?}", world.violations());
    }
}
