//! Content on its way from other nodes, piece by piece, from whoever has one.
//!
//! Every piece carries the hash pairs that tie it to the digest, so it does not matter who sent it. The
//! length is only a claim until the last piece is here, which proves it (bao specification, "decoder"): so
//! that piece is asked for first and alone, and a lie about the length costs one piece, not the whole
//! transfer.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bao_tree::io::outboard::PostOrderOutboard;
use bao_tree::io::sync::{DecodeResponseIter, OutboardMut};
use bao_tree::io::{BaoContentItem, DecodeError, EncodeError};
use thiserror::Error;
use xtreem_base::Digest;

use super::files::{Half, Temporary};
use super::pieces::{
    BLOB_MAX_BYTES, ENCODED_MAX_BYTES, Pieces, chunks, footprint, geometry, piece_count, root,
};
use super::room::Room;
use super::serve::encode;
use super::{Shared, Store};

/// Longest time to look for right pieces in what an earlier opening left: what is not looked at by then is
/// fetched again. Our guess: 10 GiB on a good disk, and well within the time that a start may take to come
/// nearer.
const RESUME_MAX: Duration = Duration::from_secs(20);

/// A fetch was not begun; the store is as before.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("content {0} is here already")]
    Present(Digest),
    #[error("content {digest} is being fetched with length {len}, not the one given")]
    OtherLength { digest: Digest, len: u64 },
    #[error("the content would be longer than the {BLOB_MAX_BYTES} bytes that are allowed")]
    TooBig,
    #[error("the store is full: {free_bytes} bytes are free and {wanted_bytes} are needed")]
    Full { wanted_bytes: u64, free_bytes: u64 },
    #[error("the store's disk refused: {0}")]
    Disk(#[from] io::Error),
}

/// A piece was not accepted: nothing of it was stored, and it is wanted again.
#[derive(Debug, Error)]
pub enum AcceptError {
    #[error("piece {0} ends too early")]
    Truncated(u32),
    #[error("piece {0} is longer than it can be")]
    TooLong(u32),
    #[error("piece {0} does not belong to the content, or the content has another length than was claimed")]
    Wrong(u32),
    #[error("the store's disk refused: {0}")]
    Disk(#[from] io::Error),
}

/// Where a fetch stands after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More pieces are wanted.
    Incomplete,
    /// The content is in the store.
    Complete,
}

/// Content being fetched; clones share it. When the last one is dropped before the end, what came is kept for
/// a while: the next fetch of the content goes on from there.
#[derive(Clone, Debug)]
pub struct Fetch {
    underway: Arc<Underway>,
    _in_use: Arc<InUse>,
}

