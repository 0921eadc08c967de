extern crate std;
use std::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use proptest::prelude::*;
use xtreem_base::{HandleTable, NodeId, Rng};

use super::super::play::Play;
use super::*;
use crate::Key;

/// Members in the order of their keys, on a ring that is laid out right at once on each side.
struct World {
    play: Play<Sums, Event>,
    keys: Vec<u64>,
    expected: Option<u32>,
}

impl World {
    fn new(members: u32, expected: Option<u32>, seed: u64, loss_per_cent: u32) -> World {
        let play = Play::new(Config::default(), seed, loss_per_cent);
        let mut world = World { play, keys: Vec::new(), expected };
        (0..members).for_each(|who| {
            world.join(Some(key(who)));
        });
        world.lay();
        world
    }

    fn join(&mut self, mark: Option<u64>) -> u32 {
        let rng = Rng::new(self.play.rng.next_u64());
        let (me, now) = (self.play.next_handle(), self.play.now);
        self.keys.push(mark.unwrap_or(u64::from(me.as_u32()) << 8));
        self.play.add(Sums::new(&Config::default(), me, mark, self.expected, rng, now))
    }

    /// The ring tells each who comes next.
    fn lay(&mut self) {
        let alive = |side: u8| -> Vec<u32> {
            let mut alive: Vec<u32> = self.play.alive().map(|(who, _)| who).collect();
            alive.retain(|who| self.play.nodes[*who as usize].side == side);
            alive.sort_by_key(|who| self.keys[*who as usize]);
            alive
        };
        for ring in [alive(0), alive(1)] {
            for (place, who) in ring.iter().enumerate() {
                let (own, next) = (self.position(*who), ring[(place + 1) % ring.len()]);
                let first = Contact { handle: Handle::from_u32(next), position: self.position(next) };
                let first = Some(&first).filter(|_| ring.len() > 1);
                self.play.call(*who, |sums, call, out| sums.handle_ring(call, Some(&own), first, out));
            }
        }
    }

    fn position(&self, who: u32) -> Position {
        let key = Key::from_bytes(&self.keys[who as usize].to_be_bytes()).expect("eight bytes");
        Position::new(key, NodeId::from_bytes(u128::from(who).to_be_bytes()))
    }

    fn kill(&mut self, who: u32) {
        self.play.kill(who);
    }

    fn split(&mut self, side: impl Fn(u32) -> u8) {
        self.play.set_sides(side);
        self.lay();
    }

    fn until(&mut self, most: u32, is: impl Fn(&World) -> bool) -> Option<u32> {
        for round in 0..=most {
            if is(self) {
                return Some(round);
            }
            self.play.run(Config::default().period);
        }
        None
    }

    fn run(&mut self, rounds: u64) {
        self.play.run(Config::default().period * rounds);
    }

    /// Of all that live, in the order of their keys.
    fn standings(&self) -> Vec<Option<Standing>> {
        let mut alive: Vec<_> = self.play.alive().collect();
        alive.sort_by_key(|(who, _)| self.keys[*who as usize]);
        alive.iter().map(|(_, sums)| sums.standing(&Config::default())).collect()
    }

    /// Everyone counts right, settled or not.
    fn counts_right(&self) -> bool {
        let mut alive: Vec<_> = self.play.alive().collect();
        alive.sort_by_key(|(who, _)| self.keys[*who as usize]);
        let all = alive.len() as u32;
        alive.iter().enumerate().all(|(place, (_, sums))| sums.counted() == Some((place as u32, all)))
    }

    fn is_right(&self) -> bool {
        let standings = self.standings();
        let first = standings[0];
        standings.iter().enumerate().all(|(place, standing)| {
            standing.is_some_and(|it| it.is_settled && it.rank == Some(place as u32))
                && standing.map(|it| (it.epoch, it.members)) == first.map(|it| (it.epoch, it.members))
        })
    }

    fn is_settled_nowhere(&self) -> bool {
        self.standings().iter().all(|standing| standing.is_none_or(|it| !it.is_settled))
    }
}

fn key(who: u32) -> u64 {
    u64::from(who) * 7_919 % 100_003
}

#[test]
fn all_count_right_in_a_few_rounds_and_settle() {
    for (members, most) in [(1, 2), (2, 2), (3, 3), (10, 3), (1_000, 6)] {
        let mut world = World::new(members, Some(members), 1, 1);
        let rounds = world.until(most, World::counts_right);
        assert!(rounds.is_some(), "{members}");
        assert!(world.until(20, World::is_right).is_some(), "{members}");
        let entries = world.play.alive().map(|(_, sums)| sums.entries()).max().unwrap_or_default();
        let logarithm = members.next_power_of_two().ilog2() as usize;
        assert!(entries <= 3 * logarithm + 2, "{members}: {entries}");
    }
}

