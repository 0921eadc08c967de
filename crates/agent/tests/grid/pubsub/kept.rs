//! What is kept of events for those who subscribe later, and what publishers repeat.

use super::Client;
use crate::lab::Lab;
use crate::ring::one_ring;

impl Client {
    /// Returns once it is acknowledged.
    async fn publish_with(&mut self, topic: &str, headers: &str, payload: &str) {
        let len = payload.len();
        let publish = format!("PUBLISH \"{topic}\"\n{headers}Ack: t\nPayload-length: {len}\n{payload}\n");
        self.say(&publish).await;
        assert_eq!(self.next().await, "OK PUBLISH t");
    }

    /// What comes before the answer, in no order.
    async fn finds(&mut self, pattern: &str) -> Vec<String> {
        self.finds_with(pattern, "").await
    }

    async fn finds_with(&mut self, pattern: &str, options: &str) -> Vec<String> {
        self.say(&format!("SUBSCRIBE {pattern} {options}\n")).await;
        let mut found = Vec::new();
        let answer = loop {
            match self.next().await {
                said if said.starts_with("OK") => break said,
                said => found.push(said),
            }
        };
        assert_eq!(answer, format!("OK SUBSCRIBE {pattern}"));
        found.sort();
        found
    }
}

pub async fn the_newest_retained_value_comes_to_who_subscribes_when_its_agent_is_killed() {
    let mut lab = Lab::of(5).await;
    one_ring(&lab).await;
    let (mut one, mut two) = (Client::of(&lab.agents[1]).await, Client::of(&lab.agents[2]).await);
    let retain = "Retain: yes\n";
    one.publish_with("state/a", retain, "old").await;
    two.publish_with("state/a", retain, "new").await;
    two.publish_with("state/a/deep", retain, "deep").await;
    one.publish_with("state/b", retain, "gone").await;
    one.publish_with("state/b", retain, "").await;
    two.publish_with("state/a", "", "not kept").await;
    for (pattern, found) in [
        ("\"state/a\"", &["new"][..]),
        ("\"state/*\"", &["new"]),
        ("\"state/**\"", &["deep", "new"]),
        ("[\"state/a\", \"state/b\")", &["deep", "new"]),
        ("\"state/b\"", &[]),
    ] {
        let mut late = Client::of(&lab.agents[3]).await;
        assert_eq!(late.finds(pattern).await, found, "{pattern}");
        // Once: what comes now is new.
        let topic = if pattern == "\"state/b\"" { "state/b" } else { "state/a" };
        two.publish_with(topic, "", "1").await;
        assert_eq!(late.next().await, "1", "{pattern}");
    }
    // At the publisher's own agent as well.
    assert_eq!(two.finds("\"state/a\"").await, ["new"]);
    let id = lab.agents[2].id.clone();
    lab.kill(&id);
    // While a part of the ring has no owner the answer may be late, and the values behind it.
    let mut later = Client::of(&lab.agents[4]).await;
    later.say("SUBSCRIBE \"state/**\"\n").await;
    let mut found = Vec::new();
    while found.len() < 2 {
        found.extend(Some(later.next().await).filter(|said| !said.starts_with("OK")));
    }
    found.sort();
    assert_eq!(found, ["deep", "new"]);
    // Who comes while values are published misses none: the last one comes, found or as it is published.
    for number in 0..20 {
        let mut watcher = Client::of(&lab.agents[0]).await;
        watcher.say("SUBSCRIBE \"state/a\"\n").await;
        one.publish_with("state/a", retain, &format!("{number}")).await;
        while watcher.next().await != number.to_string() {}
    }
}

pub async fn a_retry_is_one_event_at_all_agents() {
    let lab = Lab::of(3).await;
    one_ring(&lab).await;
    let (mut here, mut there) = (Client::of(&lab.agents[0]).await, Client::of(&lab.agents[1]).await);
    for subscriber in [&mut here, &mut there] {
        subscriber.subscribe("\"a\"").await;
    }
    for _ in 0..2 {
        // A program that has lost its connection begins a new one.
        let mut publisher = Client::of(&lab.agents[0]).await;
        publisher.say("CONNECT ok as=me\n").await;
        assert_eq!(publisher.next().await, "OK CONNECT");
        for number in [1, 2, 2, 3] {
            publisher.publish_with("a", &format!("Sequence: {number}\n"), &number.to_string()).await;
        }
    }
    let mut publisher = Client::of(&lab.agents[0]).await;
    publisher.publish_with("a", "", "4").await;
    here.hears(1..5).await;
    there.hears(1..5).await;
}

pub async fn past_events_come_first_at_another_agent_and_outlive_their_own() {
    let replay = "\n[pubsub]\nreplay = [{ topics = \"past/**\", events = 200, seconds = 600 }]\n";
    let mut lab = Lab::with(5, |_| replay.into()).await;
    one_ring(&lab).await;
    let (mut one, mut two) = (Client::of(&lab.agents[1]).await, Client::of(&lab.agents[2]).await);
    for number in 0..99 {
        two.publish("\"past/a\"", number).await;
    }
    two.publish_with("past/a", "", "99").await;
    one.publish_with("past/b", "", "b").await;
    // While events are published: each comes once, and in its order.
    let mut late = Client::of(&lab.agents[3]).await;
    late.say("SUBSCRIBE \"past/a\" replay=50\n").await;
    for number in 100..300 {
        two.publish("\"past/a\"", number).await;
    }
    two.publish_with("past/a", "", "300").await;
    let mut heard = Vec::new();
    while heard.last() != Some(&300) {
        heard.extend(late.next().await.parse::<usize>().ok());
    }
    assert!((50..=250).contains(&heard[0]), "{heard:?}");
    assert!(heard.iter().zip(&heard[1..]).all(|(number, next)| number + 1 == *next), "{heard:?}");
    // At its own agent, by pattern and by age.
    let found = two.finds_with("[\"past/a\", \"past/c\")", "replay=3").await;
    assert_eq!(found, ["298", "299", "300", "b"]);
    late.say("SUBSCRIBE \"other\" replay=3\n").await;
    assert!(late.next().await.starts_with("ERROR bad-option"));
    let id = lab.agents[2].id.clone();
    lab.kill(&id);
    let mut expected: Vec<String> =
        (101..=300).map(|number| number.to_string()).chain(["b".into()]).collect();
    expected.sort();
    // A part of the ring has no owner for a moment: then it is asked again.
    let found = loop {
        let mut later = Client::of(&lab.agents[4]).await;
        later.say("SUBSCRIBE \"past/*\" replay=500s\n").await;
        let mut found = Vec::new();
        let answer = loop {
            match later.next().await {
                said if said.starts_with("OK") => break said,
                said => found.push(said),
            }
        };
        if answer == "OK SUBSCRIBE \"past/*\"" {
            break found;
        }
    };
    assert!(expected.iter().all(|number| found.contains(number)), "{found:?}");
}
