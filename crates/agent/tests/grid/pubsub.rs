//! Publish/subscribe between agents: whoever subscribed at one hears what is published at another.

pub mod example;
pub mod groups;
pub mod kept;
pub mod updates;
pub mod web;

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use xtreem_pubsub::{Framer, Reply, Step};

use crate::lab::{Agent, Lab, PATIENCE};
use crate::ring::one_ring;

/// A connection to an agent's socket.
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    read: Vec<u8>,
}

impl Client {
    pub async fn of(agent: &Agent) -> Client {
        Client::at(&agent.dir().join("state/control.sock")).await
    }

    pub async fn at(socket: &Path) -> Client {
        let stream = UnixStream::connect(socket).await.expect("it listens");
        let mut client = Client { stream, framer: Framer::new(1 << 20), read: Vec::new() };
        client.say("CONNECT ok lost\n").await;
        assert_eq!(client.next().await, "OK CONNECT");
        client
    }

    pub async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("it reads");
    }

    pub async fn publish(&mut self, to: &str, payload: usize) {
        let payload = payload.to_string();
        self.say(&format!("PUBLISH {to}\nPayload-length: {}\n{payload}\n", payload.len())).await;
    }

    /// Returns once the answer is there.
    pub async fn subscribe(&mut self, pattern: &str) {
        self.say(&format!("SUBSCRIBE {pattern}\n")).await;
        assert_eq!(self.next().await, format!("OK SUBSCRIBE {pattern}"));
    }

    /// The payload of an event, or what else is said.
    pub async fn next(&mut self) -> String {
        timeout(PATIENCE, self.read_one()).await.expect("something comes")
    }

    /// The topic of an event, and its payload.
    pub async fn event(&mut self) -> (String, Vec<u8>) {
        let (topic, said) = timeout(PATIENCE, self.read_any()).await.expect("something comes");
        (topic.unwrap_or_else(|| panic!("no event: {said}")), said.into_bytes())
    }

    async fn read_one(&mut self) -> String {
        self.read_any().await.1
    }

    /// With the topic, if it is an event.
    async fn read_any(&mut self) -> (Option<String>, String) {
        loop {
            let (taken, step) = self.framer.next(&self.read);
            let said = match step {
                Step::More(_) => None,
                Step::Frame(frame) => Some(match Reply::parse(frame).expect("a reply") {
                    Reply::Event(event) => {
                        let payload = String::from_utf8_lossy(event.payload).into_owned();
                        (Some(event.topic.text().into_owned()), payload)
                    }
                    _ => (None, String::from_utf8_lossy(frame.line).into_owned()),
                }),
                wrong => panic!("{wrong:?}"),
            };
            self.read.drain(..taken);
            match said {
                Some(said) => return said,
                None => assert_ne!(self.stream.read_buf(&mut self.read).await.expect("open"), 0, "ended"),
            }
        }
    }

    /// These numbers come, one after the other.
    pub async fn hears(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            assert_eq!(self.next().await, number.to_string());
        }
    }
}

