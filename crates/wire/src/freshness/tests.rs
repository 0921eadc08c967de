extern crate std;

use super::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use proptest::prelude::*;

const WALL_MS: u64 = 1_800_000_000_000;
const NOW: Instant = Instant::from_millis(1_000);

fn peer(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn header(sequence: u64, stamp_ms: u64, echo: u64) -> Header {
    Header {
        kind: Kind::Message,
        destination: peer(0),
        destination_incarnation: 1,
        sequence,
        stamp_ms,
        nonce: 77,
        echo,
    }
}

fn arrive(freshness: &mut Freshness, incarnation: u32, header: Header) -> Result<Fresh, NotFresh> {
    freshness.accept(NOW, Arrival { from: peer(1), incarnation, header: &header, wall_ms: WALL_MS })
}

#[test]
fn a_replay_is_refused_and_reordering_is_not() {
    let mut freshness = Freshness::default();
    for sequence in [5, 9, 3, 8] {
        assert_eq!(arrive(&mut freshness, 1, header(sequence, WALL_MS, 0)), Ok(Fresh::Request));
    }
    for sequence in [0, 3, 5, 8, 9] {
        let refused = Err(NotFresh::Replayed { sequence });
        assert_eq!(arrive(&mut freshness, 1, header(sequence, WALL_MS, 0)), refused);
    }
}

#[test]
fn a_new_incarnation_counts_from_one_again_and_ends_the_old_one() {
    let mut freshness = Freshness::default();
    assert!(arrive(&mut freshness, 1, header(900, WALL_MS, 0)).is_ok());
    assert!(arrive(&mut freshness, 2, header(1, WALL_MS, 0)).is_ok());
    let refused = Err(NotFresh::OldIncarnation { incarnation: 1, newest: 2 });
    assert_eq!(arrive(&mut freshness, 1, header(901, WALL_MS, 0)), refused);
}

#[test]
fn the_wall_clock_is_the_second_line_for_requests_only() {
    let mut freshness = Freshness::default();
    for (stamp_ms, ahead_ms) in
        [(WALL_MS - 120_001, -120_001), (WALL_MS + 120_001, 120_001), (0, -(WALL_MS as i64))]
    {
        let refused = Err(NotFresh::Stale { ahead_ms });
        assert_eq!(arrive(&mut freshness, 1, header(1, stamp_ms, 0)), refused);
    }
    assert_eq!(arrive(&mut freshness, 1, header(1, WALL_MS - 120_000, 0)), Ok(Fresh::Request));
    freshness.expect_echo(NOW, peer(1), 42);
    assert_eq!(arrive(&mut freshness, 1, header(2, 0, 42)), Ok(Fresh::Reply { clock: None }));
}

#[test]
fn an_answer_needs_a_question_to_its_own_sender() {
    let mut freshness = Freshness::default();
    freshness.expect_echo(NOW, peer(2), 42);
    let reborn = Header { kind: Kind::Reborn, ..header(1, WALL_MS, 42) };
    assert_eq!(arrive(&mut freshness, 1, reborn), Err(NotFresh::Unsolicited));
    freshness.expect_echo(NOW, peer(1), 43);
    let reborn = Header { kind: Kind::Reborn, ..header(2, WALL_MS, 43) };
    assert_eq!(arrive(&mut freshness, 1, reborn), Ok(Fresh::Reply { clock: None }));
}

#[test]
fn an_answer_that_took_too_long_is_a_request() {
    let mut freshness = Freshness::default();
    freshness.expect_echo(Instant::ZERO, peer(1), 42);
    let late = Arrival { from: peer(1), incarnation: 1, header: &header(1, WALL_MS, 42), wall_ms: WALL_MS };
    assert_eq!(freshness.accept(Instant::from_millis(30_001), late), Ok(Fresh::Request));
}

#[test]
fn two_nodes_an_hour_apart_understand_each_other_after_one_answer() {
    let mut freshness = Freshness::default();
    let theirs_ms = WALL_MS + 3_600_000;
    freshness.expect_echo(NOW, peer(1), 42);
    let skewed = Header { kind: Kind::Skewed, ..header(1, theirs_ms, 42) };
    assert_eq!(arrive(&mut freshness, 1, skewed), Ok(Fresh::Reply { clock: None }));
    assert_eq!(freshness.echo_for(NOW, peer(1)), 0, "it has not kept the nonce of its answer");
    assert_eq!(freshness.stamp_for(peer(1), WALL_MS, 0), theirs_ms);
    assert_eq!(freshness.stamp_for(peer(1), WALL_MS, 42), WALL_MS, "an answer tells our own time");
    assert_eq!(freshness.stamp_for(peer(2), WALL_MS, 0), WALL_MS, "one peer is no median");
}

#[test]
fn the_median_of_three_answers_moves_stamps_and_judgement() {
    let mut freshness = Freshness::default();
    let theirs_ms = WALL_MS - 3_600_000;
    let mut reports = Vec::new();
    for number in 1..=3 {
        freshness.expect_echo(NOW, peer(number), u64::from(number));
        let header = header(1, theirs_ms, u64::from(number));
        let arrival = Arrival { from: peer(number), incarnation: 1, header: &header, wall_ms: WALL_MS };
        reports.push(freshness.accept(NOW, arrival));
    }
    let corrected = Fresh::Reply { clock: Some(ClockReport::Corrected { offset_ms: -3_600_000 }) };
    assert_eq!(reports.last(), Some(&Ok(corrected)));
    assert_eq!(freshness.stamp_for(peer(9), WALL_MS, 0), theirs_ms);
    let request = header(1, theirs_ms, 0);
    let stranger = Arrival { from: peer(9), incarnation: 1, header: &request, wall_ms: WALL_MS };
    assert_eq!(freshness.accept(NOW, stranger), Ok(Fresh::Request));
}

#[test]
fn state_stays_bounded_and_the_longest_silent_sender_goes() {
    let mut freshness = Freshness::default();
    for number in 0..SENDERS_MAX as u64 + 10 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (from, at) = (NodeId::from_bytes(id), Instant::from_micros(number));
        let header = header(1, WALL_MS, 0);
        let arrival = Arrival { from, incarnation: 1, header: &header, wall_ms: WALL_MS };
        assert!(freshness.accept(at, arrival).is_ok());
        freshness.expect_echo(at, from, number + 1);
    }
    assert_eq!(freshness.senders.len(), SENDERS_MAX);
    assert_eq!((freshness.nonces.len(), freshness.sent.len()), (NONCES_MAX, NONCES_MAX));
    assert!(!freshness.senders.contains_key(&NodeId::from_bytes([0; 16])));
}

