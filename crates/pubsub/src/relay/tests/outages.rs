//! Rings that are silent, servers that cannot be reached for a while, and servers that start anew.

use super::*;

/// A publisher with this number, and as many subscribers to `a` on the ring.
fn world_of(subscribers: usize) -> World {
    let mut world = World::new(subscribers + 1);
    for at in 0..subscribers {
        let item = Item::new(&wanted("a"), &world.relays[at].own);
        world.ring.insert((Space::Subscribers, item.key.clone()), item);
    }
    world
}

#[test]
fn who_writes_again_after_a_silent_ring_gets_what_waited_for_it() {
    let mut world = World::new(2);
    world.subscribe(1, "a");
    world.settle();
    // The ring forgets the subscription, and what is published waits.
    world.is_ring_silent = true;
    world.ring.clear();
    for second in 0..LEASE.as_secs() + 10 {
        if second == LEASE.as_secs() {
            world.publish(0, "a", "1");
        }
        world.pass(1);
        world.settle();
    }
    // The publisher is first.
    world.is_ring_silent = false;
    world.now += Duration::from_millis(1_500);
    world.relays[0].handle_timeout(world.now);
    world.settle();
    world.publish(0, "a", "2");
    world.settle();
    assert!(world.heard[1].is_empty());
    for _ in 0..3 {
        world.pass(1);
        world.settle();
    }
    assert_eq!(world.heard[1], ["1", "2"]);
    world.pass(HOLD.as_secs());
    world.subscribe(1, "**");
    world.publish(0, "a", "3");
    world.settle();
    assert_eq!(world.heard[1], ["1", "2", "3"], "and no more");
}

#[test]
fn no_list_is_made_while_the_ring_does_not_take_the_publishers_item() {
    let mut world = World::new(2);
    world.publish(0, "a", "1");
    world.run();
    world.is_ring_silent = true;
    world.ring(0);
    world.is_ring_silent = false;
    world.run();
    assert!(world.asked.is_empty());
    world.subscribe(1, "a");
    world.settle();
    assert_eq!(world.answers[1], [("\"a\"".to_string(), Answer::Done)]);
    world.publish(0, "a", "2");
    world.pass(1);
    world.settle();
    assert_eq!(world.heard[1], ["1", "2"]);
}

#[test]
fn who_started_anew_is_not_given_up_for_its_predecessor() {
    let mut world = world_of(1);
    world.publish(1, "a", "0");
    world.settle();
    world.dead.insert(0);
    world.publish(1, "a", "1");
    world.settle();
    let own = Server { incarnation: 2, ..world.relays[0].own };
    world.relays[0] = Relay::new(own, [9; 32]);
    world.dead.clear();
    world.pass(20);
    world.subscribe(0, "a");
    world.settle();
    assert_eq!(world.answers[0].last(), Some(&("\"a\"".to_string(), Answer::Done)));
    world.publish(1, "a", "2");
    // The stream to where the earlier one was is tried once more.
    world.now += Duration::from_secs(15);
    let now = world.now;
    assert!(!world.relays[1].handle_unreachable(now, own.id));
    world.act(1, Action::Call(own));
    world.settle();
    assert_eq!(world.heard[0].last().map(String::as_str), Some("2"));
}

#[test]
fn a_head_that_comes_back_gets_what_went_past_it() {
    let mut world = world_of(20);
    world.publish(20, "a", "0");
    world.settle();
    world.dead.insert(0);
    for number in ["1", "2"] {
        world.publish(20, "a", number);
        world.settle();
    }
    assert_eq!((world.heard[0].len(), world.heard[1].len()), (1, 3));
    world.dead.clear();
    world.act(20, Action::Call(world.relays[0].own));
    world.settle();
    assert_eq!(world.heard[0], ["0", "1", "2"], "and no word of any lost");
    assert_eq!(world.heard[1], ["0", "1", "2"]);
}

#[test]
fn what_is_next_does_not_overtake_what_is_to_be_delivered() {
    let mut world = World::new(2);
    let mut relay = Relay::new(world.relays[0].own, [8; 32]);
    let from = world.relays[1].own;
    let mut told = Vec::new();
    let texts = ["0", "2", "1", "3"];
    for (at, text) in texts.iter().enumerate() {
        let mut out = BytesMut::new();
        EventWriter::new(&topic("a")).write(&mut out, HashId(1), None, text.as_bytes());
        let origin = Origin { id: from.id, incarnation: 1, batch: at as u64 };
        let turn = Turn { line: 1, number: text.parse().expect("a number"), since: 0 };
        let body = Body::Events { origin, turn, part: 0, topic: topic("a"), count: 1, events: out.freeze() };
        let (head, tail) = body.write(at as u64 + 1);
        let frame = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        if let Received::Events(arrival) = relay.handle_frame(world.now, from, &frame).expect("good") {
            told.push(arrival);
        }
    }
    while let Some(action) = relay.next_action() {
        if let Action::Deliver(arrival) = action {
            told.push(arrival);
        }
    }
    told.iter().for_each(|arrival| world.hear(0, arrival));
    assert_eq!(world.heard[0], ["0", "1", "2", "3"]);
}
