//! The one verifier of what others have signed: a core sees a message only when every statement in it holds.

use xtreem_allocation::Statement;
use xtreem_node::Message;
use xtreem_wire::VoRoot;

use crate::announcement::verify_announcement;
use crate::claims::{NotTaken, Vouched};
use crate::counters::Count;
use crate::overwrite::verify_overwrite;
use crate::policy::verify as verify_policy;
use crate::records::{verify_spec, verify_told_record};

/// Checks every statement in a message at `now_unix` (seconds); `left` is how many claims its sender may have
/// verified yet. Fails with what to count.
pub(crate) fn verify(
    root: &VoRoot,
    vouched: &mut Vouched,
    left: &mut u32,
    now_unix: u64,
    message: &Message,
) -> Result<(), Count> {
    let mut verdict = Ok(());
    message.for_each_statement(&mut |statement| {
        if verdict.is_ok() {
            verdict = verify_one(root, vouched, left, now_unix, statement);
        }
    });
    verdict
}

fn verify_one(
    root: &VoRoot,
    vouched: &mut Vouched,
    left: &mut u32,
    now_unix: u64,
    statement: Statement<'_>,
) -> Result<(), Count> {
    match statement {
        Statement::Record(record) => verify_told_record(root, now_unix, record).map_err(|_| Count::BadRecord),
        Statement::Application(application) => verify_spec(application).map_err(|_| Count::BadRecord),
        Statement::Claim(claim, proof) => {
            vouched.verify(root, left, claim, proof).map_err(|fault| match fault {
                NotTaken::TooMany => Count::TooManyClaims,
                NotTaken::Claim(_) => Count::BadClaim,
            })
        }
        Statement::Announcement(origin, content) => match verify_announcement(root, now_unix, content) {
            Ok(announcement) if announcement.by.id() == origin => Ok(()),
            _ => Err(Count::BadAnnouncement),
        },
        Statement::Overwrite { by, at_unix, what, proof } => {
            match verify_overwrite(root, now_unix, at_unix, what, proof) {
                Ok(admin) if admin.id() == by => Ok(()),
                _ => Err(Count::BadOverwrite),
            }
        }
        Statement::Policy(signed) => verify_policy(root, signed).map(drop).map_err(|_| Count::BadPolicy),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xtreem_allocation::policy::{Policy, SignedPolicy};
    use xtreem_allocation::{Record, Wanted};
    use xtreem_base::{AppId, Digest, NodeId};
    use xtreem_node::PolicyMessage;

    use super::*;
    use crate::identity::unix_now;
    use crate::{Roles, SignedOverwrite, VoKey, sign_announcement, sign_overwrite, sign_record};

    #[test]
    fn a_message_is_judged_by_each_statement_in_it() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
        let policy = Policy { version: 3, rules: vec![] };
        let message = |signed: SignedPolicy| Message::Policy(PolicyMessage::Document(Box::new(signed)));
        let verdict = |vo: &VoKey, message: &Message| {
            verify(&vo.root(), &mut Vouched::default(), &mut 0, unix_now(), message)
        };
        let good = message(vo.sign_policy(&policy).expect("a good policy"));
        assert_eq!(verdict(&vo, &good), Ok(()));
        assert_eq!(verdict(&other, &good), Err(Count::BadPolicy));
        assert_eq!(verdict(&other, &Message::Policy(PolicyMessage::Fetch)), Ok(()), "nothing is stated");
    }

    #[test]
    fn an_announcement_passes_in_the_name_of_its_signer_alone() {
        let vo = VoKey::create("test").expect("a VO");
        let admin = vo.issue_user("root", Roles::ADMIN, 1).expect("an identity");
        let content = sign_announcement(&admin, unix_now(), b"all hands").expect("short");
        let verdict = |origin| {
            let statement = Statement::Announcement(origin, &content);
            verify_one(&vo.root(), &mut Vouched::default(), &mut 0, unix_now(), statement)
        };
        assert_eq!(verdict(admin.id()), Ok(()));
        assert_eq!(verdict(NodeId::from_bytes([1; 16])), Err(Count::BadAnnouncement));
    }

    #[test]
    fn an_item_is_written_over_in_the_name_of_the_administrator_who_signed_it_alone() {
        let vo = VoKey::create("test").expect("a VO");
        let admin = vo.issue_user("root", Roles::ADMIN, 1).expect("an identity");
        let SignedOverwrite { at_unix, proof } = sign_overwrite(&admin, unix_now(), b"this");
        let verdict = |by, what| {
            let statement = Statement::Overwrite { by, at_unix, what, proof: &proof };
            verify_one(&vo.root(), &mut Vouched::default(), &mut 0, unix_now(), statement)
        };
        assert_eq!(verdict(admin.id(), b"this"), Ok(()));
        assert_eq!(verdict(admin.id(), b"that"), Err(Count::BadOverwrite));
        assert_eq!(verdict(NodeId::from_bytes([1; 16]), b"this"), Err(Count::BadOverwrite));
    }

    #[test]
    fn members_hear_of_an_application_whose_owners_credential_has_expired() {
        let vo = VoKey::create("test").expect("a VO");
        let alice = vo.issue("alice", Roles::SUBMIT, 1_000_000, 1).expect("an identity");
        let mut record = Record {
            id: AppId::from_bytes([1; 16]),
            owner: alice.id(),
            name: "web".into(),
            spec_digest: Digest::from_bytes([2; 32]),
            slots: 6,
            generation: 1,
            wanted: Wanted::Running,
            proof: Arc::from([]),
            submitter: NodeId::from_bytes([9; 16]),
        };
        let verdict = |record: &Record| {
            verify_one(&vo.root(), &mut Vouched::default(), &mut 0, unix_now(), Statement::Record(record))
        };
        assert_eq!(verdict(&record), Err(Count::BadRecord), "nobody signed it");
        sign_record(&alice, &mut record);
        assert_eq!(verdict(&record), Ok(()));
    }
}
