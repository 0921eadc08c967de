//! The codec: the lines of the design, what people type, and bytes from anywhere, in pieces of any size.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use xtreem_base::NodeId;

use super::*;

/// Everything that is found when the bytes come in pieces of this size: requests as text, faults as codes.
fn read(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut framer = Framer::new(1_000);
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (taken, step) = framer.next(&buffer[at..]);
            at += taken;
            match step {
                Step::More(_) => break,
                Step::Refused(fault) => found.push(format!("refused: {}", fault.code())),
                Step::Broken(fault) => {
                    found.push(format!("broken: {}", fault.code()));
                    return found;
                }
                Step::Frame(frame) => found.push(match Request::parse(frame) {
                    Ok(request) => format!("{request:?}"),
                    Err(fault) => format!("fault: {}", fault.code()),
                }),
            }
        }
        buffer.drain(..at);
        assert!(buffer.len() <= framer.buffer_max(), "kept {} bytes", buffer.len());
    }
    found
}

fn only(bytes: &[u8]) -> String {
    let found = read(bytes, bytes.len().max(1));
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().expect("one")
}

fn request(bytes: &str) -> Request<'_> {
    let (taken, step) = Framer::new(1_000).next(bytes.as_bytes());
    assert_eq!(taken, bytes.len());
    match step {
        Step::Frame(frame) => Request::parse(frame).expect("a request"),
        other => panic!("{other:?}"),
    }
}

fn topic(text: &str) -> Pattern<'_> {
    Pattern::new(text).expect("a topic")
}

fn publish<'a>(to: &'a str, payload: &'a [u8]) -> Publish<'a> {
    Publish { to: topic(to), is_retained: false, sequence: None, ack: None, reply_to: None, payload }
}

#[test]
fn the_lines_of_the_design_are_requests() {
    let plain = Options::default();
    assert_eq!(request("SUBSCRIBE \"topic name\" \r\n"), Request::Subscribe(topic("topic name"), plain));
    assert_eq!(request("CANCEL \"topic name\" \r\n"), Request::Cancel(topic("topic name")));
    let bytes = "PUBLISH \"topic name\" \r\nPayload-length: 8\r\n\r\n\"EVENT\r\n";
    assert_eq!(request(bytes), Request::Publish(publish("topic name", b"\r\n\"EVENT")));
}

#[test]
fn what_people_type_is_understood() {
    let plain = Options::default();
    assert_eq!(request("SUBSCRIBE \"a\"\n"), Request::Subscribe(topic("a"), plain));
    assert_eq!(request("SUBSCRIBE\"a\"\n"), Request::Subscribe(topic("a"), plain));
    assert_eq!(request("PUBLISH \"a\"\npayload-length:1  \nx\n"), Request::Publish(publish("a", b"x")));
    assert_eq!(request("PUBLISH \"a\" \r\nPayload-length: 0\r\n\r\n"), Request::Publish(publish("a", b"")));
    let range = Pattern::range("osd/10", "osd/20").expect("a range");
    assert_eq!(request("SUBSCRIBE [\"osd/10\", \"osd/20\")\r\n"), Request::Subscribe(range.clone(), plain));
    assert_eq!(request("CANCEL [ \"osd/10\" ,\"osd/20\" ) \n"), Request::Cancel(range));
    let options =
        Options { lease: Some(Duration::from_secs(90)), group: Some("g-1"), replay: Some(Replay::Last(5)) };
    assert_eq!(
        request("SUBSCRIBE \"a/**\" lease=90 group=g-1 replay=5\r\n"),
        Request::Subscribe(topic("a/**"), options)
    );
    let options = Options { replay: Some(Replay::Since(Duration::from_secs(10))), ..plain };
    assert_eq!(request("SUBSCRIBE \"a\" replay=10s\n"), Request::Subscribe(topic("a"), options));
    let wishes = Wishes { ok: true, lost: true, headers: true, name: Some("me"), slow: Slow::End };
    assert_eq!(request("CONNECT ok lost slow=end headers as=me\n"), Request::Connect(wishes));
    assert_eq!(request("AUTH abc=.x\r\n"), Request::Auth("abc=.x"));
}

