extern crate std;
use std::format;
use std::vec::Vec;

use proptest::prelude::*;
use xtreem_base::{NodeId, Rng};

use super::*;
use crate::{Key, Position};

mod codec;
mod rankings;

/// What a call brought, and whom it meets when it asks for anybody.
#[derive(Default)]
struct Out {
    sent: Vec<(Handle, Message<Position>)>,
    silent: Vec<Handle>,
    answered: Vec<Handle>,
    events: usize,
    anybody: Option<Handle>,
}

impl Sink<Message<Position>> for Out {
    fn send(&mut self, to: Handle, message: Message<Position>) {
        self.sent.push((to, message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.answered.push(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl Sampler for Out {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.anybody
    }
}

impl Events<Event> for Out {
    fn event(&mut self, _: Event) {
        self.events += 1;
    }
}

fn h(number: u32) -> Handle {
    Handle::from_u32(number)
}

/// A node's number is its place: they stand in this order.
fn at(number: u32) -> Position {
    let key = Key::from_bytes(&[&[1], &number.to_be_bytes()[..]].concat()).expect("short");
    let id = u128::from(number).to_be_bytes();
    Position::new(key, NodeId::from_bytes(id))
}

fn call(config: &Config, millis: u64) -> Call<'_, Config> {
    Call::new(config, Instant::from_millis(millis))
}

fn node(config: &Config, me: u32) -> TMan<Ring> {
    TMan::new(config, Ring, h(me), at(me), Rng::derive(1, me.into(), "test"), Instant::ZERO)
}

fn knowing(config: &Config, me: u32, others: impl IntoIterator<Item = u32>) -> TMan<Ring> {
    let mut node = node(config, me);
    others.into_iter().for_each(|other| {
        node.learn(call(config, 0), h(other), at(other));
    });
    node
}

fn side(node: &TMan<Ring>, side: Side) -> Vec<u32> {
    node.neighbours(side).map(|peer| peer.handle.as_u32()).collect()
}

fn told(number: u32, age: u16) -> Descriptor<Position> {
    Descriptor { handle: h(number), profile: at(number), age }
}

fn message(kind: Kind, seq: u16, from: u32, peers: Vec<Descriptor<Position>>) -> Message<Position> {
    Message { kind, seq, profile: at(from), bounds: Vec::new(), peers }
}

/// Lets a node do what is due until then; what it says goes nowhere.
fn play(node: &mut TMan<Ring>, config: &Config, until: u64, out: &mut Out) {
    while node.next_timeout(config).at <= Instant::from_millis(until) {
        let now = node.next_timeout(config).at;
        node.handle_timeout(Call::new(config, now), out);
    }
}

/// One exchange that `a` begins with `b`, whatever they have open. What each sent.
fn exchange(
    config: &Config,
    now: u64,
    a: &mut TMan<Ring>,
    b: &mut TMan<Ring>,
) -> [Vec<Descriptor<Position>>; 2] {
    let (mut asked, mut answered) = (Out::default(), Out::default());
    let (from, to) = (a.me, b.me);
    a.ask(call(config, now), to, &mut asked);
    let (_, question) = asked.sent.remove(0);
    let told = question.peers.clone();
    b.handle_message(call(config, now), from, question, &mut answered).expect("a sound question");
    let (_, answer) = answered.sent.remove(0);
    let back = answer.peers.clone();
    a.handle_message(call(config, now), to, answer, &mut asked).expect("a sound answer");
    [told, back]
}

#[test]
fn both_sides_are_kept_and_what_is_left_lies_spread() {
    let config = Config { view_size: 12, far: 4, ..Config::default() };
    let node = knowing(&config, 1_000, (0..2_000).rev().filter(|other| *other != 1_000));
    let after = side(&node, Side::After);
    assert_eq!(after[..4], [1_001, 1_002, 1_003, 1_004]);
    assert_eq!(side(&node, Side::Before)[..4], [999, 998, 997, 996]);
    assert_eq!(node.len(), 12);
    let far = &after[4..8];
    assert!(far.iter().any(|peer| peer.abs_diff(1_000) > 100), "{far:?}");
}

proptest! {
    #[test]
    fn the_nearest_of_all_that_was_heard_of_are_kept(
        me in 0u32..500,
        heard in prop::collection::vec(0u32..500, 0..200),
        view_size in 2u8..50,
        far in 0u8..20,
    ) {
        let config = Config { view_size, far, ..Config::default() };
        let node = knowing(&config, me, heard.iter().copied());
        let mut others = heard.clone();
        others.sort_unstable();
        others.dedup();
        others.retain(|other| *other != me);
        let after = others.partition_point(|other| *other < me);
        let share = config.share(2).min(others.len());
        let around = |way: isize| -> Vec<u32> {
            let len = others.len() as isize;
            let first = if way > 0 { after as isize } else { after as isize - 1 };
            (0..share as isize).map(|i| others[(first + way * i).rem_euclid(len) as usize]).collect()
        };
        prop_assert_eq!(&side(&node, Side::After)[..share], &around(1)[..]);
        prop_assert_eq!(&side(&node, Side::Before)[..share], &around(-1)[..]);
        prop_assert_eq!(node.len(), others.len().min(config.view_limit()));
        let mut kept = side(&node, Side::After);
        let mut backwards = side(&node, Side::Before);
        backwards.reverse();
        prop_assert_eq!(&kept, &backwards);
        kept.sort_unstable();
        kept.dedup();
        prop_assert_eq!(kept.len(), node.len());
    }

    /// Whatever comes and goes, nobody is told of what it knows, of itself, or of more than a message holds.
    #[test]
    fn only_what_the_other_lacks_is_sent(
        mine in prop::collection::vec(0u32..300, 0..80),
        its in prop::collection::vec(0u32..300, 0..80),
        gone in prop::collection::vec(0u32..300, 0..20),
        message_peers in 1u8..=20,
    ) {
        let config = Config { view_size: 30, far: 6, message_peers, ..Config::default() };
        let mut a = knowing(&config, 50, mine);
        let mut b = knowing(&config, 60, its);
        a.learn(call(&config, 0), h(60), at(60));
        for peer in gone.into_iter().filter(|peer| *peer != 60) {
            a.handle_gone(call(&config, 0), h(peer));
        }
        let most = usize::from(message_peers);
        for round in 0..30 {
            let wanted = side(&b, Side::After);
            let before = side(&a, Side::After);
            let [asked, answered] = exchange(&config, round, &mut a, &mut b);
            prop_assert!(asked.len() <= most && answered.len() <= most);
            for peer in &answered {
                prop_assert!(wanted.contains(&peer.handle.as_u32()) && peer.handle != h(50));
                let is_again = asked.iter().any(|told| told.handle == peer.handle);
                prop_assert!(!is_again, "{:?} came back", peer.handle);
            }
            prop_assert!(asked.iter().all(|peer| before.contains(&peer.handle.as_u32())));
        }
        let silence = exchange(&config, 30, &mut a, &mut b);
        prop_assert_eq!(silence, [Vec::new(), Vec::new()], "nothing is told twice");
        // Both know the nearest of both: each is in the other's view.
        let nearest = |node: &TMan<Ring>| side(node, Side::After)[0];
        prop_assert_eq!(nearest(&a).min(60), nearest(&a));
    }

    #[test]
    fn no_message_makes_a_node_panic_and_faults_change_nothing(
        peers in prop::collection::vec((0u32..8, 0u32..8, any::<u16>()), 0..24),
        from in 0u32..8,
        claimed in 0u32..8,
        kind in prop::sample::select(&[Kind::Ask, Kind::AskAgain, Kind::Answer][..]),
        bounds in prop::collection::vec(0u32..8, 0..4),
    ) {
        let config = Config { view_size: 4, far: 2, ..Config::default() };
        let mut node = knowing(&config, 3, [1, 2, 4]);
        let before = format!("{node:?}");
        let peers = peers.into_iter().map(|(handle, place, age)| Descriptor {
            handle: h(handle),
            profile: at(place),
            age,
        });
        let bounds = bounds.into_iter().map(at).collect();
        let hostile = Message { kind, seq: 0, profile: at(claimed), bounds, peers: peers.collect() };
        let mut out = Out::default();
        if node.handle_message(call(&config, 1), h(from), hostile, &mut out).is_err() {
            prop_assert_eq!(format!("{node:?}"), before);
            prop_assert!(out.sent.is_empty());
        }
        prop_assert!(node.len() <= 4 && !side(&node, Side::After).contains(&3));
    }
}

#[test]
fn wrong_messages_are_named() {
    let config = Config::default();
    let ask = |peers| message(Kind::Ask, 1, 2, peers);
    let twice = ask([told(5, 1), told(5, 2)].into());
    let many = ask((10..31).map(|peer| told(peer, 1)).collect());
    let bounded = |count| Message { bounds: (0..count).map(|at_| at(40 + at_)).collect(), ..ask(Vec::new()) };
    let stolen = ask([Descriptor { handle: h(9), profile: at(1), age: 1 }].into());
    let cases = [
        (1, ask(Vec::new()), Fault::FromMyself),
        (u32::MAX, ask(Vec::new()), Fault::FromMyself),
        (2, many, Fault::TooManyPeers(21)),
        (2, ask([told(1, 1)].into()), Fault::NoNews),
        (2, ask([told(2, 1)].into()), Fault::NoNews),
        (2, twice, Fault::ToldTwice),
        (2, bounded(1), Fault::WrongBounds(1)),
        (2, bounded(3), Fault::WrongBounds(3)),
        (2, stolen, Fault::ImpossibleProfile),
        (2, message(Kind::Ask, 1, 1, Vec::new()), Fault::ImpossibleProfile),
        (2, message(Kind::Answer, 1, 2, Vec::new()), Fault::Unsolicited),
    ];
    for (from, hostile, fault) in cases {
        let mut node = knowing(&config, 1, [3]);
        let result = node.handle_message(call(&config, 1), h(from), hostile, &mut Out::default());
        assert_eq!(result, Err(fault));
        assert_eq!(side(&node, Side::After), [3], "{fault}");
    }
}

#[test]
fn two_exchanges_are_begun_in_a_round_at_most() {
    for exchanges in [1, 2, 9] {
        let config = Config { exchanges, ..Config::default() };
        let mut node = knowing(&config, 50, 0..100);
        let mut out = Out::default();
        play(&mut node, &config, 40_000, &mut out);
        let begun = out.sent.iter().filter(|(_, message)| message.kind == Kind::Ask).count();
        let most = 20 * usize::from(exchanges.min(2));
        assert!(begun.abs_diff(most) <= 2, "{begun} of {most}");
    }
}

#[test]
fn who_does_not_answer_three_times_is_silent_and_forgotten_until_it_is_heard_of_again() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [2]);
    let mut out = Out::default();
    play(&mut node, &config, 2_500, &mut out);
    let kinds: Vec<Kind> = out.sent.iter().map(|(_, message)| message.kind).collect();
    assert_eq!(kinds[..3], [Kind::Ask, Kind::AskAgain, Kind::AskAgain]);
    assert_eq!((out.silent, node.len()), ([h(2)].into(), 0));
    play(&mut node, &config, 20_000, &mut Out::default());
    let mut tell = |of: u32, age| {
        let news = message(Kind::Ask, 1, 7, [told(of, age)].into());
        node.handle_message(call(&config, 20_001), h(7), news, &mut Out::default()).expect("a sound message");
        side(&node, Side::After).contains(&of)
    };
    assert!(!tell(2, 10), "it was alive before it fell silent here");
    assert!(tell(2, 3), "somebody heard it since");
    assert!(!tell(3, 40), "nobody has heard it for long");
    assert!(tell(3, 39));
}

#[test]
fn who_speaks_is_back_at_once() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [2]);
    node.handle_silent(call(&config, 0), h(2));
    assert!(!node.learn(call(&config, 0), h(2), at(2)) && node.is_empty());
    node.handle_message(call(&config, 1), h(2), message(Kind::Ask, 1, 2, Vec::new()), &mut Out::default())
        .expect("a sound message");
    assert!(node.neighbours(Side::After).next().is_some_and(|peer| peer.is_proven));
}

