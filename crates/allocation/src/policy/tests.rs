use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;
use xtreem_discovery::Attributes;

use super::*;

const SUBMIT: u8 = 2;
const ADMIN: u8 = 4;

fn key(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 16])
}

fn who(roles: u8, names: &[&str], keys: &[u8]) -> Who {
    let (names, keys) = (names.iter().map(ToString::to_string), keys.iter().map(|byte| key(*byte)));
    Who { roles, names: names.collect(), keys: keys.collect() }
}

fn rule(name: &str, limit: Limit, who: Who) -> Rule {
    Rule { name: name.into(), limit, who }
}

fn policy() -> Policy {
    Policy {
        version: 7,
        rules: vec![
            rule("members", Limit::Submit, who(SUBMIT | ADMIN, &[], &[])),
            rule("size", Limit::NodesPerApplication(16), Who::default()),
            rule("students", Limit::NodesPerUser(20), who(0, &["bob"], &[])),
            rule("gpu-for-ml", Limit::Reserved("gpu.count >= 1".into()), who(ADMIN, &["alice"], &[9])),
        ],
    }
}

const fn subject(owner: u8, name: &str, roles: u8) -> Subject<'_> {
    Subject { owner: NodeId::from_bytes([owner; 16]), name, roles }
}

const ALICE: Subject<'static> = subject(1, "alice", SUBMIT);
const BOB: Subject<'static> = subject(2, "bob", SUBMIT);
const CAROL: Subject<'static> = subject(9, "carol", SUBMIT);
const ROOT: Subject<'static> = subject(3, "root", ADMIN);
const NODE: Subject<'static> = subject(4, "node7", 1);

fn gpus(count: u64) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.set("gpu.count", count).expect("a short name and one value");
    attributes
}

fn said(judged: Result<(), Refusal>) -> String {
    judged.map_or_else(|refusal| refusal.to_string(), |()| "yes".to_string())
}

#[test]
fn a_submission_is_refused_by_the_name_of_the_rule() {
    let table = [
        (ALICE, 16, "yes"),
        (ALICE, 17, "refused by VO rule \"size\": an application may hold 16 nodes, and this one wants 17"),
        (NODE, 1, "refused by VO rule \"members\": only role submit, role admin may submit applications"),
    ];
    for (by, slots, words) in table {
        assert_eq!(said(policy().judge_submission(&by, slots)), words);
    }
}

#[test]
fn a_reserved_node_holds_for_those_it_is_reserved_for() {
    let no = "refused by VO rule \"gpu-for-ml\": nodes with gpu.count >= 1 are reserved for \
              role admin, user alice, \
              key 09090909090909090909090909090909";
    let table = [
        (ALICE, true, "yes"),
        (ROOT, true, "yes"),
        (CAROL, true, "yes"),
        (BOB, false, "yes"),
        (BOB, true, no),
    ];
    for (by, has_gpu, words) in table {
        let extent = Extent { slots: 4, here: 0 };
        assert_eq!(said(policy().judge_hold(&by, extent, &gpus(has_gpu.into()))), words, "{by:?}");
    }
}

#[test]
fn what_cannot_be_read_is_reserved_and_its_text_stays() {
    let text = "gpu.count beyond 1";
    let unread = rule("newer", Limit::Reserved(text.into()), who(ADMIN, &[], &[]));
    let policy = Policy { version: 1, rules: vec![unread] };
    let read = Policy::from_document(&policy.to_document().expect("a good policy")).expect("its own");
    assert_eq!(read, policy);
    let extent = Extent { slots: 1, here: 0 };
    let no = "refused by VO rule \"newer\": nodes with gpu.count beyond 1 are reserved for role admin";
    assert_eq!(said(read.judge_hold(&BOB, extent, &gpus(0))), no);
    assert_eq!(said(read.judge_hold(&ROOT, extent, &gpus(0))), "yes");
}

