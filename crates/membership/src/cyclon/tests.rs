extern crate std;
use core::mem::size_of;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;
use xtreem_base::{Duration, Rng};

use super::*;
use crate::message::PEERS_MAX;
use crate::view::VIEW_MAX;

#[derive(Default)]
struct Sent {
    sent: Vec<(Handle, Message)>,
    failed: Vec<Handle>,
    answered: Vec<Handle>,
}

impl xtreem_base::Sink<Message> for Sent {
    fn send(&mut self, to: Handle, msg: Message) {
        self.sent.push((to, msg));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.failed.push(peer);
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.answered.push(peer);
    }
}

fn h(number: u32) -> Handle {
    Handle::from_u32(number)
}

fn node(me: u32) -> Cyclon {
    Cyclon::new(&Config::default(), h(me), Rng::derive(1, u64::from(me), "test"), Instant::ZERO)
}

fn seeded(me: u32, peers: impl IntoIterator<Item = u32>) -> Cyclon {
    let mut node = node(me);
    peers.into_iter().for_each(|peer| node.seed(&Config::default(), h(peer)));
    node
}

fn view_of(node: &Cyclon) -> BTreeSet<u32> {
    node.view().map(|(handle, _)| handle.as_u32()).collect()
}

/// A handful of nodes whose messages arrive after 50 ms, in order.
#[derive(Default)]
struct World {
    nodes: BTreeMap<Handle, Cyclon>,
    wire: BTreeMap<(Instant, u32), (Handle, Handle, Message)>,
    sent: u32,
    /// Nodes on different sides do not hear each other.
    side: BTreeMap<Handle, u8>,
    faults: u32,
}

impl World {
    fn carry(&mut self, now: Instant, from: Handle, sink: Sent) {
        for (to, msg) in sink.sent {
            self.sent += 1;
            self.wire.insert((now + Duration::from_millis(50), self.sent), (from, to, msg));
        }
    }

    fn join(&mut self, now: Instant, me: u32, contact: u32) {
        let (mut newcomer, mut sink) = (node(me), Sent::default());
        newcomer.next_shuffle = now + (newcomer.next_shuffle.since(Instant::ZERO));
        newcomer.join(Call::new(&Config::default(), now), h(contact), &mut sink);
        self.nodes.insert(h(me), newcomer);
        self.carry(now, h(me), sink);
    }

    fn run(&mut self, until: Instant) {
        let config = Config::default();
        loop {
            let timer =
                self.nodes.iter().map(|(&handle, node)| (node.next_timeout(&config).at, handle)).min();
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at).unwrap_or(Instant::FAR);
            let (due, handle) = timer.unwrap_or((Instant::FAR, Handle::NONE));
            let mut sink = Sent::default();
            if arrival.min(due) > until {
                return;
            } else if arrival <= due {
                let Some((_, (from, to, msg))) = self.wire.pop_first() else { return };
                let same_side = self.side.get(&from) == self.side.get(&to);
                let Some(node) = self.nodes.get_mut(&to).filter(|_| same_side) else { continue };
                self.faults += u32::from(
                    node.handle_message(Call::new(&config, arrival), from, msg, &mut sink).is_err(),
                );
                self.carry(arrival, to, sink);
            } else if let Some(node) = self.nodes.get_mut(&handle) {
                node.handle_timeout(Call::new(&config, due), &mut sink);
                assert!(node.next_timeout(&config).at > due, "a timer that does not move on");
                self.carry(due, handle, sink);
            }
        }
    }
}

