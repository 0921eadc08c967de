//! How content is cut: groups of 16 KiB that are verified, pieces of 256 KiB that are asked for.

use bao_tree::blake3::Hash;
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use xtreem_base::Digest;

/// Content asked for at a time. Our guess: 25 ms at 100 Mbit/s, so that a lost source costs little, and at 16
/// groups under 1 % of hashes.
pub const PIECE_BYTES: u64 = 256 << 10;
/// Longest content: its set of pieces is then 32 KiB. Our guess.
pub const BLOB_MAX_BYTES: u64 = 64 << 30;
/// Longest encoded piece: its content, a hash pair above each pair of groups, and one for each level up to
/// the root of the longest content (2^22 groups).
pub const ENCODED_MAX_BYTES: usize = PIECE_BYTES as usize + 64 * (16 + 22);

/// Groups of 2^4 chunks of 1 KiB: the tree costs 0.4 % of the content.
const GROUP: BlockSize = BlockSize::from_chunk_log(4);
const PIECE_CHUNKS: u64 = PIECE_BYTES / 1024;

/// Pieces in content of that length; the empty content has one, empty piece.
pub fn piece_count(len: u64) -> u32 {
    u32::try_from(len.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX)
}

pub(super) fn geometry(len: u64) -> BaoTree {
    BaoTree::new(len, GROUP)
}

/// Bytes that content of that length takes on disk, with its tree.
pub(super) fn footprint(len: u64) -> u64 {
    len.saturating_add(geometry(len).outboard_size())
}

pub(super) fn root(digest: Digest) -> Hash {
    Hash::from_bytes(*digest.as_bytes())
}

/// The chunks of a piece. The last piece is open at its end, which makes the sender prove the length, too.
pub(super) fn chunks(index: u32, count: u32) -> ChunkRanges {
    let start = ChunkNum(u64::from(index) * PIECE_CHUNKS);
    if index + 1 == count {
        ChunkRanges::from(start..)
    } else {
        ChunkRanges::from(start..ChunkNum(start.0 + PIECE_CHUNKS))
    }
}

/// A set of pieces of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    count: u32,
    bits: Vec<u8>,
}

impl Pieces {
    /// No piece, of content that has `count`.
    pub fn none(count: u32) -> Pieces {
        Pieces { count, bits: vec![0; count.div_ceil(8) as usize] }
    }

    /// All pieces.
    pub fn all(count: u32) -> Pieces {
        let mut pieces = Pieces::none(count);
        (0..count).for_each(|index| pieces.insert(index));
        pieces
    }

    /// From the bytes of [`Pieces::as_bytes`], as another node sent them; `None` unless they fit `count`.
    pub fn from_bytes(count: u32, bytes: &[u8]) -> Option<Pieces> {
        if bytes.len() != count.div_ceil(8) as usize {
            return None;
        }
        let spare_bits = bytes.len() as u32 * 8 - count;
        let is_tidy = bytes.last().is_none_or(|last| u32::from(*last) >> (8 - spare_bits) == 0);
        is_tidy.then(|| Pieces { count, bits: bytes.to_vec() })
    }

    /// One bit a piece, the first piece in the lowest bit of the first byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Pieces that the content has.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn contains(&self, index: u32) -> bool {
        index < self.count && self.bits[index as usize / 8] & (1 << (index % 8)) != 0
    }

    /// Pieces in the set.
    pub fn len(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..self.count).filter(|&index| self.contains(index))
    }

    /// A piece beyond the last is no piece, and ignored.
    pub(super) fn insert(&mut self, index: u32) {
        if index < self.count {
            self.bits[index as usize / 8] |= 1 << (index % 8);
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        if index < self.count {
            self.bits[index as usize / 8] &= !(1 << (index % 8));
        }
    }
}
