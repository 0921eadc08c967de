//! An administrator's word that something else shall lie at a key, or nothing, whoever wrote what lies there.
//! The store takes it as true: whoever drives it has verified it (`docs/protocols/store.md`,
//! "Administrators").

use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Duration, NodeId};

use super::item::{Value, Version};
use crate::Key;

/// Bytes of a proof at most; a longer one is no message. As of all proofs: a credential and a signature.
pub const PROOF_MAX: usize = 512;

/// Who signed, when, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Word {
    #[n(0)]
    pub by: NodeId,
    /// Seconds.
    #[n(1)]
    pub at_unix: u64,
    #[n(2)]
    pub proof: Proof,
}

/// Up to [`PROOF_MAX`] bytes that the store does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(Arc<[u8]>);

impl Proof {
    /// None: longer than [`PROOF_MAX`].
    pub fn new(bytes: &[u8]) -> Option<Proof> {
        (bytes.len() <= PROOF_MAX).then(|| Proof(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<C> Encode<C> for Proof {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Proof {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Proof::new(d.bytes()?).ok_or_else(|| decode::Error::message("too long a proof").at(at))
    }
}

/// What takes the place of one version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Overwrite {
    /// None: what lies there is removed.
    #[n(0)]
    pub value: Option<Value>,
    #[n(1)]
    pub degree: u8,
    #[n(2)]
    pub lease: Duration,
    /// Only if this lies there, so that nobody can say it again later.
    #[n(3)]
    pub version: Version,
}

impl Overwrite {
    /// The bytes that are signed for `key`. Parts of one length each, or told apart by it.
    pub fn statement(&self, key: &Key) -> Vec<u8> {
        let value = self.value.as_ref().map(|value| blake3::hash(value.as_bytes()));
        let numbers = [self.lease.as_micros(), self.version.epoch, self.version.number];
        let mut bytes = Vec::with_capacity(128 + key.as_bytes().len());
        bytes.extend((key.as_bytes().len() as u64).to_be_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend([u8::from(value.is_some()), self.degree]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend(value.iter().flat_map(|hash| hash.as_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    #[test]
    fn each_part_of_what_is_signed_counts() {
        let key = |name: &[u8]| Key::new(Namespace::USER, name).expect("short");
        let value = |bytes: &[u8]| Some(Value::new(bytes).expect("short"));
        let version = Version { epoch: 3, number: 1 };
        let base = Overwrite { value: value(b"a"), degree: 2, lease: Duration::from_secs(1), version };
        let others = [
            base.statement(&key(b"other")),
            Overwrite { value: value(b"b"), ..base.clone() }.statement(&key(b"k")),
            Overwrite { value: value(b""), ..base.clone() }.statement(&key(b"k")),
            Overwrite { value: None, ..base.clone() }.statement(&key(b"k")),
            Overwrite { degree: 1, ..base.clone() }.statement(&key(b"k")),
            Overwrite { lease: Duration::from_secs(2), ..base.clone() }.statement(&key(b"k")),
            Overwrite { version: Version { number: 2, ..version }, ..base.clone() }.statement(&key(b"k")),
        ];
        let signed = base.statement(&key(b"k"));
        assert!(others.iter().all(|other| *other != signed));
    }

    #[test]
    fn a_proof_is_bounded() {
        let encoded = |len: usize| {
            let mut bytes = Vec::new();
            Encoder::new(&mut bytes).bytes(&alloc::vec![1; len]).expect("a Vec takes all");
            bytes
        };
        assert!(minicbor::decode::<Proof>(&encoded(PROOF_MAX)).is_ok());
        assert!(minicbor::decode::<Proof>(&encoded(PROOF_MAX + 1)).is_err());
    }
}
