//! What is kept for those who subscribe later, and what publishers repeat.

use super::*;
use crate::relay::Arrival;

fn retain(topic: &str, headers: &str, payload: &str) -> String {
    let len = payload.len();
    format!("PUBLISH \"{topic}\"\r\nRetain: yes\r\n{headers}Payload-length: {len}\r\n{payload}\r\n")
}

#[test]
fn a_retained_value_is_acknowledged_when_it_is_kept_and_comes_before_the_answer_of_a_subscriber() {
    let mut play = Play::new(Config::default());
    play.world.has_store = true;
    let (publisher, one, two) = (play.open(), play.open(), play.open());
    play.say(publisher, &retain("a/b", "Ack: t\r\n", "1"));
    assert_eq!(play.heard(publisher), "");
    let (asker, topic, event) = play.world.retained.remove(0);
    play.broker.kept(&asker, &topic, Ok(()));
    play.broker.kept(&asker, &topic, Err("no room"));
    let refused = "ERROR not-kept \"what was published to \\\"a/b\\\" (t): no room\"\n";
    assert_eq!(play.heard(publisher), format!("OK PUBLISH t\n{refused}"));
    let value = Arrival::read_retained(&event.expect("a value")).expect("an event");

    for id in [one, two] {
        play.say(id, "CONNECT ok headers\nSUBSCRIBE \"a/*\"\n");
        assert_eq!(play.heard(id), "OK CONNECT\n");
    }
    let pattern = Pattern::new("a/*").expect("a pattern");
    // One hears the next value before what is kept, and the other one after that.
    let next = retain("a/b", "", "2");
    let shown = "EVENT \"a/b\" 32\nPublisher: user\nPayload-length: 1\n2\n";
    for _ in 0..2 {
        play.broker.found(one, &pattern, &value);
    }
    play.say(publisher, &next);
    play.broker.found(two, &pattern, &value);
    for id in [one, two] {
        play.broker.answer_recall(id, &pattern, "");
        play.broker.recalled(Instant::ZERO, id, &pattern);
    }
    let kept = "EVENT \"a/b\" 32\nRetained: yes\nPublisher: user\nPayload-length: 1\n1\n";
    assert_eq!(play.heard(one), format!("{kept}{shown}OK SUBSCRIBE \"a/*\"\n"));
    assert_eq!(
        play.heard(two),
        format!("{shown}OK SUBSCRIBE \"a/*\"\n"),
        "an older one does not come behind"
    );
    // What is still on its way comes once.
    let (_, topic, event) = play.world.retained.remove(0);
    let value = Arrival::read_retained(&event.expect("a value")).expect("an event");
    let three = play.open();
    play.say(three, "SUBSCRIBE \"a/b\"\n");
    play.broker.found(three, &topic, &value);
    play.broker.recalled(Instant::ZERO, three, &topic);
    play.broker.deliver(&topic, &value.plain, &value.full, 1);
    assert_eq!(play.heard(three), event_of(&value));
    play.broker.handle_timeout(Instant::ZERO + Duration::from_secs(10), &mut play.world);
    assert_eq!(play.broker.next_timeout(), None);
}

fn event_of(value: &Arrival) -> String {
    let text = core::str::from_utf8(&value.plain).expect("text");
    event("a/b", text.trim_end().rsplit('\n').next().expect("a payload"))
}

#[test]
fn what_cannot_be_a_last_value_is_refused_and_an_empty_one_ends_it() {
    let mut play = Play::new(Config::default());
    let id = play.open();
    play.say(id, &retain("a/*", "", "1"));
    assert!(play.heard(id).starts_with("ERROR bad-value \"Retain: "));
    play.say(id, &retain("a", "", &"x".repeat(crate::RETAINED_MAX_BYTES + 1)));
    assert!(play.heard(id).starts_with("ERROR bad-value \"Retain: a payload of 61441 bytes"));
    assert!(play.world.retained.is_empty());
    play.say(id, &retain("a", "", ""));
    assert_eq!(play.world.retained.remove(0).2, None);
    // Somebody else has its place now.
    let asker = Asker { connection: id, number: 99, ack: Some("t".into()) };
    play.broker.kept(&asker, &Pattern::All, Ok(()));
    assert_eq!(play.heard(id), "");
}

