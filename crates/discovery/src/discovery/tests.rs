//! Searches in a small grid, and what a hostile or slow peer can do to one.

mod grid;
mod sets;
mod wire;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use xtreem_base::{AppId, NodeId};

use super::*;
use crate::visit::application::{AppFilter, AppSummary, Role};
use crate::visit::message::Query;
use crate::{Attributes, Facts, FactsAsk};
use grid::{Grid, Outbox, at, handle, hosted, nodes, with_holds};

#[test]
fn every_match_of_300_nodes_is_found_and_the_report_says_which_clause_excluded_how_many() {
    let mut grid = Grid::new(300, 1);
    grid.start(nodes("cpu.cores >= 5 && site == \"b\"", u32::MAX));
    grid.run();
    let expected: BTreeSet<u32> = (0..300).filter(|i| i % 10 >= 5 && i % 3 == 0).collect();
    assert_eq!(grid.matches(), expected);
    let report = grid.report();
    assert_eq!(report.ended, Ended::Exhausted);
    assert_eq!((report.visited, report.answered, report.silent), (300, 300, 0));
    assert_eq!(report.matched as usize, expected.len());
    assert_eq!(report.grid_size_estimate, Some(300));
    assert_eq!(report.excluded, [("cpu.cores >= 5".to_string(), 150), ("site == \"b\"".to_string(), 200)]);
    assert!(grid.in_flight_most <= 8, "{}", grid.in_flight_most);
}

#[test]
fn a_search_stops_at_enough_and_estimates_the_grid() {
    let mut grid = Grid::new(300, 2);
    grid.start(nodes("cpu.cores >= 5", 60));
    grid.run();
    let report = grid.report();
    assert_eq!((report.ended, grid.matches().len(), report.matched), (Ended::Enough, 60, 60));
    assert!((80..180).contains(&report.visited), "{report:?}");
    let size = report.grid_size_estimate.unwrap();
    assert!((240..=360).contains(&size), "{size}");
}

#[test]
fn the_requester_alone_can_be_enough() {
    let mut grid = Grid::new(30, 3);
    let id = grid.discovery.next_id();
    assert_eq!(grid.start(nodes("cpu.cores == 0", 1)), id);
    assert_eq!(grid.matches(), [0].into());
    assert_eq!((grid.report().visited, grid.queue.len()), (1, 0));
}

#[test]
fn a_grid_of_one_is_exhausted_at_once() {
    let mut grid = Grid::new(1, 3);
    grid.start(nodes("cpu.cores > 0", 1));
    let report = grid.report();
    assert_eq!((report.ended, report.grid_size_estimate), (Ended::Exhausted, Some(1)));
}

#[test]
fn surplus_holds_are_released_and_wanted_ones_are_not() {
    let mut grid = Grid::new(100, 4);
    grid.start(with_holds("", 3));
    grid.run();
    assert_eq!((grid.matches().len(), grid.holds()), (3, 3));
    let surplus = grid.out.events.iter().filter(|event| matches!(event, SearchEvent::Surplus { .. })).count();
    assert!((1..8).contains(&surplus), "{surplus}");
    let kept = grid.nodes.iter().position(|node| !node.holds.is_empty()).unwrap();
    assert!(grid.matches().contains(&(kept as u32)));
}

#[test]
fn refusals_are_counted_and_not_taken_for_matches() {
    let mut grid = Grid::new(100, 5);
    for node in grid.nodes.iter_mut().skip(10) {
        node.room = 0;
    }
    grid.start(with_holds("cpu.cores in 0..4", 20));
    grid.run();
    let report = grid.report();
    assert_eq!((report.ended, report.matched, report.granted), (Ended::Exhausted, 50, 5));
    assert_eq!((report.refused.busy, report.refused.total()), (45, 45));
    assert_eq!(grid.holds(), 5);
}

#[test]
fn silent_nodes_cost_one_time_out_each_eight_at_once() {
    let mut grid = Grid::new(60, 6);
    for node in grid.nodes.iter_mut().skip(1).take(16) {
        node.is_dead = true;
    }
    let start = grid.now;
    grid.start(nodes("", u32::MAX));
    grid.run();
    let report = grid.report();
    assert_eq!((report.answered, report.silent, grid.out.silent), (44, 16, 16));
    assert_eq!((report.lost, report.unopened), (16, 0), "nobody knows that they are dead");
    assert_eq!((report.ended, report.grid_size_estimate), (Ended::Exhausted, Some(44)));
    // 16 dead over 8 places wait two or three times; the live ones take about 300 ms.
    assert!(grid.now.since(start) < VISIT_TIMEOUT * 3 + Duration::from_millis(500), "{:?}", grid.now);
}

