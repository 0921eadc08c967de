//! Searches by visits on the same grid: half of it dies in the middle of one, and nodes lie to it.

use super::*;
use crate::trie::COUNT_MAX;
use crate::visit::message::Answer;

/// Everybody with ten cores and more, one by one.
fn one_by_one(deadline: Duration) -> SearchSpec {
    let requirement = Requirement::parse("cpu.cores >= 10").unwrap();
    SearchSpec { deadline, ..SearchSpec::nodes(requirement, u32::MAX) }
}

#[test]
fn half_a_grid_killed_in_the_middle_of_a_search_ends_it_with_what_was_missed() {
    // By its time, or because nobody is left to be asked.
    for (deadline, expected_end) in [(2, Ended::Deadline), (120, Ended::Exhausted)] {
        let mut grid = Grid::new();
        grid.ask(one_by_one(Duration::from_secs(deadline)));
        let mut messages = 0;
        let report = grid.run(&mut |grid, _, _| {
            messages += 1;
            if messages == 100 {
                grid.nodes.iter_mut().skip(1).step_by(2).for_each(|node| node.is_dead = true);
            }
        });
        let found: BTreeSet<u32> = grid.matches().into_iter().collect();
        let live = grid.expected(|cores| cores >= 10);
        let missed = live.difference(&found).count() as u64;
        assert_eq!(report.ended, expected_end, "{report:?}");
        assert!(found.len() >= 40, "{report:?}");
        // Whoever can match was found or is missed; the dead are among the missed, as nobody knows better.
        assert_eq!(found.len() as u64 + report.lost + report.unopened, 300, "{report:?}");
        match expected_end {
            // Where all alternates of a few died together.
            Ended::Exhausted => assert!(missed <= 5 && report.lost > 100, "{missed} missed: {report:?}"),
            _ => assert!(missed > 50 && report.unopened > missed, "{missed} missed: {report:?}"),
        }
    }
}

#[test]
fn whoever_tells_attributes_that_do_not_match_or_links_that_cannot_be_is_skipped() {
    let lies: [fn(&mut Answer); 4] = [
        |answer| {
            let mut told = Attributes::new();
            told.set("cpu.cores", 9).unwrap();
            answer.attributes = Some(told);
        },
        |answer| answer.place.iter_mut().flat_map(|place| &mut place.links).for_each(|link| link.level += 1),
        |answer| {
            let links = answer.place.iter_mut().flat_map(|place| &mut place.links);
            links.for_each(|link| link.count = COUNT_MAX + 1);
        },
        |answer| {
            let steps = answer.place.iter_mut().flat_map(|place| &mut place.links);
            steps.flat_map(|link| &mut link.alternates).for_each(|step| step.handle = Handle::NONE);
        },
    ];
    for lie in lies {
        let mut grid = Grid::new();
        grid.ask(one_by_one(Duration::from_secs(120)));
        let (mut answers, mut liars) = (0, 0);
        let report = grid.run(&mut |_, to, message| {
            let Message::Answer { answer, .. } = message else { return };
            let has_links = answer.place.as_ref().is_some_and(|place| !place.links.is_empty());
            if to == handle(0) && answer.matched && has_links {
                answers += 1;
                if answers % 5 == 0 {
                    lie(answer);
                    liars += 1;
                }
            }
        });
        let found = grid.matches();
        assert!(liars > 10, "{liars}");
        assert_eq!(report.silent, liars, "a liar counts as one who did not answer: {report:?}");
        assert_eq!(report.matched as usize, found.len());
        // Others of the same subtrees told the way, and where nobody did the report says so.
        assert!(
            found.len() >= 240 && found.len() as u64 + report.lost >= 300,
            "{} and {report:?}",
            found.len()
        );
    }
}
