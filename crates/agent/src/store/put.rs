//! Content from this machine: in from a file, out to a slot's directory.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bao_tree::blake3;
use bao_tree::io::sync::outboard_post_order;
use thiserror::Error;
use xtreem_base::Digest;

use super::files::{Temporary, blob_path};
use super::pieces::{BLOB_MAX_BYTES, geometry, root};
use super::room::{NoRoom, Room};
use super::{Shared, Store};

/// Content was not stored; the store is as before.
#[derive(Debug, Error)]
pub enum PutError {
    #[error("the store is full: {free_bytes} bytes are free and {wanted_bytes} or more are needed")]
    Full { wanted_bytes: u64, free_bytes: u64 },
    #[error("the file is longer than the {BLOB_MAX_BYTES} bytes that are allowed")]
    TooBig,
    #[error("the file cannot be read: {0}")]
    Source(io::Error),
    #[error("the store's disk refused: {0}")]
    Disk(io::Error),
}

impl From<NoRoom> for PutError {
    fn from(no_room: NoRoom) -> Self {
        PutError::Full { wanted_bytes: no_room.wanted_bytes, free_bytes: no_room.free_bytes }
    }
}

/// Content was not placed; there is no file at the target that was not there before.
#[derive(Debug, Error)]
pub enum PlaceError {
    #[error("content {0} is not in the store")]
    Unknown(Digest),
    #[error("content {0} was damaged on this disk; it was removed and must be fetched again")]
    Damaged(Digest),
    #[error("the file cannot be written: {0}")]
    Disk(#[from] io::Error),
}

/// What a placed file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Data,
    Program,
}

/// Whole content, open for reading.
#[derive(Debug)]
pub struct Blob {
    pub file: File,
    pub len: u64,
}

impl Store {
    /// Takes a copy of the file.
    pub fn put_file(&self, path: &Path) -> Result<Digest, PutError> {
        self.put_reader(File::open(path).map_err(PutError::Source)?)
    }

    /// Takes all that `source` yields.
    pub fn put_reader(&self, mut source: impl Read) -> Result<Digest, PutError> {
        let temporary = Temporary::create(&self.shared, None).map_err(PutError::Disk)?;
        let mut room = Room::empty(&self.shared);
        let mut buffer = vec![0; 64 << 10];
        let mut len = 0;
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PutError::Source(error)),
            };
            len += read as u64;
            if len > BLOB_MAX_BYTES {
                return Err(PutError::TooBig);
            }
            self.grow(&mut room, read as u64)?;
            (&temporary.data).write_all(&buffer[..read]).map_err(PutError::Disk)?;
        }
        let tree = geometry(len);
        self.grow(&mut room, tree.outboard_size())?;
        let hash_pairs = || {
            (&temporary.data).rewind()?;
            let mut out = BufWriter::new(&temporary.tree);
            let hash = outboard_post_order(&temporary.data, tree, &mut out)?;
            out.flush()?;
            io::Result::Ok(hash)
        };
        let digest = Digest::from_bytes(*hash_pairs().map_err(PutError::Disk)?.as_bytes());
        self.shared.keep(digest, len, &temporary, &mut room).map_err(PutError::Disk)?;
        Ok(digest)
    }

    /// `None` when the content is not here as a whole.
    pub fn open_blob(&self, digest: Digest) -> io::Result<Option<Blob>> {
        let Some(len) = self.shared.index().blobs.get(&digest).copied() else { return Ok(None) };
        Ok(Some(Blob { file: File::open(blob_path(&self.shared.dir, digest))?, len }))
    }

    /// Puts a copy of the content at `target`, which must not exist yet, and verifies every byte on the way.
    ///
    /// A copy, not a link: the program owns its file and could write through a link into the store.
    /// `tell` is called again and again while it goes on.
    pub fn place(
        &self,
        digest: Digest,
        target: &Path,
        kind: FileKind,
        tell: &dyn Fn(),
    ) -> Result<(), PlaceError> {
        let mut blob = self.open_blob(digest)?.ok_or(PlaceError::Unknown(digest))?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(target)?;
        let copied = copy_hashed(&mut blob.file, &mut file, tell).and_then(|hash| {
            let mode = if kind == FileKind::Program { 0o755 } else { 0o644 };
            file.set_permissions(Permissions::from_mode(mode)).map(|()| hash)
        });
        match copied {
            Ok(hash) if hash == root(digest) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                let _ = fs::remove_file(target);
                return Err(error.into());
            }
        }
        let _ = fs::remove_file(target);
        self.remove(digest)?;
        Err(PlaceError::Damaged(digest))
    }
}

impl Shared {
    /// Makes content final whose digest and length are proved; what is here already stays.
    pub(super) fn keep(&self, digest: Digest, len: u64, from: &Temporary, room: &mut Room) -> io::Result<()> {
        if self.index().blobs.contains_key(&digest) {
            return Ok(());
        }
        from.keep(&self.dir, digest)?;
        // Two threads may have brought the same content: the files are the same, the second's room goes back.
        if self.index().blobs.insert(digest, len).is_none() {
            room.keep();
        }
        Ok(())
    }
}

fn copy_hashed(from: &mut File, to: &mut File, tell: &dyn Fn()) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            len => {
                hasher.update(&buffer[..len]);
                to.write_all(&buffer[..len])?;
                tell();
            }
        }
    }
}
