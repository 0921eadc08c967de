//! Members of an application that talk to each other, by mailboxes of their own and through their agents; and
//! those that nobody believes.

mod member;
mod stranger;

use xtreem_agent::program::{CollectionRef, Program, SELF_COMMAND};
use xtreem_client::api::CollectionSpec;

use self::member::STREAMED_BYTES;
pub use self::member::{BE_MEMBER, be_member};
pub use self::stranger::nobody_speaks_for_a_slot_that_is_not_its_own;
use crate::lab::{Lab, until};
use crate::{all_run, holder};

/// More than an agent or a program has in these tests, and far less than what is refused and streamed.
const MEMORY_MAX_KIB: u64 = 100 << 10;

fn member(does: &str) -> Program {
    Program { command: [SELF_COMMAND, BE_MEMBER, does].map(String::from).to_vec(), ..Program::default() }
}

pub async fn five_members_talk_and_the_replacement_of_a_dead_one_goes_on() {
    let mut lab = Lab::of(7).await;
    let app = lab.application("chat", 5, &member("chat"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    for slot in 0..5u16 {
        let others = (0..5u16).filter(|other| *other != slot);
        let heard: Vec<String> = others.map(|other| format!("heard hello of slot {other}")).collect();
        until("each member hears all others", async || {
            let log = lab.log(&id, slot).await;
            heard.iter().all(|line| log.contains(line))
        })
        .await;
    }
    let before = lab.agents[0].client.app(&id).await.expect("it runs");
    let (dead, epoch) = (holder(&before, 3), before.slots[3].epoch.clone().expect("it runs"));
    lab.kill(&dead);
    until("slot 3 runs elsewhere", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| all_run(&shown) && holder(&shown, 3) != dead)
    })
    .await;
    let after = lab.agents[0].client.app(&id).await.expect("it runs");
    let new = after.slots[3].epoch.clone().expect("it runs");
    assert!(new > epoch);
    until("the replacement hears everybody", async || {
        let log = lab.log(&id, 3).await;
        [0, 1, 2, 4].iter().all(|other| log.contains(&format!("heard hello of slot {other}")))
    })
    .await;
    for slot in [0, 1, 2, 4] {
        until("everybody hears the replacement", async || {
            lab.log(&id, slot).await.contains(&format!("heard hello of slot 3 under {new}"))
        })
        .await;
    }
}

pub async fn programs_of_any_language_talk_through_their_agents() {
    let lab = Lab::of(3).await;
    let app = lab.application("plain", 2, &member("plain"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    for (slot, line) in [(0, "heard hello of slot 1"), (1, "heard hello of slot 0")] {
        until("each hears the other", async || lab.log(&id, slot).await.contains(line)).await;
    }
    let log = lab.log(&id, 0).await;
    for expected in [
        "to slot 7: 404 definite nobody has slot 7: the application has 2",
        "own mailbox: 409",
        "second reader: 409",
        "a gigabyte: 413 too long",
    ] {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    for agent in &lab.agents {
        let peak = member::peak_kib(agent.pid());
        println!("  an agent's peak: {peak} KiB");
        assert!(peak < MEMORY_MAX_KIB, "an agent kept what it refused");
    }
}

pub async fn who_has_another_rank_by_now_does_not_take_what_was_sent_to_the_old_one() {
    let lab = Lab::of(4).await;
    let row = CollectionRef { name: "row".to_owned(), spec: CollectionSpec::Ranks {} };
    let app = lab.application("ranked", 3, &Program { collections: vec![row], ..member("ranked") });
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("slot 0 has sent all", async || lab.log(&id, 0).await.contains("all are sent")).await;
    let log = lab.log(&id, 0).await;
    for expected in [
        "another rank: definite, it is rank 1 under",
        "an old numbering: definite, it is rank 1 under",
        "another collection: definite, it is no member of that collection",
        "posted: definite, it is rank 1 under",
    ] {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    until("slot 1 has heard both", async || lab.log(&id, 1).await.contains("heard by slot")).await;
    let log = lab.log(&id, 1).await;
    let heard: Vec<&str> = log.lines().filter(|line| line.starts_with("heard")).collect();
    assert_eq!(heard, ["heard by rank 1 of \"row\" right", "heard by slot last"], "{log}");
}

pub async fn a_program_that_takes_no_messages_holds_up_nobody_else() {
    let lab = Lab::of(4).await;
    let app = lab.application("deaf", 3, &member("deaf"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("slot 0 has called", async || lab.log(&id, 0).await.contains("who am I")).await;
    let log = lab.log(&id, 0).await;
    for expected in ["one more to slot 1: 429 definite", "to slot 2: 200", "who am I: 200"] {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
}

pub async fn what_is_too_long_for_a_message_is_streamed_within_little_memory() {
    let lab = Lab::of(3).await;
    let app = lab.application("large", 2, &member("large"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it is streamed", async || lab.log(&id, 0).await.contains("streamed")).await;
    let sender = lab.log(&id, 0).await;
    assert!(sender.contains("as a message: MESSAGE_MAX_BYTES"), "{sender}");
    until("it has arrived", async || {
        lab.log(&id, 1).await.contains(&format!("received {STREAMED_BYTES} bytes"))
    })
    .await;
    for slot in 0..2 {
        let log = lab.log(&id, slot).await;
        let peak = log.lines().find_map(|line| line.strip_prefix("peak KiB "));
        let peak: u64 = peak.and_then(|peak| peak.parse().ok()).expect("a peak");
        println!("  slot {slot}'s peak: {peak} KiB");
        assert!(peak < MEMORY_MAX_KIB, "{log}");
    }
}
