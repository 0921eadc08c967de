//! Agents as processes on loopback addresses: they find each other, run applications, and lose nodes.
//!
//! No test harness: this binary is the tests, the agents, the helper that starts programs, and the program.

mod beside;
mod collections;
mod complaints;
mod credentials;
mod files;
mod grid_events;
mod hostile;
mod identity;
#[path = "../intruder/mod.rs"]
mod intruder;
mod isolation;
mod lab;
mod leftovers;
mod liar;
mod messages;
mod over;
mod placement;
mod policy;
mod ports;
mod power;
mod program;
mod pubsub;
mod ring;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use lab::{Lab, PATIENCE, until};
use xtreem_agent::exec;
use xtreem_agent::program::{FileRef, Program};
use xtreem_base::Digest;
use xtreem_client::ClientError;
use xtreem_client::api::{AppShow, ErrorKind, ExitView, ProgressLine, SearchRequest, SlotPhase, WantedView};

const BE_AGENT: &str = "be-agent";

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:path),* $(,)?) => { &[$((stringify!($name), || block_on($name()))),*] };
}

const TESTS: &[Test] = tests![
    an_application_runs_loses_a_node_is_replaced_and_stops,
    programs_ask_their_agent_who_they_and_their_peers_are,
    agents_count_their_grid_and_say_so_when_they_do_not_know_it_yet,
    wrong_requests_are_refused_with_the_reason,
    a_program_that_fails_again_and_again_shows_its_last_lines,
    an_agent_that_is_told_to_end_stops_its_programs,
    ring::all_agents_are_on_one_ring_and_what_lies_on_it_outlives_its_owner,
    ring::an_administrator_removes_what_another_node_wrote_and_nobody_else_does,
    ring::what_an_administrator_announces_comes_to_all_agents_and_what_others_do_to_nobody,
    pubsub::an_event_comes_once_and_in_order_to_whoever_subscribed_at_another_agent,
    pubsub::more_agents_than_one_tells_itself_get_each_event_once_also_when_a_head_is_killed,
    pubsub::a_publisher_goes_on_when_the_agent_of_a_subscriber_is_killed,
    pubsub::kept::the_newest_retained_value_comes_to_who_subscribes_when_its_agent_is_killed,
    pubsub::kept::a_retry_is_one_event_at_all_agents,
    pubsub::kept::past_events_come_first_at_another_agent_and_outlive_their_own,
    pubsub::groups::each_event_comes_to_one_member_in_the_grid_and_a_dead_agents_share_to_the_others,
    pubsub::example::the_example_of_events_tells_what_changes_and_who_failed,
    pubsub::web::programs_and_pages_hear_events_by_http_and_publish_them,
    pubsub::web::a_reader_that_comes_back_gets_the_past_events_that_it_has_not_had,
    pubsub::web::all_topics_of_the_grid_are_listed_with_their_servers_a_page_at_a_time,
    grid_events::who_subscribed_hears_that_a_slot_failed_and_was_replaced_and_that_a_node_has_left,
    grid_events::a_rule_of_the_vo_keeps_topics_for_some_and_holds_for_connections_that_are_open,
    pubsub::updates::transfers_by_two_agents_keep_the_sum_and_a_retry_after_a_death_does_nothing_twice,
    beside::a_command_beside_a_slot_is_there_and_its_caller_seems_to_be,
    beside::a_command_beside_a_slot_may_have_a_terminal,
    beside::a_command_beside_a_slot_ends_with_its_caller_and_with_the_slot,
    beside::nobody_but_the_owner_and_administrators_may,
    beside::a_member_that_says_that_it_holds_the_slot_gets_no_command_started,
    beside::a_member_that_begins_commands_without_end_keeps_nobody_from_theirs,
    beside::dozens_of_commands_run_beside_a_slot_at_once,
    beside::slots_start_commands_beside_each_other_where_their_file_allows_it,
    beside::a_slot_that_was_replaced_starts_nothing_any_more,
    over::a_stopped_application_is_not_listed_as_running_by_who_left_it_before,
    over::what_ended_is_shown_with_its_nodes_and_logs_from_everywhere,
    over::of_two_that_ended_under_one_name_everybody_knows_the_newer_also_after_a_restart,
    credentials::an_application_outlives_its_owners_credential_and_ends_by_a_renewed_one,
    credentials::a_renewed_node_is_the_node_that_it_was,
    hostile::strangers_and_garbage_disturb_no_application,
    hostile::a_machine_that_loses_a_core_is_not_held_until_it_has_it_again,
    hostile::a_program_that_does_all_it_can_to_stay_is_gone_after_the_stop,
    hostile::an_application_whose_submitter_dies_after_the_first_confirm_is_completed,
    hostile::two_submissions_that_did_not_see_each_other_are_both_shown,
    complaints::a_program_that_fails_on_three_of_five_nodes_runs_on_the_others,
    complaints::a_node_with_a_full_disk_takes_no_slots_until_there_is_room,
    complaints::a_port_in_use_on_one_node_keeps_only_that_one_away,
    complaints::a_program_that_ends_well_again_and_again_is_shown_to_pause_and_never_failed,
    files::files_of_any_name_and_without_a_byte_reach_other_nodes,
    isolation::a_node_that_cannot_isolate_programs_takes_no_slots_unless_its_operator_allows_it,
    isolation::an_agent_that_is_root_takes_no_slots_until_it_is_told_whom_to_run_programs_as,
    isolation::a_program_that_tries_everything_against_its_node_gets_nowhere,
    identity::a_node_that_lost_its_state_but_not_its_key_takes_applications_again,
    identity::a_cloned_machine_is_told_of_on_both_and_the_later_one_takes_no_slots,
    identity::a_node_whose_last_start_was_higher_than_its_clock_says_starts_again_above_it,
    identity::a_node_whose_join_names_nobody_finds_its_grid_again_by_the_contacts_that_it_kept,
    identity::nodes_of_two_vos_are_told_so_on_both_sides,
    leftovers::removing_a_mountain_of_files_disturbs_nobody,
    leftovers::an_agent_starts_whatever_its_slots_left,
    liar::a_member_that_lies_hides_nobody_for_long_and_is_counted,
    liar::a_member_without_a_part_in_an_application_cannot_end_it,
    liar::a_member_that_opens_streams_without_end_is_refused_the_seventeenth,
    ports::ports_of_any_number_are_told_to_users_and_members,
    ports::a_port_in_use_keeps_a_node_from_matching,
    collections::members_of_all_kinds_find_each_other,
    collections::a_replacement_is_the_member_that_was_before_it,
    collections::a_program_that_is_started_again_is_the_member_that_it_was,
    collections::a_task_that_ends_programs_is_given_up_with_the_reason,
    collections::slots_that_share_a_node_are_members_of_their_own,
    collections::what_makes_no_sense_is_refused_with_the_reason,
    messages::five_members_talk_and_the_replacement_of_a_dead_one_goes_on,
    messages::programs_of_any_language_talk_through_their_agents,
    messages::who_has_another_rank_by_now_does_not_take_what_was_sent_to_the_old_one,
    messages::a_program_that_takes_no_messages_holds_up_nobody_else,
    messages::what_is_too_long_for_a_message_is_streamed_within_little_memory,
    messages::nobody_speaks_for_a_slot_that_is_not_its_own,
    placement::slots_are_spread_by_site_and_stay_so_when_one_is_replaced,
    placement::a_node_to_be_near_to_is_found_by_name_or_missed_by_name,
    power::all_agents_are_killed_at_once_and_everything_runs_again,
    power::a_node_that_is_to_join_others_waits_for_them_before_it_accepts_anything,
    policy::a_policy_is_in_force_everywhere_and_its_refusals_name_the_rule,
    policy::two_policies_of_one_version_are_told_on_every_node_that_saw_both,
    policy::a_user_who_holds_enough_is_refused_more_until_some_end,
];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = exec::internal_main(&args) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [BE_AGENT, config] => return lab::be_agent(config),
        [intruder::BE_INTRUDER, ref tries @ ..] => return intruder::be_intruder(tries),
        [program::BE_PROGRAM] => return program::be_program(),
        [messages::BE_MEMBER, does] => return messages::be_member(does),
        _ => {}
    }
    let filter = args.iter().find(|argument| !argument.starts_with('-'));
    for (name, test) in TESTS {
        if filter.is_none_or(|filter| name.contains(filter.as_str())) {
            let start = Instant::now();
            test();
            println!("test {name} ... ok ({} ms)", start.elapsed().as_millis());
        }
    }
    ExitCode::SUCCESS
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.expect("the test hangs") });
}

