//! What a structure is made of: who is nearer to whom, by profiles that travel with descriptors.

use core::cmp::{Ordering, Reverse};
use core::fmt;

use crate::Position;

/// What a ranking knows of a node.
pub trait Profile: Clone + Eq + fmt::Debug {
    /// Bytes that it takes on the wire at most.
    fn wire_bytes(&self) -> usize;
}

/// Where a peer stands as seen from another one. A ranking without an order has all peers on the first side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Successors, of a ring.
    After,
    /// Predecessors, of a ring.
    Before,
}

impl Side {
    pub const ONE: &[Side] = &[Side::After];
    pub const BOTH: &[Side] = &[Side::After, Side::Before];

    pub(crate) fn index(self) -> usize {
        usize::from(self == Side::Before)
    }
}

/// Orders the peers of any node, nearest first. All nodes of one collection have the same ranking.
pub trait Ranking {
    type Profile: Profile;

    /// Sides that a node keeps equally many peers of; [`Side::ONE`] or [`Side::BOTH`].
    const SIDES: &'static [Side];

    /// Which of `a` and `b` is nearer to `of` on a side: `Less` says `a`.
    fn compare(&self, of: &Self::Profile, side: Side, a: &Self::Profile, b: &Self::Profile) -> Ordering;

    /// How far a peer is, roughly: eight steps for each doubling of the distance. What is kept beyond the nearest
    /// is spread evenly over it. Rankings that cannot tell say 0 and keep more of the nearest instead.
    fn scale(&self, of: &Self::Profile, side: Side, profile: &Self::Profile) -> u16 {
        let _ = (of, side, profile);
        0
    }

    /// Whether a node with profile `own` can have a peer with this one: a profile from the network may have
    /// another size than this collection's, or claim what only one node can have.
    fn is_possible(&self, own: &Self::Profile, profile: &Self::Profile) -> bool {
        let _ = (own, profile);
        true
    }
}

/// The circle of all positions in their order: successors after a node, predecessors before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring;

impl Profile for Position {
    fn wire_bytes(&self) -> usize {
        // Heads of the array, of a key of up to 512 bytes, and of the id.
        self.key.as_bytes().len() + 16 + 6
    }
}

impl Ranking for Ring {
    type Profile = Position;

    const SIDES: &'static [Side] = Side::BOTH;

    fn compare(&self, of: &Position, side: Side, a: &Position, b: &Position) -> Ordering {
        match side {
            Side::After => (a <= of, a).cmp(&(b <= of, b)),
            Side::Before => (a >= of, Reverse(a)).cmp(&(b >= of, Reverse(b))),
        }
    }

    /// By the first 16 bytes of the keys, as numbers on a circle.
    fn scale(&self, of: &Position, side: Side, position: &Position) -> u16 {
        let way = number(position).wrapping_sub(number(of));
        log_scale(if side == Side::After { way } else { way.wrapping_neg() })
    }

    /// Nobody else has this node's own id.
    fn is_possible(&self, own: &Position, position: &Position) -> bool {
        own.id != position.id
    }
}

fn number(position: &Position) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(position.key.as_bytes()).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

/// A distance as [`Ranking::scale`] wants it: the logarithm to base 2 in eighths, between powers of two linear.
pub(super) fn log_scale(distance: u128) -> u16 {
    let Some(power) = distance.checked_ilog2() else { return 0 };
    let eighths = if power >= 3 { distance >> (power - 3) } else { distance << (3 - power) };
    8 * power as u16 + (eighths & 7) as u16
}
