//! Signatures as tokens: in this world only the node itself can make the one that names it.

use std::sync::Arc;

use xtreem_allocation::{Claim, Statement};
use xtreem_base::NodeId;
use xtreem_node::Message;

use crate::digest::Digest;

/// The token of `signer` for a claim: its id, and a digest of what it says.
pub(super) fn token(signer: NodeId, claim: Claim<'_>) -> Arc<[u8]> {
    let mut token = [0; 24];
    token[..16].copy_from_slice(signer.as_bytes());
    token[16..].copy_from_slice(&digest(claim).to_be_bytes());
    Arc::from(token)
}

fn digest(claim: Claim<'_>) -> u64 {
    let kind = match claim {
        Claim::Alive(_) => 0,
        Claim::Link(_) => 1,
        Claim::Final(_) => 2,
        Claim::Guardians(_) => 3,
    };
    let bytes = claim.bytes();
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_be_bytes(word)
    });
    Digest::of_all(std::iter::once(kind).chain(words))
}

/// Whether every claim in a message is signed by the node that it names, as a driver checks it.
pub(super) fn holds(message: &Message) -> bool {
    let mut holds = true;
    message.for_each_statement(&mut |statement| {
        if let Statement::Claim(claim, proof) = statement {
            holds = holds && proof == &*token(claim.signer(), claim);
        }
    });
    holds
}

#[cfg(test)]
mod tests {
    use xtreem_allocation::{Epoch, Link};
    use xtreem_base::AppId;

    use super::*;

    #[test]
    fn a_token_is_of_one_node_and_one_claim() {
        let (one, other) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
        let epoch = Epoch { counter: 1, recruiter: one, incarnation: 1, attempt: 1 };
        let link = Link { app: AppId::from_bytes([1; 16]), slot: 1, epoch, holder: other, after: 0 };
        let token_of = |signer, link: &Link| token(signer, Claim::Link(link));
        assert_eq!(token_of(one, &link), token_of(one, &link));
        assert_ne!(token_of(one, &link), token_of(other, &link));
        assert_ne!(token_of(one, &link), token_of(one, &Link { slot: 2, ..link.clone() }));
    }
}
