//! Where other nodes were last seen, over restarts: `join` may name nobody who is still there.
//!
//! A text file, one `HOST:PORT` a line, in the state directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config;

/// In the state directory.
const FILE: &str = "contacts";
/// Most addresses that are kept; of more the first stay.
pub(crate) const KEPT_MAX: usize = 32;
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

#[cfg(test)]
mod tests {
    use super::*;

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
