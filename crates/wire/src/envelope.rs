//! The datagram envelope: who sends, to which incarnation of whom, when, in answer to what; all of it signed.
//!
//! Layout: one version byte, a CBOR array, zero padding, 64 bytes of signature over everything before. The
//! version byte lacks 0x40, the fixed bit of QUIC (RFC 9000 section 17.2), so that both share a UDP port.

use alloc::vec::Vec;

use ed25519_dalek::{SigningKey, VerifyingKey};
use minicbor::{Decode, Decoder, Encode, Encoder};
use thiserror::Error;
use xtreem_base::NodeId;

use crate::contact::expect_array;
use crate::limits::{CREDENTIAL_MAX_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_MIN_BYTES, RECORD_MAX_BYTES};
use crate::signed::{self, Domain};

/// The only version so far.
const VERSION: u8 = 1;

const SIGNATURE_BYTES: usize = 64;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// A message of the node.
    #[n(0)]
    Message,
    /// Answer: the incarnation you wrote to is gone; mine is in my record.
    #[n(1)]
    Reborn,
    /// Answer: your stamp is outside my window; mine says what time I have.
    #[n(2)]
    Skewed,
    /// Answer: your id was also heard under the record in the payload, which your key signed.
    #[n(3)]
    Namesake,
}

/// The signed facts around a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Header {
    #[n(0)]
    pub kind: Kind,
    #[n(1)]
    pub destination: NodeId,
    #[n(2)]
    pub destination_incarnation: u32,
    /// Counts the datagrams of one incarnation of the sender.
    #[n(3)]
    pub sequence: u64,
    /// The sender's (corrected) wall clock, unix milliseconds.
    #[n(4)]
    pub stamp_ms: u64,
    /// Drawn at random for each datagram; never zero.
    #[n(5)]
    pub nonce: u64,
    /// The last nonce that the sender heard from the destination, or zero.
    #[n(6)]
    pub echo: u64,
}

/// How long a datagram is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// [`DATAGRAM_MIN_BYTES`], enough for an answer without payload.
    Least,
    /// [`DATAGRAM_MAX_BYTES`], for requests whose answer may be as long.
    Full,
}

/// The payload does not fit a datagram with this envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("datagram of {len} bytes is longer than {DATAGRAM_MAX_BYTES}")]
pub struct TooLong {
    pub len: usize,
}

/// Bytes that are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    #[error("datagram of {len} bytes: {DATAGRAM_MIN_BYTES} to {DATAGRAM_MAX_BYTES} are allowed")]
    Length { len: usize },
    #[error("protocol version {version}; this node speaks {VERSION}")]
    Version { version: u8 },
    #[error("envelope is malformed")]
    Malformed,
}

/// The signature of a datagram is not its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("datagram is not signed by its sender")]
pub struct Forged;

/// A datagram that was parsed; nothing in it is to be believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    /// The sender's credential, see [`crate::VoRoot::verify`].
    pub credential: &'a [u8],
    /// The sender's record, see [`crate::NodeRecord::verify`].
    pub record: &'a [u8],
    header: Header,
    payload: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

/// A datagram that its sender signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub header: Header,
    pub payload: &'a [u8],
}

impl Header {
    /// The bytes of a datagram with this header.
    pub fn seal(
        &self,
        key: &SigningKey,
        credential: &[u8],
        record: &[u8],
        payload: &[u8],
        padding: Padding,
    ) -> Result<Vec<u8>, TooLong> {
        let mut bytes = Vec::with_capacity(DATAGRAM_MAX_BYTES);
        bytes.push(VERSION);
        let mut e = Encoder::new(bytes);
        let written = e
            .array(4)
            .and_then(|e| e.encode(self))
            .and_then(|e| e.bytes(credential))
            .and_then(|e| e.bytes(record))
            .and_then(|e| e.bytes(payload))
            .map(|_| ());
        // Writing to a Vec cannot fail.
        written.expect("a Vec takes all bytes");
        let mut bytes = e.into_writer();
        let len = bytes.len() + SIGNATURE_BYTES;
        if len > DATAGRAM_MAX_BYTES {
            return Err(TooLong { len });
        }
        let target = match padding {
            Padding::Least => DATAGRAM_MIN_BYTES.max(len),
            Padding::Full => DATAGRAM_MAX_BYTES,
        };
        bytes.resize(target - SIGNATURE_BYTES, 0);
        let signature = signed::sign(key, Domain::Datagram, &bytes);
        bytes.extend_from_slice(&signature);
        Ok(bytes)
    }
}

