//! Clients of one broker, by what they write and read.

mod kept;
mod updates;

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::relay::Arrival;
use crate::{EventWriter, HashId};

#[derive(Default)]
struct World {
    wanted: Vec<String>,
    published: Vec<(String, u32)>,
    is_wanted_elsewhere: bool,
    /// Who subscribes is answered later.
    is_slow: bool,
    /// What is kept is looked for.
    has_store: bool,
    retained: Vec<(Asker, Arc<Pattern<'static>>, Option<Bytes>)>,
    logged: Vec<(Option<Asker>, Bytes)>,
    replays: Vec<Replay>,
    updates: Vec<(Asker, String, Update)>,
    reads: Vec<(Asker, String)>,
}

impl Host for World {
    fn wanted(&mut self, interest: &Interest, is_wanted: bool) -> bool {
        self.wanted.push(format!("{}{interest}", if is_wanted { '+' } else { '-' }));
        self.is_slow
    }

    fn published(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) {
        assert_eq!(events.windows(6).filter(|at| at == b"EVENT ").count(), count as usize);
        self.published.push((topic.to_string(), count));
    }

    fn is_wanted_elsewhere(&mut self, _: &Arc<Pattern<'static>>) -> bool {
        self.is_wanted_elsewhere
    }

    fn access(&mut self, token: &str) -> Option<Access> {
        (token == "good").then(|| Access::all("slot"))
    }

    fn retain(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>, event: Option<Bytes>) {
        self.retained.push((asker, topic.clone(), event));
    }

    fn is_replayed(&self, topics: &Pattern<'_>) -> bool {
        Pattern::new("past/**").expect("a pattern").covers(topics)
    }

    fn log(&mut self, asker: Option<Asker>, _: &Arc<Pattern<'static>>, event: &[u8]) {
        self.logged.push((asker, Bytes::copy_from_slice(event)));
    }

    fn recall(&mut self, _: ConnectionId, _: &Pattern<'static>, replay: Option<Replay>, _: bool) -> bool {
        self.replays.extend(replay);
        self.has_store
    }

    fn forget(&mut self, _: ConnectionId, _: &Pattern<'static>) {}

    fn update(&mut self, asker: Asker, who: &str, update: Update) -> bool {
        self.updates.push((asker, who.into(), update));
        self.has_store
    }

    fn read(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>) -> bool {
        self.reads.push((asker, topic.to_string()));
        self.has_store
    }
}

struct Play {
    broker: Broker,
    world: World,
}

impl Play {
    fn new(config: Config) -> Play {
        Play { broker: Broker::new(config, NodeId::from_bytes([1; 16]), 1), world: World::default() }
    }

    fn open(&mut self) -> ConnectionId {
        self.broker.open(Access::all("user")).expect("room")
    }

    fn say(&mut self, id: ConnectionId, text: &str) {
        self.broker.read(Instant::ZERO, id, text.as_bytes(), &mut self.world);
    }

