//! Signatures that mean one thing: each is made over a domain and bytes, so that one kind of statement can
//! never be passed off as another; and proofs, which carry the signer's credential along.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::{Decoder, Encoder};
use thiserror::Error;

use crate::contact::expect_array;
use crate::limits::PROOF_MAX_BYTES;
use crate::{Claims, CredentialError, Member, VoRoot};

/// What a signature states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A VO's root vouches for a key.
    Credential,
    /// A node says where it is.
    NodeRecord,
    /// A node sends this datagram.
    Datagram,
    /// A user or VO admin wants this application so.
    Application,
    /// A VO's root says who may do what.
    Policy,
    /// A node says that it is there, to somebody who asked through others.
    Alive,
    /// A node that recruits says who holds a slot of an application under which epoch.
    Link,
    /// The holder of a slot says how it ended.
    Final,
    /// A holder or the submitting node says who guards an application.
    Guardians,
    /// A node says which key speaks for a slot that it holds.
    Slot,
    /// A user wants this command to run once beside a slot.
    Warrant,
    /// A slot wants this command to run once beside another one of its application.
    SlotWarrant,
    /// A node or an administrator tells all nodes something.
    Announcement,
    /// An administrator writes over what another wrote on the ring.
    Overwrite,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Domain::Credential => b"xtreem/1 credential\0",
            Domain::NodeRecord => b"xtreem/1 node record\0",
            Domain::Datagram => b"xtreem/1 datagram\0",
            Domain::Application => b"xtreem/1 application\0",
            Domain::Policy => b"xtreem/1 policy\0",
            Domain::Alive => b"xtreem/1 alive\0",
            Domain::Link => b"xtreem/1 link\0",
            Domain::Final => b"xtreem/1 final\0",
            Domain::Guardians => b"xtreem/1 guardians\0",
            Domain::Slot => b"xtreem/1 slot\0",
            Domain::Warrant => b"xtreem/1 warrant\0",
            Domain::SlotWarrant => b"xtreem/1 slot warrant\0",
            Domain::Announcement => b"xtreem/1 announcement\0",
            Domain::Overwrite => b"xtreem/1 overwrite\0",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.prefix(), bytes].concat()
    }
}

/// Signs `bytes` as a statement of `domain`.
pub fn sign(key: &SigningKey, domain: Domain, bytes: &[u8]) -> [u8; 64] {
    key.sign(&domain.message(bytes)).to_bytes()
}

/// Strict verification: refuses weak keys and malleable signatures (RFC 8032 section 8.4).
pub fn verify(key: &VerifyingKey, domain: Domain, bytes: &[u8], signature: &[u8; 64]) -> bool {
    key.verify_strict(&domain.message(bytes), &Signature::from_bytes(signature)).is_ok()
}

/// Why a proof does not prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    #[error("proof of {len} bytes is longer than {PROOF_MAX_BYTES}")]
    TooLong { len: usize },
    #[error("proof is malformed")]
    Malformed,
    #[error("the signer's credential: {0}")]
    Credential(#[from] CredentialError),
    #[error("signature is not the signer's")]
    BadSignature,
}

/// Signs `bytes` and adds the signer's `credential`: whoever knows the VO's root can check it.
pub fn prove(key: &SigningKey, credential: &[u8], domain: Domain, bytes: &[u8]) -> Vec<u8> {
    pair(credential, &sign(key, domain, bytes))
}

/// Who signed `bytes`, if `proof` shows that a member of the VO did. Its credential may have expired since,
/// or not be valid yet: whoever wants it in force looks at [`Member::check_time`].
pub fn verify_proof(root: &VoRoot, domain: Domain, bytes: &[u8], proof: &[u8]) -> Result<Member, ProofError> {
    if proof.len() > PROOF_MAX_BYTES {
        return Err(ProofError::TooLong { len: proof.len() });
    }
    let (credential, signature) = split(proof).ok_or(ProofError::Malformed)?;
    let signer = root.verify_timeless(credential)?;
    if verify(signer.key(), domain, bytes, signature) { Ok(signer) } else { Err(ProofError::BadSignature) }
}

/// Whom a proof names as its signer. Nothing is verified here: for those who get proofs that were.
pub fn claimed_signer(proof: &[u8]) -> Option<Claims> {
    let (credential, _) = split(proof)?;
    let (claims, _) = split(credential)?;
    minicbor::decode(claims).ok()
}

/// The root's signature on a VO's policy.
pub fn sign_policy(root: &SigningKey, document: &[u8]) -> [u8; 64] {
    sign(root, Domain::Policy, document)
}

/// Whether the VO's root signed this policy.
pub fn verify_policy(root: &VoRoot, document: &[u8], signature: &[u8; 64]) -> bool {
    verify(root.key(), Domain::Policy, document, signature)
}