#[test]
fn what_a_peer_says_of_itself_stands_above_what_others_say() {
    let config = Config::default();
    let mut node = knowing(&config, 10, []);
    let mut hear = |from: u32, own: u32, peers| {
        let news = Message { profile: at(own), ..message(Kind::Ask, 1, from, peers) };
        node.handle_message(call(&config, 1), h(from), news, &mut Out::default()).expect("sound");
        node.neighbours(Side::After).map(|peer| peer.profile.clone()).collect::<Vec<_>>()
    };
    assert_eq!(hear(2, 20, Vec::new()), [at(20)]);
    let lie = Descriptor { handle: h(2), profile: at(11), age: 0 };
    assert_eq!(hear(3, 30, [lie].into()), [at(20), at(30)]);
    assert_eq!(hear(2, 40, Vec::new()), [at(30), at(40)], "it has moved");
}

#[test]
fn the_dead_are_told_to_nobody_after_a_while() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [2, 3]);
    for round in 0..60 {
        let mut peer = knowing(&config, 100 + round, []);
        let [_, answered] = exchange(&config, 0, &mut peer, &mut node);
        let has_told = answered.iter().any(|peer| peer.handle == h(2));
        assert_eq!(has_told, round < 39, "round {round}");
        node.view.grow_older();
    }
}

