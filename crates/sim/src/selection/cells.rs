//! The baseline: fixed nested cells, as published in 2009, on the same machines and queries.
//!
//! Source: Costa, Napper, Pierre and van Steen, "Autonomous resource selection for decentralized utility
//! computing", ICDCS 2009. Each attribute is halved [`LEVELS`] times. A node links one node of each
//! neighbouring subcell and all nodes of its own lowest cell; a query goes depth first from subcell to
//! subcell and waits for each answer.
//!
//! A count of messages over perfect links, not gossip: nobody is dead, every subcell with nodes is linked,
//! bounds of cells are quantiles that everybody knows. All of that is in the baseline's favour.

use std::collections::BTreeSet;

use xtreem_base::Rng;
use xtreem_discovery::Number;
use xtreem_discovery::area::Area;
use xtreem_discovery::region::Region;
use xtreem_discovery::trie::Alternate;

use super::data::{ATTRIBUTES, Machine};
use super::world::SCALE;

/// Halvings of each attribute: eight cells a dimension, as in the paper's evaluation.
const LEVELS: usize = 3;
const BITS: usize = LEVELS * ATTRIBUTES;

/// All nodes in the order of their cells.
pub struct Cells {
    /// The interleaved cell numbers of each node, with its slot.
    order: Vec<(u32, u32)>,
    /// By slot.
    cells: Vec<u32>,
    /// The values at which the cells of each attribute begin, but for the first one.
    bounds: [[u16; (1 << LEVELS) - 1]; ATTRIBUTES],
}

/// What one query came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Asked {
    /// Nodes that received it, but for the requester.
    pub visits: u32,
    /// Of the visits, those that each waited for the one before.
    pub round_trips: u32,
    pub found: u32,
}

impl Cells {
    pub fn new(machines: &[Machine]) -> Self {
        let bounds = std::array::from_fn(|i| {
            let mut values: Vec<u16> = machines.iter().map(|machine| machine[i]).collect();
            values.sort_unstable();
            std::array::from_fn(|cell| values[(values.len() * (cell + 1)) >> LEVELS])
        });
        let cells: Vec<u32> = machines.iter().map(|machine| cell_of(&bounds, machine)).collect();
        let mut order: Vec<(u32, u32)> = cells.iter().copied().zip(0..).collect();
        order.sort_unstable();
        Cells { order, cells, bounds }
    }

    /// The nodes whose first `len` bits are those of `cell`.
    fn inside(&self, cell: u32, len: usize) -> &[(u32, u32)] {
        let low = cell >> (BITS - len) << (BITS - len);
        let begin = self.order.partition_point(|(known, _)| *known < low);
        let end = self.order.partition_point(|(known, _)| *known < low + (1 << (BITS - len)));
        &self.order[begin..end]
    }

    fn area(&self, cell: u32, len: usize) -> Area {
        let mut area = Area::EVERYTHING;
        for (i, bounds) in self.bounds.iter().enumerate() {
            let bits = (len + ATTRIBUTES - 1 - i) / ATTRIBUTES;
            let number = (0..bits)
                .fold(0, |number, level| number << 1 | cell >> (BITS - 1 - level * ATTRIBUTES - i) & 1);
            let (first, behind) =
                ((number << (LEVELS - bits)) as usize, (number as usize + 1) << (LEVELS - bits));
            area.low[i] = first.checked_sub(1).map_or(0, |before| code_of(bounds[before]));
            area.high[i] = bounds.get(behind - 1).map_or(u16::MAX, |bound| code_of(bound.saturating_sub(1)));
        }
        area
    }

    /// Bytes of the links of a node, on average, at the size of an alternate of the trie.
    pub fn link_bytes_mean(&self) -> f64 {
        let mut links = 0u64;
        for &cell in &self.cells {
            let siblings = (0..BITS).filter(|bit| !self.inside(sibling(cell, *bit), bit + 1).is_empty());
            links += siblings.count() as u64 + self.inside(cell, BITS).len() as u64 - 1;
        }
        (links * size_of::<Alternate>() as u64) as f64 / self.cells.len() as f64
    }

