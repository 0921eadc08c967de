//! What a program may do and its agent survives, tried with real processes.
//!
//! No test harness: this binary is the agent, its helper, and in one test an agent that gets killed.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

mod intruder;

use intruder::BE_INTRUDER;
use xtreem_agent::exec::{
    self, Exit, Kernel, Landlock, Plan, PlanError, ProgramUser, Running, StartError, Wanted,
};

/// How long a condition may take to come true before a test fails; nothing here needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);
const SELF: &str = "/proc/self/exe";
const BE_AGENT: &str = "be-agent";
const BE_NESTED: &str = "be-nested";
const BE_REFUSED: &str = "be-refused";

type Test = (&'static str, fn() -> ());

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), || block_on($name()))),*] };
}

const TESTS: &[Test] = tests![
    a_program_that_exits_at_once_reports_its_code_and_output,
    a_program_killed_by_a_signal_says_so,
    children_that_call_setsid_end_with_the_stop,
    children_that_call_setsid_end_with_the_program,
    without_namespaces_children_that_call_setsid_end_too,
    a_program_that_ignores_sigterm_is_killed_after_the_grace,
    a_program_may_end_in_its_grace,
    a_program_that_prints_200_mb_costs_bounded_disk,
    an_agent_killed_with_sigkill_leaves_nothing,
    an_agent_killed_with_sigkill_leaves_nothing_without_namespaces,
    dropping_a_running_program_ends_it,
    a_killed_helper_takes_the_program_with_it,
    the_environment_is_only_what_was_given,
    hidden_directories_are_hidden_and_the_slots_own_is_not,
    the_program_has_no_capability_and_cannot_undo_a_mount,
    no_descriptor_reaches_the_program,
    impossible_plans_are_refused_with_the_reason,
    a_file_that_cannot_be_executed_is_refused_with_the_reason,
    a_program_that_tries_everything_gets_nowhere_behind_either_layer,
    programs_of_an_agent_that_is_root_run_as_the_user_that_it_names,
    what_a_program_needs_of_the_machine_it_has,
    works_for_another_user_and_not_inside_another_sandbox,
    a_kernel_without_namespaces_starts_nothing_unless_that_is_allowed,
];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = exec::internal_main(&args) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [BE_AGENT, dir, marker, isolation] => return block_on(be_agent(Path::new(dir), marker, isolation)),
        [BE_REFUSED, dir] => return block_on(be_refused(Path::new(dir))),
        [BE_INTRUDER, ref tries @ ..] => return intruder::be_intruder(tries),
        [BE_NESTED, dir] => return block_on(be_nested(Path::new(dir))),
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

