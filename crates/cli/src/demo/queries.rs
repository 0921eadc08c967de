//! Requirements for measuring an emulated grid, and how many hosts truly meet each: the emulator declared
//! them all.

use std::collections::BTreeSet;

use xtreem_base::Rng;
use xtreem_discovery::{Attributes, Requirement};

use super::hosts::{CORES, DISK_GIB, GIB_PER_CORE, SITES, any};

/// Draws for one query until it is given up: a grid that none of so many requirements suits is too small.
const DRAWS_MAX: usize = 1_000;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub requirement: String,
    /// Who meets it, as places in the list of hosts.
    pub truth: BTreeSet<usize>,
}

/// `count` requirements that at least `wanted` hosts meet, but not all of them do; fewer when the grid has no
/// such.
pub fn draw(hosts: &[Attributes], wanted: usize, count: usize, rng: &mut Rng) -> Vec<Query> {
    let is_good = |query: &Query| (wanted..hosts.len()).contains(&query.truth.len());
    let one = |rng: &mut Rng| (0..DRAWS_MAX).find_map(|_| Some(query(hosts, rng)).filter(is_good));
    (0..count).map_while(|_| one(rng)).collect()
}

/// Cores and memory always, a disk every second time, a site every fourth.
fn query(hosts: &[Attributes], rng: &mut Rng) -> Query {
    let cores = any(rng, &CORES);
    let memory = cores * any(rng, &GIB_PER_CORE);
    let mut text = format!("cpu.cores >= {cores} && mem.total >= {memory}GiB");
    if rng.chance(1, 2) {
        text += &format!(" && disk.total >= {}GiB", any(rng, &DISK_GIB));
    }
    if rng.chance(1, 4) {
        let (one, other) = (any(rng, &SITES), any(rng, &SITES));
        text += &format!(" && site in [\"{one}\", \"{other}\"]");
    }
    // The language is this project's own, and the tests parse a thousand of these.
    let truth = Requirement::parse(&text).map_or_else(
        |_| BTreeSet::new(),
        |requirement| (0..hosts.len()).filter(|host| requirement.matches(&hosts[*host])).collect(),
    );
    Query { requirement: text, truth }
}

#[cfg(test)]
mod tests {
    use super::super::hosts::profile;
    use super::*;

    fn hosts(count: u16) -> Vec<Attributes> {
        (1..=count).map(|index| profile(index, 1).attributes()).collect()
    }

    #[test]
    fn every_query_parses_and_as_many_hosts_as_wanted_meet_it() {
        let (hosts, mut rng) = (hosts(200), Rng::new(7));
        let queries = draw(&hosts, 10, 1_000, &mut rng);
        assert_eq!(queries.len(), 1_000);
        for query in &queries {
            let requirement = Requirement::parse(&query.requirement).expect("it parses");
            let meets = |host: &Attributes| requirement.matches(host);
            assert_eq!(hosts.iter().filter(|host| meets(host)).count(), query.truth.len());
            assert!((10..200).contains(&query.truth.len()), "{query:?}");
        }
        let clauses: BTreeSet<usize> =
            queries.iter().map(|query| query.requirement.matches("&&").count() + 1).collect();
        assert_eq!(clauses, [2, 3, 4].into());
    }

    #[test]
    fn a_grid_that_is_too_small_has_no_queries() {
        assert_eq!(draw(&hosts(9), 10, 5, &mut Rng::new(7)), []);
    }
}
