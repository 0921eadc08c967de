//! What a program may do and its agent survives, tried with real processes.
//!
//! No test harness: this binary is the agent, its helper, and in one test an agent that gets killed.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

mod beside;
mod ends;
mod fence;
#[path = "../intruder/mod.rs"]
mod intruder;
mod kernel;
mod plans;

use intruder::BE_INTRUDER;
use xtreem_agent::exec::{self, Exit, Plan, Running, StartError, Wanted};

/// How long a condition may take to come true before a test fails; nothing here needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);
const SELF: &str = "/proc/self/exe";
const BE_AGENT: &str = "be-agent";
const BE_NESTED: &str = "be-nested";
const BE_REFUSED: &str = "be-refused";

type Test = (&'static str, fn() -> ());

macro_rules! tests {
    ($($name:path),* $(,)?) => { &[$((stringify!($name), || block_on($name()))),*] };
}

const TESTS: &[Test] = tests![
    ends::a_program_that_exits_at_once_reports_its_code_and_output,
    ends::a_program_killed_by_a_signal_says_so,
    ends::children_that_call_setsid_end_with_the_stop,
    ends::children_that_call_setsid_end_with_the_program,
    ends::without_namespaces_children_that_call_setsid_end_too,
    ends::a_program_that_ignores_sigterm_is_killed_after_the_grace,
    ends::a_program_may_end_in_its_grace,
    ends::a_program_that_prints_200_mb_costs_bounded_disk,
    ends::an_agent_killed_with_sigkill_leaves_nothing,
    ends::an_agent_killed_with_sigkill_leaves_nothing_without_namespaces,
    ends::dropping_a_running_program_ends_it,
    ends::a_killed_helper_takes_the_program_with_it,
    fence::the_environment_is_only_what_was_given,
    fence::hidden_directories_are_hidden_and_the_slots_own_is_not,
    fence::the_program_has_no_capability_and_cannot_undo_a_mount,
    fence::no_descriptor_reaches_the_program,
    plans::impossible_plans_are_refused_with_the_reason,
    plans::a_file_that_cannot_be_executed_is_refused_with_the_reason,
    fence::a_program_that_tries_everything_gets_nowhere_behind_either_layer,
    fence::programs_of_an_agent_that_is_root_run_as_the_user_that_it_names,
    fence::what_a_program_needs_of_the_machine_it_has,
    beside::a_command_beside_a_program_has_its_streams_and_its_exit_code,
    beside::a_command_beside_a_program_is_where_that_is,
    beside::a_command_beside_a_program_gets_no_further_than_that,
    beside::nothing_of_a_command_outlives_it,
    beside::a_command_ends_with_the_program,
    beside::a_command_may_have_a_terminal,
    beside::many_commands_start_at_once,
    kernel::works_for_another_user_and_not_inside_another_sandbox,
    kernel::a_kernel_without_namespaces_starts_nothing_unless_that_is_allowed,
];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = exec::internal_main(&args) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [BE_AGENT, dir, marker, isolation] => {
            return block_on(ends::be_agent(Path::new(dir), marker, isolation));
        }
        [BE_REFUSED, dir] => return block_on(kernel::be_refused(Path::new(dir))),
        [BE_INTRUDER, ref tries @ ..] => return intruder::be_intruder(tries),
        [BE_NESTED, dir] => return block_on(kernel::be_nested(Path::new(dir))),
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

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("the test hangs") })
}

/// A slot with its directories, laid out like an agent's: `state/slots/a` under a temporary directory.
struct Slot {
    root: tempfile::TempDir,
}

impl Slot {
    fn new() -> Slot {
        // Not in /tmp, which programs do not see at all.
        let slot = Slot { root: tempfile::tempdir_in("/var/tmp").expect("a temporary directory") };
        fs::create_dir_all(slot.dir()).expect("a directory");
        slot
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn dir(&self) -> PathBuf {
        self.state().join("slots/a")
    }

    fn shell(&self, script: &str) -> Plan {
        let command = ["sh", "-c", script].map(String::from).to_vec();
        Plan::new(command, self.dir(), self.root.path().join("log"))
    }
}

async fn start(plan: Plan) -> Running {
    let wanted = plan.isolation;
    let running = exec::start(plan, Path::new(SELF)).await.expect("starts");
    // On a kernel without user namespaces these tests would test nothing: better to fail there.
    assert_eq!(running.isolation().has_namespaces(), wanted == Wanted::Namespaces);
    running
}

async fn output(plan: Plan) -> Vec<String> {
    let mut running = start(plan).await;
    let exit = running.wait().await;
    let lines = running.log().tail_lines(1000).expect("readable");
    assert_eq!(exit, Exit::Code(0), "{lines:?}");
    lines
}

async fn refusal(plan: Plan) -> StartError {
    exec::start(plan, Path::new(SELF)).await.expect_err("cannot start")
}

/// Waits until the program has printed `count` lines.
async fn printed(running: &Running, count: usize) -> Vec<String> {
    let mut offset = 0;
    loop {
        assert!(running.log().grown_beyond(offset).await, "ended too early");
        offset = running.log().end();
        let lines = running.log().tail_lines(1000).expect("readable");
        if lines.len() >= count {
            return lines;
        }
    }
}

/// An argument of `sleep` that no other process of this machine has: about 11 days and a fraction.
fn marker(number: u32) -> String {
    format!("1000000.{}{number:03}", std::process::id())
}

/// Sleepers on this machine that have `marker` as their argument.
fn processes_with(marker: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("readable").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let sleeper = format!("sleep\0{marker}\0");
    lines.filter(|line| line == sleeper.as_bytes()).count()
}

async fn until_processes(marker: &str, count: usize) {
    while processes_with(marker) != count {
        tokio::task::yield_now().await;
    }
}

/// Three sleepers: a child, one in its own session, and one whose parent has died.
fn sleepers(marker: &str) -> String {
    format!("sleep {marker} & setsid sleep {marker} & (setsid sh -c 'sleep {marker} & exit' &); echo up;")
}
