//! Groups of subscribers at several agents: each event comes to one member in the whole grid.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Client;
use crate::lab::{Agent, Lab, PATIENCE};
use crate::ring::one_ring;

async fn member(agent: &Agent) -> Client {
    let mut client = Client::of(agent).await;
    client.say("SUBSCRIBE \"jobs\" group=workers\n").await;
    assert_eq!(client.next().await, "OK SUBSCRIBE \"jobs\"");
    client
}

/// What the members get until all these numbers have come, and a moment longer: in no order, and how many
/// came to each.
async fn heard(members: &mut [Client], numbers: std::ops::Range<usize>) -> (Vec<usize>, Vec<usize>) {
    let (mut all, mut counts) = (Vec::new(), vec![0; members.len()]);
    let (end, mut complete) = (Instant::now() + PATIENCE, None);
    while complete.is_none_or(|at: Instant| at.elapsed() < Duration::from_millis(500)) {
        assert!(Instant::now() < end, "missing: {:?}", missing(&all, numbers.clone()));
        for (member, count) in members.iter_mut().zip(&mut counts) {
            while let Ok(said) = timeout(Duration::from_millis(5), member.read_one()).await {
                all.push(said.parse().expect("an event"));
                *count += 1;
            }
        }
        if complete.is_none() && missing(&all, numbers.clone()).is_empty() {
            complete = Some(Instant::now());
        }
    }
    all.sort_unstable();
    (all, counts)
}

fn missing(all: &[usize], numbers: std::ops::Range<usize>) -> Vec<usize> {
    numbers.filter(|number| !all.contains(number)).collect()
}

pub async fn each_event_comes_to_one_member_in_the_grid_and_a_dead_agents_share_to_the_others() {
    let mut lab = Lab::of(5).await;
    one_ring(&lab).await;
    let mut plain = Client::of(&lab.agents[4]).await;
    plain.subscribe("\"jobs\"").await;
    let mut members = Vec::new();
    for at in [1, 1, 2, 3] {
        members.push(member(&lab.agents[at]).await);
    }
    let mut publisher = Client::of(&lab.agents[0]).await;
    for number in 0..300 {
        publisher.publish("\"jobs\"", number).await;
    }
    let (all, counts) = heard(&mut members, 0..300).await;
    assert_eq!(all, (0..300).collect::<Vec<_>>(), "each once");
    assert!(counts.iter().all(|count| (10..200).contains(count)), "{counts:?}");
    plain.hears(0..300).await;

    // An agent that publishes has members, too, and one of them goes.
    let mut there = Client::of(&lab.agents[2]).await;
    drop(members.remove(1));
    for number in 300..400 {
        there.publish("\"jobs\"", number).await;
    }
    assert_eq!(heard(&mut members, 300..400).await.0, (300..400).collect::<Vec<_>>());
    // The last one of an agent goes: its share as well.
    members[2].say("CANCEL \"jobs\"\n").await;
    assert_eq!(members[2].next().await, "OK CANCEL \"jobs\"");
    for number in 400..500 {
        there.publish("\"jobs\"", number).await;
    }
    assert_eq!(heard(&mut members, 400..500).await.0, (400..500).collect::<Vec<_>>());

    let id = lab.agents[1].id.clone();
    lab.kill(&id);
    drop(members.remove(0));
    for number in 500..700 {
        publisher.publish("\"jobs\"", number).await;
    }
    let (mut all, _) = heard(&mut members, 500..700).await;
    all.dedup();
    assert_eq!(all, (500..700).collect::<Vec<_>>());
    plain.hears(300..700).await;
}