fn secs(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

#[test]
fn a_node_and_a_message_are_small() {
    assert!(size_of::<Cyclon>() <= 192, "{}", size_of::<Cyclon>());
    assert!(size_of::<Message>() <= 64, "{}", size_of::<Message>());
}

#[test]
fn a_shuffle_turns_the_link_to_the_oldest_round() {
    let config = Config::default();
    let mut a = seeded(1, 10..29);
    a.view.grow_older();
    a.seed(&config, h(2));
    for _ in 0..2 {
        a.view.grow_older();
    }
    for young in 10..29 {
        a.view.refresh(h(young));
    }
    let mut b = seeded(2, 50..70);
    let (mut from_a, mut from_b) = (Sent::default(), Sent::default());
    a.handle_timeout(Call::new(&config, secs(10)), &mut from_a);
    let (to, shuffle) = from_a.sent[0];
    let Message::Shuffle { peers, .. } = shuffle else { panic!("{shuffle:?}") };
    assert_eq!((to, peers.len()), (h(2), 7));
    assert!(!view_of(&a).contains(&2));
    assert_eq!(b.handle_message(Call::new(&config, secs(10)), h(1), shuffle, &mut from_b), Ok(()));
    assert!(view_of(&b).contains(&1));
    let (to, reply) = from_b.sent[0];
    let Message::ShuffleReply { peers: given, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((to, given.len()), (h(1), 8));
    assert_eq!(a.handle_message(Call::new(&config, secs(10)), h(2), reply, &mut from_a), Ok(()));
    assert_eq!(from_a.answered, [h(2)]);
    // Eight links went each way; none was lost and none doubled.
    let all: Vec<u32> = view_of(&a).into_iter().chain(view_of(&b)).collect();
    let mut expected: Vec<u32> = (10..29).chain(50..70).chain([1]).collect();
    let mut sorted = all.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    assert!(given.handles().iter().all(|handle| view_of(&a).contains(&handle.as_u32())));
}

#[test]
fn three_silent_contacts_are_tried_in_a_round_and_remembered() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(1, 10..20), Sent::default());
    for _ in 0..3 {
        node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    }
    assert_eq!(sink.sent.len(), 3);
    node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    assert_eq!(sink.sent.len(), 3, "the third was the last of the round");
    assert_eq!(sink.failed.len(), 3);
    assert_eq!(node.remembered().collect::<BTreeSet<_>>(), sink.failed.into_iter().collect());
    assert_eq!(view_of(&node).len(), 7);
}

#[test]
fn late_strange_and_repeated_answers_are_faults_and_change_nothing() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(1, [10, 11]), Sent::default());
    node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    let (contact, Message::Shuffle { seq, .. }) = sink.sent[0] else { panic!("a shuffle") };
    let peers = Peers::from_iter([Peer { handle: h(66), age: 0 }]);
    let other = if contact == h(10) { h(11) } else { h(10) };
    let before = view_of(&node);
    let wrong = [
        (other, Message::ShuffleReply { seq, peers }, Fault::Unsolicited),
        (contact, Message::ShuffleReply { seq: seq.wrapping_add(1), peers }, Fault::Unsolicited),
        (contact, Message::Pong { seq }, Fault::Unsolicited),
        (contact, Message::Welcome { replaced: None }, Fault::Unsolicited),
        (contact, Message::Walk { joiner: h(7), ttl: 17 }, Fault::WalkTooLong(17)),
        (h(1), Message::Join, Fault::FromMyself),
        (
            contact,
            Message::Shuffle { seq, peers: (90..98).map(|i| Peer { handle: h(i), age: 0 }).collect() },
            Fault::TooManyPeers(8),
        ),
    ];
    for (from, msg, fault) in wrong {
        assert_eq!(node.handle_message(Call::new(&config, secs(1)), from, msg, &mut sink), Err(fault));
    }
    assert_eq!((view_of(&node), sink.sent.len()), (before, 1));
    let reply = Message::ShuffleReply { seq, peers };
    assert_eq!(node.handle_message(Call::new(&config, secs(1)), contact, reply, &mut sink), Ok(()));
    assert_eq!(
        node.handle_message(Call::new(&config, secs(1)), contact, reply, &mut sink),
        Err(Fault::Unsolicited)
    );
    assert!(view_of(&node).contains(&66));
}

#[test]
fn a_shuffle_is_answered_while_an_own_one_is_open() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(1, [10, 11]), Sent::default());
    node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    let contact = sink.sent[0].0;
    let crossing = Message::Shuffle { seq: 9, peers: Peers::EMPTY };
    assert_eq!(node.handle_message(Call::new(&config, secs(1)), contact, crossing, &mut sink), Ok(()));
    assert!(matches!(sink.sent[1], (to, Message::ShuffleReply { seq: 9, .. }) if to == contact));
    let seq = node.seq;
    let reply = Message::ShuffleReply { seq, peers: Peers::EMPTY };
    assert_eq!(node.handle_message(Call::new(&config, secs(1)), contact, reply, &mut sink), Ok(()));
    assert_eq!(view_of(&node), [10, 11].into());
}

