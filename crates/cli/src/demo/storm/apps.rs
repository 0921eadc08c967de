//! The applications that stand in the storm.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use xtreem_client::api::{NodeStatus, Resources};
use xtreem_emulation::{ChildSpec, DISK};

use crate::app_file::AppFile;
use crate::demo::grid::{Grid, failed, until_within};
use crate::demo::processes;
use crate::demo::show::Show;
use crate::exit::{Exit, Failure};
use crate::sign;
use crate::submission::{Outcome, Submission, upload};

/// Slots of each application, and what it says of restarts.
const APPS: [(u16, &str); 5] =
    [(1, "always"), (3, "on-failure"), (4, "always"), (6, "on-failure"), (8, "always")];
/// Bytes of the file that each program brings along.
const FILE_BYTES: usize = 256 << 10;
/// Longest time for a stop to reach everybody, and for what ran to be removed.
const STOP_MAX: Duration = Duration::from_secs(60);

/// One application.
pub struct App {
    pub name: String,
    pub id: String,
    pub slots: u16,
}

pub struct Apps {
    pub apps: Vec<App>,
}

impl Apps {
    /// Submits them all, each on a host of its own.
    pub async fn submit(grid: &Grid, show: &Show) -> Result<Apps, Failure> {
        let mut apps = Vec::new();
        for (at, (slots, restart)) in APPS.into_iter().enumerate() {
            let (name, file) = (format!("storm{at}"), format!("data{at}"));
            std::fs::write(grid.dir().join(&file), vec![at as u8; FILE_BYTES]).map_err(|e| failed(&e))?;
            let app = AppFile::parse(&text(&name, &file, slots, restart), &name, grid.dir());
            let app = app.map_err(|e| failed(&e))?;
            let client = &grid.hosts[at % grid.hosts.len()].client;
            upload(client, &app, |_| {}).await?;
            let submitter = sign::submitter(client).await?;
            let application = sign::application(&app, &grid.user, submitter)?;
            let id = application.record.id.to_string();
            let mut submission =
                Submission::begin(client, &application, Some(Duration::from_secs(60))).await?;
            while submission.next().await?.is_some() {}
            match &submission.so_far.outcome {
                Some(Outcome::Complete { failed: 0, .. }) => {}
                outcome => {
                    let words = format!("application {name} did not start: {outcome:?}");
                    return Err(Failure::new(Exit::Failed, words));
                }
            }
            show.say(&format!("{name} ({id}): {slots} slots"));
            apps.push(App { name, id, slots });
        }
        Ok(Apps { apps })
    }

    /// What is not as it should be when nothing disturbs the grid; nothing when every slot runs once.
    pub fn wrong(&self) -> Vec<String> {
        self.apps.iter().filter_map(|app| app.wrong(&processes::running(&app.id))).collect()
    }

    /// Stops them all and says what is left of them a minute later.
    pub async fn stop(&self, grid: &Grid) -> Result<Vec<String>, Failure> {
        for app in &self.apps {
            let client = &grid.hosts[0].client;
            let current = client.app(&app.id).await?.record;
            let record = sign::stopped(&current, &grid.user)?;
            client.publish(&app.id, sign::encoded(&record)?).await?;
        }
        let mut left = Vec::new();
        let gone = until_within(STOP_MAX, "everything to be removed", async || {
            left = self.left(grid).await;
            left.is_empty()
        });
        let _ = gone.await;
        Ok(left)
    }

    async fn left(&self, grid: &Grid) -> Vec<String> {
        let mut left = Vec::new();
        for app in &self.apps {
            let running = processes::running(&app.id);
            left.extend(running.iter().map(|(slot, ip)| format!("{} slot {slot} runs on {ip}", app.name)));
        }
        for host in &grid.hosts {
            match host.client.node().await {
                Ok(NodeStatus { used, .. }) if used == Resources::default() => {}
                Ok(NodeStatus { used, .. }) => left.push(format!("{} still has {used:?} booked", host.name)),
                Err(error) => left.push(format!("{} does not answer: {error}", host.name)),
            }
        }
        match directories(grid).await {
            Ok(found) => left.extend(found.lines().map(str::to_owned)),
            Err(reason) => left.push(format!("what is left on disks cannot be read: {reason}")),
        }
        left
    }
}

impl App {
    fn wrong(&self, running: &BTreeSet<(u16, IpAddr)>) -> Option<String> {
        let on =
            |slot: u16| running.iter().filter(move |(other, _)| *other == slot).map(|(_, ip)| ip.to_string());
        let words = (0..self.slots).filter_map(|slot| {
            let hosts: Vec<String> = on(slot).collect();
            match hosts.len() {
                0 => Some(format!("slot {slot} runs nowhere")),
                1 => None,
                _ => Some(format!("slot {slot} runs on {}", hosts.join(" and "))),
            }
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| format!("{} ({}): {}", self.name, &self.id[..8], words.join(", ")))
    }
}

/// Directories of slots and what waits for its removal, on all hosts' disks. Those are mounted in the lab
/// alone.
async fn directories(grid: &Grid) -> Result<String, String> {
    let hosts = grid.dir().join("hosts");
    let state = if grid.disk_bytes.is_some() { DISK } else { "." };
    let list = format!(
        "cd {} && for d in */{state}/slots */{state}/trash; do [ -d $d ] && find $d -mindepth 1 -maxdepth 1; done; true",
        Path::new(&hosts).display()
    );
    let command = vec!["/bin/sh".into(), "-c".into(), list.into()];
    let child = grid.lab.exec_in_lab(ChildSpec { command, env: Vec::new() }).await;
    let mut child = child.map_err(|e| e.to_string())?;
    let mut said = String::new();
    child.stdio().read_to_string(&mut said).await.map_err(|e| e.to_string())?;
    Ok(said)
}

fn text(name: &str, file: &str, slots: u16, restart: &str) -> String {
    format!(
        "name = \"{name}\"\nnodes = {slots}\nrequirement = 'cpu.cores >= 2'\nrestart = \"{restart}\"\n\
         command = [\"/bin/sh\", \"-c\", \"while test -s {file}; do date > beat; sleep 1; done\"]\n\
         files = [\"{file}\"]\n\n[resources]\ncores = 0.25\nmemory = \"16MiB\"\ndisk = \"1MiB\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_runs_nowhere_or_twice_is_wrong() {
        let app = App { name: "a".into(), id: "0123456789".into(), slots: 2 };
        let ip = |last| IpAddr::from([127, 0, 0, last]);
        assert_eq!(app.wrong(&BTreeSet::from([(0, ip(1)), (1, ip(1))])), None);
        let words = app.wrong(&BTreeSet::from([(0, ip(1)), (0, ip(2))])).expect("two are wrong");
        assert_eq!(words, "a (01234567): slot 0 runs on 127.0.0.1 and 127.0.0.2, slot 1 runs nowhere");
    }

    #[test]
    fn the_applications_are_right() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("data"), "x").expect("written");
        for (slots, restart) in APPS {
            let text = text("storm", "data", slots, restart);
            assert_eq!(AppFile::parse(&text, "storm", home.path()).expect("an application").nodes, slots);
        }
    }
}
