extern crate std;

use alloc::sync::Arc;
use std::vec;
use std::vec::Vec;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use xtreem_allocation::{Body as _, Link, Signed};
use xtreem_wire::{Claims, node_id_of};

use super::*;
use crate::{SlotClaims, sign_claim, sign_slot};

const NOW: u64 = 1_800_000_000;
const APP: AppId = AppId::from_bytes([7; 16]);

/// A member of a VO, by its number.
struct Node {
    key: SigningKey,
    credential: Vec<u8>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

impl Node {
    fn of(vo: u8, number: u8, roles: Roles, not_after: u64) -> Node {
        let (root, key) = (key(vo), key(number));
        let claims = Claims {
            key: key.verifying_key().to_bytes(),
            vo: VoRoot::of(&root).id(),
            name: "n".into(),
            roles,
            not_before: 0,
            not_after,
        };
        Node { key, credential: claims.sign(&root).expect("valid claims") }
    }

    fn new(number: u8) -> Node {
        Node::of(200, number, Roles::NODE, NOW + 1_000)
    }

    fn id(&self) -> NodeId {
        node_id_of(&self.key.verifying_key().to_bytes()).expect("a key")
    }

    /// Signs that `holder` has the slot under its epoch of this counter.
    fn link(&self, slot: u16, counter: u32, holder: &Node) -> Arc<Signed<Link>> {
        let epoch = self.epoch(counter);
        let body = Link { app: APP, slot, epoch, holder: holder.id(), after: counter - 1 };
        let proof = sign_claim(&self.key, &self.credential, body.claim());
        Arc::new(Signed { body, proof })
    }

    fn epoch(&self, counter: u32) -> Epoch {
        Epoch { counter, recruiter: self.id(), incarnation: 1, attempt: counter }
    }
}

fn links(links: &[Arc<Signed<Link>>]) -> Evidence {
    Evidence { links: links.to_vec(), ..Evidence::default() }
}

/// Node 1 submitted; node 2 holds slot 0, node 3 held slot 1 and node 2 replaced it by node 4.
struct Grid {
    submitter: Node,
    first: Node,
    old: Node,
    new: Node,
    evidence: Evidence,
}

impl Grid {
    fn new() -> Grid {
        let (submitter, first, old, new) = (Node::new(1), Node::new(2), Node::new(3), Node::new(4));
        let evidence =
            links(&[submitter.link(0, 1, &first), submitter.link(1, 1, &old), first.link(1, 2, &new)]);
        Grid { submitter, first, old, new, evidence }
    }

    fn grounds(&self, believed: Evidence, epochs: Vec<(u16, Epoch)>) -> Grounds {
        let root = key(200).verifying_key().to_bytes();
        Grounds { root, app: APP, slots: 2, submitter: self.submitter.id(), believed, epochs }
    }

    /// Somebody who knows nothing but the record.
    fn newcomer(&self) -> Trust {
        Trust::new(&self.grounds(Evidence::default(), vec![])).expect("a root")
    }

    fn claims(&self) -> SlotClaims {
        SlotClaims {
            vo: VoRoot::of(&key(200)).id(),
            app: APP,
            slot: 1,
            epoch: self.first.epoch(2),
            key: key(90).verifying_key().to_bytes(),
            not_before: NOW,
            not_after: NOW + VALID_SECONDS,
        }
    }

