//! Pieces for other nodes, from whole contents and from fetches under way alike.
//!
//! That every node serves what it has is what keeps the first source's upload near one copy.

use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use bao_tree::io::EncodeError;
use bao_tree::io::outboard::PostOrderOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use thiserror::Error;
use xtreem_base::Digest;

use super::Store;
use super::fetch::Underway;
use super::files::tree_path;
use super::pieces::{ENCODED_MAX_BYTES, Pieces, chunks, geometry, piece_count, root};

/// What this node could serve of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Length of the content in bytes, proved.
    pub len: u64,
    pub pieces: Pieces,
}

/// A piece is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("content {0} is not here")]
    Unknown(Digest),
    #[error("piece {index} of content {digest} is not here")]
    NoPiece { digest: Digest, index: u32 },
    #[error("content {0} was damaged on this disk and removed")]
    Damaged(Digest),
    #[error("the store's disk refused: {0}")]
    Disk(io::Error),
}

impl Store {
    /// What is here of the content; `None` when nothing is.
    pub fn offer(&self, digest: Digest) -> Option<Offer> {
        if let Some(&len) = self.shared.index().blobs.get(&digest) {
            return Some(Offer { len, pieces: Pieces::all(piece_count(len)) });
        }
        let underway = self.underway(digest)?;
        let pieces = underway.pieces();
        (!pieces.is_empty()).then(|| Offer { len: underway.len(), pieces })
    }

    /// One piece with its proof, at most [`ENCODED_MAX_BYTES`] long, for [`super::Claim::accept`].
    ///
    /// It is verified before it is handed out; content that the disk has damaged is removed.
    pub fn piece(&self, digest: Digest, index: u32) -> Result<Vec<u8>, ServeError> {
        let no_piece = ServeError::NoPiece { digest, index };
        let blob = self.open_blob(digest).map_err(ServeError::Disk)?;
        let encoded = if let Some(blob) = blob {
            if index >= piece_count(blob.len) {
                return Err(no_piece);
            }
            let tree = File::open(tree_path(&self.shared.dir, digest)).map_err(ServeError::Disk)?;
            encode(digest, blob.len, index, &blob.file, &tree)
        } else {
            let underway = self.underway(digest).ok_or(ServeError::Unknown(digest))?;
            if !underway.pieces().contains(index) {
                return Err(no_piece);
            }
            underway.encode(index)
        };
        encoded.map_err(|error| match error {
            EncodeError::Io(error) => ServeError::Disk(error),
            _ => {
                // A damaged fetch under way is noticed when it is complete and read.
                let _ = self.remove(digest);
                ServeError::Damaged(digest)
            }
        })
    }

    pub(super) fn underway(&self, digest: Digest) -> Option<Arc<Underway>> {
        self.shared.index().fetches.get(&digest).and_then(Weak::upgrade)
    }
}

/// A piece with its proof, if that is what these files have.
pub(super) fn encode(
    digest: Digest,
    len: u64,
    index: u32,
    data: &File,
    tree: &File,
) -> Result<Vec<u8>, EncodeError> {
    let outboard = PostOrderOutboard { root: root(digest), tree: geometry(len), data: tree };
    let mut encoded = Vec::with_capacity(ENCODED_MAX_BYTES);
    encode_ranges_validated(data, outboard, &chunks(index, piece_count(len)), &mut encoded)?;
    Ok(encoded)
}
