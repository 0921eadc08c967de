//! Room on the disk that nobody but the agent uses.
//!
//! Programs and others may fill the disk. The agent's own state is small, but without it the agent cannot
//! start again: so a file keeps some room, which is given up when the system has none for the state, and is
//! taken again once there is plenty.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// Room that an agent keeps (our guess: its state is a few MiB at most).
pub(crate) const RESERVE_BYTES: u64 = 16 << 20;
/// The same of an emulated host: hundreds share a disk.
pub(crate) const RESERVE_EMULATED_BYTES: u64 = 256 << 10;
/// The reserve is taken again once so many times its size is free.
const PLENTY: u64 = 4;

/// The reserve in one state directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: PathBuf,
    len: u64,
    is_held: AtomicBool,
    /// Whoever takes or gives up the room, which waits for the disk.
    changing: Mutex<()>,
}

impl Reserve {
    /// Finds the reserve that an earlier start left in `dir`; [`Reserve::retake`] makes one.
    pub(crate) fn find(dir: &Path, len: u64) -> Reserve {
        let file = dir.join("reserve");
        // Blocks of 512 bytes, whatever the file system's are (stat(2)).
        let is_whole = |found: fs::Metadata| found.len() >= len && found.blocks() * 512 >= len;
        let is_held = fs::metadata(&file).is_ok_and(is_whole);
        Reserve { file, len, is_held: AtomicBool::new(is_held), changing: Mutex::new(()) }
    }

    /// Writes state. When there is no room, the reserve is given up and the writing is tried once more.
    pub(crate) fn writing<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if is_full(&error) && self.give_up() => write(),
            written => written,
        }
    }

    /// Whether the disk is full, of which so much is free beside what is kept here. A full one stays so until
    /// there is plenty: what the reserve gave up is not for programs.
    pub(crate) fn is_disk_full(&self, free: u64) -> bool {
        let is_held = self.is_held.load(Ordering::Relaxed);
        let least = if is_held { self.len } else { PLENTY * self.len };
        free < least
    }

    /// Takes the room again if there is plenty. Blocks on the disk.
    pub(crate) fn retake(&self) {
        let _changing = self.changing();
        if self.is_held.load(Ordering::Relaxed) {
            return;
        }
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let has_plenty = |found: nix::sys::statvfs::Statvfs| {
            found.blocks_available().saturating_mul(found.fragment_size()) / PLENTY >= self.len
        };
        if !statvfs(dir).is_ok_and(has_plenty) {
            return;
        }
        match self.allocate() {
            Ok(()) => self.is_held.store(true, Ordering::Relaxed),
            Err(error) => {
                let _ = fs::remove_file(&self.file);
                tracing::debug!(%error, "no room is kept for the agent's state");
            }
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file = File::options().create(true).truncate(false).write(true).open(&self.file)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.len as i64) {
            Ok(()) => {}
            // Not all file systems promise room; all keep what is written.
            Err(Errno::EOPNOTSUPP) => {
                io::copy(&mut io::Read::take(io::repeat(0), self.len), &mut file)?;
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }

    /// True when there was something to give up.
    pub(crate) fn give_up(&self) -> bool {
        let _changing = self.changing();
        let was_held = self.is_held.swap(false, Ordering::Relaxed);
        if was_held {
            tracing::warn!(
                "the disk is full: the agent writes its state into the room that it kept for that"
            );
            // Even a file that is not whole holds some room.
        }
        fs::remove_file(&self.file).is_ok()
    }
}

/// The disk, or what this user may use of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_costs_the_reserve_and_not_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::find(dir.path(), 64 << 10);
        assert!(reserve.is_disk_full(200 << 10));
        reserve.retake();
        assert!(!reserve.is_disk_full(200 << 10));
        assert!(reserve.is_disk_full(60 << 10), "less is left than the agent wants for itself");
        assert!(!Reserve::find(dir.path(), 64 << 10).is_disk_full(200 << 10), "the next start finds it");
        let file = dir.path().join("reserve");
        let mut tries = 0;
        let written = reserve.writing(|| {
            tries += 1;
            // As long as the reserve is there, the rest of the disk is full.
            if file.exists() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(7) }
        });
        assert_eq!((written.unwrap(), tries), (7, 2));
        assert!(reserve.is_disk_full(200 << 10));
        reserve.retake();
        assert!(!reserve.is_disk_full(200 << 10) && file.exists());
    }

    #[test]
    fn other_trouble_and_a_disk_that_stays_full_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::find(dir.path(), 4 << 10);
        let mut tries = 0;
        let mut fail = |kind: io::ErrorKind| {
            let failed = reserve.writing(|| -> io::Result<()> {
                tries += 1;
                Err(kind.into())
            });
            (failed.unwrap_err().kind(), std::mem::take(&mut tries))
        };
        assert_eq!(fail(io::ErrorKind::PermissionDenied), (io::ErrorKind::PermissionDenied, 1));
        assert_eq!(
            fail(io::ErrorKind::StorageFull),
            (io::ErrorKind::StorageFull, 1),
            "there was nothing to give"
        );
        reserve.retake();
        assert_eq!(fail(io::ErrorKind::StorageFull), (io::ErrorKind::StorageFull, 2));
    }
}
