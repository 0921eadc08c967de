//! Each invariant is broken once by a history made by hand, and left alone by its harmless twin.

use xtreem_allocation::{Epoch, Exit, Resources, SlotRun, SlotState};
use xtreem_base::{AppId, Instant, NodeId};

use super::{Findings, all};
use crate::grid::host::handle_of;
use crate::grid::seen::{AppFacts, Behaviour, Fault, Seen, Snapshot};

const APP: AppId = AppId::from_bytes([7; 16]);
const HOSTS: u32 = 8;

fn run(slot: u16, counter: u32) -> SlotRun {
    let epoch = Epoch { counter, recruiter: NodeId::from_bytes([1; 16]), incarnation: 0, attempt: counter };
    SlotRun { app: APP, slot, epoch }
}

fn started(host: u32, counter: u32) -> Seen {
    Seen::ProcessStarted { host, run: run(0, counter) }
}

fn ordered(host: u32, counter: u32) -> Seen {
    Seen::StartOrdered { host, incarnation: 0, run: run(0, counter) }
}

fn ended(host: u32, counter: u32, exit: Option<i32>, ordered: bool) -> Seen {
    Seen::ProcessEnded { host, run: run(0, counter), exit: exit.map(Exit::Code), ordered }
}

fn lost(host: u32, peer: u32) -> Seen {
    Seen::HolderLost { host, app: APP, slot: Some(0), peer: handle_of(peer, 0) }
}

fn stop_taken(by: u32) -> Seen {
    Seen::StopTaken { app: APP, by: handle_of(by, 0) }
}

fn changed(counter: u32, holder: u32, state: SlotState) -> Seen {
    let holder = Some(handle_of(holder, 0));
    Seen::SlotChanged { by: 1, app: APP, slot: 0, epoch: run(0, counter).epoch, holder, state }
}

/// A host has heard that another one runs an epoch.
fn heard(by: u32, counter: u32, holder: u32) -> Seen {
    let (epoch, holder) = (run(0, counter).epoch, Some(handle_of(holder, 0)));
    Seen::SlotChanged { by, app: APP, slot: 0, epoch, holder, state: SlotState::Running }
}

fn usage(used_cores: u32, running_cores: u32) -> Seen {
    let cores = |n| Resources { cores_milli: n * 1_000, ..Resources::default() };
    Seen::Usage { host: 1, offered: cores(2), used: cores(used_cores), running: cores(running_cores) }
}

const fn fault(fault: Fault) -> Seen {
    Seen::Fault(fault)
}

fn end(slots: u16) -> Snapshot {
    let facts = AppFacts {
        app: APP,
        slots,
        behaviour: Behaviour::Service,
        is_accepted: true,
        files_on: Vec::new(),
        is_lost: false,
        over: Default::default(),
        chance_since: Some(Instant::ZERO),
    };
    Snapshot { apps: vec![facts], ..Snapshot::default() }
}

/// Which invariants a history breaks, in the order found.
fn broken(history: &[(u64, Seen)], end: &Snapshot) -> Vec<String> {
    let mut findings = Findings::default();
    let mut checkers = all(HOSTS);
    for (ms, seen) in history {
        checkers.iter_mut().for_each(|c| c.observe(Instant::from_millis(*ms), seen, &mut findings));
    }
    checkers.iter_mut().for_each(|c| c.finish(Instant::from_millis(170_000), end, &mut findings));
    findings.list.into_iter().map(|violation| violation.checker).collect()
}

#[track_caller]
fn check(history: &[(u64, Seen)], end: &Snapshot, expected: &[&str]) {
    assert_eq!(broken(history, end), expected);
}

/// No application is left at the end: for histories about something else.
fn nothing() -> Snapshot {
    Snapshot::default()
}

#[test]
fn an_epoch_started_on_two_hosts_is_found() {
    check(&[(0, ordered(1, 1)), (10, ordered(1, 1)), (20, ordered(2, 2))], &nothing(), &[]);
    check(&[(0, ordered(1, 1)), (10, ordered(2, 1))], &nothing(), &[super::epochs::NAME]);
}