impl<'a> Unverified<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        // The version comes first: another version may have other limits.
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(EnvelopeError::Version { version }),
            None => return Err(EnvelopeError::Length { len: 0 }),
        }
        if !(DATAGRAM_MIN_BYTES..=DATAGRAM_MAX_BYTES).contains(&bytes.len()) {
            return Err(EnvelopeError::Length { len: bytes.len() });
        }
        let (signed, signature) = bytes.split_last_chunk().ok_or(EnvelopeError::Malformed)?;
        let (header, credential, record, payload) =
            parse_body(&signed[1..]).ok_or(EnvelopeError::Malformed)?;
        Ok(Unverified { credential, record, header, payload, signed, signature })
    }

    /// For whom the datagram claims to be: worth a look before any signature is checked.
    pub fn destination(&self) -> NodeId {
        self.header.destination
    }

    /// Checks the signature against the key of the sender's credential.
    pub fn verify(self, key: &VerifyingKey) -> Result<Envelope<'a>, Forged> {
        if signed::verify(key, Domain::Datagram, self.signed, self.signature) {
            Ok(Envelope { header: self.header, payload: self.payload })
        } else {
            Err(Forged)
        }
    }
}

type Parts<'a> = (Header, &'a [u8], &'a [u8], &'a [u8]);