/// Neighbours of a node with a full view of 1 to 20 that are left after these messages, all in one round.
fn left_of_twenty(node: &mut Cyclon, messages: impl IntoIterator<Item = (u32, Message)>) -> usize {
    let config = Config::default();
    for (from, message) in messages {
        let heard =
            node.handle_message(Call::new(&config, Instant::ZERO), h(from), message, &mut Sent::default());
        assert_eq!(heard, Ok(()));
    }
    view_of(node).into_iter().filter(|peer| *peer <= 20).count()
}

#[test]
fn nobody_fills_a_view_with_contacts_that_are_not_there() {
    let shuffle = |nth: u32| {
        let invented = |i| Peer { handle: h(1_000 + nth * 10 + i), age: 0 };
        Message::Shuffle { seq: nth as u16, peers: (0..7).map(invented).collect() }
    };
    let walk = |nth: u32| Message::Walk { joiner: h(1_000 + nth), ttl: 0 };
    // One who insists, whose own entry may be pushed out by what it brings.
    let left = left_of_twenty(&mut seeded(100, 1..=20), (0..2).map(|nth| (500, shuffle(nth))));
    assert!(left >= 12, "{left}: one exchange changes eight");
    let walks = |count: u32| (0..count).map(|nth| (500, walk(nth)));
    assert_eq!(left_of_twenty(&mut seeded(100, 1..=20), walks(1_000)), 20 - usize::from(TAKEN_MAX));
    // A hundred who do: the view is theirs, and no more of it is changed.
    let mut node = seeded(100, 1..=20);
    left_of_twenty(&mut node, (0..100).map(|nth| (500 + nth, shuffle(nth))));
    assert_eq!(node.taken(), TAKEN_MAX);
}

#[test]
fn where_the_first_contact_is_silent_one_that_is_there_is_asked_before_all_others() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(100, 1..=20), Sent::default());
    let mut step = |node: &mut Cyclon| {
        let now = node.next_timeout(&config).at;
        node.handle_timeout(Call::new(&config, now), &mut sink);
        let asked = |(to, message): &(Handle, Message)| {
            matches!(message, Message::Shuffle { .. }).then_some(to.as_u32())
        };
        sink.sent.iter().filter_map(asked).collect::<Vec<_>>()
    };
    assert_eq!(step(&mut node).len(), 1);
    assert!(!node.has_vacancy(), "it may answer yet");
    assert_eq!(step(&mut node).len(), 2);
    assert!(node.has_vacancy() && !node.has_vacancy(), "said once");
    node.prefer(&config, h(77));
    assert_eq!(step(&mut node)[2..], [77]);
    step(&mut node);
    assert!(!node.has_vacancy(), "once a round");
    // A view without room gives a place.
    let mut full = seeded(100, 1..=20);
    full.prefer(&config, h(77));
    assert!(view_of(&full).contains(&77) && view_of(&full).len() == 20);
}

#[test]
fn two_nodes_find_each_other_again_and_again() {
    let mut world = World::default();
    world.nodes.insert(h(1), node(1));
    world.join(secs(5), 2, 1);
    world.run(secs(1_000));
    assert_eq!(view_of(&world.nodes[&h(1)]), [2].into());
    assert_eq!(view_of(&world.nodes[&h(2)]), [1].into());
    assert_eq!(world.faults, 0);
}

#[test]
fn two_that_ask_each_other_at_the_same_time_know_each_other_all_the_while() {
    let config = Config::default();
    for (me, other) in [(1, 2), (2, 1)] {
        let (mut node, mut sink) = (seeded(me, [other]), Sent::default());
        node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
        assert!(matches!(sink.sent[..], [(to, Message::Shuffle { .. })] if to == h(other)));
        assert_eq!(view_of(&node), [].into(), "the link turns round");
        assert_eq!(node.contacts().collect::<Vec<_>>(), [h(other)]);
        assert_eq!(node.sample(3), [h(other)]);
    }
}

#[test]
fn who_has_few_others_forgets_none_of_them_for_all_the_dead_that_it_remembers() {
    let config = Config::default();
    for seed in 0..50 {
        let mut sink = Sent::default();
        let mut node = Cyclon::new(&config, h(1), Rng::new(seed), Instant::ZERO);
        (10..50).for_each(|dead| node.remembered.add_lost(&mut Rng::new(seed), h(dead)));
        node.seed(&config, h(2));
        while sink.failed.is_empty() {
            node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
        }
        assert!(node.remembered().any(|peer| peer == h(2)), "seed {seed}");
    }
}

