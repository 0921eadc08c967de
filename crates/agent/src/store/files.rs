//! Where the store's files are, and how a temporary one becomes final.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xtreem_base::Digest;

use super::Shared;
use super::pieces::geometry;

pub(super) const BLOBS: &str = "blobs";
pub(super) const TREES: &str = "trees";
pub(super) const TEMPORARY: &str = "tmp";

pub(super) fn blob_path(dir: &Path, digest: Digest) -> PathBuf {
    dir.join(BLOBS).join(digest.to_string())
}

pub(super) fn tree_path(dir: &Path, digest: Digest) -> PathBuf {
    dir.join(TREES).join(digest.to_string())
}

/// Takes the content away and tells where its files are now. `number` is that of no other temporary file.
pub(super) fn doom_blob(dir: &Path, digest: Digest, number: u64) -> io::Result<Vec<PathBuf>> {
    let mut doomed = Vec::new();
    // The blob first: a tree without blob is swept at the next opening, a blob without tree would be lost
    // work.
    for (path, part) in [(blob_path(dir, digest), "data"), (tree_path(dir, digest), "tree")] {
        let away = dir.join(TEMPORARY).join(format!("{number}.{part}"));
        match fs::rename(path, &away) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
            Ok(()) => doomed.push(away),
        }
    }
    Ok(doomed)
}

/// Content on its way in: data and tree under temporary names, removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    pub data: File,
    pub tree: File,
    data_path: PathBuf,
    tree_path: PathBuf,
    is_kept: AtomicBool,
    shared: Arc<Shared>,
}

impl Temporary {
    pub fn create(shared: &Arc<Shared>) -> io::Result<Temporary> {
        let number = {
            let mut index = shared.index();
            index.temporaries += 1;
            index.temporaries
        };
        let path = |part: &str| shared.dir.join(TEMPORARY).join(format!("{number}.{part}"));
        let create = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let (data_path, tree_path) = (path("data"), path("tree"));
        let (data, tree) = (create(&data_path)?, create(&tree_path)?);
        let (is_kept, shared) = (AtomicBool::new(false), shared.clone());
        Ok(Temporary { data, tree, data_path, tree_path, is_kept, shared })
    }

    /// Makes the content final. The tree goes first, so that a blob is never without its tree.
    pub fn keep(&self, dir: &Path, digest: Digest) -> io::Result<()> {
        self.tree.sync_all()?;
        self.data.sync_all()?;
        fs::rename(&self.tree_path, tree_path(dir, digest))?;
        fs::rename(&self.data_path, blob_path(dir, digest))?;
        for part in [TREES, BLOBS] {
            File::open(dir.join(part))?.sync_all()?;
        }
        self.is_kept.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed) {
            self.shared.discard(std::mem::take(&mut self.data_path));
            self.shared.discard(std::mem::take(&mut self.tree_path));
        }
    }
}

/// Sweeps what a crash left and lists the whole blobs.
pub(super) fn recover(dir: &Path) -> io::Result<BTreeMap<Digest, u64>> {
    for entry in fs::read_dir(dir.join(TEMPORARY))? {
        remove(&entry?.path());
    }
    let digest_of = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
    let mut blobs = BTreeMap::new();
    for entry in fs::read_dir(dir.join(BLOBS))? {
        let entry = entry?;
        let Some(digest) = digest_of(&entry) else { continue };
        let len = entry.metadata()?.len();
        let tree_len = fs::metadata(tree_path(dir, digest)).map(|tree| tree.len());
        if tree_len.is_ok_and(|tree_len| tree_len == geometry(len).outboard_size()) {
            blobs.insert(digest, len);
        } else {
            remove(&entry.path());
        }
    }
    for entry in fs::read_dir(dir.join(TREES))? {
        let entry = entry?;
        if digest_of(&entry).is_some_and(|digest: Digest| !blobs.contains_key(&digest)) {
            remove(&entry.path());
        }
    }
    Ok(blobs)
}

/// What cannot be removed is in nobody's way: its name is no other's, but its room on the disk is gone.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a leftover in the store cannot be removed; it stays");
    }
}
