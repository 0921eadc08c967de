extern crate std;
use std::vec;
use std::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::HandleTable;

use super::super::Misaddressed;
use super::super::play::Play;
use super::*;

type World = Play<All, Event>;

fn config() -> Config {
    Config::default()
}

/// So many members with names in another order than they came, each knowing only itself.
fn world(members: u32, expected: Option<u32>, seed: u64, loss_per_cent: u32) -> World {
    let mut world = World::new(config(), seed, loss_per_cent);
    (0..members).for_each(|who| {
        join(&mut world, name(who), 1, expected);
    });
    world
}

fn name(who: u32) -> Name {
    Name(u64::from(who) * 7_919 % 10_007)
}

fn join(world: &mut World, name: Name, incarnation: u64, expected: Option<u32>) -> u32 {
    let entry = Entry::new(name, incarnation, world.next_handle());
    let rng = Rng::new(world.rng.next_u64());
    world.add(All::new(&config(), entry, expected, rng, world.now))
}

fn standings(world: &World) -> Vec<Standing> {
    world.alive().map(|(_, all)| all.standing(&config())).collect()
}

/// All that live have the ranks of one numbering, each another one, from 0 on, and know that it is settled.
fn is_right(world: &World) -> bool {
    let standings = standings(world);
    let mut ranks: Vec<u32> = standings.iter().filter_map(|standing| standing.rank).collect();
    ranks.sort_unstable();
    ranks.iter().copied().eq(0..standings.len() as u32)
        && standings.iter().all(|s| s.is_settled && s.epoch == standings[0].epoch)
}

fn is_settled_nowhere(world: &World) -> bool {
    standings(world).iter().all(|standing| !standing.is_settled)
}

fn until(world: &mut World, most: u32, is: impl Fn(&World) -> bool) -> Option<u32> {
    world.rounds_until(config().period, most, is)
}

#[test]
fn all_members_learn_all_and_have_the_ranks_of_their_order() {
    for (members, most) in [(1, 0), (2, 4), (100, 20)] {
        let mut world = world(members, Some(members), 1, 5);
        let rounds = until(&mut world, most, is_right);
        assert!(rounds.is_some(), "{members}");
        let mut names: Vec<Name> = (0..members).map(name).collect();
        names.sort_unstable();
        for (who, all) in world.alive() {
            let rank = all.standing(&config()).rank.expect("a rank") as usize;
            assert_eq!(names[rank], name(who));
            assert_eq!(all.holder(rank as u32).map(|entry| entry.handle), Some(Handle::from_u32(who)));
        }
    }
}

#[test]
fn without_a_known_number_a_list_counts_as_complete_when_nothing_changed_for_some_rounds() {
    let mut world = world(60, None, 2, 1);
    world.run(config().period * 3);
    assert!(is_settled_nowhere(&world));
    let rounds = until(&mut world, 60, is_right);
    assert!(rounds.is_some_and(|rounds| rounds < 30), "{rounds:?}");
}

#[test]
fn only_differences_travel_when_all_is_known() {
    let mut world = world(50, Some(50), 3, 0);
    until(&mut world, 40, is_right).expect("settled");
    world.run(config().period * 4);
    let before = world.sent;
    world.run(config().period * 10);
    let sent = world.sent - before;
    assert!((950..=1_050).contains(&sent), "a question and an answer a member and round: {sent}");
}

#[test]
fn a_replacement_inherits_the_rank_and_the_others_keep_theirs() {
    let mut world = world(30, Some(30), 4, 2);
    until(&mut world, 40, is_right).expect("settled");
    let before: Vec<Standing> = standings(&world);
    world.kill(7);
    until(&mut world, 60, is_settled_nowhere).expect("everybody hears that one is silent");
    let without: Vec<Standing> = standings(&world);
    assert!(
        without.iter().zip(before.iter().filter(|s| s.rank != before[7].rank)).all(|(a, b)| a.rank == b.rank)
    );
    let heir = join(&mut world, name(7), 2, Some(30));
    until(&mut world, 60, is_right).expect("settled again");
    let standing = world.nodes[heir as usize].core.standing(&config());
    assert_eq!((standing.rank, standing.epoch), (before[7].rank, before[7].epoch));
    let rank = standing.rank.expect("a rank");
    assert!(
        world.alive().all(|(_, all)| all.holder(rank).is_some_and(|e| e.handle == Handle::from_u32(heir)))
    );
}