#[test]
fn a_search_ends_at_its_deadline_and_at_its_visits() {
    let mut grid = Grid::new(300, 7);
    let start = grid.now;
    grid.start(SearchSpec { deadline: Duration::from_millis(200), ..nodes("", u32::MAX) });
    grid.run();
    assert_eq!(grid.report().ended, Ended::Deadline);
    let told = grid.report().answered as u64 + grid.report().unopened;
    assert!((250..=300).contains(&told), "nearly all of the 300 have been heard of: {told}");
    assert!(grid.out.events.iter().all(|event| !matches!(event, SearchEvent::Surplus { .. })));
    assert!(grid.now.since(start) < Duration::from_millis(300));

    let mut grid = Grid::new(300, 8);
    grid.start(SearchSpec { visits_max: 50, ..nodes("", u32::MAX) });
    grid.run();
    assert_eq!((grid.report().ended, grid.report().visited), (Ended::VisitLimit, 50));
}

#[test]
fn excluded_nodes_are_not_visited_but_counted_in_the_grid() {
    let mut grid = Grid::new(60, 9);
    let exclude: Vec<Handle> = (0..20).map(handle).collect();
    grid.start(SearchSpec { exclude, ..nodes("", u32::MAX) });
    grid.run();
    assert_eq!(grid.matches(), (20..60).collect());
    assert_eq!(grid.report().grid_size_estimate, Some(60));
}

#[test]
fn a_late_answer_still_counts_while_the_search_runs() {
    let mut grid = Grid::new(2, 10);
    let mut out = Outbox::default();
    // One visit at once: the second goes out when the first has timed out, and keeps the search running.
    let spec = SearchSpec { in_flight: 1, ..nodes("cpu.cores == 1", 1) };
    grid.discovery
        .start(at(grid.now), spec, &[handle(1), handle(5)], &mut hosted(&mut grid.nodes[0], &mut out))
        .unwrap();
    let first = out.sent[0].0;
    grid.discovery.handle_timeout(at(grid.now + VISIT_TIMEOUT), &mut hosted(&mut grid.nodes[0], &mut out));
    assert_eq!((out.sent.len(), out.silent), (2, 1));
    let route = Route { schema: 0, len: 0, contacts: true, only: false, aims: Aims::NONE };
    let query = nodes("cpu.cores == 1", 1).query;
    let asked = host::Asked { attributes: true, facts: None };
    let answer = host::answer(&mut grid.nodes[1], grid.now, handle(0), &query, asked, &route);
    let message = Message::Answer { search: 1, answer };
    grid.discovery
        .handle_message(at(grid.now), first, message, &mut hosted(&mut grid.nodes[0], &mut out))
        .unwrap();
    let Some(SearchEvent::Done { report, .. }) = out.events.last() else { panic!("{:?}", out.events) };
    assert_eq!((report.ended, report.answered, report.silent), (Ended::Enough, 2, 0));
}

/// Node 0 of two, with a hold asked of node 1.
fn asked_for_hold(wanted: u32) -> (Grid, Outbox) {
    let mut grid = Grid::new(2, 11);
    let mut out = Outbox::default();
    let spec = SearchSpec { exclude: vec![handle(0)], ..with_holds("", wanted) };
    grid.discovery
        .start(at(grid.now), spec, &[handle(1), handle(2)], &mut hosted(&mut grid.nodes[0], &mut out))
        .unwrap();
    (grid, out)
}

fn granted(id: u64) -> Message {
    let hold = Some(HoldAnswer::Granted { id });
    let (applications, contacts, place) = (Vec::new(), Vec::new(), None);
    let answer = Answer {
        matched: true,
        failing: 0,
        hold,
        attributes: None,
        applications,
        contacts,
        place,
        only: false,
        facts: None,
        left_out: 0,
    };
    Message::Answer { search: 1, answer }
}

