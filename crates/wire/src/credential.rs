//! The compact credential: a VO's root says that a key is a member, under which name and with which roles.
//!
//! The X.509 chain that QUIC checks says the same in kilobytes; this form fits every datagram.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::BitOr;

use ed25519_dalek::{SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_base::NodeId;

use crate::limits::{CREDENTIAL_MAX_BYTES, NAME_MAX_BYTES};
use crate::signed::{self, Domain};

/// What a member may do, as flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Roles(#[n(0)] u8);

impl Roles {
    /// Be a node of the grid.
    pub const NODE: Roles = Roles(1);
    /// Submit applications, and stop its own.
    pub const SUBMIT: Roles = Roles(2);
    /// Stop and change anybody's applications.
    pub const ADMIN: Roles = Roles(4);

    pub const fn has(self, role: Roles) -> bool {
        self.0 & role.0 == role.0
    }

    /// May sign application records at all.
    pub const fn may_submit(self) -> bool {
        self.has(Roles::SUBMIT) || self.has(Roles::ADMIN)
    }

    pub const fn as_bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Roles {
    type Output = Roles;

    fn bitor(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }
}

/// What the root is asked to sign.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Claims {
    /// The member's Ed25519 public key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// The VO: see [`VoRoot::id`]. It is the fast way to know a foreign credential.
    #[n(1)]
    pub vo: NodeId,
    /// At most [`NAME_MAX_BYTES`] bytes.
    #[n(2)]
    pub name: String,
    #[n(3)]
    pub roles: Roles,
    /// Unix seconds.
    #[n(4)]
    pub not_before: u64,
    /// Unix seconds.
    #[n(5)]
    pub not_after: u64,
}

/// The root cannot sign these claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IssueError {
    #[error("name of {len} bytes: 1 to {NAME_MAX_BYTES} are allowed")]
    NameLength { len: usize },
    #[error("name contains a control character")]
    NameControl,
    #[error("validity ends before it begins")]
    EmptyValidity,
}

/// Why a credential is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CredentialError {
    #[error("credential of {len} bytes is longer than {CREDENTIAL_MAX_BYTES}")]
    TooLong { len: usize },
    #[error("credential is malformed")]
    Malformed,
    #[error("credential of another VO ({vo:?})")]
    WrongVo { vo: NodeId },
    #[error("credential is not signed by the VO's root")]
    BadSignature,
    #[error("credential is not valid before {not_before} (unix seconds)")]
    NotYetValid { not_before: u64 },
    #[error("credential expired at {not_after} (unix seconds)")]
    Expired { not_after: u64 },
}

/// The id of the owner of `key`: the first 16 bytes of the key's BLAKE3 hash.
fn id_of(key: &VerifyingKey) -> NodeId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..16]);
    NodeId::from_bytes(id)
}

/// The public half of a VO's root: what every member believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoRoot {
    key: VerifyingKey,
    id: NodeId,
}

impl VoRoot {
    /// `None` when the bytes are no usable Ed25519 key.
    pub fn from_bytes(key: &[u8; 32]) -> Option<VoRoot> {
        let key = VerifyingKey::from_bytes(key).ok().filter(|key| !key.is_weak())?;
        Some(VoRoot { key, id: id_of(&key) })
    }

    pub fn of(root: &SigningKey) -> VoRoot {
        let key = root.verifying_key();
        VoRoot { key, id: id_of(&key) }
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Parses and checks a credential at `now_unix` (seconds).
    pub fn verify(&self, bytes: &[u8], now_unix: u64) -> Result<Member, CredentialError> {
        let member = self.verify_timeless(bytes)?;
        member.check_time(now_unix)?;
        Ok(member)
    }

    /// As [`VoRoot::verify`], but leaves the time to [`Member::check_time`], so that the costly part of the
    /// answer can be kept.
    pub fn verify_timeless(&self, bytes: &[u8]) -> Result<Member, CredentialError> {
        if bytes.len() > CREDENTIAL_MAX_BYTES {
            return Err(CredentialError::TooLong { len: bytes.len() });
        }
        let (body, signature) = signed::split(bytes).ok_or(CredentialError::Malformed)?;
        let claims: Claims = minicbor::decode(body).map_err(|_| CredentialError::Malformed)?;
        if claims.vo != self.id {
            return Err(CredentialError::WrongVo { vo: claims.vo });
        }
        if !signed::verify(&self.key, Domain::Credential, body, signature) {
            return Err(CredentialError::BadSignature);
        }
        // The root signed this; a key that is none is the root's mistake, and malformed all the same.
        let key = VerifyingKey::from_bytes(&claims.key).map_err(|_| CredentialError::Malformed)?;
        Ok(Member { id: id_of(&key), key, claims })
    }
}

impl Claims {
    /// The credential: these claims signed by the VO's root.
    pub fn sign(&self, root: &SigningKey) -> Result<Vec<u8>, IssueError> {
        if self.name.is_empty() || self.name.len() > NAME_MAX_BYTES {
            return Err(IssueError::NameLength { len: self.name.len() });
        }
        if self.name.chars().any(char::is_control) {
            return Err(IssueError::NameControl);
        }
        if self.not_after <= self.not_before {
            return Err(IssueError::EmptyValidity);
        }
        // Writing to a Vec cannot fail.
        let body = minicbor::to_vec(self).expect("a Vec takes all bytes");
        Ok(signed::join(root, Domain::Credential, &body))
    }
}

/// A member of the VO: a credential whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    id: NodeId,
    key: VerifyingKey,
    claims: Claims,
}

