//! Dead links are looked for where one was found, and lost nodes where one is back.

use super::*;

/// Share of dead links in all tables, in percent.
fn dead_links(grid: &Grid) -> usize {
    let links: Vec<Handle> = grid
        .tries
        .iter()
        .flatten()
        .flat_map(|trie| trie.table().all().map(|(_, known)| known.handle))
        .collect();
    links.iter().filter(|peer| grid.tries[peer.as_u32() as usize].is_none()).count() * 100 / links.len()
}

#[test]
fn a_lost_link_has_three_others_looked_after_the_longest_silent_first() {
    let mut grid = Grid::new(40);
    grid.run(12);
    grid.sent.clear();
    grid.now += Duration::from_secs(20);
    grid.with(0, |trie, call, out| {
        trie.asked.clear();
        trie.next_round = Instant::FAR;
        let mut known: Vec<(u32, Handle)> =
            trie.table().all().map(|(_, known)| (known.seen, known.handle)).collect();
        known.sort_unstable();
        let lost = known.pop().expect("it has links").1;
        trie.handle_silent(call, lost);
        assert!(!trie.table().contains(lost) && trie.next_timeout(call.config).at == call.now);
        trie.check(call, out);
        let asked: Vec<Handle> = out.sent.drain(..).map(|(_, to, _)| to).collect();
        let silent: Vec<Handle> = known.iter().map(|(_, peer)| *peer).take(3).collect();
        assert_eq!(asked, silent);
        trie.check(call, out);
        assert!(out.sent.is_empty(), "three for one");
        // Each of them is silent: nine more are owed, four at once.
        trie.handle_timeout(later(call), out);
        assert_eq!(out.sent.len(), 4);
    });
}

#[test]
fn tables_are_rid_of_half_of_all_nodes_within_two_rounds() {
    let mut grid = Grid::new(80);
    grid.run(12);
    for i in (0..80).step_by(2) {
        grid.tries[i] = None;
    }
    let before = dead_links(&grid);
    grid.run(2);
    let after = dead_links(&grid);
    assert!(before > 40 && after < 10, "{before} % before, {after} % after");
}

#[test]
fn whoever_slept_longer_than_links_live_keeps_those_that_are_there() {
    let mut grid = Grid::new(80);
    grid.run(12);
    let sleeper = grid.tries[7].take();
    grid.run(40);
    grid.tries[7] = sleeper;
    grid.with(7, |trie, call, out| {
        trie.handle_timeout(call, out);
        assert!(trie.table().all().count() > 10);
    });
    grid.run(2);
    assert_eq!(grid.missing_links(), 0);
    grid.with(7, |trie, call, _| {
        let limit = seconds(call.now) - call.config.seconds(3);
        assert!(trie.table().all().all(|(_, known)| known.seen > limit), "all were looked after");
    });
}

#[test]
fn halves_that_were_apart_for_longer_than_links_live_are_whole_again_after_a_round() {
    let mut grid = Grid::new(80);
    grid.run(12);
    grid.is_split = true;
    grid.run(40);
    let missing = grid.missing_links();
    grid.is_split = false;
    grid.run(1);
    assert!(missing > 80 && grid.missing_links() == 0, "{missing}, then {}", grid.missing_links());
}

#[test]
fn a_lost_node_is_tried_in_each_round_until_it_is_gone_for_good() {
    let mut grid = Grid::new(3);
    grid.tries[2] = None;
    grid.with(0, |trie, start, out| {
        let mut call = start;
        let mut tries_in_a_round = |trie: &mut Trie| {
            call.now = call.now.max(trie.next_round);
            out.sent.clear();
            trie.handle_timeout(call, out);
            let tries = out.sent.iter().filter(|(_, to, _)| *to == handle(2)).count();
            call = later(call);
            trie.handle_timeout(call, out);
            tries
        };
        trie.lost.add(&mut trie.rng, handle(2), 0);
        assert_eq!([(); 3].map(|()| tries_in_a_round(trie)), [1; 3]);
        trie.handle_gone(start, handle(2));
        assert_eq!(tries_in_a_round(trie), 0);
    });
}
