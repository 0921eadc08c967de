//! The run behind `sim selection`: links fill from nothing, churn goes on, queries are asked.

use std::collections::BTreeSet;

use xtreem_base::{Duration, Handle, Rng};
use xtreem_discovery::{Requirement, SearchSpec};

use super::classes::Class;
use super::data::Ranks;
use super::report::{ClassReport, Load, Report, RoundRecall, Scheme};
use super::world::{World, attributes_of};
use super::{Options, read_recall, sets, walk};
use crate::membership::process;

/// Requesters of one class.
const REQUESTERS: u32 = 200;
/// Matches below which a class is listed apart.
const SCARCE_BELOW: f64 = 150.0;
/// Newcomers that are watched, and for how many rounds.
const NEWCOMERS: u32 = 60;
const NEWCOMER_ROUNDS_MAX: u32 = 10;
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

/// Runs one world; `note` is told how far it is.
pub fn run(options: &Options, classes: &[Class], note: &mut dyn FnMut(&str)) -> Result<Report, String> {
    options.check()?;
    let machines = options.data.machines(options.nodes, options.data_seed);
    let ranks = Ranks::new(&machines);
    let mut rng = Rng::derive(options.seed, 0, "queries");
    for class in classes {
        class.requirement(&ranks, &mut rng.clone())?;
    }
    let cpu = process::cpu_time();
    let mut world = World::new(machines, options.seed, options.loss);
    let mut recall_by_round = Vec::new();
    for round in 1..=options.rounds {
        world.run_round();
        if round % options.every.max(1) == 0 {
            let recall = read_recall(&world, &ranks, round);
            note(&format!("round {round}: a walk finds {recall:.4} of the matches"));
            recall_by_round.push(RoundRecall { round, recall });
        }
    }
    let newcomer_rounds = newcomers(&mut world, &mut rng);
    note(&format!("newcomers are found after {newcomer_rounds} rounds"));
    let before = (world.bytes(), world.aggregation_bytes());
    // Without churn a few rounds tell what is sent.
    let churn_rounds = if options.churn > 0.0 { options.churn_rounds } else { 3 };
    for _ in 0..churn_rounds {
        world.replace(options.churn);
        world.run_round();
    }
    let rounds = f64::from(churn_rounds.max(1)) * f64::from(options.nodes);
    let bytes_sent_per_node = (world.bytes() - before.0) as f64 / rounds;
    let aggregation_bytes_per_node = (world.aggregation_bytes() - before.1) as f64 / rounds;
    let heap: usize = world.members.iter().map(|member| member.trie.heap_bytes()).sum();
    let (mut enough, mut scarce) = (Vec::new(), Vec::new());
    for class in classes {
        let report = ask_class(&mut world, options, class, &ranks, &mut rng)?;
        note(&format!(
            "{}: {:.1} visits in {:.1} round trips, recall {:.4} with {:.2} visits a match",
            report.name, report.visits_mean, report.round_trips_mean, report.recall, report.visits_per_match
        ));
        if report.matches_mean < SCARCE_BELOW { &mut scarce } else { &mut enough }.push(report);
    }
    let aggregates = super::aggregates::compare(&world, options.seed);
    if let Some(aggregates) = &aggregates {
        note(&format!("{aggregates:?}"));
    }
    let load = (options.load > 0).then(|| load(&mut world, options, &ranks, &mut rng));
    Ok(Report {
        nodes: options.nodes,
        data: options.data,
        data_seed: options.data_seed,
        seed: options.seed,
        scheme: Scheme::Trie,
        wanted: options.wanted,
        churn: options.churn,
        loss: options.loss,
        link_memory_bytes_mean: heap as f64 / f64::from(options.nodes),
        rss_bytes: process::resident_bytes(),
        recall_by_round,
        newcomer_rounds,
        bytes_sent_per_node,
        aggregation_bytes_per_node,
        aggregates,
        classes: enough,
        scarce,
        load,
        cpu_seconds: (process::cpu_time() - cpu).as_secs_f64(),
    })
}

/// Lets some nodes be replaced and looks for each newcomer, round by round.
fn newcomers(world: &mut World, rng: &mut Rng) -> u32 {
    let share = f64::from(NEWCOMERS.min(world.members.len() as u32 / 20)) / world.members.len() as f64;
    let before: BTreeSet<Handle> = world.members.iter().map(|member| member.handle).collect();
    world.replace(share);
    let mut missing: Vec<u32> = (0..world.members.len() as u32)
        .filter(|slot| !before.contains(&world.members[*slot as usize].handle))
        .collect();
    let enough = missing.len() / 20;
    for round in 1..=NEWCOMER_ROUNDS_MAX {
        world.run_round();
        missing.retain(|slot| {
            let codes = world.members[*slot as usize].trie.codes();
            let start = rng.below(world.members.len() as u32);
            let region = xtreem_discovery::area::Area::of(codes);
            !walk(world, start, &region, &mut |visited| visited == *slot).2
        });
        if missing.len() <= enough {
            return round;
        }
    }
    NEWCOMER_ROUNDS_MAX
}

/// Different random nodes.
fn requesters(world: &World, count: u32, rng: &mut Rng) -> Vec<u32> {
    let nodes = world.members.len() as u32;
    let mut slots = BTreeSet::new();
    while slots.len() < count.min(nodes.div_ceil(2)) as usize {
        slots.insert(rng.below(nodes));
    }
    slots.into_iter().collect()
}

