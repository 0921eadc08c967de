//! Groups of which each event comes to one member in the whole grid.

use super::*;

const GROUP: &str = "jobs group=workers";

impl World {
    fn publish_all(&mut self, at: usize, numbers: core::ops::Range<u32>) {
        for number in numbers {
            self.publish(at, "jobs", &number.to_string());
            self.settle();
        }
    }

    /// What came to the group, in no order.
    fn dealt(&self, name: &str) -> Vec<u32> {
        let all = self.heard.iter().flatten();
        let of_it = all.filter_map(|said| said.strip_prefix(name)?.trim().parse().ok());
        let mut numbers: Vec<u32> = of_it.collect();
        numbers.sort_unstable();
        numbers
    }
}

#[test]
fn each_event_comes_to_one_server_of_each_group_and_to_all_others_that_want_it() {
    let mut world = World::new(7);
    for at in 0..4 {
        world.subscribe(at, GROUP);
    }
    world.subscribe(4, "jobs");
    // Another group, also of one of the same servers, and one by a pattern.
    for at in [3, 5] {
        world.subscribe(at, "jobs group=audit");
    }
    world.subscribe(1, "** group=all");
    world.settle();
    assert_eq!(world.answers[0], [("\"jobs\" group=workers".to_string(), Answer::Done)]);
    // Of a server with members, and of one without.
    world.publish_all(0, 0..100);
    world.publish_all(6, 100..200);
    let expected: Vec<u32> = (0..200).collect();
    for name in ["workers", "audit", "all"] {
        assert_eq!(world.dealt(name), expected, "{name}");
    }
    for at in 0..4 {
        let count = world.heard[at].iter().filter(|said| said.starts_with("workers")).count();
        assert!((20..100).contains(&count), "{at}: {count}");
    }
    let plain: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(world.heard[4], plain);
    assert!(world.heard[6].is_empty());
    assert!(world.relays.iter().all(|relay| relay.links.values().all(Link::is_empty)));
}

#[test]
fn several_events_of_one_batch_are_dealt_one_by_one() {
    let mut world = World::new(3);
    (0..2).for_each(|at| world.subscribe(at, GROUP));
    world.settle();
    world.publish_all(2, 0..1);
    let (mut out, writer) = (BytesMut::new(), EventWriter::new(&topic("jobs")));
    for number in 1..100 {
        writer.write(&mut out, HashId(number), None, number.to_string().as_bytes());
    }
    let now = world.now;
    world.relays[2].publish(now, &topic("jobs"), &out.freeze(), 99);
    world.settle();
    assert_eq!(world.dealt("workers"), (0..100).collect::<Vec<u32>>());
    assert!((0..2).all(|at| world.heard[at].len() > 20));
}

#[test]
fn the_share_of_a_server_that_dies_goes_to_the_others() {
    let mut world = World::new(5);
    (0..4).for_each(|at| world.subscribe(at, GROUP));
    world.settle();
    world.publish_all(4, 0..50);
    world.dead.insert(2);
    world.publish_all(4, 50..150);
    assert_eq!(world.dealt("workers"), (0..150).collect::<Vec<u32>>());
    // What it has taken and not acknowledged another one gets, too: at least once.
    let mut world = World::new(3);
    (0..2).for_each(|at| world.subscribe(at, GROUP));
    world.settle();
    world.publish_all(2, 0..1);
    world.paused.extend([0, 1]);
    (1..21).for_each(|number| world.publish(2, "jobs", &number.to_string()));
    world.run();
    let (now, first) = (world.now, world.relays[0].own);
    while world.relays[2].pop(first.id).is_some() {}
    world.paused.clear();
    world.dead.insert(0);
    assert!(!world.relays[2].handle_unreachable(now, first.id));
    for (at, server) in core::mem::take(&mut world.deferred) {
        world.act(at, Action::Call(server));
    }
    world.settle();
    assert_eq!(world.dealt("workers"), (0..21).collect::<Vec<u32>>());
}

#[test]
fn who_has_no_member_any_more_passes_a_share_on_and_who_may_not_hear_it_does() {
    let mut world = World::new(4);
    (0..3).for_each(|at| world.subscribe(at, GROUP));
    world.settle();
    world.publish_all(3, 0..1);
    // The list of the publishing server is older than this.
    world.relays[1].unwanted(wanted(GROUP));
    world.deaf.insert(2);
    world.settle();
    world.publish_all(3, 1..60);
    assert_eq!(world.dealt("workers"), (0..60).collect::<Vec<u32>>());
    assert!(world.heard[1].len() + world.heard[2].len() <= 1);
    assert!(world.relays.iter().all(|relay| relay.links.values().all(Link::is_empty)));
}

#[test]
fn members_at_the_publishing_server_do_not_wait_for_the_ring() {
    let mut world = World::new(2);
    world.is_ring_silent = true;
    world.subscribe(0, GROUP);
    world.publish(0, "jobs", "1");
    world.run();
    assert_eq!(world.heard[0], ["workers 1"]);
    world.is_ring_silent = false;
    world.subscribe(1, GROUP);
    for _ in 0..5 {
        world.pass(2);
        world.settle();
    }
    // It does not come a second time with the list.
    assert_eq!(world.dealt("workers"), [1]);
}

#[test]
fn a_share_of_a_server_that_lies_is_refused_or_comes_to_nobody() {
    let mut world = World::new(2);
    world.subscribe(0, GROUP);
    world.settle();
    let [own, liar] = [0, 1].map(|at| world.relays[at].own);
    let mut batch = 0;
    let mut take = |to: &str, events: &'static [u8], written: Option<&str>| {
        batch += 1;
        let origin = Origin { id: liar.id, incarnation: 1, batch };
        let mut out = BytesMut::from(events);
        if let Some(written) = written {
            EventWriter::new(&topic(written)).write(&mut out, HashId(1), None, b"1");
        }
        let (group, others, topic) = (Arc::new(wanted(to)), [own].into(), topic("jobs"));
        let body = Body::Share { origin, group, others, topic, count: 1, events: out.freeze() };
        let (head, tail) = body.write(1);
        let frame = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
        world.relays[0].begin(liar.id);
        world.relays[0].handle_frame(world.now, liar, &frame)
    };
    assert!(matches!(take(GROUP, b"", Some("jobs")), Ok(Received::Share(_))));
    assert_eq!(take(GROUP, b"", Some("other")), Ok(Received::Nothing));
    assert_eq!(take(GROUP, b"PUBLISH", None), Err(Misread::NoEvents));
    // To a group that is not here, with nobody else to go to.
    assert_eq!(take("jobs group=others", b"", Some("jobs")), Ok(Received::Nothing));
    assert!(matches!(take("jobs", b"", Some("jobs")), Err(Misread::Frame(FrameError::Malformed))));
}
