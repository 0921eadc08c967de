//! No acknowledged write is lost inside its lease, and no version has two values.

use xtreem_base::Duration;
use xtreem_overlay::Key;
use xtreem_overlay::store::{Action, Operation, Success, Value};

use super::world::{DEGREE, World};

const NODES: u32 = 20;

/// Half a minute of writing and reading around what `fault` does to the world in each second.
fn work(world: &mut World, seconds: u32, mut fault: impl FnMut(&mut World, u32)) {
    for second in 0..seconds {
        fault(world, second);
        for _ in 0..5 {
            world.put(60);
            world.get();
            world.pass(200);
        }
    }
}

fn check(mut world: World, what: &str) -> World {
    world.pass(30_000);
    world.read_all();
    assert!(world.wrong.is_empty(), "{what}: {:#?}", world.wrong);
    assert!(world.written > 50 && world.read > 50, "{what}: {} written, {} read", world.written, world.read);
    world
}

#[test]
fn as_many_adjacent_owners_may_die_as_there_are_copies() {
    for seed in 1..4 {
        let mut world = World::new(NODES, seed);
        let mut dead = Vec::new();
        work(&mut world, 60, |world, second| match second % 20 {
            // All of them within ten seconds.
            2 => dead = world.adjacent(DEGREE.into()),
            3 => world.kill(dead[0]),
            7 => world.kill(dead[1]),
            19 => dead.iter().for_each(|slot| world.replace(*slot)),
            _ => {}
        });
        check(world, &format!("seed {seed}"));
    }
}

#[test]
fn nothing_is_lost_by_pauses_and_loss() {
    for seed in 11..14 {
        let mut world = World::new(NODES, seed);
        world.arena.link().set_loss(50_000);
        work(&mut world, 60, |world, second| {
            if second % 5 == 1 {
                let slot = world.adjacent(1)[0];
                let span = Duration::from_millis(world.fate.between(1_000, 12_000));
                world.arena.with(slot, |node, call, _| node.paused_until = call.now + span);
            }
        });
        world.arena.link().set_loss(0);
        check(world, &format!("seed {seed}"));
    }
}

#[test]
fn nothing_is_lost_by_churn() {
    for seed in 21..23 {
        let mut world = World::new(NODES, seed);
        let mut dead = None;
        work(&mut world, 90, |world, second| match second % 15 {
            1 => {
                let slot = world.adjacent(1)[0];
                world.kill(slot);
                dead = Some(slot);
            }
            8 => dead.take().into_iter().for_each(|slot| world.replace(slot)),
            _ => {}
        });
        check(world, &format!("seed {seed}"));
    }
}

#[test]
fn after_a_split_both_sides_come_to_the_same() {
    for seed in 31..33 {
        let mut world = World::new(NODES, seed);
        work(&mut world, 10, |_, _| {});
        world.is_split = true;
        world.arena.link().split((0..NODES).map(|slot| (slot & 1) as u8).collect());
        work(&mut world, 40, |_, _| {});
        world.arena.link().split(Vec::new());
        world.pass(150_000);
        world.is_split = false;
        // Of each key what was acknowledged last on some side, or something newer.
        check(world, &format!("seed {seed}"));
    }
}

#[test]
fn many_sorted_items_are_loaded_and_read_in_their_order() {
    let mut world = World::new(8, 41);
    let key = |number: u32| World::key(number);
    let value = Value::new(&[1; 100]).expect("short");
    let lease = Duration::from_secs(600);
    let write = |number| Operation {
        key: key(number),
        action: Action::Write { value: Some(value.clone()), degree: DEGREE, lease, expected: None },
    };
    let items: Vec<Operation> = (0..500).map(write).collect();
    world.arena.with(3, |node, call, out| node.load(call, items, out)).expect("room");
    world.pass(40_000);
    assert_eq!(world.results, [Success::Loaded { written: 500, failed: Vec::new() }]);
    world.results.clear();
    let lo = xtreem_overlay::Key::from_bytes(&[1]).expect("short");
    world.ask(5, lo, Action::Scan { hi: None, limit: 1_000 }, None);
    world.pass(20_000);
    let [Success::Scanned { found, next: None }] = &world.results[..] else {
        panic!("{:?}", world.results.len());
    };
    assert_eq!(found.len(), 500);
    assert!(found.is_sorted_by(|a, b| a.key < b.key));
}

/// A slot writes one key, and waits until that is done.
fn write(world: &mut World, key: &Key, degree: u8, lease: Duration) {
    let value = Some(Value::new(&[degree]).expect("short"));
    world.ask(3, key.clone(), Action::Write { value, degree, lease, expected: None }, None);
    for _ in 0..200 {
        if std::mem::take(&mut world.written) > 0 {
            return;
        }
        world.pass(100);
    }
    panic!("not written: {:?}", world.wrong);
}

/// Slots where something lies under a key, the owner last.
fn holders(world: &World, key: &Key) -> Vec<u32> {
    let mut slots = world.living();
    slots.retain(|slot| world.arena.member(*slot).store.shelf().get(key).is_some());
    let owns = |slot: &u32| {
        let lease = world.arena.member(*slot).ring.lease();
        lease.is_some_and(|lease| lease.range().contains_key(key))
    };
    slots.sort_by_key(owns);
    slots
}

/// Longer than a stray copy waits, and until all of them are gone.
fn nothing_comes_back(world: &mut World, key: &Key) {
    for second in 0..90 {
        world.arena.with(5, |node, call, out| {
            node.begin(call, Operation { key: key.clone(), action: Action::Get }, out)
        });
        world.pass(1_000);
        let found = world.results.drain(..).find(|it| !matches!(it, Success::Got { found: None, .. }));
        assert_eq!(found, None, "after {second} s");
    }
    assert!(world.wrong.is_empty(), "{:?}", world.wrong);
}

#[test]
fn what_a_shorter_lease_replaced_does_not_come_back_from_copies_that_are_too_many() {
    let (mut world, key) = (World::new(10, 51), World::key(1));
    write(&mut world, &key, 5, Duration::from_secs(3_600));
    assert_eq!(holders(&world, &key).len(), 6);
    write(&mut world, &key, 0, Duration::from_secs(5));
    world.pass(5_000);
    nothing_comes_back(&mut world, &key);
    world.pass(60_000);
    assert_eq!(holders(&world, &key).len(), 1, "its owner remembers it");
}

/// While one that has a copy is paused; what is sent to it lies in its socket, or is lost.
fn replaced_beside_a_paused_holder(is_lost: bool) {
    let (mut world, key) = (World::new(10, 52), World::key(1));
    write(&mut world, &key, DEGREE, Duration::from_secs(3_600));
    let copies = &holders(&world, &key)[..DEGREE.into()];
    // Slots 3 and 5 write and read.
    let paused = *copies.iter().find(|slot| ![3, 5].contains(slot)).expect("as the seed has it");
    world.arena.with(paused, |node, call, _| node.paused_until = call.now + Duration::from_secs(40));
    if is_lost {
        world.arena.link().split((0..10).map(|slot| u8::from(slot == paused)).collect());
    }
    write(&mut world, &key, DEGREE, Duration::from_secs(5));
    world.pass(5_000);
    world.arena.link().split(Vec::new());
    nothing_comes_back(&mut world, &key);
}

#[test]
fn what_a_shorter_lease_replaced_does_not_come_back_from_a_holder_that_was_paused() {
    replaced_beside_a_paused_holder(false);
    replaced_beside_a_paused_holder(true);
}