    /// Asks from `start` until `wanted` matches are found; `seen` is told of each visit, the requester's own
    /// included.
    pub fn ask(
        &self,
        start: u32,
        region: &Region,
        matches: &BTreeSet<u32>,
        wanted: usize,
        rng: &mut Rng,
        seen: &mut dyn FnMut(u32),
    ) -> Asked {
        let mut asked = Asked::default();
        // Depth first: what is on top was named by the node visited last.
        let mut open = vec![(start, 0)];
        let is_enough = |asked: &Asked| asked.found as usize >= wanted;
        while let Some((slot, len)) = open.pop() {
            if is_enough(&asked) {
                break;
            }
            seen(slot);
            asked.visits += u32::from(slot != start);
            asked.round_trips = asked.visits;
            asked.found += u32::from(matches.contains(&slot));
            let cell = self.cells[slot as usize];
            // The node knows the attributes of those in its own lowest cell, and asks only those that match.
            for (_, mate) in self.inside(cell, BITS) {
                if !is_enough(&asked) && *mate != slot && matches.contains(mate) {
                    seen(*mate);
                    asked.visits += 1;
                    asked.found += 1;
                }
            }
            // The paper goes from the largest subcell to the smallest: that one is pushed last.
            for bit in (len..BITS).rev() {
                let beside = sibling(cell, bit);
                let nodes = self.inside(beside, bit + 1);
                if !nodes.is_empty() && region.touches(&self.area(beside, bit + 1)) {
                    open.push((nodes[rng.below(nodes.len() as u32) as usize].1, bit + 1));
                }
            }
        }
        asked
    }
}

fn code_of(value: u16) -> u16 {
    SCALE.number_code(Number::from_whole(value.into()))
}

/// One bit turned round; those behind it do not count.
fn sibling(cell: u32, bit: usize) -> u32 {
    cell ^ 1 << (BITS - 1 - bit)
}

/// One bit of each attribute after the other, the highest ones first.
fn cell_of(bounds: &[[u16; (1 << LEVELS) - 1]; ATTRIBUTES], machine: &Machine) -> u32 {
    let mut cell = 0;
    for level in (0..LEVELS).rev() {
        for (bounds, value) in bounds.iter().zip(machine) {
            let number = bounds.partition_point(|bound| bound <= value) as u32;
            cell = cell << 1 | number >> level & 1;
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::super::classes::BUILTIN;
    use super::super::data::{Data, Ranks};
    use super::super::world::{attributes_of, schema};
    use super::*;

    #[test]
    fn a_query_for_all_finds_each_match_once_and_nodes_lie_in_their_cells() {
        for data in [Data::Uniform, Data::Clustered] {
            let machines = data.machines(3_000, 1);
            let (cells, ranks, mut rng) = (Cells::new(&machines), Ranks::new(&machines), Rng::new(1));
            for (slot, machine) in machines.iter().enumerate() {
                let codes = schema().codes(&attributes_of(machine));
                for len in 0..=BITS {
                    assert!(cells.area(cells.cells[slot], len).contains(&codes), "{machine:?} {len}");
                }
            }
            for class in &BUILTIN {
                let requirement = class.requirement(&ranks, &mut rng).unwrap();
                let region = requirement.region(&schema());
                let matching = |slot: &u32| requirement.matches(&attributes_of(&machines[*slot as usize]));
                let matches: BTreeSet<u32> = (0..3_000).filter(matching).collect();
                let mut seen = Vec::new();
                let all = cells.ask(7, &region, &matches, usize::MAX, &mut rng, &mut |slot| seen.push(slot));
                assert_eq!(all.found as usize, matches.len());
                assert!(matches.iter().all(|slot| seen.contains(slot)));
                let (many, some) = (seen.len(), all.visits as usize);
                seen.sort_unstable();
                seen.dedup();
                assert_eq!((seen.len(), some), (many, many - 1), "nobody is visited twice");
                let ten = cells.ask(7, &region, &matches, 10, &mut rng, &mut |_| {});
                assert_eq!(ten.found as usize, matches.len().min(10));
            }
        }
    }
}
