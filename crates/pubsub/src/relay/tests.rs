//! Servers on one ring, with every step in the test's hands.

mod groups;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use xtreem_base::{Duration, Rng};

use super::*;
use crate::{EventWriter, HashId};

mod outages;

struct World {
    relays: Vec<Relay>,
    ring: BTreeMap<(Space, Vec<u8>), Item>,
    asked: Vec<(usize, u64, What)>,
    /// Per server: payloads as they came.
    heard: Vec<Vec<String>>,
    answers: Vec<Vec<(String, Answer)>>,
    /// Who sent events to whom.
    ways: BTreeSet<(usize, usize)>,
    dead: BTreeSet<usize>,
    /// These take nothing for now, and what waits for them.
    paused: BTreeSet<usize>,
    deferred: Vec<(usize, Server)>,
    /// Members of groups there may not hear anything.
    deaf: BTreeSet<usize>,
    is_ring_silent: bool,
    now: Instant,
}

fn topic(text: &str) -> Arc<Pattern<'static>> {
    let pattern = match text.split_once(',') {
        Some((from, to)) => Pattern::range(from.to_string(), to.to_string()),
        None => Pattern::new(text.to_string()),
    };
    Arc::new(pattern.expect("a pattern"))
}

fn wanted(text: &str) -> Interest {
    match text.split_once(" group=") {
        Some((pattern, group)) => {
            Interest { pattern: (*topic(pattern)).clone(), group: Some(group.to_string()) }
        }
        None => (*topic(text)).clone().into(),
    }
}

impl World {
    fn new(count: usize) -> World {
        let server = |number: usize| Server {
            id: NodeId::from_bytes((number as u128).to_be_bytes()),
            incarnation: 1,
            addr: "127.0.0.1:1".parse().expect("an address"),
        };
        World {
            relays: (0..count).map(|number| Relay::new(server(number), [number as u8; 32])).collect(),
            ring: BTreeMap::new(),
            asked: Vec::new(),
            heard: vec![Vec::new(); count],
            answers: vec![Vec::new(); count],
            ways: BTreeSet::new(),
            dead: BTreeSet::new(),
            paused: BTreeSet::new(),
            deferred: Vec::new(),
            deaf: BTreeSet::new(),
            is_ring_silent: false,
            now: Instant::from_millis(1_000),
        }
    }

    fn at(id: NodeId) -> usize {
        u128::from_be_bytes(*id.as_bytes()) as usize
    }

    fn subscribe(&mut self, at: usize, pattern: &str) {
        self.relays[at].wanted(self.now, wanted(pattern));
    }

    fn publish(&mut self, at: usize, to: &str, payload: &str) {
        let topic = topic(to);
        if self.relays[at].is_wanted(self.now, &topic) {
            let mut out = BytesMut::new();
            EventWriter::new(&topic).write(&mut out, HashId(1), None, payload.as_bytes());
            self.relays[at].publish(self.now, &topic, &out.freeze(), 1);
        }
    }