#[test]
fn a_ring_that_passes_over_somebody_for_a_moment_changes_no_rank() {
    let mut world = World::new(50, Some(50), 16, 0);
    world.until(30, World::is_right).expect("settled");
    let mut order: Vec<u32> = (0..50).collect();
    order.sort_by_key(|who| key(*who));
    let (who, far) = (order[10], order[12]);
    let (own, far) =
        (world.position(who), Contact { handle: Handle::from_u32(far), position: world.position(far) });
    world.play.call(who, |sums, call, out| sums.handle_ring(call, Some(&own), Some(&far), out));
    for _ in 0..3 {
        world.run(1);
        assert!(world.is_right());
    }
    world.lay();
    world.run(10);
    assert!(world.is_right(), "it came back");
    world.play.call(who, |sums, call, out| sums.handle_ring(call, Some(&own), Some(&far), out));
    world.run(10);
    assert!(!world.counts_right(), "it did not: the ring is believed");
}

#[test]
fn lost_messages_are_made_up_for() {
    let mut world = World::new(500, None, 2, 20);
    assert!(world.until(40, World::counts_right).is_some());
}

#[test]
fn it_is_quiet_when_nothing_changes() {
    let mut world = World::new(200, Some(200), 3, 0);
    world.until(30, World::is_right).expect("settled");
    world.run(3);
    let before = world.play.sent;
    world.run(10);
    let each = (world.play.sent - before) as f64 / 2_000.0;
    assert!(each <= 4.5, "two questions and their answers: {each}");
}

#[test]
fn a_replacement_inherits_the_rank_and_the_others_keep_theirs() {
    let mut world = World::new(100, Some(100), 4, 1);
    world.until(30, World::is_right).expect("settled");
    let before = world.standings();
    let place =
        |world: &World, who: u32| world.keys.iter().filter(|key| **key < world.keys[who as usize]).count();
    let dead = place(&world, 33);
    world.kill(33);
    world.lay();
    world.until(10, World::is_settled_nowhere).expect("everybody hears of it");
    let mut kept = before.clone();
    kept.remove(dead);
    let ranks = |standings: &[Option<Standing>]| -> Vec<_> {
        standings.iter().map(|it| it.map(|it| (it.rank, it.epoch))).collect()
    };
    assert_eq!(ranks(&world.standings()), ranks(&kept));
    world.join(Some(key(33)));
    world.lay();
    world.until(30, World::is_right).expect("settled again");
    assert_eq!(world.standings(), before);
}

#[test]
fn one_that_took_another_place_is_no_replacement() {
    let mut world = World::new(50, Some(50), 5, 0);
    world.until(30, World::is_right).expect("settled");
    world.kill(20);
    world.join(Some(99_999));
    world.lay();
    world.run(30);
    assert!(world.is_settled_nowhere(), "as many as before, and others");
    world.play.call(3, |sums, call, out| sums.number_anew(call, out));
    world.until(40, World::is_right).expect("numbered anew");
    assert_eq!(world.standings()[0].map(|it| it.epoch.number), Some(1));
}

#[test]
fn on_request_the_survivors_are_numbered_without_gaps_under_a_new_epoch() {
    let mut world = World::new(100, None, 6, 1);
    world.until(30, World::is_right).expect("settled");
    let before = world.standings()[0].expect("settled");
    (10..40).for_each(|who| world.kill(who));
    world.lay();
    world.run(30);
    assert!(world.is_settled_nowhere(), "nobody numbers fewer unasked: they may be behind a split");
    world.play.call(50, |sums, call, out| sums.number_anew(call, out));
    world.until(60, World::is_right).expect("numbered anew");
    let after = world.standings()[0].expect("settled");
    assert_eq!((after.members, after.epoch.number), (70, before.epoch.number + 1));
}

#[test]
fn newcomers_are_numbered_when_they_have_come() {
    let mut world = World::new(60, None, 7, 1);
    world.until(30, World::is_right).expect("settled");
    let before = world.standings()[0].expect("settled").epoch;
    (200..220).for_each(|who| {
        world.join(Some(key(who)));
    });
    world.lay();
    world.until(40, |world| world.is_right()).expect("settled with them");
    let after = world.standings()[0].expect("settled");
    assert!(after.members == 80 && after.epoch != before);
}

#[test]
fn each_side_of_a_partition_says_that_it_is_not_settled_and_the_whole_settles_again() {
    for expected in [Some(80), None] {
        let mut world = World::new(80, expected, 8, 1);
        world.until(30, World::is_right).expect("settled");
        let before = world.standings();
        world.split(|who| (who % 4 == 0).into());
        world.until(20, World::is_settled_nowhere).expect("both sides notice");
        for _ in 0..20 {
            world.run(1);
            assert!(world.is_settled_nowhere());
        }
        let ranks = |standings: &[Option<Standing>]| -> Vec<_> {
            standings.iter().map(|it| it.and_then(|it| it.rank)).collect()
        };
        assert_eq!(ranks(&world.standings()), ranks(&before), "they keep their ranks");
        world.split(|_| 0);
        world.until(40, World::is_right).expect("settled again");
        assert_eq!(world.standings(), before);
    }
}

