//! Application records: signed by users, verified before the node sees them.

use std::sync::Arc;

use thiserror::Error;
use xtreem_allocation::{Application, Record};
use xtreem_base::Digest;
use xtreem_wire::{Domain, Member, ProofError, Roles, VoRoot, prove, verify_proof};

use crate::Identity;

/// So long after its credential ended an administrator's word on somebody else's application still counts
/// among members: as long as a node that was away takes up its roles again, so that it hears of a stop.
const ADMINISTRATOR_GRACE_SECONDS: u64 = 30 * 86_400;

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

/// Checks a record that a user hands in at `now_unix` (seconds): its signer's credential is in force.
pub fn verify_record(root: &VoRoot, now_unix: u64, record: &Record) -> Result<(), RecordFault> {
    let (signer, _) = signer(root, record)?;
    signer.check_time(now_unix).map_err(ProofError::from)?;
    Ok(())
}

/// Checks a record that a member tells at `now_unix` (seconds). An application outlives its owner's
/// credential, which was in force when it was handed in: "Records and the clock" in
/// `docs/protocols/security.md`.
pub fn verify_told_record(root: &VoRoot, now_unix: u64, record: &Record) -> Result<(), RecordFault> {
    let (signer, is_own) = signer(root, record)?;
    if !is_own {
        signer.check_ended(now_unix.saturating_sub(ADMINISTRATOR_GRACE_SECONDS)).map_err(ProofError::from)?;
    }
    Ok(())
}

/// Who signed a record, and whether it is the owner; fails unless one of those did who may. No clock counts.
fn signer(root: &VoRoot, record: &Record) -> Result<(Member, bool), RecordFault> {
    let signer = verify_proof(root, Domain::Application, &statement(record), &record.proof)?;
    let is_own = signer.id() == record.owner && signer.roles().may_submit();
    let is_allowed = is_own || signer.roles().has(Roles::ADMIN);
    if is_allowed { Ok((signer, is_own)) } else { Err(RecordFault::WrongSigner) }
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
    fn the_clock_counts_when_a_record_is_handed_in_and_later_for_administrators_alone() {
        const DAY: u64 = 86_400;
        let vo = VoKey::create("test").expect("a VO");
        let (issued, ended) = (1_700_000_000, 1_700_000_000 + DAY);
        let user = |name, roles| vo.issue(name, roles, issued, 1).expect("an identity");
        let (alice, root) = (user("alice", Roles::SUBMIT), user("root", Roles::SUBMIT | Roles::ADMIN));
        let judge = |signer: &Identity, owner: &Identity, now| {
            let mut record = record(owner);
            sign_record(signer, &mut record);
            let verdicts = [verify_record, verify_told_record].map(|check| check(&vo.root(), now, &record));
            verdicts.map(|verdict| verdict.is_ok())
        };
        let (year, grace) = (365 * DAY, 30 * DAY);
        // Who signs whose record, when, and who takes it: the node it is handed to, and other members.
        let table = [
            (&alice, &alice, ended, [true, true]),
            (&alice, &alice, ended + 1, [false, true]),
            (&alice, &alice, ended + 30 * year, [false, true]),
            (&root, &root, ended + 30 * year, [false, true]),
            (&root, &alice, ended, [true, true]),
            (&root, &alice, ended + grace, [false, true]),
            (&root, &alice, ended + grace + 1, [false, false]),
            // The clock of a node that hears it stands before the credential begins.
            (&alice, &alice, issued - year, [false, true]),
            (&root, &alice, issued - year, [false, true]),
        ];
        for (signer, owner, now, expected) in table {
            let names = (signer.name(), owner.name());
            assert_eq!(
                judge(signer, owner, now),
                expected,
                "{names:?} {} s after",
                now as i64 - ended as i64
            );
        }
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