#[test]
fn an_epoch_told_of_two_holders_is_found() {
    let running = |holder| changed(1, holder, SlotState::Running);
    check(&[(0, running(1)), (10, changed(1, 2, SlotState::Planned))], &nothing(), &[]);
    check(&[(0, running(1)), (10, running(2))], &nothing(), &[super::epochs::NAME]);
}

#[test]
fn more_held_or_run_than_offered_is_found() {
    check(&[(0, usage(2, 2))], &nothing(), &[]);
    check(&[(0, usage(3, 2))], &nothing(), &[super::capacity::NAME]);
    check(&[(0, usage(2, 3))], &nothing(), &[super::capacity::NAME]);
}

#[test]
fn two_processes_of_a_slot_may_overlap_five_seconds_and_no_longer() {
    let overlap =
        |ms: u64| [(0, started(1, 1)), (10_000, started(2, 2)), (10_000 + ms, ended(1, 1, None, true))];
    check(&overlap(5_000), &end(1), &[]);
    check(&overlap(5_001), &end(1), &[super::overlap::NAME]);
}

#[test]
fn a_paused_process_does_not_overlap() {
    let history = [
        (0, started(1, 1)),
        (9_000, fault(Fault::Paused { host: 1 })),
        (10_000, started(2, 2)),
        (30_000, fault(Fault::Resumed { host: 1 })),
        (34_000, ended(1, 1, None, true)),
    ];
    check(&history, &end(1), &[]);
    let mut late = history.to_vec();
    late[4].0 = 36_000;
    check(&late, &end(1), &[super::overlap::NAME]);
}

#[test]
fn an_overlap_behind_a_cut_or_a_split_is_excused() {
    for (begin, heal) in [
        (Fault::Cut { host: 1 }, Fault::Healed { host: 1 }),
        (Fault::Split { parts: vec![0, 0, 1, 1, 1, 1, 1, 1] }, Fault::Merged),
    ] {
        let history = [
            (0, started(1, 1)),
            (5_000, fault(begin)),
            (10_000, started(2, 2)),
            (30_000, fault(heal)),
            (32_000, ended(1, 1, None, true)),
        ];
        check(&history, &end(1), &[]);
    }
    let elsewhere = [
        (0, started(1, 1)),
        (5_000, fault(Fault::Cut { host: 3 })),
        (10_000, started(2, 2)),
        (32_000, ended(1, 1, None, true)),
    ];
    check(&elsewhere, &end(1), &[super::overlap::NAME]);
}

#[test]
fn a_slot_without_a_process_is_found() {
    check(&[(0, started(1, 1))], &end(1), &[]);
    check(&[(0, started(1, 1))], &end(2), &[super::final_state::NAME]);
    check(&[(0, started(1, 1)), (9, ended(1, 1, None, false))], &end(1), &[super::final_state::NAME]);
}

#[test]
fn done_and_failed_slots_need_no_process() {
    check(&[(0, started(1, 1)), (9, ended(1, 1, Some(0), false))], &end(1), &[]);
    check(&[(0, started(1, 1)), (9, ended(1, 1, Some(1), false))], &end(1), &[super::final_state::NAME]);
    let told = changed(1, 1, SlotState::Failed(Exit::Code(1)));
    check(&[(0, started(1, 1)), (9, ended(1, 1, Some(1), false)), (10, told)], &end(1), &[]);
}

#[test]
fn a_slot_may_wait_for_files_only_when_no_live_host_has_them() {
    let history =
        [(0, started(1, 1)), (9, ended(1, 1, None, false)), (20, Seen::FilesLost { run: run(0, 2) })];
    check(&history, &end(1), &[]);
    let mut somewhere = end(1);
    somewhere.apps[0].files_on = vec![5];
    check(&history, &somewhere, &[super::final_state::NAME]);
    // Another slot that was never begun needs them as well, once somebody has looked for them.
    check(&history, &end(2), &[]);
    check(&history[..2], &end(1), &[super::final_state::NAME]);
}

