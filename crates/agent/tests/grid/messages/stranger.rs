//! Whoever speaks for a slot that is not its own: nodes of the VO, of another one, former holders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xtreem_allocation::{Epoch, Evidence};
use xtreem_base::{AppId, NodeId};
use xtreem_messages::{
    Address, Answer, Directory, FindError, Found, Issued, Mailbox, Misaddressed, Options, RenewError, SlotKey,
};
use xtreem_net::Identity;
use xtreem_trust::{Grounds, SlotClaims, VALID_SECONDS, sign_slot};

use super::member;
use crate::lab::{Lab, until};
use crate::{all_run, holder};

const PATIENCE: Duration = Duration::from_millis(500);

/// A liar's own agent: it believes whom it meets, and says where slot 0 is.
struct Liar {
    issued: Issued,
    found: Found,
}

impl Directory for Liar {
    fn find(&self, _: u16) -> Answer<'_, Result<Found, FindError>> {
        Box::pin(async { Ok(self.found) })
    }

    fn renew(&self) -> Answer<'_, Result<Issued, RenewError>> {
        Box::pin(async { Ok(self.issued.clone()) })
    }

    fn check<'a>(&'a self, _: &'a Address) -> Answer<'a, Result<(), Misaddressed>> {
        Box::pin(async { Ok(()) })
    }

    fn news(&self) -> Answer<'_, (u16, Epoch)> {
        Box::pin(std::future::pending())
    }
}

fn epoch_of(text: &str) -> Epoch {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |at: usize| parts[at].parse().expect("a number");
    Epoch {
        counter: number(0),
        recruiter: parts[1].parse().expect("an id"),
        incarnation: number(2),
        attempt: number(3),
    }
}

/// What the mailbox at `place` says to a credential that `signer` makes of `claims`.
async fn refusal(signer: &Identity, claims: SlotClaims, place: Found) -> String {
    let key = SlotKey::from_seed([3; 32]);
    let claims = SlotClaims { key: key.public(), ..claims };
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let issued = Issued {
        credential: sign_slot(signer.key(), signer.credential(), &claims, &Evidence::default()),
        grounds: Grounds {
            root: signer.root().key().to_bytes(),
            app: claims.app,
            slots: 2,
            submitter: NodeId::from_bytes([1; 16]),
            believed: Evidence::default(),
            epochs: vec![],
        },
        now_unix_ms: now.as_millis() as u64,
    };
    let socket = Mailbox::bind(&key, place.address.ip(), 0).expect("bound");
    let liar = Liar { issued: issued.clone(), found: place };
    let options = Options { patience: PATIENCE, ..Options::default() };
    let mailbox = socket.open_with(issued, Arc::new(liar), options).expect("open");
    let error = mailbox.send(0, "believe me").await.expect_err("nobody believes it");
    assert!(error.is_definite(), "{error}");
    error.to_string()
}

pub async fn nobody_speaks_for_a_slot_that_is_not_its_own() {
    let mut lab = Lab::of(4).await;
    let app = lab.application("chat", 2, &member("chat"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let mut place = None;
    until("slot 0 hears slot 1", async || {
        let log = lab.log(&id, 0).await;
        let at = log.lines().find_map(|line| line.strip_prefix("mailbox at ")?.parse::<SocketAddr>().ok());
        place = at.filter(|_| log.contains("heard hello of slot 1"));
        place.is_some()
    })
    .await;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let epoch = |slot: usize| epoch_of(shown.slots[slot].epoch.as_deref().expect("it runs"));
    let place = Found { epoch: epoch(0), address: place.expect("it was there a line ago") };
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs();
    let node = lab.member("node9");
    let claims = SlotClaims {
        vo: node.root().id(),
        app: app.record.id,
        slot: 1,
        epoch: epoch(1),
        key: [0; 32],
        not_before: now,
        not_after: now + VALID_SECONDS,
    };
    let stranger = Lab::stranger().member("node1");
    let other_vo = SlotClaims { vo: stranger.root().id(), ..claims.clone() };
    let other_app = SlotClaims { app: AppId::from_bytes([9; 16]), ..claims.clone() };
    let old = SlotClaims { not_before: now - 300, not_after: now - 180, ..claims.clone() };
    // The other slot's node, with its own key, for a slot that it does not hold.
    let first = holder(&shown, 0);
    let neighbour = lab.identity(&holder(&shown, 1));
    let not_its_own = SlotClaims { slot: 0, epoch: epoch(0), ..claims.clone() };
    let table = [
        ("a member claims another's slot", &node, claims.clone(), "nothing shows that its node holds slot 1"),
        (
            "a member claims its neighbour's",
            &neighbour,
            not_its_own,
            "nothing shows that its node holds slot 0",
        ),
        ("of another application", &node, other_app, "another application"),
        ("of another VO", &stranger, other_vo, "another VO"),
        ("by a node of another VO", &stranger, claims.clone(), "another VO"),
        ("expired", &node, old, "expired"),
    ];
    for (what, signer, claims, name) in table {
        let refusal = refusal(signer, claims, place).await;
        assert!(refusal.contains("refused there") && refusal.contains(name), "{what}: {refusal}");
    }
    // Until slot 1 is replaced, its holder is believed; afterwards not even with its own key.
    let dead = holder(&shown, 1);
    lab.kill(&dead);
    until("slot 0 hears the replacement", async || {
        let shown = lab.agents[0].client.app(&id).await;
        let Some(shown) = shown.ok().filter(|shown| all_run(shown) && holder(shown, 1) != dead) else {
            return false;
        };
        let new = shown.slots[1].epoch.clone().unwrap_or_default();
        lab.log(&id, 0).await.contains(&format!("heard hello of slot 1 under {new}"))
    })
    .await;
    assert_ne!(first, dead);
    let former = refusal(&neighbour, claims, place).await;
    assert!(former.contains("older epoch of slot 1"), "{former}");
    assert!(!lab.log(&id, 0).await.contains("believe me"));
}
