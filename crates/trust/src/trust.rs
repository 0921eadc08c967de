//! The one verifier of slot credentials: what a member believes of its application, and what it makes of a
//! credential that somebody shows.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ed25519_dalek::VerifyingKey;
use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_allocation::{Chain, Claim, Epoch, Evidence, LINKS_MAX, SLOTS_MAX};
use xtreem_base::{AppId, NodeId};
use xtreem_wire::{CredentialError, Domain, ProofError, Roles, VoRoot, verify_proof};

use crate::claims::{ClaimFault, verify_claim};
use crate::slot::{LEEWAY_SECONDS, SLOT_CREDENTIAL_MAX_BYTES, SlotCredential, VALID_SECONDS};

#[cfg(test)]
mod tests;

/// Longest encoded [`Grounds`]: all that a node believes of an application, and an epoch for each slot.
pub const GROUNDS_MAX_BYTES: usize = 512 << 10;

/// What the agent of a slot tells its program, for it to judge other members by.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Grounds {
    /// Public key of the VO's root.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub root: [u8; 32],
    #[n(1)]
    pub app: AppId,
    /// How many slots the application has.
    #[n(2)]
    pub slots: u16,
    /// The node through which the application was submitted.
    #[n(3)]
    pub submitter: NodeId,
    /// All that the node believes of the application.
    #[n(4)]
    pub believed: Evidence,
    /// The highest epochs that are proven, by slot.
    #[n(5)]
    pub epochs: Vec<(u16, Epoch)>,
}

/// A member that has shown a credential that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHolder {
    pub slot: u16,
    pub epoch: Epoch,
    /// The node that holds the slot.
    pub node: NodeId,
    /// The slot's public key.
    pub key: [u8; 32],
    /// Unix seconds, without the leeway.
    pub not_after: u64,
}