    fn sign(&self, by: &Node, claims: &SlotClaims) -> Vec<u8> {
        sign_slot(&by.key, &by.credential, claims, &self.evidence)
    }
}

#[test]
fn a_newcomer_believes_a_replacement_by_the_chain_that_it_shows() {
    let grid = Grid::new();
    let shown = grid.sign(&grid.new, &grid.claims());
    assert!(shown.len() < 2_048, "{} bytes: it is to be compact", shown.len());
    let holder = grid.newcomer().judge(NOW, &shown).expect("it holds");
    assert_eq!((holder.slot, holder.epoch, holder.node), (1, grid.first.epoch(2), grid.new.id()));
    assert_eq!(holder.key, key(90).verifying_key().to_bytes());
}

#[test]
fn every_credential_that_does_not_hold_is_refused_by_name() {
    let grid = Grid::new();
    let claims = grid.claims();
    let user = Node::of(200, 4, Roles::SUBMIT, NOW + 1_000);
    let ended = Node::of(200, 4, Roles::NODE, NOW - 1);
    let foreign = Node::of(201, 4, Roles::NODE, NOW + 1_000);
    let stranger = Node::new(50);
    let foreign_root = VoRoot::of(&key(201)).id();
    let other_app = AppId::from_bytes([8; 16]);
    let early = SlotClaims { not_before: NOW + 40, not_after: NOW + 60, ..claims.clone() };
    let late = SlotClaims { not_before: NOW - 160, not_after: NOW - 40, ..claims.clone() };
    let long = SlotClaims { not_after: NOW + 121, ..claims.clone() };
    let mut forged = grid.sign(&grid.new, &claims);
    let last = forged.len() - 1;
    let mut evidence_forged = grid.evidence.clone();
    let one = &evidence_forged.links[2];
    evidence_forged.links[2] = Arc::new(Signed {
        body: Link { holder: stranger.id(), ..one.body.clone() },
        proof: one.proof.clone(),
    });
    let own_word = links(&[stranger.link(1, 2, &stranger)]);
    let own_claims = SlotClaims { epoch: stranger.epoch(2), ..claims.clone() };
    let table: Vec<(&str, Vec<u8>, SlotRefusal)> = vec![
        (
            "too long",
            vec![0; SLOT_CREDENTIAL_MAX_BYTES + 1],
            SlotRefusal::TooLong { len: SLOT_CREDENTIAL_MAX_BYTES + 1 },
        ),
        ("garbage", b"garbage".to_vec(), SlotRefusal::Malformed),
        ("cut off", forged[..last].to_vec(), SlotRefusal::Malformed),
        (
            "of another VO",
            grid.sign(&foreign, &SlotClaims { vo: foreign_root, ..claims.clone() }),
            SlotRefusal::OtherVo { vo: foreign_root },
        ),
        (
            "by a node of another VO, in the name of this one",
            grid.sign(&foreign, &claims),
            SlotRefusal::Node(ProofError::Credential(CredentialError::WrongVo { vo: foreign_root })),
        ),
        (
            "of another application",
            grid.sign(&grid.new, &SlotClaims { app: other_app, ..claims.clone() }),
            SlotRefusal::OtherApplication { app: other_app },
        ),
        (
            "of a slot that there is not",
            grid.sign(&grid.new, &SlotClaims { slot: 2, ..claims.clone() }),
            SlotRefusal::NoSuchSlot { slot: 2 },
        ),
        ("not valid yet", grid.sign(&grid.new, &early), SlotRefusal::NotYetValid { not_before: NOW + 40 }),
        ("expired", grid.sign(&grid.new, &late), SlotRefusal::Expired { not_after: NOW - 40 }),
        ("valid for too long", grid.sign(&grid.new, &long), SlotRefusal::ValidTooLong { seconds: 121 }),
        ("signed by a user", grid.sign(&user, &claims), SlotRefusal::NotANode),
        (
            "signed by a node whose credential has ended",
            grid.sign(&ended, &claims),
            SlotRefusal::NodeDates(CredentialError::Expired { not_after: NOW - 1 }),
        ),
        (
            "a member claims another's slot",
            grid.sign(&stranger, &claims),
            SlotRefusal::NotTheHolder { slot: 1 },
        ),
        (
            "the holder of slot 0 claims slot 1",
            grid.sign(&grid.first, &claims),
            SlotRefusal::NotTheHolder { slot: 1 },
        ),
        (
            "a member recruits itself",
            sign_slot(&stranger.key, &stranger.credential, &own_claims, &own_word),
            SlotRefusal::NotTheHolder { slot: 1 },
        ),
        (
            "a link is changed",
            sign_slot(&stranger.key, &stranger.credential, &claims, &evidence_forged),
            SlotRefusal::Claim(ClaimFault::Proof(ProofError::BadSignature)),
        ),
        (
            "no evidence",
            sign_slot(&grid.new.key, &grid.new.credential, &claims, &Evidence::default()),
            SlotRefusal::NotTheHolder { slot: 1 },
        ),
    ];
    for (what, shown, refusal) in table {
        let mut trust = grid.newcomer();
        assert_eq!(trust.judge(NOW, &shown), Err(refusal), "{what}");
        assert_eq!(trust.highest(1), None, "{what}: nothing of it is remembered");
    }
    // One bit of the claims: the signature is another's.
    forged[20] ^= 1;
    assert!(grid.newcomer().judge(NOW, &forged).is_err());
}

#[test]
fn who_knows_a_higher_epoch_refuses_the_lower() {
    let grid = Grid::new();
    let newer = grid.sign(&grid.new, &grid.claims());
    let lower = grid.submitter.epoch(1);
    let older = grid.sign(&grid.old, &SlotClaims { epoch: lower, ..grid.claims() });
    let mut trust = grid.newcomer();
    assert!(trust.judge(NOW, &older).is_ok(), "who knows of no other believes it");
    assert!(trust.judge(NOW, &newer).is_ok());
    let refusal = SlotRefusal::OlderEpoch { slot: 1, known: grid.first.epoch(2) };
    assert_eq!(trust.judge(NOW, &older), Err(refusal));
    assert!(trust.judge(NOW, &newer).is_ok(), "its own epoch stays good");
    // The same when the own agent says so, and slot 0 is none of it.
    let mut told = grid.newcomer();
    told.add(&grid.grounds(grid.evidence.clone(), vec![(1, grid.first.epoch(2))]));
    assert_eq!(told.judge(NOW, &older), Err(refusal));
    let zero = SlotClaims { slot: 0, epoch: lower, ..grid.claims() };
    assert!(told.judge(NOW, &grid.sign(&grid.first, &zero)).is_ok());
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let grid = Grid::new();
    let shown = grid.sign(&grid.new, &grid.claims());
    let at = |now| grid.newcomer().judge(now, &shown).is_ok();
    let (begin, end) = (NOW, NOW + VALID_SECONDS);
    let is_good = [begin - 31, begin - 30, begin, end, end + 30, end + 31].map(at);
    assert_eq!(is_good, [false, true, true, true, true, false]);
}

#[test]
fn a_renewal_needs_no_evidence_where_the_epoch_is_believed() {
    let grid = Grid::new();
    let mut trust = grid.newcomer();
    trust.judge(NOW, &grid.sign(&grid.new, &grid.claims())).expect("it holds");
    let later = SlotClaims { not_before: NOW + 60, not_after: NOW + 180, ..grid.claims() };
    let bare = sign_slot(&grid.new.key, &grid.new.credential, &later, &Evidence::default());
    assert_eq!(trust.judge(NOW + 60, &bare).map(|holder| holder.not_after), Ok(NOW + 180));
}

#[test]
fn grounds_round_trip() {
    let grid = Grid::new();
    let told = grid.grounds(grid.evidence.clone(), vec![(1, grid.first.epoch(2))]);
    let bytes = minicbor::to_vec(&told).expect("a Vec takes all bytes");
    let read: Grounds = minicbor::decode(&bytes).expect("what was written");
    assert_eq!((read.root, read.believed, read.epochs), (told.root, told.believed, told.epochs));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        prop_assert!(Grid::new().newcomer().judge(NOW, &bytes).is_err());
    }

    #[test]
    fn damaged_credentials_are_refused(cut in 0usize..4_096, flip in 0usize..32_768) {
        let grid = Grid::new();
        let shown = grid.sign(&grid.new, &grid.claims());
        prop_assert!(grid.newcomer().judge(NOW, &shown[..cut % shown.len()]).is_err());
        let mut flipped = shown.clone();
        flipped[flip / 8 % shown.len()] ^= 1 << (flip % 8);
        let holder = grid.newcomer().judge(NOW, &flipped);
        // A link that is not needed may be damaged in its step: it proves nothing else.
        prop_assert!(holder.is_err() || holder.is_ok_and(|holder| holder.node == grid.new.id()));
    }
}
