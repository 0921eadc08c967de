//! Publish/subscribe by the local API: server-sent events, events by `POST`, and the list of topics.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use xtreem_client::api::TopicView;

use super::Client;
use crate::grid_events::of_program;
use crate::lab::{Agent, Lab, PATIENCE, until};
use crate::ring::one_ring;
use crate::shell;

/// One request by HTTP, and its answer as it comes.
struct Web {
    stream: UnixStream,
    read: String,
}

impl Web {
    async fn ask(socket: &Path, request: &str, headers: &str, body: &[u8]) -> Web {
        let mut stream = UnixStream::connect(socket).await.expect("it listens");
        let head =
            format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("it reads");
        Web { stream, read: String::new() }
    }

    async fn of(agent: &Agent, request: &str, headers: &str, body: &[u8]) -> Web {
        Web::ask(&agent.dir().join("state/control.sock"), request, headers, body).await
    }

    /// What stands before the next of these, which is read, too.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, behind)) = self.read.split_once(end) {
                let (before, behind) = (before.to_owned(), behind.to_owned());
                self.read = behind;
                return before;
            }
            let mut bytes = vec![0; 4_096];
            let len = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("something comes");
            let len = len.expect("open");
            assert_ne!(len, 0, "it ended: {}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..len]).expect("text"));
        }
    }

    async fn status(&mut self) -> String {
        self.until("\r\n").await.split_whitespace().nth(1).expect("a status").to_owned()
    }

    /// The fields of the next event but its id, and that.
    async fn event(&mut self) -> (String, String) {
        loop {
            let (mut fields, mut id) = (Vec::new(), String::new());
            for line in self.until("\n\n").await.lines() {
                match line.strip_prefix("id: ") {
                    Some(said) => id = said.to_owned(),
                    // Chunks of HTTP have their lengths before them.
                    None if line.starts_with("event: ") || line.starts_with("data: ") => {
                        fields.push(line.to_owned())
                    }
                    None => {}
                }
            }
            if !fields.is_empty() {
                return (fields.join("|"), id);
            }
        }
    }
}

async fn follow(agent: &Agent, query: &str, headers: &str) -> Web {
    let mut web = Web::of(agent, &format!("GET /v1/events?{query}"), headers, b"").await;
    assert_eq!(web.status().await, "200");
    assert!(web.until("\r\n\r\n").await.contains("text/event-stream"));
    web
}

async fn post(agent: &Agent, query: &str, payload: &[u8]) -> String {
    Web::of(agent, &format!("POST /v1/events?{query}"), "", payload).await.status().await
}

pub async fn programs_and_pages_hear_events_by_http_and_publish_them() {
    let lab = Lab::of(3).await;
    one_ring(&lab).await;
    let (here, there) = (&lab.agents[0], &lab.agents[1]);
    let mut web = follow(here, "topic=news/*&topic=end", "").await;
    let mut client = Client::of(&lab.agents[2]).await;
    client.subscribe("\"news/**\"").await;
    assert_eq!(post(there, "topic=news/sport", b"one\ntwo").await, "200");
    assert_eq!(post(there, "topic=news/sport", b"\xff").await, "200");
    let (said, id) = web.event().await;
    assert_eq!((said.as_str(), id.len()), ("event: news/sport|data: one|data: two", 32));
    assert_eq!(web.event().await.0, "event: news/sport|data: base64:/w==");
    assert_eq!(client.next().await, "one\ntwo");
    client.next().await;
    assert_eq!(post(there, "topic=end", b"").await, "200");
    assert_eq!(web.event().await.0, "event: end|data: base64:");

    // A last value is found by who comes later.
    assert_eq!(post(here, "topic=state/web&retain=true", b"up").await, "200");
    assert_eq!(follow(there, "topic=state/**", "").await.event().await.0, "event: state/web|data: up");

    // The same rules as by the protocol.
    assert_eq!(post(here, "topic=grid/x", b"1").await, "403");
    for (query, status) in [
        ("", "400"),
        ("topic=a//b", "400"),
        ("topic=a&replay=x", "400"),
        ("topic=a&replay=5", "400"),
        ("topic=a&colour=red", "400"),
    ] {
        let mut refused = Web::of(here, &format!("GET /v1/events?{query}"), "", b"").await;
        assert_eq!(refused.status().await, status, "{query}");
    }
    let mut refused = Web::of(here, "GET /v1/events?topic=a", "Last-Event-ID: 7\r\n", b"").await;
    assert_eq!(refused.status().await, "400");

    let (app, other) = (lab.application("web", 1, &shell("exec sleep 600")), "0".repeat(32));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let (socket, token) = of_program(&id, 0);
    let with = format!("Authorization: Bearer {token}\r\n");
    let asked = |topic: &str| format!("GET /v1/events?topic={topic}");
    let mut refused = Web::ask(&socket, &asked("a"), "", b"").await;
    assert_eq!(refused.status().await, "401");
    let mut refused = Web::ask(&socket, &asked(&format!("app/{other}/x")), &with, b"").await;
    assert_eq!(refused.status().await, "403");
    let mut program = Web::ask(&socket, &asked(&format!("app/{id}/x")), &with, b"").await;
    assert_eq!(program.status().await, "200");
    let publish = format!("POST /v1/events?topic=app/{id}/x");
    assert_eq!(Web::ask(&socket, &publish, &with, b"mine").await.status().await, "200");
    assert_eq!(program.event().await.0, format!("event: app/{id}/x|data: mine"));
}