impl Member {
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    pub fn name(&self) -> &str {
        &self.claims.name
    }

    pub fn roles(&self) -> Roles {
        self.claims.roles
    }

    /// Unix seconds.
    pub fn not_before(&self) -> u64 {
        self.claims.not_before
    }

    /// Unix seconds.
    pub fn not_after(&self) -> u64 {
        self.claims.not_after
    }

    /// Whether the credential counts at `now_unix` (seconds).
    pub fn check_time(&self, now_unix: u64) -> Result<(), CredentialError> {
        let not_before = self.claims.not_before;
        if now_unix < not_before {
            return Err(CredentialError::NotYetValid { not_before });
        }
        self.check_ended(now_unix)
    }

    /// Whether the credential had ended at `now_unix` (seconds).
    pub fn check_ended(&self, now_unix: u64) -> Result<(), CredentialError> {
        let not_after = self.claims.not_after;
        if now_unix > not_after { Err(CredentialError::Expired { not_after }) } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    pub(crate) const NOW: u64 = 1_800_000_000;

    pub(crate) fn root_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    /// A member of the test VO, with a key that depends on its name.
    pub(crate) fn member(name: &str, roles: Roles) -> (SigningKey, Vec<u8>) {
        let key = SigningKey::from_bytes(blake3::hash(name.as_bytes()).as_bytes());
        (key.clone(), claims(&key, name, roles).sign(&root_key()).expect("valid claims"))
    }

    fn claims(key: &SigningKey, name: &str, roles: Roles) -> Claims {
        Claims {
            key: key.verifying_key().to_bytes(),
            vo: VoRoot::of(&root_key()).id(),
            name: name.to_string(),
            roles,
            not_before: NOW - 100,
            not_after: NOW + 100,
        }
    }

    #[test]
    fn the_longest_credential_keeps_its_limit() {
        let key = root_key();
        let longest = Claims {
            not_before: u64::MAX - 1,
            not_after: u64::MAX,
            ..claims(&key, &"n".repeat(NAME_MAX_BYTES), Roles(255))
        };
        let bytes = longest.sign(&root_key()).expect("valid claims");
        assert!(bytes.len() <= CREDENTIAL_MAX_BYTES, "{}", bytes.len());
    }

    #[test]
    fn validity_has_two_ends() {
        let root = VoRoot::of(&root_key());
        let (_, bytes) = member("n1", Roles::NODE);
        let at = |now| root.verify(&bytes, now).map(|member| member.name().to_string());
        assert_eq!(at(NOW), Ok("n1".into()));
        assert_eq!(at(NOW - 101), Err(CredentialError::NotYetValid { not_before: NOW - 100 }));
        assert_eq!(at(NOW + 101), Err(CredentialError::Expired { not_after: NOW + 100 }));
    }

    #[test]
    fn a_foreign_root_is_known_before_any_signature_is_checked() {
        let ours = VoRoot::of(&root_key());
        let theirs = VoRoot::of(&SigningKey::from_bytes(&[8; 32]));
        let (_, bytes) = member("n1", Roles::NODE);
        assert_eq!(theirs.verify(&bytes, NOW), Err(CredentialError::WrongVo { vo: ours.id() }));
    }

    #[test]
    fn claims_signed_by_another_key_are_forged() {
        let (key, _) = member("n1", Roles::NODE);
        let forged =
            claims(&key, "n1", Roles::ADMIN).sign(&SigningKey::from_bytes(&[8; 32])).expect("valid claims");
        assert_eq!(VoRoot::of(&root_key()).verify(&forged, NOW), Err(CredentialError::BadSignature));
    }

    #[test]
    fn impossible_claims_are_not_signed() {
        let key = root_key();
        let sign = |claims: Claims| claims.sign(&root_key()).map(|_| ());
        let good = claims(&key, "n", Roles::NODE);
        assert_eq!(
            sign(Claims { name: String::new(), ..good.clone() }),
            Err(IssueError::NameLength { len: 0 })
        );
        assert_eq!(
            sign(Claims { name: "n".repeat(49), ..good.clone() }),
            Err(IssueError::NameLength { len: 49 })
        );
        assert_eq!(sign(Claims { name: "a\nb".into(), ..good.clone() }), Err(IssueError::NameControl));
        assert_eq!(sign(Claims { not_after: 0, ..good }), Err(IssueError::EmptyValidity));
    }

    proptest! {
        #[test]
        fn damaged_credentials_are_refused(cut in 0usize..200, flip in 0usize..1600) {
            let root = VoRoot::of(&root_key());
            let (_, bytes) = member("n1", Roles::NODE);
            prop_assert!(root.verify(&bytes[..cut % bytes.len()], NOW).is_err());
            let mut flipped = bytes.clone();
            flipped[flip / 8 % bytes.len()] ^= 1 << (flip % 8);
            prop_assert!(root.verify(&flipped, NOW).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            prop_assert!(VoRoot::of(&root_key()).verify(&bytes, NOW).is_err());
        }
    }
}