#[test]
fn an_answer_that_comes_twice_never_releases_a_kept_hold() {
    for wanted in [1, 2] {
        let (mut grid, mut out) = asked_for_hold(wanted);
        let mut arrives = |from, message| {
            let seen = out.events.len();
            let result = grid.discovery.handle_message(
                at(grid.now),
                from,
                message,
                &mut hosted(&mut grid.nodes[0], &mut out),
            );
            (result, out.events[seen..].to_vec())
        };
        let (result, events) = arrives(handle(1), granted(5));
        assert_eq!(result, Ok(()));
        assert!(matches!(events[0], SearchEvent::Match { hold: Some(5), .. }));
        let (_, events) = arrives(handle(1), granted(5));
        assert_eq!(events, []);
        let (_, events) = arrives(handle(1), granted(6));
        assert_eq!(events, [SearchEvent::Surplus { peer: handle(1), hold: 6 }]);
    }
}

#[test]
fn a_hold_for_a_cancelled_or_unknown_search_is_surplus() {
    let (mut grid, mut out) = asked_for_hold(1);
    grid.discovery.cancel(at(grid.now), SearchId(1), &mut &mut out);
    assert!(grid.discovery.next_timeout(&()).is_never());
    for (search, hold) in [(1, 5), (77, 6)] {
        let Message::Answer { answer, .. } = granted(hold) else { unreachable!() };
        let message = Message::Answer { search, answer };
        grid.discovery
            .handle_message(at(grid.now), handle(1), message, &mut hosted(&mut grid.nodes[0], &mut out))
            .unwrap();
        assert_eq!(out.events.last(), Some(&SearchEvent::Surplus { peer: handle(1), hold }));
    }
}

#[test]
fn a_node_that_is_gone_is_silent_until_its_visit_is_overdue() {
    let (mut grid, mut out) = asked_for_hold(1);
    let wake = grid.discovery.next_timeout(&());
    assert_eq!(wake, Wake::new(grid.now + VISIT_TIMEOUT, "visit overdue"));
    grid.discovery.handle_gone(at(grid.now), handle(1));
    assert_eq!(grid.discovery.next_timeout(&()), wake);
    grid.discovery.handle_timeout(at(wake.at), &mut hosted(&mut grid.nodes[0], &mut out));
    assert_eq!(out.silent, 2);
}

#[test]
fn hostile_answers_are_faults_and_change_nothing() {
    let good = || {
        let Message::Answer { answer, .. } = granted(5) else { unreachable!() };
        answer
    };
    let app = AppSummary {
        id: AppId::from_bytes([1; 16]),
        owner: NodeId::from_bytes([2; 16]),
        name: "web".into(),
        generation: 1,
        stopped: false,
        slots: 3,
        here: vec![],
        role: Role::Holder,
        ended: 0,
        ended_s: None,
    };
    let table = [
        (handle(9), good(), Fault::Unasked),
        (handle(0), good(), Fault::Unasked),
        (handle(1), Answer { hold: None, ..good() }, Fault::Inconsistent),
        (handle(1), Answer { matched: false, ..good() }, Fault::Inconsistent),
        (handle(1), Answer { failing: 1, ..good() }, Fault::Inconsistent),
        (handle(1), Answer { matched: false, failing: 1 << 40, hold: None, ..good() }, Fault::Inconsistent),
        (handle(1), Answer { attributes: Some(Attributes::new()), ..good() }, Fault::Inconsistent),
        (handle(1), Answer { facts: Some(Box::default()), ..good() }, Fault::Inconsistent),
        (handle(1), Answer { applications: vec![app], ..good() }, Fault::Inconsistent),
    ];
    let (mut grid, mut out) = asked_for_hold(2);
    for (from, answer, fault) in table {
        let message = Message::Answer { search: 1, answer };
        let result = grid.discovery.handle_message(
            at(grid.now),
            from,
            message,
            &mut hosted(&mut grid.nodes[0], &mut out),
        );
        assert_eq!((result, &*out.events), (Err(fault), &[][..]));
    }
    grid.discovery
        .handle_message(at(grid.now), handle(1), granted(5), &mut hosted(&mut grid.nodes[0], &mut out))
        .unwrap();
    assert_eq!(out.events.len(), 1);
}

