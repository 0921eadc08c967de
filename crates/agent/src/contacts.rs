//! Where other nodes were last seen, over restarts: `join` may name nobody who is still there.
//!
//! A text file, one `HOST:PORT` a line, in the state directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use xtreem_net::Named;

use crate::agent::Agent;
use crate::config;

/// In the state directory.
const FILE: &str = "contacts";
/// Most addresses that are kept; of more the first stay.
pub(crate) const KEPT_MAX: usize = 32;
/// The first time that they are written, after the start.
const FIRST_AFTER: Duration = Duration::from_secs(10);
/// Between two times (our guess: a partial view turns over in some minutes).
const KEPT_EVERY: Duration = Duration::from_secs(60);
/// Longest file that is read.
const FILE_MAX_BYTES: u64 = 16 << 10;

/// What was kept. Nothing when there is no file or it cannot be read: it is a help and no promise.
pub(crate) fn load(state_dir: &Path) -> Vec<String> {
    let mut text = String::new();
    let read =
        File::open(state_dir.join(FILE)).and_then(|file| file.take(FILE_MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "the contacts that were kept cannot be read"),
    }
    let lines = text.lines().map(str::trim).filter(|line| config::is_address(line));
    lines.take(KEPT_MAX).map(str::to_owned).collect()
}

/// Keeps these instead of what was kept: a new file, synced, renamed over the old one.
pub(crate) fn save(state_dir: &Path, addresses: &[String]) -> io::Result<()> {
    let new = state_dir.join("contacts.new");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    for address in addresses.iter().take(KEPT_MAX) {
        writeln!(file, "{address}")?;
    }
    file.sync_all()?;
    fs::rename(&new, state_dir.join(FILE))?;
    File::open(state_dir)?.sync_all()
}

/// Keeps the addresses of contacts until the agent ends.
pub(crate) async fn keep(agent: Arc<Agent>) {
    let mut wait = FIRST_AFTER;
    loop {
        sleep(wait).await;
        keep_now(&agent).await;
        wait = KEPT_EVERY;
    }
}

/// Keeps the addresses of the contacts of now. Those of before stay behind them as far as there is room: a
/// node that is cut off knows fewer than it did.
pub(crate) async fn keep_now(agent: &Arc<Agent>) {
    let Ok(Named { what, contacts }) = agent.net.call_named(|node, _, _| node.contacts()).await else {
        return;
    };
    let now = contacts.all_of(what).map(|(_, contact)| contact.addr.to_string()).collect();
    let agent = agent.clone();
    // A disk may take its time to sync.
    let kept = tokio::task::spawn_blocking(move || {
        let before = load(agent.state.dir());
        let after = merged(now, &before);
        if after == before {
            Ok(())
        } else {
            agent.state.reserve().writing(|| save(agent.state.dir(), &after))
        }
    });
    if let Ok(Err(error)) = kept.await {
        tracing::warn!(%error, "the addresses of contacts could not be kept: `join` alone finds the grid again");
    }
}

fn merged(now: Vec<String>, before: &[String]) -> Vec<String> {
    let mut all = now;
    for address in before {
        if all.len() < KEPT_MAX && !all.contains(address) {
            all.push(address.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_of_now_come_first_and_older_ones_fill_the_room() {
        let addresses = |ports: std::ops::Range<usize>| -> Vec<String> {
            ports.map(|port| format!("10.0.0.1:{port}")).collect()
        };
        assert_eq!(merged(addresses(1..3), &addresses(2..5)), addresses(1..5));
        let full = merged(addresses(1..3), &addresses(100..200));
        assert_eq!((full.len(), &full[..2]), (KEPT_MAX, &addresses(1..3)[..]));
        assert_eq!(merged(vec![], &addresses(2..5)), addresses(2..5), "a lonely node forgets nobody");
    }

    #[test]
    fn what_was_kept_is_found_again_and_damage_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).is_empty());
        let many: Vec<String> = (1..=KEPT_MAX + 9).map(|port| format!("10.0.0.1:{port}")).collect();
        save(dir.path(), &many).unwrap();
        assert_eq!(load(dir.path()), many[..KEPT_MAX]);
        fs::write(dir.path().join(FILE), "nowhere\n\n 10.0.0.2:9 \n10.0.0.3:0\n[fe80::1%eth0]:7\n").unwrap();
        assert_eq!(load(dir.path()), ["10.0.0.2:9", "[fe80::1%eth0]:7"]);
        fs::write(dir.path().join(FILE), b"\xff\xfe").unwrap();
        assert!(load(dir.path()).is_empty());
    }
}
