//! What members that lie can do, and what not.

use std::boxed::Box;

use xtreem_base::Rng;

use super::*;
use crate::Position;
use crate::mesh::{Edges, Shape};
use crate::ranks::all::{self, Entry, Head, Name};
use crate::tman;

fn kinds() -> Vec<Kind> {
    let terms = Terms::new(secs(5), 2, None).expect("possible");
    let shape = Shape::new(&[2, 3], Edges::Joined).expect("a shape");
    let copies = copies(2);
    [
        Kind::Ring { copies },
        Kind::Chord { copies },
        Kind::Ranks,
        Kind::Mesh(shape),
        Kind::Farm { copies, terms },
        Kind::Nearest(Metric::Items),
        Kind::Nearest(Metric::Number),
    ]
    .into()
}

/// A busy world of a kind; `counted`: where it has ranks they are counted.
fn busy(kind: Kind, is_counted: bool, seed: u64) -> World {
    let mut world = World::new(kind, Some(6), seed);
    if is_counted {
        world.config.count_above = 1;
    }
    world.loss = 2;
    for slot in 0..6 {
        world.start(slot, 2);
    }
    for one in world.running() {
        let slot = world.slot(one);
        let task = TaskName::new(&format!("task {slot}")).expect("short");
        let items = Profile::Items(tman::Items::new(&[u64::from(slot)]).expect("few"));
        let number = Profile::Number(tman::Number(slot.into()));
        world.call(one, |core, call, out| {
            let _ = core.add_task(call, &task, b"input", out);
            let _ = core.outcomes(call, out);
            let _ = core.hold(call, 3, out);
            let _ = core.set_profile(call, items, out);
            let _ = core.set_profile(call, number, out);
        });
    }
    world
}

