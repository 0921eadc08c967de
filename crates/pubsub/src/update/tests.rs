//! Updates against a ring that is a table, which loses questions and answers and does some of them late.

mod check;
mod steps;
mod world;

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Duration, Rng};

use self::check::check;
use self::world::{Said, World};
use super::record::{Intent, Reason, Record, State};
use super::*;
use crate::Topic;

fn topic(text: &str) -> Topic<'static> {
    Topic::new(text).expect("a topic").into_owned()
}

fn change(of: &str, expected: Option<HashId>, value: &str) -> Change {
    let expected = expected.map_or(Expected::Absent, Expected::Is);
    Change { topic: topic(of), expected, what: What::Set(Bytes::copy_from_slice(value.as_bytes())) }
}

/// Clients move money between accounts, read, and publish; agents die, and the ring loses what it is asked.
#[test]
fn histories_are_linearizable_and_the_sum_stays_with_lost_answers_and_deaths() {
    for seed in 0..100 {
        let mut world = World::new(seed, 4);
        world.losses = seed % 4 * 5;
        world.may_die = seed % 2 == 1;
        world.work(6, 8);
        let history = world.settle();
        check(&world, &history, &format!("seed {seed}"));
    }
}

#[test]
fn without_losses_each_change_is_published_once() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        world.work(4, 8);
        let history = world.settle();
        check(&world, &history, &format!("seed {seed}"));
        let made: usize = history.iter().map(|it| if it.is_made() { it.sets() } else { 0 }).sum();
        assert!(made > 10, "seed {seed}: {made}");
        assert_eq!(world.published.len(), made, "seed {seed}");
        assert!(world.published.values().all(|times| *times == 1), "seed {seed}");
    }
}

#[test]
fn what_members_write_is_checked_and_comes_back_as_it_was() {
    let mut rng = Rng::derive(1, 0, "records");
    let version = Version { epoch: 3, number: 9 };
    let id = Some(HashId(7));
    let states = [
        State::Pending,
        State::Committed([(version, id), (version, None)].into()),
        State::Aborted(Reason::Conflict(1, id)),
        State::Aborted(Reason::Abandoned),
        State::Aborted(Reason::Refused("full".into())),
    ];
    for state in states {
        let changes = [(topic("a"), Some(Bytes::from_static(b"1"))), (topic("b/c"), None)].into();
        let record = Record { state, is_done: false, nonce: 5, digest: [4; 16], who: "me".into(), changes };
        let bytes = record.write();
        assert_eq!(Record::read(&bytes), Some(record));
        for len in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..len]), None);
        }
        for _ in 0..2_000 {
            let mut bytes = bytes.to_vec();
            let at = rng.below(bytes.len() as u32) as usize;
            bytes[at] = rng.next_u64() as u8;
            // Whatever it is then, nothing panics.
            let _ = Record::read(&bytes);
            let _ = Intent::read(&bytes);
        }
    }
    let old = Some((Bytes::from_static(b"old"), Duration::from_secs(10)));
    let intent = Intent { record: [1; 32].into(), lease: Duration::from_secs(60), old };
    assert_eq!(Intent::read(&intent.write()), Some(intent.clone()));
    let found = |left| Found { value: intent.write(), version, left: Duration::from_secs(left) };
    assert_eq!(intent.old_at(&found(57)), Some((Bytes::from_static(b"old"), Duration::from_secs(7))));
    assert_eq!(intent.old_at(&found(50)), None);
}

#[test]
fn an_update_is_read_as_it_is_written() {
    let changes = [
        change("b", Some(HashId(5)), "two\r\nlines"),
        Change { topic: topic("a/\u{e4}"), expected: Expected::Any, what: What::Keep },
        change("c", None, ""),
    ];
    let mut out = bytes::BytesMut::new();
    write_update(&mut out, "op-1", &changes);
    let mut framer = crate::Framer::new(1 << 20);
    let (taken, crate::Step::Frame(frame)) = framer.next(&out) else { panic!("a frame") };
    assert_eq!(taken, out.len());
    let Ok(crate::Request::Update("op-1", update)) = crate::Request::parse(frame) else { panic!("one") };
    assert_eq!(update.order, [1, 0, 2]);
    assert_eq!(update.changes, [changes[1].clone(), changes[0].clone(), changes[2].clone()]);
    for wrong in [
        "",
        "a any 1\nx\n",
        "\"a\" any 1\nx",
        "\"a\" any 2\nx\n",
        "\"a\" some 1\nx\n",
        "\"a\" any\n",
        "\"a\" any keep 1\n",
        "\"a/*\" any keep\n",
        "\"a\" any keep\n\"a\" any keep\n",
        "\"a\" any 18446744073709551615\n\n",
    ] {
        assert!(Update::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    let many: Vec<_> = (0..17).map(|number| change(&format!("{number}"), None, "x")).collect();
    assert!(Update::new(many[..16].to_vec()).is_ok() && Update::new(many).is_err());
    assert!(Update::new([change("a", None, &"x".repeat(48 << 10))].into()).is_err());
}

#[test]
fn an_intent_that_comes_after_its_update_does_not_count() {
    let mut world = World::new(1, 2);
    let Said::Updated(Ok(ids)) = world.make(0, "op", [change("a", None, "1")].into()) else { panic!("made") };
    let Said::Updated(Ok(_)) = world.make(0, "next", [change("a", ids[0], "")].into()) else {
        panic!("made")
    };
    assert_eq!(world.read_value(1, "a").0, None);
    // A question that was sent twice for want of an answer, and lay somewhere until now. The record was not
    // yet trimmed.
    let record = world.records().into_iter().find(|(key, _)| *key == record_key("me", "op"));
    let (key, mut record) = record.expect("it is known");
    (record.is_done, record.changes[0].1) = (false, Some(Bytes::from_static(b"1")));
    world.put_record(&key, &record);
    world.put_intent("a", &Intent { record: key, lease: Duration::from_secs(60), old: None });
    assert_eq!(world.read_value(1, "a").0, None);
    assert!(!world.has_intents());
}

#[test]
fn who_wrote_what_has_lost_is_told_once() {
    let mut world = World::new(1, 1);
    let ids = world.make(0, "op", [change("a", None, "1"), change("b", None, "2")].into());
    assert!(matches!(ids, Said::Updated(Ok(_))));
    let key = topic("a").order_key();
    let versions = world.versions(&key);
    let agent = world.agent(0);
    for version in versions {
        agent.overtaken(&key, version, version);
        agent.overtaken(&key, version, Version { epoch: 2, number: 1 });
    }
    let mut told = Vec::new();
    while let Some(task) = agent.next_task() {
        if let Task::Overtaken(asker, topic) = task {
            told.push((asker.ack, format!("{topic}")));
        }
    }
    assert_eq!(told, [(Some("op".into()), "\"a\"".into())]);
}
