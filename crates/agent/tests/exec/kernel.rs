//! What the kernel, or whoever runs the agent, allows and refuses.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use xtreem_agent::exec::{self, Exit, Plan, Wanted};

use crate::{BE_NESTED, SELF, Slot, start};

/// The program is this binary again, as an agent inside the sandbox, without capabilities: Landlock lets it
/// mount nothing, so it starts no programs of its own. Then the same as a user of the machine.
pub async fn works_for_another_user_and_not_inside_another_sandbox() {
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
pub fn as_nobody(dir: &Path, args: &[&str]) {
    let binary = dir.join("agent");
    fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
    std::os::unix::fs::chown(dir, Some(65534), Some(65534)).expect("given away");
    let mut agent = Command::new(&binary);
    let output = agent.args(args).uid(65534).gid(65534).current_dir(dir).output().expect("starts");
    assert!(output.status.success(), "{output:?}");
}

pub async fn be_nested(dir: &Path) -> ExitCode {
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
pub async fn a_kernel_without_namespaces_starts_nothing_unless_that_is_allowed() {
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

pub async fn be_refused(dir: &Path) -> ExitCode {
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