#[test]
fn the_survivor_of_two_keeps_trying_the_other() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(1, [2]), Sent::default());
    for _ in 0..100 {
        node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    }
    assert_eq!(sink.failed, [h(2)]);
    assert_eq!(view_of(&node), [].into());
    let Some(&(to, Message::Ping { seq })) = sink.sent.last() else { panic!("a ping") };
    assert_eq!(to, h(2));
    assert_eq!(
        node.handle_message(Call::new(&config, secs(5_000)), h(2), Message::Pong { seq }, &mut sink),
        Ok(())
    );
    assert_eq!(view_of(&node), [2].into());
    assert_eq!((node.remembered().count(), node.next_timeout(&config).at), (0, secs(5_000)));
}

#[test]
fn a_join_is_repeated_until_somebody_is_known() {
    let mut world = World::default();
    world.join(secs(0), 2, 1);
    world.run(secs(60));
    assert_eq!(view_of(&world.nodes[&h(2)]), [].into());
    world.nodes.insert(h(1), node(1));
    world.run(secs(63));
    assert_eq!(view_of(&world.nodes[&h(2)]), [1].into());
}

#[test]
fn newcomers_of_a_small_collection_come_to_know_everybody_and_the_dead_are_not_handed_round() {
    let mut world = World::default();
    world.nodes.insert(h(0), node(0));
    for newcomer in 1..8 {
        world.join(secs(u64::from(newcomer)), newcomer, newcomer / 2);
    }
    world.run(secs(150));
    for (me, node) in &world.nodes {
        let others: BTreeSet<u32> = (0..8).filter(|&other| h(other) != *me).collect();
        assert_eq!(view_of(node), others, "{me:?}");
    }
    world.nodes.remove(&h(3));
    world.nodes.remove(&h(4));
    world.run(secs(300));
    for (me, node) in &world.nodes {
        let others: BTreeSet<u32> = [0, 1, 2, 5, 6, 7].into_iter().filter(|&other| h(other) != *me).collect();
        assert_eq!(view_of(node), others, "{me:?}");
    }
}

#[test]
fn a_split_collection_merges_by_itself() {
    let mut world = World::default();
    world.nodes.insert(h(0), node(0));
    for newcomer in 1..12 {
        world.join(secs(0), newcomer, 0);
    }
    world.run(secs(200));
    world.side = (0..12).map(|i| (h(i), u8::from(i >= 9))).collect();
    world.run(secs(3_800));
    for (me, node) in &world.nodes {
        assert!(view_of(node).iter().all(|&other| (other >= 9) == (me.as_u32() >= 9)), "{me:?}");
    }
    world.side.clear();
    world.run(secs(4_400));
    for node in world.nodes.values() {
        assert_eq!(view_of(node).len(), 11);
    }
}

#[test]
fn a_walk_ends_where_it_must_and_makes_room() {
    let config = Config::default();
    let (mut full, mut sink) = (seeded(1, 10..30), Sent::default());
    let walk = Message::Walk { joiner: h(99), ttl: 2 };
    assert_eq!(full.handle_message(Call::new(&config, secs(1)), h(10), walk, &mut sink), Ok(()));
    assert!(matches!(sink.sent[0], (to, Message::Walk { ttl: 1, .. }) if to != h(10) && to != h(99)));
    let walk = Message::Walk { joiner: h(99), ttl: 0 };
    assert_eq!(full.handle_message(Call::new(&config, secs(1)), h(10), walk, &mut sink), Ok(()));
    let (to, Message::Welcome { replaced: Some(peer) }) = sink.sent[1] else { panic!("{:?}", sink.sent) };
    assert_eq!(to, h(99));
    assert!(view_of(&full).contains(&99) && !view_of(&full).contains(&peer.handle.as_u32()));
    let (mut lonely, mut sink) = (seeded(1, [10]), Sent::default());
    let walk = Message::Walk { joiner: h(99), ttl: 5 };
    assert_eq!(lonely.handle_message(Call::new(&config, secs(1)), h(10), walk, &mut sink), Ok(()));
    assert_eq!(sink.sent, [(h(99), Message::Welcome { replaced: None })]);
}

#[test]
fn a_forgotten_peer_leaves_no_trace() {
    let config = Config::default();
    let (mut node, mut sink) = (seeded(1, 10..20), Sent::default());
    node.remember(h(42));
    node.handle_timeout(Call::new(&config, node.next_timeout(&config).at), &mut sink);
    node.join(Call::new(&config, secs(12)), h(43), &mut sink);
    for peer in (10..20).chain([42, 43]) {
        node.handle_gone(Call::new(&config, secs(12)), h(peer));
    }
    let mut kept = Vec::new();
    node.for_each_handle(&mut |handle| kept.push(handle));
    assert_eq!(kept, [h(1)]);
    node.handle_timeout(Call::new(&config, secs(14)), &mut sink);
    assert_eq!(sink.failed, []);
}