fn matching(world: &World, requirement: &Requirement) -> BTreeSet<Handle> {
    let matches = world.members.iter().filter(|member| requirement.matches(&attributes_of(&member.machine)));
    matches.map(|member| member.handle).collect()
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
        if world.searchers.values().all(|searcher| !searcher.is_user || searcher.report.is_some()) {
            break;
        }
    }
    let searchers = std::mem::take(&mut world.searchers);
    let outcome = |(slot, searcher): (u32, super::search::Searcher)| {
        let (report, depth) = searcher.report?;
        Some(Outcome { slot, report, depth, found: searcher.found })
    };
    searchers.into_iter().filter_map(outcome).collect()
}

fn ask_class(
    world: &mut World,
    options: &Options,
    class: &Class,
    ranks: &Ranks,
    rng: &mut Rng,
) -> Result<ClassReport, String> {
    let slots = requesters(world, REQUESTERS, rng);
    let mut asked = std::collections::BTreeMap::new();
    for slot in slots {
        asked.insert(slot, class.requirement(ranks, rng)?);
    }
    // All queries of a line are one: its matches are counted once.
    let shared = asked.values().all(|requirement| Some(requirement) == asked.values().next());
    let truth = |world: &World| {
        let mut known: Option<BTreeSet<Handle>> = None;
        let each = asked.iter().map(|(slot, requirement)| {
            let set = match &known {
                Some(known) if shared => known.clone(),
                _ => matching(world, requirement),
            };
            known.get_or_insert_with(|| set.clone());
            (*slot, set)
        });
        each.collect::<std::collections::BTreeMap<u32, BTreeSet<Handle>>>()
    };
    world.visits.fill(0);
    let there = truth(world);
    for (slot, requirement) in &asked {
        world.search(*slot, find(requirement.clone(), options.wanted));
    }
    let few = finish(world, options);
    let worst = world.visits.iter().copied().max().unwrap_or_default();
    let satisfied = few
        .iter()
        .filter(|outcome| outcome.found.len() >= there[&outcome.slot].len().min(options.wanted as usize));
    let satisfied = satisfied.count();
    // The requester's look at itself is no visit.
    let mut visits: Vec<u32> = few.iter().map(|outcome| outcome.report.visited - 1).collect();
    visits.sort_unstable();

    let before = truth(world);
    for (slot, requirement) in &asked {
        world.search(*slot, find_all(requirement.clone()));
    }
    let all = finish(world, options);
    let (mut found, mut stayed, mut visited, mut matched, mut lost) = (0, 0, 0, 0, 0);
    for outcome in &all {
        let stays = |peer: &&Handle| world.is_alive(**peer);
        let here: BTreeSet<Handle> = before[&outcome.slot].iter().filter(stays).copied().collect();
        let seen: BTreeSet<Handle> = outcome.found.iter().copied().collect();
        found += here.intersection(&seen).count();
        stayed += here.len();
        visited += outcome.report.visited - 1;
        matched += seen.len();
        lost += outcome.report.lost + outcome.report.unopened;
    }
    let matches_mean = there.values().map(BTreeSet::len).sum::<usize>() as f64 / there.len().max(1) as f64;
    let set = sets::ask(world, options, &asked, &there);
    let queries = few.len().max(1) as f64;
    Ok(ClassReport {
        name: class.name().into(),
        queries: few.len() as u32,
        matches_mean,
        visits_mean: f64::from(visits.iter().sum::<u32>()) / queries,
        visits_p99: visits
            .get((visits.len() * 99).div_ceil(100).saturating_sub(1))
            .copied()
            .unwrap_or_default(),
        round_trips_mean: few.iter().map(|outcome| f64::from(outcome.depth)).sum::<f64>() / queries,
        satisfied: satisfied as f64 / queries,
        worst_node_share: f64::from(worst) / queries,
        recall: found as f64 / stayed.max(1) as f64,
        visits_per_match: f64::from(visited) / matched.max(1) as f64,
        find_all_round_trips_mean: all.iter().map(|outcome| f64::from(outcome.depth)).sum::<f64>()
            / all.len().max(1) as f64,
        lost_mean: lost as f64 / matched.max(1) as f64,
        set,
    })
}

/// Many queries of the first built-in class, from random requesters.
fn load(world: &mut World, options: &Options, ranks: &Ranks, rng: &mut Rng) -> Load {
    world.visits.fill(0);
    let mut left = options.load;
    while left > 0 {
        let slots = requesters(world, LOAD_BATCH.min(left), rng);
        left -= (slots.len() as u32).min(left);
        for slot in slots {
            let requirement = super::classes::BUILTIN[0].requirement(ranks, rng).expect("it is built in");
            world.search(slot, find(requirement, options.wanted));
        }
        finish(world, options);
    }
    let visits_max = world.visits.iter().copied().max().unwrap_or_default();
    let sum: u64 = world.visits.iter().map(|visits| u64::from(*visits)).sum();
    let visits_mean = sum as f64 / world.visits.len().max(1) as f64;
    let worst_over_mean = f64::from(visits_max) / visits_mean.max(f64::MIN_POSITIVE);
    Load { queries: options.load, visits_mean, visits_max, worst_over_mean }
}
