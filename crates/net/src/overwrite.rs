//! An administrator's word that an item of the ring of all nodes be written over or removed: good for one
//! version of one key, in one VO, for two minutes.

use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_wire::{Domain, Member, ProofError, Roles, VoRoot, prove, verify_proof};

use crate::Identity;

/// Before and after the moment of signing. Our guess: more than a wrong clock that a node still works with,
/// and the time of an operation.
const VALID_SECONDS: u64 = 120;

/// A signature as it is handed to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedOverwrite {
    /// Unix seconds.
    #[n(0)]
    pub at_unix: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub proof: Vec<u8>,
}

/// Why a word to write over an item does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OverwriteFault {
    #[error("proof: {0}")]
    Proof(#[from] ProofError),
    #[error(
        "only administrators of the VO write over or remove what another node wrote: use a credential made \
         with `--role admin`"
    )]
    NotAllowed,
    #[error("signed {0} s away from now: do it again, with a clock that is right")]
    Stale(u64),
}

/// The signer's key may have credentials of other VOs, so the VO is named.
fn statement(root: &VoRoot, at_unix: u64, what: &[u8]) -> Vec<u8> {
    [&root.id().as_bytes()[..], &at_unix.to_be_bytes(), what].concat()
}

/// Signs `what` (`xtreem_overlay::store::Overwrite::statement`) as said at `at_unix` (seconds).
pub fn sign_overwrite(signer: &Identity, at_unix: u64, what: &[u8]) -> SignedOverwrite {
    let signed = statement(signer.root(), at_unix, what);
    let proof = prove(signer.key(), signer.credential(), Domain::Overwrite, &signed);
    SignedOverwrite { at_unix, proof }
}

/// The administrator who signed `what` at `at_unix`, as seen at `now_unix` (seconds).
///
/// # Errors
/// See [`OverwriteFault`].
pub fn verify_overwrite(
    root: &VoRoot,
    now_unix: u64,
    at_unix: u64,
    what: &[u8],
    proof: &[u8],
) -> Result<Member, OverwriteFault> {
    let away = now_unix.abs_diff(at_unix);
    if away > VALID_SECONDS {
        return Err(OverwriteFault::Stale(away));
    }
    let by = verify_proof(root, Domain::Overwrite, &statement(root, at_unix, what), proof)?;
    by.check_time(now_unix).map_err(ProofError::from)?;
    if by.roles().has(Roles::ADMIN) { Ok(by) } else { Err(OverwriteFault::NotAllowed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;
    use crate::identity::unix_now;

    #[test]
    fn administrators_of_this_vo_write_over_for_two_minutes_and_nobody_else() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
        let user = |name, roles| vo.issue_user(name, roles, 1).expect("an identity");
        let (alice, admin) = (user("alice", Roles::SUBMIT), user("root", Roles::ADMIN));
        let (node, now) = (vo.issue_node("n", 1).expect("an identity"), unix_now());
        let judge = |signer: &Identity, vo: &VoKey, now| {
            let SignedOverwrite { at_unix, proof } = sign_overwrite(signer, unix_now(), b"this");
            verify_overwrite(&vo.root(), now, at_unix, b"this", &proof).map(|by| by.id())
        };
        assert_eq!(judge(&admin, &vo, now), Ok(admin.id()));
        assert_eq!(judge(&alice, &vo, now), Err(OverwriteFault::NotAllowed));
        assert_eq!(judge(&node, &vo, now), Err(OverwriteFault::NotAllowed), "a node is no administrator");
        assert!(matches!(judge(&admin, &other, now), Err(OverwriteFault::Proof(_))));
        assert!(matches!(judge(&admin, &vo, now + 200), Err(OverwriteFault::Stale(_))));
        assert!(matches!(judge(&admin, &vo, now - 200), Err(OverwriteFault::Stale(_))));
    }

    #[test]
    fn a_word_counts_for_what_was_signed_and_at_its_time() {
        let vo = VoKey::create("test").expect("a VO");
        let (admin, now) = (vo.issue_user("root", Roles::ADMIN, 1).expect("an identity"), unix_now());
        let SignedOverwrite { at_unix, proof } = sign_overwrite(&admin, now, b"this");
        let judge = |at, what: &[u8], proof: &[u8]| verify_overwrite(&vo.root(), now, at, what, proof);
        let fault = OverwriteFault::Proof(ProofError::BadSignature);
        assert_eq!(judge(at_unix, b"that", &proof).map(drop), Err(fault.clone()));
        assert_eq!(judge(at_unix + 1, b"this", &proof).map(drop), Err(fault));
        for end in 0..proof.len() {
            assert!(judge(at_unix, b"this", &proof[..end]).is_err());
        }
    }
}