/// Somebody fetches.
#[derive(Debug)]
struct InUse {
    underway: Arc<Underway>,
    store: Store,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let state = self.underway.state();
        // Without a piece there is nothing to keep, and not even the length is proved.
        let is_worth_keeping = !state.is_complete && !state.here.is_empty();
        drop(state);
        if is_worth_keeping {
            self.store.idle.keep(self.underway.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct Underway {
    shared: Arc<Shared>,
    digest: Digest,
    len: u64,
    files: Temporary,
    state: Mutex<State>,
    /// Set once it is known which pieces are here, also of those that an earlier opening left.
    resumed: OnceLock<()>,
}

#[derive(Debug)]
struct State {
    here: Pieces,
    claimed: Pieces,
    room: Room,
    is_complete: bool,
}

/// The right and duty to bring one piece. Dropped without a piece, it is wanted again.
#[derive(Debug)]
pub struct Claim {
    underway: Arc<Underway>,
    index: u32,
}

impl Store {
    /// Begins to fetch content, or joins the fetch under way. `len` comes from whoever named the digest; a
    /// false one is found out with the first piece.
    pub fn fetch(&self, digest: Digest, len: u64) -> Result<Fetch, FetchError> {
        if len > BLOB_MAX_BYTES {
            return Err(FetchError::TooBig);
        }
        if self.has(digest) {
            return Err(FetchError::Present(digest));
        }
        if let Some(underway) = self.underway(digest) {
            if underway.resume()? {
                self.idle.take(&underway);
                return Err(FetchError::Present(digest));
            }
            // What an earlier opening left without a right piece proves nothing, not even the length.
            let is_hollow = underway.len != len && underway.pieces().is_empty();
            if !(is_hollow && self.idle.take(&underway)) {
                return self.join(underway, len);
            }
        }
        let mut room = Room::empty(&self.shared);
        self.grow(&mut room, footprint(len)).map_err(|no_room| FetchError::Full {
            wanted_bytes: no_room.wanted_bytes,
            free_bytes: no_room.free_bytes,
        })?;
        let files = Temporary::create(&self.shared, Some(digest))?;
        files.data.set_len(len)?;
        files.tree.set_len(geometry(len).outboard_size())?;
        let none = Pieces::none(piece_count(len));
        let state = State { here: none.clone(), claimed: none, room, is_complete: false };
        let (shared, state, resumed) = (self.shared.clone(), Mutex::new(state), OnceLock::from(()));
        let ours = Underway { shared, digest, len, files, state, resumed };
        let underway = self.shared.register(Arc::new(ours));
        self.join(underway, len)
    }

    /// What an earlier opening left waits for somebody who goes on with it. Where it cannot, it is removed.
    pub(super) fn take_up(&self, half: Half) {
        let Half { digest, len, .. } = half;
        let mut room = Room::empty(&self.shared);
        if self.has(digest) || self.grow(&mut room, footprint(len)).is_err() {
            return half.remove(&self.shared.dir);
        }
        let Ok(files) = Temporary::take_up(&self.shared, &half) else {
            return half.remove(&self.shared.dir);
        };
        let none = Pieces::none(piece_count(len));
        let state = State { here: none.clone(), claimed: none, room, is_complete: false };
        let (shared, state, resumed) = (self.shared.clone(), Mutex::new(state), OnceLock::new());
        let ours = Underway { shared, digest, len, files, state, resumed };
        self.idle.keep(self.shared.register(Arc::new(ours)));
    }

    fn join(&self, underway: Arc<Underway>, len: u64) -> Result<Fetch, FetchError> {
        if underway.len != len {
            return Err(FetchError::OtherLength { digest: underway.digest, len: underway.len });
        }
        self.idle.take(&underway);
        let in_use = InUse { underway: underway.clone(), store: self.clone() };
        Ok(Fetch { underway, _in_use: Arc::new(in_use) })
    }
}

impl Shared {
    /// The fetch of this digest from now on: `ours`, unless another thread was faster.
    fn register(&self, ours: Arc<Underway>) -> Arc<Underway> {
        let mut index = self.index();
        match index.fetches.get(&ours.digest).and_then(std::sync::Weak::upgrade) {
            Some(theirs) => {
                // Dropping ours takes the index's lock.
                drop(index);
                theirs
            }
            None => {
                index.fetches.insert(ours.digest, Arc::downgrade(&ours));
                ours
            }
        }
    }
}

impl Fetch {
    pub fn digest(&self) -> Digest {
        self.underway.digest
    }

    /// Length in bytes, proved once a piece is here.
    pub fn len(&self) -> u64 {
        self.underway.len
    }

    pub fn is_empty(&self) -> bool {
        self.underway.len == 0
    }

    /// The pieces that are here.
    pub fn pieces(&self) -> Pieces {
        self.underway.pieces()
    }

    pub fn is_complete(&self) -> bool {
        self.underway.state().is_complete
    }

    /// A piece to ask a source for that has those `offered`; `None` when it has none that nobody was asked
    /// for.
    ///
    /// `random` chooses among them: nodes that fetch at the same time then hold different pieces and can
    /// supply each other. While the length is unproved the only choice is the last piece.
    pub fn claim(&self, offered: &Pieces, random: u64) -> Option<Claim> {
        let mut state = self.underway.state();
        let count = state.here.count();
        if offered.count() != count {
            return None;
        }
        let is_length_proved = state.here.contains(count - 1);
        let is_wanted = |index: &u32| {
            !state.here.contains(*index)
                && !state.claimed.contains(*index)
                && (is_length_proved || index + 1 == count)
        };
        let wanted: Vec<u32> = offered.iter().filter(is_wanted).collect();
        let at = random.checked_rem(wanted.len() as u64)?;
        let index = wanted[at as usize];
        state.claimed.insert(index);
        Some(Claim { underway: Arc::clone(&self.underway), index })
    }
}

impl Claim {
    /// Number of the piece.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Verifies the whole piece, then stores it; with the last missing one the content is final.
    pub fn accept(self, encoded: &[u8]) -> Result<Progress, AcceptError> {
        let underway = &self.underway;
        if encoded.len() > ENCODED_MAX_BYTES {
            return Err(AcceptError::TooLong(self.index));
        }
        let items = self.verify(encoded)?;
        let mut pairs = PostOrderOutboard {
            root: root(underway.digest),
            tree: geometry(underway.len),
            data: underway.files.tree.try_clone()?,
        };
        for item in items {
            match item {
                BaoContentItem::Parent(parent) => pairs.save(parent.node, &parent.pair)?,
                BaoContentItem::Leaf(leaf) => underway.files.data.write_all_at(&leaf.data, leaf.offset)?,
            }
        }
        let mut state = underway.state();
        state.here.insert(self.index);
        let is_complete = underway.finish(&mut state)?;
        Ok(if is_complete { Progress::Complete } else { Progress::Incomplete })
    }

    fn verify(&self, encoded: &[u8]) -> Result<Vec<BaoContentItem>, AcceptError> {
        verify(self.underway.digest, self.underway.len, self.index, encoded)
    }
}

/// A piece of a content of that digest and length, if these bytes are one.
pub(crate) fn verify(
    digest: Digest,
    len: u64,
    index: u32,
    mut encoded: &[u8],
) -> Result<Vec<BaoContentItem>, AcceptError> {
    let ranges = chunks(index, piece_count(len));
    let items = DecodeResponseIter::new(root(digest), geometry(len), &mut encoded, &ranges)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| match error {
            DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => AcceptError::Truncated(index),
            DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => {
                AcceptError::Wrong(index)
            }
            DecodeError::Io(error) => AcceptError::Disk(error),
        })?;
    if encoded.is_empty() { Ok(items) } else { Err(AcceptError::TooLong(index)) }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.underway.state().claimed.remove(self.index);
    }
}

impl Underway {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn pieces(&self) -> Pieces {
        self.state().here.clone()
    }

