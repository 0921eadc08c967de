//! Requests by publish/subscribe, against a socket that says what an agent says.
#![cfg(feature = "pubsub")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use xtreem_client::OperatorClient;
use xtreem_client::pubsub::{PubSubError, Told};

const EVENT: &str =
    "EVENT \"a/b\" 0123456789abcdef0123456789abcdef\r\nReply-to: \"in\"\r\nPayload-length: 2\r\nhi\r\n";

fn answer(to: &str, payload: &str) -> String {
    let id = "0123456789abcdef0123456789abcdef";
    format!("EVENT {to} {id}\r\nPayload-length: {}\r\n{payload}\r\n", payload.len())
}

#[tokio::test]
async fn a_request_gets_the_first_answer_to_it_and_other_events_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bound");
    let agent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let (mut asked, mut buffer) = (Vec::new(), [0; 4_096]);
        for step in 0..5 {
            let read = stream.read(&mut buffer).await.expect("asked");
            asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let said = match step {
                0 => "OK CONNECT\r\n".to_owned(),
                1 => "OK SUBSCRIBE\r\n".to_owned(),
                // The answer is quicker than the word that the request was taken, and comes twice.
                2 => {
                    let to = asked[2].split("Reply-to: ").nth(1).expect("a topic");
                    let to = to.lines().next().expect("a line");
                    format!("{}{EVENT}OK PUBLISH a\r\n{}", answer(to, "fine"), answer(to, "again"))
                }
                3 => "OK PUBLISH a\r\n".to_owned(),
                _ => String::new(),
            };
            stream.write_all(said.as_bytes()).await.expect("answered");
        }
        asked
    });
    let mut bus = OperatorClient::new(&path).pubsub().await.expect("connected");
    let limit = Duration::from_millis(50);
    let answer = bus.request("services/web", b"status?", Duration::from_secs(60)).await.expect("answered");
    assert_eq!(&answer.payload[..], b"fine");
    let none = bus.request("services/none", b"", limit).await.expect_err("nobody is there");
    assert!(matches!(&none, PubSubError::Unanswered { topic, .. } if topic == "services/none"), "{none}");
    let Told::Event(event) = bus.recv().await.expect("told") else { panic!("no event") };
    assert_eq!(event.topic, "a/b");
    assert!(bus.reply(&event, b"seen").await.expect("published"));
    let asked = agent.await.expect("no panic");
    assert!(asked[1].starts_with("SUBSCRIBE \"inbox/") && asked[1].ends_with("/*\"\r\n"), "{}", asked[1]);
    assert!(asked[4].starts_with("PUBLISH \"in\"\r\n"), "{}", asked[4]);
}
