//! Warrants that slots sign. Those of users are tested with their identities, in `xtreem_net`.

use proptest::prelude::*;
use xtreem_allocation::{Body as _, Evidence, Link, Signed};
use xtreem_trust::{Grounds, SlotClaims, VALID_SECONDS, sign_claim, sign_slot};
use xtreem_wire::{Claims, node_id_of};

use super::*;

const NOW: u64 = 1_800_000_000;
const APP: AppId = AppId::from_bytes([7; 16]);
const OTHER_APP: AppId = AppId::from_bytes([8; 16]);
/// Seed of the calling slot's key.
const SLOT: [u8; 32] = [90; 32];

/// A node of the VO with this number.
struct Node {
    key: SigningKey,
    credential: Vec<u8>,
}

impl Node {
    fn of(vo: u8, number: u8, not_after: u64) -> Node {
        let (root, key) = (SigningKey::from_bytes(&[vo; 32]), SigningKey::from_bytes(&[number; 32]));
        let claims = Claims {
            key: key.verifying_key().to_bytes(),
            vo: VoRoot::of(&root).id(),
            name: "n".into(),
            roles: Roles::NODE,
            not_before: 0,
            not_after,
        };
        Node { key, credential: claims.sign(&root).expect("valid claims") }
    }

    fn id(&self) -> NodeId {
        node_id_of(&self.key.verifying_key().to_bytes()).expect("a key")
    }

    fn epoch(&self, counter: u32) -> Epoch {
        Epoch { counter, recruiter: self.id(), incarnation: 1, attempt: counter }
    }

    /// Signs that `holder` has slot 1 under its epoch of this counter.
    fn link(&self, counter: u32, holder: &Node) -> Arc<Signed<Link>> {
        let epoch = self.epoch(counter);
        let body = Link { app: APP, slot: 1, epoch, holder: holder.id(), after: counter - 1 };
        let proof = sign_claim(&self.key, &self.credential, body.claim());
        Arc::new(Signed { body, proof })
    }
}

fn vo(number: u8) -> VoRoot {
    VoRoot::of(&SigningKey::from_bytes(&[number; 32]))
}

/// Node 1 submitted, node 2 held slot 1 once, and node 3 holds it. Node 4 holds slot 0, beside which the
/// command is to run.
struct Grid {
    submitter: Node,
    old: Node,
    new: Node,
    evidence: Evidence,
}

impl Grid {
    fn new() -> Grid {
        let [submitter, old, new] = [1, 2, 3].map(|number| Node::of(200, number, NOW + 1_000));
        let links = vec![submitter.link(1, &old), submitter.link(2, &new)];
        Grid { submitter, old, new, evidence: Evidence { links, ..Evidence::default() } }
    }

    fn claims(&self) -> SlotClaims {
        SlotClaims {
            vo: vo(200).id(),
            app: APP,
            slot: 1,
            epoch: self.submitter.epoch(2),
            key: SigningKey::from_bytes(&SLOT).verifying_key().to_bytes(),
            not_before: NOW,
            not_after: NOW + VALID_SECONDS,
        }
    }

    fn credential(&self, by: &Node, claims: &SlotClaims) -> Vec<u8> {
        sign_slot(&by.key, &by.credential, claims, &self.evidence)
    }

    /// What the holder of slot 0 believes, and the highest epoch of slot 1 that it knows.
    fn trust(&self, known: Option<Epoch>) -> Trust {
        let grounds = Grounds {
            root: SigningKey::from_bytes(&[200; 32]).verifying_key().to_bytes(),
            app: APP,
            slots: 2,
            submitter: self.submitter.id(),
            believed: Evidence::default(),
            epochs: known.map(|epoch| (1, epoch)).into_iter().collect(),
        };
        Trust::new(&grounds).expect("a root")
    }

    /// As judged by a holder whose application allows it.
    fn judge(&self, warrant: &Warrant, authority: &Authority) -> Result<SlotHolder, Refusal> {
        let mut trust = self.trust(Some(self.submitter.epoch(2)));
        match offer().redeem(&vo(200), Some(&mut trust), NOW, warrant, authority)? {
            Signer::Slot(slot) => Ok(slot),
            Signer::User(_) => panic!("no user signed it"),
        }
    }
}

const HOLDER: NodeId = NodeId::from_bytes([4; 16]);
const NONCE: [u8; NONCE_BYTES] = [5; NONCE_BYTES];
const EPOCH: Epoch = Epoch { counter: 1, recruiter: HOLDER, incarnation: 1, attempt: 1 };

fn warrant() -> Warrant {
    let command = ["sh", "-c", "id"].map(str::to_owned).to_vec();
    Warrant { app: APP, slot: 0, epoch: EPOCH, holder: HOLDER, nonce: NONCE, command, terminal: None }
}

fn offer() -> Offer {
    let owner = NodeId::from_bytes([9; 16]);
    Offer { app: APP, slot: 0, epoch: EPOCH, holder: HOLDER, nonce: NONCE, owner }
}

fn changed(change: impl FnOnce(&mut Warrant)) -> Warrant {
    let mut warrant = warrant();
    change(&mut warrant);
    warrant
}

