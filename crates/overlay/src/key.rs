//! Keys: what is stored on the ring is ordered by them, byte by byte.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::NodeId;

/// Bytes of a key at most, the namespace included. Our guess: a topic or a path of sixteen parts.
pub const KEY_MAX: usize = 512;

/// What a key is used for: its first byte, so that each use has a part of the ring for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(pub u8);

impl Namespace {
    /// What users and their programs store.
    pub const USER: Namespace = Namespace(1);
    /// Which servers of publish/subscribe want what.
    pub const SUBSCRIBERS: Namespace = Namespace(2);
    /// Which of them publish what.
    pub const PUBLISHERS: Namespace = Namespace(3);
    /// The last event of each topic that is retained.
    pub const RETAINED: Namespace = Namespace(4);
    /// What servers of publish/subscribe published a short time ago.
    pub const PUBLISHED: Namespace = Namespace(5);
    /// What has become of updates of several retained events at once.
    pub const UPDATES: Namespace = Namespace(6);

    /// Whether whoever may write here writes over what others wrote, too: the newest one stays. What lies
    /// there counts as its last writer's.
    pub fn is_shared(self) -> bool {
        self == Namespace::RETAINED || self == Namespace::UPDATES
    }
}

/// A place on the ring, ordered byte by byte: what begins alike lies together.
///
/// The first byte is the [`Namespace`]. The empty key comes before all others and stands for no namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Arc<[u8]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of {0} bytes, its namespace included: {KEY_MAX} are possible")]
pub struct KeyTooLong(pub usize);

impl Key {
    /// # Errors
    /// Longer than [`KEY_MAX`] with its namespace.
    pub fn new(namespace: Namespace, name: &[u8]) -> Result<Key, KeyTooLong> {
        let mut bytes = Vec::with_capacity(1 + name.len());
        bytes.push(namespace.0);
        bytes.extend_from_slice(name);
        Key::from_bytes(&bytes)
    }

    /// A key as it is written, its namespace first.
    ///
    /// # Errors
    /// Longer than [`KEY_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, KeyTooLong> {
        if bytes.len() > KEY_MAX { Err(KeyTooLong(bytes.len())) } else { Ok(Key(bytes.into())) }
    }

    /// The namespace first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a node may write here at all, on the ring of all nodes. What servers of publish/subscribe say
    /// of themselves lies at keys that name them: behind a zero byte and a letter.
    pub fn may_be_of(&self, writer: NodeId) -> bool {
        match self.namespace() {
            Some(Namespace::SUBSCRIBERS | Namespace::PUBLISHERS) => {
                let end = self.0.iter().position(|byte| *byte == 0);
                let named = end.and_then(|end| self.0.get(end + 2..)?.first_chunk::<16>());
                named == Some(writer.as_bytes())
            }
            _ => true,
        }
    }

    /// None for the empty key.
    pub fn namespace(&self) -> Option<Namespace> {
        self.0.first().copied().map(Namespace)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

impl<C> Encode<C> for Key {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Key {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Key::from_bytes(d.bytes()?).map_err(|_| decode::Error::message("a key of more than 512 bytes").at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_namespace_and_then_byte_by_byte() {
        let user = |name: &[u8]| Key::new(Namespace::USER, name).expect("short");
        let other = Key::new(Namespace(2), b"").expect("short");
        let ordered = [Key::default(), user(b""), user(b"a"), user(b"a\0"), user(b"ab"), user(b"b"), other];
        assert!(ordered.is_sorted());
        assert_eq!(ordered[0].namespace(), None);
        assert_eq!(ordered[3].namespace(), Some(Namespace::USER));
    }

    #[test]
    fn a_key_of_publish_subscribe_is_of_the_node_that_it_names() {
        let [own, other] = [1, 2].map(|byte| NodeId::from_bytes([byte; 16]));
        for namespace in [Namespace::SUBSCRIBERS, Namespace::PUBLISHERS] {
            for (place, behind) in [("", ""), ("a\u{1}b", ""), ("a", "digest")] {
                let name = [place.as_bytes(), b"\0T", own.as_bytes(), behind.as_bytes()].concat();
                let key = Key::new(namespace, &name).expect("short");
                assert!(key.may_be_of(own) && !key.may_be_of(other));
            }
            for nameless in [&b""[..], b"a", b"a\0", b"a\0T", b"a\0T123"] {
                assert!(!Key::new(namespace, nameless).expect("short").may_be_of(own));
            }
        }
        assert!(Key::new(Namespace::USER, b"a").expect("short").may_be_of(own));
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_also_when_it_is_read() {
        let name = [b'x'; KEY_MAX];
        assert!(Key::new(Namespace::USER, &name[1..]).is_ok());
        assert_eq!(Key::new(Namespace::USER, &name), Err(KeyTooLong(513)));
        let written = minicbor::to_vec(minicbor::bytes::ByteVec::from([0; 513].to_vec())).expect("written");
        assert!(minicbor::decode::<Key>(&written).is_err());
        let key = Key::from_bytes(&name).expect("long enough");
        assert_eq!(minicbor::decode::<Key>(&minicbor::to_vec(&key).expect("written")).ok(), Some(key));
    }
}
