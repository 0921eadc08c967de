//! What servers say, read in pieces of every length.

use super::*;

const TOPIC: &str = "bench";

/// What is understood of `said` when it is read up to each of these places in turn.
fn understood(proto: Proto, said: &[u8], reads: impl Iterator<Item = usize>) -> Vec<String> {
    let mut walker = Walker::new(proto, TOPIC, 3);
    let (mut at, mut heard) = (0, Vec::new());
    for end in reads {
        loop {
            let (taken, step) = walker.next(&said[at..end]);
            at += taken;
            match step {
                Step::More => break,
                Step::Message(payload) => heard.push(String::from_utf8_lossy(payload).into_owned()),
                Step::Refused(words) => heard.push(format!("no: {words}")),
                step => heard.push(format!("{step:?}")),
            }
        }
    }
    assert_eq!(at, said.len(), "all is read");
    heard
}

fn check(proto: Proto, said: &str, expected: &[&str]) {
    let said = said.as_bytes();
    assert_eq!(understood(proto, said, [said.len()].into_iter()), expected, "whole");
    assert_eq!(understood(proto, said, 1..=said.len()), expected, "byte by byte");
    for cut in 0..=said.len() {
        assert_eq!(understood(proto, said, [cut, said.len()].into_iter()), expected, "cut at {cut}");
    }
}

#[test]
fn xtreem_is_understood_however_it_is_cut() {
    let id = "0123456789abcdef0123456789abcdef";
    let event = |head: &str, payload: &str| {
        format!("EVENT \"{TOPIC}\" {id}\r\n{head}Payload-length: {}\r\n{payload}\r\n", payload.len())
    };
    // As expected, with a header more, of another length, and with what ends lines in its payload.
    let said = [
        "OK SUBSCRIBE \"bench\"\r\n".to_owned(),
        event("", "abc"),
        event("Retained: yes\r\n", "abc"),
        event("", "four"),
        "LOST \"bench\" 7\r\n".to_owned(),
        event("", "\r\n\n"),
        "ERROR too-slow \"read faster\"\r\n".to_owned(),
        event("", "end"),
    ];
    let heard = ["Ready", "abc", "abc", "four", "Other", "\r\n\n", "no: too-slow: read faster", "end"];
    check(Proto::Xtreem, &said.concat(), &heard);
}

#[test]
fn nats_is_understood_however_it_is_cut() {
    let said = "INFO {\"max_payload\":1048576}\r\nPONG\r\nMSG bench 1 3\r\nabc\r\nPING\r\n\
                MSG bench 1 4\r\nfour\r\nMSG bench 1 inbox 3\r\n\r\n\n\r\n-ERR 'Slow Consumer'\r\n\
                MSG bench 1 3\r\nend\r\nMSG bench 1 x\r\n";
    let heard = [
        "Other",
        "Ready",
        "abc",
        "Ping",
        "four",
        "\r\n\n",
        "no: -ERR \\'Slow Consumer\\'",
        "end",
        "no: `MSG bench 1 x` is not understood",
    ];
    check(Proto::Nats, said, &heard);
}

#[test]
fn redis_is_understood_however_it_is_cut() {
    let message =
        |payload: &str| format!("*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n${}\r\n{payload}\r\n", payload.len());
    let said = [
        "*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n".to_owned(),
        message("abc"),
        message("four"),
        "+PONG\r\n:1\r\n".to_owned(),
        message("\r\n\n"),
        "-ERR no\r\n*99\r\n".to_owned(),
        message("end"),
    ];
    let heard = [
        "Ready",
        "abc",
        "four",
        "Ready",
        "Other",
        "\r\n\n",
        "no: ERR no",
        "no: `*99` is not understood",
        "end",
    ];
    check(Proto::Redis, &said.concat(), &heard);
}

#[test]
fn what_is_published_holds_its_payload_where_it_is_said_to() {
    for proto in [Proto::Xtreem, Proto::Nats, Proto::Redis] {
        let Template { bytes, payload } = proto.publish(TOPIC, 20).expect("a topic");
        assert_eq!(&bytes[payload..], [&[b'x'; 20][..], b"\r\n"].concat(), "{proto:?}");
        assert!(!bytes[..payload].contains(&b'x') || proto == Proto::Xtreem, "{proto:?}");
    }
    let published = Proto::Xtreem.publish(TOPIC, 20).expect("a topic").bytes;
    let (taken, step) = Framer::new(20).next(&published);
    assert_eq!(taken, published.len());
    let xtreem_pubsub::Step::Frame(frame) = step else { panic!("{step:?}") };
    assert!(matches!(xtreem_pubsub::Request::parse(frame), Ok(xtreem_pubsub::Request::Publish(_))));
}
