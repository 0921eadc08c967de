use std::sync::Arc;

use proptest::prelude::*;
use xtreem_allocation::Epoch;
use xtreem_base::{AppId, NodeId};
use xtreem_wire::{Domain, Roles, prove};

use super::super::*;
use crate::VoKey;
use crate::identity::unix_now;

const NONCE: [u8; NONCE_BYTES] = [5; NONCE_BYTES];
const HOLDER: NodeId = NodeId::from_bytes([7; 16]);
const APP: AppId = AppId::from_bytes([1; 16]);

fn epoch(counter: u32) -> Epoch {
    Epoch { counter, recruiter: HOLDER, incarnation: 1, attempt: 1 }
}

fn warrant() -> Warrant {
    let command = ["sh", "-c", "id"].map(str::to_owned).to_vec();
    Warrant { app: APP, slot: 3, epoch: epoch(2), holder: HOLDER, nonce: NONCE, command, terminal: None }
}

fn offer(owner: &Identity) -> Offer {
    Offer { app: APP, slot: 3, epoch: epoch(2), holder: HOLDER, nonce: NONCE, owner: owner.id() }
}

fn bytes(warrant: &Warrant) -> Vec<u8> {
    minicbor::to_vec(warrant).expect("a Vec takes all bytes")
}

fn changed(change: impl FnOnce(&mut Warrant)) -> Warrant {
    let mut warrant = warrant();
    change(&mut warrant);
    warrant
}

#[test]
fn a_warrant_counts_for_one_run_one_holder_one_nonce_and_one_command() {
    let vo = VoKey::create("test").expect("a VO");
    let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
    let verdict = |warrant: &Warrant| {
        let authority = sign_warrant(&alice, warrant);
        let member = offer(&alice).redeem(&vo.root(), None, unix_now(), warrant, &authority);
        member.map(|signer| match signer {
            Signer::User(member) => member.id(),
            Signer::Slot(slot) => slot.node,
        })
    };
    assert_eq!(verdict(&warrant()), Ok(alice.id()));
    let words = |count: usize, len: usize| changed(|w| w.command = vec!["x".repeat(len); count]);
    let table = [
        (changed(|w| w.holder = NodeId::from_bytes([8; 16])), Refusal::OtherHolder),
        (changed(|w| w.app = AppId::from_bytes([2; 16])), Refusal::OtherSlot),
        (changed(|w| w.slot = 4), Refusal::OtherSlot),
        (changed(|w| w.epoch = epoch(1)), Refusal::OtherEpoch),
        (changed(|w| w.epoch = epoch(3)), Refusal::OtherEpoch),
        (changed(|w| w.nonce[31] ^= 1), Refusal::OtherNonce),
        (words(0, 1), Refusal::BadCommand),
        (words(WORDS_MAX + 1, 1), Refusal::BadCommand),
        (words(1, COMMAND_MAX_BYTES), Refusal::BadCommand),
        (words(1, 0), Refusal::BadCommand),
        (changed(|w| w.command[2] = "a\0b".into()), Refusal::BadCommand),
        (changed(|w| w.terminal = Some("a\0b".into())), Refusal::BadCommand),
    ];
    for (warrant, refusal) in table {
        assert_eq!(verdict(&warrant), Err(refusal));
    }
    assert_eq!(verdict(&words(WORDS_MAX, 1)), Ok(alice.id()));
    assert_eq!(verdict(&words(1, COMMAND_MAX_BYTES - 1)), Ok(alice.id()));
}

#[test]
fn nothing_that_was_not_signed_is_started() {
    let vo = VoKey::create("test").expect("a VO");
    let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
    let signed = sign_warrant(&alice, &warrant());
    let judge = |warrant: &Warrant, authority: &Authority| {
        offer(&alice).redeem(&vo.root(), None, unix_now(), warrant, authority).map(drop)
    };
    assert_eq!(judge(&warrant(), &signed), Ok(()));
    for other in [
        changed(|w| w.command[2] = "reboot".into()),
        changed(|w| w.command.push(String::new())),
        changed(|w| w.terminal = Some("xterm".into())),
    ] {
        assert_eq!(judge(&other, &signed), Err(Refusal::NotSigned), "{other:?}");
    }
    assert_eq!(judge(&warrant(), &Authority::User(Arc::from([]))), Err(Refusal::NotSigned));
    // What somebody signed of an application is no warrant, whatever its bytes are.
    let proof = prove(alice.key(), alice.credential(), Domain::Application, &bytes(&warrant()));
    assert_eq!(judge(&warrant(), &Authority::User(proof.into())), Err(Refusal::NotSigned));
}

#[test]
fn owners_and_administrators_may_and_nobody_else() {
    const DAY: u64 = 86_400;
    let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
    let issued = 1_700_000_000;
    let user = |vo: &VoKey, name, roles| vo.issue(name, roles, issued, 1).expect("an identity");
    let alice = user(&vo, "alice", Roles::SUBMIT);
    let bob = user(&vo, "bob", Roles::SUBMIT);
    let root = user(&vo, "root", Roles::ADMIN);
    let node = user(&vo, "node", Roles::NODE);
    let stranger = user(&other, "alice", Roles::SUBMIT | Roles::ADMIN);
    let ended = issued + DAY;
    // Who owns the application, who signs the warrant, and when.
    let table = [
        (&alice, &alice, ended, Ok(())),
        (&alice, &root, ended, Ok(())),
        (&alice, &alice, ended + 1, Err(Refusal::Expired)),
        (&alice, &root, ended + 1, Err(Refusal::Expired)),
        (&alice, &alice, issued - DAY - 1, Err(Refusal::NotYetValid)),
        (&alice, &bob, ended, Err(Refusal::WrongSigner)),
        (&alice, &node, ended, Err(Refusal::WrongSigner)),
        // A node owns nothing, whatever a record says.
        (&node, &node, ended, Err(Refusal::WrongSigner)),
        (&alice, &stranger, ended, Err(Refusal::NotSigned)),
    ];
    for (owner, signer, now, expected) in table {
        let authority = sign_warrant(signer, &warrant());
        let verdict = offer(owner).redeem(&vo.root(), None, now, &warrant(), &authority).map(drop);
        assert_eq!(verdict, expected, "{} for {} at {now}", signer.name(), owner.name());
    }
}

proptest! {
    #[test]
    fn warrants_round_trip(words: Vec<String>, slot: u16, counter: u32, terminal in "[a-z]{0,9}") {
        let written = Warrant {
            slot,
            epoch: epoch(counter),
            command: words,
            terminal: Some(terminal).filter(|name| !name.is_empty()),
            ..warrant()
        };
        prop_assert_eq!(minicbor::decode::<Warrant>(&bytes(&written)).ok(), Some(written));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
        crate::fuzzed::beside(&bytes);
    }
}