#[test]
fn a_slot_of_the_application_may_where_its_owner_has_signed_that_slots_may() {
    let grid = Grid::new();
    let credential = grid.credential(&grid.new, &grid.claims());
    let authority = sign_as_slot(SLOT, &credential, &warrant());
    let signer = grid.judge(&warrant(), &authority).expect("it may");
    assert_eq!((signer.slot, signer.node), (1, grid.new.id()));
    let verdict = offer().redeem(&vo(200), None, NOW, &warrant(), &authority).map(drop);
    assert_eq!(verdict, Err(Refusal::SlotsMayNot));
}

#[test]
fn a_credential_that_does_not_hold_starts_nothing() {
    let grid = Grid::new();
    let claims = grid.claims();
    let foreign = Node::of(201, 3, NOW + 1_000);
    let ended = Node::of(200, 3, NOW - 1);
    let stranger = Node::of(200, 50, NOW + 1_000);
    let older = SlotClaims { epoch: grid.submitter.epoch(1), ..claims.clone() };
    let late = SlotClaims { not_before: NOW - 160, not_after: NOW - 40, ..claims.clone() };
    let early = SlotClaims { not_before: NOW + 40, not_after: NOW + 60, ..claims.clone() };
    let of_other = SlotClaims { app: OTHER_APP, ..claims.clone() };
    let of_other_vo = SlotClaims { vo: vo(201).id(), ..claims.clone() };
    let no_such = SlotClaims { slot: 2, ..claims.clone() };
    let table = [
        ("of an older epoch", grid.credential(&grid.old, &older), Refusal::OlderEpoch),
        ("of another application", grid.credential(&grid.new, &of_other), Refusal::OtherApplication),
        ("of another VO", grid.credential(&foreign, &of_other_vo), Refusal::OtherVo),
        ("by a node of another VO in our name", grid.credential(&foreign, &claims), Refusal::NotASlot),
        ("expired", grid.credential(&grid.new, &late), Refusal::Expired),
        ("by a node whose credential expired", grid.credential(&ended, &claims), Refusal::Expired),
        ("not valid yet", grid.credential(&grid.new, &early), Refusal::NotYetValid),
        ("by a member that holds no slot", grid.credential(&stranger, &claims), Refusal::NotASlot),
        ("of a slot that there is not", grid.credential(&grid.new, &no_such), Refusal::NotASlot),
        ("none", Vec::new(), Refusal::NotASlot),
    ];
    for (what, credential, refusal) in table {
        let authority = sign_as_slot(SLOT, &credential, &warrant());
        assert_eq!(grid.judge(&warrant(), &authority), Err(refusal), "{what}");
    }
    // Who knows of no later run believes the older one.
    let authority = sign_as_slot(SLOT, &grid.credential(&grid.old, &older), &warrant());
    assert!(offer().redeem(&vo(200), Some(&mut grid.trust(None)), NOW, &warrant(), &authority).is_ok());
}

#[test]
fn what_a_slot_signed_counts_for_one_run_one_holder_one_nonce_and_one_command() {
    let grid = Grid::new();
    let credential = grid.credential(&grid.new, &grid.claims());
    let table = [
        (changed(|w| w.holder = NodeId::from_bytes([8; 16])), Refusal::OtherHolder),
        (changed(|w| w.app = OTHER_APP), Refusal::OtherSlot),
        (changed(|w| w.slot = 1), Refusal::OtherSlot),
        (changed(|w| w.epoch.counter = 2), Refusal::OtherEpoch),
        (changed(|w| w.nonce[0] ^= 1), Refusal::OtherNonce),
        (changed(|w| w.command.clear()), Refusal::BadCommand),
    ];
    for (warrant, refusal) in table {
        let authority = sign_as_slot(SLOT, &credential, &warrant);
        assert_eq!(grid.judge(&warrant, &authority), Err(refusal));
    }
    let authority = sign_as_slot(SLOT, &credential, &warrant());
    let swapped = changed(|w| w.command[2] = "reboot".into());
    assert_eq!(grid.judge(&swapped, &authority), Err(Refusal::NotSigned));
    // Whoever has seen a credential has no key of it.
    let stolen = sign_as_slot([91; 32], &credential, &warrant());
    assert_eq!(grid.judge(&warrant(), &stolen), Err(Refusal::NotSigned));
    // What the key signed for something else is no warrant.
    let key = SigningKey::from_bytes(&SLOT);
    let signature = sign(&key, Domain::Warrant, &warrant().bytes());
    let other = Authority::Slot { credential: credential.as_slice().into(), signature };
    assert_eq!(grid.judge(&warrant(), &other), Err(Refusal::NotSigned));
    // Nor does a slot's credential make a user of it.
    let user = sign_as_user(&grid.new.key, &grid.new.credential, &warrant());
    assert_eq!(grid.judge(&warrant(), &user).map(drop), Err(Refusal::WrongSigner));
}

proptest! {
    #[test]
    fn no_credential_and_signature_make_a_holder_panic(credential: Vec<u8>, signature: [u8; 32]) {
        let grid = Grid::new();
        let signature = [signature, signature].concat().try_into().expect("64 bytes");
        let authority = Authority::Slot { credential: credential.into(), signature };
        prop_assert!(grid.judge(&warrant(), &authority).is_err());
    }
}
