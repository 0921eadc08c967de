//! Ranks, meshes and the nearest.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::mesh::{Direction, Edges, Shape, Way};
use crate::ranks::all::{self, Entry, Head, Name};
use crate::tman::{Items, Number};

fn are_settled(world: &World) -> bool {
    world.cores().all(|core| core.standing(&world.config).is_some_and(|it| it.is_settled))
}

fn ranks(world: &World) -> Vec<(u16, Option<u32>)> {
    let rank = |core: &Collection| core.standing(&world.config).and_then(|it| it.rank);
    let mut ranks: Vec<_> =
        world.running().into_iter().map(|it| (world.slot(it), rank(world.core(it)))).collect();
    ranks.sort_unstable();
    ranks
}

#[test]
fn ranks_are_settled_within_three_seconds_and_follow_the_slots() {
    for (members, loss) in [(1, 0), (2, 0), (3, 2), (4, 0), (8, 2), (16, 0), (16, 2), (20, 2)] {
        for seed in 0..5 {
            let mut world = World::of(Kind::Ranks, members, loss, seed);
            let took = world.until(secs(10), are_settled);
            let took = took.unwrap_or_else(|| panic!("{members} members, {:?}", ranks(&world)));
            assert!(took <= secs(if loss == 0 { 3 } else { 5 }), "{members} members, {loss} %: {took}");
            assert_eq!(ranks(&world), (0..members).map(|it| (it, Some(u32::from(it)))).collect::<Vec<_>>());
            assert_eq!(world.faults, [], "{members} members");
        }
    }
}

#[test]
fn a_replacement_inherits_the_rank_and_its_predecessor_is_displaced() {
    let mut world = World::of(Kind::Ranks, 8, 2, 1);
    world.until(secs(10), are_settled).expect("settled");
    let old = world.at(3);
    let epochs: Vec<_> = world.cores().map(|core| core.standing(&world.config).expect("all").epoch).collect();
    // The old one still runs, cut off, as far as it is concerned.
    let new = world.start(3, 2);
    world.run(secs(5));
    assert!(world.core(old).is_over());
    assert!(world.take_events(old).contains(&Event::Displaced));
    world.kill(3);
    assert_eq!(world.at(3), new, "the one with the lower epoch was taken away");
    world.until(secs(10), are_settled).expect("settled again");
    assert_eq!(world.core(new).standing(&world.config).and_then(|it| it.rank), Some(3));
    let after: Vec<_> = world.cores().map(|core| core.standing(&world.config).expect("all").epoch).collect();
    assert_eq!(epochs, after, "the same ranks are the same numbering");
    for one in world.running() {
        let known = world.core(one).holder(&world.config, 3);
        let Known::Holder(holder) = known else { panic!("{known:?}") };
        assert_eq!(holder.handle, new);
    }
}

fn list(entries: Vec<Entry>) -> Message {
    Message::All(Box::new(all::Message::Take { head: Head { seq: 1, number: 0 }, entries }))
}

/// A liar tells everybody of replacements that there are not, twice a second.
#[test]
fn made_up_replacements_displace_nobody_and_change_no_rank() {
    const MEMBERS: u16 = 6;
    let mut world = World::of(Kind::Ranks, MEMBERS, 2, 4);
    world.until(secs(10), are_settled).expect("settled");
    let running = world.running();
    let before = ranks(&world);
    let liar = world.at(5);
    let lie = |world: &mut World, round: u64, to: Handle| {
        let mut entries = Vec::new();
        for slot in 0..MEMBERS - 1 {
            // Somewhat later, and as late as there can be.
            let epoch = if round.is_multiple_of(2) { 2 + round } else { u64::MAX };
            let handle = world.table.handle(Member { slot, epoch });
            entries.push(Entry::new(Name(slot.into()), epoch, handle));
        }
        let _ = world.hear(liar, to, list(entries));
    };
    for round in 0..40 {
        for to in running.iter().filter(|to| **to != liar) {
            lie(&mut world, round, *to);
        }
        world.run(Duration::from_millis(500));
    }
    assert_eq!(ranks(&world), before);
    assert!(running.iter().all(|one| !world.core(*one).is_over()));
    assert!(world.take_events(running[0]).contains(&Event::Hearsay { slot: 1 }));
}