#[test]
fn a_users_total_counts_what_is_held_elsewhere_and_here() {
    let (policy, none) = (policy(), gpus(0));
    assert!(policy.limits_total(&BOB) && !policy.limits_total(&ALICE));
    assert_eq!(said(policy.judge_total(&BOB, 12, 8)), "yes");
    assert_eq!(
        said(policy.judge_total(&BOB, 13, 8)),
        "refused by VO rule \"students\": a user may hold 20 nodes in all; 13 are held already, \
         and 8 more are wanted"
    );
    assert_eq!(
        said(policy.judge_total(&BOB, u32::MAX, 8)).split(':').next(),
        Some("refused by VO rule \"students\"")
    );
    assert_eq!(said(policy.judge_total(&ALICE, 1_000, 8)), "yes");
    assert!(policy.judge_hold(&BOB, Extent { slots: 1, here: 19 }, &none).is_ok());
    assert!(policy.judge_hold(&BOB, Extent { slots: 1, here: 20 }, &none).is_err());
}

#[test]
fn many_are_not_all_named() {
    let names: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let many = Who { names, ..Who::default() };
    assert_eq!(many.to_string(), "user 0, user 1, user 2, user 3, user 4, user 5 and 3 more");
    assert_eq!(Who::default().to_string(), "everybody");
    assert_eq!(who(128, &[], &[]).to_string(), "a role unknown here");
}

#[test]
fn policies_that_say_nothing_or_too_much_are_refused() {
    let with = |rules| Policy { version: 1, rules };
    let one = |name: &str, limit, who| with(vec![rule(name, limit, who)]);
    let admins = || who(ADMIN, &[], &[]);
    let reserved = |bytes: usize| Limit::Reserved(Reserved::from(&*"x".repeat(bytes)));
    let table = [
        (Policy { version: 0, ..with(vec![]) }, PolicyError::NoVersion),
        (one("a b", Limit::Submit, admins()), PolicyError::RuleName("a b".into())),
        (one("", Limit::Submit, admins()), PolicyError::RuleName("".into())),
        (one("a", Limit::Submit, Who::default()), PolicyError::Everybody("a".into())),
        (one("a", reserved(9), Who::default()), PolicyError::Everybody("a".into())),
        (one("a", reserved(0), admins()), PolicyError::Requirement("a".into())),
        (one("a", reserved(1_025), admins()), PolicyError::Requirement("a".into())),
        (one("a", Limit::Submit, who(0, &["a\nb"], &[])), PolicyError::Users("a".into())),
        (one("a", Limit::Submit, who(0, &[], &[1; 257])), PolicyError::Users("a".into())),
        (with(vec![rule("a", Limit::Submit, admins()); 2]), PolicyError::SameName("a".into())),
        (with(vec![rule("a", Limit::Submit, admins()); 65]), PolicyError::TooManyRules(65)),
    ];
    for (policy, why) in table {
        assert_eq!(policy.to_document(), Err(why));
    }
    let long = (0..20).map(|n| rule(&n.to_string(), reserved(1_000), admins())).collect();
    assert!(matches!(with(long).to_document(), Err(PolicyError::TooLong(_))));
}

#[test]
fn a_document_comes_back_and_has_one_form() {
    let bytes = policy().to_document().expect("a good policy");
    assert_eq!(Policy::from_document(&bytes), Ok(policy()));
    for len in 0..bytes.len() {
        assert!(Policy::from_document(&bytes[..len]).is_err(), "{len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Policy::from_document(&longer), Err(PolicyError::Malformed));
    // The version in two bytes instead of one: the same policy, another digest.
    assert_eq!(bytes[1], 7);
    let loose = [&bytes[..1], &[0x18, 7], &bytes[2..]].concat();
    assert_eq!(Policy::from_document(&loose), Err(PolicyError::Malformed));
}

proptest! {
    #[test]
    fn hostile_documents_never_panic(at in any::<prop::sample::Index>(), bit in 0u8..8, noise: Vec<u8>) {
        let mut bytes = policy().to_document().expect("a good policy");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(read) = Policy::from_document(&bytes) {
            prop_assert_eq!(read.to_document(), Ok(bytes));
        }
        prop_assert!(Policy::from_document(&noise).is_err());
    }
}
