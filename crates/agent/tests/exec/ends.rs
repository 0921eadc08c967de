//! How programs end, and that nothing of them is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use xtreem_agent::exec::{Exit, Plan, Wanted};

use crate::{
    BE_AGENT, PATIENCE, SELF, Slot, marker, printed, processes_with, sleepers, start, until_processes,
};

pub async fn a_program_that_exits_at_once_reports_its_code_and_output() {
    let slot = Slot::new();
    let mut running = start(slot.shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!(running.wait().await, Exit::Code(7));
    assert_eq!(running.wait().await, Exit::Code(7), "asked again");
    assert_eq!(running.stop(PATIENCE).await, Exit::Code(7), "stopped after its end");
    assert_eq!(running.log().tail_lines(9).expect("readable"), ["out", "err"]);
}

pub async fn a_program_killed_by_a_signal_says_so() {
    let slot = Slot::new();
    assert_eq!(start(slot.shell("kill -ABRT $$")).await.wait().await, Exit::Signal(6));
}

pub async fn children_that_call_setsid_end_with_the_stop() {
    let (slot, marker) = (Slot::new(), marker(1));
    let mut running = start(slot.shell(&(sleepers(&marker) + "wait"))).await;
    until_processes(&marker, 3).await;
    running.stop(PATIENCE).await;
    assert_eq!(processes_with(&marker), 0);
}

pub async fn children_that_call_setsid_end_with_the_program() {
    let (slot, marker) = (Slot::new(), marker(2));
    let mut running = start(slot.shell(&(sleepers(&marker) + "exit 3"))).await;
    assert_eq!(running.wait().await, Exit::Code(3));
    assert_eq!(processes_with(&marker), 0);
}

pub async fn without_namespaces_children_that_call_setsid_end_too() {
    let (slot, marker) = (Slot::new(), marker(3));
    let plan = |script: &str| {
        let mut plan = slot.shell(&(sleepers(&marker) + script));
        plan.isolation = Wanted::ProcessGroup;
        plan
    };
    let mut running = start(plan("wait")).await;
    until_processes(&marker, 3).await;
    assert_eq!(running.stop(PATIENCE).await, Exit::Signal(15));
    assert_eq!(processes_with(&marker), 0);
    assert_eq!(start(plan("exit 3")).await.wait().await, Exit::Code(3));
    assert_eq!(processes_with(&marker), 0);
}

pub async fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    let slot = Slot::new();
    for isolation in [Wanted::Namespaces, Wanted::ProcessGroup] {
        let mut plan = slot.shell("trap 'echo no' TERM; echo up; while :; do sleep 0.01; done");
        plan.isolation = isolation;
        let mut running = start(plan).await;
        printed(&running, 1).await;
        assert_eq!(running.stop(Duration::from_millis(100)).await, Exit::Signal(9));
    }
}

pub async fn a_program_may_end_in_its_grace() {
    let slot = Slot::new();
    let mut running =
        start(slot.shell("trap 'echo saved; exit 4' TERM; echo up; while :; do sleep 0.01; done")).await;
    printed(&running, 1).await;
    assert_eq!(running.stop(PATIENCE).await, Exit::Code(4));
    assert_eq!(running.log().tail_lines(1).expect("readable"), ["saved"]);
}

pub async fn a_program_that_prints_200_mb_costs_bounded_disk() {
    let slot = Slot::new();
    let plan = slot.shell("head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the last line");
    let (max, log_dir) = (plan.log_max_bytes, plan.log_dir.clone());
    let mut running = start(plan).await;
    assert_eq!(running.wait().await, Exit::Code(0));
    assert_eq!(running.log().end(), 200_000_000 + "\nthe last line\n".len() as u64);
    assert_eq!(running.log().tail_lines(1).expect("readable"), ["the last line"]);
    let files = fs::read_dir(log_dir).expect("readable").flatten();
    let on_disk: u64 = files.map(|file| file.metadata().expect("readable").len()).sum();
    assert!(on_disk <= max && on_disk >= max / 2, "{on_disk} bytes");
}

pub async fn an_agent_killed_with_sigkill_leaves_nothing() {
    kill_an_agent("namespaces", &marker(4)).await;
}

pub async fn an_agent_killed_with_sigkill_leaves_nothing_without_namespaces() {
    kill_an_agent("process-group", &marker(5)).await;
}

pub async fn kill_an_agent(isolation: &str, marker: &str) {
    let slot = Slot::new();
    let mut agent = Command::new(SELF)
        .args([BE_AGENT, &slot.root.path().to_string_lossy(), marker, isolation])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(agent.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
    assert_eq!(line, "running\n");
    assert_eq!(processes_with(marker), 3);
    agent.kill().expect("killed");
    agent.wait().expect("dead");
    until_processes(marker, 0).await;
}

/// An agent that runs a program and waits to be killed.
pub async fn be_agent(root: &Path, marker: &str, isolation: &str) -> ExitCode {
    let dir = root.join("slot");
    fs::create_dir(&dir).expect("a directory");
    let script = sleepers(marker) + "trap '' TERM; wait";
    let mut plan = Plan::new(["sh", "-c", &script].map(String::from).to_vec(), dir, root.join("log"));
    if isolation == "process-group" {
        plan.isolation = Wanted::ProcessGroup;
    }
    let mut running = start(plan).await;
    until_processes(marker, 3).await;
    println!("running");
    running.wait().await;
    ExitCode::FAILURE
}

pub async fn dropping_a_running_program_ends_it() {
    let (slot, marker) = (Slot::new(), marker(6));
    for isolation in [Wanted::Namespaces, Wanted::ProcessGroup] {
        let mut plan = slot.shell(&(sleepers(&marker) + "trap '' TERM; wait"));
        plan.isolation = isolation;
        let running = start(plan).await;
        until_processes(&marker, 3).await;
        drop(running);
        until_processes(&marker, 0).await;
    }
}

pub async fn a_killed_helper_takes_the_program_with_it() {
    let (slot, marker) = (Slot::new(), marker(7));
    let mut running = start(slot.shell(&(sleepers(&marker) + "wait"))).await;
    until_processes(&marker, 3).await;
    let helper = nix::unistd::Pid::from_raw(i32::try_from(running.pid()).expect("a process number"));
    nix::sys::signal::kill(helper, nix::sys::signal::Signal::SIGKILL).expect("killed");
    assert_eq!(running.wait().await, Exit::Signal(9));
    until_processes(&marker, 0).await;
}
