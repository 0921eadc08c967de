//! The part of the ring that one node sees to.

use core::cmp::Ordering;

use minicbor::{Decode, Encode};

use crate::Position;
use crate::ring::clockwise;

/// All nodes after one position and before another, round the ring; of the whole ring all but the one that
/// stands there, when both are the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Extent {
    #[n(0)]
    pub after: Position,
    #[n(1)]
    pub before: Position,
    /// The first node at or after `before` belongs to it, too: it owns what lies right before that position.
    #[n(2)]
    pub with_owner: bool,
}

impl Extent {
    /// Everybody but the one who stands here.
    pub fn all_but(position: &Position) -> Extent {
        Extent { after: position.clone(), before: position.clone(), with_owner: false }
    }

    pub fn contains(&self, position: &Position) -> bool {
        *position != self.after && clockwise(&self.after, position, &self.before) == Ordering::Less
    }

    /// Whether all of the other one is in this one.
    pub fn covers(&self, other: &Extent) -> bool {
        let (a, b) = (&other.after, &other.before);
        if a == b {
            return self == other;
        }
        let begins = *a == self.after || self.contains(a);
        let ends = *b == self.before || self.contains(b);
        let in_order = *a == self.after || *b == self.before || clockwise(&self.after, a, b).is_lt();
        begins && ends && in_order && (!other.with_owner || self.with_owner || self.contains(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use xtreem_base::NodeId;

    fn at(place: u8) -> Position {
        Position::new(Key::from_bytes(&[1, place]).expect("short"), NodeId::from_bytes([9; 16]))
    }

    fn extent(after: u8, before: u8) -> Extent {
        Extent { after: at(after), before: at(before), with_owner: false }
    }

    #[test]
    fn ends_do_not_belong_to_it() {
        let cases = [(extent(2, 5), &[3, 4][..], &[2, 5, 6][..]), (extent(7, 3), &[8, 0, 2], &[7, 3, 5])];
        for (extent, inside, outside) in cases {
            assert!(inside.iter().all(|place| extent.contains(&at(*place))), "{extent:?}");
            assert!(outside.iter().all(|place| !extent.contains(&at(*place))), "{extent:?}");
        }
        let all = Extent::all_but(&at(4));
        assert!(!all.contains(&at(4)) && (0..9).filter(|it| *it != 4).all(|place| all.contains(&at(place))));
    }

    #[test]
    fn an_extent_covers_its_parts_and_nothing_else() {
        let whole = Extent::all_but(&at(4));
        let cases = [
            (extent(2, 8), extent(2, 8), true),
            (extent(2, 8), extent(3, 5), true),
            (extent(2, 8), extent(5, 3), false),
            (extent(2, 8), extent(1, 5), false),
            (extent(2, 8), extent(5, 9), false),
            (extent(2, 8), whole.clone(), false),
            (whole.clone(), whole.clone(), true),
            (whole.clone(), extent(4, 2), true),
            (whole.clone(), extent(6, 4), true),
            (whole.clone(), extent(2, 6), false),
            (whole, Extent::all_but(&at(5)), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.covers(&other), expected, "{one:?} {other:?}");
        }
        let with_owner = Extent { with_owner: true, ..extent(3, 8) };
        assert!(!extent(2, 8).covers(&with_owner) && extent(2, 9).covers(&with_owner));
    }
}
