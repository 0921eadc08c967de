//! What members that lie can do, and what not.

use std::boxed::Box;

use xtreem_base::Rng;

use super::*;
use crate::Position;
use crate::mesh::{Edges, Shape};
use crate::ranks::all::{self, Entry, Head, Name};
use crate::tman;

fn kinds() -> Vec<Kind> {
    let terms = Terms::new(secs(5), 2).expect("possible");
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