fn shell(script: &str) -> Program {
    Program { command: ["sh", "-c", script].map(String::from).to_vec(), ..Program::default() }
}

fn holder(shown: &AppShow, slot: usize) -> String {
    shown.slots[slot].node.clone().expect("a running slot has a holder")
}

fn all_run(shown: &AppShow) -> bool {
    shown.slots.iter().all(|slot| slot.state == SlotPhase::Running)
}

async fn an_application_runs_loses_a_node_is_replaced_and_stops() {
    let mut lab = Lab::of(5).await;
    // Several pieces long, so that its holders can serve each other.
    let script = format!(
        "#!/bin/sh\necho slot $XTREEM_SLOT of $XTREEM_SLOTS\nexec sleep 600\n#{}\n",
        "x".repeat(700_000)
    );
    let file = lab.upload(script.as_bytes()).await;
    let program = Program {
        command: vec!["./bin/program".into()],
        files: vec![FileRef { path: "bin/program".into(), executable: true, ..file }],
        ..Program::default()
    };
    let app = lab.application("web", 2, &program);
    let lines = lab.place(&app).await;
    assert!(lines.iter().any(|line| matches!(line, ProgressLine::Accepted { .. })), "{lines:?}");
    let done = ProgressLine::Complete { running: 2, done: 0, failed: 0 };
    assert_eq!(lines.last(), Some(&done), "{lines:?}");

    let id = app.record.id.to_string();
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    assert!(all_run(&shown), "{shown:?}");
    let (first, second) = (holder(&shown, 0), holder(&shown, 1));
    assert_ne!(first, second, "two slots share no node unless told to");
    assert!(first != lab.agents[0].id && second != lab.agents[0].id, "the submitter does not match");
    until("the program's output is shown", async || lab.log(&id, 1).await.contains("slot 1 of 2")).await;
    let listed = lab.agents[4].client.apps(Some("web"), true).await.expect("a list");
    assert_eq!(listed.apps.len(), 1, "{listed:?}");

    let killed = Instant::now();
    lab.kill(&first);
    until("the lost slot runs elsewhere", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| all_run(&shown) && holder(&shown, 0) != first)
    })
    .await;
    println!("  replaced after {} ms", killed.elapsed().as_millis());
    let replaced = lab.agents[0].client.app(&id).await.expect("it runs");
    assert!(replaced.slots[0].epoch > shown.slots[0].epoch, "{replaced:?}");
    until("the replacement's output is shown", async || lab.log(&id, 0).await.contains("slot 0 of 2")).await;

    let stopped = lab.stopped(&app);
    let reply = lab.agents[0].client.publish(&id, stopped).await.expect("taken");
    assert!(reply.taken_by >= 2 && reply.newer.is_none(), "{reply:?}");
    until("nothing runs and nothing is used", async || {
        let mut used = 0;
        for agent in &lab.agents {
            used += agent.client.node().await.map_or(0, |node| node.used.cores_milli);
        }
        used == 0
    })
    .await;
    let shown = lab.agents[0].client.app(&id).await.expect("it is remembered");
    assert_eq!(shown.record.wanted, WantedView::Stopped);
    assert!(lab.programs().is_empty(), "programs survive: {:?}", lab.programs());
}