    /// Does all that is to be done but on the ring.
    fn run(&mut self) {
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for at in 0..self.relays.len() {
                while let Some(action) = self.relays[at].next_action() {
                    is_done = false;
                    self.act(at, action);
                }
            }
        }
    }

    fn act(&mut self, at: usize, action: Action) {
        if self.dead.contains(&at) {
            return;
        }
        let own = self.relays[at].own;
        match action {
            Action::Ring(request, what) => self.asked.push((at, request, what)),
            Action::Deliver(arrival) => self.hear(at, &arrival),
            Action::Share(share) => self.take_share(at, &share),
            Action::Answer(pattern, answer) => self.answers[at].push((pattern.to_string(), answer)),
            Action::Taken(peer, number) => self.relays[World::at(peer)].handle_taken(own.id, number),
            Action::Call(server) => {
                let to = World::at(server.id);
                if self.paused.contains(&to) {
                    return self.deferred.push((at, server));
                }
                if self.dead.contains(&to) {
                    self.relays[at].handle_unreachable(self.now, server.id);
                    return;
                }
                while let Some((head, tail)) = self.relays[at].pop(server.id) {
                    let frame = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
                    if head[LENGTH_BYTES] == b'E' {
                        self.ways.insert((at, to));
                    }
                    match self.relays[to].handle_frame(self.now, own, &frame).expect("a good frame") {
                        Received::Events(arrival) => self.hear(to, &arrival),
                        Received::Share(share) => self.take_share(to, &share),
                        Received::Lost(topic, count) => self.heard[to].push(format!("LOST {topic} {count}")),
                        Received::Nothing => {}
                    }
                }
            }
        }
    }

    fn hear(&mut self, at: usize, arrival: &Arrival) {
        let text = String::from_utf8(arrival.plain.to_vec()).expect("text");
        let line = text.lines().nth(2).unwrap_or_default();
        self.heard[at].push(line.to_string());
    }

    /// Its members get it; where they are deaf, another server's.
    fn take_share(&mut self, at: usize, share: &Share) {
        if self.deaf.contains(&at) {
            return self.relays[at].hand_on(share);
        }
        let name = share.group.group.clone().unwrap_or_default();
        for event in arrival::pieces(&share.arrival.plain) {
            let text = String::from_utf8(event.to_vec()).expect("text");
            self.heard[at].push(format!("{name} {}", text.lines().nth(2).unwrap_or_default()));
        }
    }

    /// The ring does one of the things that were asked of it.
    fn ring(&mut self, which: usize) {
        let (at, request, what) = self.asked.remove(which);
        let server = self.relays[at].own;
        let done = match what {
            _ if self.is_ring_silent => Err(Failure::Unanswered),
            What::Put(space, pattern) => {
                let item = Item::new(&pattern, &server);
                self.ring.insert((space, item.key.clone()), item);
                Ok(Vec::new())
            }
            What::Remove(space, pattern) => {
                self.ring.remove(&(space, key_of(&pattern, server.id)));
                Ok(Vec::new())
            }
            What::Scan(space, section) => {
                let found = self.ring.iter().filter(|((of, key), _)| *of == space && section.contains(key));
                Ok(found.map(|(_, item)| item.clone()).collect())
            }
        };
        self.relays[at].handle_done(self.now, request, done);
    }

    fn settle(&mut self) {
        self.run();
        while !self.asked.is_empty() {
            self.ring(0);
            self.run();
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        for relay in &mut self.relays {
            relay.handle_timeout(self.now);
        }
    }
}

#[test]
fn who_subscribed_elsewhere_hears_whatever_kind_of_pattern() {
    for (pattern, to) in [
        ("a/b", "a/b"),
        ("a/*", "a/b"),
        ("a/**", "a/b"),
        ("**", "a/b"),
        ("a/a,a/c", "a/b"),
        ("a/b", "a/*"),
        ("a/b/c", "a/**"),
        ("a/b/*", "a/**"),
        ("x", "w,y"),
        ("a/b", "a/a,a/c"),
    ] {
        let mut world = World::new(3);
        world.subscribe(1, pattern);
        world.settle();
        assert_eq!(world.answers[1], [(topic(pattern).to_string(), Answer::Done)]);
        world.publish(0, to, "1");
        world.publish(0, to, "2");
        world.settle();
        world.publish(0, to, "3");
        world.publish(0, "other", "4");
        world.settle();
        let is_all = pattern == "**";
        let expected: &[&str] = if is_all { &["1", "2", "3", "4"] } else { &["1", "2", "3"] };
        assert_eq!(world.heard[1], expected, "{pattern} {to}");
        assert!(world.heard[2].is_empty() && world.links_of(2) == 0);
    }
}

impl World {
    fn links_of(&self, at: usize) -> usize {
        self.relays[at].links.len()
    }
}

