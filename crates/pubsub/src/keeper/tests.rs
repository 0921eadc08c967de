//! The keeper against a ring that is a table.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;

use bytes::BytesMut;
use xtreem_base::{Duration, NodeId};

use super::*;
use crate::{EventHeaders, EventWriter, HashId, Replay, Stem, Topic};

/// Of past events.
const LEASE: Duration = Duration::from_secs(60);

fn topic(text: &str) -> Arc<Pattern<'static>> {
    Arc::new(Pattern::new(text).expect("a pattern").into_owned())
}

fn event(of: &str, payload: &str) -> Bytes {
    let headers = EventHeaders { is_retained: true, ..EventHeaders::default() };
    let mut out = BytesMut::new();
    EventWriter::new(&topic(of)).write(&mut out, HashId(1), Some(&headers), payload.as_bytes());
    out.freeze()
}

fn asker(connection: ConnectionId) -> Asker {
    Asker { connection, number: 1, ack: None }
}

#[derive(Default)]
struct Play {
    keeper: Keeper,
    ring: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What is asked and not answered.
    asked: VecDeque<(u64, Ask)>,
    now: Instant,
    heard: Vec<String>,
}

impl Play {
    fn ask(&mut self) {
        while let Some(task) = self.keeper.next_task(self.now) {
            let said = match task {
                Task::Ring(request, ask) => {
                    self.asked.push_back((request, ask));
                    continue;
                }
                Task::Publish(topic, events, count) => {
                    format!("published {topic} {count} {}", String::from_utf8_lossy(&events))
                }
                Task::Kept(asker, topic, result) => {
                    format!("{} {topic} {}", asker.connection, result.is_ok())
                }
                Task::Found(id, _, arrival) => {
                    let text = String::from_utf8(arrival.plain.to_vec()).expect("text");
                    format!("{id} {}", text.trim_end().rsplit('\n').next().expect("a payload"))
                }
                Task::Answer(id, pattern, words) => format!("{id} OK {pattern} {words}"),
                Task::Over(id, _) => format!("{id} over"),
            };
            self.heard.push(said);
        }
    }

    fn answer(&mut self, with: impl Fn(&mut BTreeMap<Vec<u8>, Vec<u8>>, Ask) -> Result<Page, Failure>) {
        let (request, ask) = self.asked.pop_front().expect("something is asked");
        let done = with(&mut self.ring, ask);
        self.keeper.handle_done(self.now, request, done);
        self.ask();
    }

    fn settle(&mut self) {
        self.ask();
        while !self.asked.is_empty() {
            self.answer(|ring, ask| Ok(do_it(ring, ask)));
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.keeper.handle_timeout(self.now);
        self.ask();
    }

    fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.heard)
    }
}

fn do_it(ring: &mut BTreeMap<Vec<u8>, Vec<u8>>, ask: Ask) -> Page {
    match ask {
        Ask::Retain(topic, Some(event)) => {
            ring.insert(key_of(&topic), event.to_vec());
            Page::default()
        }
        Ask::Retain(topic, None) => {
            ring.remove(&key_of(&topic));
            Page::default()
        }
        Ask::Log { topic, slot, value, .. } => {
            ring.insert(log_key(&topic, NodeId::from_bytes([1; 16]), 1, slot), value.to_vec());
            Page::default()
        }
        Ask::ReadRetained(section, limit) | Ask::ReadLogs(section, limit) => {
            let writer = NodeId::from_bytes([1; 16]);
            let mut all = ring.iter().filter(|(key, _)| section.contains(key));
            let items = (all.by_ref().take(limit.into()))
                .map(|(key, value)| Item { key: key.clone(), value: value.clone(), writer })
                .map(|item| Kept { item, left: LEASE })
                .collect();
            Page { items, next: all.next().map(|(key, _)| key.clone()) }
        }
    }
}

