//! Leftovers of slots go here, and are removed by a thread of their own.
//!
//! What a program leaves has any size and shape, so its removal takes any time: nobody waits for it. The
//! *pit* is the directory of the slots itself: what is to go is renamed in it, which costs the same whatever
//! it holds, needs no room on the disk, and never leaves the file system. What other starts of the agent left
//! is found there by its names, which no later start uses again. What cannot be removed (immutable files,
//! files of another owner, mount points) is renamed once more, reported, and tried again at the next start.

mod removal;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tokio::sync::watch;
use xtreem_client::api::LeftBehind;

use crate::agent::random_u64;
use crate::lifecycle::State;
use crate::reserve::Reserve;
use removal::{GONE, Pit, STUCK, Stuck};

/// Leftovers that wait to be looked at; of more, the caller itself changes the name.
const WAITING_MAX: usize = 1_024;
/// Leftovers that cannot be removed and are told one by one.
const SHOWN_MAX: usize = 8;
/// Between two looks at the disk when nothing is to be removed: the reserve may be taken again.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The look at what earlier starts left counts as one leftover.
const SWEEP: u64 = 1;

/// Where leftovers go. Clones share it; the thread ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Trash {
    waiting: SyncSender<PathBuf>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pit: PathBuf,
    left: Mutex<LeftBehind>,
    /// Leftovers that are not removed yet.
    pending: watch::Sender<u64>,
}

/// Called before every single removal.
type Step = Box<dyn FnMut(&CStr) -> Result<(), Errno> + Send>;

/// What the thread has.
struct Collector {
    shared: Arc<Shared>,
    /// Names in the pit that begin so belong to this start of the agent.
    ours: String,
    /// Has names of the same kind.
    logs: PathBuf,
    reserve: Arc<Reserve>,
    step: Step,
}

/// A name in the directory of the slots under which nothing stays.
pub(crate) fn name_of_leftover() -> String {
    format!("{GONE}{:016x}", random_u64())
}

impl Trash {
    /// Removes, from now on, what other starts of the agent left in the directories of slots and logs, and
    /// what is discarded.
    pub(crate) fn start(state: &State) -> io::Result<Trash> {
        Self::start_with(state, Box::new(|_| Ok(())))
    }

    fn start_with(state: &State, step: Step) -> io::Result<Trash> {
        let pending = watch::Sender::new(SWEEP);
        let shared = Arc::new(Shared { pit: state.slots_dir(), left: Mutex::default(), pending });
        let (waiting, arriving) = sync_channel(WAITING_MAX);
        let collector = Collector {
            shared: shared.clone(),
            ours: state.names_begin(),
            logs: state.logs_dir(),
            reserve: state.reserve().clone(),
            step,
        };
        thread::Builder::new().name("trash".to_owned()).spawn(move || collector.run(&arriving))?;
        Ok(Trash { waiting, shared })
    }

    /// Removes the file or directory in a while. Its name must not be used again.
    pub(crate) fn discard(&self, path: PathBuf) {
        self.shared.pending.send_modify(|pending| *pending += 1);
        match self.waiting.try_send(path) {
            Ok(()) => {}
            Err(TrySendError::Full(path) | TrySendError::Disconnected(path)) => {
                // Under such a name it is found in the pit. What cannot be renamed goes at the next start.
                let _ = fs::rename(path, self.shared.pit.join(name_of_leftover()));
                self.shared.pending.send_modify(|pending| *pending -= 1);
            }
        }
    }

    /// Returns when all leftovers are removed, or set aside.
    pub(crate) async fn emptied(&self) {
        let mut pending = self.shared.pending.subscribe();
        // The sender is in `self`.
        let _ = pending.wait_for(|pending| *pending == 0).await;
    }