#[test]
fn on_request_the_survivors_are_numbered_without_gaps_under_a_new_epoch() {
    let mut world = world(30, Some(30), 5, 2);
    until(&mut world, 40, is_right).expect("settled");
    let before = standings(&world)[0];
    (5..15).for_each(|who| world.kill(who));
    world.run(config().period * 60);
    assert!(is_settled_nowhere(&world), "ten ranks have nobody");
    let epoch = world.call(0, |all, call, out| all.number_anew(call, out));
    until(&mut world, 60, is_right).expect("settled again");
    let after = standings(&world)[0];
    assert!(after.members == 20 && after.epoch == epoch && epoch.number == 1);
    assert_eq!(after.accepts(before.epoch, 0), Err(Misaddressed::OtherEpoch));
}

#[test]
fn each_side_of_a_partition_says_that_it_is_not_settled_and_the_whole_settles_again() {
    for expected in [Some(40), None] {
        let mut world = world(40, expected, 6, 2);
        until(&mut world, 60, is_right).expect("settled");
        let before = standings(&world);
        world.set_sides(|who| (who % 4 == 0).into());
        until(&mut world, 30, is_settled_nowhere).expect("both sides notice");
        world.run(config().period * 30);
        assert!(is_settled_nowhere(&world));
        world.set_sides(|_| 0);
        until(&mut world, 60, is_right).expect("settled again");
        assert_eq!(standings(&world), before);
    }
}

#[test]
fn sides_that_were_numbered_each_for_itself_become_one_numbering() {
    let mut world = world(40, Some(40), 7, 2);
    until(&mut world, 40, is_right).expect("settled");
    world.set_sides(|who| (who % 4 == 0).into());
    until(&mut world, 30, is_settled_nowhere).expect("both sides notice");
    world.run(config().period * 60);
    for who in [0, 1] {
        world.call(who, |all, call, out| all.number_anew(call, out));
    }
    until(&mut world, 60, |world| standings(world).iter().all(|s| s.is_settled)).expect("each for itself");
    let (one, other) = (standings(&world)[0], standings(&world)[1]);
    assert_eq!((one.epoch.number, one.members, other.epoch.number, other.members), (1, 10, 1, 30));
    assert_ne!(one.epoch, other.epoch, "nobody takes the ranks of one side for those of the other");
    world.set_sides(|_| 0);
    until(&mut world, 80, |world| is_right(world) && standings(world)[0].members == 40).expect("one again");
}

#[test]
fn of_all_members_the_last_one_alive_is_numbered_too() {
    let mut world = world(10, Some(10), 8, 0);
    until(&mut world, 40, is_right).expect("settled");
    (1..10).for_each(|who| world.kill(who));
    world.run(config().period * 60);
    assert!(is_settled_nowhere(&world));
    world.call(0, |all, call, out| all.number_anew(call, out));
    until(&mut world, 20, is_right).expect("settled alone");
    assert_eq!((standings(&world)[0].rank, standings(&world)[0].members), (Some(0), 1));
}

#[test]
fn who_knows_nobody_and_was_not_asked_is_not_settled() {
    let mut world = world(1, None, 1, 0);
    world.run(config().period * 60);
    assert!(is_settled_nowhere(&world));
}