#[test]
fn a_made_up_replacement_is_believed_until_the_real_one_speaks() {
    let mut world = World::new(Kind::Ranks, Some(3), 4);
    let first = world.start(0, 1);
    let liar = world.table.handle(Member { slot: 5, epoch: 1 });
    let nobody = world.table.handle(Member { slot: 1, epoch: 9 });
    world.hear(liar, first, list(vec![Entry::new(Name(1), 9, nobody)])).expect("nothing speaks against it");
    let holder = |world: &World| match world.core(first).holder(&world.config, 1) {
        Known::Holder(holder) => Some(holder.handle),
        _ => None,
    };
    assert_eq!(holder(&world), Some(nobody));
    let real = world.start(1, 1);
    world.start(2, 1);
    world.until(secs(10), are_settled).unwrap_or_else(|| panic!("{:?}", ranks(&world)));
    assert_eq!(holder(&world), Some(real));
}

#[test]
fn a_driver_that_knows_of_a_replacement_ends_the_one_before_it() {
    for kind in [Kind::Ranks, Kind::Nearest(Metric::Number)] {
        let mut world = World::of(kind, 3, 0, 1);
        world.run(secs(3));
        let (old, new) = (world.at(1), world.table.handle(Member { slot: 1, epoch: 5 }));
        let question = world.call(old, |core, call, out| core.hold(call, 7, out));
        let before = world.take_events(old).len();
        assert!(before < 12, "{before} events of a quiet start");
        world.call(old, |core, call, out| core.learn(call, new, out));
        let mut events = world.take_events(old);
        assert_eq!(events.pop(), Some(Event::Displaced));
        assert_eq!(events.len(), usize::from(question.is_ok()), "who waits is told: {events:?}");
        assert!(world.core(old).is_over());
    }
}

#[test]
fn ranks_are_settled_around_the_world() {
    let mut world = World::new(Kind::Ranks, Some(20), 11);
    (world.delay, world.loss) = ((100, 160), 2);
    for slot in 0..20 {
        world.start(slot, 1);
    }
    world.until(secs(6), are_settled).unwrap_or_else(|| panic!("{:?}", ranks(&world)));
    for _ in 0..300 {
        world.run(Duration::from_millis(200));
        assert!(are_settled(&world), "nobody is suspected who lives");
    }
}

#[test]
fn each_side_of_a_split_is_unsettled_until_it_heals() {
    let mut world = World::of(Kind::Ranks, 8, 1, 2);
    world.until(secs(10), are_settled).expect("settled");
    world.island = (0..3).collect();
    let is_settled = |world: &World| {
        world.cores().any(|core| core.standing(&world.config).is_some_and(|it| it.is_settled))
    };
    world.until(secs(30), |world| !is_settled(world)).expect("all notice");
    world.run(secs(60));
    assert!(!is_settled(&world), "{:?}", ranks(&world));
    world.island.clear();
    world.until(secs(30), are_settled).expect("settled again");
}

#[test]
fn who_is_asked_for_a_rank_answers_now_or_when_it_is_known() {
    let mut world = World::of(Kind::Ranks, 4, 0, 3);
    let one = world.at(2);
    let ask = |world: &mut World, rank| world.call(one, |core, call, out| core.hold(call, rank, out));
    let (known, none) = (ask(&mut world, 1).expect("few"), ask(&mut world, 4).expect("few"));
    world.until(secs(10), are_settled).expect("settled");
    world.run(secs(5));
    let events = world.take_events(one);
    let result = |id| {
        events.iter().find_map(|event| match event {
            Event::Answer { question, result } if *question == id => Some(result.clone()),
            _ => None,
        })
    };
    let Some(Ok(Answer::Holder(holder))) = result(known) else { panic!("{events:?}") };
    assert_eq!((holder.rank, world.slot(holder.handle)), (1, 1));
    assert_eq!(result(none), Some(Err(AskError::Refused(Refusal::NoSuchRank))));
    for _ in 0..QUESTIONS_MAX {
        ask(&mut world, 9).expect("there is room");
    }
    assert!(matches!(ask(&mut world, 9), Err(BeginError::TooMany(_))));
}