    pub(crate) fn left_behind(&self) -> LeftBehind {
        self.shared.left().clone()
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the count half-changed.
    fn left(&self) -> MutexGuard<'_, LeftBehind> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector {
    fn run(mut self, arriving: &Receiver<PathBuf>) {
        self.reserve.retake();
        let mut pit = self.open_pit();
        if let Some(pit) = &mut pit {
            self.sweep(pit);
        }
        self.done(SWEEP);
        loop {
            let next = match arriving.recv_timeout(LOOK_EVERY) {
                Ok(path) => Some(path),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if pit.is_none() {
                pit = self.open_pit();
            }
            let paths: Vec<PathBuf> = next.into_iter().chain(arriving.try_iter().take(WAITING_MAX)).collect();
            if let Some(pit) = &mut pit {
                paths.iter().for_each(|path| self.take(pit, path));
                self.empty(pit);
            }
            self.done(paths.len() as u64);
            self.reserve.retake();
        }
    }

    fn done(&self, count: u64) {
        self.shared.pending.send_modify(|pending| *pending -= count);
    }

    fn open_pit(&self) -> Option<Pit> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(&self.shared.pit, flags, Mode::empty()) {
            Ok(dir) => Some(Pit::new(dir, random_u64())),
            Err(error) => {
                tracing::warn!(dir = %self.shared.pit.display(), %error, "leftovers of slots stay for now");
                None
            }
        }
    }

    /// Gives every leftover of earlier starts a name under which it goes, and removes it.
    fn sweep(&mut self, pit: &mut Pit) {
        let ours = self.ours.clone();
        let is_leftover =
            |name: &[u8]| !name.starts_with(ours.as_bytes()) && !name.starts_with(GONE.as_bytes());
        let names = pit.names(is_leftover).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        for name in names {
            let old = self.shared.pit.join(OsStr::from_bytes(name.to_bytes()));
            self.take(pit, &old);
        }
        self.empty(pit);
        for entry in fs::read_dir(&self.logs).into_iter().flatten().flatten() {
            if is_leftover(entry.file_name().as_bytes()) {
                self.take(pit, &entry.path());
            }
        }
        self.empty(pit);
    }

    /// Brings one leftover into the pit.
    fn take(&mut self, pit: &mut Pit, path: &Path) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let moved = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL).and_then(|name| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let parent = open(parent, flags, Mode::empty())?;
            pit.take(parent.as_fd(), &name, GONE)
        });
        match moved {
            Ok(_) | Err(Errno::ENOENT) => {}
            // Only directories of the agent itself can lie on another file system: no program was in there.
            Err(Errno::EXDEV) => {
                let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
            }
            Err(error) => self.report(path, name.as_bytes(), error),
        }
    }

    /// Removes all that is to go, and what comes up from below on the way.
    fn empty(&mut self, pit: &mut Pit) {
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            let Ok(names) = pit.names(|name| name.starts_with(GONE.as_bytes())) else { return };
            for name in names {
                match pit.remove(&name, &mut *self.step) {
                    Ok(()) => has_moved = true,
                    Err(stuck) => has_moved |= self.set_aside(pit, &name, &stuck),
                }
            }
        }
    }

    /// What cannot be removed gets another name, so that it is not tried again and again. False when it
    /// cannot even be renamed.
    fn set_aside(&mut self, pit: &mut Pit, name: &CStr, stuck: &Stuck) -> bool {
        let dir = pit.dir().try_clone_to_owned().ok();
        let aside = dir.and_then(|dir| pit.take(dir.as_fd(), name, STUCK).ok());
        let is_aside = aside.is_some();
        let at = aside.unwrap_or_else(|| name.to_owned());
        let path = self.shared.pit.join(OsStr::from_bytes(at.to_bytes()));
        self.report(&path, stuck.name.to_bytes(), stuck.why);
        is_aside
    }

    fn report(&self, path: &Path, name: &[u8], why: Errno) {
        let name = String::from_utf8_lossy(name);
        tracing::warn!(path = %path.display(), %name, %why, "a slot's leftover cannot be removed; it stays");
        let mut left = self.shared.left();
        left.count += 1;
        if left.some.len() < SHOWN_MAX {
            left.some.push(format!("{} ({name:?}: {})", path.display(), why.desc()));
        }
    }
}
