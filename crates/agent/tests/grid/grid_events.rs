//! What agents say of the grid, and who hears it.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use xtreem_allocation::policy::{Limit, Rule, Who};
use xtreem_base::NodeId;

use crate::lab::{Lab, until};
use crate::pubsub::Client;
use crate::ring::one_ring;
use crate::{all_run, holder, shell};

/// From when an agent says something until a subscriber hears it.
const HEARD_MAX_MS: u64 = 1_000;

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64
}

/// Waits for an event of this topic; what came before it is let go. Returns how old it is.
async fn hears(client: &mut Client, topic: &str) -> (Value, u64) {
    loop {
        let (heard, payload) = client.event().await;
        if heard == topic {
            let about: Value = serde_json::from_slice(&payload).expect("JSON");
            let age = now_ms().saturating_sub(about["time"].as_u64().expect("a time"));
            return (about, age);
        }
    }
}

/// The socket and token of a program of this slot, as its environment has them.
pub fn of_program(app: &str, slot: u16) -> (PathBuf, String) {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let found = processes.filter_map(|process| {
        let environment =
            String::from_utf8_lossy(&fs::read(process.path().join("environ")).ok()?).into_owned();
        let of = |name: &str| {
            let mut all = environment.split('\0');
            all.find_map(|variable| variable.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let is_it = of("XTREEM_APP")? == app && of("XTREEM_SLOT")? == slot.to_string();
        let socket = PathBuf::from(of("XTREEM_SOCKET")?);
        let is_there = |path: &Path| fs::metadata(path).is_ok_and(|it| it.file_type().is_socket());
        let socket = if is_there(&socket) {
            socket
        } else {
            process.path().join("root").join(socket.strip_prefix("/").ok()?)
        };
        (is_it && is_there(&socket)).then(|| Some((socket, of("XTREEM_TOKEN")?))).flatten()
    });
    found.into_iter().next().expect("the program runs")
}

pub async fn who_subscribed_hears_that_a_slot_failed_and_was_replaced_and_that_a_node_has_left() {
    let mut lab = Lab::of(5).await;
    one_ring(&lab).await;
    let mut nodes = Client::of(&lab.agents[0]).await;
    nodes.subscribe("\"grid/**\"").await;
    let program = shell("exec sleep 600");
    let (app, other) = (lab.application("web", 2, &program), lab.application("other", 1, &program));
    let (id, other_id) = (app.record.id.to_string(), other.record.id.to_string());
    let mut slots = Client::of(&lab.agents[0]).await;
    slots.subscribe(&format!("\"app/{id}/slot/**\"")).await;
    lab.place(&app).await;
    let (running, _) = hears(&mut slots, &format!("app/{id}/slot/0/running")).await;
    lab.place(&other).await;
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    let lost = holder(&shown, 0);
    assert_eq!((running["node"].as_str(), running["slot"].as_u64()), (Some(lost.as_str()), Some(0)));

    // A program hears of its own application and of the grid, and of no other application.
    let (socket, token) = of_program(&id, 1);
    let mut program = Client::at(&socket).await;
    program.say(&format!("AUTH {token}\n")).await;
    assert_eq!(program.next().await, "OK AUTH");
    program.subscribe("\"**\"").await;
    program.say(&format!("SUBSCRIBE \"app/{other_id}/slot/**\"\n")).await;
    assert!(program.next().await.starts_with("ERROR forbidden"));
    let (mut forger, mut operator) = (Client::at(&socket).await, Client::of(&lab.agents[0]).await);
    forger.say(&format!("AUTH {token}\n")).await;
    assert_eq!(forger.next().await, "OK AUTH");
    for topic in [format!("grid/node/{lost}/left"), format!("app/{id}/slot/0/failed"), "grid/x".into()] {
        for client in [&mut forger, &mut operator] {
            client.publish(&format!("\"{topic}\""), 0).await;
            let refused = client.next().await;
            assert!(refused.starts_with("ERROR forbidden") && refused.contains("agents alone"), "{refused}");
        }
    }
    operator.publish(&format!("\"app/{other_id}/private\""), 1).await;
    operator.publish(&format!("\"app/{id}/own\""), 2).await;
    loop {
        let (topic, _) = program.event().await;
        assert!(!topic.starts_with(&format!("app/{other_id}/")), "{topic}");
        if topic == format!("app/{id}/own") {
            break;
        }
    }

    lab.kill(&lost);
    let (failed, age) = hears(&mut slots, &format!("app/{id}/slot/0/failed")).await;
    assert!(age < HEARD_MAX_MS, "{age} ms: {failed}");
    assert_eq!((failed["node"].as_str(), &failed["epoch"]), (Some(lost.as_str()), &running["epoch"]));
    let (replaced, _) = hears(&mut slots, &format!("app/{id}/slot/0/replaced")).await;
    let (runs, _) = hears(&mut slots, &format!("app/{id}/slot/0/running")).await;
    assert_eq!((&replaced["node"], &replaced["epoch"]), (&runs["node"], &runs["epoch"]));
    assert!(runs["epoch"].as_str() > running["epoch"].as_str() && runs["node"].as_str() != Some(&lost));
    let (left, _) = hears(&mut nodes, &format!("grid/node/{lost}/left")).await;
    assert_eq!(left["node"].as_str(), Some(lost.as_str()));
    lab.restart(&lost).await;
    hears(&mut nodes, &format!("grid/node/{lost}/joined")).await;
    until("all run", async || lab.agents[0].client.app(&id).await.is_ok_and(|shown| all_run(&shown))).await;
}

pub async fn a_rule_of_the_vo_keeps_topics_for_some_and_holds_for_connections_that_are_open() {
    let lab = Lab::of(2).await;
    one_ring(&lab).await;
    let (mut here, mut there) = (Client::of(&lab.agents[0]).await, Client::of(&lab.agents[1]).await);
    there.subscribe("\"news/**\"").await;
    here.publish("\"news/sport\"", 1).await;
    there.hears(1..2).await;
    let first: NodeId = lab.agents[0].id.parse().expect("an id");
    let who = || Who { keys: vec![first], ..Who::default() };
    let rules = vec![
        Rule { name: "desk".into(), limit: Limit::Publish("news/**".into()), who: who() },
        Rule { name: "board".into(), limit: Limit::Subscribe("plans/**".into()), who: who() },
    ];
    lab.agents[0].client.set_policy(lab.policy(1, rules)).await.expect("taken");
    until("the rule is in force at the other agent", async || {
        there.publish("\"news/sport\"", 0).await;
        let said = there.next().await;
        said.starts_with("ERROR forbidden") && said.contains("desk")
    })
    .await;
    here.publish("\"news/sport\"", 2).await;
    there.hears(2..3).await;
    there.say("SUBSCRIBE \"plans/x\"\n").await;
    let refused = there.next().await;
    assert!(refused.starts_with("ERROR forbidden") && refused.contains("board"), "{refused}");
    there.subscribe("\"**\"").await;
    here.publish("\"plans/x\"", 3).await;
    here.publish("\"open\"", 4).await;
    there.hears(4..5).await;
}
