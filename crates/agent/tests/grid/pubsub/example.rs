//! `examples/events` beside the slots of plain agents, while one of its storage servers is killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::Client;
use crate::grid_events::of_program;
use crate::lab::{Lab, PATIENCE};
use crate::ring::one_ring;
use crate::{holder, shell};

const SLOTS: u16 = 4;

/// One part of the example, which ends with this.
struct Part {
    process: Child,
    said: Receiver<String>,
}

impl Part {
    fn start(app: &str, slot: u16) -> Part {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (socket, token): (PathBuf, String) = of_program(app, slot);
        let mut python = Command::new("python3");
        python.arg("-u").arg(root.join("examples/events/events.py"));
        python.env("PYTHONPATH", root.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
        python.env("XTREEM_SOCKET", socket).env("XTREEM_TOKEN", token);
        let mut process = python.stdout(Stdio::piped()).spawn().expect("python3");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let (say, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Part { process, said }
    }

    /// Waits for a line that begins so and has this in it.
    fn says(&self, begin: &str, rest: &str) {
        let (end, mut all) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("{begin} {rest}: {all:?}"));
            if line.starts_with(begin) && line.contains(rest) {
                return;
            }
            all.push(line);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub async fn the_example_of_events_tells_what_changes_and_who_failed() {
    let mut lab = Lab::of(6).await;
    one_ring(&lab).await;
    let app = lab.application("events", SLOTS, &shell("exec sleep 600"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let parts: Vec<Part> = (0..SLOTS).map(|slot| Part::start(&id, slot)).collect();
    let monitor = &parts[1];
    tokio::task::block_in_place(|| {
        monitor.says("query", "added");
        monitor.says("query", "removed");
        monitor.says("server 2", "used");
        monitor.says("server 3", "used");
    });
    // Whoever comes later finds the last status.
    let mut late = Client::of(&lab.agents[0]).await;
    late.say("SUBSCRIBE \"storage/osd/2/**\"\n").await;
    let (topic, status) = late.event().await;
    assert_eq!(topic, "storage/osd/2/status");
    assert!(status.starts_with(b"{\"used\": "), "{}", String::from_utf8_lossy(&status));
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let lost = (2..usize::from(SLOTS))
        .find(|slot| holder(&shown, *slot) != holder(&shown, 1))
        .expect("another node");
    lab.kill(&holder(&shown, lost));
    tokio::task::block_in_place(|| {
        monitor.says(&format!("slot {lost}"), "failed");
        monitor.says(&format!("slot {lost}"), "running");
        // The program of the replacement is another one.
        monitor.says(&format!("server {lost}"), "does not answer");
    });
}
