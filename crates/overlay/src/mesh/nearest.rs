//! Which shapes of a given number of places are nearest to a wish.
//!
//! A number may be a product of eight others in hundreds of millions of ways, but it has few divisors (below
//! 2^28 at most 1,008), so the best ways are found for each divisor and number of sides in turn.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{PLACES_MAX, Shape};

/// Shapes that a misfit names at most. Our guess: enough to choose from, few enough to read.
pub const NEAREST_MAX: usize = 3;

/// The sum of the differences of the sides, and the sides from one dimension on.
#[derive(Clone)]
struct Way {
    cost: u64,
    sides: Vec<u32>,
}

/// Those with `members` places, nearest first.
pub(super) fn of(shape: &Shape, members: u32) -> Vec<Shape> {
    if members == 0 || members > PLACES_MAX {
        return Vec::new();
    }
    let divisors = divisors(members);
    // For each divisor the best ways to fill the dimensions that are done; none is done: one place.
    let mut ways = BTreeMap::from([(1, Vec::from([Way { cost: 0, sides: Vec::new() }]))]);
    for wanted in shape.sides().iter().rev() {
        let mut longer = BTreeMap::<u32, Vec<Way>>::new();
        for (places, rests) in &ways {
            // What divides the places that are left.
            let sides = divisors.iter().filter(|side| (members / places).is_multiple_of(**side));
            for side in sides {
                let better = longer.entry(places * side).or_default();
                rests.iter().for_each(|rest| keep(better, rest.before(*side, *wanted)));
            }
        }
        ways = longer;
    }
    let best = ways.remove(&members).unwrap_or_default();
    best.iter().map(|way| Shape::of(&way.sides, shape.edges())).collect()
}

impl Way {
    fn before(&self, side: u32, wanted: u32) -> Way {
        let mut sides = Vec::with_capacity(1 + self.sides.len());
        sides.push(side);
        sides.extend_from_slice(&self.sides);
        Way { cost: self.cost + u64::from(side.abs_diff(wanted)), sides }
    }
}

/// Puts a way among the best, if it is one of them.
fn keep(best: &mut Vec<Way>, way: Way) {
    let is_after = |other: &Way| other.cost > way.cost || other.cost == way.cost && other.sides < way.sides;
    let at = best.iter().position(is_after).unwrap_or(best.len());
    if at < NEAREST_MAX {
        best.truncate(NEAREST_MAX - 1 + usize::from(best.len() < NEAREST_MAX));
        best.insert(at, way);
    }
}

/// In ascending order.
pub(super) fn divisors(number: u32) -> Vec<u32> {
    let root = number.isqrt();
    let small: Vec<u32> = (1..=root).filter(|d| number.is_multiple_of(*d)).collect();
    let large = small.iter().rev().map(|d| number / d).filter(|d| *d > root);
    small.iter().copied().chain(large).collect()
}
