//! Bulk loads, and what is told to the owners of some keys.

use std::collections::BTreeSet;
use std::format;

use super::rings::key;
use super::*;
use crate::Position;
use crate::store::{Action, Failed, Operation, Refused, Success, Value};

fn write(name: &str) -> Operation {
    let value = Some(Value::new(&[7; 200]).expect("short"));
    let action = Action::Write { value, degree: 1, lease: secs(3_600), expected: None };
    Operation { key: key(name), action }
}

fn is_there(world: &World) -> bool {
    world.cores().all(|core| {
        let is_owner = core.ring().is_some_and(|ring| ring.is_owner(world.now));
        is_owner && core.store().is_some_and(|store| store.is_open())
    })
}

fn load(world: &mut World, slot: u16, items: Vec<Operation>) -> Option<Success> {
    let one = world.at(slot);
    let id = world.call(one, |core, call, out| core.load(call, items, out)).expect("few");
    let is_it = |event: &Event| matches!(event, Event::Item { request, .. } if *request == id);
    world.until(secs(60), |world| world.events(one).iter().any(is_it))?;
    world.take_events(one).into_iter().find_map(|event| match event {
        Event::Item { request, result } if request == id => result.ok(),
        _ => None,
    })
}

/// Four members with 200 items, and four that came afterwards, to where the load is.
fn loaded_ring() -> World {
    let mut world = World::of(Kind::Ring { copies: copies(1) }, 4, 0, 31);
    world.until(secs(40), is_there).expect("a ring");
    let items = (0..200).map(|nth| write(&format!("item {nth:03}"))).collect();
    let all = Some(Success::Loaded { written: 200, failed: Vec::new() });
    assert_eq!(load(&mut world, 0, items), all);
    for slot in 4..8 {
        world.start(slot, 1);
        world.run(secs(3));
    }
    world.until(secs(60), is_there).expect("a ring of eight");
    world
}

#[test]
fn a_bulk_load_tells_which_items_were_not_written_and_why() {
    let mut world = loaded_ring();
    let items = (150..250).map(|nth| write(&format!("item {nth:03}"))).collect();
    let Some(Success::Loaded { written, failed }) = load(&mut world, 1, items) else { panic!("it ends") };
    let own = world.member(world.at(0)).id();
    assert_eq!((written, failed.len()), (50, 50), "what slot 0 wrote stays");
    let is_anothers = |failed: &Failed| *failed == Failed::Refused(Refused::AnotherWriter(own));
    assert!(failed.iter().all(|(name, why)| *name < key("item 200") && is_anothers(why)));
}

#[test]
fn the_owners_of_some_keys_are_told_and_nobody_else() {
    let mut world = loaded_ring();
    let one = world.at(0);
    let mut sizes = BTreeSet::new();
    for (nth, (lo, hi)) in [(50, 150), (0, 200), (7, 8)].into_iter().enumerate() {
        let (lo, hi) = (key(&format!("item {lo:03}")), key(&format!("item {hi:03}")));
        let content = Value::new(&[nth as u8]).expect("short");
        let (part, said) = ((lo.clone(), Some(hi.clone())), content.clone());
        let id = world.call(one, |core, call, out| core.tell_owners(call, part, said, out)).expect("few");
        world.run(secs(5));
        let mut places: Vec<(Position, u16)> = (0..8)
            .map(|slot| {
                let ring = world.core(world.at(slot)).ring().expect("a ring");
                (ring.position().cloned().expect("a place"), slot)
            })
            .collect();
        places.sort();
        let owner = |key: &Key| {
            let target = Position::of_key(key.clone());
            places.iter().position(|(place, _)| *place >= target).unwrap_or(0)
        };
        let (first, last) = (owner(&lo), owner(&hi));
        let steps = (last + 8 - first) % 8;
        let owners: BTreeSet<u16> = (0..=steps).map(|step| places[(first + step) % 8].1).collect();
        let mut told = BTreeSet::new();
        for slot in 0..8 {
            let events = world.take_events(world.at(slot));
            if slot == 0 {
                assert!(events.contains(&Event::Begun { part: id, is_begun: true }), "{events:?}");
            }
            if events.contains(&Event::Told { slot: 0, content: content.clone() }) {
                told.insert(slot);
            }
        }
        assert_eq!(told, owners);
        sizes.insert(owners.len());
    }
    assert!(sizes.iter().any(|size| (2..8).contains(size)), "{sizes:?}: some own several parts");
}

#[test]
fn parts_without_keys_and_rings_without_order_are_refused() {
    let refused = |kind, lo: &str, hi: &str| {
        let mut world = World::of(kind, 1, 0, 33);
        let (one, content) = (world.at(0), Value::new(b"x").expect("short"));
        let part = (key(lo), Some(key(hi)));
        world.call(one, |core, call, out| core.tell_owners(call, part, content, out)).expect_err("refused")
    };
    assert_eq!(refused(Kind::Ring { copies: copies(1) }, "b", "a"), BeginError::NoKeys);
    assert_eq!(refused(Kind::Ring { copies: copies(1) }, "a", "a"), BeginError::NoKeys);
    let unordered = BeginError::Kind("order of its keys");
    assert_eq!(refused(Kind::Chord { copies: copies(1) }, "a", "b"), unordered);
}
