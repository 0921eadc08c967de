//! `xtreem demo` as users start it: it restores every lost slot, and leaves nothing behind however it ends.
//!
//! Where the kernel forbids namespaces the demo falls back to loopback addresses by itself, and so do these
//! tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A demo takes half a minute on two cores; only a failure waits for this.
const DEMO_MAX: Duration = Duration::from_secs(150);
/// The same for what is left of a killed one: it dies in milliseconds.
const GONE_MAX: Duration = Duration::from_secs(20);

/// A demo whose temporary files lie in `home`, which marks its processes.
fn demo(home: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_xtreem"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts")
}

fn home() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("xtd").tempdir().expect("a directory")
}

/// Processes in whose environment or command line `home` is.
fn processes_of(home: &Path) -> BTreeSet<String> {
    let home = home.to_str().expect("a plain path").as_bytes();
    let is_of = |path: &Path| {
        ["environ", "cmdline"].iter().any(|file| {
            fs::read(path.join(file)).is_ok_and(|bytes| bytes.windows(home.len()).any(|part| part == home))
        })
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten().map(|process| process.path());
    processes.filter(|path| is_of(path)).map(|path| path.display().to_string()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a condition with a deadline, looked at from outside")]
fn until(what: &str, max: Duration, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + max;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The lines of the demo's progress as they come.
fn progress(demo: &mut Child) -> mpsc::Receiver<String> {
    let lines = BufReader::new(demo.stderr.take().expect("piped")).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn wait_for(progress: &mpsc::Receiver<String>, words: &str) {
    let end = Instant::now() + DEMO_MAX;
    loop {
        let line = progress.recv_timeout(end.saturating_duration_since(Instant::now()));
        if line.unwrap_or_else(|_| panic!("never: {words}")).contains(words) {
            return;
        }
    }
}

#[test]
fn every_slot_that_four_faults_take_away_runs_again_and_none_runs_twice() {
    let home = home();
    let mut demo = demo(home.path(), &["--json"]);
    let progress = progress(&mut demo);
    // Standard error closes when the last process that has it ends.
    let end = Instant::now() + DEMO_MAX;
    let mut told = Vec::new();
    loop {
        match progress.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => told.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                demo.kill().expect("a child");
                panic!("the demo hangs: {told:#?}");
            }
        }
    }
    let status = demo.wait().expect("a child");
    let mut out = String::new();
    demo.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out:?}; {told:#?}"));
    assert!(status.success() && report["ok"] == true, "{report}: {told:#?}");
    assert_eq!((&report["hosts"], &report["slots_wanted"]), (&16.into(), &6.into()));
    assert_eq!((&report["slots_running"], &report["duplicates_after_heal"]), (&6.into(), &0.into()));
    let losses = report["losses"].as_array().expect("a list");
    assert!(losses.len() >= 3, "two slots of killed hosts, one of a cut host: {report}");
    for loss in losses {
        assert!(loss["noticed_ms"].is_u64() && loss["replaced_ms"].is_u64(), "{report}");
    }
    assert_eq!(losses.last().expect("three")["kind"], "cut", "{report}");
    assert!(report["requests_served"].as_u64() > Some(0), "{report}");
    until("no process is left", GONE_MAX, || processes_of(home.path()).is_empty());
    assert_eq!(fs::read_dir(home.path()).expect("a directory").count(), 0, "its directory is removed");
}

/// Ends a demo with `signal` in the middle of its faults.
fn ends_without_a_trace(signal: &str, network: &str) {
    let home = home();
    let mut demo = demo(home.path(), &["--network", network]);
    let progress = progress(&mut demo);
    wait_for(&progress, "killed host");
    assert!(processes_of(home.path()).len() > 13, "agents and programs run");
    let killed = Command::new("kill").args([signal, &demo.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    demo.wait().expect("a child");
    until("no process is left", GONE_MAX, || processes_of(home.path()).is_empty());
    if signal == "-INT" {
        assert_eq!(fs::read_dir(home.path()).expect("a directory").count(), 0, "its directory is removed");
    }
}

#[test]
fn a_killed_demo_leaves_no_process() {
    ends_without_a_trace("-KILL", "auto");
}

#[test]
fn a_killed_demo_on_loopback_leaves_no_process() {
    ends_without_a_trace("-KILL", "loopback");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    ends_without_a_trace("-INT", "auto");
}
