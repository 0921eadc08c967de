//! The credential of a slot: the node that holds it says which key speaks for it, for two minutes.
//!
//! Node certificates are leaves and cannot sign others: so the node signs this form, and shows with it its
//! own credential and the evidence of the slot's epoch.

use alloc::vec::Vec;

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Decoder, Encode, Encoder};
use xtreem_allocation::{Epoch, Evidence, SLOTS_MAX};
use xtreem_base::{AppId, NodeId};
use xtreem_wire::{Domain, prove};

/// How long a credential is valid. Short, so that who lost a slot soon has none; a few of its renewals may
/// fail (our guess).
pub const VALID_SECONDS: u64 = 120;

/// So much earlier and later it is taken: clocks of members differ by so much (the clock tolerance of
/// `docs/protocols/wire.md`).
pub const LEEWAY_SECONDS: u64 = 30;

/// Longest encoded credential: 64 links and 8 appointments of 420 bytes each, and itself. Most have less
/// than two kilobytes.
pub const SLOT_CREDENTIAL_MAX_BYTES: usize = 32 << 10;

/// What a node signs of a slot that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SlotClaims {
    /// See `VoRoot::id`.
    #[n(0)]
    pub vo: NodeId,
    #[n(1)]
    pub app: AppId,
    #[n(2)]
    pub slot: u16,
    #[n(3)]
    pub epoch: Epoch,
    /// Ed25519 public key of the slot: TLS proves that its peer has the private one.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// Unix seconds.
    #[n(5)]
    pub not_before: u64,
    /// Unix seconds; at most [`VALID_SECONDS`] later.
    #[n(6)]
    pub not_after: u64,
}

/// A credential whose form was read; nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCredential {
    pub claims: SlotClaims,
    /// As signed.
    pub(crate) body: Vec<u8>,
    /// Credential and signature of the slot's node.
    pub(crate) proof: Vec<u8>,
    /// What shows that this node holds the slot under this epoch.
    pub(crate) evidence: Evidence,
}

/// The credential: `claims`, signed by the node of `key` and `credential`, with the `evidence` of its epoch.
pub fn sign_slot(key: &SigningKey, credential: &[u8], claims: &SlotClaims, evidence: &Evidence) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    // Writing to a Vec cannot fail.
    let body = minicbor::to_vec(claims).expect("a Vec takes all bytes");
    let proof = prove(key, credential, Domain::Slot, &body);
    let bare = Evidence { roots: Vec::new(), finals: Vec::new(), ..evidence.clone() };
    let written = e
        .array(3)
        .and_then(|e| e.bytes(&body))
        .and_then(|e| e.bytes(&proof))
        .and_then(|e| e.encode(&bare))
        .map(|_| ());
    written.expect("a Vec takes all bytes");
    e.into_writer()
}

impl SlotCredential {
    /// Reads one; nothing when it has another form or is too long.
    pub fn read(bytes: &[u8]) -> Option<SlotCredential> {
        if bytes.len() > SLOT_CREDENTIAL_MAX_BYTES {
            return None;
        }
        let mut d = Decoder::new(bytes);
        if d.array().ok()? != Some(3) {
            return None;
        }
        let body = d.bytes().ok()?.to_vec();
        let proof = d.bytes().ok()?.to_vec();
        let evidence = d.decode().ok()?;
        let claims: SlotClaims = minicbor::decode(&body).ok()?;
        (d.position() == bytes.len() && claims.slot < SLOTS_MAX).then_some(SlotCredential {
            claims,
            body,
            proof,
            evidence,
        })
    }
}