#[test]
fn headers_of_a_publish_stand_before_its_length() {
    let bytes = "PUBLISH \"a\"\r\nRetain: yes\r\nSequence: 7\r\nAck: t.1\r\nReply-to: \"in/box\"\r\n\
                 Payload-length: 2\r\nhi\r\n";
    let expected = Publish {
        is_retained: true,
        sequence: Some(7),
        ack: Some("t.1"),
        reply_to: Some(Topic::new("in/box").expect("a topic")),
        ..publish("a", b"hi")
    };
    assert_eq!(request(bytes), Request::Publish(expected));
}

#[test]
fn a_mistake_in_step_costs_one_request() {
    for (bytes, code) in [
        ("HELLO\r\n", "unknown-verb"),
        ("subscribe \"a\"\r\n", "unknown-verb"),
        ("\r\n", "unknown-verb"),
        ("SUBSCRIBE\r\n", "bad-topic"),
        ("SUBSCRIBE a\r\n", "bad-topic"),
        ("SUBSCRIBE \"a\r\n", "bad-topic"),
        ("SUBSCRIBE \"\"\r\n", "bad-topic"),
        ("SUBSCRIBE \"a\\b\"\r\n", "bad-topic"),
        ("SUBSCRIBE \"a//b\"\r\n", "bad-topic"),
        ("SUBSCRIBE [\"b\", \"a\")\r\n", "bad-topic"),
        ("SUBSCRIBE [\"a\", \"b\"]\r\n", "bad-topic"),
        ("SUBSCRIBE \"a\" fast\r\n", "bad-option"),
        ("SUBSCRIBE \"a\" lease=0\r\n", "bad-option"),
        ("SUBSCRIBE \"a\" lease=+5\r\n", "bad-option"),
        ("SUBSCRIBE \"a\" group=\r\n", "bad-value"),
        ("SUBSCRIBE \"a\" replay=x\r\n", "bad-value"),
        ("CANCEL \"a\" lease=5\r\n", "bad-option"),
        ("AUTH\r\n", "bad-value"),
        ("CONNECT fast\r\n", "bad-option"),
        ("PUBLISH a\r\nPayload-length: 1\r\nx\r\n", "bad-topic"),
        ("PUBLISH \"a\"\r\nRetain: maybe\r\nPayload-length: 1\r\nx\r\n", "bad-value"),
        ("PUBLISH \"a\"\r\nColour: red\r\nPayload-length: 1\r\nx\r\n", "bad-value"),
    ] {
        let both = format!("{bytes}CANCEL \"next\"\n");
        let found = read(both.as_bytes(), both.len());
        assert_eq!(
            found,
            [format!("fault: {code}"), format!("{:?}", Request::Cancel(topic("next")))],
            "{bytes:?}"
        );
    }
    assert_eq!(only(b"SUBSCRIBE \"\xff\"\n"), "fault: bad-topic");
    assert_eq!(only(b"SUBSCRIBE \"a\0\"\n"), "fault: bad-topic");
}

#[test]
fn a_payload_too_long_is_thrown_away_and_the_next_request_is_read() {
    let bytes = format!("PUBLISH \"a\"\r\nPayload-length: 1001\r\n{}\r\nCANCEL \"a\"\n", "x".repeat(1_001));
    for piece in [1, 7, 5_000] {
        let found = read(bytes.as_bytes(), piece);
        assert_eq!(
            found,
            ["refused: payload-too-long".to_string(), format!("{:?}", Request::Cancel(topic("a")))]
        );
    }
}