#[test]
fn who_cancels_hears_nothing_once_the_list_is_made_anew() {
    let mut world = World::new(2);
    world.subscribe(1, "a");
    world.settle();
    world.publish(0, "a", "1");
    world.settle();
    world.relays[1].unwanted(wanted("a"));
    world.settle();
    assert!(!world.ring.keys().any(|(space, _)| *space == Space::Subscribers));
    world.pass(11);
    world.publish(0, "a", "2");
    world.settle();
    assert!(!world.relays[0].is_wanted(world.now, &topic("a")));
    world.pass(40);
    assert!(world.relays[0].outlets.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_published_after_a_subscription_was_answered_comes(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let mut world = World::new(3);
        let patterns = ["a/b", "a/*", "a/**", "**", "a/a,a/c"];
        let (mut published, mut since) = (0_u32, None);
        let start = rng.below(60);
        for step in 0..400 {
            if step == start {
                let which = rng.below(5) as usize;
                world.subscribe(1, patterns[which]);
            }
            if rng.below(4) == 0 {
                published += 1;
                world.publish(0, "a/b", &published.to_string());
            }
            if rng.below(9) == 0 {
                world.publish(2, "a/c", "x");
                world.pass(1);
            }
            world.run();
            if since.is_none() && world.answers[1].iter().any(|(_, answer)| *answer == Answer::Done) {
                since = Some(published);
            }
            if !world.asked.is_empty() && rng.below(3) > 0 {
                let which = rng.below(world.asked.len() as u32) as usize;
                world.ring(which);
                world.run();
            }
        }
        world.settle();
        if let Some(since) = since {
            let expected: Vec<String> = (since + 1..=published).map(|number| number.to_string()).collect();
            let is_late = |event: &&String| event.parse().is_ok_and(|number: u32| number > since);
            let heard: Vec<String> = world.heard[1].iter().filter(is_late).cloned().collect();
            prop_assert_eq!(heard, expected);
        }
    }
}

#[test]
fn a_thousand_servers_get_each_event_once_by_few_steps_of_each() {
    let (subscribers, all) = (1_000, 1_100);
    let mut world = World::new(all);
    // Where they are on the ring does not matter here.
    for at in 0..subscribers {
        let item = Item::new(&wanted("a/**"), &world.relays[at].own);
        world.ring.insert((Space::Subscribers, item.key.clone()), item);
    }
    let publisher = all - 1;
    for number in 0..3 {
        world.publish(publisher, "a/b", &number.to_string());
        world.settle();
    }
    for at in 0..all {
        let expected: &[&str] = if at < subscribers { &["0", "1", "2"] } else { &[] };
        assert_eq!(world.heard[at], expected, "{at}");
        let fan_out = world.ways.iter().filter(|(from, _)| *from == at).count();
        assert!(fan_out <= FAN_OUT, "{at}: {fan_out}");
        assert!(world.relays[at].links.values().all(Link::is_empty), "{at}: all is acknowledged");
    }
    assert_eq!(world.ways.len(), subscribers);
    let depth = |mut at: usize| {
        let mut depth = 0;
        while let Some((from, _)) = world.ways.iter().find(|(_, to)| *to == at) {
            (at, depth) = (*from, depth + 1);
        }
        depth
    };
    assert_eq!((0..subscribers).map(depth).max(), Some(4));
}

#[test]
fn where_heads_are_dead_the_next_of_their_parts_take_their_places() {
    let mut world = World::new(101);
    for at in 0..100 {
        let item = Item::new(&wanted("a"), &world.relays[at].own);
        world.ring.insert((Space::Subscribers, item.key.clone()), item);
    }
    world.publish(100, "a", "0");
    world.settle();
    // The first heads, and one of theirs.
    world.dead.extend([0, 1, 12, 25, 50]);
    for number in 1..4 {
        world.publish(100, "a", &number.to_string());
        world.settle();
    }
    for at in 0..100 {
        let expected: &[&str] = if world.dead.contains(&at) { &["0"] } else { &["0", "1", "2", "3"] };
        assert_eq!(world.heard[at], expected, "{at}");
    }
}

#[test]
fn events_come_in_their_order_when_a_new_list_has_a_shorter_way() {
    let mut world = World::new(21);
    for at in 0..20 {
        let item = Item::new(&wanted("a"), &world.relays[at].own);
        world.ring.insert((Space::Subscribers, item.key.clone()), item);
    }
    world.publish(20, "a", "0");
    world.settle();
    // The head of the next one takes nothing for a while, and is not in the next list.
    world.paused.insert(0);
    world.publish(20, "a", "1");
    world.settle();
    let item = Item::new(&wanted("a"), &world.relays[0].own);
    world.ring.remove(&(Space::Subscribers, item.key));
    world.pass(11);
    for number in 2..5 {
        world.publish(20, "a", &number.to_string());
        world.settle();
    }
    assert_eq!(world.heard[1], ["0"], "it waits");
    assert_eq!(world.heard[5], ["0", "1", "2", "3", "4"], "where nothing is missing nothing waits");
    world.paused.clear();
    for (at, server) in core::mem::take(&mut world.deferred) {
        world.act(at, Action::Call(server));
    }
    world.settle();
    assert_eq!(world.heard[1], ["0", "1", "2", "3", "4"]);
}

#[test]
fn who_has_an_event_passes_it_on_all_the_same_where_the_head_died_halfway() {
    let mut world = World::new(21);
    for at in 0..20 {
        let item = Item::new(&wanted("a"), &world.relays[at].own);
        world.ring.insert((Space::Subscribers, item.key.clone()), item);
    }
    // The first part is 0, 1; the last one 17, 18, 19: its head dies when only the next one has the event.
    world.paused.insert(19);
    world.publish(20, "a", "0");
    world.settle();
    assert_eq!((world.heard[18].len(), world.heard[19].len()), (1, 0));
    world.dead.insert(17);
    world.deferred.clear();
    world.paused.clear();
    let (now, head) = (world.now, world.relays[17].own.id);
    world.relays[20].handle_unreachable(now, head);
    world.settle();
    assert_eq!(
        (&world.heard[18][..], &world.heard[19][..]),
        (&["0".to_string()][..], &["0".to_string()][..])
    );
}

#[test]
fn what_is_missing_is_not_waited_for_for_ever() {
    let mut world = World::new(2);
    world.subscribe(1, "a");
    world.settle();
    world.publish(0, "a", "0");
    world.settle();
    // It gets lost beyond all repair.
    world.publish(0, "a", "1");
    let peer = world.relays[1].own.id;
    while world.relays[0].pop(peer).is_some() {}
    world.relays[0].give_up(peer);
    world.publish(0, "a", "2");
    let publisher = world.relays[0].own.id;
    world.relays[1].begin(publisher);
    world.settle();
    assert_eq!(world.heard[1], ["0"]);
    world.pass(TURN_WAIT.as_secs());
    world.settle();
    assert_eq!(world.heard[1], ["0", "2"]);
}

#[test]
fn a_ring_that_is_silent_delays_an_answer_by_five_seconds_and_one_that_refuses_ends_it() {
    let mut world = World::new(2);
    world.is_ring_silent = true;
    world.subscribe(1, "a");
    for _ in 0..5 {
        assert!(world.answers[1].is_empty());
        world.pass(1);
        world.settle();
    }
    assert_eq!(world.answers[1], [("\"a\"".to_string(), Answer::Late)]);
    world.publish(0, "a", "1");
    world.settle();
    world.is_ring_silent = false;
    world.pass(2);
    world.settle();
    assert_eq!(world.answers[1].len(), 1);
    for _ in 0..31 {
        world.pass(1);
        world.settle();
    }
    assert_eq!(world.heard[1], ["1"], "it waited");

    let relay = &mut world.relays[0];
    for number in 0..=WANTS_MAX {
        relay.wanted(world.now, wanted(&format!("t/{number}")));
    }
    let refused = |action| matches!(action, Action::Answer(_, Answer::Refused(_)));
    assert!(core::iter::from_fn(|| relay.next_action()).any(refused));
}

#[test]
fn a_server_that_lies_is_told_off() {
    let mut world = World::new(3);
    let [liar, victim] = [world.relays[0].own, world.relays[2].own];
    let mut handle = |number: u64, body: Body| {
        let (head, tail) = body.write(number);
        let bytes = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        let handled = world.relays[1].handle_frame(world.now, liar, &bytes);
        world.relays[1].end(liar.id);
        handled
    };
    let changed = Body::Changed { server: victim, wanted: Arc::new(wanted("a")) };
    assert_eq!(handle(1, changed), Err(Misread::AnotherServer));
    let origin = Origin { id: liar.id, incarnation: 1, batch: 1 };
    let events = |part, events: &'static [u8]| {
        let events = Bytes::from_static(events);
        Body::Events { origin, turn: Turn::default(), part, topic: topic("a"), count: 1, events }
    };
    assert_eq!(handle(1, events(0, b"PUBLISH")), Err(Misread::NoEvents));
    assert_eq!(handle(1, events(7, b"")), Err(Misread::UnknownPart));
    assert_eq!(handle(0, events(0, b"")), Err(Misread::Order));
}