/// Bytes of others' messages, changed here and there.
fn mangled(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = rng.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..rng.below(4) {
        let len = bytes.len() as u32;
        match rng.below(4) {
            0 if len > 0 => bytes[rng.below(len) as usize] = rng.next_u32() as u8,
            1 if len > 0 => bytes[rng.below(len) as usize] ^= 1 << rng.below(8),
            2 if len > 1 => bytes.truncate(1 + rng.below(len - 1) as usize),
            _ => {
                let other = rng.pick(corpus).cloned().unwrap_or_default();
                let (at, from) = (rng.below(len + 1) as usize, rng.below(other.len() as u32 + 1) as usize);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn random_messages_never_panic() {
    let mut corpus = Vec::new();
    let worlds = || kinds().into_iter().flat_map(|kind| [(kind.clone(), false), (kind, true)]);
    for (kind, is_counted) in worlds() {
        let mut world = busy(kind, is_counted, 1);
        world.keeps = true;
        world.run(secs(20));
        let step = world.kept.len() / 400 + 1;
        corpus.extend(world.kept.into_iter().step_by(step));
    }
    let mut rng = Rng::new(2);
    for (kind, is_counted) in worlds() {
        let mut world = busy(kind, is_counted, 3);
        world.run(secs(8));
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..4_000 {
            let bytes = mangled(&corpus, &mut rng);
            let Ok(message) = minicbor::decode_with::<_, Message>(&bytes, &mut world.table) else { continue };
            let _ = message.travel();
            let running = world.running();
            let to = *rng.pick(&running).expect("some run");
            let from = Handle::from_u32(rng.below(world.table.0.len() as u32));
            match world.hear(from, to, message) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            if rng.chance(1, 50) {
                world.run(Duration::from_millis(100));
            }
        }
        world.run(secs(10));
        assert!(taken > 20 && refused > 20, "{taken} taken, {refused} refused");
    }
}

#[test]
fn a_member_that_claims_anothers_id_is_at_fault() {
    let mut world = World::of(Kind::Ranks, 3, 0, 1);
    world.run(secs(3));
    let (me, liar, other) = (world.at(0), world.at(1), world.at(2));
    let before = world.core(me).standing(&world.config);
    let lie = |name, epoch, handle| {
        let entries = [Entry::new(Name(name), epoch, handle)].into();
        Message::All(Box::new(all::Message::Take { head: Head { seq: 1, number: 0 }, entries }))
    };
    assert_eq!(world.hear(liar, me, lie(2, 1, liar)), Err(Fault::AnotherId), "another's name");
    assert_eq!(world.hear(liar, me, lie(2, 7, other)), Err(Fault::AnotherId), "another's epoch");
    assert_eq!(world.hear(liar, me, lie(9, 1, other)), Err(Fault::AnotherId), "nobody's name");
    assert_eq!(world.core(me).standing(&world.config), before);

    let mut world = World::of(Kind::Ring { copies: copies(1) }, 3, 0, 2);
    world.run(secs(20));
    let (me, liar) = (world.at(0), world.at(1));
    let profile = Position::new(rings::key("a"), world.member(world.at(2)).id());
    let (kind, bounds, peers) = (tman::Kind::Ask, Vec::new(), Vec::new());
    let lie = tman::Message { kind, seq: 1, profile, bounds, peers };
    let lie = Message::Overlay(crate::overlay::Message::Order(Box::new(lie)));
    assert_eq!(world.hear(liar, me, lie), Err(Fault::Overlay(crate::overlay::Fault::AnotherId)));
}

#[test]
fn nobody_speaks_as_this_member_or_as_one_that_was_replaced() {
    let mut world = World::of(Kind::Ranks, 3, 0, 3);
    world.run(secs(3));
    let (me, old) = (world.at(0), world.at(2));
    let message = || Message::View(xtreem_membership::Message::Ping { seq: 1 });
    assert_eq!(world.hear(me, me, message()), Err(Fault::FromMyself));
    assert_eq!(world.hear(Handle::from_u32(99), me, message()), Err(Fault::Stranger));
    assert_eq!(world.hear(old, me, message()), Ok(()));
    let new = world.table.handle(Member { slot: 2, epoch: 2 });
    assert_eq!(world.hear(new, me, message()), Ok(()));
    assert_eq!(world.hear(old, me, message()), Err(Fault::Replaced));
    let farm = Message::Farm(Box::new(crate::farm::Message::Ask { seq: 1 }));
    assert_eq!(world.hear(new, me, farm), Err(Fault::OtherKind));
    assert_eq!(world.hear(new, me, Message::News), Err(Fault::OtherKind));
    let told = Message::Told(QuestionId(1), Box::new(Told::Added));
    assert_eq!(world.hear(new, me, told), Err(Fault::Unasked));
}

#[test]
fn a_member_stands_nowhere_once_its_replacement_has_spoken() {
    for kind in kinds() {
        let mut world = busy(kind.clone(), true, 5);
        world.run(secs(20));
        let (me, old) = (world.at(0), world.at(4));
        let new = world.table.handle(Member { slot: 4, epoch: 7 });
        // What was promised to it on the ring is kept until it ends, and the list of all has it until the
        // newer one stands in its place.
        let stands = |world: &World| {
            let core = world.core(me);
            let ring = core.ring().into_iter();
            let on_ring = ring.flat_map(|ring| ring.contacts().chain(ring.predecessor())).map(|it| it.handle);
            let near = core.nearest().into_iter().map(|(peer, _)| peer);
            core.view.contacts().chain(on_ring).chain(near).any(|it| it == old)
        };
        assert!(stands(&world), "{kind:?}");
        let ping = Message::View(xtreem_membership::Message::Ping { seq: 1 });
        assert_eq!(world.hear(new, me, ping), Ok(()));
        assert!(!stands(&world), "{kind:?}");
    }
}

#[test]
fn an_outcome_is_put_again_when_its_writer_hears_that_it_lost() {
    let kind = kinds().remove(4);
    let mut world = World::of(kind, 3, 0, 6);
    let (farmer, adder) = (world.at(0), world.at(2));
    let task = TaskName::new("once").expect("short");
    world.call(adder, |core, call, out| core.add_task(call, &task, b"input", out)).expect("few");
    for _ in 0..200 {
        world.run(Duration::from_millis(100));
        for one in world.running() {
            if world.take_events(one).iter().any(|event| matches!(event, Event::Start { .. })) {
                world
                    .call(one, |core, call, out| core.finish(call, &task, Ok(b"done"), out))
                    .expect("at hand");
            }
        }
    }
    let key = super::super::table::key_of(task.id());
    let lies = |world: &World| {
        let stores = world.cores().filter_map(|core| core.store());
        stores
            .filter_map(|store| store.shelf().get(&key))
            .map(|item| item.stamp)
            .max()
            .expect("it lies there")
    };
    // Somebody writes over it what a split would have left there.
    let before = lies(&world);
    let older = crate::farm::Item {
        task: task.id(),
        state: crate::farm::State::Open { input: task.head(b"input").expect("short"), failed: 2, lost: 0 },
    };
    let value = crate::store::Value::new(&minicbor::to_vec(&older).expect("written")).ok();
    let action = crate::store::Action::Write { value, degree: 2, lease: secs(600), expected: None };
    let operation = crate::store::Operation { key: key.clone(), action };
    world.call(adder, |core, call, out| {
        core.with_overlay(call, out, |overlay, call, out| overlay.begin(call, operation, out))
    });
    // Shorter than it takes a farmer to read its table again.
    world.until(secs(3), |world| lies(world) > before).expect("it is written over");
    let (before, winner) = (before.version, lies(&world));
    let winner = crate::store::Winner { key: key.clone(), stamp: winner, writer: world.member(adder).id() };
    let lost = crate::store::Message::Lost { version: before, winner: winner.clone() };
    let lost = Message::Overlay(crate::overlay::Message::Store(Box::new(lost)));
    assert_eq!(world.hear(adder, farmer, lost), Ok(()));
    world.until(secs(3), |world| lies(world) > winner.stamp).expect("it is put again");
    let stores = world.cores().filter_map(|core| core.store()).filter_map(|store| store.shelf().get(&key));
    let newest = stores.max_by_key(|item| item.stamp).and_then(|item| item.value.clone()).expect("a value");
    let item: crate::farm::Item = minicbor::decode(newest.as_bytes()).expect("a task");
    assert!(matches!(item.state, crate::farm::State::Done { .. }), "{item:?}");
}

#[test]
fn news_and_orders_count_only_from_the_farmer() {
    let kind = kinds().remove(4);
    let mut world = World::of(kind, 3, 0, 4);
    world.run(secs(20));
    let (farmer, me, liar) = (world.at(0), world.at(1), world.at(2));
    assert_eq!(world.core(me).farmer(), Some(farmer));
    assert_eq!(world.hear(liar, me, Message::News), Err(Fault::NotMyFarmer));
    assert_eq!(world.hear(farmer, me, Message::News), Ok(()));
    let nameless = crate::farm::Body::new(b"\x05abc").expect("short");
    let ask = Message::Ask(QuestionId(1), Box::new(Ask::Add(nameless)));
    assert_eq!(world.hear(liar, farmer, ask), Err(Fault::Nameless));
}