#[test]
fn who_matches_and_grants_the_hold_tells_the_facts_asked_for() {
    let mut grid = Grid::new(30, 15);
    grid.nodes[7].room = 0;
    let facts = FactsAsk::new(["site", "no.such"]).ok();
    grid.start(SearchSpec { facts, ..with_holds("cpu.cores == 7", u32::MAX) });
    grid.run();
    let told = grid.out.events.iter().filter_map(|event| match event {
        SearchEvent::Match { peer, facts, .. } => Some((peer.as_u32(), facts.clone().unwrap().values)),
        _ => None,
    });
    let told: BTreeMap<u32, Attributes> = told.collect();
    assert_eq!(told.keys().collect::<Vec<_>>(), [&17, &27]);
    let site = grid.nodes[17].attributes.value("site");
    assert_eq!((told[&17].len(), told[&17].value("site")), (1, site));
}

#[test]
fn facts_that_were_not_asked_for_are_a_fault() {
    let mut grid = Grid::new(2, 16);
    let mut out = Outbox::default();
    let facts = FactsAsk::new(["site"]).ok();
    let spec = SearchSpec { exclude: vec![handle(0)], facts, ..with_holds("", 2) };
    grid.discovery
        .start(at(grid.now), spec, &[handle(1)], &mut hosted(&mut grid.nodes[0], &mut out))
        .unwrap();
    let mut says = |name: &str| {
        let Message::Answer { mut answer, search } = granted(5) else { unreachable!() };
        let mut values = Attributes::new();
        values.set(name, "b").unwrap();
        answer.facts = Some(Box::new(Facts { values, ..Facts::default() }));
        let message = Message::Answer { search, answer };
        grid.discovery.handle_message(
            at(grid.now),
            handle(1),
            message,
            &mut hosted(&mut grid.nodes[0], &mut out),
        )
    };
    assert_eq!(says("rack"), Err(Fault::Inconsistent));
    assert_eq!(says("site"), Ok(()));
}

#[test]
fn applications_are_found_by_name() {
    let mut grid = Grid::new(100, 12);
    for (i, name) in [(3, "web"), (40, "web"), (41, "other")] {
        grid.nodes[i].applications.push(AppSummary {
            id: AppId::from_bytes([i as u8; 16]),
            owner: NodeId::from_bytes([2; 16]),
            name: name.into(),
            generation: 1,
            stopped: false,
            slots: 3,
            here: vec![i as u16],
            role: Role::Holder,
            ended: 0,
            ended_s: None,
        });
    }
    let query = Query::Applications(AppFilter::Name { name: "web".into() });
    grid.start(SearchSpec::new(query, u32::MAX));
    grid.run();
    let listed = |event: &SearchEvent| match event {
        SearchEvent::Applications { peer, list, .. } => Some((peer.as_u32(), list[0].here.clone())),
        _ => None,
    };
    let found: BTreeMap<u32, Vec<u16>> = grid.out.events.iter().filter_map(listed).collect();
    assert_eq!(found, [(3, vec![3]), (40, vec![40])].into());
    assert_eq!(grid.report().matched, 2);
}

#[test]
fn searches_beyond_the_limits_are_refused() {
    let mut grid = Grid::new(10, 13);
    let table = [
        (nodes("", 0), StartRefusal::NothingWanted),
        (SearchSpec { visits_max: 0, ..nodes("", 1) }, StartRefusal::Limits),
        (SearchSpec { in_flight: 65, ..nodes("", 1) }, StartRefusal::Limits),
    ];
    for (spec, refusal) in table {
        let result =
            grid.discovery.start(at(grid.now), spec, &[], &mut hosted(&mut grid.nodes[0], &mut grid.out));
        assert_eq!(result, Err(refusal));
    }
    for _ in 0..SEARCHES_MAX {
        grid.start(nodes("false", 1));
    }
    let result = grid.discovery.start(
        at(grid.now),
        nodes("false", 1),
        &[],
        &mut hosted(&mut grid.nodes[0], &mut grid.out),
    );
    assert_eq!(result, Err(StartRefusal::TooMany));
    let mut handles = BTreeSet::new();
    grid.discovery.for_each_handle(&mut |peer| {
        handles.insert(peer);
    });
    assert_eq!(handles.len(), 10);
    grid.run();
    assert_eq!(grid.discovery.running(), 0);
}
