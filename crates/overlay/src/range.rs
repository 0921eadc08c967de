//! Parts of the ring, which has no beginning and no end.

use minicbor::{Decode, Encode};

use crate::{Key, Position};

/// All positions after one, up to and with another, over the end of the order where need be: what a node that
/// stands at `to` owns when its predecessor stands at `after`. The whole ring when both are the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Range {
    #[n(0)]
    pub after: Position,
    #[n(1)]
    pub to: Position,
}

impl Range {
    pub fn new(after: Position, to: Position) -> Range {
        Range { after, to }
    }

    pub fn is_whole(&self) -> bool {
        self.after == self.to
    }

    pub fn contains(&self, position: &Position) -> bool {
        if self.after < self.to {
            self.after < *position && *position <= self.to
        } else {
            self.after < *position || *position <= self.to
        }
    }

    pub fn contains_key(&self, key: &Key) -> bool {
        self.contains(&Position::of_key(key.clone()))
    }

    /// Whether some position lies in both.
    pub fn overlaps(&self, other: &Range) -> bool {
        self.contains(&other.to) || other.contains(&self.to)
    }
}

#[cfg(test)]
mod tests {
    use xtreem_base::NodeId;

    use super::*;

    fn at(place: u8) -> Position {
        Position::new(Key::from_bytes(&[1, place]).expect("short"), NodeId::from_bytes([9; 16]))
    }

    fn range(after: u8, to: u8) -> Range {
        Range::new(at(after), at(to))
    }

    #[test]
    fn a_range_goes_over_the_end() {
        let cases = [(range(2, 5), &[3, 5][..], &[2, 6, 0, 9][..]), (range(7, 3), &[8, 9, 0, 3], &[7, 4, 5])];
        for (range, inside, outside) in cases {
            assert!(inside.iter().all(|place| range.contains(&at(*place))), "{range:?}");
            assert!(outside.iter().all(|place| !range.contains(&at(*place))), "{range:?}");
        }
        assert!(range(4, 4).is_whole() && (0..9).all(|place| range(4, 4).contains(&at(place))));
    }

    #[test]
    fn the_key_of_a_node_is_its_own_and_of_two_at_one_key_the_first_one_has_it() {
        let key = at(5).key;
        assert!(range(2, 5).contains_key(&key) && !range(5, 8).contains_key(&key));
        let second = Position::new(key.clone(), NodeId::from_bytes([10; 16]));
        assert!(!Range::new(at(5), second).contains_key(&key));
    }

    #[test]
    fn ranges_overlap_where_they_share_a_position() {
        assert!(range(2, 5).overlaps(&range(4, 9)) && range(4, 9).overlaps(&range(2, 5)));
        assert!(!range(2, 5).overlaps(&range(5, 2)), "one ends where the other begins");
        assert!(range(0, 9).overlaps(&range(3, 4)) && range(3, 4).overlaps(&range(9, 9)));
    }
}