#[test]
fn whoever_looks_finds_the_last_value_of_each_topic_that_it_means() {
    let mut play = Play::default();
    for (at, of) in ["a", "a/b", "a/b/c", "a/c", "ab", "b"].into_iter().enumerate() {
        for payload in ["old", of] {
            play.keeper.retain(asker(at as u32), &topic(of), Some(event(of, payload)));
        }
    }
    play.keeper.retain(asker(9), &topic("b"), None);
    play.settle();
    assert_eq!(play.take().iter().filter(|said| said.ends_with("true")).count(), 13);
    for (pattern, found) in [
        ("a/b", &["a/b"][..]),
        ("a/*", &["a/b", "a/c"]),
        ("a/**", &["a", "a/b", "a/b/c", "a/c"]),
        ("**", &["a", "a/b", "a/b/c", "a/c", "ab"]),
        ("c", &[]),
    ] {
        play.keeper.recall(play.now, 7, &topic(pattern), None, false);
        play.settle();
        let mut expected: Vec<String> = found.iter().map(|payload| format!("7 {payload}")).collect();
        expected.extend([format!("7 OK \"{pattern}\" "), "7 over".to_string()]);
        assert_eq!(play.take(), expected);
    }
    let range = Pattern::range("a/b", "ab").expect("a range");
    play.keeper.recall(play.now, 7, &range, None, true);
    play.settle();
    assert_eq!(play.take(), ["7 a/b", "7 a/b/c", "7 a/c", "7 over"], "it is answered already");
}

#[test]
fn a_topic_is_written_by_one_at_a_time_and_a_reader_waits_for_what_came_before_it() {
    let mut play = Play::default();
    let a = topic("a");
    for (at, payload) in ["1", "2", "3"].into_iter().enumerate() {
        play.keeper.retain(asker(at as u32), &a, Some(event("a", payload)));
        play.ask();
    }
    let next = play.keeper.writings + 1;
    play.keeper.recall(play.now, 7, &a, None, false);
    play.ask();
    assert_eq!(play.asked.len(), 1, "the first value, and nothing beside it");
    play.answer(|ring, ask| Ok(do_it(ring, ask)));
    assert_eq!(play.take(), ["0 \"a\" true"]);
    assert!(play.keeper.oldest_writing() < next);
    // The second one is never written: the third one took its place.
    play.answer(|ring, ask| Ok(do_it(ring, ask)));
    assert!(play.keeper.oldest_writing() >= next);
    play.settle();
    assert_eq!(play.take(), ["1 \"a\" true", "2 \"a\" true", "7 3", "7 OK \"a\" ", "7 over"]);
}

#[test]
fn a_ring_that_does_not_answer_makes_an_answer_late_and_a_refusal_is_told() {
    let mut play = Play::default();
    play.keeper.retain(asker(1), &topic("a"), Some(event("a", "x")));
    play.ask();
    play.answer(|_, _| Err(Failure::Refused("no room".into())));
    assert_eq!(play.take(), ["1 \"a\" false"]);
    play.keeper.recall(play.now, 7, &topic("a"), None, false);
    play.ask();
    play.answer(|_, _| Err(Failure::Unanswered));
    play.pass(2);
    play.answer(|_, _| Err(Failure::Unanswered));
    play.pass(3);
    assert_eq!(play.take(), ["7 OK \"a\" late"]);
    play.ring.insert(b"a".to_vec(), event("a", "x").to_vec());
    play.settle();
    play.pass(2);
    play.settle();
    assert_eq!(play.take(), ["7 x", "7 over"]);
    // Nobody waits for ever.
    play.keeper.recall(play.now, 8, &topic("a"), None, false);
    play.ask();
    for _ in 0..70 {
        play.pass(1);
    }
    assert_eq!(play.take(), ["8 OK \"a\" late", "8 over"]);
    play.settle();
    assert_eq!((play.take(), play.keeper.next_timeout()), (vec![], None));
}