    /// What waits for a connection, without the names of events.
    fn heard(&mut self, id: ConnectionId) -> String {
        let queue = self.broker.queue(id).expect("open");
        let bytes = queue.front(usize::MAX).collect::<Vec<_>>().concat();
        queue.advance(bytes.len());
        let text = String::from_utf8(bytes).expect("text").replace("\r\n", "\n");
        let cut = |line: &str| match line.rsplit_once("\" ") {
            Some((head, id)) if line.starts_with("EVENT") => format!("{head}\" {}\n", id.len()),
            _ => format!("{line}\n"),
        };
        text.lines().map(cut).collect()
    }
}

fn publish(topic: &str, payload: &str) -> String {
    format!("PUBLISH \"{topic}\"\r\nPayload-length: {}\r\n{payload}\r\n", payload.len())
}

fn event(topic: &str, payload: &str) -> String {
    format!("EVENT \"{topic}\" 32\nPayload-length: {}\n{payload}\n", payload.len())
}

#[test]
fn an_answer_that_the_host_holds_comes_when_it_says_so_and_events_before() {
    let mut play = Play::new(Config::default());
    play.world.is_slow = true;
    let (publisher, one, two, gone) = (play.open(), play.open(), play.open(), play.open());
    for id in [one, two, gone] {
        play.say(id, "CONNECT ok lost\nSUBSCRIBE \"a\"\nSUBSCRIBE \"b\"\n");
    }
    play.say(publisher, &publish("a", "1"));
    play.broker.close(gone, &mut play.world);
    let (a, b) = (Pattern::new("a").expect("a topic"), Pattern::new("b").expect("a topic"));
    play.broker.answer(&(&a).into(), Ok(""), &mut play.world);
    play.broker.answer(&b.into(), Err(("too-many", "no room")), &mut play.world);
    for id in [one, two] {
        let expected =
            format!("OK CONNECT\n{}OK SUBSCRIBE \"a\"\nERROR too-many \"no room\"\n", event("a", "1"));
        assert_eq!(play.heard(id), expected);
    }
    assert_eq!(play.world.wanted, ["+\"a\"", "+\"b\"", "-\"b\""]);
    // Who subscribes to what is on the ring already is answered at once.
    let three = play.open();
    play.say(three, "CONNECT ok\nSUBSCRIBE \"a\"\n");
    assert_eq!(play.heard(three), "OK CONNECT\nOK SUBSCRIBE \"a\"\n");
    play.broker.lose(&Arc::new(a), 7);
    assert_eq!((play.heard(one), play.heard(three)), ("LOST \"a\" 7\n".into(), String::new()));
}

#[test]
fn whoever_subscribed_hears_events_in_their_order_and_once() {
    let mut play = Play::new(Config::default());
    let (publisher, one, both) = (play.open(), play.open(), play.open());
    play.say(one, "SUBSCRIBE \"a\"\n");
    play.say(both, "SUBSCRIBE \"a\"\nSUBSCRIBE \"**\"\n");
    play.say(publisher, &[publish("a", "1"), publish("b", "2"), publish("a", "3")].concat());
    assert_eq!(play.heard(one), [event("a", "1"), event("a", "3")].concat());
    assert_eq!(play.heard(both), [event("a", "1"), event("b", "2"), event("a", "3")].concat());
    assert_eq!(play.heard(publisher), "");
    play.say(one, "CANCEL \"a\"\n");
    play.say(publisher, &publish("a", "4"));
    assert_eq!((play.heard(one), play.heard(both)), (String::new(), event("a", "4")));
    assert_eq!(play.world.wanted, ["+\"a\"", "+\"**\""]);
}

#[test]
fn a_request_in_pieces_is_read_and_a_subscription_begins_between_two_events() {
    let mut play = Play::new(Config::default());
    let (publisher, subscriber) = (play.open(), play.open());
    let said = [publish("a", "early"), "SUBSCRIBE \"a\"\n".into(), publish("a", "late")].concat();
    for byte in said.chars() {
        play.say(publisher, &byte.to_string());
    }
    assert_eq!(play.heard(publisher), event("a", "late"));
    play.say(subscriber, &said);
    assert_eq!(play.heard(subscriber), event("a", "late"));
    assert_eq!(play.heard(publisher), [event("a", "early"), event("a", "late")].concat());
}

#[test]
fn headers_answers_and_losses_come_to_those_who_asked() {
    let mut play = Play::new(Config::default());
    let (plain, full) = (play.open(), play.open());
    play.say(plain, "SUBSCRIBE \"a\"\n");
    play.say(full, "CONNECT ok headers as=me\nSUBSCRIBE \"a\"\n");
    let said = "PUBLISH \"a\"\nSequence: 7\nReply-to: \"in\"\nAck: t1\nPayload-length: 1\nx\n";
    play.say(full, said);
    assert_eq!(play.heard(plain), event("a", "x"));
    let event = "EVENT \"a\" 32\nSequence: 7\nReply-to: \"in\"\nPublisher: user\nPayload-length: 1\nx\n";
    assert_eq!(play.heard(full), format!("OK CONNECT\nOK SUBSCRIBE \"a\"\n{event}OK PUBLISH t1\n"));
    play.say(full, "CONNECT\n");
    play.say(plain, &publish("a", "y"));
    assert_eq!(play.heard(full), self::event("a", "y"));
}

#[test]
fn mistakes_are_told_and_only_those_out_of_step_end_the_connection() {
    let mut play = Play::new(Config { subscriptions_max: 1, ..Config::default() });
    let client = play.open();
    play.say(client, "NOISE\nCANCEL \"a\"\nSUBSCRIBE \"a\"\nSUBSCRIBE \"a\"\nSUBSCRIBE \"b\"\nAUTH bad\n");
    let heard = play.heard(client);
    let codes: Vec<_> = heard.lines().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect();
    assert_eq!(codes, ["unknown-verb", "not-subscribed", "too-many", "bad-token"]);
    assert!(!play.broker.is_ending(client));
    play.say(client, &[publish("a", "1"), "PUBLISH \"a\"\nnonsense\n".into(), publish("a", "2")].concat());
    let heard = play.heard(client);
    assert!(heard.starts_with(&event("a", "1")) && heard.contains("ERROR no-length"), "{heard}");
    assert!(!heard.contains('2') || heard.matches("EVENT").count() == 1, "{heard}");
    assert!(play.broker.is_ending(client) && !play.broker.is_reading(client));
}

#[test]
fn what_is_not_allowed_is_refused_until_a_token_allows_it() {
    let mut play = Play::new(Config::default());
    let access = Access {
        subscribe: Rules { allowed: vec![Pattern::new("open/**").expect("a pattern")], ..Rules::default() },
        ..Access::none("stranger")
    };
    let client = play.broker.open(access).expect("room");
    play.say(client, &["SUBSCRIBE \"open/a\"\nSUBSCRIBE \"**\"\n", &publish("open/a", "1")].concat());
    assert_eq!(play.heard(client).matches("ERROR forbidden").count(), 2);
    play.say(client, &["AUTH good\n", &publish("open/a", "2")].concat());
    assert_eq!(play.heard(client), event("open/a", "2"));
}

/// A program of application 7.
fn program() -> Access {
    let pattern = |text: &'static str| Pattern::new(text).expect("a pattern");
    let (except, own) = (vec![pattern("app/**")], vec![pattern("app/7/**")]);
    let rules = Rules { except, own, ..Rules::all() };
    Access { publish: rules.clone(), subscribe: rules, hint: "only app/7/", ..Access::none("app:7.0") }
}

#[test]
fn topics_of_another_application_come_to_nobody_whatever_pattern_he_subscribed_to() {
    let mut play = Play::new(Config::default());
    let (program, other) = (play.broker.open(program()).expect("room"), play.open());
    play.say(program, "SUBSCRIBE \"**\"\nSUBSCRIBE \"app/8/*\"\nSUBSCRIBE \"app/8/**\"\n");
    assert_eq!(play.heard(program).matches("ERROR forbidden").count(), 2);
    for topic in ["app/8/x", "app/7/x", "news"] {
        play.say(other, &publish(topic, "1"));
    }
    assert_eq!(play.heard(program), [event("app/7/x", "1"), event("news", "1")].concat());
    // The same of another server, and what was lost there.
    for topic in ["app/8/x", "app/7/x"] {
        let topic = Arc::new(Pattern::new(topic).expect("a pattern"));
        play.broker.deliver(&topic, &Bytes::from_static(b"!\r\n"), &Bytes::new(), 1);
    }
    assert_eq!(play.heard(program), "!\n");
    // In a group the one gets it who may.
    play.say(program, "CANCEL \"**\"\nSUBSCRIBE \"**\" group=g\n");
    play.say(other, "SUBSCRIBE \"**\" group=g\n");
    for _ in 0..4 {
        play.say(other, &publish("app/8/x", "2"));
    }
    assert_eq!(play.heard(program), "");
    assert_eq!(play.heard(other).matches("EVENT").count(), 4);
}

#[test]
fn nobody_but_the_agent_publishes_where_it_says_what_happens_in_the_grid() {
    let mut play = Play::new(Config::default());
    let agent = play.broker.open(Access::agent()).expect("room");
    let (program, operator) = (play.broker.open(program()).expect("room"), play.open());
    play.say(operator, "SUBSCRIBE \"grid/**\"\nSUBSCRIBE \"app/7/slot/**\"\n");
    for client in [program, operator] {
        for topic in ["grid/node/x/left", "app/7/slot/0/failed", "grid/**", "**", "app/7/**"] {
            play.say(client, &publish(topic, "false"));
            let heard = play.heard(client);
            assert!(heard.contains("ERROR forbidden") && heard.contains("agents alone say"), "{heard}");
        }
    }
    play.say(agent, &publish("grid/node/x/left", "true"));
    play.say(agent, &publish("app/7/slot/0/failed", "true"));
    let true_ones = [event("grid/node/x/left", "true"), event("app/7/slot/0/failed", "true")].concat();
    assert_eq!(play.heard(operator), true_ones);
}

#[test]
fn a_rule_that_is_new_holds_for_connections_that_are_open() {
    let mut play = Play::new(Config::default());
    let (publisher, subscriber) = (play.open(), play.open());
    play.say(subscriber, "SUBSCRIBE \"**\"\n");
    play.say(publisher, &publish("news", "1"));
    assert_eq!(play.heard(subscriber), event("news", "1"));
    let topics = Pattern::new("news").expect("a pattern");
    let kept = Kept { topics, rule: "desk".into(), whose: "user alice".into() };
    play.broker.review(|access| access.subscribe.kept = vec![kept.clone()]);
    play.say(publisher, &[publish("news", "2"), publish("else", "3")].concat());
    assert_eq!(play.heard(subscriber), event("else", "3"));
    play.broker.review(|access| {
        access.subscribe.kept.clear();
        access.publish.kept = vec![kept.clone()];
    });
    play.say(publisher, &publish("news", "4"));
    let refused = play.heard(publisher);
    assert!(refused.contains("ERROR forbidden") && refused.contains("desk"), "{refused}");
    assert_eq!(play.heard(subscriber), "");
}

#[test]
fn a_subscription_ends_with_its_lease_or_its_connection() {
    let mut play = Play::new(Config::default());
    let (client, other) = (play.open(), play.open());
    play.say(client, "SUBSCRIBE \"a\" lease=10\n");
    let at = play.broker.next_timeout().expect("a lease");
    assert_eq!(at, Instant::ZERO + Duration::from_secs(10));
    play.broker.handle_timeout(at, &mut play.world);
    play.say(other, &publish("a", "1"));
    assert_eq!(play.heard(client), "");
    assert_eq!(play.broker.next_timeout(), None);
    play.say(client, "SUBSCRIBE \"a\" lease=10\nSUBSCRIBE \"a\"\n");
    assert_eq!(play.broker.next_timeout(), None);
    play.broker.close(client, &mut play.world);
    assert_eq!(play.world.wanted, ["+\"a\"", "-\"a\"", "+\"a\"", "-\"a\""]);
    assert_eq!(play.broker.sizes(), (1, 0));
    assert_eq!(play.open(), client);
    play.say(other, &publish("a", "2"));
    assert_eq!(play.heard(client), "");
}

#[test]
fn one_member_of_a_group_gets_each_event_and_all_get_some() {
    let mut play = Play::new(Config::default());
    let members = [play.open(), play.open(), play.open()];
    let publisher = play.open();
    for member in members {
        play.say(member, "SUBSCRIBE \"jobs\" group=workers\n");
    }
    let all: String = (0..9).map(|job| publish("jobs", &job.to_string())).collect();
    play.say(publisher, &all);
    let heard = members.map(|member| play.heard(member).matches("EVENT").count());
    assert_eq!(heard, [3, 3, 3]);
    play.broker.close(members[0], &mut play.world);
    play.say(publisher, &all);
    let heard = [members[1], members[2]].map(|member| play.heard(member).matches("EVENT").count());
    assert_eq!(heard.iter().sum::<usize>(), 9);
}

#[test]
fn groups_that_the_host_deals_to_are_interests_of_their_own_and_get_shares_alone() {
    let mut play = Play::new(Config { deals_groups: true, ..Config::default() });
    let (plain, publisher) = (play.open(), play.open());
    let members = [play.open(), play.open()];
    play.say(plain, "SUBSCRIBE \"jobs\"\n");
    for member in members {
        play.say(member, "SUBSCRIBE \"jobs\" group=g\n");
    }
    assert_eq!(play.world.wanted, ["+\"jobs\"", "+\"jobs\" group=g"]);
    play.say(publisher, &publish("jobs", "1"));
    let heard = |play: &mut Play, id| play.heard(id).matches("EVENT").count();
    assert_eq!((heard(&mut play, plain), heard(&mut play, members[0])), (1, 0));
    let topic = Arc::new(Pattern::new("jobs").expect("a topic"));
    let mut events = BytesMut::new();
    for number in 0..4 {
        EventWriter::new(&topic).write(&mut events, HashId(number), None, b"x");
    }
    let bytes = events.freeze();
    let events = Arrival { topic: topic.clone(), plain: bytes.clone(), full: bytes.clone(), count: 4 };
    let group = Interest { pattern: (*topic).clone(), group: Some("g".into()) };
    assert!(play.broker.deliver_share(&group, &events));
    assert_eq!(members.map(|member| heard(&mut play, member)), [2, 2]);
    // What is for all is not for the group.
    play.broker.deliver(&topic, &bytes, &bytes, 4);
    assert_eq!((heard(&mut play, plain), heard(&mut play, members[0])), (4, 0));
    // Who leaves the group for all events is one more of the other interest.
    play.say(members[0], "SUBSCRIBE \"jobs\"\n");
    play.broker.close(plain, &mut play.world);
    play.broker.close(members[1], &mut play.world);
    assert!(!play.broker.deliver_share(&group, &events));
    play.broker.close(members[0], &mut play.world);
    assert_eq!(play.world.wanted[2..], ["-\"jobs\" group=g", "-\"jobs\""]);
}

#[test]
fn a_slow_reader_stops_nobody_and_is_told_what_it_lost() {
    let mut play = Play::new(Config { queue_max: 1_000, ..Config::default() });
    let (slow, quick, publisher) = (play.open(), play.open(), play.open());
    play.say(slow, "CONNECT lost\nSUBSCRIBE \"a\"\n");
    play.say(quick, "SUBSCRIBE \"a\"\n");
    let mut heard = 0;
    for _ in 0..100 {
        play.say(publisher, &publish("a", "0123456789"));
        heard += play.heard(quick).matches("EVENT").count();
    }
    assert_eq!(heard, 100);
    let text = play.heard(slow);
    let lost: u64 =
        text.lines().filter_map(|line| line.strip_prefix("LOST \"a\" ")?.parse::<u64>().ok()).sum();
    assert_eq!(lost + text.matches("EVENT").count() as u64, 100, "{text}");
    assert!(lost > 50);
    assert_eq!(play.broker.counts(), (200, lost));
}

#[test]
fn events_go_elsewhere_with_all_headers_and_come_from_there() {
    let mut play = Play::new(Config::default());
    play.world.is_wanted_elsewhere = true;
    let (publisher, subscriber) = (play.open(), play.open());
    play.say(publisher, &[publish("a", "1"), publish("a", "2"), publish("b", "3")].concat());
    assert_eq!(play.world.published, [("\"a\"".into(), 2), ("\"b\"".into(), 1)]);
    play.say(subscriber, "SUBSCRIBE \"a\"\n");
    let topic = Arc::new(Pattern::new("a").expect("a topic"));
    let mut dirty = Vec::new();
    play.broker.take_dirty(&mut dirty);
    play.broker.deliver(&topic, &Bytes::from_static(b"plain\n"), &Bytes::from_static(b"full\n"), 1);
    play.broker.take_dirty(&mut dirty);
    assert_eq!(dirty, [subscriber]);
    assert_eq!(play.heard(subscriber), "plain\n");
}

#[test]
fn there_is_room_for_so_many_connections() {
    let mut play = Play::new(Config { connections_max: 2, ..Config::default() });
    let first = play.open();
    play.open();
    assert_eq!(play.broker.open(Access::all("user")), Err(Full(2)));
    play.broker.close(first, &mut play.world);
    assert_eq!(play.open(), first);
}

proptest! {
    /// Against a model: after each request everybody hears what it should, whatever pieces requests come in.
    #[test]
    fn everybody_hears_what_the_model_says(
        steps in proptest::collection::vec((0..3_u32, 0..3_usize, 0..4_usize), 1..60),
        piece in 1..40_usize,
    ) {
        let topics = ["a", "a/b", "a/c", "b"];
        let patterns = ["a", "a/*", "a/**", "**"];
        let mut play = Play::new(Config::default());
        let clients = [play.open(), play.open(), play.open()];
        let mut model = vec![alloc::collections::BTreeSet::new(); 3];
        let mut expected = vec![String::new(); 3];
        for (number, (what, client, which)) in steps.into_iter().enumerate() {
            let said = match what {
                0 => { model[client].insert(patterns[which]); format!("SUBSCRIBE \"{}\"\n", patterns[which]) }
                1 if model[client].remove(patterns[which]) => format!("CANCEL \"{}\"\n", patterns[which]),
                1 => continue,
                _ => {
                    let payload = number.to_string();
                    for (hearer, subscribed) in model.iter().enumerate() {
                        let meant = |text: &&str| Pattern::new(*text).expect("a pattern").matches(topics[which]);
                        if subscribed.iter().any(meant) {
                            expected[hearer].push_str(&event(topics[which], &payload));
                        }
                    }
                    publish(topics[which], &payload)
                }
            };
            for bytes in said.as_bytes().chunks(piece) {
                play.broker.read(Instant::ZERO, clients[client], bytes, &mut play.world);
            }
        }
        for (client, expected) in clients.into_iter().zip(expected) {
            prop_assert_eq!(play.heard(client), expected);
        }
    }
}
