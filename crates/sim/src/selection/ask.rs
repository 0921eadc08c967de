//! Queries are asked in a world whose links have filled, and what became of them is counted.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{Duration, Handle, Rng};
use xtreem_discovery::{Requirement, SearchSpec};

use super::classes::Class;
use super::data::Ranks;
use super::report::{ClassReport, Everything, Load, Tried, Wanted};
use super::search::Searcher;
use super::world::World;
use super::{Options, sets};

/// Requesters of one class.
pub(super) const REQUESTERS: u32 = 200;
/// Queries that run at once when the load is measured.
const LOAD_BATCH: u32 = 2_000;
/// Rounds that searches may take before they count as not ended.
const ROUNDS_MAX: u32 = 60;

fn find_all(requirement: Requirement) -> SearchSpec {
    SearchSpec { deadline: Duration::from_secs(60), ..SearchSpec::all(requirement, true) }
}

fn find(requirement: Requirement, wanted: u32) -> SearchSpec {
    SearchSpec { attributes: false, ..SearchSpec::nodes(requirement, wanted) }
}

/// Different random nodes.
pub(super) fn requesters(nodes: u32, count: u32, rng: &mut Rng) -> Vec<u32> {
    let mut slots = BTreeSet::new();
    while slots.len() < count.min(nodes.div_ceil(2)) as usize {
        slots.insert(rng.below(nodes));
    }
    slots.into_iter().collect()
}

fn matching(world: &World, requirement: &Requirement) -> BTreeSet<Handle> {
    let matches = world.nodes().filter(|node| requirement.matches(&node.attributes));
    matches.map(|node| node.handle).collect()
}

/// What one search came to, when its requester lived.
pub(super) struct Outcome {
    pub(super) slot: u32,
    pub(super) report: xtreem_discovery::Report,
    depth: u16,
    found: Vec<Handle>,
}

/// Runs rounds, with churn, until all searches have ended.
pub(super) fn finish(world: &mut World, options: &Options) -> Vec<Outcome> {
    for _ in 0..ROUNDS_MAX {
        world.replace(options.churn);
        world.run_round();
        let mut searchers = world.nodes().filter_map(|node| node.searcher.as_ref());
        if searchers.all(|searcher| !searcher.is_user || searcher.report.is_some()) {
            break;
        }
    }
    let outcome = |(slot, searcher): (u32, Box<Searcher>)| {
        let (report, depth) = searcher.report?;
        Some(Outcome { slot, report, depth, found: searcher.found })
    };
    world.take_searchers().filter_map(outcome).collect()
}

/// The matching nodes of each requester's requirement.
type Truth = BTreeMap<u32, BTreeSet<Handle>>;

fn truth(world: &World, asked: &BTreeMap<u32, Requirement>) -> Truth {
    // All queries of a line are one: its matches are counted once.
    let mut known: Option<(&Requirement, BTreeSet<Handle>)> = None;
    let mut each = Truth::new();
    for (slot, requirement) in asked {
        let set = match &known {
            Some((same, set)) if *same == requirement => set.clone(),
            _ => matching(world, requirement),
        };
        known = Some((requirement, set.clone()));
        each.insert(*slot, set);
    }
    each
}

/// Asks for `wanted` nodes, from each requester once.
fn ask_for(
    world: &mut World,
    options: &Options,
    asked: &BTreeMap<u32, Requirement>,
    there: &Truth,
    wanted: u32,
) -> Wanted {
    world.take_visits();
    for (slot, requirement) in asked {
        world.search(*slot, find(requirement.clone(), wanted));
    }
    let outcomes = finish(world, options);
    let is_satisfied =
        |outcome: &&Outcome| outcome.found.len() >= there[&outcome.slot].len().min(wanted as usize);
    // The requester's look at itself is no visit.
    let tries = outcomes.iter().map(|outcome| Tried {
        visits: outcome.report.visits - 1,
        round_trips: outcome.depth.into(),
        is_satisfied: is_satisfied(&outcome),
    });
    Wanted::of(wanted, tries.collect(), world.take_visits().into_iter().max().unwrap_or_default())
}

/// Asks the queries of one class, for as many nodes as wanted and for all.
pub(super) fn ask_class(
    world: &mut World,
    options: &Options,
    class: &Class,
    ranks: &Ranks,
    rng: &mut Rng,
) -> Result<ClassReport, String> {
    let mut asked = BTreeMap::new();
    for slot in requesters(world.slots(), REQUESTERS, rng) {
        asked.insert(slot, class.requirement(ranks, rng)?);
    }
    let mut there = truth(world, &asked);
    let matches_mean = there.values().map(BTreeSet::len).sum::<usize>() as f64 / there.len().max(1) as f64;
    let mut few = Vec::new();
    for wanted in &options.wanted {
        few.push(ask_for(world, options, &asked, &there, *wanted));
        there = truth(world, &asked);
    }
    for (slot, requirement) in &asked {
        world.search(*slot, find_all(requirement.clone()));
    }
    let all = finish(world, options);
    let (mut found, mut stayed, mut visited, mut matched, mut lost) = (0, 0, 0, 0, 0);
    for outcome in &all {
        let stays = |peer: &&Handle| world.is_alive(**peer);
        let here: BTreeSet<Handle> = there[&outcome.slot].iter().filter(stays).copied().collect();
        let seen: BTreeSet<Handle> = outcome.found.iter().copied().collect();
        found += here.intersection(&seen).count();
        stayed += here.len();
        visited += outcome.report.visits - 1;
        matched += seen.len();
        lost += outcome.report.lost + outcome.report.unopened;
    }
    let everything = Everything {
        recall: found as f64 / stayed.max(1) as f64,
        visits_per_match: f64::from(visited) / matched.max(1) as f64,
        round_trips_mean: all.iter().map(|outcome| f64::from(outcome.depth)).sum::<f64>()
            / all.len().max(1) as f64,
        lost_mean: lost as f64 / matched.max(1) as f64,
        set: Some(sets::ask(world, options, &asked, &there)),
    };
    Ok(ClassReport::new(class.name(), matches_mean, few, everything))
}

/// Many queries of the first built-in class, from random requesters.
pub(super) fn load(world: &mut World, options: &Options, ranks: &Ranks, rng: &mut Rng) -> Load {
    world.take_visits();
    let mut left = options.load;
    while left > 0 {
        let slots = requesters(world.slots(), LOAD_BATCH.min(left), rng);
        left -= (slots.len() as u32).min(left);
        for slot in slots {
            let requirement = super::classes::BUILTIN[0].requirement(ranks, rng).expect("it is built in");
            world.search(slot, find(requirement, options.wanted[0]));
        }
        finish(world, options);
    }
    let visits = world.take_visits();
    let visits_max = visits.iter().copied().max().unwrap_or_default();
    let sum: u64 = visits.iter().map(|visits| u64::from(*visits)).sum();
    let visits_mean = sum as f64 / visits.len().max(1) as f64;
    let worst_over_mean = f64::from(visits_max) / visits_mean.max(f64::MIN_POSITIVE);
    Load { queries: options.load, visits_mean, visits_max, worst_over_mean }
}
