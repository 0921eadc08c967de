//! What nodes sign about applications: links, final states, appointments of guardians.

use std::collections::BTreeSet;
use std::sync::Arc;

use thiserror::Error;
use xtreem_allocation::Claim;
use xtreem_wire::{Domain, ProofError, Roles, VoRoot, prove, verify_proof};

use crate::Identity;

/// Claims whose signatures were checked; beyond it an arbitrary one is forgotten, which costs two
/// verifications when it comes again.
const VOUCHED_MAX: usize = 8_192;

/// Why a claim is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimFault {
    #[error("proof: {0}")]
    Proof(#[from] ProofError),
    #[error("signed by another node than the one that it names")]
    WrongSigner,
    #[error("the signer has no role of a node")]
    NotANode,
}

fn domain(claim: Claim<'_>) -> Domain {
    match claim {
        Claim::Alive(_) => Domain::Alive,
        Claim::Link(_) => Domain::Link,
        Claim::Final(_) => Domain::Final,
        Claim::Guardians(_) => Domain::Guardians,
    }
}

/// The proof that `signer` says this.
pub fn sign_claim(signer: &Identity, claim: Claim<'_>) -> Arc<[u8]> {
    prove(signer.key(), signer.credential(), domain(claim), &claim.bytes()).into()
}

/// Checks that the node that the claim names has signed it. Its credential may have expired since.
pub fn verify_claim(root: &VoRoot, claim: Claim<'_>, proof: &[u8]) -> Result<(), ClaimFault> {
    let signer = verify_proof(root, domain(claim), &claim.bytes(), proof)?;
    if !signer.roles().has(Roles::NODE) {
        return Err(ClaimFault::NotANode);
    }
    if signer.id() == claim.signer() { Ok(()) } else { Err(ClaimFault::WrongSigner) }
}

/// Claims that were verified: the same ones come again and again.
#[derive(Debug, Default)]
pub(crate) struct Vouched(BTreeSet<[u8; 32]>);

impl Vouched {
    /// As [`verify_claim`], at most once for each claim as long as it is remembered.
    pub(crate) fn verify(&mut self, root: &VoRoot, claim: Claim<'_>, proof: &[u8]) -> Result<(), ClaimFault> {
        let bytes = claim.bytes();
        let mut hasher = blake3::Hasher::new();
        // The length is part of the key, so that no two splits of the same bytes share one.
        hasher.update(&[domain(claim) as u8]).update(&bytes.len().to_be_bytes()).update(&bytes).update(proof);
        let key = *hasher.finalize().as_bytes();
        if self.0.contains(&key) {
            return Ok(());
        }
        verify_claim(root, claim, proof)?;
        if self.0.len() >= VOUCHED_MAX {
            self.0.pop_first();
        }
        self.0.insert(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xtreem_allocation::{Body as _, Epoch, Exit, Final, Link, SlotState};
    use xtreem_base::{AppId, NodeId};

    use super::*;
    use crate::VoKey;

    fn link(recruiter: NodeId) -> Link {
        let epoch = Epoch { counter: 5, recruiter, incarnation: 3, attempt: 9 };
        Link {
            app: AppId::from_bytes([1; 16]),
            slot: 2,
            epoch,
            holder: NodeId::from_bytes([4; 16]),
            after: 4,
        }
    }

    #[test]
    fn a_claim_is_signed_by_the_node_that_it_names_and_holds_after_its_credential() {
        let vo = VoKey::create("test").expect("a VO");
        let (one, other) = (vo.issue_node("n1", 1), vo.issue_node("n2", 1));
        let (one, other) = (one.expect("an identity"), other.expect("an identity"));
        let old = vo.issue("n3", Roles::NODE, 1_000_000_000, 1).expect("an identity");
        let user = vo.issue_user("alice", Roles::SUBMIT, 1).expect("an identity");
        let check = |signer: &Identity, named: &Identity| {
            let link = link(named.id());
            verify_claim(&vo.root(), link.claim(), &sign_claim(signer, link.claim()))
        };
        assert_eq!(check(&one, &one), Ok(()));
        assert_eq!(check(&old, &old), Ok(()), "it was valid when it was signed");
        assert_eq!(check(&other, &one), Err(ClaimFault::WrongSigner));
        assert_eq!(check(&user, &user), Err(ClaimFault::NotANode));
        let stranger = VoKey::create("other").expect("a VO").issue_node("n1", 1).expect("an identity");
        assert!(matches!(check(&stranger, &stranger), Err(ClaimFault::Proof(_))));
    }

    #[test]
    fn a_changed_claim_or_one_of_another_kind_has_no_proof() {
        let vo = VoKey::create("test").expect("a VO");
        let node = vo.issue_node("n1", 1).expect("an identity");
        let link = link(node.id());
        let proof = sign_claim(&node, link.claim());
        let mut vouched = Vouched::default();
        assert_eq!(vouched.verify(&vo.root(), link.claim(), &proof), Ok(()));
        for other in [Link { slot: 3, ..link.clone() }, Link { after: 3, ..link.clone() }] {
            assert!(vouched.verify(&vo.root(), other.claim(), &proof).is_err(), "{other:?}");
        }
        let state = SlotState::Done(Exit::Code(0));
        let ended = Final { app: link.app, slot: link.slot, epoch: link.epoch, state, holder: node.id() };
        assert!(vouched.verify(&vo.root(), ended.claim(), &proof).is_err());
    }

    #[test]
    fn what_was_verified_is_remembered_within_a_limit() {
        let vo = VoKey::create("test").expect("a VO");
        let node = vo.issue_node("n1", 1).expect("an identity");
        let link = link(node.id());
        let proof = sign_claim(&node, link.claim());
        let mut vouched = Vouched((0..VOUCHED_MAX as u64).map(number).collect());
        for _ in 0..3 {
            assert_eq!(vouched.verify(&vo.root(), link.claim(), &proof), Ok(()));
            assert_eq!(vouched.0.len(), VOUCHED_MAX);
        }
    }

    fn number(number: u64) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }
}
