//! One node's samples, and what a hostile peer can do to it.

use super::*;
use alloc::vec;

#[derive(Default)]
struct Out {
    sent: Vec<(Handle, Message)>,
    fresh: u32,
}

impl Sink<Message> for Out {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Sampler for Out {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.fresh += 1;
        Some(Handle::from_u32(self.fresh))
    }
}

const CONFIG: Config = Config { period: Duration::from_secs(10) };

fn call(now: Instant) -> Call<'static, Config> {
    Call::new(&CONFIG, now)
}

fn node() -> Coordinates {
    Coordinates::new(&CONFIG, Rng::new(5), Instant::ZERO)
}

fn at(x: i32) -> Coordinate {
    Coordinate { at: [x, 0, 0], error: 100_000, ..Coordinate::ORIGIN }
}

/// The node's next question, and when it was sent.
fn ask(node: &mut Coordinates, out: &mut Out) -> (Instant, Handle, u16) {
    loop {
        let now = node.next_timeout(&CONFIG).at;
        node.handle_timeout(call(now), out);
        if let Some((peer, Message::Ask { seq })) = out.sent.pop() {
            return (now, peer, seq);
        }
    }
}

#[test]
fn distances_come_to_match_round_trips() {
    let (mut node, mut out) = (node(), Out::default());
    let millis = |millis| Coordinate::length_of(Duration::from_millis(millis)) as i32;
    for _ in 0..200 {
        let (now, peer, seq) = ask(&mut node, &mut out);
        // Everybody else stands in one place, 40 ms away.
        let answer = Message::Answer { seq, coordinate: at(0) };
        node.handle_message(call(now + Duration::from_millis(40)), peer, answer, &mut out).unwrap();
    }
    let told = node.coordinate().round_trip(&at(0)).as_millis();
    assert!((38..=42).contains(&told), "{told} ms");
    assert!(node.coordinate().error < 100_000, "{:?}", node.coordinate());
    assert!(node.coordinate().height < millis(40));
}

#[test]
fn a_single_slow_answer_of_a_known_peer_moves_nobody() {
    let mut neighbour = Neighbour::new(Handle::from_u32(1));
    for (sample, median) in [(40, 40), (900, 40), (42, 42), (41, 42), (43, 42)] {
        neighbour.push(sample);
        assert_eq!(neighbour.median(), median);
    }
}

#[test]
fn answers_that_nobody_asked_for_and_coordinates_out_of_bounds_are_faults() {
    let (mut node, mut out) = (node(), Out::default());
    let (now, peer, seq) = ask(&mut node, &mut out);
    let before = node.coordinate();
    let huge = Coordinate { at: [i32::MAX; 3], ..at(0) };
    let table = [
        (Handle::from_u32(99), seq, at(0), Fault::Unasked),
        (peer, seq.wrapping_add(1), at(0), Fault::Unasked),
        (peer, seq, huge, Fault::OutOfBounds),
        (peer, seq, Coordinate { height: -1, ..at(0) }, Fault::OutOfBounds),
        (peer, seq, Coordinate { error: u32::MAX, ..at(0) }, Fault::OutOfBounds),
    ];
    for (from, seq, coordinate, fault) in table {
        let answer = Message::Answer { seq, coordinate };
        assert_eq!(node.handle_message(call(now), from, answer, &mut out), Err(fault));
        assert_eq!(node.coordinate(), before);
    }
    let answer = Message::Answer { seq, coordinate: at(0) };
    assert_eq!(node.handle_message(call(now), peer, answer, &mut out), Ok(()));
    assert_eq!(node.handle_message(call(now), peer, answer, &mut out), Err(Fault::Unasked));
}

#[test]
fn one_word_from_the_end_of_the_world_moves_a_node_by_no_more_than_the_bound() {
    let (mut node, mut out) = (node(), Out::default());
    let (now, peer, seq) = ask(&mut node, &mut out);
    let before = node.coordinate();
    let coordinate = Coordinate { error: 0, ..at(Coordinate::LENGTH_MAX) };
    node.handle_message(call(now), peer, Message::Answer { seq, coordinate }, &mut out).unwrap();
    let moved = before.plane_distance(&node.coordinate());
    assert!(moved <= Coordinate::length_of(Duration::from_millis(101)), "{moved}");
    assert!(node.coordinate().is_within_bounds());
}

#[test]
fn any_answers_keep_a_node_within_bounds() {
    let (mut node, mut out) = (node(), Out::default());
    let mut rng = Rng::new(9);
    let ends = [-Coordinate::LENGTH_MAX, -1, 0, 1, Coordinate::LENGTH_MAX];
    let heights = [Coordinate::HEIGHT_MIN, Coordinate::LENGTH_MAX];
    for _ in 0..2_000 {
        let (now, peer, seq) = ask(&mut node, &mut out);
        let mut end = || ends[rng.below(5) as usize];
        let (at, adjustment) = ([end(), end(), end()], end());
        let height = heights[rng.below(2) as usize];
        let coordinate = Coordinate { at, height, adjustment, error: rng.below(Coordinate::ERROR_MAX + 1) };
        let later = now + Duration::from_micros(rng.between(0, 1_900_000));
        node.handle_message(call(later), peer, Message::Answer { seq, coordinate }, &mut out).unwrap();
        assert!(node.coordinate().is_within_bounds(), "{:?}", node.coordinate());
    }
}

#[test]
fn an_answer_that_takes_longer_than_a_round_still_counts() {
    let (mut node, mut out) = (node(), Out::default());
    let (now, peer, seq) = ask(&mut node, &mut out);
    let next = node.next_timeout(&CONFIG).at;
    assert!(next < now + ROUND_TRIP_MAX);
    node.handle_timeout(call(next), &mut out);
    assert!(out.sent.is_empty(), "one question at a time");
    let answer = Message::Answer { seq, coordinate: at(0) };
    assert_eq!(node.handle_message(call(next), peer, answer, &mut out), Ok(()));
}

#[test]
fn silent_peers_are_forgotten_and_the_table_is_bounded() {
    let (mut node, mut out) = (node(), Out::default());
    let mut answered = vec![];
    for i in 0..100 {
        let (now, peer, seq) = ask(&mut node, &mut out);
        if i % 2 == 0 {
            answered.push(peer);
            let answer = Message::Answer { seq, coordinate: at(0) };
            node.handle_message(call(now + Duration::from_millis(i)), peer, answer, &mut out).unwrap();
        }
        assert!(node.neighbours.len() <= NEIGHBOURS_MAX);
    }
    let mut held = vec![];
    node.for_each_handle(&mut |peer| held.push(peer));
    assert!(held.iter().rev().skip(1).all(|peer| answered.contains(peer)));
    for peer in held {
        node.handle_gone(call(Instant::FAR), peer);
    }
    node.for_each_handle(&mut |peer| panic!("{peer:?}"));
}