#[test]
fn a_stream_out_of_step_is_broken() {
    for (bytes, code) in [
        ("PUBLISH \"a\"\r\nx\r\n", "no-length"),
        ("PUBLISH \"a\"\r\n\r\n", "no-length"),
        ("PUBLISH \"a\"\r\nPayload-length:\r\n", "no-length"),
        ("PUBLISH \"a\"\r\nPayload-length: -1\r\n", "no-length"),
        ("PUBLISH \"a\"\r\nPayload-length: 1e3\r\n", "no-length"),
        ("PUBLISH \"a\"\r\nPayload-length: 99999999999999999999\r\n", "no-length"),
        ("PUBLISH \"a\"\r\nPayload-length: 1073741824\r\n", "payload-too-long"),
        ("PUBLISH \"a\"\r\nPayload-length: 2\r\nabc\r\n", "out-of-step"),
        ("PUBLISH \"a\"\r\nPayload-length: 2\r\nab\rc", "out-of-step"),
    ] {
        assert_eq!(read(bytes.as_bytes(), 3), [format!("broken: {code}")], "{bytes:?}");
    }
    let long = format!("SUBSCRIBE \"{}", "x".repeat(1 << 20));
    assert_eq!(read(long.as_bytes(), 1_000), ["broken: line-too-long"]);
    let headers = format!("PUBLISH \"a\"\r\n{}", "Ack: a\r\n".repeat(20));
    assert_eq!(read(headers.as_bytes(), 10), ["broken: line-too-long"]);
}

#[test]
fn what_a_server_writes_a_client_reads() {
    let id = Stem::new(NodeId::from_bytes([7; 16]), b"p", 1, "a\"b").event(3);
    let mut out = BytesMut::new();
    let headers = EventHeaders {
        is_retained: true,
        sequence: Some(9),
        reply_to: Some(Topic::new("in").expect("a topic")),
        publisher: Some("node:1"),
    };
    let writer = EventWriter::new(&topic("a\"b"));
    writer.write(&mut out, id, None, b"plain");
    writer.write(&mut out, id, Some(&headers), b"");
    write_ok(&mut out, format_args!("SUBSCRIBE {}", topic("a")));
    write_lost(&mut out, &topic("a"), 12);
    write_error(&mut out, "bad-topic", "no \"topic\"\n");
    assert!(out.starts_with(format!("EVENT \"a\\\"b\" {id}\r\nPayload-length: 5\r\nplain\r\n").as_bytes()));

    let (mut framer, mut at, mut replies) = (Framer::new(1_000), 0, Vec::new());
    while let (taken, Step::Frame(frame)) = framer.next(&out[at..]) {
        replies.push(Reply::parse(frame).expect("a reply"));
        at += taken;
    }
    let event = |headers, payload| Reply::Event(Event { topic: topic("a\"b"), id, headers, payload });
    assert_eq!(
        replies,
        vec![
            event(EventHeaders::default(), b"plain"),
            event(headers, b""),
            Reply::Ok(b"SUBSCRIBE \"a\""),
            Reply::Lost(topic("a"), 12),
            Reply::Error("bad-topic", "no \"topic\" ".into()),
        ]
    );
    assert!(framer.is_between());
}

#[test]
fn names_of_events_differ_by_everything_that_they_are_over() {
    let node = NodeId::from_bytes([1; 16]);
    let ids = [
        Stem::new(node, b"a", 1, "t").event(1),
        Stem::new(node, b"a", 1, "t").event(2),
        Stem::new(node, b"a", 2, "t").event(1),
        Stem::new(node, b"b", 1, "t").event(1),
        Stem::new(node, b"a", 1, "u").event(1),
        Stem::new(NodeId::from_bytes([2; 16]), b"a", 1, "t").event(1),
    ];
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), ids.len());
    for id in ids {
        assert_eq!(HashId::parse(id.to_string().as_bytes()), Some(id));
        assert_eq!(&id.digits()[..], id.to_string().as_bytes());
    }
    assert_eq!(HashId::parse(b"12"), None);
    assert_eq!(HashId::parse(&[b'g'; 32]), None);
}

