//! Labs and hosts for the claims, and ways to look at them from outside.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use xtreem_emulation::{Host, HostSpec, Lab, LabOptions, NetworkChoice, this_program};

use crate::roles::{FAILED, SOCKET};

/// In the environment of every process of a claim's lab, with a value of the claim's own.
pub const MARK: &str = "XTREEM_EMULATION_TEST";

/// Far beyond what anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

pub async fn start_in(kind: NetworkChoice, state_dir: PathBuf) -> Lab {
    Lab::start(LabOptions { state_dir, network: kind, user: None }).await.expect("a lab")
}

pub async fn start(kind: NetworkChoice) -> (Lab, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (start_in(kind, dir.path().to_owned()).await, dir)
}

pub fn spec(lab: &Lab, index: u16) -> HostSpec {
    let command: Vec<OsString> =
        vec![this_program().into(), "role-agent".into(), lab.address(index).to_string().into()];
    let env = vec![(MARK.into(), lab.host_dir("x").into())];
    HostSpec { index, name: format!("node{index}"), command, env, disk_bytes: None }
}

/// A host whose agent answers.
pub async fn spawn(lab: &Lab, index: u16) -> Host {
    let host = lab.spawn_host(spec(lab, index)).await.expect("a host");
    until("the agent answers", async || ask(&host, "?").await.is_some()).await;
    host
}

/// Says something to a host's agent over its Unix socket, from outside. `None` if it does not answer.
pub async fn ask(host: &Host, order: &str) -> Option<String> {
    let talk = async {
        let mut stream = UnixStream::connect(host.dir.join(SOCKET)).await.ok()?;
        stream.write_all(format!("{order}\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    tokio::time::timeout(Duration::from_secs(5), talk).await.ok()?
}

pub async fn tell(host: &Host, order: &str) -> String {
    match ask(host, order).await {
        Some(answer) => answer,
        None => panic!("{} does not answer; its log: {:?}", host.name, fs::read_to_string(&host.log)),
    }
}

pub async fn reaches(from: &Host, to: &Host) -> bool {
    !tell(from, &format!("reach {}", to.address)).await.starts_with(FAILED)
}

/// Waits until the first of each pair reaches the second. A busy machine may take longer for one answer than
/// `reaches` waits for one that never comes.
pub async fn all_reach(pairs: &[(&Host, &Host)]) {
    for (from, to) in pairs {
        until(&format!("{} reaches {}", from.name, to.name), async || reaches(from, to).await).await;
    }
}

pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Processes of this machine whose environment has the mark with this value; zombies have no environment.
pub fn marked(lab_hosts: &Lab) -> Vec<i32> {
    marked_with(&lab_hosts.host_dir("x"))
}

pub fn marked_with(value: &std::path::Path) -> Vec<i32> {
    let wanted = format!("{MARK}={}", value.display());
    let pids = fs::read_dir("/proc").expect("proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    pids.filter(is_marked).collect()
}

/// Process state letters of `pids`, sorted and without repeats.
pub fn states(pids: &[i32]) -> String {
    let mut states: Vec<char> = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next())
        .collect();
    states.sort_unstable();
    states.dedup();
    states.into_iter().collect()
}
