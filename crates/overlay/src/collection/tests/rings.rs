//! Items on the ring of a collection.

use super::*;
use crate::store::{Action, Operation, RequestId, Success, Value};

pub(super) fn key(name: &str) -> Key {
    Key::new(Namespace::USER, name.as_bytes()).expect("short")
}

fn write(name: &str, value: &str, copies: u8) -> Operation {
    let value = Some(Value::new(value.as_bytes()).expect("short"));
    let action = Action::Write { value, degree: copies, lease: secs(3_600), expected: None };
    Operation { key: key(name), action }
}

fn read(name: &str) -> Operation {
    Operation { key: key(name), action: Action::Get }
}

fn is_there(world: &World) -> bool {
    world.cores().all(|core| {
        let is_owner = core.ring().is_some_and(|ring| ring.is_owner(world.now));
        is_owner && core.store().is_some_and(|store| store.is_open())
    })
}

/// What an operation comes to, in at most half a minute.
fn wait_for(world: &mut World, one: Handle, id: RequestId) -> Option<Success> {
    let is_it = |event: &Event| matches!(event, Event::Item { request, .. } if *request == id);
    world.until(secs(30), |world| world.events(one).iter().any(is_it))?;
    world.take_events(one).into_iter().find_map(|event| match event {
        Event::Item { request, result } if request == id => result.ok(),
        _ => None,
    })
}

fn do_it(world: &mut World, slot: u16, operation: Operation) -> Option<Success> {
    let one = world.at(slot);
    let id = world.call(one, |core, call, out| core.begin(call, operation, out)).expect("few");
    wait_for(world, one, id)
}

fn value(success: Option<Success>) -> Option<String> {
    match success {
        Some(Success::Got { found: Some(found), .. }) => {
            String::from_utf8(found.value.as_bytes().to_vec()).ok()
        }
        _ => None,
    }
}

#[test]
fn items_may_be_written_soon_after_the_start_and_are_read_everywhere() {
    for kind in [Kind::Ring { copies: copies(2) }, Kind::Chord { copies: copies(2) }] {
        for members in [1, 2, 3, 8, 20] {
            for seed in 0..3 {
                let mut world = World::of(kind.clone(), members, 0, seed);
                if seed == 0 {
                    // Around the world.
                    (world.delay, world.loss) = ((100, 160), 1);
                }
                let one = world.at(members - 1);
                let first = write("first", "it is there", 2);
                let begun = world.now;
                let id = world.call(one, |core, call, out| core.begin(call, first, out)).expect("few");
                let written = wait_for(&mut world, one, id);
                let took = world.now.since(begun);
                assert!(
                    written.is_some() && took < secs(if seed == 0 { 22 } else { 13 }),
                    "{kind:?} {members}, {seed}: {written:?} {took}"
                );
                world.until(secs(30), is_there).unwrap_or_else(|| panic!("{kind:?} {members} {seed}"));
                for slot in [0, members / 2, members - 1] {
                    let got = value(do_it(&mut world, slot, read("first")));
                    assert_eq!(got.as_deref(), Some("it is there"), "{kind:?} {members}, {seed}");
                }
                if matches!(kind, Kind::Chord { .. }) {
                    let ring = |core: &Collection| core.ring().and_then(|it| it.position().cloned());
                    assert!(
                        world.cores().all(|core| ring(core).is_some_and(|it| it.key.as_bytes().len() == 21))
                    );
                }
            }
        }
    }
}

#[test]
fn items_survive_the_death_of_as_many_owners_as_there_are_copies() {
    for (members, seed) in [(3, 1), (8, 2), (20, 3), (20, 4)] {
        let mut world = World::of(Kind::Ring { copies: copies(2) }, members, 1, seed);
        world.until(secs(40), is_there).expect("a ring");
        for nth in 0..20 {
            let name = format!("item {nth}");
            let written = do_it(&mut world, nth % members, write(&name, &name, 2));
            assert!(matches!(written, Some(Success::Written { .. })), "{name}: {written:?}");
        }
        // The owner of the first one and whoever stands next.
        let owner = world
            .running()
            .into_iter()
            .find(|it| {
                let ring = world.core(*it).ring().expect("a ring");
                ring.range().is_some_and(|range| range.contains_key(&key("item 0")))
            })
            .expect("an owner");
        let next = world.core(owner).ring().and_then(|ring| ring.successors().first()).expect("one").handle;
        let (owner, next) = (world.slot(owner), world.slot(next));
        world.kill(owner);
        world.kill(next);
        let witness = world.slot(world.running()[0]);
        for nth in 0..20 {
            let name = format!("item {nth}");
            let mut got = None;
            for _ in 0..3 {
                got = got.or_else(|| value(do_it(&mut world, witness, read(&name))));
            }
            assert_eq!(got.as_deref(), Some(name.as_str()), "{members} members, {seed}");
        }
    }
}