fn parse_body(body: &[u8]) -> Option<Parts<'_>> {
    let mut d = Decoder::new(body);
    expect_array(&mut d, 4).ok()?;
    let header: Header = d.decode().ok()?;
    let (credential, record, payload) = (d.bytes().ok()?, d.bytes().ok()?, d.bytes().ok()?);
    let padding = body.get(d.position()..)?;
    let is_sound = credential.len() <= CREDENTIAL_MAX_BYTES
        && record.len() <= RECORD_MAX_BYTES
        && header.nonce != 0
        && padding.iter().all(|byte| *byte == 0);
    is_sound.then_some((header, credential, record, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::{NOW, member, root_key};
    use crate::limits::{DATAGRAM_PAYLOAD_MAX_BYTES, ENVELOPE_MAX_BYTES, HINT_MAX_BYTES};
    use crate::{NodeRecord, Roles, VoRoot};
    use proptest::prelude::*;
    use xtreem_base::Digest;

    const HEADER: Header = Header {
        kind: Kind::Message,
        destination: NodeId::from_bytes([9; 16]),
        destination_incarnation: u32::MAX,
        sequence: u64::MAX,
        stamp_ms: u64::MAX,
        nonce: u64::MAX,
        echo: u64::MAX,
    };

    fn record(key: &SigningKey) -> Vec<u8> {
        let addr = "[2001:db8::1]:65535".parse().expect("a literal address");
        NodeRecord { addr, incarnation: u32::MAX, attributes: Digest::from_bytes([0; 32]) }.sign(key)
    }

    fn seal(payload: &[u8], padding: Padding) -> Result<Vec<u8>, TooLong> {
        let (key, credential) = member("n1", Roles::NODE);
        HEADER.seal(&key, &credential, &record(&key), payload, padding)
    }

    #[test]
    fn the_longest_envelope_keeps_its_limit_and_leaves_room_for_a_shuffle() {
        let key = root_key();
        let claims_and_lists = [0u8; CREDENTIAL_MAX_BYTES];
        let sealed = HEADER
            .seal(&key, &claims_and_lists, &[0; RECORD_MAX_BYTES], &[], Padding::Least)
            .expect("an envelope fits a datagram");
        // Padded to exactly the minimum: nothing of the envelope reaches over it.
        assert_eq!(sealed.len(), ENVELOPE_MAX_BYTES);
        // Two bytes of head for a payload longer than 255 bytes are not in the empty one.
        let full = [1u8; DATAGRAM_PAYLOAD_MAX_BYTES - 2];
        let sealed = HEADER.seal(&key, &claims_and_lists, &[0; RECORD_MAX_BYTES], &full, Padding::Least);
        assert!(sealed.expect("the payload limit holds").len() <= DATAGRAM_MAX_BYTES);
        const { assert!(8 * HINT_MAX_BYTES + 64 <= DATAGRAM_PAYLOAD_MAX_BYTES) };
    }

    #[test]
    fn every_datagram_lacks_the_fixed_bit_of_quic_and_round_trips() {
        let (key, credential) = member("n1", Roles::NODE);
        for (padding, len) in [(Padding::Least, DATAGRAM_MIN_BYTES), (Padding::Full, DATAGRAM_MAX_BYTES)] {
            let bytes = seal(b"hello", padding).expect("it fits");
            assert_eq!((bytes.len(), bytes[0] & 0x40), (len, 0));
            let parsed = Unverified::parse(&bytes).expect("own bytes");
            assert_eq!(parsed.credential, credential);
            let envelope = parsed.verify(&key.verifying_key()).expect("own signature");
            assert_eq!(envelope, Envelope { header: HEADER, payload: b"hello" });
        }
    }

    #[test]
    fn a_payload_too_long_is_told_to_the_sender() {
        assert_eq!(seal(&[0; 900], Padding::Least).map(|_| ()), Err(TooLong { len: 1_297 }));
    }

    #[test]
    fn another_members_key_does_not_verify() {
        let bytes = seal(b"hello", Padding::Least).expect("it fits");
        let (other, _) = member("n2", Roles::NODE);
        let parsed = Unverified::parse(&bytes).expect("own bytes");
        assert_eq!(parsed.verify(&other.verifying_key()), Err(Forged));
    }

    #[test]
    fn a_later_version_is_told_apart_from_rubbish() {
        assert_eq!(Unverified::parse(&[2; 10]).map(|_| ()), Err(EnvelopeError::Version { version: 2 }));
        assert_eq!(Unverified::parse(&[1; 10]).map(|_| ()), Err(EnvelopeError::Length { len: 10 }));
        assert_eq!(Unverified::parse(&[1; 600]).map(|_| ()), Err(EnvelopeError::Malformed));
        assert_eq!(Unverified::parse(&[]).map(|_| ()), Err(EnvelopeError::Length { len: 0 }));
    }

    /// What the driver does before it believes anything.
    fn is_believed(bytes: &[u8]) -> bool {
        let root = VoRoot::of(&root_key());
        Unverified::parse(bytes).is_ok_and(|parsed| {
            root.verify(parsed.credential, NOW).is_ok_and(|member| {
                NodeRecord::verify(member.key(), parsed.record).is_ok() && parsed.verify(member.key()).is_ok()
            })
        })
    }

    proptest! {
        #[test]
        fn truncated_and_flipped_datagrams_are_never_believed(cut in 0usize..1200, flip in 0usize..9600) {
            let bytes = seal(b"a payload of some length", Padding::Full).expect("it fits");
            prop_assert!(is_believed(&bytes));
            prop_assert!(!is_believed(&bytes[..cut]));
            let mut flipped = bytes.clone();
            flipped[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!is_believed(&flipped));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in prop::collection::vec(any::<u8>(), 464..1200)) {
            bytes[0] = VERSION;
            prop_assert!(!is_believed(&bytes));
        }
    }
}