#[test]
fn who_has_no_files_while_a_higher_epoch_runs_says_nothing_of_the_slot() {
    let files_lost = |millis| (millis, Seen::FilesLost { run: run(0, 1) });
    let mut end = end(1);
    end.apps[0].files_on = vec![5];
    // Nobody has room for the slot since its second holder died, of which the others never heard.
    end.apps[0].chance_since = None;
    for (when, broken) in [(20_000, &[][..]), (40_000, &[super::final_state::NAME])] {
        let mut history = vec![
            (10_000, fault(Fault::Cut { host: 2 })),
            (15_000, started(2, 2)),
            files_lost(when),
            (30_000, fault(Fault::Killed { host: 2 })),
            (30_000, ended(2, 2, None, false)),
        ];
        history.sort_by_key(|(millis, _)| *millis);
        check(&history, &end, broken);
    }
}

#[test]
fn a_slot_that_nobody_could_have_filled_for_long_enough_is_left_alone() {
    let history = [(0, started(1, 1)), (9, ended(1, 1, None, false))];
    let since = |millis: Option<u64>| {
        let mut end = end(1);
        end.apps[0].chance_since = millis.map(Instant::from_millis);
        end
    };
    check(&history, &since(Some(140_000)), &[super::final_state::NAME]);
    check(&history, &since(Some(150_000)), &[]);
    check(&history, &since(None), &[]);
    // Too much is wrong whatever the room.
    let two = [(0, started(1, 1)), (165_000, started(2, 2))];
    check(&two, &since(None), &[super::final_state::NAME]);
}

#[test]
fn a_slot_that_came_to_its_end_behind_a_partition_needs_nothing_once_somebody_tells() {
    let history = [
        (0, started(1, 1)),
        (10_000, fault(Fault::Cut { host: 1 })),
        (20_000, started(2, 2)),
        (21_000, ended(1, 1, Some(0), false)),
        (30_000, fault(Fault::Killed { host: 2 })),
        (30_000, ended(2, 2, None, false)),
        (39_000, fault(Fault::Healed { host: 1 })),
    ];
    check(&history, &end(1), &[super::final_state::NAME]);
    let mut told = end(1);
    told.apps[0].over = [0].into();
    check(&history, &told, &[]);
    // The same when the second holder never had the files.
    let waited = [history[0].clone(), history[1].clone(), history[3].clone()];
    let waited: Vec<_> = waited.into_iter().chain([(40_000, Seen::FilesLost { run: run(0, 2) })]).collect();
    told.apps[0].files_on = vec![1];
    check(&waited, &told, &[]);
}

#[test]
fn a_node_that_stays_cut_off_although_half_of_its_contacts_run_is_found() {
    let says = |size, running| Snapshot { cut_off: vec![(3, size, running)], ..Snapshot::default() };
    check(&[], &says(5, 2), &[]);
    check(&[], &says(4, 2), &[super::cut_off::NAME]);
}

#[test]
fn a_lower_epoch_that_outlives_a_higher_one_is_found() {
    let history = [(0, started(1, 1)), (10, started(2, 2)), (2_000, ended(2, 2, None, true))];
    check(&history, &end(1), &[super::final_state::NAME]);
    let mut right = history.to_vec();
    right[2] = (2_000, ended(1, 1, None, true));
    check(&right, &end(1), &[]);
}

#[test]
fn an_epoch_that_died_before_anybody_learnt_of_it_is_no_rival() {
    let history = |dies: u64| {
        [
            (0, started(1, 1)),
            (10, started(2, 2)),
            (dies, fault(Fault::Killed { host: 2 })),
            (dies, ended(2, 2, None, false)),
        ]
    };
    check(&history(3_000), &end(1), &[]);
    check(&history(9_000), &end(1), &[super::overlap::NAME, super::final_state::NAME]);
}

