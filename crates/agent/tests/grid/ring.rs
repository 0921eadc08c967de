//! The ring of all nodes, on real agents.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use xtreem_base::Duration;
use xtreem_client::api::RingWrite;
use xtreem_net::{Identity, Roles, sign_announcement, sign_overwrite};
use xtreem_overlay::store::{Overwrite, Value, Version};
use xtreem_overlay::{Key, Namespace};

use crate::lab::{Lab, until};

/// Waits until each live node begins where another one ends.
pub async fn one_ring(lab: &Lab) {
    until("everybody has a place on one ring", async || {
        let (mut begins, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for agent in &lab.agents {
            let Ok(ring) = agent.client.ring().await else { return false };
            let (Some(key), Some(owns)) = (ring.key, ring.owns) else { return false };
            begins.insert(owns.after);
            ends.insert(key);
        }
        begins.len() == lab.agents.len() && begins == ends
    })
    .await;
}

pub async fn all_agents_are_on_one_ring_and_what_lies_on_it_outlives_its_owner() {
    let mut lab = Lab::of(5).await;
    one_ring(&lab).await;
    let write = RingWrite { lease_s: Some(600), ..RingWrite::default() };
    let mut names: Vec<String> = (0..12).map(|number| format!("sky/{number:02}")).collect();
    for (at, name) in names.iter().enumerate() {
        let client = &lab.agents[at % 5].client;
        client.ring_put(name, name.clone().into_bytes(), &write).await.expect("written");
    }
    let hex: String = format!("\u{1}{}", names[3]).bytes().map(|byte| format!("{byte:02x}")).collect();
    let owner = lab.agents[0].client.ring_owner(&hex).await.expect("somebody owns it").owner.id;
    for agent in &lab.agents {
        let other = agent.client.ring_owner(&hex).await.expect("somebody owns it");
        assert_eq!(other.owner.id, owner, "all find the same one");
    }
    // Only who wrote it writes it again, and only over what it has seen.
    let refused = lab.agents[4].client.ring_put(&names[3], b"mine".to_vec(), &write).await;
    assert!(refused.expect_err("another's key").to_string().contains("wrote this key"));
    let once = RingWrite { expected: Some("none".into()), ..write.clone() };
    let refused = lab.agents[3].client.ring_put(&names[3], b"new".to_vec(), &once).await;
    assert!(refused.expect_err("there is something").to_string().contains("another version lies there"));
    let long = lab.agents[3].client.ring_put("long", vec![0; 65_537], &write).await;
    assert!(long.expect_err("too long").to_string().contains("65537 bytes"));

    lab.kill(&owner);
    let alive = lab.agents.iter().position(|agent| agent.id != owner).expect("four live");
    let client = &lab.agents[alive].client;
    for name in &names {
        until("what lay there is read again", async || {
            client.ring_get(name).await.is_ok_and(|item| item.value.0 == name.as_bytes())
        })
        .await;
    }
    let mut list = client.ring_list("sky/", None, 5).await.expect("a list");
    let next = list.next.take().expect("there is more");
    list.items.extend(client.ring_list("sky/", Some(&next), 100).await.expect("the rest").items);
    names.sort();
    assert_eq!(list.items.iter().map(|item| item.key.clone()).collect::<Vec<_>>(), names);
    let nothing = client.ring_get("sea/01").await;
    assert!(nothing.expect_err("never written").to_string().contains("nothing lies at sea/01"));
}

pub async fn an_administrator_removes_what_another_node_wrote_and_nobody_else_does() {
    let lab = Lab::of(4).await;
    one_ring(&lab).await;
    let user = |name, roles| lab.vo().issue_user(name, roles, 1).expect("an identity");
    let (bob, root) = (user("bob", Roles::SUBMIT), user("root", Roles::ADMIN));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (a, b, c) = (&lab.agents[0].client, &lab.agents[1].client, &lab.agents[2].client);
    let first = a.ring_put("colours/sky", b"blue".to_vec(), &RingWrite::default()).await.expect("written");

    let sign = |by: &Identity, at, value: Option<&[u8]>, version: &str| {
        let (epoch, number) = version.split_once('.').expect("two numbers");
        let version = Version { epoch: epoch.parse().expect("one"), number: number.parse().expect("one") };
        let value = value.map(|bytes| Value::new(bytes).expect("short"));
        let what = Overwrite { value, degree: 2, lease: Duration::from_secs(600), version };
        let key = Key::new(Namespace::USER, b"colours/sky").expect("short");
        minicbor::to_vec(sign_overwrite(by, at, &what.statement(&key))).expect("a Vec takes all")
    };
    let write =
        |version: &str| RingWrite { copies: Some(2), lease_s: Some(600), expected: Some(version.to_owned()) };
    let (red, at_first) = (Some(b"red".to_vec()), write(&first.version));
    let refused = async |signed: &[u8], value: Option<Vec<u8>>| {
        let refused = b.ring_overwrite("colours/sky", value, &at_first, signed).await;
        refused.expect_err("it is no such word").to_string()
    };
    let by_bob = refused(&sign(&bob, now(), None, &first.version), None).await;
    assert!(by_bob.contains("only administrators of the VO write over or remove"), "{by_bob}");
    let old = refused(&sign(&root, now() - 3_600, None, &first.version), None).await;
    assert!(old.contains("do it again"), "{old}");
    let other = refused(&sign(&root, now(), None, &first.version), red.clone()).await;
    assert!(other.contains("signature is not the signer's"), "{other}");

    let signed = sign(&root, now(), Some(b"red"), &first.version);
    let second =
        b.ring_overwrite("colours/sky", red.clone(), &at_first, &signed).await.expect("written over");
    let item = c.ring_get("colours/sky").await.expect("it lies there");
    assert_eq!((item.value.0, item.writer), (b"red".to_vec(), root.id().to_string()));
    let again = refused(&signed, red).await;
    assert!(again.contains("another version lies there"), "{again}");
    let mine = a.ring_put("colours/sky", b"blue".to_vec(), &RingWrite::default()).await;
    assert!(mine.expect_err("the administrator's").to_string().contains("wrote this key"));

    let signed = sign(&root, now(), None, &second.version);
    c.ring_overwrite("colours/sky", None, &write(&second.version), &signed).await.expect("removed");
    for agent in &lab.agents {
        let nothing = agent.client.ring_get("colours/sky").await.expect_err("removed");
        assert!(nothing.to_string().contains("nothing lies at"), "{nothing}");
    }
}

pub async fn what_an_administrator_announces_comes_to_all_agents_and_what_others_do_to_nobody() {
    let lab = Lab::of(4).await;
    one_ring(&lab).await;
    let mut heard = Vec::new();
    for agent in &lab.agents {
        heard.push(agent.client.announcements().await.expect("its lines"));
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let signed = |by: &Identity, at, text: &str| sign_announcement(by, at, text.as_bytes()).expect("short");
    let user = |name, roles| lab.vo().issue_user(name, roles, 1).expect("an identity");
    let (bob, root) = (user("bob", Roles::SUBMIT), user("root", Roles::ADMIN));
    let client = &lab.agents[2].client;
    let refused = client.announce(signed(&bob, now(), "free beer")).await.expect_err("no administrator");
    assert!(refused.to_string().contains("only nodes and administrators"), "{refused}");
    let refused = client.announce(signed(&root, now() - 3_600, "old news")).await.expect_err("an hour old");
    assert!(refused.to_string().contains("announce it again"), "{refused}");
    client.announce(signed(&root, now(), "all hands")).await.expect("told");
    for lines in &mut heard {
        let told = lines.next().await.expect("a line").expect("before the end");
        assert_eq!((told.name.as_str(), told.body.0.as_slice()), ("root", &b"all hands"[..]));
        assert_eq!(told.by, root.id().to_string());
    }
}