#[test]
fn other_neighbours_are_told_of_once_also_when_they_came_without_a_message() {
    let config = Config::default();
    let mut node = node(&config, 10);
    let due = |node: &mut TMan<Ring>| {
        let mut out = Out::default();
        if node.next_timeout(&config).at == Instant::from_millis(5) {
            node.handle_timeout(call(&config, 5), &mut out);
        }
        out.events
    };
    node.next_exchange = Instant::FAR;
    node.learn(call(&config, 5), h(20), at(20));
    assert_eq!((due(&mut node), due(&mut node)), (1, 0));
    node.learn(call(&config, 5), h(30), at(30));
    assert_eq!(due(&mut node), 1, "it is the nearest before");
    node.learn(call(&config, 5), h(25), at(25));
    assert_eq!(due(&mut node), 0, "neither side's nearest");
    node.handle_gone(call(&config, 5), h(20));
    assert_eq!(due(&mut node), 1);
    node.set_profile(call(&config, 5), at(27));
    assert_eq!((due(&mut node), side(&node, Side::After)), (1, [30, 25].into()));
}

#[test]
fn a_lost_answer_is_given_again_in_full() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [2, 3]);
    let mut ask = |kind| {
        let mut out = Out::default();
        node.handle_message(call(&config, 1), h(7), message(kind, 9, 7, Vec::new()), &mut out)
            .expect("sound");
        out.sent.remove(0).1.peers.len()
    };
    assert_eq!([ask(Kind::Ask), ask(Kind::Ask), ask(Kind::AskAgain)], [2, 0, 2]);
}

