//! Where the store's files are, and how a temporary one becomes final.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use xtreem_base::Digest;

use super::Shared;
use super::pieces::{BLOB_MAX_BYTES, geometry};

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
    /// `of` a content that is fetched: another opening can go on with it.
    pub fn create(shared: &Arc<Shared>, of: Option<Digest>) -> io::Result<Temporary> {
        let number = {
            let mut index = shared.index();
            index.temporaries += 1;
            index.temporaries
        };
        let name = of.map_or_else(|| number.to_string(), |digest| format!("{digest}.{number}"));
        let path = |part: &str| shared.dir.join(TEMPORARY).join(format!("{name}.{part}"));
        let create = |path: &Path| File::options().read(true).write(true).create_new(true).open(path);
        let (data_path, tree_path) = (path("data"), path("tree"));
        let (data, tree) = (create(&data_path)?, create(&tree_path)?);
        let (is_kept, shared) = (AtomicBool::new(false), shared.clone());
        Ok(Temporary { data, tree, data_path, tree_path, is_kept, shared })
    }

    /// Opens what an earlier opening of the store left.
    pub fn take_up(shared: &Arc<Shared>, half: &Half) -> io::Result<Temporary> {
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        let [data_path, tree_path] = half.paths(&shared.dir);
        let (data, tree) = (open(&data_path)?, open(&tree_path)?);
        let (is_kept, shared) = (AtomicBool::new(false), shared.clone());
        Ok(Temporary { data, tree, data_path, tree_path, is_kept, shared })
    }

    /// The files stay where they are, for the next opening.
    pub fn leave(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
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

/// A fetch that an earlier opening left half-done.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Half {
    modified: SystemTime,
    pub digest: Digest,
    /// As it was claimed.
    pub len: u64,
    number: u64,
}

impl Half {
    /// What the name of a data file says.
    fn named(name: &str) -> Option<(Digest, u64)> {
        let (digest, number) = name.strip_suffix(".data")?.split_once('.')?;
        Some((digest.parse().ok()?, number.parse().ok()?))
    }

    fn paths(&self, dir: &Path) -> [PathBuf; 2] {
        let Half { digest, number, .. } = self;
        ["data", "tree"].map(|part| dir.join(TEMPORARY).join(format!("{digest}.{number}.{part}")))
    }

    /// Nothing when its files are not those of a fetch.
    fn read(dir: &Path, digest: Digest, number: u64) -> Option<Half> {
        let mut half = Half { modified: SystemTime::UNIX_EPOCH, digest, len: 0, number };
        let [data, tree] = half.paths(dir).map(|path| fs::metadata(path).ok());
        let (data, tree) = (data?, tree?);
        (half.len, half.modified) = (data.len(), data.modified().ok()?);
        let is_one = half.len <= BLOB_MAX_BYTES && tree.len() == geometry(half.len).outboard_size();
        is_one.then_some(half)
    }

    pub fn remove(&self, dir: &Path) {
        self.paths(dir).iter().for_each(|path| remove(path));
    }
}

/// What an opening finds.
#[derive(Debug)]
pub(super) struct Recovered {
    pub blobs: BTreeMap<Digest, u64>,
    /// The newest of each content, at most [`HALVES_MAX`], the oldest first.
    pub halves: Vec<Half>,
    pub temporaries: u64,
}

/// Half-done fetches that are taken up; of more the newest.
const HALVES_MAX: usize = super::idle::COUNT_MAX;

/// Looks through what is in `tmp/`, and removes all but half-done fetches.
fn halves(dir: &Path) -> io::Result<(Vec<Half>, u64)> {
    let (mut found, mut temporaries) = (Vec::new(), 0);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.join(TEMPORARY))? {
        names.push(entry?.file_name());
    }
    for name in &names {
        let named = name.to_str().and_then(Half::named);
        if let Some((digest, number)) = named {
            temporaries = number.max(temporaries);
            found.extend(Half::read(dir, digest, number));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let mut newest: BTreeSet<Digest> = BTreeSet::new();
    found.retain(|half| newest.len() < HALVES_MAX && newest.insert(half.digest));
    found.reverse();
    let kept: BTreeSet<PathBuf> = found.iter().flat_map(|half| half.paths(dir)).collect();
    let all = names.iter().map(|name| dir.join(TEMPORARY).join(name));
    all.filter(|path| !kept.contains(path)).for_each(|path| remove(&path));
    Ok((found, temporaries))
}

/// Sweeps what a crash left, lists the whole blobs, and what was half-done.
pub(super) fn recover(dir: &Path) -> io::Result<Recovered> {
    let (halves, temporaries) = halves(dir)?;
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
    Ok(Recovered { blobs, halves, temporaries })
}

/// What cannot be removed is in nobody's way: its name is no other's, but its room on the disk is gone.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a leftover in the store cannot be removed; it stays");
    }
}