/// The two byte strings of a signed pair: something, and 64 bytes of signature.
pub(crate) fn split(pair: &[u8]) -> Option<(&[u8], &[u8; 64])> {
    let mut d = Decoder::new(pair);
    expect_array(&mut d, 2).ok()?;
    let body = d.bytes().ok()?;
    let signature = d.bytes().ok()?.try_into().ok()?;
    (d.position() == pair.len()).then_some((body, signature))
}

/// The signed pair of `body`.
pub(crate) fn join(key: &SigningKey, domain: Domain, body: &[u8]) -> Vec<u8> {
    pair(body, &sign(key, domain, body))
}

fn pair(first: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let written = e.array(2).and_then(|e| e.bytes(first)).and_then(|e| e.bytes(signature)).map(|_| ());
    // Writing to a Vec cannot fail.
    written.expect("a Vec takes all bytes");
    e.into_writer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::{NOW, member, root_key};
    use crate::{Roles, limits};
    use proptest::prelude::*;

    #[test]
    fn a_members_proof_names_its_signer() {
        let (key, credential) = member("alice", Roles::SUBMIT);
        let root = VoRoot::of(&root_key());
        let proof = prove(&key, &credential, Domain::Application, b"six nodes");
        assert!(proof.len() <= limits::PROOF_MAX_BYTES);
        let signer = verify_proof(&root, Domain::Application, b"six nodes", &proof).expect("own proof");
        assert_eq!((signer.name(), signer.roles()), ("alice", Roles::SUBMIT));
    }

    #[test]
    fn a_proof_holds_for_its_bytes_and_its_domain_only() {
        let (key, credential) = member("alice", Roles::SUBMIT);
        let root = VoRoot::of(&root_key());
        let proof = prove(&key, &credential, Domain::Application, b"six nodes");
        let other_bytes = verify_proof(&root, Domain::Application, b"sixty nodes", &proof);
        let other_domain = verify_proof(&root, Domain::Datagram, b"six nodes", &proof);
        assert_eq!(
            (other_bytes, other_domain),
            (Err(ProofError::BadSignature), Err(ProofError::BadSignature))
        );
        let stranger = VoRoot::of(&SigningKey::from_bytes(&[99; 32]));
        assert!(matches!(
            verify_proof(&stranger, Domain::Application, b"six nodes", &proof),
            Err(ProofError::Credential(CredentialError::WrongVo { .. }))
        ));
    }

    #[test]
    fn a_proof_counts_after_its_signers_credential_and_whoever_cares_for_the_time_sees_it() {
        let (key, credential) = member("host07", Roles::NODE);
        let root = VoRoot::of(&root_key());
        let proof = prove(&key, &credential, Domain::Link, b"slot 3");
        let signer = verify_proof(&root, Domain::Link, b"slot 3", &proof).expect("own proof");
        assert_eq!((signer.name(), signer.roles()), ("host07", Roles::NODE));
        let late = NOW + 100 * 365 * 86_400;
        assert_eq!(signer.check_time(NOW), Ok(()));
        assert!(matches!(signer.check_time(late), Err(CredentialError::Expired { .. })));
        for other in [Domain::Final, Domain::Guardians, Domain::Application] {
            let verdict = verify_proof(&root, other, b"slot 3", &proof);
            assert_eq!(verdict, Err(ProofError::BadSignature), "{other:?}");
        }
    }

    #[test]
    fn a_proof_names_its_signer_without_being_verified() {
        let (key, credential) = member("alice", Roles::SUBMIT);
        let proof = prove(&key, &credential, Domain::Application, b"six nodes");
        let claims = claimed_signer(&proof).expect("a proof");
        assert_eq!((claims.name.as_str(), claims.roles), ("alice", Roles::SUBMIT));
        for len in 0..proof.len() {
            assert_eq!(claimed_signer(&proof[..len]), None);
        }
    }

    #[test]
    fn only_the_root_signs_a_policy_and_as_nothing_else() {
        let (root, other) = (root_key(), SigningKey::from_bytes(&[8; 32]));
        let vo = VoRoot::of(&root);
        assert!(verify_policy(&vo, b"rules", &sign_policy(&root, b"rules")));
        assert!(!verify_policy(&vo, b"other rules", &sign_policy(&root, b"rules")));
        assert!(!verify_policy(&vo, b"rules", &sign_policy(&other, b"rules")));
        assert!(!verify_policy(&vo, b"rules", &sign(&root, Domain::Credential, b"rules")));
    }

    proptest! {
        #[test]
        fn damaged_proofs_are_refused(cut in 0usize..270, flip in 0usize..2160) {
            let (key, credential) = member("alice", Roles::SUBMIT);
            let root = VoRoot::of(&root_key());
            let proof = prove(&key, &credential, Domain::Application, b"six nodes");
            let cut = &proof[..cut % proof.len()];
            prop_assert!(verify_proof(&root, Domain::Application, b"six nodes", cut).is_err());
            let mut flipped = proof.clone();
            flipped[flip / 8 % proof.len()] ^= 1 << (flip % 8);
            prop_assert!(verify_proof(&root, Domain::Application, b"six nodes", &flipped).is_err());
        }
    }
}