#[test]
fn a_publisher_that_is_gone_delays_no_answer() {
    let mut world = World::new(2);
    world.publish(0, "a", "1");
    world.settle();
    world.dead.insert(0);
    world.subscribe(1, "a");
    world.settle();
    assert_eq!(world.answers[1], [("\"a\"".to_string(), Answer::Done)]);
}

#[test]
fn nobody_can_use_the_name_of_a_batch_before_its_origin_does() {
    let mut world = World::new(3);
    world.subscribe(1, "a");
    world.settle();
    let (victim, liar) = (world.relays[0].own, world.relays[2].own);
    for batch in 1..9 {
        let origin = Origin { id: victim.id, incarnation: 1, batch };
        let mut out = BytesMut::new();
        EventWriter::new(&topic("a")).write(&mut out, HashId(1), None, b"lie");
        let (turn, topic) = (Turn::default(), topic("a"));
        let body = Body::Events { origin, turn, part: 0, topic, count: 1, events: out.freeze() };
        let (head, tail) = body.write(batch);
        let bytes = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        world.relays[1].handle_frame(world.now, liar, &bytes).expect("a frame");
    }
    for number in 1..5 {
        world.publish(0, "a", &number.to_string());
        world.settle();
    }
    assert_eq!(world.heard[1], ["1", "2", "3", "4"]);
}