#[test]
fn pages_follow_one_another_up_to_a_limit_and_what_is_no_value_is_left_out() {
    let mut play = Play::default();
    for number in 0..reads::FOUND_MAX + 100 {
        let of = format!("t/{number:05}");
        let key = Topic::new(of.clone()).expect("a topic").order_key();
        play.ring.insert(key, event(&of, &number.to_string()).to_vec());
    }
    let (key, wrong) = (b"t\x01000000".to_vec(), event("t/1", "x").to_vec());
    play.ring.insert(key, wrong);
    play.ring.insert(b"t".to_vec(), b"EVENT".to_vec());
    play.keeper.recall(play.now, 7, &topic("t/**"), None, false);
    play.settle();
    let heard = play.take();
    assert_eq!((&*heard[0], &*heard[1]), ("7 0", "7 1"));
    assert!(heard.contains(&"7 OK \"t/**\" partial".to_string()));
    assert!((reads::FOUND_MAX..reads::FOUND_MAX + 100).contains(&(heard.len() - 2)));
}

#[test]
fn what_waits_is_bounded_and_whoever_publishes_more_is_told() {
    let mut play = Play::default();
    let long = Bytes::from(vec![b'x'; 60 << 10]);
    for number in 0..200_u32 {
        play.keeper.retain(asker(number), &topic(&format!("t/{number}")), Some(long.clone()));
    }
    play.ask();
    let refused = play.take().len();
    assert_eq!((refused, play.asked.len()), (200 - WAITING_MAX_BYTES / long.len(), RUNNING_MAX));
    // Subscribers that go are not read for.
    for _ in 0..3 {
        play.keeper.recall(play.now, 7, &topic("t/**"), None, false);
    }
    assert_eq!((play.keeper.reads.len(), play.keeper.turns.len()), (1, 1));
    play.keeper.forget(7, &topic("t/**"));
    assert!(play.keeper.reads.is_empty() && play.keeper.turns.is_empty() && play.keeper.timers.is_empty());
}

fn past(play: &mut Play, pattern: &str, replay: Replay) -> Vec<String> {
    play.keeper.recall(play.now, 7, &topic(pattern), Some(replay), false);
    play.settle();
    let mut heard = play.take();
    assert_eq!(heard.split_off(heard.len() - 2), [format!("7 OK \"{pattern}\" "), "7 over".to_string()]);
    heard
}

fn log(play: &mut Play, of: &str, number: u64) {
    let id = Stem::new(NodeId::from_bytes([1; 16]), b"p", 1, of).event(number);
    let mut out = BytesMut::new();
    let payload = number.to_string();
    EventWriter::new(&topic(of)).write(&mut out, id, Some(&EventHeaders::default()), payload.as_bytes());
    play.keeper.log(play.now, Some(asker(1)), &topic(of), &out);
}

fn logging(events: u32) -> Play {
    let rule = Rule { topics: Pattern::new("a/**").expect("a pattern"), events, lease: LEASE };
    Play { keeper: Keeper::new(vec![rule]), ..Play::default() }
}

fn numbers(of: core::ops::Range<u64>) -> Vec<String> {
    of.map(|number| format!("7 {number}")).collect()
}

#[test]
fn past_events_come_in_their_order_as_many_or_as_old_as_is_asked_for() {
    let mut play = logging(100);
    for number in 0..1_000 {
        log(&mut play, "a/b", number);
        // Some wait together, and some go alone.
        if number % 7 < 3 {
            play.settle();
        }
    }
    play.settle();
    assert_eq!(play.take().len(), 1_000, "each is acknowledged");
    assert!(play.ring.len() <= usize::from(SLOTS));
    assert_eq!(past(&mut play, "a/b", Replay::Last(50)), numbers(950..1_000));
    let all = past(&mut play, "a/**", Replay::Last(10_000));
    assert!(all.len() >= 100 && all.ends_with(&numbers(900..1_000)));
    play.pass(20);
    for number in 1_000..1_010 {
        log(&mut play, "a/b", number);
    }
    log(&mut play, "a/b/c", 1);
    play.settle();
    play.take();
    assert_eq!(
        past(&mut play, "a/*", Replay::Since(core::time::Duration::from_secs(10))),
        numbers(1_000..1_010)
    );
    assert_eq!(past(&mut play, "a/b", Replay::Last(12)), numbers(998..1_010));
    let both = past(&mut play, "a/**", Replay::Last(1));
    assert_eq!(both, ["7 1009", "7 1"]);
    assert!(!play.keeper.is_replayed(&topic("b")) && !play.keeper.is_replayed(&topic("**")));
}

