//! The agent that makes an update dies at each of its steps.

use alloc::string::{String, ToString as _};

use super::*;

/// The values of all topics, and whether they are the new ones.
fn is_made(world: &mut World, at: &str) -> bool {
    let values = ["a", "b", "c"].map(|of| world.read_value(1, of).1);
    match values.each_ref().map(String::as_str) {
        ["old a", "old b", ""] => false,
        ["new a", "", "new c"] => true,
        other => panic!("{at}: {other:?}"),
    }
}

/// Two values, and an update that changes one, removes one and makes one, at an agent that dies with its
/// question of this number: it may be done, or not.
fn dies_at(step: u64, is_lost: bool) -> (World, Vec<Change>, bool) {
    let mut world = World::new(step, 3);
    let said = world.make(1, "first", [change("a", None, "old a"), change("b", None, "old b")].into());
    let Said::Updated(Ok(ids)) = said else { panic!("{said:?}") };
    let changes =
        [change("b", ids[1], ""), change("c", None, "new c"), change("a", ids[0], "new a")].to_vec();
    world.asked = 0;
    (world.dies_in, world.is_last_lost) = (Some(step), is_lost);
    world.begin_update(0, "op", changes.clone());
    let until = world.now + Duration::from_secs(2);
    let said = world.await_answer(u64::MAX, until);
    assert!(matches!(said, Said::Nothing));
    let is_over = world.asked < step;
    world.dies_in = None;
    (world, changes, is_over)
}

#[test]
fn whoever_reads_after_a_death_at_any_step_sees_all_or_nothing() {
    let mut seen = Vec::new();
    for is_lost in [false, true] {
        for step in 1.. {
            let at = format!("step {step}, lost {is_lost}");
            let (mut world, _, is_over) = dies_at(step, is_lost);
            let first = is_made(&mut world, &at);
            world.pass(10_000);
            assert_eq!(is_made(&mut world, &at), first, "{at}");
            seen.push(first);
            for _ in 0..2 {
                world.sweep();
                world.pass(10_000);
            }
            assert!(!world.has_intents(), "{at}");
            assert_eq!(is_made(&mut world, &at), first, "{at}");
            if is_over {
                assert!(step > 10, "{at}");
                break;
            }
        }
    }
    assert!(seen.contains(&true) && seen.contains(&false));
}

#[test]
fn a_retry_at_another_agent_after_a_death_at_any_step_makes_it_once() {
    for is_lost in [false, true] {
        for step in 1.. {
            let at = format!("step {step}, lost {is_lost}");
            let (mut world, changes, is_over) = dies_at(step, is_lost);
            let said = world.make(2, "op", changes.clone());
            let Said::Updated(Ok(ids)) = said else { panic!("{at}: {said:?}") };
            assert!(is_made(&mut world, &at), "{at}");
            // It was changed again meanwhile: the repetition is still the first one.
            let Said::Updated(Ok(_)) = world.make(1, "next", [change("a", ids[2], "newer")].into()) else {
                panic!("{at}")
            };
            let Said::Updated(Ok(again)) = world.make(0, "op", changes) else { panic!("{at}") };
            assert_eq!(again, ids, "{at}");
            assert_eq!(world.read_value(1, "a").1, "newer", "{at}");
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn an_update_of_what_has_changed_does_nothing_and_says_so_again() {
    let mut world = World::new(1, 2);
    let Said::Updated(Ok(ids)) = world.make(0, "1", [change("a", None, "x"), change("b", None, "y")].into())
    else {
        panic!("made")
    };
    let Said::Updated(Ok(_)) = world.make(1, "2", [change("b", ids[1], "z")].into()) else { panic!("made") };
    let changes = [change("a", ids[0], "no"), change("b", ids[1], "no")].to_vec();
    for at in [0, 1] {
        let Said::Updated(Err(Failed::Conflict(of, Some(_)))) = world.make(at, "3", changes.clone()) else {
            panic!("a conflict")
        };
        assert_eq!(of.to_string(), "\"b\"");
    }
    assert_eq!((world.read_value(0, "a").0, world.read_value(0, "a").1), (ids[0], "x".into()));
    let other = world.make(0, "3", [change("a", ids[0], "other")].into());
    assert!(matches!(other, Said::Updated(Err(Failed::Another))), "{other:?}");
}