proptest! {
    /// The window against a set of everything that was ever seen.
    #[test]
    fn the_window_lets_each_sequence_pass_at_most_once(
        steps in prop::collection::vec((0u64..600, any::<bool>()), 1..400),
    ) {
        let (mut window, mut seen) = (Window::default(), BTreeSet::new());
        let mut base = 1;
        for (step, forward) in steps {
            let sequence = base + step;
            if forward {
                base = sequence;
            }
            let is_new = !seen.contains(&sequence);
            let is_recent = sequence + WINDOW > window.highest;
            prop_assert_eq!(window.insert(sequence), is_new && is_recent);
            if is_recent {
                seen.insert(sequence);
            }
        }
        prop_assert!(!window.insert(0));
        prop_assert!(window.insert(u64::MAX) && !window.insert(u64::MAX));
    }
}

/// Five nodes that ask each other in turns; what each adds to its clock in the end, in hours.
fn corrections_after(rounds: usize, nodes: &mut [Freshness; 5], off_ms: [i64; 5]) -> [i64; 5] {
    let mut nonce = 1_000 * rounds as u64;
    let mut sequence = 1_000 * rounds as u64;
    for _ in 0..rounds {
        for (asker, answerer) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            (nonce, sequence) = (nonce + 1, sequence + 1);
            nodes[asker].expect_echo(NOW, peer(answerer as u8), nonce);
            let wall = |node: usize| shift(WALL_MS, off_ms[node]);
            let stamp_ms = nodes[answerer].stamp_for(peer(asker as u8), wall(answerer), nonce);
            let header = header(sequence, stamp_ms, nonce);
            let arrival =
                Arrival { from: peer(answerer as u8), incarnation: 1, header: &header, wall_ms: wall(asker) };
            nodes[asker].accept(NOW, arrival).expect("an answer to its question");
        }
    }
    std::array::from_fn(|node| nodes[node].clock().correction_ms() / 3_600_000)
}

#[test]
fn corrections_end_when_the_clocks_are_right_again() {
    const HOUR_MS: i64 = 3_600_000;
    let mut nodes = <[Freshness; 5]>::default();
    // Most of them are wrong together, and the median of the others' clocks moves the right ones.
    let wrong = corrections_after(3, &mut nodes, [-HOUR_MS, -HOUR_MS, -HOUR_MS, 0, 0]);
    assert!(wrong.iter().any(|hours| *hours != 0), "{wrong:?}");
    assert_eq!(corrections_after(6, &mut nodes, [0; 5]), [0; 5]);
}
