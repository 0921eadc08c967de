//! One agent a state directory, and one number a start.
//!
//! A node's incarnation tells its runs apart, so it is on disk before anything is sent under it: after a
//! crash the next run is higher. What earlier runs left in the slots' directories goes before the first slot
//! starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Longest content of the incarnation file that is looked at.
const COUNTER_MAX_BYTES: u64 = 32;

/// Why the state directory cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state directory {} cannot be used: {error}; name a writable one as `state_dir`", .dir.display())]
    Directory { dir: PathBuf, error: io::Error },
    #[error("another agent uses the state directory {}: stop it or name another `state_dir`", .dir.display())]
    InUse { dir: PathBuf },
    #[error("{} does not hold an incarnation number; when it is lost, give the node a new identity", .file.display())]
    Counter { file: PathBuf },
    #[error("{} cannot be written: {error}", .file.display())]
    NotWritable { file: PathBuf, error: io::Error },
    #[error("this node was started 4294967295 times; give it a new identity")]
    WornOut,
}

/// The state directory of a running agent. Dropping it lets the next agent in.
#[derive(Debug)]
pub(crate) struct State {
    dir: PathBuf,
    incarnation: u32,
    _lock: Flock<File>,
}

impl State {
    /// Locks `dir`, counts this start and removes what earlier starts left of their slots.
    pub(crate) fn open(dir: &Path) -> Result<State, StateError> {
        let unusable = |error| StateError::Directory { dir: dir.to_owned(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let dir = dir.canonicalize().map_err(unusable)?;
        let lock_file = dir.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_file);
        let file = open.map_err(|error| StateError::NotWritable { file: lock_file, error })?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(StateError::InUse { dir }),
            Err((_, errno)) => return Err(StateError::Directory { dir, error: errno.into() }),
        };
        let incarnation = next_incarnation(&dir)?;
        let state = State { dir, incarnation, _lock: lock };
        for part in [state.slots_dir(), state.logs_dir(), state.sockets_dir()] {
            remove_all(&part).map_err(|error| StateError::NotWritable { file: part.clone(), error })?;
            let made = fs::DirBuilder::new().mode(0o700).create(&part);
            made.map_err(|error| StateError::NotWritable { file: part, error })?;
        }
        Ok(state)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counts the starts of this node, from 1.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// One directory per slot that runs.
    pub(crate) fn slots_dir(&self) -> PathBuf {
        self.dir.join("slots")
    }

    /// Outside the slots' directories, so that a program cannot change its own log.
    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The slots' sockets; short names, as a socket's path has at most 107 bytes (unix(7)).
    pub(crate) fn sockets_dir(&self) -> PathBuf {
        self.dir.join("s")
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the counter, adds one, and returns it once it is on disk.
fn next_incarnation(dir: &Path) -> Result<u32, StateError> {
    let file = dir.join("incarnation");
    let wrong = || StateError::Counter { file: file.clone() };
    let last = match File::open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(StateError::NotWritable { file, error }),
        Ok(open) => {
            let mut text = String::new();
            open.take(COUNTER_MAX_BYTES).read_to_string(&mut text).map_err(|_| wrong())?;
            text.trim().parse::<u32>().map_err(|_| wrong())?
        }
    };
    let next = last.checked_add(1).ok_or(StateError::WornOut)?;
    write_durably(dir, &file, &next)
        .map_err(|error| StateError::NotWritable { file: file.clone(), error })?;
    Ok(next)
}

/// New file, synced, renamed over the old one, directory synced: the old or the new number, never neither.
fn write_durably(dir: &Path, file: &Path, number: &u32) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    writeln!(open, "{number}")?;
    open.sync_all()?;
    fs::rename(&new, file)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_counts_and_old_slots_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        assert_eq!(first.incarnation(), 1);
        fs::write(first.slots_dir().join("remains"), "x").unwrap();
        assert!(matches!(State::open(dir.path()), Err(StateError::InUse { .. })));
        drop(first);
        let second = State::open(dir.path()).unwrap();
        assert_eq!(second.incarnation(), 2);
        assert!(!second.slots_dir().join("remains").exists());
    }

    #[test]
    fn a_damaged_counter_is_refused_and_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["", "x", "-1", "99999999999", "4294967295"] {
            fs::write(dir.path().join("incarnation"), content).unwrap();
            let error = State::open(dir.path()).unwrap_err();
            assert!(
                matches!(error, StateError::Counter { .. } | StateError::WornOut),
                "{content:?}: {error}"
            );
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = State::open(&dir.path().join("file/state")).unwrap_err().to_string();
        assert!(error.contains("file/state"), "{error}");
    }
}
