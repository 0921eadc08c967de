//! One agent a state directory, and one number a start.
//!
//! A node's incarnation tells its runs apart, so it is on disk before anything is sent under it: after a
//! crash the next run is higher. It is at least the time, in seconds, so that it is also higher when the
//! state directory was lost. What earlier runs left in the slots' directories goes before the first slot
//! starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use crate::api::listener::PATH_MAX_BYTES;

/// Longest content of the incarnation file that is looked at.
const COUNTER_MAX_BYTES: u64 = 32;

/// Longest part of a slot socket's path after the state directory: `/s/` and the number of its start, of 64
/// bits.
const SLOT_SOCKET_MAX_BYTES: usize = 3 + 20;

/// From here the seconds of incarnations count: 2026-01-01T00:00Z, in unix time. They fit 32 bits until
/// 2162-02-07.
const FIRST_SECOND: Duration = Duration::from_secs(1_767_225_600);

/// Why the state directory cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state directory {} cannot be used: {error}; name a writable one as `state_dir`", .dir.display())]
    Directory { dir: PathBuf, error: io::Error },
    #[error(
        "the path of the state directory {} has {len} bytes: sockets lie in it, whose paths the kernel limits, so that \
         it may have at most {max}; name a shorter one as `state_dir`",
        .dir.display()
    )]
    LongPath { dir: PathBuf, len: usize, max: usize },
    #[error("another agent uses the state directory {}: stop it or name another `state_dir`", .dir.display())]
    InUse { dir: PathBuf },
    #[error("{} does not hold an incarnation number; when it is lost, give the node a new identity", .file.display())]
    Counter { file: PathBuf },
    #[error("{} cannot be written: {error}", .file.display())]
    NotWritable { file: PathBuf, error: io::Error },
    #[error(
        "this node's incarnation is 4294967295, the highest that there is; give it a new identity and a new \
         `state_dir`"
    )]
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
        let (dir, lock) = lock(dir)?;
        check_room_for_sockets(&dir)?;
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

    /// Higher at every start: the seconds since the year 2026 began, or one more than at the last start where
    /// that is higher, as after two starts within a second or with a clock that was set back.
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

/// Makes the directory if it is not there, and keeps every agent out of it until the lock is dropped. Returns
/// its real path.
pub(crate) fn lock(dir: &Path) -> Result<(PathBuf, Flock<File>), StateError> {
    let unusable = |error| StateError::Directory { dir: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    let dir = dir.canonicalize().map_err(unusable)?;
    let lock_file = dir.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_file);
    let file = open.map_err(|error| StateError::NotWritable { file: lock_file, error })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((dir, lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::InUse { dir }),
        Err((_, errno)) => Err(StateError::Directory { dir, error: errno.into() }),
    }
}

/// Whether the socket of any slot finds room for its path in this directory.
fn check_room_for_sockets(dir: &Path) -> Result<(), StateError> {
    let (len, max) = (dir.as_os_str().len(), PATH_MAX_BYTES - SLOT_SOCKET_MAX_BYTES);
    if len <= max { Ok(()) } else { Err(StateError::LongPath { dir: dir.to_owned(), len, max }) }
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The seconds since [`FIRST_SECOND`]; zero when the clock shows an earlier time, or one beyond 32 bits.
fn seconds(now: SystemTime) -> u32 {
    let first = SystemTime::UNIX_EPOCH + FIRST_SECOND;
    now.duration_since(first).ok().and_then(|since| since.as_secs().try_into().ok()).unwrap_or(0)
}

/// The incarnation after `last` (zero: none is known) of a node that starts at `now`.
fn after(last: u32, now: SystemTime) -> Option<u32> {
    Some(last.checked_add(1)?.max(seconds(now)))
}

/// Reads the last incarnation and returns the next one once it is on disk.
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
    let next = after(last, SystemTime::now()).ok_or(StateError::WornOut)?;
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
    fn an_incarnation_is_higher_than_the_last_and_not_below_the_clock() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + FIRST_SECOND + Duration::from_secs(second);
        let early = SystemTime::UNIX_EPOCH;
        let end = u64::from(u32::MAX);
        let rows = [
            ("the first start", 0, at(28_000_000), Some(28_000_000)),
            ("the state was lost", 0, at(28_000_100), Some(28_000_100)),
            ("two starts within a second", 28_000_100, at(28_000_100), Some(28_000_101)),
            ("the clock was set back", 28_000_100, at(5), Some(28_000_101)),
            ("a clock that stands at 1970", 0, early, Some(1)),
            ("a clock beyond 32 bits", 7, at(end + 1), Some(8)),
            ("the last second", 7, at(end), Some(u32::MAX)),
            ("nothing is higher", u32::MAX, at(9), None),
        ];
        for (what, last, now, next) in rows {
            assert_eq!(after(last, now), next, "{what}");
        }
    }

    #[test]
    fn every_start_is_higher_and_old_slots_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        let number = first.incarnation();
        fs::write(first.slots_dir().join("remains"), "x").unwrap();
        assert!(matches!(State::open(dir.path()), Err(StateError::InUse { .. })));
        drop(first);
        let second = State::open(dir.path()).unwrap();
        assert!(second.incarnation() > number);
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

    #[test]
    fn a_directory_whose_slots_could_have_no_sockets_is_refused_at_the_start() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let of_len = |len: usize| base.join("x".repeat(len - base.as_os_str().len() - 1));
        let max = PATH_MAX_BYTES - SLOT_SOCKET_MAX_BYTES;
        assert!(State::open(&of_len(max)).is_ok());
        let error = State::open(&of_len(max + 1)).unwrap_err().to_string();
        assert!(error.contains("at most 84; name a shorter one as `state_dir`"), "{error}");
    }
}
