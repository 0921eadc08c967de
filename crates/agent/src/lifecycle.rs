//! One agent a state directory, and one number a start.
//!
//! A node's incarnation tells its runs apart, so it is on disk before anything is sent under it: after a
//! crash the next run is higher. It is at least the time, in seconds, so that it is also higher when the
//! state directory was lost. Names of slots' directories begin with it: what earlier runs left is told from
//! what this one has, and is removed while the agent works ([`crate::trash`]).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use crate::api::listener::PATH_MAX_BYTES;
use crate::reserve::{Reserve, is_full};
use crate::trash;

/// Longest content of the incarnation file that is looked at.
const COUNTER_MAX_BYTES: u64 = 32;

/// Longest part of a slot socket's path after the state directory: `/s/` and the number of its start, of 64
/// bits.
const SLOT_SOCKET_MAX_BYTES: usize = 3 + 20;

/// From here the seconds of incarnations count: 2026-01-01T00:00Z, in unix time. They fit 32 bits until
/// 2162-02-07.
pub(crate) const FIRST_SECOND: Duration = Duration::from_secs(1_767_225_600);

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
    #[error(
        "{} does not hold an incarnation number: see that this machine's clock is right, and remove the file; the next \
         number comes from the clock",
        .file.display()
    )]
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
    reserve: Arc<Reserve>,
    _lock: Flock<File>,
}

impl State {
    /// Locks `dir`, counts this start and makes the directories that are missing. `reserve_bytes` of the disk
    /// are kept for the agent itself.
    pub(crate) fn open(dir: &Path, reserve_bytes: u64) -> Result<State, StateError> {
        let (dir, lock) = lock(dir)?;
        check_room_for_sockets(&dir)?;
        let reserve = Arc::new(Reserve::find(&dir, reserve_bytes));
        let incarnation = next_incarnation(&dir, &reserve)?;
        let state = State { dir, incarnation, reserve, _lock: lock };
        for part in [state.slots_dir(), state.logs_dir(), state.sockets_dir()] {
            let made = state.reserve.writing(|| own_directory(&part));
            made.map_err(|error| StateError::NotWritable { file: part, error })?;
        }
        state.clear_sockets();
        Ok(state)
    }

    /// Their names are short and used again at each start. What cannot be removed stands in the way of one
    /// slot at most.
    fn clear_sockets(&self) {
        for entry in fs::read_dir(self.sockets_dir()).into_iter().flatten().flatten() {
            let path = entry.path();
            let leftover = self.slots_dir().join(trash::name_of_leftover());
            if let Err(error) = fs::remove_file(&path).or_else(|_| fs::rename(&path, leftover)) {
                tracing::warn!(path = %path.display(), %error, "a socket of an earlier start cannot be removed");
            }
        }
    }

