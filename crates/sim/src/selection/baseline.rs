//! What the baseline of nested cells makes of the same classes of queries on the same machines.

use std::collections::BTreeSet;

use xtreem_base::Rng;
use xtreem_discovery::Attributes;

use super::Options;
use super::ask::{REQUESTERS, requesters};
use super::cells::Cells;
use super::classes::Class;
use super::data::{Machine, Ranks};
use super::report::{Baseline, ClassReport, Everything, Scheme, Tried, Wanted};
use super::run::by_matches;
use super::world::{attributes_of, schema};

pub(super) fn run(
    options: &Options,
    machines: &[Machine],
    classes: &[Class],
    ranks: &Ranks,
    rng: &mut Rng,
) -> Result<Baseline, String> {
    let cells = Cells::new(machines);
    let attributes: Vec<Attributes> = machines.iter().map(attributes_of).collect();
    let mut asked = Vec::new();
    for class in classes {
        asked.push(ask_class(options, &cells, &attributes, class, ranks, rng)?);
    }
    let (classes, scarce) = by_matches(asked);
    let link_memory_bytes_mean = cells.link_bytes_mean();
    Ok(Baseline { scheme: Scheme::Cells, link_memory_bytes_mean, classes, scarce })
}

fn ask_class(
    options: &Options,
    cells: &Cells,
    attributes: &[Attributes],
    class: &Class,
    ranks: &Ranks,
    rng: &mut Rng,
) -> Result<ClassReport, String> {
    let schema = schema();
    let (mut matches_sum, mut visits_all) = (0, 0);
    let mut tries: Vec<Vec<Tried>> = options.wanted.iter().map(|_| Vec::new()).collect();
    let mut visited: Vec<Vec<u32>> = options.wanted.iter().map(|_| vec![0; attributes.len()]).collect();
    let slots = requesters(attributes.len() as u32, REQUESTERS, rng);
    for slot in &slots {
        let requirement = class.requirement(ranks, rng)?;
        let region = requirement.region(&schema);
        let meeting = attributes.iter().zip(0..).filter(|(attributes, _)| requirement.matches(attributes));
        let matches: BTreeSet<u32> = meeting.map(|(_, slot)| slot).collect();
        matches_sum += matches.len();
        for (i, wanted) in options.wanted.iter().enumerate() {
            let mut count = |slot: u32| visited[i][slot as usize] += 1;
            let asked = cells.ask(*slot, &region, &matches, *wanted as usize, rng, &mut count);
            let is_satisfied = asked.found as usize >= matches.len().min(*wanted as usize);
            tries[i].push(Tried { visits: asked.visits, round_trips: asked.round_trips, is_satisfied });
        }
        visits_all += cells.ask(*slot, &region, &matches, usize::MAX, rng, &mut |_| {}).visits;
    }
    let few = options.wanted.iter().zip(tries).zip(visited);
    let few = few.map(|((wanted, tries), visited)| {
        Wanted::of(*wanted, tries, visited.into_iter().max().unwrap_or_default())
    });
    let queries = slots.len().max(1) as f64;
    let all = Everything {
        recall: 1.0,
        visits_per_match: f64::from(visits_all) / matches_sum.max(1) as f64,
        round_trips_mean: f64::from(visits_all) / queries,
        lost_mean: 0.0,
        set: None,
    };
    Ok(ClassReport::new(class.name(), matches_sum as f64 / queries, few.collect(), all))
}
