//! Content-addressed store of the files that programs consist of.
//!
//! `blobs/DIGEST` holds content, `trees/DIGEST` its BLAKE3 hash pairs down to groups of 16 KiB, so that any
//! piece can be proved to a node that has none yet (bao,
//! <https://github.com/oconnor663/bao/blob/master/docs/spec.md>). Content arrives under `tmp/`, is synced and
//! then renamed: what is in `blobs/` is whole, also after a crash. Of what an end leaves in `tmp/` the next
//! opening takes up half-done fetches, and removes the rest; which of their pieces are right is seen when
//! somebody goes on with them, and what nobody asks for goes as any fetch does that nobody goes on with.
//!
//! All calls block on the disk: call them from a thread that may wait. No transport in here: [`Store::piece`]
//! makes the bytes that [`Claim::accept`] of another node's [`Fetch`] checks and keeps.
#![forbid(unsafe_code)]

mod fetch;
mod files;
mod idle;
mod pieces;
mod put;
mod room;
mod serve;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use thiserror::Error;
use xtreem_base::Digest;

pub(crate) use fetch::verify as verify_piece;
pub use fetch::{AcceptError, Claim, Fetch, FetchError, Progress};
pub use idle::IDLE_MAX;
pub use pieces::{BLOB_MAX_BYTES, ENCODED_MAX_BYTES, PIECE_BYTES, Pieces, piece_count};
pub use put::{Blob, FileKind, PlaceError, PutError};
pub use serve::{Offer, ServeError};

use crate::trash::Trash;
use fetch::Underway;
use files::Recovered;
use idle::Idle;
use pieces::footprint;

/// Bytes on disk, fetches included, unless the configuration says otherwise. Our guess: some hundred
/// programs.
pub const TOTAL_MAX_BYTES: u64 = 16 << 30;

/// The store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the store {dir} is in use by another agent: give this one its own directory")]
    InUse { dir: PathBuf },
    #[error("the store {dir} cannot be opened: {error}")]
    Disk { dir: PathBuf, error: io::Error },
}

/// A store; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    idle: Arc<Idle>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    total_max_bytes: u64,
    index: Mutex<Index>,
    /// Takes what is no longer wanted: the removal of many GiB takes its time.
    trash: OnceLock<Trash>,
    /// Held for the store's life: opening removes temporary files, which must not be a living agent's.
    _lock: File,
}

#[derive(Debug, Default)]
struct Index {
    /// Length of every whole blob.
    blobs: BTreeMap<Digest, u64>,
    fetches: BTreeMap<Digest, Weak<Underway>>,
    /// Bytes on disk or promised to a put or fetch.
    used_bytes: u64,
    /// The highest number of a temporary file, of earlier openings too.
    temporaries: u64,
}

impl Store {
    /// Opens the store in `dir`, which is made when missing. More than `total_max_bytes` are never stored:
    /// whoever wants to add is refused until something is removed.
    pub fn open(dir: &Path, total_max_bytes: u64) -> Result<Store, OpenError> {
        let failed = |error| OpenError::Disk { dir: dir.to_owned(), error };
        for part in [files::BLOBS, files::TREES, files::TEMPORARY] {
            fs::create_dir_all(dir.join(part)).map_err(failed)?;
        }
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let Recovered { blobs, halves, temporaries } = files::recover(dir).map_err(failed)?;
        let used_bytes = blobs.values().map(|&len| footprint(len)).sum();
        let index = Mutex::new(Index { blobs, used_bytes, temporaries, ..Index::default() });
        let (dir, trash) = (dir.to_owned(), OnceLock::new());
        let shared = Arc::new(Shared { dir, total_max_bytes, index, trash, _lock: lock });
        let store = Store { shared, idle: Arc::default() };
        halves.into_iter().for_each(|half| store.take_up(half));
        Ok(store)
    }

    /// From now on what is no longer wanted goes there; without it whoever gives it up waits for its removal.
    pub(crate) fn discard_into(&self, trash: Trash) {
        let _ = self.shared.trash.set(trash);
    }

    /// Whether the content is here as a whole.
    pub fn has(&self, digest: Digest) -> bool {
        self.shared.index().blobs.contains_key(&digest)
    }

    /// Whole contents with their lengths in bytes.
    pub fn blobs(&self) -> Vec<(Digest, u64)> {
        self.shared.index().blobs.iter().map(|(&digest, &len)| (digest, len)).collect()
    }

    /// Bytes on disk, or promised to contents that are coming in.
    pub fn used_bytes(&self) -> u64 {
        self.shared.index().used_bytes
    }

    /// Gives up what came of fetches that nobody has gone on with for `age`.
    pub fn give_up_idle(&self, age: Duration) {
        self.idle.give_up_older(age);
    }

    /// Removes the content; files that are open stay readable. False when it was not here.
    pub fn remove(&self, digest: Digest) -> io::Result<bool> {
        let mut index = self.shared.index();
        let Some(len) = index.blobs.remove(&digest) else { return Ok(false) };
        index.used_bytes -= footprint(len);
        index.temporaries += 1;
        // Renamed while nobody can bring the content anew, and removed when everybody can.
        let doomed = files::doom_blob(&self.shared.dir, digest, index.temporaries)?;
        drop(index);
        doomed.into_iter().for_each(|path| self.shared.discard(path));
        Ok(true)
    }
}

impl Shared {
    fn discard(&self, path: PathBuf) {
        match self.trash.get() {
            Some(trash) => trash.discard(path),
            // What cannot be removed goes at the next opening.
            None => drop(fs::remove_file(path)),
        }
    }

    /// A panic elsewhere cannot leave the index half-changed: changes are single assignments.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