#[test]
fn bounds_leave_out_what_is_beyond_them() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [20, 30, 40, 50]);
    let question = Message { bounds: [at(45), at(25)].into(), ..message(Kind::Ask, 1, 35, Vec::new()) };
    let mut out = Out::default();
    node.handle_message(call(&config, 1), h(35), question, &mut out).expect("sound");
    let mut told: Vec<_> = out.sent[0].1.peers.iter().map(|peer| peer.handle.as_u32()).collect();
    told.sort_unstable();
    assert_eq!(told, [30, 40]);
}

#[test]
fn every_handle_that_is_kept_is_shown_and_nothing_of_who_is_gone() {
    let config = Config::default();
    let mut node = knowing(&config, 1, [2, 3]);
    let mut out = Out { anybody: Some(h(4)), ..Out::default() };
    play(&mut node, &config, 1_000, &mut out);
    node.handle_silent(call(&config, 1_000), h(3));
    let mut handles = Vec::new();
    node.for_each_handle(&mut |handle| handles.push(handle));
    assert!([1, 2, 3, 4].iter().all(|number| handles.contains(&h(*number))), "{handles:?}");
    for number in [2, 3, 4] {
        node.handle_gone(call(&config, 1_000), h(number));
    }
    node.handle_timeout(call(&config, 1_000), &mut Out::default());
    handles.clear();
    node.for_each_handle(&mut |handle| handles.push(handle));
    assert_eq!(handles, [h(1)]);
}
