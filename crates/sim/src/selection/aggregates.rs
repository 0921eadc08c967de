//! What nodes of a selection world learn of all nodes together, and how far that is from the truth.

use serde::Serialize;
use xtreem_base::Rng;
use xtreem_discovery::key::Codes;
use xtreem_membership::aggregation::{Aggregation, Estimate, WHOLE};

use super::data::ATTRIBUTES;
use super::world::World;

/// Nodes whose estimates are compared.
const SAMPLED: u32 = 200;
const CODES: usize = 1 << 16;

/// How far estimates err. Over random nodes that were in an epoch to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Aggregates {
    /// Mean of |estimate - nodes| / nodes.
    pub size_error: f64,
    /// The same as the nodes tell themselves: half of what the middle half of the instances differ by.
    pub size_error_told: f64,
    /// Over all these nodes, attributes and codes from the least to the greatest that there is: the
    /// difference between the share of nodes at or below the code as estimated, straight between bounds, and
    /// as it is.
    pub histogram_error_max: f64,
    pub histogram_error_mean: f64,
    /// The mean over nodes of the largest error that they measure themselves.
    pub histogram_error_told: f64,
    /// Share of all nodes that have an estimate of their own, not heard from another one.
    pub nodes_with_estimate: f64,
    pub memory_bytes_mean: f64,
}

/// Compares; nothing before the first epoch has ended.
pub(super) fn compare(world: &World, seed: u64) -> Option<Aggregates> {
    let nodes = world.nodes().len();
    let truth = Truth::new(world.nodes().map(|node| node.trie.codes()), nodes);
    let own = |slot: &u32| {
        let aggregation = &world.node(*slot).aggregation;
        aggregation.estimate().filter(|_| !aggregation.is_heard())
    };
    let mut with: Vec<u32> = (0..nodes as u32).filter(|slot| own(slot).is_some()).collect();
    let nodes_with_estimate = with.len() as f64 / nodes as f64;
    Rng::derive(seed, 0, "aggregates").shuffle(&mut with);
    with.truncate(SAMPLED as usize);
    let estimates: Vec<&Estimate> = with.iter().filter_map(own).map(|estimate| &**estimate).collect();
    let count = estimates.len() as f64;
    let mean =
        |f: &dyn Fn(&Estimate) -> f64| estimates.iter().map(|estimate| f(estimate)).sum::<f64>() / count;
    let (mut max, mut sum, mut compared) = (0f64, 0f64, 0u64);
    for estimate in &estimates {
        for attribute in 0..ATTRIBUTES {
            truth.compare(estimate, attribute, &mut |error| {
                max = max.max(error);
                sum += error;
                compared += 1;
            });
        }
    }
    let told = |estimate: &Estimate| {
        let errors = (0..ATTRIBUTES).filter_map(|attribute| estimate.curve_error(attribute));
        errors.map(|error| f64::from(error.max) / f64::from(WHOLE)).fold(0.0, f64::max)
    };
    let bytes = |aggregation: &Aggregation| aggregation.heap_bytes() + size_of_val(aggregation);
    let memory: usize = world.nodes().map(|node| bytes(&node.aggregation)).sum();
    (!estimates.is_empty()).then(|| Aggregates {
        size_error: mean(&|estimate| (f64::from(estimate.size.nodes) / nodes as f64 - 1.0).abs()),
        size_error_told: mean(&|estimate| f64::from(estimate.size.error_ppm) / 1e6),
        histogram_error_max: max,
        histogram_error_mean: sum / compared.max(1) as f64,
        histogram_error_told: mean(&told),
        nodes_with_estimate,
        memory_bytes_mean: memory as f64 / nodes as f64,
    })
}

/// Of each attribute the number of nodes at or below each code.
struct Truth {
    below: Vec<Vec<u32>>,
    nodes: usize,
}

impl Truth {
    fn new<'a>(codes: impl Iterator<Item = &'a Codes>, nodes: usize) -> Self {
        let mut below = vec![vec![0; CODES]; ATTRIBUTES];
        for node in codes {
            below.iter_mut().zip(node).for_each(|(counts, code)| counts[usize::from(*code)] += 1);
        }
        for counts in &mut below {
            counts.iter_mut().fold(0, |sum, count| {
                *count += sum;
                *count
            });
        }
        Truth { below, nodes }
    }

    fn compare(&self, estimate: &Estimate, attribute: usize, f: &mut dyn FnMut(f64)) {
        let Some(curve) = estimate.curve(attribute) else { return };
        let below = &self.below[attribute];
        let first = below.partition_point(|count| *count == 0);
        let last = below.partition_point(|count| (*count as usize) < self.nodes);
        for (code, count) in below.iter().enumerate().take(last + 1).skip(first) {
            let estimated = f64::from(curve.at_most(code as u16)) / f64::from(WHOLE);
            f((estimated - f64::from(*count) / self.nodes as f64).abs());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::Data;
    use super::*;

    #[test]
    fn size_and_distributions_are_right_in_churn_and_loss() {
        let mut world = World::new(&Data::Clustered.machines(2_000, 1), 1, 0.01);
        // Three epochs, the last two with churn: bounds move after the first and the second.
        for round in 0..100 {
            if round > 30 {
                world.replace(0.002);
            }
            world.run_round();
        }
        let found = compare(&world, 1).unwrap();
        assert!(found.size_error < 0.05, "{found:?}");
        assert!(found.histogram_error_max < 0.03 && found.histogram_error_mean < 0.002, "{found:?}");
        assert!(found.nodes_with_estimate > 0.85, "{found:?}");
    }
}
