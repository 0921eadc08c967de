//! A VO with one application, and what agents would tell its programs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ed25519_dalek::SigningKey;
use xtreem_allocation::{Body as _, Epoch, Evidence, Link, Signed};
use xtreem_base::{AppId, NodeId};
use xtreem_trust::{Grounds, SlotClaims, VALID_SECONDS, sign_claim, sign_slot};
use xtreem_wire::{Claims, Roles, VoRoot, node_id_of};

use crate::{
    Address, Answer, Directory, FindError, Found, Issued, Mailbox, Misaddressed, Numbering, Options,
    RenewError, SlotKey, Stands,
};

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const SLOTS: u16 = 5;
pub const ROW: Numbering = Numbering { number: 1, digest: 7 };

/// How long members of a test look for each other.
const PATIENCE: Duration = Duration::from_millis(700);

/// Numbers of nodes: the submitter, and those that hold slots.
const SUBMITTER: u8 = 100;

pub fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs()
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn slot_key(number: u8) -> SlotKey {
    SlotKey::from_seed([number; 32])
}

pub struct Town {
    vo: u8,
    app: AppId,
    /// Where each slot's mailbox is.
    places: Mutex<BTreeMap<u16, Found>>,
    links: Mutex<Vec<Arc<Signed<Link>>>>,
}

/// What differs from a good credential.
#[derive(Clone)]
pub struct Forged {
    pub claims: fn(&mut SlotClaims),
    /// The node that signs, instead of the holder.
    pub node: Option<u8>,
    /// The VO of that node.
    pub vo: u8,
    /// The agent's clock, beside ours.
    pub ahead_s: u64,
}

impl Forged {
    pub fn nothing() -> Forged {
        Forged { claims: |_| {}, node: None, vo: 200, ahead_s: 0 }
    }
}

/// One slot's agent.
pub struct Agent {
    town: Arc<Town>,
    slot: u16,
    epoch: Epoch,
    node: u8,
    key: SlotKey,
    forged: Forged,
}

impl Town {
    pub fn new() -> Arc<Town> {
        Town::of(200, 7)
    }

    pub fn of(vo: u8, app: u8) -> Arc<Town> {
        let (places, links) = Default::default();
        Arc::new(Town { vo, app: AppId::from_bytes([app; 16]), places, links })
    }

    fn credential(vo: u8, node: u8) -> Vec<u8> {
        let claims = Claims {
            key: key(node).verifying_key().to_bytes(),
            vo: VoRoot::of(&key(vo)).id(),
            name: "n".into(),
            roles: Roles::NODE,
            not_before: 0,
            not_after: u64::MAX,
        };
        claims.sign(&key(vo)).expect("valid claims")
    }

    fn id(node: u8) -> NodeId {
        node_id_of(&key(node).verifying_key().to_bytes()).expect("a key")
    }

    pub fn epoch(counter: u32) -> Epoch {
        Epoch { counter, recruiter: Town::id(SUBMITTER), incarnation: 1, attempt: counter }
    }

    /// The submitter signs that this node holds the slot under its epoch of this counter.
    fn recruit(&self, slot: u16, counter: u32, node: u8) {
        let epoch = Town::epoch(counter);
        let body = Link { app: self.app, slot, epoch, holder: Town::id(node), after: counter - 1 };
        let proof = sign_claim(&key(SUBMITTER), &Town::credential(self.vo, SUBMITTER), body.claim());
        self.links.lock().expect("no panic").push(Arc::new(Signed { body, proof }));
    }

    /// A member with an open mailbox, that others find under its slot.
    pub fn member(self: &Arc<Self>, slot: u16, counter: u32) -> Mailbox {
        self.member_with(slot, counter, Forged::nothing(), true)
    }

    pub fn member_with(self: &Arc<Self>, slot: u16, counter: u32, forged: Forged, is_found: bool) -> Mailbox {
        // Each holder is another node.
        let node = (slot as u8) * 10 + counter as u8;
        self.recruit(slot, counter, node);
        let (key, epoch) = (slot_key(node), Town::epoch(counter));
        let socket = Mailbox::bind(&key, HERE, 0).expect("bound");
        if is_found {
            let address = socket.address().expect("an address");
            self.places.lock().expect("no panic").insert(slot, Found { epoch, address });
        }
        let agent = Agent { town: self.clone(), slot, epoch, node, key, forged };
        let issued = agent.issue();
        let options = Options { patience: PATIENCE, ..Options::default() };
        socket.open_with(issued, Arc::new(agent), options).expect("open")
    }

    pub fn place(&self, slot: u16) -> Found {
        self.places.lock().expect("no panic")[&slot]
    }

    pub fn put(&self, slot: u16, found: Found) {
        self.places.lock().expect("no panic").insert(slot, found);
    }

    /// Nobody finds the slot any more.
    pub fn forget(&self, slot: u16) {
        self.places.lock().expect("no panic").remove(&slot);
    }
}

impl Agent {
    fn issue(&self) -> Issued {
        let (town, forged) = (&self.town, &self.forged);
        let now = unix_now();
        let mut claims = SlotClaims {
            vo: VoRoot::of(&key(town.vo)).id(),
            app: town.app,
            slot: self.slot,
            epoch: self.epoch,
            key: self.key.public(),
            not_before: now,
            not_after: now + VALID_SECONDS,
        };
        (forged.claims)(&mut claims);
        let links = town.links.lock().expect("no panic").clone();
        let evidence = Evidence { links, ..Evidence::default() };
        let node = forged.node.unwrap_or(self.node);
        let credential = sign_slot(&key(node), &Town::credential(forged.vo, node), &claims, &evidence);
        let grounds = Grounds {
            root: key(town.vo).verifying_key().to_bytes(),
            app: town.app,
            slots: SLOTS,
            submitter: Town::id(SUBMITTER),
            believed: Evidence::default(),
            epochs: vec![],
        };
        Issued { credential, grounds, now_unix_ms: (now + forged.ahead_s) * 1_000 }
    }
}

impl Directory for Agent {
    fn find(&self, slot: u16) -> Answer<'_, Result<Found, FindError>> {
        let found = self.town.places.lock().expect("no panic").get(&slot).copied();
        Box::pin(async move {
            match found {
                Some(found) => Ok(found),
                None if slot >= SLOTS => Err(FindError::Nobody { slot, slots: SLOTS }),
                None => Err(FindError::NotNow { why: "nobody holds it just now".into() }),
            }
        })
    }

    fn renew(&self) -> Answer<'_, Result<Issued, RenewError>> {
        Box::pin(async { Ok(self.issue()) })
    }

    /// Everybody is rank 3 of "row", and a member of nothing else.
    fn check<'a>(&'a self, address: &'a Address) -> Answer<'a, Result<(), Misaddressed>> {
        Box::pin(async {
            let stands = Stands { rank: Some(3), numbering: ROW, at: None };
            if address.collection == "row" {
                address.is_for(Some(stands))
            } else {
                Err(Misaddressed::NoMember)
            }
        })
    }

    fn news(&self) -> Answer<'_, (u16, Epoch)> {
        Box::pin(std::future::pending())
    }
}
