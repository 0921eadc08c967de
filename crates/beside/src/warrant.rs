//! The one thing that starts a command: a warrant, which a user or another slot of the application signs for
//! one run of one slot, one node, one nonce of it and one command, and what a holder asks of it.

use std::sync::Arc;

use ed25519_dalek::{SigningKey, VerifyingKey};
use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_allocation::Epoch;
use xtreem_base::{AppId, NodeId};
use xtreem_trust::{SLOT_CREDENTIAL_MAX_BYTES, SlotHolder, SlotRefusal, Trust};
use xtreem_wire::limits::PROOF_MAX_BYTES;
use xtreem_wire::{
    CredentialError, Domain, Member, ProofError, Roles, VoRoot, prove, sign, verify, verify_proof,
};

/// Most words of a command. Our guess: a shell expands a few hundred file names.
pub const WORDS_MAX: usize = 4_096;
/// Most bytes of all its words together, as long as one argument may be for Linux (execve(2)).
pub const COMMAND_MAX_BYTES: usize = 128 << 10;
/// Longest name of a kind of terminal. Our guess: twice the longest that terminfo has.
const TERMINAL_MAX_BYTES: usize = 64;
/// Random bytes of a nonce: nobody guesses it.
pub const NONCE_BYTES: usize = 32;

/// What a user, or a slot, signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Warrant {
    #[n(0)]
    pub app: AppId,
    #[n(1)]
    pub slot: u16,
    #[n(2)]
    pub epoch: Epoch,
    /// The node that may start it.
    #[n(3)]
    pub holder: NodeId,
    /// As that node drew it for this conversation.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub nonce: [u8; NONCE_BYTES],
    /// The program and its arguments.
    #[cbor(n(5), decode_with = "decode_words")]
    pub command: Vec<String>,
    /// It gets a terminal, of this kind (`TERM`).
    #[cbor(n(6), decode_with = "decode_terminal")]
    pub terminal: Option<String>,
}

/// On whose word a command runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Authority {
    /// The application's owner, or an administrator of the VO, whose proof this is.
    #[n(0)]
    User(#[cbor(n(0), encode_with = "encode_bytes", decode_with = "decode_proof")] Arc<[u8]>),
    /// A slot of the same application. It counts only where the owner has signed that it shall.
    #[n(1)]
    Slot {
        /// What shows whose key it is: `docs/protocols/messaging.md`.
        #[cbor(n(0), encode_with = "encode_bytes", decode_with = "decode_credential")]
        credential: Arc<[u8]>,
        /// By the key that the credential names.
        #[cbor(n(1), with = "minicbor::bytes")]
        signature: [u8; 64],
    },
}

/// Whose word it was.
#[derive(Clone, Debug)]
pub enum Signer {
    User(Box<Member>),
    Slot(SlotHolder),
}

/// Why a command is not started. The holder has done nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// The only one after which it is worth looking for the holder again.
    #[n(0)]
    #[error("the slot does not run on this node")]
    NotHere,
    #[n(1)]
    #[error("the slot's program is not started yet")]
    NotYet,
    #[n(2)]
    #[error("as many commands run there as may at one time")]
    TooMany,
    #[n(3)]
    #[error("the warrant names another application or slot")]
    OtherSlot,
    #[n(4)]
    #[error("the warrant names another node as the slot's holder")]
    OtherHolder,
    #[n(5)]
    #[error("the warrant is for another run of the slot")]
    OtherEpoch,
    #[n(6)]
    #[error("the warrant has another nonce than this node gave: it was used before, or is somebody else's")]
    OtherNonce,
    #[n(7)]
    #[error("the command is empty, has more than {WORDS_MAX} words or more than {COMMAND_MAX_BYTES} bytes")]
    BadCommand,
    #[n(8)]
    #[error("the warrant's signature is not that of a member of this VO over this very command")]
    NotSigned,
    #[n(9)]
    #[error("signed by neither the application's owner nor an administrator")]
    WrongSigner,
    #[n(10)]
    #[error("the signer's credential has expired")]
    Expired,
    #[n(11)]
    #[error("the signer's credential is not valid yet: one of the two clocks is wrong")]
    NotYetValid,
    #[n(12)]
    #[error("the application's file does not let its slots start commands beside each other")]
    SlotsMayNot,
    #[n(13)]
    #[error("the credential is of a slot of another application")]
    OtherApplication,
    #[n(14)]
    #[error("the credential is of a slot of another VO")]
    OtherVo,
    #[n(15)]
    #[error("the credential is of an earlier run of its slot, which runs elsewhere by now")]
    OlderEpoch,
    #[n(16)]
    #[error("the credential does not show that its node holds a slot of this application")]
    NotASlot,
}

/// What a holder has offered to one caller. It is used up by the first warrant.
#[derive(Debug)]
pub struct Offer {
    pub app: AppId,
    pub slot: u16,
    pub epoch: Epoch,
    /// The node itself.
    pub holder: NodeId,
    pub nonce: [u8; NONCE_BYTES],
    /// The owner in the application's record.
    pub owner: NodeId,
}

/// A warrant that a user has signed.
pub fn sign_as_user(key: &SigningKey, credential: &[u8], warrant: &Warrant) -> Authority {
    Authority::User(prove(key, credential, Domain::Warrant, &warrant.bytes()).into())
}

/// A warrant that a slot has signed, by the seed of its key, and which shows its credential.
pub fn sign_as_slot(seed: [u8; 32], credential: &[u8], warrant: &Warrant) -> Authority {
    let signature = sign(&SigningKey::from_bytes(&seed), Domain::SlotWarrant, &warrant.bytes());
    Authority::Slot { credential: credential.into(), signature }
}

