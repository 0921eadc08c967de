//! What nodes sign about applications: links, final states, appointments of guardians.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
use xtreem_allocation::Claim;
use xtreem_base::{Instant, NodeId};
use xtreem_trust::{ClaimFault, domain, verify_claim};
use xtreem_wire::VoRoot;

use crate::Identity;

/// Claims whose signatures were checked; beyond it an arbitrary one is forgotten, which costs two
/// verifications when it comes again.
const VOUCHED_MAX: usize = 8_192;

/// Claims of one sender that are verified at once: what somebody has to tell who comes back from a long
/// split. Our guess; 10 ms of work for each hundred.
const ALLOWANCE_MAX: u32 = 2_048;

/// ... and so many more each second. Our guess: some large messages.
const ALLOWANCE_PER_SECOND: u64 = 256;

/// Senders whose spending is remembered; beyond it one that has spent least is forgotten.
const SPENDERS_MAX: usize = 1_024;

/// Why a claim in a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotTaken {
    #[error(transparent)]
    Claim(#[from] ClaimFault),
    #[error("its sender has had too many of them verified lately")]
    TooMany,
}

/// The proof that `signer` says this.
pub fn sign_claim(signer: &Identity, claim: Claim<'_>) -> Arc<[u8]> {
    xtreem_trust::sign_claim(signer.key(), signer.credential(), claim)
}

/// Claims that were verified: the same ones come again and again.
#[derive(Debug, Default)]
pub(crate) struct Vouched(BTreeSet<[u8; 32]>);

impl Vouched {
    /// As [`verify_claim`], at most once for each claim as long as it is remembered, and so often as its
    /// sender may ask for it.
    pub(crate) fn verify(
        &mut self,
        root: &VoRoot,
        left: &mut u32,
        claim: Claim<'_>,
        proof: &[u8],
    ) -> Result<(), NotTaken> {
        let bytes = claim.bytes();
        let mut hasher = blake3::Hasher::new();
        // The length is part of the key, so that no two splits of the same bytes share one.
        hasher.update(&[domain(claim) as u8]).update(&bytes.len().to_be_bytes()).update(&bytes).update(proof);
        let key = *hasher.finalize().as_bytes();
        if self.0.contains(&key) {
            return Ok(());
        }
        *left = left.checked_sub(1).ok_or(NotTaken::TooMany)?;
        verify_claim(root, claim, proof)?;
        if self.0.len() >= VOUCHED_MAX {
            self.0.pop_first();
        }
        self.0.insert(key);
        Ok(())
    }
}

/// How many claims each sender may have verified: it takes as long as a signature does, on the node's own
/// task, and a message may have hundreds.
#[derive(Debug, Default)]
pub(crate) struct Allowances(BTreeMap<NodeId, (Instant, u32)>);

impl Allowances {
    /// What the sender has left.
    pub(crate) fn of(&self, now: Instant, sender: NodeId) -> u32 {
        let Some((at, left)) = self.0.get(&sender) else { return ALLOWANCE_MAX };
        let more = now.since(*at).as_micros().saturating_mul(ALLOWANCE_PER_SECOND) / 1_000_000;
        u32::try_from(more).unwrap_or(u32::MAX).saturating_add(*left).min(ALLOWANCE_MAX)
    }

    /// What is left of it after a message. Who spent nothing is not remembered.
    pub(crate) fn set(&mut self, now: Instant, sender: NodeId, left: u32) {
        if left == self.of(now, sender) {
            return;
        }
        if self.0.len() >= SPENDERS_MAX && !self.0.contains_key(&sender) {
            let all: Vec<(u32, NodeId)> = self.0.keys().map(|id| (self.of(now, *id), *id)).collect();
            let is_whole = |id: &NodeId| all.contains(&(ALLOWANCE_MAX, *id));
            self.0.retain(|id, _| !is_whole(id));
            if self.0.len() >= SPENDERS_MAX
                && let Some((_, least)) = all.into_iter().max()
            {
                self.0.remove(&least);
            }
        }
        self.0.insert(sender, (now, left));
    }
}

#[cfg(test)]
mod tests {
    use xtreem_allocation::{Body as _, Epoch, Exit, Final, Link, SlotState};
    use xtreem_base::{AppId, NodeId};

    use super::*;
    use crate::{Roles, VoKey};

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
        let mut left = 9;
        assert_eq!(vouched.verify(&vo.root(), &mut left, link.claim(), &proof), Ok(()));
        for other in [Link { slot: 3, ..link.clone() }, Link { after: 3, ..link.clone() }] {
            assert!(vouched.verify(&vo.root(), &mut left, other.claim(), &proof).is_err(), "{other:?}");
        }
        let state = SlotState::Done(Exit::Code(0));
        let ended = Final { app: link.app, slot: link.slot, epoch: link.epoch, state, holder: node.id() };
        assert!(vouched.verify(&vo.root(), &mut left, ended.claim(), &proof).is_err());
    }

    #[test]
    fn what_was_verified_is_remembered_within_a_limit() {
        let vo = VoKey::create("test").expect("a VO");
        let node = vo.issue_node("n1", 1).expect("an identity");
        let link = link(node.id());
        let proof = sign_claim(&node, link.claim());
        let mut vouched = Vouched((0..VOUCHED_MAX as u64).map(number).collect());
        let mut left = 1;
        for _ in 0..3 {
            assert_eq!(vouched.verify(&vo.root(), &mut left, link.claim(), &proof), Ok(()));
            assert_eq!(vouched.0.len(), VOUCHED_MAX);
        }
    }

    #[test]
    fn what_is_not_remembered_is_verified_as_often_as_its_sender_has_left() {
        let vo = VoKey::create("test").expect("a VO");
        let node = vo.issue_node("n1", 1).expect("an identity");
        let (first, second) = (link(node.id()), Link { slot: 3, ..link(node.id()) });
        let (mut vouched, mut left) = (Vouched::default(), 1);
        for (link, verdict) in [(&first, Ok(())), (&first, Ok(())), (&second, Err(NotTaken::TooMany))] {
            let proof = sign_claim(&node, link.claim());
            assert_eq!(vouched.verify(&vo.root(), &mut left, link.claim(), &proof), verdict);
        }
    }

    #[test]
    fn an_allowance_comes_back_with_time_and_that_of_others_is_their_own() {
        let sender = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            NodeId::from_bytes(id)
        };
        let at = Instant::from_millis;
        let mut allowances = Allowances::default();
        assert_eq!(allowances.of(at(0), sender(1)), ALLOWANCE_MAX);
        allowances.set(at(0), sender(1), 0);
        for (millis, left) in [(0, 0), (500, 128), (1_000, 256), (8_000, 2_048), (90_000, 2_048)] {
            assert_eq!(allowances.of(at(millis), sender(1)), left, "after {millis} ms");
        }
        assert_eq!(allowances.of(at(0), sender(2)), ALLOWANCE_MAX);
        for number in 0..3_000 {
            allowances.set(at(10), sender(number), if number == 7 { 0 } else { 2_000 });
            assert!(allowances.0.len() <= SPENDERS_MAX);
        }
        assert_eq!(allowances.of(at(10), sender(7)), 0, "who spent most is remembered");
        allowances.set(at(90_000), sender(9_000), ALLOWANCE_MAX);
        allowances.set(at(90_000), sender(9_001), 5);
        assert_eq!(allowances.0.len(), 1, "who has all of it again is not");
    }

    fn number(number: u64) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }
}
