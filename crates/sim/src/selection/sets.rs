//! Set queries in a selection world: every machine has some free disk space, which changes, and sets are
//! asked for that have a share of what the best six have.
//!
//! Source: docs/design/selection.md, "Sets". What links say of the largest values is as old as gossip makes
//! it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use xtreem_base::{Handle, Rng};
use xtreem_discovery::schema::{Dynamic, Scale};
use xtreem_discovery::{Attributes, Number, Requirement, SearchSpec, SetQuery, Together};

use super::Options;
use super::ask::{Outcome, finish};
use super::world::World;
use crate::arena::slot_of;

/// The dynamic attribute of the machines.
const FREE: &str = "disk.free";
/// Codes of an octave.
const OCTAVE: f64 = 1_024.0;
/// The median, 16 GiB, and how widely machines differ: a standard deviation of 1.7 octaves (a factor of 3.3),
/// so that few have much (our guess; "random" in the note's table needs such a tail).
const MEDIAN: f64 = 45_000.0;
const DEVIATION: f64 = 1.73 * OCTAVE;
/// What a value changes by in one round: 5 % (our guess: a disk that fills; after three minutes it is a
/// fifth).
const STEP: f64 = 0.07 * OCTAVE;

/// Most members of a set.
const MOST: u16 = 6;
/// What is asked for, in per cent of what the best six matching nodes have.
const SHARES: [u32; 3] = [30, 70, 90];

/// Of one class.
#[derive(Clone, Debug, PartialEq, Default, Serialize)]
pub struct SetFigures {
    pub set_queries: u32,
    /// Nodes that received the query.
    pub set_visits_mean: f64,
    pub set_visits_p99: u32,
    /// Queries that found a set, of those for which there was one from beginning to end.
    pub set_solved: f64,
    /// The visits of those that asked for 30, 70 and 90 % of what the best six have.
    pub set_visits_by_share: [f64; SHARES.len()],
}

pub(super) fn dynamic() -> Dynamic {
    let first = Scale::Logarithmic.number_code(Number::from_whole(256 << 20));
    Dynamic { name: FREE.into(), scale: Scale::Logarithmic, first, width: 2 * 1_024 }
}

/// The free space of a new machine, as the code of its logarithm.
pub(super) fn first_value(rng: &mut Rng) -> u16 {
    (MEDIAN + DEVIATION * super::data::normal(rng)) as u16
}

/// One round later: a walk that leans back to the median, so that machines stay as different as they were.
pub(super) fn next_value(value: u16, rng: &mut Rng) -> u16 {
    let kept = (1.0 - (STEP / DEVIATION).powi(2)).sqrt();
    (MEDIAN + (f64::from(value) - MEDIAN) * kept + STEP * super::data::normal(rng)) as u16
}

/// A machine says how much is free.
pub(super) fn say(attributes: &mut Attributes, free: u16) {
    attributes.set(FREE, number(free)).expect("a sound name and a number");
}

fn number(value: u16) -> Number {
    Scale::Logarithmic.number_at(value)
}

/// What the best six of these nodes have together, of those that live.
fn best_six(world: &World, nodes: &BTreeSet<Handle>) -> i64 {
    let value = |peer: &Handle| number(world.node(slot_of(*peer)).free).as_thousandths();
    let mut values: Vec<i64> = nodes.iter().filter(|peer| world.is_alive(**peer)).map(value).collect();
    values.sort_unstable();
    values.iter().rev().take(MOST.into()).sum()
}

/// Every requester asks for a set within its own requirement.
pub(super) fn ask(
    world: &mut World,
    options: &Options,
    asked: &BTreeMap<u32, Requirement>,
    matching: &BTreeMap<u32, BTreeSet<Handle>>,
) -> SetFigures {
    let mut wanted = BTreeMap::new();
    for (i, (slot, requirement)) in asked.iter().enumerate() {
        let share = i % SHARES.len();
        let sum = i128::from(best_six(world, &matching[slot])) * i128::from(SHARES[share]) / 100;
        let sum = sum.max(1) as i64;
        let together = Together::parse(&format!("sum({FREE}) >= {}", Number::from_thousandths(sum)));
        let together = together.expect("a sum of an attribute with a sound name");
        let query = SetQuery::new(1, MOST, together, requirement).expect("a size within the limits");
        wanted.insert(*slot, (share, sum));
        world.search(*slot, SearchSpec::set(query, None));
    }
    let mut outcomes = finish(world, options);
    // A set that is gone when the search ends was none to be found.
    let is_there = |slot: &u32| best_six(world, &matching[slot]) >= wanted[slot].1;
    outcomes.retain(|outcome| is_found(outcome) || is_there(&outcome.slot));
    let mut visits: Vec<u32> = outcomes.iter().map(|outcome| outcome.report.visits - 1).collect();
    visits.sort_unstable();
    let mean = |visits: &[u32]| visits.iter().sum::<u32>() as f64 / visits.len().max(1) as f64;
    let of_share = |share: usize| {
        let same = outcomes.iter().filter(|outcome| wanted[&outcome.slot].0 == share);
        mean(&same.map(|outcome| outcome.report.visits - 1).collect::<Vec<_>>())
    };
    SetFigures {
        set_queries: visits.len() as u32,
        set_visits_mean: mean(&visits),
        set_visits_p99: visits
            .get((visits.len() * 99).div_ceil(100).saturating_sub(1))
            .copied()
            .unwrap_or_default(),
        set_solved: outcomes.iter().filter(|outcome| is_found(outcome)).count() as f64
            / visits.len().max(1) as f64,
        set_visits_by_share: std::array::from_fn(of_share),
    }
}

fn is_found(outcome: &Outcome) -> bool {
    outcome.report.set.as_ref().is_some_and(|set| set.found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_different_as_they_were() {
        let mut rng = Rng::new(1);
        let mut values: Vec<u16> = (0..4_000).map(|_| first_value(&mut rng)).collect();
        let spread = |values: &[u16]| {
            let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
            let square = |value: &u16| (f64::from(*value) - mean).powi(2);
            (mean, (values.iter().map(square).sum::<f64>() / values.len() as f64).sqrt())
        };
        for _ in 0..2 {
            let (mean, deviation) = spread(&values);
            assert!((mean - MEDIAN).abs() < 100.0 && (deviation - DEVIATION).abs() < 100.0, "{deviation}");
            for value in &mut values {
                (0..100).for_each(|_| *value = next_value(*value, &mut rng));
            }
        }
    }
}
