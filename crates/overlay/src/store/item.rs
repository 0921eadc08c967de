//! What lies at one key: a value or a mark that it is gone, and who wrote it.

use alloc::sync::Arc;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Digest, Duration, Handle, HandleTable, Instant, NodeId, mix};

use crate::Key;

/// Bytes of a value at most; what is larger belongs into a file, with its digest here.
pub const VALUE_MAX: usize = 64 * 1024;
/// Copies of an item beside its owner's at most: all but one of the successors that a node knows.
pub const DEGREE_MAX: u8 = 7;
/// Longest lease of an item, and of the mark of a removal. Our guess: who wants it longer renews it weekly.
pub const LEASE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Orders what was written at one key; higher is newer.
///
/// The epoch of the owner's range comes first: whoever takes a range over has a higher one than whoever had
/// it before, so what an owner wrote and could not finish never stands above what its successor wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Version {
    #[n(0)]
    pub epoch: u64,
    /// Higher with each write of an owner, at whatever key: no version comes twice.
    #[n(1)]
    pub number: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// A number that a writer draws for one operation, the same in all its repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RequestId(#[n(0)] pub u64);

/// Up to [`VALUE_MAX`] bytes; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<[u8]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of {0} bytes: {VALUE_MAX} are possible")]
pub struct ValueTooLong(pub usize);

impl Value {
    /// # Errors
    /// Longer than [`VALUE_MAX`].
    pub fn new(bytes: &[u8]) -> Result<Value, ValueTooLong> {
        if bytes.len() > VALUE_MAX { Err(ValueTooLong(bytes.len())) } else { Ok(Value(bytes.into())) }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Value({} B: {})", self.0.len(), self.0[..self.0.len().min(16)].escape_ascii())
    }
}

impl<C> Encode<C> for Value {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Value {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Value::new(d.bytes()?).map_err(|_| decode::Error::message("a value of more than 64 KiB").at(at))
    }
}

/// Which of two copies is newer: version and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Stamp {
    #[n(0)]
    pub version: Version,
    #[n(1)]
    pub digest: Digest,
}

impl Stamp {
    /// 64 bits that stand for this copy of this key in sums over a range.
    pub fn mark(&self, key: &Key) -> u64 {
        let fold = |sum: u64, part: &[u8]| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            mix(sum ^ u64::from_le_bytes(word))
        };
        let seed = mix(self.version.epoch ^ mix(self.version.number));
        let of_key = key.as_bytes().chunks(8).fold(seed ^ key.as_bytes().len() as u64, fold);
        self.digest.as_bytes().chunks(8).take(2).fold(of_key, fold)
    }
}

/// Who wrote an item. Only it, or an administrator, may write there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Writer {
    #[n(0)]
    pub id: NodeId,
    /// Where it was when it wrote, to be told when a merge takes something else. None: it is gone.
    #[n(1)]
    pub at: Option<Handle>,
}

/// What one write says.
#[derive(Clone, Debug)]
pub struct Written<'a> {
    pub key: &'a Key,
    /// None: remove it.
    pub value: Option<Value>,
    pub writer: Writer,
    pub request: RequestId,
    pub degree: u8,
    pub lease: Duration,
    /// It is written only if this is the version that lies there now; [`Version::default`]: nothing does.
    /// None: whatever lies there.
    pub expected: Option<Version>,
    pub is_admin: bool,
}

/// One item as a node keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// None: a mark that nothing lies there any more. It was removed, or its lease has ended.
    pub value: Option<Value>,
    pub writer: Writer,
    pub stamp: Stamp,
    /// Of the write that made it: a repetition of that one changes nothing.
    pub request: RequestId,
    /// Copies that there shall be beside the owner's.
    pub degree: u8,
    /// When the lease ends, on the clock of this node.
    pub until: Instant,
    /// When a mark of it may go: the lease of no version that it replaced ends later, nor its own. The same
    /// as `until` where it is such a mark.
    pub remembered: Instant,
}

impl Item {
    /// An item as its first owner makes it where nothing lay; the digest is taken here.
    pub fn new(version: Version, write: &Written<'_>, until: Instant) -> Item {
        let digest = digest_of(write.key, write.writer.id, write.value.as_ref());
        Item {
            value: write.value.clone(),
            writer: write.writer,
            stamp: Stamp { version, digest },
            request: write.request,
            degree: write.degree.min(DEGREE_MAX),
            until,
            remembered: until,
        }
    }