pub async fn a_reader_that_comes_back_gets_the_past_events_that_it_has_not_had() {
    let replay = "\n[pubsub]\nreplay = [{ topics = \"log/**\", events = 100, seconds = 600 }]\n";
    let lab = Lab::with(3, |_| replay.into()).await;
    one_ring(&lab).await;
    let (here, there) = (&lab.agents[0], &lab.agents[1]);
    let mut publisher = xtreem_client::OperatorClient::new(there.dir().join("state/control.sock"))
        .pubsub()
        .await
        .expect("it listens");
    for number in 1..=4 {
        let (payload, details) = (number.to_string(), Default::default());
        publisher.publish_acknowledged("log/a", payload.as_bytes(), &details).await.expect("it is kept");
    }
    let mut first = follow(here, "topic=log/**&replay=600s", "").await;
    let mut last = String::new();
    for number in 1..=2 {
        let (said, id) = first.event().await;
        assert_eq!(said, format!("event: log/a|data: {number}"));
        last = id;
    }
    drop(first);
    let mut again = follow(here, "topic=log/**&replay=600s", &format!("Last-Event-ID: {last}\r\n")).await;
    for number in 3..=4 {
        assert_eq!(again.event().await.0, format!("event: log/a|data: {number}"));
    }
    publisher.publish("log/a", b"5").await.expect("published");
    assert_eq!(again.event().await.0, "event: log/a|data: 5");
}

pub async fn all_topics_of_the_grid_are_listed_with_their_servers_a_page_at_a_time() {
    let lab = Lab::of(3).await;
    one_ring(&lab).await;
    let mut clients = Vec::new();
    for agent in &lab.agents {
        let mut client = Client::of(agent).await;
        client.subscribe("\"a/**\"").await;
        clients.push(client);
    }
    clients[1].subscribe("\"a/b\"").await;
    clients[2].subscribe("\"ab\"").await;
    assert_eq!(post(&lab.agents[0], "topic=a/b/c&retain=true", b"seven..").await, "200");
    clients[2].publish("\"a/b\"", 1).await;
    let view = |topic: &str, subscribers, publishers, retained_bytes| {
        (topic.to_owned(), subscribers, publishers, retained_bytes)
    };
    let seen = |it: &TopicView| (it.topic.clone(), it.subscribers, it.publishers, it.retained_bytes);
    let expected = [view("a/**", 3, 0, None), view("a/b", 1, 1, None), view("a/b/c", 0, 1, Some(7))];
    until("all topics below one are listed", async || {
        let list = lab.agents[1].client.topics(Some("a"), None, 100).await.expect("an answer");
        list.next.is_none() && list.topics.iter().map(seen).collect::<Vec<_>>() == expected
    })
    .await;
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let page = lab.agents[0].client.topics(None, from.as_deref(), 1).await.expect("an answer");
        all.extend(page.topics.iter().map(seen));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    // What the agents themselves publish lies between them.
    all.retain(|(topic, ..)| topic.starts_with('a'));
    assert_eq!(all[..3], expected);
    assert_eq!(all[3], view("ab", 1, 0, None));
    let refused = lab.agents[0].client.topics(Some("a//b"), None, 1).await.expect_err("no topic");
    assert!(refused.to_string().contains("prefix=a//b"), "{refused}");
    let refused = lab.agents[0].client.topics(None, Some("xy"), 1).await.expect_err("no place");
    assert!(refused.to_string().contains("from=xy"), "{refused}");
}
