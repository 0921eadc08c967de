//! Where the store's files are, and how a temporary one becomes final.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

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

pub(super) fn remove_blob(dir: &Path, digest: Digest) -> io::Result<()> {
    // The blob first: a tree without blob is swept at the next opening, a blob without tree would be lost
    // work.
    for path in [blob_path(dir, digest), tree_path(dir, digest)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Content on its way in: data and tree under temporary names, removed when dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    pub data: File,
    pub tree: File,
    data_path: PathBuf,
    tree_path: PathBuf,
}

impl Temporary {
    pub fn create(shared: &Shared) -> io::Result<Temporary> {
        let number = {
            let mut index = shared.index();
            index.temporaries += 1;
            index.temporaries
        };
        let path = |part: &str| shared.dir.join(TEMPORARY).join(format!("{number}.{part}"));
        let create = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let (data_path, tree_path) = (path("data"), path("tree"));
        Ok(Temporary { data: create(&data_path)?, tree: create(&tree_path)?, data_path, tree_path })
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
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After `keep` there is nothing of that name; what cannot be removed goes at the next opening.
        let _ = fs::remove_file(&self.data_path);
        let _ = fs::remove_file(&self.tree_path);
    }
}

/// Sweeps what a crash left and lists the whole blobs.
pub(super) fn recover(dir: &Path) -> io::Result<BTreeMap<Digest, u64>> {
    for entry in fs::read_dir(dir.join(TEMPORARY))? {
        fs::remove_file(entry?.path())?;
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
            fs::remove_file(entry.path())?;
        }
    }
    for entry in fs::read_dir(dir.join(TREES))? {
        let entry = entry?;
        if digest_of(&entry).is_some_and(|digest: Digest| !blobs.contains_key(&digest)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(blobs)
}
