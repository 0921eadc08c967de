//! A VO's policy: signed by its root, verified before the node sees it.

use thiserror::Error;
use xtreem_allocation::policy::{Policy, PolicyError, SignedPolicy};
use xtreem_base::Digest;
use xtreem_wire::{VoRoot, verify_policy};

use crate::VoKey;

/// Why a policy is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyFault {
    #[error("the policy is not signed by the VO's root")]
    BadSignature,
    #[error("the policy: {0}")]
    Document(#[from] PolicyError),
}

impl VoKey {
    /// Signs a policy.
    pub fn sign_policy(&self, policy: &Policy) -> Result<SignedPolicy, PolicyError> {
        let document = policy.to_document()?;
        let signature = xtreem_wire::sign_policy(self.key(), &document);
        Ok(SignedPolicy { digest: digest(&document), document: document.into(), signature })
    }
}

/// Checks signature, digest and content.
pub fn verify(root: &VoRoot, signed: &SignedPolicy) -> Result<Policy, PolicyFault> {
    let is_signed = verify_policy(root, &signed.document, &signed.signature);
    if !is_signed || digest(&signed.document) != signed.digest {
        return Err(PolicyFault::BadSignature);
    }
    Ok(signed.open()?.0)
}

fn digest(document: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(document).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_root_signed_is_believed() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
        let policy = Policy { version: 3, rules: vec![] };
        let signed = vo.sign_policy(&policy).expect("a good policy");
        assert_eq!(verify(&vo.root(), &signed), Ok(policy.clone()));
        assert_eq!(verify(&other.root(), &signed), Err(PolicyFault::BadSignature));
        let newer = Policy { version: 4, rules: vec![] }.to_document().expect("a good policy");
        let forged = SignedPolicy { digest: digest(&newer), document: newer.into(), ..signed.clone() };
        assert_eq!(verify(&vo.root(), &forged), Err(PolicyFault::BadSignature));
        // A digest of its own choice would win the order among policies of one version.
        let boosted = SignedPolicy { digest: Digest::from_bytes([0xff; 32]), ..signed };
        assert_eq!(verify(&vo.root(), &boosted), Err(PolicyFault::BadSignature));
    }
}
