//! Application records: signed by users, verified before the node sees them.

use std::sync::Arc;

use thiserror::Error;
use xtreem_allocation::{Application, Record};
use xtreem_base::Digest;
use xtreem_wire::{Domain, Member, ProofError, Roles, VoRoot, prove, verify_proof, verify_proof_timeless};

use crate::Identity;

/// Why an application record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    #[error("proof: {0}")]
    Proof(#[from] ProofError),
    #[error("signed by neither the owner nor an administrator")]
    WrongSigner,
    #[error("the specification is not the one that the record names")]
    WrongSpec,
}

/// What a proof signs: the record without the proof.
fn statement(record: &Record) -> Vec<u8> {
    let bare = Record { proof: Arc::from([]), ..record.clone() };
    // Writing to a Vec cannot fail.
    minicbor::to_vec(bare).expect("a Vec takes all bytes")
}

/// Puts the proof of `signer` into `record`. The record's owner is the signer, or the signer is an
/// administrator; nobody believes it otherwise.
pub fn sign_record(signer: &Identity, record: &mut Record) {
    let proof = prove(signer.key(), signer.credential(), Domain::Application, &statement(record));
    record.proof = proof.into();
}

/// Checks a record that a user hands in at `now_unix` (seconds): the signer's credential is valid then.
pub fn verify_record(root: &VoRoot, now_unix: u64, record: &Record) -> Result<(), RecordFault> {
    let signer = verify_proof(root, now_unix, Domain::Application, &statement(record), &record.proof)?;
    judge(&signer, record)
}

/// Checks a record that a node passes on. What was submitted goes on, and is replaced where a node dies,
/// whether or not its owner's credential has expired meanwhile.
pub fn verify_record_timeless(root: &VoRoot, record: &Record) -> Result<(), RecordFault> {
    let signer = verify_proof_timeless(root, Domain::Application, &statement(record), &record.proof)?;
    judge(&signer, record)
}

fn judge(signer: &Member, record: &Record) -> Result<(), RecordFault> {
    let is_own = signer.id() == record.owner && signer.roles().may_submit();
    if is_own || signer.roles().has(Roles::ADMIN) { Ok(()) } else { Err(RecordFault::WrongSigner) }
}

/// Checks that the specification beside a record is the one that it names.
pub fn verify_spec(application: &Application) -> Result<(), RecordFault> {
    if spec_digest(application) == application.record.spec_digest {
        Ok(())
    } else {
        Err(RecordFault::WrongSpec)
    }
}

fn spec_digest(application: &Application) -> Digest {
    // Writing to a Vec cannot fail.
    let bytes = minicbor::to_vec(&*application.spec).expect("a Vec takes all bytes");
    Digest::from_bytes(*blake3::hash(&bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;
    use crate::identity::unix_now;
    use xtreem_allocation::Wanted;
    use xtreem_base::{AppId, NodeId};

    fn record(owner: &Identity) -> Record {
        Record {
            id: AppId::from_bytes([1; 16]),
            owner: owner.id(),
            name: "web".into(),
            spec_digest: Digest::from_bytes([2; 32]),
            slots: 6,
            generation: 1,
            wanted: Wanted::Running,
            proof: Arc::from([]),
            submitter: NodeId::from_bytes([9; 16]),
        }
    }

    #[test]
    fn owners_and_administrators_sign_records_and_nobody_else() {
        let vo = VoKey::create("test").expect("a VO");
        let user = |name, roles| vo.issue_user(name, roles, 1).expect("an identity");
        let (alice, bob) = (user("alice", Roles::SUBMIT), user("bob", Roles::SUBMIT));
        let (root, node) = (user("root", Roles::ADMIN), vo.issue_node("n", 1).expect("an identity"));
        let check = |signer: &Identity, owner: &Identity| {
            let mut record = record(owner);
            sign_record(signer, &mut record);
            verify_record(&vo.root(), unix_now(), &record)
        };
        assert_eq!(check(&alice, &alice), Ok(()));
        assert_eq!(check(&root, &alice), Ok(()));
        assert_eq!(check(&bob, &alice), Err(RecordFault::WrongSigner));
        assert_eq!(check(&node, &node), Err(RecordFault::WrongSigner), "nodes submit nothing");
    }

    #[test]
    fn an_expired_owner_hands_nothing_in_and_keeps_what_runs() {
        let vo = VoKey::create("test").expect("a VO");
        let alice = vo.issue("alice", Roles::SUBMIT, 1_000_000, 1).expect("an identity");
        let mut record = record(&alice);
        sign_record(&alice, &mut record);
        let expired = verify_record(&vo.root(), unix_now(), &record);
        assert!(matches!(expired, Err(RecordFault::Proof(ProofError::Credential(_)))), "{expired:?}");
        assert_eq!(verify_record_timeless(&vo.root(), &record), Ok(()));
        record.slots = 600;
        let forged = verify_record_timeless(&vo.root(), &record);
        assert_eq!(forged, Err(RecordFault::Proof(ProofError::BadSignature)));
    }

    #[test]
    fn a_changed_record_has_no_proof() {
        let vo = VoKey::create("test").expect("a VO");
        let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("an identity");
        let mut record = record(&alice);
        sign_record(&alice, &mut record);
        record.slots = 600;
        let fault = Err(RecordFault::Proof(ProofError::BadSignature));
        assert_eq!(verify_record(&vo.root(), unix_now(), &record), fault);
    }
}