impl Warrant {
    /// What is signed.
    fn bytes(&self) -> Vec<u8> {
        // Writing to a Vec cannot fail.
        minicbor::to_vec(self).expect("a Vec takes all bytes")
    }

    fn has_a_good_command(&self) -> bool {
        let len: usize = self.command.iter().map(|word| word.len() + 1).sum();
        (1..=WORDS_MAX).contains(&self.command.len())
            && len <= COMMAND_MAX_BYTES
            && !self.command[0].is_empty()
            && self.command.iter().chain(&self.terminal).all(|word| !word.contains('\0'))
    }
}

impl Offer {
    /// Whose word the warrant is, when it is for this offer and may be followed at `now_unix` (seconds). What
    /// costs most is looked at last. `slots` judges slots of the application, where its owner has signed that
    /// they may.
    pub fn redeem(
        self,
        root: &VoRoot,
        slots: Option<&mut Trust>,
        now_unix: u64,
        warrant: &Warrant,
        authority: &Authority,
    ) -> Result<Signer, Refusal> {
        for (is_right, refusal) in [
            (warrant.holder == self.holder, Refusal::OtherHolder),
            (warrant.app == self.app && warrant.slot == self.slot, Refusal::OtherSlot),
            (warrant.epoch == self.epoch, Refusal::OtherEpoch),
            (warrant.nonce == self.nonce, Refusal::OtherNonce),
            (warrant.has_a_good_command(), Refusal::BadCommand),
        ] {
            if !is_right {
                return Err(refusal);
            }
        }
        match authority {
            Authority::User(proof) => {
                self.user(root, now_unix, warrant, proof).map(|member| Signer::User(Box::new(member)))
            }
            Authority::Slot { credential, signature } => {
                let slots = slots.ok_or(Refusal::SlotsMayNot)?;
                slot(slots, now_unix, warrant, credential, signature).map(Signer::Slot)
            }
        }
    }

    fn user(&self, root: &VoRoot, now_unix: u64, warrant: &Warrant, proof: &[u8]) -> Result<Member, Refusal> {
        let signer = verify_proof(root, Domain::Warrant, &warrant.bytes(), proof).map_err(of_proof)?;
        // As with a record that stops the application.
        let is_own = signer.id() == self.owner && signer.roles().may_submit();
        if !is_own && !signer.roles().has(Roles::ADMIN) {
            return Err(Refusal::WrongSigner);
        }
        signer.check_time(now_unix).map_err(|error| of_proof(error.into()))?;
        Ok(signer)
    }
}

/// The slot whose word the warrant is.
fn slot(
    slots: &mut Trust,
    now_unix: u64,
    warrant: &Warrant,
    credential: &[u8],
    signature: &[u8; 64],
) -> Result<SlotHolder, Refusal> {
    let signer = slots.judge(now_unix, credential).map_err(of_slot)?;
    let key = VerifyingKey::from_bytes(&signer.key).map_err(|_| Refusal::NotASlot)?;
    let is_signed = verify(&key, Domain::SlotWarrant, &warrant.bytes(), signature);
    is_signed.then_some(signer).ok_or(Refusal::NotSigned)
}

fn of_slot(error: SlotRefusal) -> Refusal {
    match error {
        SlotRefusal::OtherVo { .. } => Refusal::OtherVo,
        SlotRefusal::OtherApplication { .. } => Refusal::OtherApplication,
        SlotRefusal::OlderEpoch { .. } => Refusal::OlderEpoch,
        SlotRefusal::Expired { .. } | SlotRefusal::NodeDates(CredentialError::Expired { .. }) => {
            Refusal::Expired
        }
        SlotRefusal::NotYetValid { .. } | SlotRefusal::NodeDates(CredentialError::NotYetValid { .. }) => {
            Refusal::NotYetValid
        }
        _ => Refusal::NotASlot,
    }
}

fn of_proof(error: ProofError) -> Refusal {
    match error {
        ProofError::Credential(CredentialError::Expired { .. }) => Refusal::Expired,
        ProofError::Credential(CredentialError::NotYetValid { .. }) => Refusal::NotYetValid,
        _ => Refusal::NotSigned,
    }
}

/// No more words are taken in than a command may have: each takes more room here than it did on the way.
fn decode_words<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<String>, decode::Error> {
    let mut words = Vec::new();
    for word in d.array_iter::<&str>()? {
        if words.len() == WORDS_MAX {
            return Err(decode::Error::message("a command of too many words"));
        }
        words.push(word?.to_owned());
    }
    Ok(words)
}

fn decode_terminal<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<String>, decode::Error> {
    let name: Option<&str> = d.decode()?;
    match name {
        Some(name) if name.len() > TERMINAL_MAX_BYTES => {
            Err(decode::Error::message("too long a name of a terminal"))
        }
        name => Ok(name.map(str::to_owned)),
    }
}

fn encode_bytes<C, W: minicbor::encode::Write>(
    bytes: &Arc<[u8]>,
    e: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.bytes(bytes)?.ok()
}

fn decode_proof<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, decode::Error> {
    match d.bytes()? {
        proof if proof.len() > PROOF_MAX_BYTES => Err(decode::Error::message("too long a proof")),
        proof => Ok(proof.into()),
    }
}

fn decode_credential<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, decode::Error> {
    match d.bytes()? {
        shown if shown.len() > SLOT_CREDENTIAL_MAX_BYTES => {
            Err(decode::Error::message("too long a credential"))
        }
        shown => Ok(shown.into()),
    }
}

#[cfg(test)]
mod tests;