#[test]
fn an_epoch_that_died_with_all_who_could_have_told_of_it_is_no_rival() {
    let history = |cut: u32, third: Seen| {
        [
            (0, started(1, 1)),
            (10, heard(1, 1, 1)),
            (10, heard(3, 1, 1)),
            (5_000, fault(Fault::Cut { host: cut })),
            (9_000, started(2, 2)),
            (9_010, heard(2, 2, 2)),
            (9_010, third),
            (30_000, ended(2, 2, None, false)),
            (30_000, fault(Fault::Killed { host: 2 })),
            (30_000, fault(Fault::Killed { host: 3 })),
            (40_000, fault(Fault::Healed { host: cut })),
        ]
    };
    check(&history(1, heard(3, 2, 2)), &end(1), &[]);
    // A fourth host was within reach, has lived on, and ought to know.
    check(&history(1, heard(4, 1, 1)), &end(1), &[super::final_state::NAME]);
    check(&history(1, heard(4, 2, 2)), &end(1), &[super::final_state::NAME]);
    // And so was the first one.
    check(&history(5, heard(3, 2, 2)), &end(1), &[super::overlap::NAME, super::final_state::NAME]);
}

#[test]
fn two_processes_at_the_end_are_found() {
    let history = [(169_000, started(1, 1)), (169_500, started(2, 2))];
    check(&history, &end(1), &[super::final_state::NAME]);
}

#[test]
fn lost_stopped_and_unaccepted_applications_are_left_alone() {
    let mut lost = end(1);
    lost.apps[0].is_lost = true;
    check(&[], &lost, &[]);
    let mut refused = end(1);
    refused.apps[0].is_accepted = false;
    check(&[], &refused, &[]);
    check(&[(0, stop_taken(3))], &end(1), &[]);
}

#[test]
fn two_components_are_found() {
    let view = |host, peers: &[u32]| (handle_of(host, 0), peers.iter().map(|p| handle_of(*p, 0)).collect());
    let whole = vec![view(1, &[2]), view(2, &[]), view(3, &[2])];
    check(&[], &Snapshot { views: whole, ..Snapshot::default() }, &[]);
    // Host 3 knows only a dead incarnation of host 2.
    let stale = (handle_of(3, 0), vec![handle_of(2, 1)]);
    let parted = vec![view(1, &[2]), view(2, &[]), stale];
    check(&[], &Snapshot { views: parted, ..Snapshot::default() }, &[super::component::NAME]);
}

#[test]
fn a_stopped_application_that_runs_on_is_found() {
    let history = [(0, started(1, 1)), (10, stop_taken(3))];
    check(&history, &end(1), &[super::stopped::NAME]);
    let mut ends = history.to_vec();
    ends.push((700, ended(1, 1, None, true)));
    check(&ends, &end(1), &[]);
}

#[test]
fn a_stop_whose_takers_all_died_is_a_lost_command() {
    let history = [(0, started(1, 1)), (10, stop_taken(3)), (20, fault(Fault::Killed { host: 3 }))];
    check(&history, &end(1), &[]);
}

#[test]
fn a_start_on_a_node_that_knows_of_the_stop_is_found() {
    let knows = Seen::StopKnown { app: APP, host: 2, incarnation: 0 };
    check(&[(0, knows.clone()), (10, ordered(2, 1))], &nothing(), &[super::stopped::NAME]);
    check(&[(0, knows.clone()), (10, ordered(1, 1))], &nothing(), &[]);
    // A restarted agent knows nothing any more.
    let restart = fault(Fault::Restarted { host: 2 });
    check(&[(0, knows), (5, restart), (10, ordered(2, 1))], &nothing(), &[]);
}

#[test]
fn a_healthy_member_declared_failed_is_found() {
    check(&[(0, lost(1, 2))], &nothing(), &[super::false_failures::NAME]);
}