#[test]
fn sides_that_were_numbered_each_for_itself_become_one_numbering() {
    let mut world = World::new(40, None, 9, 1);
    world.until(30, World::is_right).expect("settled");
    world.split(|who| (who % 4 == 0).into());
    world.run(20);
    for who in [0, 1] {
        world.play.call(who, |sums, call, out| sums.number_anew(call, out));
    }
    let all_settled = |world: &World| world.standings().iter().all(|it| it.is_some_and(|it| it.is_settled));
    world.until(40, all_settled).expect("each for itself");
    let epoch = |who: usize| {
        world.play.nodes[who].core.standing(&Config::default()).map(|it| (it.epoch.number, it.members))
    };
    assert_eq!((epoch(0), epoch(1)), (Some((1, 10)), Some((1, 30))));
    world.split(|_| 0);
    world.until(60, World::is_right).expect("one again");
    assert_eq!(world.standings()[0].map(|it| it.members), Some(40));
}

#[test]
fn the_last_one_dies_and_the_numbering_lives_on() {
    let mut world = World::new(50, Some(50), 10, 1);
    world.until(30, World::is_right).expect("settled");
    world.kill(30);
    world.lay();
    world.run(10);
    world.play.call(3, |sums, call, out| sums.number_anew(call, out));
    world.until(40, World::is_right).expect("numbered anew");
    let before = world.standings();
    let last = (0..50).max_by_key(|who| if *who == 30 { 0 } else { key(*who) }).expect("some");
    world.kill(last);
    world.lay();
    world.run(10);
    assert!(world.is_settled_nowhere());
    world.join(Some(key(last)));
    world.lay();
    world.until(40, World::is_right).expect("settled again");
    assert_eq!(world.standings(), before, "under the same epoch, which the new one was told");
}

#[test]
fn all_but_one_die() {
    let mut world = World::new(30, None, 11, 0);
    world.until(30, World::is_right).expect("settled");
    (1..30).for_each(|who| world.kill(who));
    world.lay();
    world.run(10);
    assert!(world.is_settled_nowhere());
    world.play.call(0, |sums, call, out| sums.number_anew(call, out));
    world.until(20, World::is_right).expect("rank 0 of 1");
}

#[test]
fn a_part_of_the_nodes_is_numbered_and_the_others_help_to_count() {
    let mut world = World::new(0, None, 12, 1);
    for who in 0..100u32 {
        let mark = u64::from(who) << 8;
        world.join((who % 3 == 0).then_some(mark));
    }
    world.lay();
    let is_right = |world: &World| {
        let mut next = 0;
        world.play.alive().all(|(who, sums)| {
            let Some(standing) = sums.standing(&Config::default()) else { return false };
            let expected = (who % 3 == 0).then_some(next);
            next += u32::from(who % 3 == 0);
            standing.rank == expected && standing.is_settled && standing.members == 34
        })
    };
    world.until(30, is_right).expect("settled");
}

fn tell(level: u8, version: u32, told: Told) -> Message {
    Message::Tell { level, version, told, total: None }
}

#[test]
fn claims_that_cannot_be_true_are_refused() {
    let mut world = World::new(8, Some(8), 13, 0);
    world.until(30, World::is_right).expect("settled");
    let first = (0..8).min_by_key(|who| key(*who)).expect("some");
    let mut hear = |from: Handle, message| {
        world.play.call(first, |sums, call, out| sums.handle_message(call, from, message, out))
    };
    let (stranger, me) = (Handle::from_u32(77), Handle::from_u32(first));
    let end = |members| Told::End { sum: Sum { members, marks: 0 } };
    assert_eq!(hear(stranger, tell(0, 9, end(1))), Err(Fault::Unasked));
    assert_eq!(hear(stranger, tell(200, 9, end(1))), Err(Fault::Unasked));
    assert_eq!(hear(stranger, tell(CROWN, 9, end(1))), Err(Fault::Unasked));
    let ask = |level, number| {
        let frozen = Frozen { epoch: Epoch { number, digest: 0 }, members: 0 };
        Message::Ask { level, heard: 0, frozen: Some(frozen), wish: 0 }
    };
    assert_eq!(hear(stranger, ask(CROWN + 1, 0)), Err(Fault::Level(CROWN + 1)));
    assert_eq!(hear(stranger, ask(0, AHEAD_MAX + 1)), Err(Fault::TooFarAhead));
    let next = (0..8).filter(|who| *who != first).min_by_key(|who| key(*who)).map(Handle::from_u32);
    let next = next.expect("some");
    assert_eq!(hear(next, tell(0, 1_000, end(2))), Err(Fault::Unsound));
    let back = Told::Ahead { peer: me, sum: Sum::of(1) };
    assert_eq!(hear(next, tell(0, 1_000, back)), Err(Fault::Unsound));
    assert_eq!(hear(next, tell(0, 0, Told::Unknown)), Err(Fault::Late));
    assert!(world.is_right());
}

