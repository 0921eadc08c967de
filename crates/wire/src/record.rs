//! The node record: a node's own signed word on where it is and which incarnation runs.

use alloc::vec::Vec;
use core::net::SocketAddr;

use ed25519_dalek::{SigningKey, VerifyingKey};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_base::Digest;

use crate::contact::{decode_addr, encode_addr, expect_array};
use crate::limits::RECORD_MAX_BYTES;
use crate::signed::{self, Domain};

/// Signed by the node itself; the key comes with the node's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Where the node takes datagrams and QUIC.
    pub addr: SocketAddr,
    /// Counts the node's starts.
    pub incarnation: u32,
    /// Digest of the attributes it declares; the attributes travel on visits and streams.
    pub attributes: Digest,
}

/// Why a node record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("record of {len} bytes is longer than {RECORD_MAX_BYTES}")]
    TooLong { len: usize },
    #[error("record is malformed")]
    Malformed,
    #[error("record is not signed by its node")]
    BadSignature,
}

impl NodeRecord {
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        // Writing to a Vec cannot fail.
        let body = minicbor::to_vec(self).expect("a Vec takes all bytes");
        signed::join(key, Domain::NodeRecord, &body)
    }

    pub fn verify(key: &VerifyingKey, bytes: &[u8]) -> Result<NodeRecord, RecordError> {
        if bytes.len() > RECORD_MAX_BYTES {
            return Err(RecordError::TooLong { len: bytes.len() });
        }
        let (body, signature) = signed::split(bytes).ok_or(RecordError::Malformed)?;
        let record = minicbor::decode(body).map_err(|_| RecordError::Malformed)?;
        if signed::verify(key, Domain::NodeRecord, body, signature) {
            Ok(record)
        } else {
            Err(RecordError::BadSignature)
        }
    }
}

impl<C> Encode<C> for NodeRecord {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        encode_addr(&self.addr, e)?;
        e.u32(self.incarnation)?;
        self.attributes.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for NodeRecord {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        Ok(NodeRecord { addr: decode_addr(d)?, incarnation: d.u32()?, attributes: Digest::decode(d, ctx)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> NodeRecord {
        NodeRecord {
            addr: "[2001:db8::1]:65535".parse().expect("a literal address"),
            incarnation: u32::MAX,
            attributes: Digest::from_bytes([3; 32]),
        }
    }

    #[test]
    fn only_its_own_node_signs_a_record() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let bytes = record().sign(&key);
        assert!(bytes.len() <= RECORD_MAX_BYTES, "{}", bytes.len());
        assert_eq!(NodeRecord::verify(&key.verifying_key(), &bytes), Ok(record()));
        assert_eq!(NodeRecord::verify(&other.verifying_key(), &bytes), Err(RecordError::BadSignature));
    }

    proptest! {
        #[test]
        fn damaged_records_are_refused(cut in 0usize..132, flip in 0usize..1056) {
            let key = SigningKey::from_bytes(&[1; 32]);
            let bytes = record().sign(&key);
            prop_assert!(NodeRecord::verify(&key.verifying_key(), &bytes[..cut % bytes.len()]).is_err());
            let mut flipped = bytes.clone();
            flipped[flip / 8 % bytes.len()] ^= 1 << (flip % 8);
            prop_assert!(NodeRecord::verify(&key.verifying_key(), &flipped).is_err());
        }
    }
}