/// Why a slot's credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SlotRefusal {
    #[error("credential of {len} bytes is longer than {SLOT_CREDENTIAL_MAX_BYTES}")]
    TooLong { len: usize },
    #[error("credential is malformed")]
    Malformed,
    #[error("credential of another VO ({vo:?})")]
    OtherVo { vo: NodeId },
    #[error("credential of another application ({app:?})")]
    OtherApplication { app: AppId },
    #[error("the application has no slot {slot}")]
    NoSuchSlot { slot: u16 },
    #[error("credential is not valid before {not_before} (unix seconds)")]
    NotYetValid { not_before: u64 },
    #[error("credential expired at {not_after} (unix seconds)")]
    Expired { not_after: u64 },
    #[error("credential is valid for {seconds} s: {VALID_SECONDS} are allowed")]
    ValidTooLong { seconds: u64 },
    #[error("older epoch of slot {slot}: {known} is known")]
    OlderEpoch { slot: u16, known: Epoch },
    #[error("its node: {0}")]
    Node(#[from] ProofError),
    #[error("its node's credential: {0}")]
    NodeDates(CredentialError),
    #[error("it is not signed by a node")]
    NotANode,
    #[error("a claim in its evidence: {0}")]
    Claim(#[from] ClaimFault),
    #[error("nothing shows that its node holds slot {slot} under this epoch")]
    NotTheHolder { slot: u16 },
}

/// What one member believes of its application.
#[derive(Clone, Debug)]
pub struct Trust {
    root: VoRoot,
    app: AppId,
    slots: u16,
    chain: Chain,
    /// The highest epoch of each slot that is proven, or whose holder has shown its credential.
    highest: BTreeMap<u16, Epoch>,
    raised: u64,
}

impl Trust {
    /// Begins with what the own agent tells; nothing when the VO's key is none.
    pub fn new(grounds: &Grounds) -> Option<Trust> {
        let mut chain = Chain::new(grounds.app, grounds.submitter);
        // The own agent has verified it, and is believed like the newcomer's recruiter.
        chain.begin_with(&grounds.believed);
        let root = VoRoot::from_bytes(&grounds.root)?;
        let mut trust = Trust {
            root,
            app: grounds.app,
            slots: grounds.slots,
            chain,
            highest: BTreeMap::new(),
            raised: 0,
        };
        trust.add(grounds);
        Some(trust)
    }

    /// What the own agent tells later.
    pub fn add(&mut self, grounds: &Grounds) {
        self.slots = grounds.slots;
        self.chain.add_root(grounds.submitter);
        self.chain.begin_with(&grounds.believed);
        self.trim();
        for (slot, epoch) in &grounds.epochs {
            self.raise(*slot, *epoch);
        }
    }

    /// How many slots the application has.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// The highest epoch known of a slot.
    pub fn highest(&self, slot: u16) -> Option<Epoch> {
        self.highest.get(&slot).copied()
    }

    /// How often a higher epoch of some slot became known.
    pub fn raised(&self) -> u64 {
        self.raised
    }

    /// The own agent says that the slot runs under this epoch. True when that is news.
    pub fn raise(&mut self, slot: u16, epoch: Epoch) -> bool {
        let is_higher = slot < SLOTS_MAX && self.highest.get(&slot).is_none_or(|known| *known < epoch);
        if is_higher {
            self.highest.insert(slot, epoch);
            self.raised += 1;
        }
        is_higher
    }

    /// Who shows this credential at `now_unix` (seconds), the cheapest checks first. A good one of a higher
    /// epoch than is known is remembered.
    pub fn judge(&mut self, now_unix: u64, bytes: &[u8]) -> Result<SlotHolder, SlotRefusal> {
        if bytes.len() > SLOT_CREDENTIAL_MAX_BYTES {
            return Err(SlotRefusal::TooLong { len: bytes.len() });
        }
        let shown = SlotCredential::read(bytes).ok_or(SlotRefusal::Malformed)?;
        self.check_claims(now_unix, &shown)?;
        let claims = &shown.claims;
        let node = verify_proof(&self.root, Domain::Slot, &shown.body, &shown.proof)?;
        node.check_time(now_unix).map_err(SlotRefusal::NodeDates)?;
        if !node.roles().has(Roles::NODE) {
            return Err(SlotRefusal::NotANode);
        }
        if self.chain.holder(claims.slot, claims.epoch).is_none() {
            self.admit(&shown.evidence)?;
        }
        // A link that hangs on nothing known, or that names another node, proves nothing.
        if self.chain.holder(claims.slot, claims.epoch) != Some(node.id()) {
            return Err(SlotRefusal::NotTheHolder { slot: claims.slot });
        }
        self.raise(claims.slot, claims.epoch);
        self.trim();
        Ok(SlotHolder {
            slot: claims.slot,
            epoch: claims.epoch,
            node: node.id(),
            key: claims.key,
            not_after: claims.not_after,
        })
    }

    /// All that needs no signature.
    fn check_claims(&self, now_unix: u64, shown: &SlotCredential) -> Result<(), SlotRefusal> {
        let claims = &shown.claims;
        if claims.vo != self.root.id() {
            return Err(SlotRefusal::OtherVo { vo: claims.vo });
        }
        if claims.app != self.app {
            return Err(SlotRefusal::OtherApplication { app: claims.app });
        }
        if claims.slot >= self.slots {
            return Err(SlotRefusal::NoSuchSlot { slot: claims.slot });
        }
        if now_unix.saturating_add(LEEWAY_SECONDS) < claims.not_before {
            return Err(SlotRefusal::NotYetValid { not_before: claims.not_before });
        }
        if now_unix > claims.not_after.saturating_add(LEEWAY_SECONDS) {
            return Err(SlotRefusal::Expired { not_after: claims.not_after });
        }
        let seconds = claims.not_after.saturating_sub(claims.not_before);
        if seconds > VALID_SECONDS {
            return Err(SlotRefusal::ValidTooLong { seconds });
        }
        if VerifyingKey::from_bytes(&claims.key).is_err() {
            return Err(SlotRefusal::Malformed);
        }
        match self.highest(claims.slot) {
            Some(known) if known > claims.epoch => Err(SlotRefusal::OlderEpoch { slot: claims.slot, known }),
            _ => Ok(()),
        }
    }

    /// Verifies what is not believed yet, and believes what is entitled.
    fn admit(&mut self, evidence: &Evidence) -> Result<(), SlotRefusal> {
        let mut verdict = Ok(());
        evidence.for_each_claim(&mut |claim, proof| {
            if verdict.is_ok() && !self.is_believed(claim) {
                verdict = verify_claim(&self.root, claim, proof);
            }
        });
        verdict?;
        // What of it is not entitled stays out, and what hangs on it too.
        self.chain.admit(&Evidence { roots: Vec::new(), ..evidence.clone() });
        Ok(())
    }

    /// Verified before: its signature costs nothing again.
    fn is_believed(&self, claim: Claim<'_>) -> bool {
        matches!(claim, Claim::Link(link)
            if self.chain.link(link.slot, link.epoch).is_some_and(|known| known.body == *link))
    }

    fn trim(&mut self) {
        self.chain.trim(LINKS_MAX, self.highest.iter().map(|(slot, epoch)| (*slot, *epoch)));
    }
}