#[test]
fn who_was_replaced_while_it_was_paused_learns_that_it_has_no_rank() {
    let mut world = world(10, Some(10), 9, 0);
    until(&mut world, 40, is_right).expect("settled");
    world.set_sides(|who| (who == 3).into());
    world.run(config().period * 20);
    join(&mut world, name(3), 2, Some(10));
    world.run(config().period * 20);
    world.set_sides(|_| 0);
    world.run(config().period * 20);
    assert!(world.told.contains(&(3, Event::Displaced)));
    assert_eq!(world.nodes[3].core.standing(&config()).rank, None);
    let settled = world.alive().filter(|(_, all)| all.standing(&config()).is_settled).count();
    assert_eq!(settled, 10);
}

/// One member, and what it says to what it hears.
fn hear(world: &mut World, from: u32, message: Message) -> Result<(), Fault> {
    world.call(0, |all, call, out| all.handle_message(call, Handle::from_u32(from), message, out))
}

#[test]
fn claims_on_others_names_are_refused() {
    let mut world = world(3, Some(3), 10, 0);
    until(&mut world, 20, is_right).expect("settled");
    let head = Head { seq: 0, number: 0 };
    let claim = |name, incarnation| {
        let entries = vec![Entry::new(name, incarnation, Handle::from_u32(9))];
        Message::Take { head, entries }
    };
    assert_eq!(hear(&mut world, 1, claim(name(0), 1)), Err(Fault::Impostor), "this one's own");
    assert_eq!(hear(&mut world, 1, claim(name(2), 1)), Err(Fault::Impostor), "another's");
    let all = &world.nodes[0].core;
    assert_eq!(all.list.entry(name(2)).map(|entry| entry.handle), Some(Handle::from_u32(2)));
    let far = Head { seq: 0, number: AHEAD_MAX + 1 };
    assert_eq!(
        hear(&mut world, 1, Message::Swap { head: far, entries: vec![], wants: vec![] }),
        Err(Fault::TooFarAhead)
    );
    assert_eq!(hear(&mut world, 1, Message::Same { head }), Err(Fault::Unsolicited));
    assert_eq!(world.nodes[0].core.epoch().number, 0);
}

#[test]
fn a_list_takes_as_many_as_it_may_and_is_not_settled_with_more() {
    let mut world = world(1, None, 11, 0);
    let head = Head { seq: 0, number: 0 };
    let entries = |names: core::ops::Range<u64>| {
        names.map(|name| Entry::new(Name(1 << 32 | name), 1, Handle::from_u32(name as u32 + 1))).collect()
    };
    let room = MEMBERS_MAX as u64 - 1;
    assert_eq!(hear(&mut world, 1, Message::Take { head, entries: entries(0..room) }), Ok(()));
    assert_eq!(
        hear(&mut world, 1, Message::Take { head, entries: entries(room..room + 2) }),
        Err(Fault::TooMany)
    );
    let standing = world.nodes[0].core.standing(&config());
    assert!(standing.members == MEMBERS_MAX as u32 && !standing.is_settled);
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
    let head = Head { seq: 7, number: 3 };
    let mut entry = Entry::new(Name(u64::MAX), 2, Handle::from_u32(5));
    entry.life.status = Status::Suspect;
    let messages = [
        Message::Compare { head, buckets: Box::new(core::array::from_fn(|i| i as u64 * 0x0101_0101)) },
        Message::Same { head },
        Message::Have { head, mask: 5, known: vec![(entry.name, entry.life)] },
        Message::Swap { head, entries: vec![entry], wants: vec![Name(1), Name(2)] },
        Message::Take { head, entries: vec![entry, entry] },
    ];
    for message in messages {
        let bytes = minicbor::to_vec_with(&message, &mut Numbers).expect("written");
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
    let long = vec![Name(1); MEMBERS_MAX + 1];
    let message = Message::Swap { head, entries: vec![], wants: long };
    let bytes = minicbor::to_vec_with(&message, &mut Numbers).expect("written");
    assert!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).is_err());
}