#[test]
fn a_retry_with_its_number_is_one_event_and_acknowledged_again() {
    let mut play = Play::new(Config::default());
    let (subscriber, first, second) = (play.open(), play.open(), play.open());
    play.say(subscriber, "SUBSCRIBE \"a\"\nSUBSCRIBE \"b\"\n");
    let numbered = |number: u32, of: &str| {
        format!("PUBLISH \"{of}\"\nSequence: {number}\nAck: t\nPayload-length: 1\n{number}\n")
    };
    for id in [first, second] {
        play.say(id, "CONNECT as=me\n");
        play.say(id, &[numbered(5, "a"), numbered(5, "a"), numbered(6, "a"), numbered(5, "b")].concat());
        assert_eq!(play.heard(id), "OK PUBLISH t\n".repeat(4));
    }
    let expected = [event("a", "5"), event("a", "6"), event("b", "5")].concat();
    assert_eq!(play.heard(subscriber), expected);
    // What has no number is new each time, also under one name.
    for id in [first, second] {
        play.say(id, &publish("a", "x"));
    }
    let queue = play.broker.queue(subscriber).expect("open");
    let ids: Vec<Vec<u8>> = queue.front(9).map(|chunk| chunk[10..42].to_vec()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    // A last value is kept anew, unless another one was published since.
    play.heard(subscriber);
    for number in [8, 9, 8, 9] {
        play.say(first, &retain("a", &format!("Sequence: {number}\n"), &number.to_string()));
    }
    assert_eq!(play.world.retained.len(), 3);
    assert_eq!(play.heard(subscriber), [event("a", "8"), event("a", "9")].concat());
}

#[test]
fn past_events_come_before_those_that_were_published_meanwhile_and_each_once() {
    let mut play = Play::new(Config::default());
    (play.world.has_store, play.world.is_slow) = (true, true);
    let (publisher, late) = (play.open(), play.open());
    let numbers = |numbers: core::ops::RangeInclusive<u32>| -> String {
        numbers.map(|number| publish("past/a", &number.to_string())).collect()
    };
    play.say(publisher, &numbers(1..=2));
    let acknowledged = "PUBLISH \"past/a\"\nAck: t\nPayload-length: 1\n3\n";
    play.say(publisher, acknowledged);
    assert_eq!(play.heard(publisher), "", "it is not kept yet");
    let asker = play.world.logged[2].0.clone().expect("somebody waits");
    play.broker.kept(&asker, &Pattern::All, Ok(()));
    assert_eq!(play.heard(publisher), "OK PUBLISH t\n");

    play.say(late, "CONNECT ok\nSUBSCRIBE \"past/*\" replay=50\n");
    play.say(publisher, &[numbers(4..=5), publish("other", "x")].concat());
    let pattern = Pattern::new("past/*").expect("a pattern");
    play.broker.answer(&(&pattern).into(), Ok(""), &mut play.world);
    play.say(publisher, &numbers(6..=6));
    assert_eq!((play.heard(late), &*play.world.replays), ("OK CONNECT\n".into(), &[Replay::Last(50)][..]));
    for (_, event) in &play.world.logged[..4] {
        play.broker.found(late, &pattern, &Arrival::one(event).expect("an event"));
    }
    play.broker.answer_recall(late, &pattern, "");
    play.broker.recalled(Instant::ZERO, late, &pattern);
    play.say(publisher, &numbers(7..=7));
    let past: String = (1..=4).map(|number| event("past/a", &number.to_string())).collect();
    let new: String = (5..=7).map(|number| event("past/a", &number.to_string())).collect();
    assert_eq!(play.heard(late), format!("{past}OK SUBSCRIBE \"past/*\"\n{new}"));

    // Where the grid does not answer in time nobody waits longer.
    let other = play.open();
    play.say(other, "CONNECT ok\nSUBSCRIBE \"past/a\" replay=10s\n");
    play.say(publisher, &numbers(8..=8));
    play.broker.answer(&Pattern::new("past/a").expect("a topic").into(), Ok("late"), &mut play.world);
    let expected = format!("OK CONNECT\nOK SUBSCRIBE \"past/a\" late\n{}", event("past/a", "8"));
    assert_eq!((play.heard(other), play.world.replays.len()), (expected, 1));
}

#[test]
fn a_replay_of_what_is_not_kept_is_refused() {
    let mut play = Play::new(Config::default());
    let id = play.open();
    play.say(id, "SUBSCRIBE \"past/a\"\n");
    for (request, words) in [
        ("SUBSCRIBE \"a\" replay=1\n", "no past events are kept of \\\"a\\\""),
        ("SUBSCRIBE \"**\" replay=1\n", "no past events are kept of \\\"**\\\""),
        ("SUBSCRIBE \"past/b\" group=g replay=1\n", "a group"),
        ("SUBSCRIBE \"past/a\" replay=1\n", "cancel it before"),
    ] {
        play.say(id, request);
        let heard = play.heard(id);
        assert!(heard.starts_with("ERROR bad-option \"replay=: ") && heard.contains(words), "{heard}");
    }
}
