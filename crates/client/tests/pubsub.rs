//! Publish/subscribe against a socket that says what an agent says.
#![cfg(feature = "pubsub")]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use xtreem_client::SlotClient;
use xtreem_client::pubsub::{Change, Details, HashId, PubSub, PubSubError, Told};

/// A client of an agent that answers each request with the next of these; the requests come back.
async fn scripted(script: &'static [&'static str]) -> (PubSub, JoinHandle<Vec<String>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bound");
    let agent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let (mut asked, mut buffer) = (Vec::new(), [0; 4_096]);
        for answer in ["OK CONNECT\r\n", "OK AUTH\r\n"].iter().chain(script) {
            let read = stream.read(&mut buffer).await.expect("asked");
            asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            stream.write_all(answer.as_bytes()).await.expect("answered");
        }
        drop(dir);
        asked
    });
    let bus = SlotClient::new(path, "token".into()).pubsub().await.expect("connected");
    (bus, agent)
}

const EVENT: &str = "EVENT \"a/b\" 0123456789abcdef0123456789abcdef\r\nRetained: yes\r\n\
                     Sequence: 7\r\nReply-to: \"in\"\r\nPublisher: me\r\nPayload-length: 2\r\nhi\r\n";

#[tokio::test]
async fn events_losses_and_answers_come_to_whom_they_belong() {
    let events = concat_event("OK SUBSCRIBE \"a/**\" late\r\n");
    let (mut bus, agent) = scripted(events).await;
    bus.subscribe("a/**").await.expect("subscribed");
    let details = Details { sequence: Some(5), reply_to: Some("in".into()), retain: true };
    bus.publish_acknowledged("say \"hi\"", b"body", &details).await.expect("published");
    let Told::Event(event) = bus.recv().await.expect("told") else { panic!("no event") };
    assert_eq!((event.topic.as_str(), &event.payload[..], event.sequence), ("a/b", &b"hi"[..], Some(7)));
    assert!(event.is_retained);
    assert_eq!((event.reply_to.as_deref(), event.publisher.as_deref()), (Some("in"), Some("me")));
    assert_eq!(bus.recv().await.expect("told"), Told::Lost { topic: "a/b".into(), count: 3 });
    let asked = agent.await.expect("no panic");
    assert_eq!(asked[1..3], ["AUTH token\r\n", "SUBSCRIBE \"a/**\"\r\n"]);
    let publish = "PUBLISH \"say \\\"hi\\\"\"\r\nRetain: yes\r\nSequence: 5\r\nReply-to: \"in\"\r\nAck: a\r\n\
                   Payload-length: 4\r\nbody\r\n";
    assert_eq!(asked[3], publish);
    assert!(matches!(bus.recv().await, Err(PubSubError::Ended)));
}

fn concat_event(answer: &str) -> &'static [&'static str] {
    let first: &'static str = Box::leak(format!("{EVENT}{answer}").into_boxed_str());
    Box::leak(Box::new([first, "LOST \"a/b\" 3\r\nOK PUBLISH a\r\n"]))
}

#[tokio::test]
async fn a_refusal_of_what_nobody_waited_for_is_told_before_the_next_request() {
    // What was published comes with the question whether all is well, or before it.
    let script = &["ERROR forbidden \"not a\"\r\nOK CONNECT\r\n", "OK SUBSCRIBE \"b\"\r\n"];
    let (mut bus, agent) = scripted(script).await;
    bus.feed("a", b"x", &Details::default()).await.expect("written");
    match bus.subscribe("b").await {
        Err(PubSubError::Refused { code, words }) => assert_eq!((&*code, &*words), ("forbidden", "not a")),
        other => panic!("{other:?}"),
    }
    bus.subscribe("b").await.expect("subscribed");
    let asked = agent.await.expect("no panic");
    assert!(asked[2].starts_with("PUBLISH \"a\"") && asked[2].ends_with("CONNECT ok lost headers\r\n"));
    assert_eq!(asked[3], "SUBSCRIBE \"b\"\r\n");
}

#[tokio::test]
async fn values_are_read_and_updated_by_their_versions() {
    let value: &'static str = Box::leak(EVENT.replacen("EVENT", "VALUE", 1).into_boxed_str());
    let script: &'static [&'static str] = Box::leak(Box::new([
        value,
        "OK READ \"b\" absent\r\n",
        "ERROR overtaken \"old: read it\"\r\nOK UPDATE op 0123456789abcdef0123456789abcdee absent\r\n",
        "ERROR conflict \"op: \\\"a/b\\\" absent\"\r\n",
    ]));
    let (mut bus, agent) = scripted(script).await;
    let read = bus.read_value("a/b").await.expect("read").expect("a value");
    assert_eq!((&read.payload[..], bus.read_value("b").await.expect("read")), (&b"hi"[..], None));
    let changes = [Change::set("a/b", b"new").expect(Some(read.id)), Change::set("b", b"").expect(None)];
    let ids = bus.update("op", &changes).await.expect("made");
    assert_eq!(ids, [Some(HashId(read.id.0 - 1)), None]);
    assert_eq!(bus.recv().await.expect("told"), Told::Overtaken("old: read it".into()));
    match bus.update("op", &[Change::keep("a/b")]).await {
        Err(PubSubError::Refused { code, .. }) => assert_eq!(code, "conflict"),
        other => panic!("{other:?}"),
    }
    let asked = agent.await.expect("no panic");
    let update = "UPDATE op\r\nPayload-length: 63\r\n\"a/b\" 0123456789abcdef0123456789abcdef 3\r\nnew\r\n\
                  \"b\" absent 0\r\n\r\n\r\n";
    assert_eq!(asked[2..5], ["READ \"a/b\"\r\n", "READ \"b\"\r\n", update]);
}
