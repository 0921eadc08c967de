//! What nodes sign about applications: links, final states, appointments of guardians, signs of life.

use alloc::sync::Arc;

use ed25519_dalek::SigningKey;
use thiserror::Error;
use xtreem_allocation::Claim;
use xtreem_wire::{Domain, ProofError, Roles, VoRoot, prove, verify_proof};

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

/// What a signature of such a claim states.
pub fn domain(claim: Claim<'_>) -> Domain {
    match claim {
        Claim::Alive(_) => Domain::Alive,
        Claim::Link(_) => Domain::Link,
        Claim::Final(_) => Domain::Final,
        Claim::Guardians(_) => Domain::Guardians,
    }
}

/// The proof that the owner of `key` and `credential` says this.
pub fn sign_claim(key: &SigningKey, credential: &[u8], claim: Claim<'_>) -> Arc<[u8]> {
    prove(key, credential, domain(claim), &claim.bytes()).into()
}

/// Checks that the node that the claim names has signed it. Its credential may have expired since.
pub fn verify_claim(root: &VoRoot, claim: Claim<'_>, proof: &[u8]) -> Result<(), ClaimFault> {
    let signer = verify_proof(root, domain(claim), &claim.bytes(), proof)?;
    if !signer.roles().has(Roles::NODE) {
        return Err(ClaimFault::NotANode);
    }
    if signer.id() == claim.signer() { Ok(()) } else { Err(ClaimFault::WrongSigner) }
}