#[test]
fn neighbours_of_a_mesh_are_told_of_a_replacement() {
    let shape = Shape::new(&[2, 4], Edges::Joined).expect("a shape");
    let mut world = World::of(Kind::Mesh(shape), 8, 2, 4);
    world.until(secs(10), are_settled).expect("settled");
    let place = world.core(world.at(5)).place().expect("a place");
    assert_eq!(place.at, [1, 1]);
    let beside = |world: &World, slot, way| {
        let place = world.core(world.at(slot)).place().expect("a place");
        let direction = Direction { dimension: 1, way };
        place.neighbours.iter().find(|(it, ..)| *it == direction).and_then(|(.., holder)| *holder)
    };
    assert_eq!(beside(&world, 5, Way::Up), Some(world.at(6)));
    for one in world.running() {
        world.take_events(one);
    }
    world.kill(6);
    world.run(secs(3));
    let new = world.start(6, 9);
    let is_beside = |world: &World, slot| {
        let place = world.core(world.at(slot)).place();
        place.is_some_and(|place| place.neighbours.iter().any(|(.., holder)| *holder == Some(new)))
    };
    world.until(secs(10), |world| [5, 7, 2].iter().all(|it| is_beside(world, *it))).expect("it is beside");
    world.until(secs(10), are_settled).expect("settled again");
    for slot in [5, 7, 2] {
        assert!(world.events(world.at(slot)).contains(&Event::Neighbours), "slot {slot}");
    }
    assert!(!world.events(world.at(0)).contains(&Event::Neighbours), "it stands elsewhere");
}

#[test]
fn a_shape_that_does_not_fit_is_said_and_nobody_has_a_place() {
    let shape = Shape::new(&[2, 3], Edges::Open).expect("a shape");
    let mut world = World::of(Kind::Mesh(shape), 5, 0, 5);
    world.until(secs(10), are_settled).expect("settled");
    for core in world.cores() {
        assert_eq!(core.trouble().map(|misfit| misfit.members), Some(5));
        assert_eq!(core.place(), None);
    }
    let mut world = World::new(Kind::Mesh(shape), None, 6);
    for slot in 0..6 {
        world.start(slot, 1);
    }
    let have_places = |world: &World| world.cores().all(|core| core.place().is_some());
    world.until(secs(20), have_places).expect("as many as it needs, though nobody said so before");
}

#[test]
fn too_few_or_too_many_members_for_a_shape_that_says_how_many_are_said() {
    let shape = Shape::new(&[2, 2], Edges::Open).expect("a shape");
    let troubles = |world: &World| -> Vec<_> {
        world.cores().map(|core| core.trouble().map(|misfit| misfit.members)).collect()
    };
    let mut world = World::new(Kind::Mesh(shape), Some(4), 9);
    for slot in 0..3 {
        world.start(slot, 1);
    }
    world.run(secs(8));
    assert_eq!(troubles(&world), [None; 3], "the fourth may come");
    world.until(secs(20), |world| troubles(world) == [Some(3); 3]).expect("it did not");
    assert!(world.cores().all(|core| core.place().is_some()), "they stand where they will");
    assert!(world.running().into_iter().all(|it| world.events(it).last() == Some(&Event::Standing)));
    world.start(3, 1);
    world.until(secs(10), |world| troubles(world) == [None; 4]).expect("it came");
    world.until(secs(10), are_settled).expect("settled");
    world.start(4, 1);
    world.until(secs(5), |world| troubles(world) == [Some(5); 5]).expect("nobody goes by itself");
    assert!(world.cores().all(|core| core.place().is_none()));
}

