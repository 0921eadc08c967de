//! What each placement chooses, as tables, and what all of them keep to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;

use proptest::prelude::*;
use xtreem_base::{Coordinate, Rng};
use xtreem_discovery::Free;

use super::*;

fn facts(site: &str) -> Facts {
    let mut facts = Facts::default();
    if !site.is_empty() {
        facts.values.set("site", site).unwrap();
    }
    facts
}

fn numbered(all: impl IntoIterator<Item = Facts>) -> Vec<Candidate> {
    let candidate = |(i, facts)| Candidate { peer: Handle::from_u32(i), hold: u64::from(i), facts };
    (0..).zip(all).map(candidate).collect()
}

fn named(text: &str) -> Arc<dyn Placement> {
    Placements::default().parse(text).unwrap()
}

/// The numbers of the chosen ones of `all`, in order.
fn chosen(text: &str, all: &[Candidate], kept: &[&Facts], wanted: usize) -> Vec<u32> {
    let origin = Some(Coordinate::ORIGIN);
    let (chosen, others) = choose(&*named(text), all.to_vec(), kept, wanted, origin, &mut Rng::new(1));
    assert_eq!(chosen.len() + others.len(), all.len());
    let mut numbers: Vec<u32> = chosen.iter().map(|candidate| candidate.peer.as_u32()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn pack_takes_the_fullest_and_weighted_the_heaviest() {
    let free = |cores: u32, gib: u64| {
        let free = Free { cores_milli: cores * 1_000, memory_bytes: gib << 30, disk_bytes: 0 };
        let mut facts = Facts { free, ..Facts::default() };
        facts.values.set("mem.free", gib << 30).unwrap();
        facts
    };
    let all = numbered([free(8, 16), free(1, 2), free(4, 8), free(2, 2)]);
    assert_eq!(chosen("pack", &all, &[], 2), [1, 3]);
    assert_eq!(chosen("weighted by mem.free / 1GiB", &all, &[], 2), [0, 2]);
    assert_eq!(chosen("weighted by -mem.free", &all, &[], 2), [1, 3]);
}

#[test]
fn near_takes_the_shortest_round_trips_to_the_origin_or_to_the_other_holders() {
    let at = |x: i32| {
        let coordinate = Coordinate { at: [x, 0, 0], ..Coordinate::ORIGIN };
        Facts { coordinate: Some(coordinate), ..Facts::default() }
    };
    let all = numbered([at(900), at(-10), Facts::default(), at(300), at(1_000)]);
    assert_eq!(chosen("near", &all, &[], 2), [1, 3]);
    let kept = at(950);
    let (near, _) = choose(&*named("near"), all, &[&kept], 2, None, &mut Rng::new(1));
    let mut near: Vec<u32> = near.iter().map(|candidate| candidate.peer.as_u32()).collect();
    near.sort_unstable();
    assert_eq!(near, [0, 4], "nobody says where the submitter is, but others are near it");
}

#[test]
fn spread_takes_new_sites_first_and_then_the_least_used() {
    let sites = |names: &[&str]| numbered(names.iter().map(|name| facts(name)));
    let kept = [facts("a"), facts("b"), facts("b")];
    let kept: Vec<&Facts> = kept.iter().collect();
    let table = [
        (&["a", "a", "b", "c"][..], &[][..], 3, vec!["a", "b", "c"]),
        (&["a", "a", "b", "c"], &kept[..1], 2, vec!["b", "c"]),
        (&["a", "b", "b"], &kept[..], 1, vec!["a"]),
        (&["", "", "a"], &[], 2, vec!["", "a"]),
    ];
    for (names, kept, wanted, expected) in table {
        let all = sites(names);
        let numbers = chosen("spread by site", &all, kept, wanted);
        let mut got: Vec<&str> = numbers.iter().map(|at| names[*at as usize]).collect();
        got.sort_unstable();
        assert_eq!(got, expected, "{names:?}");
    }
}

#[test]
fn texts_that_are_no_placement_are_told_with_their_place() {
    let table = [
        ("sprad by site", 1, "`random`, `pack`, `spread`, `near`, `weighted`"),
        ("spread site", 8, "`by site`"),
        ("spread by", 10, "found the end"),
        ("spread by Site", 11, "an attribute"),
        ("spread by site rack", 16, "expected the end"),
        ("pack tight", 6, "expected the end"),
        ("near to", 8, "host name"),
        ("near \"a b\"", 6, "host name"),
        ("weighted mem.free", 10, "`by`"),
        ("weighted by mem.free +", 23, "found the end"),
        ("weighted by site", 13, "found the text `site`"),
    ];
    for (text, column, says) in table {
        let error = Placements::default().parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    assert_eq!(named("near to host07").address(), Some("host07"));
    assert_eq!(named("near [fd00::1]:7227").address(), Some("[fd00::1]:7227"));
    assert!(named("near").address().is_none() && named("").wishes(5).surplus == 0);
    assert!(Placements::default().parse(&"x".repeat(PLACEMENT_MAX_BYTES + 1)).is_err());
}

/// A site's own: says nonsense, and the last one.
#[derive(Debug)]
struct Own;

impl Placement for Own {
    fn wishes(&self, _: u16) -> Wishes {
        Wishes { surplus: 1, ..Wishes::default() }
    }

    fn choose(&self, choice: &Choice<'_>, _: &mut Rng) -> Vec<usize> {
        vec![usize::MAX, choice.candidates.len() - 1, choice.candidates.len() - 1]
    }
}

#[test]
fn a_sites_own_placement_is_plugged_in_by_name_and_kept_within_what_is_there() {
    let own = Placements::default().with("own", |_, _| Ok(Arc::new(Own)));
    let placement = own.parse("own whatever").unwrap();
    let all = numbered(["a", "b", "c"].map(facts));
    let (chosen, others) = choose(&*placement, all, &[], 2, None, &mut Rng::new(1));
    let peers = |list: &[Candidate]| list.iter().map(|candidate| candidate.peer.as_u32()).collect::<Vec<_>>();
    assert_eq!((peers(&chosen), peers(&others)), (vec![2, 0], vec![1]));
}

const ALL: [&str; 6] =
    ["random", "pack", "spread by site", "near", "near x", "weighted by 2 * mem.free / 1GiB - load.1m"];

fn any_facts() -> impl Strategy<Value = Facts> {
    (0..5u8, any::<u64>(), any::<i32>(), any::<bool>()).prop_map(|(site, memory_bytes, x, is_placed)| {
        let mut facts = facts(&format!("s{site}"));
        facts.values.set("mem.free", memory_bytes).unwrap();
        facts.free = Free { memory_bytes, ..Free::default() };
        let x = x % Coordinate::LENGTH_MAX;
        facts.coordinate = is_placed.then_some(Coordinate { at: [x, 0, 0], ..Coordinate::ORIGIN });
        facts
    })
}

proptest! {
    #[test]
    fn as_many_as_wanted_are_chosen_and_never_one_twice(
        all in prop::collection::vec(any_facts(), 0..40),
        kept in prop::collection::vec(any_facts(), 0..5),
        wanted in 0..20usize,
        seed: u64,
    ) {
        let (all, kept) = (numbered(all), kept.iter().collect::<Vec<_>>());
        for text in ALL {
            for origin in [None, Some(Coordinate::ORIGIN)] {
                let rng = &mut Rng::new(seed);
                let (chosen, others) = choose(&*named(text), all.clone(), &kept, wanted, origin, rng);
                prop_assert_eq!(chosen.len(), wanted.min(all.len()));
                let both: BTreeSet<Handle> = chosen.iter().chain(&others).map(|each| each.peer).collect();
                prop_assert_eq!(both.len(), all.len());
            }
        }
    }

    #[test]
    fn no_other_choice_has_more_sites_than_spread_has(
        all in prop::collection::vec(any_facts(), 1..40),
        kept in prop::collection::vec(any_facts(), 0..5),
        wanted in 1..12usize,
    ) {
        let site = |facts: &Facts| facts.values.value("site").map(ToString::to_string);
        let before: BTreeSet<_> = kept.iter().map(site).collect();
        let there: BTreeSet<_> = all.iter().map(site).collect();
        let fresh = there.difference(&before).count();
        let kept: Vec<&Facts> = kept.iter().collect();
        let (chosen, others) =
            choose(&*named("spread by site"), numbered(all), &kept, wanted, None, &mut Rng::new(7));
        let taken: BTreeSet<_> = chosen.iter().map(|candidate| site(&candidate.facts)).collect();
        // As many new ones as there are places for, or as there are at all.
        prop_assert_eq!(taken.difference(&before).count(), fresh.min(wanted));
        // And evenly: nobody left over is at a site with two fewer than one of the chosen has.
        let mut used: BTreeMap<_, usize> = BTreeMap::new();
        for facts in chosen.iter().map(|candidate| &candidate.facts).chain(kept) {
            *used.entry(site(facts)).or_default() += 1;
        }
        let of = |candidate: &Candidate| used.get(&site(&candidate.facts)).copied().unwrap_or(0);
        let most = chosen.iter().map(of).max().unwrap_or(0);
        prop_assert!(others.iter().all(|other| most <= of(other) + 1));
    }

    #[test]
    fn near_never_leaves_a_nearer_one(
        all in prop::collection::vec(any_facts(), 1..40),
        wanted in 1..12usize,
    ) {
        let origin = Coordinate::ORIGIN;
        let far = |each: &Candidate| each.facts.coordinate.map_or(i64::MAX, |at| origin.distance(&at));
        let (chosen, others) =
            choose(&*named("near"), numbered(all), &[], wanted, Some(origin), &mut Rng::new(7));
        let farthest = chosen.iter().map(far).max();
        prop_assert!(others.iter().all(|other| Some(far(other)) >= farthest));
    }
}