    /// The next start is above `known`: peers know that number of this node.
    pub(crate) fn raise(&self, known: u32) -> Result<(), StateError> {
        let file = self.dir.join("incarnation");
        let written = self.reserve.writing(|| write_durably(&self.dir, &file, &known));
        written.map_err(|error| StateError::NotWritable { file, error })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Higher at every start: the seconds since the year 2026 began, or one more than at the last start where
    /// that is higher, as after two starts within a second or with a clock that was set back.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// What the names of this start's directories in [`State::slots_dir`] and [`State::logs_dir`] begin with.
    pub(crate) fn names_begin(&self) -> String {
        format!("{}-", self.incarnation)
    }

    /// Name of the directories of one run, or of what else is in its place. No other start uses it.
    pub(crate) fn name_of(&self, run: impl std::fmt::Display) -> String {
        format!("{}{run}", self.names_begin())
    }

    /// Room on the disk for the agent's own state.
    pub(crate) fn reserve(&self) -> &Arc<Reserve> {
        &self.reserve
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

/// A directory of the agent itself, made when it is missing. A program that shares the agent's user may have
/// taken its permissions away, or put something else there.
fn own_directory(dir: &Path) -> io::Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => {
            let mode = found.permissions().mode();
            if mode & 0o700 != 0o700 {
                fs::set_permissions(dir, Permissions::from_mode(mode | 0o700))?;
            }
            return Ok(());
        }
        Ok(_) => fs::remove_file(dir)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::DirBuilder::new().mode(0o700).create(dir)
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
fn next_incarnation(dir: &Path, reserve: &Reserve) -> Result<u32, StateError> {
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
    let written = reserve.writing(|| write_durably(dir, &file, &next)).or_else(|error| {
        // There was nothing in reserve: a few bytes fit where the last number is.
        if is_full(&error) { write_over(&file, &next) } else { Err(error) }
    });
    written.map_err(|error| StateError::NotWritable { file: file.clone(), error })?;
    Ok(next)
}

/// Needs no room where the file has some already. A crash in the middle may damage it: a disk writes so few
/// bytes as a whole, but nothing promises that.
fn write_over(file: &Path, number: &u32) -> io::Result<()> {
    let open = OpenOptions::new().write(true).open(file)?;
    let line = format!("{number:>10}\n");
    open.write_all_at(line.as_bytes(), 0)?;
    open.set_len(line.len() as u64)?;
    open.sync_all()
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

    fn open(dir: &Path) -> Result<State, StateError> {
        State::open(dir, 4 << 10)
    }

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
    fn every_start_is_higher_and_names_its_slots_anew() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        let number = first.incarnation();
        assert!(matches!(open(dir.path()), Err(StateError::InUse { .. })));
        let name = first.name_of(1);
        drop(first);
        let second = open(dir.path()).unwrap();
        assert!(second.incarnation() > number);
        assert_ne!(second.name_of(1), name);
        assert!(
            second.name_of(1).starts_with(&second.names_begin()) && !name.starts_with(&second.names_begin())
        );
    }

    #[test]
    fn whatever_lies_where_the_slots_were_the_agent_starts() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::remove_dir(at("slots")).unwrap();
        fs::write(at("slots"), "no directory").unwrap();
        fs::set_permissions(at("logs"), Permissions::from_mode(0o000)).unwrap();
        fs::create_dir_all(at("s/1/deep")).unwrap();
        fs::write(at("s/2"), "").unwrap();
        drop(open(dir.path()).unwrap());
        assert!(at("slots").is_dir());
        assert_eq!(fs::metadata(at("logs")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(at("s")).unwrap().count(), 0);
    }

    #[test]
    fn a_number_written_over_another_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("incarnation");
        fs::write(&file, "3999999999\n").unwrap();
        write_over(&file, &4_000_000_000).unwrap();
        assert_eq!(open(dir.path()).unwrap().incarnation(), 4_000_000_001);
        write_over(&file, &4_294_967_294).unwrap();
        assert_eq!(open(dir.path()).unwrap().incarnation(), u32::MAX);
    }

    #[test]
    fn a_damaged_counter_is_refused_and_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["", "x", "-1", "99999999999", "4294967295"] {
            fs::write(dir.path().join("incarnation"), content).unwrap();
            let error = open(dir.path()).unwrap_err();
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
        let error = open(&dir.path().join("file/state")).unwrap_err().to_string();
        assert!(error.contains("file/state"), "{error}");
    }

    #[test]
    fn a_directory_whose_slots_could_have_no_sockets_is_refused_at_the_start() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let of_len = |len: usize| base.join("x".repeat(len - base.as_os_str().len() - 1));
        let max = PATH_MAX_BYTES - SLOT_SOCKET_MAX_BYTES;
        assert!(open(&of_len(max)).is_ok());
        let error = open(&of_len(max + 1)).unwrap_err().to_string();
        assert!(error.contains("at most 84; name a shorter one as `state_dir`"), "{error}");
    }
}
