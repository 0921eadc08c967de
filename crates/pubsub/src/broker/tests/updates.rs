//! Who may update and read values, and what is answered.

use alloc::borrow::ToOwned as _;

use super::*;
use crate::update::Failed;
use crate::{EventWriter, HashId};

fn update(operation: &str, changes: &str) -> String {
    format!("UPDATE {operation}\r\nPayload-length: {}\r\n{changes}\r\n", changes.len())
}

#[test]
fn an_update_and_a_value_are_answered_and_nobody_else_hears_of_them() {
    let mut play = Play::new(Config::default());
    play.world.has_store = true;
    let (one, other) = (play.open(), play.open());
    play.say(one, &update("op", "\"b\" any 1\r\nx\r\n\"a\" absent keep\r\n"));
    play.say(one, "READ \"a\"\r\n");
    let (asker, who, wanted) = play.world.updates.remove(0);
    assert_eq!((asker.ack.as_deref(), who.as_str(), wanted.changes.len()), (Some("op"), "user", 2));
    play.broker.updated(&asker, &Ok([Some(HashId(255)), None].into()));
    let conflict = Failed::Conflict(Pattern::new("a").expect("a topic"), Some(HashId(1)));
    play.broker.updated(&asker, &Err(conflict));
    play.broker.updated(&asker, &Err(Failed::Indefinite));
    let topic = Pattern::new("a").expect("a topic");
    play.broker.overtaken(&asker, &topic);
    let (reader, _) = play.world.reads.remove(0);
    let mut value = BytesMut::new();
    EventWriter::new(&topic).write(&mut value, HashId(1), None, b"hi");
    play.broker.value(&reader, &topic, &Ok(Some(value.freeze())));
    play.broker.value(&reader, &topic, &Ok(None));
    play.broker.value(&reader, &topic, &Err("no".into()));
    let zeros = "0".repeat(31);
    let said = [
        &format!("OK UPDATE op {}ff absent\n", "0".repeat(30)),
        &format!("ERROR conflict \"op: \\\"a\\\" {zeros}1\"\n"),
        "ERROR indefinite \"op: it may have been made: repeat it with the same operation id\"\n",
        "ERROR overtaken \"op: \\\"a\\\" was changed while the grid was split: read it\"\n",
        &format!("VALUE \"a\" {zeros}1\nPayload-length: 2\nhi\n"),
        "OK READ \"a\" absent\nERROR not-read \"\\\"a\\\": no\"\n",
    ];
    assert_eq!(play.heard(one), said.concat());
    assert_eq!(play.heard(other), "");
    // Who has gone hears nothing, nor does who comes in its place.
    play.broker.close(one, &mut play.world);
    let next = play.open();
    play.broker.updated(&asker, &Ok(Vec::new()));
    assert_eq!((next, play.heard(next)), (one, String::new()));
}

#[test]
fn who_may_only_publish_changes_blindly_and_who_may_only_subscribe_reads() {
    let mut play = Play::new(Config::default());
    play.world.has_store = true;
    let some = |topics: &str| Rules {
        allowed: [Pattern::new(topics.to_owned()).expect("a pattern")].into(),
        ..Rules::default()
    };
    let access = Access { publish: some("p/**"), subscribe: some("s/**"), ..Access::none("guest") };
    let id = play.broker.open(access).expect("room");
    play.say(id, &update("1", "\"p/a\" any 1\r\nx\r\n"));
    play.say(id, "READ \"s/a\"\r\n");
    assert_eq!((play.world.updates.len(), play.world.reads.len()), (1, 1));
    assert_eq!(play.heard(id), "");
    for request in [
        update("2", "\"p/a\" any keep\r\n"),
        update("3", "\"p/a\" absent 1\r\nx\r\n"),
        update("4", "\"p/a\" any 1\r\nx\r\n\"s/a\" any 1\r\nx\r\n"),
        "READ \"p/a\"\r\n".into(),
    ] {
        play.say(id, &request);
        assert!(play.heard(id).starts_with("ERROR forbidden"), "{request}");
    }
    assert_eq!((play.world.updates.len(), play.world.reads.len()), (1, 1));
    // Where nothing is kept it is said.
    play.world.has_store = false;
    play.say(id, &update("5", "\"p/a\" any 1\r\nx\r\n"));
    assert!(play.heard(id).starts_with("ERROR refused"));
}