#[test]
fn the_nearest_are_found_by_number_and_by_items() {
    for members in [2, 3, 8, 20] {
        let mut world = World::of(Kind::Nearest(Metric::Number), members, 2, 7);
        for one in world.running() {
            let number = Profile::Number(Number(i64::from(world.slot(one)) * 10));
            world.call(one, |core, call, out| core.set_profile(call, number, out)).expect("of the metric");
        }
        let are_right = |world: &World| {
            world.running().into_iter().all(|one| {
                let slot = world.slot(one);
                let nearest = world.core(one).nearest();
                nearest.first().is_some_and(|(peer, _)| world.slot(*peer).abs_diff(slot) == 1)
            })
        };
        world.until(secs(20), are_right).unwrap_or_else(|| panic!("{members} members"));
        assert!(world.running().into_iter().all(|it| world.events(it).contains(&Event::Neighbours)));
    }
    let mut world = World::of(Kind::Nearest(Metric::Items), 6, 0, 8);
    for one in world.running() {
        let group = u64::from(world.slot(one) % 2);
        let items = Items::new(&[group, 10 + group, 20]).expect("few");
        world.call(one, |core, call, out| core.set_profile(call, Profile::Items(items), out)).expect("items");
    }
    let are_right = |world: &World| {
        world.running().into_iter().all(|one| {
            let nearest = world.core(one).nearest();
            let like = nearest.iter().take(2).filter(|(it, _)| world.slot(*it) % 2 == world.slot(one) % 2);
            like.count() == 2
        })
    };
    world.until(secs(20), are_right).expect("of one's own group");
    let one = world.at(0);
    let number = Profile::Number(Number(1));
    let result = world.call(one, |core, call, out| core.set_profile(call, number, out));
    assert_eq!(result, Err(BeginError::Kind("numbers as profiles")));
}

/// As where more members are expected than a list has room for.
fn counted(kind: Kind, members: u16, seed: u64) -> World {
    let mut world = World::new(kind, Some(u32::from(members)), seed);
    world.config.count_above = 4;
    for slot in 0..members {
        world.start(slot, 1);
    }
    world
}

#[test]
fn ranks_that_are_counted_follow_the_slots_and_are_found_step_by_step() {
    let mut world = counted(Kind::Ranks, 12, 9);
    world.until(secs(90), are_settled).unwrap_or_else(|| panic!("{:?}", ranks(&world)));
    assert_eq!(ranks(&world), (0..12).map(|it| (it, Some(u32::from(it)))).collect::<Vec<_>>());
    for (slot, rank) in [(0, 11), (11, 0), (5, 4), (4, 9)] {
        let one = world.at(slot);
        world.take_events(one);
        world.call(one, |core, call, out| core.hold(call, rank, out)).expect("few");
        world.run(secs(2));
        let events = world.take_events(one);
        let holder = events.iter().find_map(|event| match event {
            Event::Answer { result: Ok(Answer::Holder(holder)), .. } => Some(*holder),
            _ => None,
        });
        let holder = holder.unwrap_or_else(|| panic!("{slot} asks for {rank}: {events:?}"));
        assert_eq!((u32::from(world.slot(holder.handle)), holder.is_settled), (rank, true));
    }
    for slot in [7, 0, 11] {
        world.kill(slot);
        world.run(secs(1));
        let new = world.start(slot, 2);
        world.run(secs(10));
        world.until(secs(90), are_settled).expect("settled again");
        let rank = world.core(new).standing(&world.config).and_then(|it| it.rank);
        assert_eq!(rank, Some(u32::from(slot)));
    }
}

#[test]
fn a_mesh_on_counted_ranks_finds_its_neighbours() {
    let shape = Shape::new(&[3, 4], Edges::Joined).expect("a shape");
    let mut world = counted(Kind::Mesh(shape), 12, 10);
    let are_known = |world: &World| {
        world.running().into_iter().all(|one| {
            let place = world.core(one).place();
            let is_right = |(_, rank, holder): &(Direction, u32, Option<Handle>)| {
                holder.is_some_and(|holder| u32::from(world.slot(holder)) == *rank)
            };
            place.is_some_and(|place| place.neighbours.iter().all(is_right))
        })
    };
    world.until(secs(120), are_known).expect("all are known");
}
