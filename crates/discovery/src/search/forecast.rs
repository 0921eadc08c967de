//! What a search will find and cost, from the distributions of the attributes over all nodes.
//!
//! Attributes are taken to be independent of each other, which machines are not: where large disks come with
//! large memories, more nodes match than this says.

use crate::region::{Region, WHOLE};
use crate::schema::{CLASSES, Schema};

/// How a search gets to its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Along the prefix trie: the only one there is.
    Trie,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Nodes that match, about.
    pub matches: u32,
    /// Visits until enough are found, or all.
    pub visits: u32,
    pub path: Path,
}

/// The share of nodes with codes of an attribute from one to another, in parts of 65,535. Attributes are
/// numbered as in the schema, first the static ones.
pub type Share<'a> = dyn Fn(usize, u16, u16) -> u16 + 'a;

/// Nodes in a region: for each of its boxes the product of the shares of all attributes that it bounds.
pub fn matches(region: &Region, schema: &Schema, share: &Share<'_>, nodes: u32) -> u32 {
    let whole = u64::from(WHOLE) << 16;
    let scaled = |all: u64, share: u16| all * u64::from(share) / u64::from(u16::MAX);
    let dimensions = schema.dimensions().len();
    let of_piece = |piece: &crate::region::Piece| {
        let place = (0..dimensions).map(|i| (i, piece.area.low[i], piece.area.high[i]));
        let all = place
            .filter(|(_, low, high)| (*low, *high) != (0, u16::MAX))
            .fold(whole, |all, (i, low, high)| scaled(all, share(i, low, high)));
        schema.dynamics().iter().enumerate().fold(all, |all, (i, dynamic)| {
            let mask = piece.classes[i];
            if mask == u8::MAX {
                return all;
            }
            let of_class = |class: usize| {
                let (low, high) = dynamic.codes(class);
                u32::from(share(dimensions + i, low, high))
            };
            let sum: u32 = (0..CLASSES).filter(|class| mask >> class & 1 == 1).map(of_class).sum();
            scaled(all, u16::try_from(sum).unwrap_or(u16::MAX))
        })
    };
    // Boxes may overlap: no more than all.
    let sum = region.pieces().iter().map(of_piece).sum::<u64>().min(whole);
    ((sum * u64::from(nodes) + whole / 2) / whole) as u32
}

/// The way to `wanted` of `matches` nodes (all of them when nothing is said) among `nodes`.
///
/// Each match costs its own visit and half a visit for each halving of the grid down to the matches: 35
/// visits for ten of 2,700 among 100,000, where 34 were measured (docs/design/selection.md, "One access
/// path"). Who looks for all shares the way: a visit and a half for each (1.05 to 1.8 measured).
pub fn plan(nodes: u32, matches: u32, wanted: Option<u32>) -> Forecast {
    let halvings = nodes.checked_div(matches.max(1)).and_then(u32::checked_ilog2).unwrap_or_default();
    let visits = match wanted {
        Some(wanted) if wanted <= matches => wanted.saturating_add(wanted.saturating_mul(halvings) / 2),
        _ => (matches.saturating_add(matches / 2)).max(halvings),
    };
    Forecast { matches, visits: visits.min(nodes), path: Path::Trie }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Requirement;

    #[test]
    fn matches_are_the_product_of_the_shares() {
        let schema = Schema::standard();
        // A fifth of the nodes in whatever is asked of the cores, a half in all else.
        let share =
            |attribute: usize, _: u16, _: u16| if attribute == 0 { u16::MAX / 5 } else { u16::MAX / 2 };
        let table = [
            ("", 1_000),
            ("cpu.cores >= 8", 200),
            ("cpu.cores >= 8 && mem.total >= 8GiB", 100),
            // Two boxes, not more than all.
            ("cpu.cores >= 8 || mem.total >= 8GiB", 700),
            ("mem.total >= 8GiB || site == \"a\" || arch == \"b\"", 1_000),
            // No clause that the distributions know.
            ("has commands", 1_000),
            ("false", 0),
        ];
        for (text, expected) in table {
            let region = Requirement::parse(text).unwrap().region(&schema);
            let found = matches(&region, &schema, &share, 1_000);
            assert!(found.abs_diff(expected) <= 1, "{text}: {found}");
        }
    }

    #[test]
    fn the_cost_follows_the_matches() {
        let table = [
            // Nodes, matches, wanted: visits.
            (100_000, 2_700, Some(10), 35),
            (100_000, 50_000, Some(10), 15),
            (100_000, 100_000, Some(10), 10),
            (100_000, 2_000, None, 3_000),
            (100_000, 5, Some(10), 14),
            (100_000, 0, Some(10), 16),
            (30, 30, Some(100), 30),
            (0, 0, None, 0),
            (u32::MAX, u32::MAX, Some(u32::MAX), u32::MAX),
        ];
        for (nodes, matches, wanted, visits) in table {
            let expected = Forecast { matches, visits, path: Path::Trie };
            assert_eq!(plan(nodes, matches, wanted), expected, "{nodes} {matches} {wanted:?}");
        }
    }
}
