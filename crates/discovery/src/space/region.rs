//! Where in the space of codes the nodes that meet a requirement can be: a few boxes, and how much of a
//! subtree lies in them.
//!
//! A region leaves out no node that meets the requirement. It may hold nodes that do not: they are told apart
//! when they are visited.

use alloc::vec::Vec;

use crate::area::Area;
use crate::key::{Codes, DIMENSIONS_MAX};
use crate::schema::{CLASSES, DYNAMICS_MAX, Schema};
use crate::trie::Summary;

/// Boxes of one region. A requirement with more alternatives is covered by fewer, larger ones.
pub const PIECES_MAX: usize = 16;
/// A share of one: shares are fixed-point numbers.
pub const WHOLE: u32 = 1 << 16;
/// What counts as the share of a class that nobody is said to be in: the word is seconds to minutes old.
const STALE_SHARE: u32 = WHOLE / 512;

/// One box of codes, with the classes of dynamic attributes that are wanted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) area: Area,
    /// One bit a class.
    pub(crate) classes: [u8; DYNAMICS_MAX],
}

impl Piece {
    pub(crate) const EVERYTHING: Piece = Piece { area: Area::EVERYTHING, classes: [u8::MAX; DYNAMICS_MAX] };

    pub(crate) fn meet(&self, other: &Piece) -> Option<Piece> {
        let area = self.area.meet(&other.area);
        let classes = core::array::from_fn(|i| self.classes[i] & other.classes[i]);
        (area.is_sound() && classes.iter().all(|mask| *mask != 0)).then_some(Piece { area, classes })
    }

    fn covers(&self, inner: &Piece) -> bool {
        self.area.covers(&inner.area)
            && self.classes.iter().zip(inner.classes).all(|(mine, theirs)| theirs & !mine == 0)
    }

    fn join(&mut self, other: &Piece) {
        self.area.join(&other.area);
        self.classes.iter_mut().zip(other.classes).for_each(|(mine, theirs)| *mine |= theirs);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pieces: Vec<Piece>,
}

/// How much of a subtree can match, as far as its summary tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Nodes whose codes lie in the region, as a share of all ([`WHOLE`]): at least one part.
    pub place: u32,
    /// The share of those that is in the wanted state.
    pub state: u32,
}

impl Region {
    pub fn everything() -> Self {
        Region { pieces: [Piece::EVERYTHING].into() }
    }

    pub(crate) fn nothing() -> Self {
        Region { pieces: Vec::new() }
    }

    pub(crate) fn of_piece(piece: Piece) -> Self {
        Region { pieces: [piece].into() }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// No node can match.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn contains(&self, codes: &Codes) -> bool {
        self.pieces.iter().any(|piece| piece.area.contains(codes))
    }

    pub fn touches(&self, area: &Area) -> bool {
        self.pieces.iter().any(|piece| piece.area.meet(area).is_sound())
    }

    /// What is in this one and in `other`.
    pub(crate) fn meet(&self, other: &Region) -> Region {
        if self.pieces.len() * other.pieces.len() > PIECES_MAX {
            let (few, many) =
                if self.pieces.len() <= other.pieces.len() { (self, other) } else { (other, self) };
            return if many.pieces.len() > 1 { few.meet(&many.hull()) } else { few.clone() };
        }
        let meet =
            |mine: &Piece| other.pieces.iter().filter_map(|theirs| mine.meet(theirs)).collect::<Vec<_>>();
        Region { pieces: self.pieces.iter().flat_map(meet).collect() }
    }

    /// What is in this one or in `other`.
    pub(crate) fn join(mut self, other: Region) -> Region {
        for piece in other.pieces {
            if !self.pieces.iter().any(|known| known.covers(&piece)) {
                self.pieces.push(piece);
            }
        }
        if self.pieces.len() > PIECES_MAX { self.hull() } else { self }
    }

    /// One box around all.
    fn hull(&self) -> Region {
        let mut pieces = self.pieces.iter();
        let Some(mut hull) = pieces.next().copied() else { return Region::nothing() };
        pieces.for_each(|piece| hull.join(piece));
        Region::of_piece(hull)
    }

