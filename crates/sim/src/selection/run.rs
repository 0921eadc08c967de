//! The run behind `sim selection`: links fill from nothing, churn goes on, queries are asked.

use std::collections::BTreeSet;

use xtreem_base::{Handle, Rng};

use super::ask::{ask_class, load};
use super::classes::Class;
use super::data::Ranks;
use super::report::{ClassReport, Report, RoundRecall, Scheme};
use super::world::World;
use super::{Options, baseline, read_recall, walk};
use crate::membership::process;

/// Matches below which a class is listed apart.
const SCARCE_BELOW: f64 = 150.0;
/// Newcomers that are watched, and for how many rounds.
const NEWCOMERS: u32 = 60;
const NEWCOMER_ROUNDS_MAX: u32 = 10;
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
    let baseline = baseline::run(options, &machines, classes, &ranks, &mut rng.clone())?;
    note(&format!("nested cells: {}", visits_of(baseline.classes.iter().chain(&baseline.scarce))));
    let mut report = Report {
        nodes: options.nodes,
        data: options.data,
        data_seed: options.data_seed,
        seed: options.seed,
        scheme: options.scheme,
        wanted: options.wanted[0],
        churn: options.churn,
        loss: options.loss,
        link_memory_bytes_mean: baseline.link_memory_bytes_mean,
        rss_bytes: process::resident_bytes(),
        recall_by_round: Vec::new(),
        newcomer_rounds: None,
        bytes_sent_per_node: None,
        aggregation_bytes_per_node: None,
        aggregates: None,
        classes: baseline.classes.clone(),
        scarce: baseline.scarce.clone(),
        load: None,
        baseline: None,
        cpu_seconds: (process::cpu_time() - cpu).as_secs_f64(),
    };
    if options.scheme == Scheme::Cells {
        return Ok(report);
    }
    let mut world = World::new(&machines, options.seed, options.loss);
    for round in 1..=options.rounds {
        world.run_round();
        if round % options.every.max(1) == 0 {
            let recall = read_recall(&world, &ranks, round);
            note(&format!("round {round}: a walk finds {recall:.4} of the matches"));
            report.recall_by_round.push(RoundRecall { round, recall });
        }
    }
    let newcomer_rounds = newcomers(&mut world, &mut rng);
    note(&format!("newcomers are found after {newcomer_rounds} rounds"));
    let before = sent(&world);
    // Without churn a few rounds tell what is sent.
    let churn_rounds = if options.churn > 0.0 { options.churn_rounds } else { 3 };
    for _ in 0..churn_rounds {
        world.replace(options.churn);
        world.run_round();
    }
    let rounds = f64::from(churn_rounds.max(1)) * f64::from(options.nodes);
    report.bytes_sent_per_node = Some((sent(&world).0 - before.0) as f64 / rounds);
    report.aggregation_bytes_per_node = Some((sent(&world).1 - before.1) as f64 / rounds);
    let heap: usize = world.nodes().map(|node| node.trie.heap_bytes()).sum();
    report.link_memory_bytes_mean = heap as f64 / f64::from(options.nodes);
    let mut asked = Vec::new();
    for class in classes {
        let class = ask_class(&mut world, options, class, &ranks, &mut rng)?;
        note(&format!(
            "{}: {:.1} visits in {:.1} round trips, recall {:.4} with {:.2} visits a match",
            class.name,
            class.wanted.visits_mean,
            class.wanted.round_trips_mean,
            class.recall,
            class.visits_per_match
        ));
        asked.push(class);
    }
    report.aggregates = super::aggregates::compare(&world, options.seed);
    if let Some(aggregates) = &report.aggregates {
        note(&format!("{aggregates:?}"));
    }
    (report.classes, report.scarce) = by_matches(asked);
    report.load = (options.load > 0).then(|| load(&mut world, options, &ranks, &mut rng));
    report.rss_bytes = process::resident_bytes();
    report.cpu_seconds = (process::cpu_time() - cpu).as_secs_f64();
    Ok(Report { newcomer_rounds: Some(newcomer_rounds), baseline: Some(baseline), ..report })
}

/// Bytes that tries and aggregation have sent, and those of aggregation alone.
fn sent(world: &World) -> (u64, u64) {
    (world.arena.config.bytes.get(), world.arena.config.aggregation_bytes.get())
}

/// The classes with enough matches, and the others.
pub(super) fn by_matches(classes: Vec<ClassReport>) -> (Vec<ClassReport>, Vec<ClassReport>) {
    classes.into_iter().partition(|class| class.matches_mean >= SCARCE_BELOW)
}

fn visits_of<'a>(classes: impl Iterator<Item = &'a ClassReport>) -> String {
    let class = |class: &ClassReport| format!("{} {:.1}", class.name, class.wanted.visits_mean);
    classes.map(class).collect::<Vec<_>>().join(", ")
}

/// Lets some nodes be replaced and looks for each newcomer, round by round.
fn newcomers(world: &mut World, rng: &mut Rng) -> u32 {
    let share = f64::from(NEWCOMERS.min(world.slots() / 20)) / f64::from(world.slots());
    let before: BTreeSet<Handle> = (0..world.slots()).map(|slot| world.arena.handle(slot)).collect();
    world.replace(share);
    let mut missing: Vec<u32> =
        (0..world.slots()).filter(|slot| !before.contains(&world.arena.handle(*slot))).collect();
    let enough = missing.len() / 20;
    for round in 1..=NEWCOMER_ROUNDS_MAX {
        world.run_round();
        missing.retain(|slot| {
            let codes = world.node(*slot).trie.codes();
            let start = rng.below(world.slots());
            let region = xtreem_discovery::area::Area::of(codes);
            !walk(world, start, &region, &mut |visited| visited == *slot).2
        });
        if missing.len() <= enough {
            return round;
        }
    }
    NEWCOMER_ROUNDS_MAX
}