pub async fn an_event_comes_once_and_in_order_to_whoever_subscribed_at_another_agent() {
    let lab = Lab::of(3).await;
    one_ring(&lab).await;
    let (mut exact, mut publisher) = (Client::of(&lab.agents[1]).await, Client::of(&lab.agents[2]).await);
    exact.subscribe("\"news/sport\"").await;
    for number in 0..1_000 {
        publisher.publish("\"news/sport\"", number).await;
    }
    exact.hears(0..1_000).await;
    // Somebody comes while events are under way: from the answer on all come.
    let mut number = 1_000;
    for pattern in ["\"news/*\"", "\"news/**\"", "\"**\"", "[\"news/a\", \"news/t\")", "\"news/sport\""] {
        let mut late = Client::of(&lab.agents[0]).await;
        late.say(&format!("SUBSCRIBE {pattern}\n")).await;
        let mut since = None;
        let last = loop {
            publisher.publish("\"news/sport\"", number).await;
            number += 1;
            if since.is_some_and(|since| number == since + 50) {
                break number;
            }
            if since.is_none()
                && let Ok(said) = timeout(Duration::from_millis(2), late.read_one()).await
                && said.starts_with("OK")
            {
                assert_eq!(said, format!("OK SUBSCRIBE {pattern}"));
                since = Some(number);
            }
        };
        let since = since.expect("answered");
        let first: usize = loop {
            // Some that were published before the answer may have come.
            match late.next().await.parse() {
                Ok(number) if number < since => {}
                number => break number.expect("an event"),
            }
        };
        assert_eq!(first, since, "{pattern}");
        late.hears(since + 1..last).await;
    }
    exact.hears(1_000..number).await;
    // Whoever publishes to several topics reaches who subscribed to one of them.
    publisher.publish("\"news/**\"", 1).await;
    exact.hears(1..2).await;
    publisher.publish("[\"news/s\", \"news/t\")", 2).await;
    exact.hears(2..3).await;
    exact.say("CANCEL \"news/sport\"\nSUBSCRIBE \"end\"\n").await;
    assert_eq!(exact.next().await, "OK CANCEL \"news/sport\"");
    assert_eq!(exact.next().await, "OK SUBSCRIBE \"end\"");
    publisher.publish("\"news/sport\"", 3).await;
    publisher.publish("\"end\"", 4).await;
    exact.hears(4..5).await;
}

pub async fn a_publisher_goes_on_when_the_agent_of_a_subscriber_is_killed() {
    let mut lab = Lab::of(4).await;
    one_ring(&lab).await;
    let mut publisher = Client::of(&lab.agents[2]).await;
    let (mut killed, mut other) = (Client::of(&lab.agents[1]).await, Client::of(&lab.agents[3]).await);
    for subscriber in [&mut killed, &mut other] {
        subscriber.subscribe("\"a/b\"").await;
    }
    publisher.publish("\"a/b\"", 0).await;
    killed.hears(0..1).await;
    let id = lab.agents[1].id.clone();
    lab.kill(&id);
    for number in 1..100 {
        publisher.publish("\"a/b\"", number).await;
    }
    other.hears(0..100).await;
    // A new topic, while a part of the ring has no owner for a moment: the answer may be late.
    other.say("SUBSCRIBE \"c\"\n").await;
    assert!(other.next().await.starts_with("OK SUBSCRIBE"));
    let mut number = 100;
    let heard: usize = loop {
        publisher.publish("\"c\"", number).await;
        number += 1;
        if let Ok(heard) = timeout(Duration::from_millis(100), other.read_one()).await {
            break heard.parse().expect("an event");
        }
        assert!(number < 700, "nothing is heard");
    };
    other.hears(heard + 1..number).await;
}

pub async fn more_agents_than_one_tells_itself_get_each_event_once_also_when_a_head_is_killed() {
    let mut lab = Lab::of(18).await;
    one_ring(&lab).await;
    let mut publisher = Client::of(&lab.agents[0]).await;
    let mut subscribers = Vec::new();
    for agent in &lab.agents[1..] {
        let mut subscriber = Client::of(agent).await;
        subscriber.subscribe("\"a/**\"").await;
        subscribers.push((agent.id.clone(), subscriber));
    }
    for number in 0..300 {
        publisher.publish("\"a/b\"", number).await;
    }
    for (_, subscriber) in &mut subscribers {
        subscriber.hears(0..300).await;
    }
    // The last part of the list has more than its head.
    subscribers.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (head, _) = subscribers.remove(subscribers.len() - 3);
    lab.kill(&head);
    for number in 300..500 {
        publisher.publish("\"a/b\"", number).await;
    }
    for (_, subscriber) in &mut subscribers {
        subscriber.hears(300..500).await;
    }
}