#[test]
fn failures_that_faults_explain_are_excused() {
    for explanation in [
        Fault::Killed { host: 2 },
        Fault::Restarted { host: 2 },
        Fault::Paused { host: 2 },
        Fault::Cut { host: 2 },
        Fault::Paused { host: 1 },
        Fault::Cut { host: 1 },
        Fault::Split { parts: vec![0, 0, 1, 1, 1, 1, 1, 1] },
    ] {
        check(&[(0, fault(explanation)), (10, lost(1, 2))], &nothing(), &[]);
    }
    let same_side = Fault::Split { parts: vec![0, 1, 1, 0, 0, 0, 0, 0] };
    check(&[(0, fault(same_side)), (10, lost(1, 2))], &nothing(), &[super::false_failures::NAME]);
    let old =
        [(0, fault(Fault::Cut { host: 1 })), (10, fault(Fault::Healed { host: 1 })), (60_000, lost(1, 2))];
    check(&old, &nothing(), &[super::false_failures::NAME]);
}

fn liar() -> Seen {
    Seen::Liars { hosts: vec![7] }
}

const fn confirming(by: u32, epoch: Epoch) -> Seen {
    Seen::Confirming { by, app: APP, slot: 0, epoch }
}

#[test]
fn where_liars_are_a_program_that_is_ended_without_a_cause_is_found() {
    let history = |cause: Seen| [(0, liar()), (5, started(1, 1)), (10, cause), (20, ended(1, 1, None, true))];
    let nothing_happens = lost(7, 2);
    check(&history(nothing_happens), &nothing(), &[super::liars::NAME]);
    for cause in [stop_taken(3), confirming(2, run(0, 2).epoch)] {
        check(&history(cause), &nothing(), &[]);
    }
    check(&history(confirming(2, run(0, 1).epoch)), &nothing(), &[super::liars::NAME]);
    // Where nobody lies other checkers judge it.
    check(&history(lost(1, 9))[1..2], &nothing(), &[]);
}

#[test]
fn where_liars_are_a_slot_that_starts_elsewhere_without_a_cause_is_found() {
    let other = Epoch { recruiter: NodeId::from_bytes([2; 16]), ..run(0, 2).epoch };
    let second = Seen::ProcessStarted { host: 2, run: SlotRun { epoch: other, ..run(0, 2) } };
    let history = |cause: Seen| {
        let (second, ends) = (second.clone(), ended(1, 1, None, true));
        [(0, liar()), (5, started(1, 1)), (9, confirming(3, other)), (10, cause), (11, second), (12, ends)]
    };
    check(&history(lost(7, 2)), &nothing(), &[super::liars::NAME]);
    for host in [1, 3] {
        check(&history(fault(Fault::Cut { host })), &nothing(), &[]);
    }
}

#[test]
fn where_liars_are_a_slot_that_counts_as_ended_and_runs_is_found() {
    let done = || changed(1, 1, SlotState::Done(Exit::Code(0)));
    check(&[(0, liar()), (5, started(1, 1)), (10, done())], &nothing(), &[super::liars::NAME]);
    let ends = ended(1, 1, Some(0), false);
    check(&[(0, liar()), (5, started(1, 1)), (9, ends), (10, done())], &nothing(), &[]);
}

#[test]
fn what_is_entrusted_to_a_liar_is_not_judged() {
    let mut findings = Findings::default();
    let mut checkers = all(HOSTS);
    for seen in [ordered(1, 1), ordered(2, 1)] {
        checkers.iter_mut().for_each(|c| c.observe(Instant::ZERO, &seen, &mut findings));
    }
    findings.add("of_nothing", Instant::ZERO, "stays".into());
    assert_eq!(findings.list.len(), 2);
    findings.excuse(APP);
    findings.leave_out_the_excused();
    assert_eq!(findings.list.len(), 1);
}