#[test]
fn samples_are_distinct_neighbours() {
    let mut node = seeded(1, 10..30);
    for (count, expected) in [(0, 0), (5, 5), (20, 20), (1_000, 20)] {
        let sample: BTreeSet<Handle> = node.sample(count).into_iter().collect();
        assert_eq!(sample.len(), expected);
        assert!(sample.iter().all(|handle| view_of(&node).contains(&handle.as_u32())));
    }
}

fn any_peers() -> impl Strategy<Value = Peers> {
    prop::collection::vec((0u32..40, any::<u16>()), 0..=PEERS_MAX).prop_map(|peers| {
        let handle = |number| if number == 39 { Handle::NONE } else { h(number) };
        peers.into_iter().map(|(number, age)| Peer { handle: handle(number), age }).collect()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    // Sequence numbers stay near the start so that some answers fit.
    let seq = (0u16..4).prop_map(|offset| node(1).seq.wrapping_add(offset));
    prop_oneof![
        (seq.clone(), any_peers()).prop_map(|(seq, peers)| Message::Shuffle { seq, peers }),
        (seq.clone(), any_peers()).prop_map(|(seq, peers)| Message::ShuffleReply { seq, peers }),
        Just(Message::Join),
        (0u32..40, 0u8..20).prop_map(|(joiner, ttl)| Message::Walk { joiner: h(joiner), ttl }),
        prop::option::of((0u32..40, any::<u16>()))
            .prop_map(|peer| peer.map(|(handle, age)| Peer { handle: h(handle), age }))
            .prop_map(|replaced| Message::Welcome { replaced }),
        seq.clone().prop_map(|seq| Message::Ping { seq }),
        seq.prop_map(|seq| Message::Pong { seq }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Message(u32, Message),
    Timeout,
    Join(u32),
    Seed(u32),
    Remember(u32),
    Forget(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u32..40, any_message()).prop_map(|(from, msg)| Step::Message(from, msg)),
        3 => Just(Step::Timeout),
        1 => (0u32..40).prop_map(Step::Join),
        1 => (0u32..40).prop_map(Step::Seed),
        1 => (0u32..40).prop_map(Step::Remember),
        1 => (0u32..40).prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_view_stays_a_set_without_its_owner(
        steps in prop::collection::vec(any_step(), 1..200),
        view_size in 1u8..=30,
    ) {
        let config = Config { view_size, ..Config::default() };
        let mut node = Cyclon::new(&config, h(1), Rng::new(7), Instant::ZERO);
        let mut now = Instant::ZERO;
        for step in steps {
            let mut sink = Sent::default();
            match step {
                Step::Message(from, msg) => {
                    let before = view_of(&node);
                    if node.handle_message(Call::new(&config, now), h(from), msg, &mut sink).is_err() {
                        prop_assert_eq!(view_of(&node), before);
                        prop_assert!(sink.sent.is_empty());
                    }
                }
                Step::Timeout => {
                    now = now.max(node.next_timeout(&config).at);
                    node.handle_timeout(Call::new(&config, now), &mut sink);
                    prop_assert!(node.next_timeout(&config).at > now);
                }
                Step::Join(contact) => node.join(Call::new(&config, now), h(contact), &mut sink),
                Step::Seed(contact) => node.seed(&config, h(contact)),
                Step::Remember(contact) => node.remember(h(contact)),
                Step::Forget(peer) => node.handle_gone(Call::new(&config, now), h(peer)),
            }
            let view: Vec<u32> = node.view().map(|(handle, _)| handle.as_u32()).collect();
            prop_assert_eq!(view_of(&node).len(), view.len());
            prop_assert!(view.len() <= usize::from(view_size).min(VIEW_MAX));
            prop_assert!(!view.contains(&1) && !view.contains(&Handle::NONE.as_u32()));
            let lost: BTreeSet<Handle> = node.remembered().collect();
            prop_assert!(lost.len() == node.remembered().count() && !lost.contains(&h(1)));
            prop_assert!(sink.sent.iter().all(|(to, _)| *to != h(1) && *to != Handle::NONE));
        }
    }
}