async fn a_program_that_exits_at_once_reports_its_code_and_output() {
    let slot = Slot::new();
    let mut running = start(slot.shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!(running.wait().await, Exit::Code(7));
    assert_eq!(running.wait().await, Exit::Code(7), "asked again");
    assert_eq!(running.stop(PATIENCE).await, Exit::Code(7), "stopped after its end");
    assert_eq!(running.log().tail_lines(9).expect("readable"), ["out", "err"]);
}

async fn a_program_killed_by_a_signal_says_so() {
    let slot = Slot::new();
    assert_eq!(start(slot.shell("kill -ABRT $$")).await.wait().await, Exit::Signal(6));
}

async fn children_that_call_setsid_end_with_the_stop() {
    let (slot, marker) = (Slot::new(), marker(1));
    let mut running = start(slot.shell(&(sleepers(&marker) + "wait"))).await;
    until_processes(&marker, 3).await;
    running.stop(PATIENCE).await;
    assert_eq!(processes_with(&marker), 0);
}

async fn children_that_call_setsid_end_with_the_program() {
    let (slot, marker) = (Slot::new(), marker(2));
    let mut running = start(slot.shell(&(sleepers(&marker) + "exit 3"))).await;
    assert_eq!(running.wait().await, Exit::Code(3));
    assert_eq!(processes_with(&marker), 0);
}

async fn without_namespaces_children_that_call_setsid_end_too() {
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

async fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    let slot = Slot::new();
    for isolation in [Wanted::Namespaces, Wanted::ProcessGroup] {
        let mut plan = slot.shell("trap 'echo no' TERM; echo up; while :; do sleep 0.01; done");
        plan.isolation = isolation;
        let mut running = start(plan).await;
        printed(&running, 1).await;
        assert_eq!(running.stop(Duration::from_millis(100)).await, Exit::Signal(9));
    }
}

async fn a_program_may_end_in_its_grace() {
    let slot = Slot::new();
    let mut running =
        start(slot.shell("trap 'echo saved; exit 4' TERM; echo up; while :; do sleep 0.01; done")).await;
    printed(&running, 1).await;
    assert_eq!(running.stop(PATIENCE).await, Exit::Code(4));
    assert_eq!(running.log().tail_lines(1).expect("readable"), ["saved"]);
}

async fn a_program_that_prints_200_mb_costs_bounded_disk() {
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

async fn an_agent_killed_with_sigkill_leaves_nothing() {
    kill_an_agent("namespaces", &marker(4)).await;
}

async fn an_agent_killed_with_sigkill_leaves_nothing_without_namespaces() {
    kill_an_agent("process-group", &marker(5)).await;
}

async fn kill_an_agent(isolation: &str, marker: &str) {
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
async fn be_agent(root: &Path, marker: &str, isolation: &str) -> ExitCode {
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

async fn dropping_a_running_program_ends_it() {
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

async fn a_killed_helper_takes_the_program_with_it() {
    let (slot, marker) = (Slot::new(), marker(7));
    let mut running = start(slot.shell(&(sleepers(&marker) + "wait"))).await;
    until_processes(&marker, 3).await;
    let helper = nix::unistd::Pid::from_raw(i32::try_from(running.pid()).expect("a process number"));
    nix::sys::signal::kill(helper, nix::sys::signal::Signal::SIGKILL).expect("killed");
    assert_eq!(running.wait().await, Exit::Signal(9));
    until_processes(&marker, 0).await;
}

async fn the_environment_is_only_what_was_given() {
    let slot = Slot::new();
    let mut plan = slot.shell("exec /usr/bin/env");
    plan.env = vec![("XTREEM_SLOT".into(), "3".into()), ("PATH".into(), "/bin".into())];
    let mut lines = output(plan).await;
    lines.retain(|line| !line.starts_with("PWD="));
    lines.sort();
    let dir = slot.dir().canonicalize().expect("exists");
    let expected = [
        format!("HOME={}", dir.display()),
        "PATH=/bin".into(),
        format!("TMPDIR={}/{}", dir.display(), exec::TEMPORARY),
        "XTREEM_SLOT=3".into(),
    ];
    assert_eq!(lines, expected);
}

async fn hidden_directories_are_hidden_and_the_slots_own_is_not() {
    let slot = Slot::new();
    let state = slot.state();
    fs::create_dir_all(state.join("slots/b")).expect("a directory");
    for (file, text) in
        [("key", "secret"), ("slots/b/data", "theirs"), ("slots/a/data", "mine"), ("api", "open")]
    {
        fs::write(state.join(file), text).expect("written");
    }
    fs::write(slot.root.path().join("single"), "secret").expect("written");
    let mut plan = slot.shell(
        "cat data; echo; cat ../../api; echo; cat ../../../single; find ../.. -mindepth 1 | sort; echo new > written; \
         touch ../x ../../key 2>/dev/null && echo writable; cat /proc/1/environ 2>/dev/null; echo",
    );
    plan.hidden =
        vec![state.clone(), state.join("slots"), slot.root.path().join("single"), "/not/there".into()];
    plan.visible = vec![state.join("api")];
    let lines = output(plan).await;
    let expected = [
        "mine",
        "open",
        "../../api",
        "../../slots",
        "../../slots/a",
        "../../slots/a/.xtreem-tmp",
        "../../slots/a/data",
        "",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::read_to_string(slot.dir().join("written")).expect("outlives the program"), "new\n");
    assert_eq!(fs::read_to_string(state.join("key")).expect("unharmed"), "secret");
}

async fn the_program_has_no_capability_and_cannot_undo_a_mount() {
    let slot = Slot::new();
    fs::write(slot.state().join("key"), "secret").expect("written");
    let state = slot.state().canonicalize().expect("exists");
    let mut plan = slot.shell(&format!(
        "grep -E 'Cap(Prm|Eff):|NoNewPrivs' /proc/self/status; cd /; for d in {0}/slots/a {0}; do umount $d; done; \
         cat {0}/key; unshare -Urm umount {0}; unshare -Urm cat {0}/key; ls /proc/1/root; kill -9 1; \
         echo $(ls -d /proc/[0-9]* | wc -l)",
        state.display()
    ));
    plan.hidden = vec![slot.state()];
    let lines = output(plan).await;
    for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(lines.iter().any(|l| l == line), "{lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
    let processes: usize = lines.last().and_then(|line| line.parse().ok()).expect("a number");
    assert!(processes <= 5, "sees {processes} processes");
}

async fn no_descriptor_reaches_the_program() {
    let slot = Slot::new();
    // Left open on purpose, without close-on-exec.
    let leak = nix::unistd::dup(fs::File::open("/dev/null").expect("opens")).expect("copied");
    // The last one is the listed directory.
    assert!(leak.as_raw_fd() > 3);
    assert_eq!(output(slot.shell("exec ls /proc/self/fd")).await, ["0", "1", "2", "3"]);
}

async fn impossible_plans_are_refused_with_the_reason() {
    let slot = Slot::new();
    fs::write(slot.dir().join("program"), "not executable").expect("written");
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = slot.shell("true");
        change(&mut plan);
        plan
    };
    let command = |name: &str| with(&|plan| plan.command = vec![name.into()]);
    let table: Vec<(Plan, &str)> = vec![
        (with(&|plan| plan.command.clear()), "no command given"),
        (command("no-such-command"), "command `no-such-command` not found in PATH (/usr/local/bin:"),
        (command("program"), "write `./program`"),
        (command("./program"), "program is not executable: mark it executable"),
        (command("/no/such/file"), "there is no file /no/such/file"),
        (with(&|plan| plan.dir = "/no/such/dir".into()), "directory /no/such/dir cannot be entered"),
        (with(&|plan| plan.dir = "/dev/null".into()), "not a directory"),
        (with(&|plan| plan.env.push(("A=B".into(), "c".into()))), "environment variable \"A=B\""),
        (with(&|plan| plan.command.push("a\0b".into())), "argument \"a\\0b\""),
        (with(&|plan| plan.command.push("x".repeat(2 << 20))), "at most 1048576"),
        (with(&|plan| plan.log_dir = slot.dir()), "where the program could change it"),
        (with(&|plan| plan.hidden = vec!["/".into()]), "/ cannot be hidden"),
    ];
    for (plan, expected) in table {
        let error = refusal(plan).await;
        assert!(matches!(error, StartError::Plan(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(refusal(command("")).await, StartError::Plan(PlanError::BadText { .. })));
}

async fn a_file_that_cannot_be_executed_is_refused_with_the_reason() {
    let slot = Slot::new();
    for (text, expected) in
        [("#!/no/such/interpreter\n", "No such file"), ("\x7fELF garbage", "Exec format error")]
    {
        let file = slot.dir().join("program");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
        let mut plan = slot.shell("");
        plan.command = vec!["./program".into()];
        let error = refusal(plan).await.to_string();
        assert!(error.contains(expected) && error.contains("program"), "{error}");
    }
    let error =
        exec::start(slot.shell("true"), Path::new("/bin/true")).await.expect_err("no helper").to_string();
    assert!(error.contains("internal_main"), "{error}");
}

/// Places that a program has no business with, on a machine laid out for it in the slot's temporary
/// directory.
struct Target {
    slot: Slot,
    control: std::os::unix::net::UnixListener,
    hall: std::os::unix::net::UnixListener,
    tries: Vec<String>,
}

impl Target {
    fn new() -> Target {
        use std::os::linux::net::SocketAddrExt;
        let slot = Slot::new();
        let root = slot.root.path().canonicalize().expect("exists");
        for dir in ["etc/xtreem", "home", "state/store", "state/slots/b"] {
            fs::create_dir_all(root.join(dir)).expect("a directory");
        }
        let files = [
            "etc/xtreem/agent.toml",
            "etc/xtreem/node.pem",
            "home/mail",
            "state/store/blob",
            "state/slots/b/data",
            "open",
        ];
        for file in files {
            fs::write(root.join(file), "of others").expect("written");
        }
        let control = std::os::unix::net::UnixListener::bind(root.join("state/control.sock"));
        let name = format!("xtreem-test-{}", std::process::id());
        let hall = std::os::unix::net::SocketAddr::from_abstract_name(&name);
        let hall = std::os::unix::net::UnixListener::bind_addr(&hall.expect("a name"));
        let agent = std::process::id();
        let mut tries: Vec<String> = Vec::new();
        for file in files {
            let kinds: &[&str] = if file == "open" { &[] } else { &["read"] };
            for kind in kinds.iter().chain(&["write", "mode", "rename", "remove"]) {
                tries.push(format!("{kind}:{}", root.join(file).display()));
            }
        }
        for place in ["etc/xtreem", "home", "state", "state/store", "state/slots", "state/slots/b", ""] {
            tries.push(format!("make:{}", root.join(place).join("new").display()));
        }
        tries.push(format!("make:/etc/{name}"));
        tries.push(format!("make:/var/tmp/{name}"));
        tries.push(format!("connect:{}", root.join("state/control.sock").display()));
        tries.push(format!("abstract:{name}"));
        for kind in ["signal", "trace", "environ"] {
            tries.push(format!("{kind}:{agent}"));
        }
        Target { slot, control: control.expect("bound"), hall: hall.expect("bound"), tries }
    }

    /// What of `tries` the program could.
    async fn could(
        &self,
        tries: &[String],
        change: impl FnOnce(&mut Plan),
    ) -> (Vec<String>, exec::Isolation) {
        let dir = self.slot.dir();
        let binary = dir.join("intruder");
        if !binary.exists() {
            fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
        }
        let root = self.slot.root.path();
        let mut plan = self.slot.shell("");
        plan.command = vec!["./intruder".to_owned(), BE_INTRUDER.to_owned()];
        plan.command.extend_from_slice(tries);
        plan.hidden = vec![root.join("state"), root.join("etc/xtreem"), root.join("home")];
        change(&mut plan);
        let mut running = exec::start(plan, Path::new(SELF)).await.expect("starts");
        assert_eq!(running.wait().await, Exit::Code(0), "{:?}", running.log().tail_lines(99));
        let mut lines = running.log().tail_lines(1000).expect("readable");
        assert_eq!(lines.pop().as_deref(), Some("tried all"), "{lines:?}");
        (lines, running.isolation().clone())
    }
}

async fn a_program_that_tries_everything_gets_nowhere_behind_either_layer() {
    let target = Target::new();
    let shared = |dir: &str| format!("{dir}/xtreem-left-{}", std::process::id());
    let own = [format!("leave:{}", target.slot.dir().join("mine").display()), "write:/dev/null".to_owned()];
    let temporary = ["/tmp", "/dev/shm"].map(|dir| format!("leave:{}", shared(dir)));
    let tries = [&target.tries[..], &own, &temporary].concat();
    let could = |tries: &[String]| tries.iter().map(|one| format!("could {one}")).collect::<Vec<_>>();
    for kernel in [Kernel::AsItIs, Kernel::Before5_12] {
        let (done, isolation) = target.could(&tries, |plan| plan.kernel = kernel).await;
        let mut expected = could(&[&own[..], &temporary].concat());
        if kernel == Kernel::Before5_12 {
            // The network's namespace is the machine's, and with it these names.
            assert!(matches!(isolation.landlock, Landlock::Missing { .. }), "{isolation}");
            let hall = target.tries.iter().filter(|one| one.starts_with("abstract")).cloned();
            expected.splice(..0, could(&hall.collect::<Vec<_>>()));
        }
        assert_eq!(done, expected, "{isolation}");
        for dir in ["/tmp", "/dev/shm"] {
            assert!(!Path::new(&shared(dir)).exists(), "{dir} is the machine's");
        }
    }
    if nix::unistd::geteuid().is_root() {
        // Alone, the second layer does not hold a superuser.
        let me = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        return as_nobody(me.path(), &["a_program_that_tries_everything"]);
    }
    let process_group = |plan: &mut Plan| plan.isolation = Wanted::ProcessGroup;
    let (done, isolation) = target.could(&tries, process_group).await;
    if matches!(isolation.landlock, Landlock::Version(6..)) {
        // Without namespaces Landlock alone: it knows nothing of permission bits and of the way to a socket,
        // and nobody has a /tmp of his own.
        let is_open = |one: &&String| one.starts_with("mode") || one.starts_with("connect");
        let open: Vec<_> = target.tries.iter().filter(is_open).cloned().collect();
        let expected = [&open[..], &own].concat();
        assert_eq!(done, could(&expected), "{isolation}");
    }
    // And without any layer the program could nearly all: this test can fail.
    let (done, _) = target
        .could(&tries, |plan| {
            plan.isolation = Wanted::ProcessGroup;
            plan.kernel = Kernel::Before5_12;
        })
        .await;
    assert!(done.len() * 2 > tries.len(), "{done:?}");
    for expected in ["node.pem", "connect:", "abstract:", "signal:", "trace:", "environ:", "/dev/shm/"] {
        assert!(done.iter().any(|line| line.contains(expected)), "{expected}: {done:?}");
    }
    for dir in ["/tmp", "/dev/shm"] {
        let _ = fs::remove_file(shared(dir));
    }
    drop((target.control, target.hall));
}

/// Where this is root of the machine.
async fn programs_of_an_agent_that_is_root_run_as_the_user_that_it_names() {
    if !xtreem_agent::is_root_of_machine() {
        return;
    }
    let user = ProgramUser { uid: 65_534, gid: 65_534 };
    let target = Target::new();
    let mut tries = target.tries.clone();
    tries.extend(["read:/etc/shadow", "write:/etc/passwd", "list:/root", "make:/root/new"].map(String::from));
    let own = format!("leave:{}", target.slot.dir().join("mine").display());
    tries.push(own.clone());
    // What namespaces open, an operator who has none must.
    for dir in [target.slot.root.path().to_owned(), target.slot.state(), target.slot.state().join("slots")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("opened");
    }
    fs::copy(std::env::current_exe().expect("known"), target.slot.dir().join("intruder")).expect("copied");
    for (isolation, kernel) in [
        (Wanted::Namespaces, Kernel::AsItIs),
        (Wanted::Namespaces, Kernel::Before5_12),
        (Wanted::ProcessGroup, Kernel::AsItIs),
        (Wanted::ProcessGroup, Kernel::Before5_12),
    ] {
        exec::give(&target.slot.dir(), user).expect("given");
        let change =
            |plan: &mut Plan| (plan.isolation, plan.kernel, plan.user) = (isolation, kernel, Some(user));
        let (done, found) = target.could(&tries, change).await;
        // What everybody may, this user may: without namespaces nothing hides it.
        let everybodys = [own.as_str(), "abstract:", "read:/var/tmp", "make:/var/tmp/xtreem-test", "signal:"];
        let may = if isolation == Wanted::Namespaces { &everybodys[..2] } else { &everybodys[..] };
        let harmful = |line: &&String| !may.iter().any(|one| line.contains(one));
        let harm: Vec<_> = done.iter().filter(harmful).collect();
        assert!(harm.is_empty() && done.iter().any(|line| line.contains(&own)), "{found}: {done:?}");
    }
    let who =
        "id -u; id -G; grep -E '^(Groups|CapEff|NoNewPrivs)' /proc/self/status; id -u > own; stat -c %u own";
    let mut plan = target.slot.shell(who);
    plan.user = Some(user);
    fs::remove_dir_all(target.slot.dir()).expect("removed");
    fs::create_dir(target.slot.dir()).expect("made");
    exec::give(&target.slot.dir(), user).expect("given");
    let lines = output(plan).await;
    let expected = ["65534", "65534", "Groups:\t", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "65534"];
    assert_eq!(lines.iter().map(|line| line.trim_end_matches(' ')).collect::<Vec<_>>(), expected);
}

/// A fence that stops ordinary programs would be switched off.
async fn what_a_program_needs_of_the_machine_it_has() {
    let script = "ls / > /dev/null; cat /etc/hostname > /dev/null; ls /proc/self/fd > /dev/null
        echo out > /dev/stdout; echo err > /dev/stderr; head -c 8 /dev/urandom | wc -c
        mktemp > /dev/null; d=$(mktemp -d /tmp/x.XXX); echo a > $d/a; mv $d/a $d/b; ln -s b $d/c; cat $d/c
        mkfifo p; (echo through > p &); cat p; cp /bin/true ./t; ./t && echo ran; : > /dev/shm/s && echo shared
        sleep 100 & kill $! && echo killed; chmod 700 t; touch -d yesterday t; rm t; mkdir -p a/b; mv a/b c";
    let expected = ["out", "err", "8", "a", "through", "ran", "shared", "killed"];
    for kernel in [Kernel::AsItIs, Kernel::Before5_12] {
        let slot = Slot::new();
        let mut plan = slot.shell(script);
        plan.hidden = vec![slot.state()];
        plan.kernel = kernel;
        assert_eq!(output(plan).await, expected, "{kernel:?}");
    }
}

/// The program is this binary again, as an agent inside the sandbox, without capabilities: Landlock lets it
/// mount nothing, so it starts no programs of its own. Then the same as a user of the machine.
async fn works_for_another_user_and_not_inside_another_sandbox() {
    let slot = Slot::new();
    let binary = slot.dir().join("agent");
    fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
    let mut plan = slot.shell("./agent be-nested nested");
    plan.hidden = vec![slot.state()];
    let mut running = start(plan).await;
    let exit = running.wait().await;
    let lines = running.log().tail_lines(99).expect("readable");
    let is_refused = lines.iter().any(|line| line.contains("NotIsolated"));
    assert!(exit != Exit::Code(0) && is_refused, "{exit} {lines:?}");
    if nix::unistd::geteuid().is_root() {
        let nobody = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        as_nobody(nobody.path(), &[BE_NESTED, "nested"]);
    } else {
        assert_eq!(be_nested(&slot.root.path().join("nested")).await, ExitCode::SUCCESS);
    }
}

/// Runs this binary, in a directory of its own, as a user without rights.
fn as_nobody(dir: &Path, args: &[&str]) {
    let binary = dir.join("agent");
    fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
    std::os::unix::fs::chown(dir, Some(65534), Some(65534)).expect("given away");
    let mut agent = Command::new(&binary);
    let output = agent.args(args).uid(65534).gid(65534).current_dir(dir).output().expect("starts");
    assert!(output.status.success(), "{output:?}");
}

async fn be_nested(dir: &Path) -> ExitCode {
    fs::create_dir_all(dir.join("state/slot")).expect("a directory");
    fs::write(dir.join("state/key"), "secret").expect("written");
    let script = "cat ../key; echo $(ls /proc | grep -c '^[0-9]'); (setsid sleep 1000 &); exit 5";
    let command = ["sh", "-c", script].map(String::from).to_vec();
    let mut plan = Plan::new(command, dir.join("state/slot"), dir.join("log"));
    plan.hidden = vec![dir.join("state")];
    let mut running = start(plan).await;
    assert_eq!(running.wait().await, Exit::Code(5));
    let lines = running.log().tail_lines(9).expect("readable");
    assert!(lines[0].contains("No such file"), "{lines:?}");
    assert!(lines[1].parse::<u32>().is_ok_and(|count| count < 8), "{lines:?}");
    ExitCode::SUCCESS
}

/// An agent in a user namespace that may have no further ones below it.
async fn a_kernel_without_namespaces_starts_nothing_unless_that_is_allowed() {
    let slot = Slot::new();
    let binary = std::env::current_exe().expect("known");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" be-refused \"$1\"";
    let mut agent = Command::new("unshare");
    agent.args(["-Ur", "sh", "-c", script]).arg(binary).arg(slot.dir());
    let output = agent.output().expect("starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines();
    let refusal = lines.next().unwrap_or_default();
    assert!(refusal.starts_with("programs cannot be isolated on this machine: unshare user"), "{text}");
    assert!(refusal.contains("ENOSPC"), "{text}");
    assert!(lines.next().is_some_and(|line| line.contains("no namespaces (unshare")), "{text}");
}

async fn be_refused(dir: &Path) -> ExitCode {
    let command = ["sh", "-c", "echo here; exit 6"].map(String::from).to_vec();
    let mut plan = Plan::new(command, dir.to_owned(), dir.with_file_name("log"));
    let refused = exec::start(plan.clone(), Path::new(SELF)).await.expect_err("not isolated");
    println!("{refused}");
    plan.isolation = Wanted::NamespacesIfPossible;
    let mut running = exec::start(plan, Path::new(SELF)).await.expect("starts all the same");
    assert_eq!(running.wait().await, Exit::Code(6));
    assert_eq!(running.log().tail_lines(9).expect("readable"), ["here"]);
    println!("{}", running.isolation());
    ExitCode::SUCCESS
}