#[test]
fn a_hold_ends_with_its_submission_or_a_life_later() {
    let submission = |is_active| Seen::Submission { host: 2, app: APP, is_active };
    let hold = |number| Seen::Hold { host: 1, hold: number, requester: 2, app: APP };
    let none = Snapshot::default();
    // Held for a minute by a submission that goes on, released within a hold's life after its end.
    let mut history = vec![(0, submission(true))];
    history.extend((1..60).map(|second| (second * 1_000, hold(7))));
    history.push((60_000, submission(false)));
    history.extend((60..71).map(|second| (second * 1_000, hold(7))));
    check(&history, &none, &[]);
    // Still there after that; reported once.
    let stays: Vec<_> =
        history.iter().cloned().chain((71..80).map(|second| (second * 1_000, hold(7)))).collect();
    check(&stays, &none, &["holds_end"]);
    // Of a submitter that died.
    history.truncate(30);
    history.push((29_500, fault(Fault::Killed { host: 2 })));
    history.extend((30..45).map(|second| (second * 1_000, hold(7))));
    check(&history, &none, &["holds_end"]);
    // The same on a host that stood still meanwhile: it hears the last renewal when it goes on.
    let paused = [(29_600, fault(Fault::Paused { host: 1 })), (36_500, fault(Fault::Resumed { host: 1 }))];
    let late: Vec<_> = history.iter().filter(|(ms, _)| !(29_600..36_500).contains(ms)).cloned().collect();
    let mut late: Vec<_> = late.into_iter().chain(paused).collect();
    late.sort_by_key(|(ms, _)| *ms);
    check(&late, &none, &[]);
    // A recruiter's hold begins when no submission is left, and is not renewed.
    let recruited = |seconds: u64| (80..80 + seconds).map(|second| (second * 1_000, hold(9)));
    let after =
        |seconds| [(70_000, submission(false))].into_iter().chain(recruited(seconds)).collect::<Vec<_>>();
    check(&after(11), &none, &[]);
    check(&after(14), &none, &["holds_end"]);
}

#[test]
fn what_was_acknowledged_and_is_on_no_disk_is_found() {
    let taken = |is_stored| Seen::Acknowledged { app: APP, what: "the stop", is_stored };
    check(&[(0, taken(true))], &nothing(), &[]);
    check(&[(0, taken(false))], &nothing(), &[super::power::NAME]);
}

#[test]
fn a_slot_that_had_ended_and_starts_after_a_power_cut_is_found() {
    let history = |told: u64| {
        [
            (told, changed(1, 1, SlotState::Done(Exit::Code(0)))),
            (40_000, fault(Fault::PowerCut)),
            (60_000, ordered(2, 2)),
        ]
    };
    check(&history(10_000), &nothing(), &[super::power::NAME]);
    check(&history(30_000), &nothing(), &[]);
    // Without a power cut this is another checker's affair, and with other trouble the news may be late.
    let mut quiet = history(10_000).to_vec();
    quiet.remove(1);
    check(&quiet, &nothing(), &[]);
    let mut troubled = history(10_000).to_vec();
    troubled.insert(1, (20_000, fault(Fault::Cut { host: 3 })));
    check(&troubled, &nothing(), &[]);
}

#[test]
fn a_stopped_application_that_starts_after_a_power_cut_is_found() {
    let history = [(0, stop_taken(3)), (40_000, fault(Fault::PowerCut)), (60_000, ordered(2, 1))];
    check(&history, &nothing(), &[super::power::NAME]);
    check(&[(40_000, fault(Fault::PowerCut)), (60_000, ordered(2, 1))], &nothing(), &[]);
}

#[test]
fn a_node_outside_the_ring_and_keys_of_two_or_of_nobody_are_found() {
    use xtreem_overlay::{Key, Position, Range};

    use crate::grid::host::node_id;
    let at = |place: u8| Position::new(Key::from_bytes(&[place]).expect("short"), node_id(0, 0));
    let owns = |after, to| Some(Range::new(at(after), at(to)));
    let says = |ring| Snapshot { ring, ..Snapshot::default() };
    check(&[], &says(vec![(0, owns(9, 2)), (1, owns(2, 5)), (2, owns(5, 9))]), &[]);
    check(&[], &says(vec![(0, owns(3, 3))]), &[]);
    let found = [super::ring::NAME];
    check(&[], &says(vec![(0, owns(9, 2)), (1, owns(2, 9)), (2, None)]), &found);
    check(&[], &says(vec![(0, owns(9, 2)), (1, owns(1, 9))]), &found);
    check(&[], &says(vec![(0, owns(9, 2)), (1, owns(4, 9))]), &found);
    check(&[], &says(vec![(0, owns(2, 2)), (1, owns(9, 9))]), &[found[0]; 2]);
}