#[test]
fn who_could_not_look_for_all_publishers_is_not_answered_before_it_has() {
    let mut world = World::new(2);
    world.subscribe(1, "a");
    world.run();
    world.ring(0);
    world.is_ring_silent = true;
    world.settle();
    assert!(world.answers[1].is_empty());
    world.is_ring_silent = false;
    world.pass(3);
    world.settle();
    assert_eq!(world.answers[1], [("\"a\"".to_string(), Answer::Done)]);
}

#[test]
fn a_stream_that_begins_at_the_last_number_ends_as_one_out_of_order() {
    let mut world = World::new(2);
    let other = world.relays[1].own;
    let mut take = |number: u64| {
        let body = Body::Lost { topic: topic("a"), count: 1 };
        let (head, tail) = body.write(number);
        let frame = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        world.relays[0].handle_frame(world.now, other, &frame)
    };
    assert!(take(u64::MAX).is_ok());
    assert!(matches!(take(1), Err(Misread::Order)) && matches!(take(0), Err(Misread::Order)));
}

#[test]
fn an_event_of_the_grid_that_its_origin_may_not_say_comes_to_nobody() {
    let mut world = World::new(2);
    let [own, other] = [0, 1].map(|at| world.relays[at].own);
    let mut take = |number: u64, to: String, batch: u64| {
        let topic = topic(&to);
        let mut events = BytesMut::new();
        EventWriter::new(&topic).write(&mut events, HashId(1), None, b"{}");
        let origin = Origin { id: other.id, incarnation: other.incarnation, batch };
        let turn = Turn { line: batch, number: 1, since: 1 };
        let body = Body::Events { origin, turn, part: 0, topic, count: 1, events: events.freeze() };
        let (head, tail) = body.write(number);
        let frame = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        let received = world.relays[0].handle_frame(world.now, other, &frame).expect("in order");
        matches!(received, Received::Events(_))
    };
    let third = NodeId::from_bytes([77; 16]);
    assert!(take(1, format!("grid/node/{}/joined", other.id), 1));
    assert!(!take(2, format!("grid/node/{third}/joined"), 2));
    assert!(take(3, format!("grid/node/{third}/left"), 3));
    assert!(!take(4, format!("grid/node/{}/left", own.id), 4));
    assert!(!take(5, "grid/**".into(), 5));
    assert!(take(6, "news".into(), 6));
}

#[test]
fn what_is_kept_ready_is_sent_while_the_ring_is_silent() {
    let mut world = World::new(2);
    world.subscribe(1, "app/**");
    world.settle();
    let app = xtreem_base::AppId::from_bytes([9; 16]);
    let family = Arc::new(crate::reserved::family_of_app(app).expect("a pattern"));
    let now = world.now;
    world.relays[0].keep_ready(now, &family);
    world.settle();
    let mut events = BytesMut::new();
    let failed = topic(&format!("app/{app}/slot/3/failed"));
    EventWriter::new(&failed).write(&mut events, HashId(1), None, b"lost");
    world.relays[0].publish(now, &family, &events.freeze(), 1);
    // No answer of the ring is needed.
    world.run();
    assert_eq!(world.heard[1], ["lost"]);
}