    /// Whether it is but a mark: for who asks, nothing lies there.
    pub fn is_removed(&self) -> bool {
        self.value.is_none()
    }

    /// It replaces an older one that may turn up until then.
    pub fn remember(&mut self, until: Instant) {
        self.remembered = self.remembered.max(until);
        if self.is_removed() {
            self.until = self.remembered;
        }
    }

    /// What is left of it: itself, or when its lease has ended a mark, or nothing.
    pub fn left_at(self, now: Instant, key: &Key) -> Option<Item> {
        if self.until > now {
            return Some(self);
        }
        if self.remembered <= now {
            return None;
        }
        let digest = digest_of(key, self.writer.id, None);
        let stamp = Stamp { version: self.stamp.version, digest };
        Some(Item { value: None, stamp, until: self.remembered, ..self })
    }

    /// Bytes that it counts for.
    pub fn weight(&self, key: &Key) -> u64 {
        weight(key, self.value.as_ref())
    }
}

/// Bytes that an item counts for: its own, and what a node needs beside them.
pub fn weight(key: &Key, value: Option<&Value>) -> u64 {
    const BESIDE: usize = 200;
    (BESIDE + key.as_bytes().len() + value.map_or(0, |value| value.as_bytes().len())) as u64
}

/// BLAKE3 over key, writer and value, each told apart by its length. A mark's is the highest of its version:
/// a copy that came late and so ends late does not take its place.
fn digest_of(key: &Key, writer: NodeId, value: Option<&Value>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.as_bytes().len() as u64).to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.update(writer.as_bytes());
    hasher.update(&[u8::from(value.is_some())]);
    hasher.update(value.map_or(&[][..], Value::as_bytes));
    let mut bytes = *hasher.finalize().as_bytes();
    if value.is_none() {
        bytes[..8].fill(u8::MAX);
    }
    Digest::from_bytes(bytes)
}

/// An item on its way: with what is left of its lease, and without its digest, which the receiver takes
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Sent {
    #[n(0)]
    pub key: Key,
    #[n(1)]
    pub value: Option<Value>,
    #[n(2)]
    pub writer: Writer,
    #[n(3)]
    pub version: Version,
    #[n(4)]
    pub request: RequestId,
    #[n(5)]
    pub degree: u8,
    #[n(6)]
    pub left: Duration,
    /// What is left until a mark of it may go. None: that may go with its lease.
    #[n(7)]
    pub remembered: Option<Duration>,
}

impl Sent {
    pub fn new(key: &Key, item: &Item, now: Instant) -> Sent {
        Sent {
            key: key.clone(),
            value: item.value.clone(),
            writer: item.writer,
            version: item.stamp.version,
            request: item.request,
            degree: item.degree,
            left: item.until.since(now),
            remembered: (item.remembered > item.until).then(|| item.remembered.since(now)),
        }
    }

    /// Whether a correct member may send such a degree and lease.
    pub fn is_possible(&self) -> bool {
        let longest = self.remembered.map_or(self.left, |remembered| remembered.max(self.left));
        self.degree <= DEGREE_MAX && longest <= LEASE_MAX
    }

    /// The item as this node would keep it.
    ///
    /// # Errors
    /// No correct member sends such a degree or lease.
    pub fn open(self, now: Instant) -> Result<(Key, Item), Impossible> {
        if !self.is_possible() {
            return Err(Impossible);
        }
        let stamp = Stamp {
            version: self.version,
            digest: digest_of(&self.key, self.writer.id, self.value.as_ref()),
        };
        let until = now + self.left;
        let mut item = Item {
            value: self.value,
            writer: self.writer,
            stamp,
            request: self.request,
            degree: self.degree,
            until,
            remembered: until,
        };
        if let Some(remembered) = self.remembered {
            item.remember(now + remembered);
        }
        Ok((self.key, item))
    }

    /// Bytes on the way, about.
    pub fn len_bytes(&self) -> usize {
        weight(&self.key, self.value.as_ref()) as usize
    }
}

/// A degree above [`DEGREE_MAX`] or a lease above [`LEASE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;