    /// The least and the greatest code that nodes of an area that can match have in one dimension; nothing
    /// when none can.
    pub(crate) fn bounds(&self, area: &Area, dimension: usize) -> Option<(u16, u16)> {
        let touching = self.pieces.iter().map(|piece| piece.area.meet(area)).filter(Area::is_sound);
        let spans = touching.map(|common| (common.low[dimension], common.high[dimension]));
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// How much of a subtree can match; nothing when its area does not touch the region.
    ///
    /// Nodes are taken to lie evenly in their area, and states not to depend on the place.
    pub fn expect(&self, schema: &Schema, area: &Area, summary: Option<&Summary>) -> Option<Expectation> {
        let (mut place, mut both) = (0u64, 0u64);
        for piece in &self.pieces {
            let common = piece.area.meet(area);
            if !common.is_sound() {
                continue;
            }
            let share = share_of(area, &common, schema.dimensions().len()).max(1);
            let state = summary.map_or(WHOLE, |summary| state_share(summary, &piece.classes, schema));
            place += u64::from(share);
            both += u64::from(share) * u64::from(state);
        }
        // Pieces may overlap.
        let state = both.checked_div(place)?;
        Some(Expectation { place: place.min(WHOLE.into()) as u32, state: state as u32 })
    }
}

fn share_of(area: &Area, common: &Area, dimensions: usize) -> u32 {
    let width = |area: &Area, i: usize| u64::from(area.high[i] - area.low[i]) + 1;
    (0..dimensions.min(DIMENSIONS_MAX))
        .fold(u64::from(WHOLE), |share, i| share * width(common, i) / width(area, i)) as u32
}

fn state_share(summary: &Summary, classes: &[u8; DYNAMICS_MAX], schema: &Schema) -> u32 {
    let mut share = u64::from(WHOLE);
    for (shares, mask) in summary.shares.iter().zip(classes).take(schema.dynamics().len()) {
        if *mask == u8::MAX {
            continue;
        }
        let wanted = (0..CLASSES).filter(|class| mask >> class & 1 == 1);
        let sum: u64 = wanted.map(|class| u64::from(shares[class])).sum();
        let part = (sum * u64::from(WHOLE) / u64::from(u8::MAX)).clamp(STALE_SHARE.into(), WHOLE.into());
        share = share * part / u64::from(WHOLE);
    }
    share as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(low: u16, high: u16) -> Area {
        let mut area = Area::EVERYTHING;
        (area.low[0], area.high[0]) = (low, high);
        area
    }

    fn region(areas: &[(u16, u16)]) -> Region {
        let piece = |&(low, high): &(u16, u16)| Piece { area: area(low, high), ..Piece::EVERYTHING };
        Region { pieces: areas.iter().map(piece).collect() }
    }

    #[test]
    fn a_share_is_what_lies_in_the_region() {
        let schema = Schema::standard();
        let place = |pieces: &[(u16, u16)], low, high| {
            region(pieces).expect(&schema, &area(low, high), None).map(|expectation| expectation.place)
        };
        assert_eq!(place(&[(0, 99)], 0, 199), Some(WHOLE / 2));
        assert_eq!(place(&[(0, 49), (150, 500)], 0, 199), Some(WHOLE / 2));
        assert_eq!(place(&[(0, 99)], 0, 0), Some(WHOLE));
        assert_eq!(place(&[(0, 99)], 100, 200), None);
        assert_eq!(place(&[(7, 7)], 0, u16::MAX), Some(1));
        assert_eq!(place(&[], 0, 1), None);
    }

    #[test]
    fn states_are_shares_of_classes_and_never_nothing() {
        let schema = Schema::standard();
        let handle = xtreem_base::Handle::from_u32(1);
        let mut summary = Summary::of(&schema, handle, &[0; 8], &[0; 4]);
        summary.shares[2] = [0, 51, 204, 0, 0, 0, 0, 0];
        let state = |classes| {
            let piece = Piece { classes, ..Piece::EVERYTHING };
            Region::of_piece(piece).expect(&schema, &Area::EVERYTHING, Some(&summary)).unwrap().state
        };
        assert_eq!(state([255, 255, 0b10, 255]), WHOLE / 5);
        assert_eq!(state([255, 255, 0b110, 255]), WHOLE);
        assert_eq!(state([255, 255, 0b1000_0000, 255]), STALE_SHARE);
    }

    #[test]
    fn too_many_pieces_become_one_that_covers_them() {
        let many: Vec<(u16, u16)> = (0..17).map(|i| (i * 10, i * 10 + 1)).collect();
        let joined = many.iter().fold(Region::nothing(), |all, piece| all.join(region(&[*piece])));
        assert_eq!(joined, region(&[(0, 161)]));
        let four = region(&many[..4]);
        assert_eq!(four.meet(&region(&many[..5])), region(&many[..4]), "the larger side was made one box");
    }
}
