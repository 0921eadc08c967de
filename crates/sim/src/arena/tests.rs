//! What the arena promises every protocol.

use xtreem_base::Duration;

use super::echo::Echo;
use super::*;
use crate::link::Latency;

fn arena(seed: u64, loss_per_million: u32) -> Arena<Echo> {
    let mut arena = Arena::new((), Link::new(seed, Latency::WORLD, loss_per_million), 100);
    (0..100).for_each(|slot| arena.add(Handle::from_u32(slot), Echo(Instant::ZERO)));
    arena
}

/// Who answered whom in so many seconds.
fn play(arena: &mut Arena<Echo>, seconds: u64) -> Vec<(Handle, Handle)> {
    arena.run_until(arena.now() + Duration::from_secs(seconds));
    arena.take_events().into_iter().map(|(_, asker, answerer)| (asker, answerer)).collect()
}

#[test]
fn halves_hear_only_themselves_until_they_are_one_again() {
    let is_across = |(a, b): &(Handle, Handle)| (slot_of(*a) < 50) != (slot_of(*b) < 50);
    let mut arena = arena(1, 0);
    assert!(play(&mut arena, 10).iter().any(is_across));
    arena.link().split((0..100).map(|slot| u8::from(slot < 50)).collect());
    let apart = play(&mut arena, 10);
    assert!(apart.len() > 400 && !apart.iter().any(is_across));
    arena.link().split(Vec::new());
    assert!(play(&mut arena, 10).iter().any(is_across));
}

#[test]
fn a_newcomer_has_another_handle_and_hears_nothing_that_was_meant_for_the_old_one() {
    let mut arena = arena(1, 0);
    arena.run_until(Instant::from_millis(1));
    for slot in 0..100 {
        let (old, now) = (arena.handle(slot), arena.now());
        arena.replace(successor(old), Echo(now + Duration::from_secs(5)), |_, _, _| {});
        assert!(!arena.is_alive(old) && arena.is_alive(successor(old)));
    }
    assert_eq!((play(&mut arena, 4), arena.events()), (Vec::new(), 100), "the first pings reached nobody");
    assert!(play(&mut arena, 2).iter().all(|(asker, _)| arena.is_alive(*asker)));
}

#[test]
fn what_travels_on_streams_arrives_however_much_is_lost() {
    let mut arena = arena(1, 500_000);
    let count = play(&mut arena, 100).len();
    assert!(count.abs_diff(10_000 / 2) < 400, "pings get lost, pongs do not: {count}");
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let of = |seed| {
        let mut arena = arena(seed, 10_000);
        (play(&mut arena, 5), arena.events(), arena.happened())
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn shares_add_up_to_whole_nodes() {
    let mut churn = Churn::default();
    assert_eq!([0.25; 8].map(|share| churn.due(10, share)), [2, 3, 2, 3, 2, 3, 2, 3]);
}

#[test]
fn members_and_packets_of_the_partial_view_fill_their_cache_lines() {
    use xtreem_membership::{Cyclon, Message};
    let packet = size_of::<Option<Packet<Message>>>();
    assert_eq!((size_of::<Place<Cyclon>>(), packet, size_of::<Tenancy>()), (192, 64, 24));
}