#[test]
fn askers_are_few_whoever_asks() {
    let mut world = World::new(4, Some(4), 14, 0);
    for stranger in 0..10_000 {
        let ask = Message::Ask { level: (stranger % 29) as u8, heard: 0, frozen: None, wish: 0 };
        let from = Handle::from_u32(stranger % 4);
        world.play.call(0, |sums, call, out| sums.handle_message(call, from, ask, out)).expect("a level");
    }
    assert!(world.play.nodes[0].core.entries() <= 2 * 29 + 4);
}

/// Writes a handle as its number.
struct Numbers;

impl HandleTable for Numbers {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        d.u32().map(Handle::from_u32)
    }
}

#[test]
fn messages_survive_the_wire_and_hostile_ones_never_panic() {
    let sum = Sum { members: 5, marks: u64::MAX };
    let frozen = Some(Frozen { epoch: Epoch { number: 2, digest: 3 }, members: 5 });
    let total = Some(Total { current: sum, frozen, is_quiet: true });
    let messages = [
        Message::Ask { level: 3, heard: 7, frozen, wish: 4 },
        Message::Ask { level: CROWN, heard: 0, frozen: None, wish: 0 },
        tell(2, 1, Told::Unknown),
        tell(2, 1, Told::Ahead { peer: Handle::from_u32(9), sum }),
        Message::Tell { level: 9, version: 8, told: Told::End { sum }, total },
        Message::Heard { level: 1, version: 2 },
        Message::Forgotten { level: 3 },
    ];
    for message in messages {
        let bytes = minicbor::to_vec_with(message, &mut Numbers).expect("written");
        assert_eq!(minicbor::decode_with(&bytes, &mut Numbers).ok(), Some(message));
        for len in 0..bytes.len() {
            assert!(minicbor::decode_with::<_, Message>(&bytes[..len], &mut Numbers).is_err());
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = minicbor::decode_with::<_, Message>(&bytes, &mut Numbers);
        }
    }
}

fn any_sum() -> impl Strategy<Value = Sum> {
    (prop_oneof![0u32..9, any::<u32>()], any::<u64>()).prop_map(|(members, marks)| Sum { members, marks })
}

fn any_message() -> impl Strategy<Value = Message> {
    let frozen = prop::option::of(
        (0u32..5, any::<u64>(), any::<u32>())
            .prop_map(|(number, digest, members)| Frozen { epoch: Epoch { number, digest }, members }),
    );
    let total = (any_sum(), frozen.clone(), any::<bool>()).prop_map(|(current, frozen, is_quiet)| Total {
        current,
        frozen,
        is_quiet,
    });
    let told = prop_oneof![
        Just(Told::Unknown),
        (0u32..6, any_sum()).prop_map(|(peer, sum)| Told::Ahead { peer: Handle::from_u32(peer), sum }),
        any_sum().prop_map(|sum| Told::End { sum }),
    ];
    let level = 0u8..31;
    prop_oneof![
        (level.clone(), 0u32..5, frozen, 0u32..5).prop_map(|(level, heard, frozen, wish)| Message::Ask {
            level,
            heard,
            frozen,
            wish
        }),
        (level.clone(), any::<u32>(), told, prop::option::of(total))
            .prop_map(|(level, version, told, total)| Message::Tell { level, version, told, total }),
        (level.clone(), any::<u32>()).prop_map(|(level, version)| Message::Heard { level, version }),
        level.prop_map(|level| Message::Forgotten { level }),
    ]
}

/// A ring of five on which these were said: from whom, to whom.
fn after(messages: Vec<(u32, u32, Message)>) -> World {
    let mut world = World::new(5, None, 15, 0);
    for (from, to, message) in messages {
        world.play.call(to, |sums, call, out| {
            let _ = sums.handle_message(call, Handle::from_u32(from), message, out);
        });
        world.play.run(Duration::from_millis(50));
    }
    world.run(20);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn strangers_do_not_disturb_the_counting(
        messages in prop::collection::vec((5u32..9, 0u32..5, any_message()), 0..60),
    ) {
        prop_assert!(after(messages).counts_right());
    }

    #[test]
    fn members_that_lie_make_nobody_panic(
        messages in prop::collection::vec((0u32..5, 0u32..5, any_message()), 0..60),
    ) {
        after(messages);
    }
}