#[test]
fn events_that_are_too_old_or_not_as_their_server_writes_them_are_left_out() {
    let mut play = logging(100);
    log(&mut play, "a", 1);
    play.pass(61);
    log(&mut play, "a", 2);
    play.settle();
    play.take();
    let (key, value) =
        play.ring.first_key_value().map(|(key, value)| (key.clone(), value.clone())).expect("one");
    // Another server's place, another topic's, and what is cut off; a short key has no room for a server.
    let mut wrong = vec![(log_key(&topic("a"), NodeId::from_bytes([2; 16]), 1, 0), value.clone())];
    wrong.push((log_key(&topic("a/b"), NodeId::from_bytes([1; 16]), 1, 0), value.clone()));
    wrong.push(([&key[..], b"x"].concat(), value[..value.len() - 1].to_vec()));
    wrong.push((b"a\0".to_vec(), value[..12].to_vec()));
    play.ring.extend(wrong);
    assert_eq!(past(&mut play, "a/**", Replay::Last(9)), ["7 2"]);
}

#[test]
fn what_waits_to_be_kept_is_bounded_also_by_topics() {
    let mut play = logging(100);
    for number in 0..LOGS_MAX as u64 + 1 {
        log(&mut play, &format!("a/{number}"), number);
    }
    play.settle();
    let told = play.take();
    assert_eq!(told.iter().filter(|told| told.ends_with("false")).count(), 1);
    // Topics whose events are over make room.
    play.pass(61);
    log(&mut play, "a/new", 1);
    play.settle();
    assert_eq!(play.take(), ["1 \"a/new\" true"]);
    assert_eq!((play.keeper.logs.len(), play.keeper.waiting_bytes), (1, 0));
}

#[test]
fn what_is_kept_goes_to_others_when_it_is_written_or_cannot_be_and_nothing_overtakes_it() {
    let mut play = logging(100);
    let (a, b) = (topic("a/x"), topic("b"));
    let publish = |play: &mut Play, to: &Arc<Pattern<'static>>, text: &'static str| {
        play.keeper.publish(to, &Bytes::from_static(text.as_bytes()), 1)
    };
    assert!(!publish(&mut play, &b, "not kept"));
    play.keeper.retain(asker(1), &b, Some(event("b", "1")));
    assert!(publish(&mut play, &b, "1") && publish(&mut play, &b, "behind it"));
    log(&mut play, "a/x", 1);
    assert!(publish(&mut play, &a, "1"));
    play.ask();
    log(&mut play, "a/x", 2);
    assert!(publish(&mut play, &a, "2"));
    play.answer(|_, _| Err(Failure::Unanswered));
    let told = play.take();
    assert_eq!(told, ["1 \"b\" false", "published \"b\" 1 1", "published \"b\" 1 behind it"]);
    play.answer(|ring, ask| Ok(do_it(ring, ask)));
    assert_eq!(play.take(), ["1 \"a/x\" true", "published \"a/x\" 1 1"]);
    play.settle();
    assert_eq!(play.take(), ["1 \"a/x\" true", "published \"a/x\" 1 2"]);
    assert!(!publish(&mut play, &a, "not kept") && play.keeper.delayed.is_empty());
    // Too many do not wait.
    log(&mut play, "a/x", 3);
    let long = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..9 {
        assert!(play.keeper.publish(&a, &long, 1));
    }
    play.ask();
    assert_eq!((play.take().len(), play.keeper.delayed_bytes), (9, 0));
}