#[test]
fn everybody_who_subscribed_hears_an_event_once() {
    let mut table = Subscriptions::default();
    let range = Pattern::range("a/b", "a/d").expect("a range");
    for (subscriber, pattern) in
        [(1, topic("a/b")), (2, topic("a/*")), (3, topic("a/**")), (4, topic("**")), (5, range.clone())]
    {
        assert!(table.add(&pattern, subscriber));
        assert!(!table.add(&pattern, subscriber));
    }
    table.add(&topic("a/b"), 3);
    assert_eq!(table.hearers(&topic("a/b")), [1, 2, 3, 4, 5]);
    assert_eq!(table.hearers(&topic("a/c/d")), [3, 4, 5]);
    assert_eq!(table.hearers(&topic("a")), [3, 4]);
    assert_eq!(table.hearers(&topic("b")), [4]);
    // To several topics: everybody who subscribed to one of them, or to several of which one may be.
    assert_eq!(table.hearers(&topic("a/**")), [1, 2, 3, 4, 5]);
    assert_eq!(table.hearers(&topic("a/x/**")), [2, 3, 4]);
    assert_eq!(table.hearers(&Pattern::range("a/c", "b").expect("a range")), [2, 3, 4, 5]);
    assert_eq!(table.hearers(&topic("b/*")), [4]);
    let version = table.version();
    assert!(table.remove(&range, 5) && !table.remove(&range, 5));
    assert!(table.remove(&topic("a/*"), 2) && table.remove(&topic("a/b"), 1));
    assert_eq!(table.hearers(&topic("a/b")), [3, 4]);
    assert_eq!((table.version() - version, table.len()), (3, 3));
}

fn any_topic() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-c\"\\\\é ]{1,2}", 1..4).prop_map(|levels| levels.join("/"))
}

fn any_pattern() -> impl Strategy<Value = Pattern<'static>> {
    let of = |text: String| Pattern::new(text).expect("a pattern");
    prop_oneof![
        any_topic().prop_map(of),
        any_topic().prop_map(move |topic| of(topic + "/*")),
        any_topic().prop_map(move |topic| of(topic + "/**")),
        (any_topic(), any_topic()).prop_filter_map("in order", |(a, b)| Pattern::range(a, b).ok()),
    ]
}

proptest! {
    #[test]
    fn bytes_from_anywhere_are_read_alike_in_pieces_of_any_size(
        parts in proptest::collection::vec(prop_oneof![
            "[A-Z]{0,9} ?\"?[a-z/*]{0,5}\"?[ a-z=0-9]{0,8}\r?\n".prop_map(String::into_bytes),
            ("[a-z]{1,3}", proptest::collection::vec(any::<u8>(), 0..40), 0..3_usize).prop_map(|(topic, payload, more)| {
                let mut bytes = BytesMut::new();
                write_publish(&mut bytes, &Pattern::new(topic).expect("a topic"), "", &payload);
                bytes.truncate(bytes.len() - more * (payload.len() % 2));
                bytes.to_vec()
            }),
            proptest::collection::vec(any::<u8>(), 0..30),
        ], 0..8),
        piece in 1..50_usize,
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(read(&bytes, piece), read(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn a_pattern_survives_writing_and_reading(pattern in any_pattern()) {
        let bytes = format!("CANCEL {pattern}\r\n");
        prop_assert_eq!(request(&bytes), Request::Cancel(pattern));
    }

    #[test]
    fn patterns_that_share_a_topic_overlap(a in any_pattern(), b in any_pattern(), topic in any_topic()) {
        if a.matches(&topic) && b.matches(&topic) {
            prop_assert!(a.overlaps(&b) && b.overlaps(&a));
        }
        if a.covers(&b) && b.matches(&topic) {
            prop_assert!(a.matches(&topic));
        }
        let key = Topic::new(topic.clone()).expect("a topic").order_key();
        let (from, to) = a.extent();
        if a.matches(&topic) {
            prop_assert!(from <= key && to.is_none_or(|to| key < to));
        }
    }
}