    /// Finds out, the first time, which pieces an earlier opening left; true when the content is complete.
    fn resume(&self) -> io::Result<bool> {
        self.resumed.get_or_init(|| {
            let (start, count) = (Instant::now(), piece_count(self.len));
            // The last one proves the length, and without it none is worth anything.
            let is_right = |index: &u32| self.encode(*index).is_ok();
            let Some(last) = Some(count - 1).filter(is_right) else { return };
            let in_time = (0..last).take_while(|_| start.elapsed() < RESUME_MAX);
            let right: Vec<u32> = in_time.filter(is_right).chain([last]).collect();
            let mut state = self.state();
            right.into_iter().for_each(|index| state.here.insert(index));
        });
        self.finish(&mut self.state())
    }

    /// Makes the content final when all of it is here; says whether it is.
    fn finish(&self, state: &mut State) -> io::Result<bool> {
        if !state.here.is_full() {
            return Ok(false);
        }
        if !state.is_complete {
            self.shared.keep(self.digest, self.len, &self.files, &mut state.room)?;
            state.is_complete = true;
            // Should the content be removed one day, it can be fetched anew.
            self.shared.index().fetches.remove(&self.digest);
        }
        Ok(true)
    }

    /// A piece with its proof, read from this disk and verified.
    pub fn encode(&self, index: u32) -> Result<Vec<u8>, EncodeError> {
        encode(self.digest, self.len, index, &self.files.data, &self.files.tree)
    }

    /// What came stays on the disk when nobody needs this any more.
    pub fn leave(&self) {
        self.files.leave();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut index = self.shared.index();
        // A newer fetch of the same content may have taken the place.
        if index.fetches.get(&self.digest).is_some_and(|entry| entry.strong_count() == 0) {
            index.fetches.remove(&self.digest);
        }
    }
}