async fn agents_count_their_grid_and_say_so_when_they_do_not_know_it_yet() {
    let lab = Lab::of(4).await;
    let young = lab.agents[0].client.grid().await.expect("an answer");
    assert!(young.estimate.is_none() && young.vo.len() > 8, "{young:?}");
    // Twice 30 rounds of 200 ms: the second epoch has bounds where the machines are.
    for agent in &lab.agents {
        until("a second epoch has ended", async || {
            let grid = agent.client.grid().await.expect("an answer");
            grid.estimate.is_some_and(|estimate| !estimate.heard && estimate.epoch > 1 && estimate.nodes == 4)
        })
        .await;
    }
    let grid = lab.agents[3].client.grid().await.expect("an answer");
    let estimate = grid.estimate.expect("it was there");
    let find = |name: &str| estimate.attributes.iter().find(|one| one.name == name).expect(name);
    // All agents are on this one machine.
    for name in ["cpu.cores", "mem.total", "arch"] {
        let bars = &find(name).bars;
        assert_eq!(bars.iter().map(|bar| bar.nodes).sum::<u32>(), 4, "{name}: {bars:?}");
    }
    assert_eq!(find("arch").bars[0].value, std::env::consts::ARCH);
    let request = SearchRequest { requirement: "has host".into(), limit: 2, ..SearchRequest::default() };
    let reply = lab.agents[1].client.search(&request).await.expect("a search");
    assert_eq!(reply.report.expected.map(|expected| expected.matches), Some(4), "{reply:?}");
}

