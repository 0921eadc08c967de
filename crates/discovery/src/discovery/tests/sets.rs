//! Searches for sets in a small grid: with and without holds, with refusals, silence and changing values.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;
use xtreem_base::Duration;

use super::grid::{Grid, handle, with_holds};
use crate::discovery::VISIT_TIMEOUT;
use crate::language::requirement::SetQuery;
use crate::search::report::Ended;
use crate::search::spec::SearchSpec;
use crate::visit::host::SearchEvent;
use crate::visit::message::Query;
use crate::{Attributes, Number};

fn set(text: &str) -> SearchSpec {
    SearchSpec::set(SetQuery::parse(text).unwrap(), None)
}

fn held(text: &str) -> SearchSpec {
    let Query::Nodes { hold, .. } = with_holds("", 1).query else { unreachable!() };
    SearchSpec::set(SetQuery::parse(text).unwrap(), hold)
}

/// Node i has i GiB of free disk.
fn grid(size: usize, seed: u64) -> Grid {
    let mut grid = Grid::new(size, seed);
    for (i, node) in grid.nodes.iter_mut().enumerate() {
        node.attributes.set("disk.free", (i as u64) << 30).unwrap();
    }
    grid
}

fn members(grid: &Grid) -> Vec<&Attributes> {
    grid.matches().into_iter().map(|i| &grid.nodes[i as usize].attributes).collect()
}

fn surplus(grid: &Grid) -> usize {
    grid.out.events.iter().filter(|event| matches!(event, SearchEvent::Surplus { .. })).count()
}

#[test]
fn a_set_is_found_and_told_as_a_whole() {
    for text in [
        "1..6 nodes with sum(disk.free) >= 300GiB",
        "3 nodes with sum(disk.free) <= 9GiB",
        "2 nodes with sum(disk.free) >= 50GiB spread by site",
        "2..4 nodes with max(disk.free) >= 90GiB && avg(disk.free) <= 40GiB where cpu.cores >= 3",
    ] {
        let mut grid = grid(100, 1);
        grid.start(set(text));
        grid.run();
        let report = grid.report();
        let told = report.set.clone().unwrap();
        assert_eq!((report.ended, told.found), (Ended::Enough, true), "{text}: {report:?}");
        assert!(SetQuery::parse(text).unwrap().is_met_by(&members(&grid)), "{text}: {:?}", grid.matches());
        assert_eq!(told.members as usize, grid.matches().len());
    }
}

/// Members are visited a second time, for their holds.
#[test]
fn nodes_are_counted_once_however_often_they_are_visited() {
    let mut grid = grid(5, 3);
    grid.start(held("2 nodes with sum(disk.free) >= 7GiB"));
    grid.run();
    let report = grid.report();
    let told = report.set.clone().unwrap();
    assert_eq!((report.ended, told.found, report.silent), (Ended::Enough, true, 0));
    assert_eq!((report.visits, report.visited, report.answered), (7, 5, 5), "{report:?}");
}

#[test]
fn a_set_that_there_is_not_is_told_with_the_best_that_was_seen() {
    let table = [
        ("1..6 nodes with sum(disk.free) >= 600GiB", Some(99 + 98 + 97 + 96 + 95 + 94)),
        ("6 nodes with sum(disk.free) <= 14GiB", Some(1 + 2 + 3 + 4 + 5)),
        ("2..6 nodes with avg(disk.free) > 98.5GiB", Some(98)),
        ("3 nodes with sum(disk.free) >= 1GiB spread by site", Some(99 + 98)),
        ("2 nodes where disk.free > 1TiB", None),
    ];
    for (text, best) in table {
        let mut grid = grid(100, 2);
        grid.start(set(text));
        grid.run();
        let report = grid.report();
        let told = report.set.unwrap();
        assert_eq!((report.ended, report.visited, told.found), (Ended::Exhausted, 100, false), "{text}");
        assert_eq!(grid.matches(), BTreeSet::new());
        let reached = told.reached.first().and_then(|(_, number)| *number);
        let spread = text.contains("spread");
        assert_eq!(reached.map(|number| number.whole() >> 30), best.filter(|_| !spread), "{text}");
    }
}

#[test]
fn exactly_the_members_of_the_set_are_held() {
    let mut grid = grid(100, 3);
    grid.start(held("1..6 nodes with sum(disk.free) >= 300GiB"));
    grid.run();
    let report = grid.report();
    assert_eq!((report.ended, report.granted as usize), (Ended::Enough, grid.matches().len()));
    assert_eq!((grid.holds(), surplus(&grid)), (grid.matches().len(), 0));
    assert!(members(&grid).len() <= 6);
}

#[test]
fn who_refuses_or_is_silent_is_replaced_and_what_is_held_too_much_is_given_back() {
    let mut grid = grid(100, 4);
    // The largest have no room.
    grid.nodes.iter_mut().skip(70).for_each(|node| node.room = 0);
    grid.start(held("1..6 nodes with sum(disk.free) >= 330GiB"));
    grid.run();
    let report = grid.report();
    assert_eq!(report.ended, Ended::Enough);
    assert!(report.refused.busy > 0, "{report:?}");
    assert!(grid.matches().iter().all(|i| *i < 70), "{:?}", grid.matches());
    assert_eq!(grid.holds(), grid.matches().len());
}