#[test]
fn a_replacement_may_write_what_the_one_before_it_wrote_and_nobody_else() {
    let mut world = World::of(Kind::Ring { copies: copies(1) }, 4, 0, 5);
    world.until(secs(40), is_there).expect("a ring");
    assert!(do_it(&mut world, 1, write("mine", "one", 1)).is_some());
    assert_eq!(do_it(&mut world, 2, write("mine", "two", 1)), None, "another writer");
    world.kill(1);
    world.run(secs(1));
    world.start(1, 2);
    world.until(secs(60), is_there).expect("it is back on the ring");
    assert!(matches!(do_it(&mut world, 1, write("mine", "three", 1)), Some(Success::Written { .. })));
    assert_eq!(value(do_it(&mut world, 3, read("mine"))).as_deref(), Some("three"));
}

#[test]
fn a_ring_that_was_split_is_one_again_and_has_what_both_sides_wrote() {
    for seed in 0..3 {
        let mut world = World::of(Kind::Ring { copies: copies(2) }, 8, 1, 20 + seed);
        world.until(secs(40), is_there).expect("a ring");
        assert!(do_it(&mut world, 0, write("before", "both", 2)).is_some());
        world.island = (0..3).collect();
        world.run(secs(20));
        for (slot, name) in [(1, "here"), (6, "there")] {
            let written = do_it(&mut world, slot, write(name, name, 2));
            assert!(matches!(written, Some(Success::Written { .. })), "{name}, seed {seed}: {written:?}");
        }
        world.island.clear();
        world.run(secs(30));
        world.until(secs(60), is_there).expect("a ring again");
        for slot in 0..8 {
            for (name, wanted) in [("before", "both"), ("here", "here"), ("there", "there")] {
                let got = value(do_it(&mut world, slot, read(name)));
                assert_eq!(got.as_deref(), Some(wanted), "slot {slot}, seed {seed}");
            }
        }
    }
}

#[test]
fn who_leaves_hands_on_what_it_had() {
    let mut world = World::of(Kind::Ring { copies: copies(0) }, 4, 0, 6);
    world.until(secs(40), is_there).expect("a ring");
    for nth in 0..8 {
        assert!(do_it(&mut world, nth % 4, write(&format!("item {nth}"), "kept", 0)).is_some());
    }
    let gone = world.at(2);
    world.call(gone, |core, call, out| core.leave(call, out));
    world.until(secs(20), |world| world.core(gone).is_over()).expect("it has left");
    assert!(world.events(gone).contains(&Event::Left));
    world.kill(2);
    for nth in 0..8 {
        assert_eq!(value(do_it(&mut world, 0, read(&format!("item {nth}")))).as_deref(), Some("kept"));
    }
}

#[test]
fn who_is_alone_or_nowhere_yet_leaves_at_once() {
    for kind in [Kind::Ring { copies: copies(2) }, Kind::Ranks] {
        for (members, wait) in [(1, 0), (1, 20), (2, 1), (2, 4), (2, 20)] {
            let mut world = World::of(kind.clone(), members, 0, 8);
            world.run(secs(wait));
            let one = world.at(0);
            let question = world.call(one, |core, call, out| core.hold(call, 9, out));
            world.call(one, |core, call, out| core.leave(call, out));
            let is_over = |world: &World| world.core(one).is_over();
            world.until(secs(20), is_over).unwrap_or_else(|| panic!("{kind:?} {members} {wait}"));
            let events = world.take_events(one);
            assert!(events.contains(&Event::Left));
            if let Ok(question) = question {
                let told = Event::Answer { question, result: Err(AskError::Unanswered) };
                assert!(events.contains(&told), "{events:?}");
            }
            let begun = world.call(one, |core, call, out| core.lookup(call, key("a"), out));
            assert_eq!(begun, Err(BeginError::Over));
            assert!(world.core(one).next_timeout(&world.config).is_never());
        }
    }
}

#[test]
fn names_are_keys_in_their_order_and_on_a_ring_of_chord_by_their_hash() {
    let keys = |kind| {
        let world = World::of(kind, 1, 0, 9);
        let core = world.core(world.at(0));
        [core.key(b"a").expect("short"), core.key(b"ab").expect("short")]
    };
    assert_eq!(keys(Kind::Ring { copies: copies(2) }), [key("a"), key("ab")]);
    let hashed = keys(Kind::Chord { copies: copies(2) });
    assert!(hashed.iter().all(|key| key.as_bytes().len() == 1 + crate::chord::ID_BYTES));
    assert_ne!(hashed[0], hashed[1]);
}

#[test]
fn owners_are_found_and_what_is_not_for_programs_is_refused() {
    let mut world = World::of(Kind::Chord { copies: copies(1) }, 8, 0, 7);
    world.until(secs(40), is_there).expect("a ring");
    let one = world.at(3);
    let lookup = world.call(one, |core, call, out| core.lookup(call, key("a"), out)).expect("few");
    world.run(secs(5));
    let events = world.take_events(one);
    let owner = events.iter().find_map(|event| match event {
        Event::Owner { lookup: it, owner } if *it == lookup => owner.clone(),
        _ => None,
    });
    let owner = owner.expect("an owner");
    let ring = world.core(owner.contact.handle).ring().expect("a ring");
    assert!(ring.range().is_some_and(|range| range.contains_key(&key("a"))));
    let tasks = Operation { key: Key::new(TASKS, b"x").expect("short"), action: Action::Get };
    let result = world.call(one, |core, call, out| core.begin(call, tasks, out));
    assert_eq!(result, Err(BeginError::Namespace));
}