async fn programs_ask_their_agent_who_they_and_their_peers_are() {
    let lab = Lab::of(4).await;
    let program = Program {
        command: vec!["xtreem".into(), program::BE_PROGRAM.into()],
        ports: vec![xtreem_agent::program::PortRef { name: "http".into(), port: 0 }],
        env: vec![("GREETING".into(), "hello".into())],
        ..Program::default()
    };
    let app = lab.application("asker", 2, &program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("the program has asked everything", async || lab.log(&id, 0).await.contains("peer of slot")).await;
    let log = lab.log(&id, 0).await;
    for expected in
        ["self ok", "application ok", "refused without token", "greeting hello", "environment clean"]
    {
        assert!(log.contains(expected), "{log}");
    }
    // Slot 1 is lost, and slot 0 hears of it.
    let mut lab = lab;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    lab.kill(&holder(&shown, 1));
    until("the program hears of the new holder", async || lab.log(&id, 0).await.contains("slot 1 changed"))
        .await;
}

async fn wrong_requests_are_refused_with_the_reason() {
    let lab = Lab::of(1).await;
    let client = &lab.agents[0].client;
    let refused = |error: ClientError, status: u16, reason: &str| match error {
        ClientError::Refused { status: found, body } => {
            assert_eq!((found, body.kind), (status, ErrorKind::Definite), "{body:?}");
            assert!(body.error.contains(reason), "{:?} should say {reason:?}", body.error);
        }
        other => panic!("{other}"),
    };
    let search = |requirement: &str, timeout_ms| SearchRequest {
        requirement: requirement.into(),
        limit: 1,
        timeout_ms,
        ..SearchRequest::default()
    };
    let no_name = SearchRequest { histogram: Some("Cores".into()), ..search("", None) };
    refused(client.search(&no_name).await.unwrap_err(), 400, "histogram");
    refused(client.search(&search("cpu.cores >=", None)).await.unwrap_err(), 400, "requirement");
    let nobody = SearchRequest { limit: 0, ..search("", None) };
    refused(client.search(&nobody).await.unwrap_err(), 400, "no node");
    refused(client.search(&search("", Some(1))).await.unwrap_err(), 400, "timeout_ms");
    refused(client.app("abc").await.unwrap_err(), 400, "32 hexadecimal digits");
    refused(client.app(&"00".repeat(16)).await.unwrap_err(), 404, "knows application");

    let missing =
        FileRef { path: "x".into(), digest: Digest::from_bytes([1; 32]), len: 1, executable: false };
    let program = Program { files: vec![missing], ..shell("true") };
    refused(lab.try_submit(&lab.application("a", 1, &program)).await.unwrap_err(), 409, "not on this agent");
    let mut forged = lab.application("a", 1, &shell("true"));
    forged.record.slots = 7;
    refused(lab.try_submit(&forged).await.unwrap_err(), 403, "signature");
    let strangers = Lab::stranger().application("a", 1, &shell("true"));
    refused(lab.try_submit(&strangers).await.unwrap_err(), 403, "record");
    let mut other_spec = lab.application("a", 1, &shell("true"));
    other_spec.spec = lab.application("a", 1, &shell("false")).spec;
    refused(lab.try_submit(&other_spec).await.unwrap_err(), 400, "specification");
    refused(client.submit(vec![1, 2, 3]).await.map(|_| ()).unwrap_err(), 400, "application");
    let mut mistaken = minicbor::to_vec(lab.application("a", 1, &shell("true"))).expect("encoded");
    let at = mistaken.windows(8).position(|part| part == b"role == ").expect("the requirement");
    mistaken[at + 5] = b'?';
    let place = "the requirement: line 1, column 6: expected";
    refused(client.submit(mistaken).await.map(|_| ()).unwrap_err(), 400, place);
    refused(client.submit(vec![0; 1 << 20]).await.map(|_| ()).unwrap_err(), 413, "more than 262144 bytes");
    let long = |len: usize| search(&"(true) && ".repeat(len / 10), None);
    refused(client.search(&long(1 << 20)).await.unwrap_err(), 413, "more than 262144 bytes");
    refused(client.search(&long(100 << 10)).await.unwrap_err(), 400, "at most 4096 bytes");

    // Two nodes are wanted, and one is there.
    let lines = lab.submit(&lab.application("two", 2, &shell("true"))).await;
    assert!(
        matches!(lines.last(), Some(ProgressLine::NotPlaced { report }) if report.visited == 1),
        "{lines:?}"
    );

    let first = lab.application("one", 1, &shell("exec sleep 600"));
    lab.place(&first).await;
    let second = lab.application("one", 1, &shell("exec sleep 600"));
    refused(lab.try_submit(&second).await.unwrap_err(), 409, "runs already");
}

async fn a_program_that_fails_again_and_again_shows_its_last_lines() {
    let lab = Lab::of(2).await;
    let app = lab.application("broken", 1, &shell("echo no such database; exit 3"));
    let lines = lab.place(&app).await;
    let id = app.record.id.to_string();
    until("the slot counts as failed", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| shown.slots[0].state == SlotPhase::Failed)
    })
    .await;
    let shown = lab.agents[0].client.app(&id).await.expect("it is known");
    assert_eq!(shown.slots[0].exit, Some(ExitView::Code(3)), "{lines:?} {shown:?}");
    assert_eq!(shown.slots[0].last_lines, ["no such database"], "{shown:?}");
}

async fn an_agent_that_is_told_to_end_stops_its_programs() {
    let mut lab = Lab::of(2).await;
    let program = shell("trap 'echo asked to end; exit 0' TERM; echo waiting; while :; do sleep 0.05; done");
    let app = lab.application("service", 1, &program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("the program runs", async || lab.log(&id, 0).await.contains("waiting")).await;
    // Between fork and exec a child of the shell looks like another one.
    until("one program runs", async || lab.programs().len() == 1).await;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let before = lab.status(&holder(&shown, 0)).await.incarnation;
    let status = lab.terminate(&holder(&shown, 0)).await;
    assert!(status.success(), "{status}");
    assert!(lab.programs().is_empty(), "programs survive: {:?}", lab.programs());
    let again = lab.restart(&holder(&shown, 0)).await;
    assert!(again.incarnation > before);
    // It exited with 0, but had not done its work: it runs again as soon as there is a node for it.
    until("the program runs again", async || {
        let now = lab.agents[0].client.app(&id).await;
        now.is_ok_and(|now| all_run(&now) && now.slots[0].epoch > shown.slots[0].epoch)
    })
    .await;
}