#[test]
fn without_a_set_everything_is_given_back() {
    let mut grid = grid(100, 5);
    grid.nodes.iter_mut().skip(60).for_each(|node| node.room = 0);
    grid.start(held("1..6 nodes with sum(disk.free) >= 360GiB"));
    grid.run();
    let report = grid.report();
    assert_eq!((report.ended, report.granted), (Ended::Exhausted, 0));
    assert!(report.refused.busy > 0 && surplus(&grid) > 0, "{report:?}");
    assert_eq!((grid.holds(), grid.matches().len()), (0, 0));
}

#[test]
fn a_member_whose_value_has_fallen_before_it_was_held_is_none() {
    let mut grid = grid(30, 6);
    grid.falls = true;
    let text = "1..6 nodes with sum(disk.free) >= 80GiB";
    grid.start(held(text));
    grid.run();
    let report = grid.report();
    let found = report.set.unwrap().found;
    assert_eq!(grid.holds(), grid.matches().len());
    assert!(!found || SetQuery::parse(text).unwrap().is_met_by(&members(&grid)));
}

#[test]
fn a_deadline_in_the_middle_of_holding_leaves_nothing_held() {
    for millis in (0..600).step_by(20) {
        let mut grid = grid(60, 7);
        let deadline = Duration::from_millis(millis.max(1));
        grid.start(SearchSpec { deadline, ..held("2..6 nodes with sum(disk.free) >= 200GiB") });
        grid.run();
        let kept = grid.report().granted as usize;
        assert_eq!((grid.holds(), grid.matches().len()), (kept, kept), "{millis}");
    }
}

#[test]
fn an_answer_that_comes_twice_never_releases_a_member() {
    let mut grid = grid(40, 8);
    grid.doubles = true;
    grid.start(held("1..6 nodes with sum(disk.free) >= 120GiB"));
    grid.run();
    assert_eq!(grid.report().ended, Ended::Enough);
    assert_eq!(grid.holds(), grid.matches().len());
    let kept = |event: &SearchEvent| match event {
        SearchEvent::Match { peer, hold, .. } => Some((*peer, hold.unwrap())),
        _ => None,
    };
    let kept: Vec<_> = grid.out.events.iter().filter_map(kept).collect();
    let released = |event: &SearchEvent| match event {
        SearchEvent::Surplus { peer, hold } => Some((*peer, *hold)),
        _ => None,
    };
    assert!(grid.out.events.iter().filter_map(released).all(|surplus| !kept.contains(&surplus)));
}

#[test]
fn a_member_that_dies_before_it_is_held_costs_one_time_out() {
    let mut grid = grid(40, 9);
    grid.start(held("1..6 nodes with sum(disk.free) >= 150GiB"));
    // It answers the first visit and dies.
    grid.dies_when_held = Some(handle(39));
    let start = grid.now;
    grid.run();
    let report = grid.report();
    assert_eq!(report.ended, Ended::Enough, "{report:?}");
    assert!(!grid.matches().contains(&39));
    assert_eq!(grid.holds(), grid.matches().len());
    assert!(grid.now.since(start) < VISIT_TIMEOUT * 3, "{:?}", grid.now);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_set_is_found_exactly_when_there_is_one(
        seed: u64,
        sizes in prop::collection::vec(0u64..100, 2..30),
        bound in 1u64..400,
        least in 1u16..3,
        more in 0u16..4,
        upper: bool,
        spread: bool,
        holds: bool,
    ) {
        let mut grid = Grid::new(sizes.len(), seed);
        for (node, size) in grid.nodes.iter_mut().zip(&sizes) {
            node.attributes.set("disk.free", Number::from_unsigned(*size)).unwrap();
        }
        let (relation, most) = (if upper { "<=" } else { ">=" }, least + more);
        let tail = if spread { " spread by site" } else { "" };
        let text = format!("{least}..{most} nodes with sum(disk.free) {relation} {bound}{tail}");
        let sites = |i: usize| usize::from(spread && i.is_multiple_of(3));
        // The best of each size: the largest (or smallest) ones, of each site one.
        let mut best: Vec<(u64, usize)> = sizes.iter().copied().zip((0..).map(sites)).collect();
        best.sort_unstable_by_key(|(size, _)| if upper { *size } else { u64::MAX - size });
        let mut seen = BTreeSet::new();
        best.retain(|(_, site)| !spread || seen.insert(*site));
        let sums = (usize::from(least)..=usize::from(most).min(best.len()))
            .map(|count| best[..count].iter().map(|(size, _)| size).sum::<u64>());
        let possible = sums.into_iter().any(|sum| if upper { sum <= bound } else { sum >= bound });
        grid.start(if holds { held(&text) } else { set(&text) });
        grid.run();
        let report = grid.report();
        prop_assert_eq!(report.set.unwrap().found, possible, "{}", text);
        let is_met = SetQuery::parse(&text).unwrap().is_met_by(&members(&grid));
        prop_assert_eq!(is_met, possible);
        prop_assert_eq!(grid.holds(), if holds { grid.matches().len() } else { 0 });
    }
}
