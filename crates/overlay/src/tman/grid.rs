//! Meshes and tori of any number of dimensions: near is who is few steps away.

use alloc::vec::Vec;
use core::cmp::Ordering;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::ranking::{Profile, Ranking, Side, log_scale};

/// Dimensions of a mesh or torus at most; our guess: physics has four, machines have had six.
pub const DIMENSIONS_MAX: usize = 8;

/// A place in a mesh or torus, one number for each dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates(Vec<u32>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} dimensions: 1 to {DIMENSIONS_MAX} are possible")]
pub struct WrongDimensions(pub usize);

impl Coordinates {
    /// # Errors
    /// None, or more than [`DIMENSIONS_MAX`].
    pub fn new(place: &[u32]) -> Result<Coordinates, WrongDimensions> {
        let is_possible = (1..=DIMENSIONS_MAX).contains(&place.len());
        if is_possible { Ok(Coordinates(place.into())) } else { Err(WrongDimensions(place.len())) }
    }

    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}

impl Profile for Coordinates {
    fn wire_bytes(&self) -> usize {
        1 + 5 * self.0.len()
    }
}

impl<C> Encode<C> for Coordinates {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|at| e.u32(*at)?.ok())
    }
}

impl<'b, C> Decode<'b, C> for Coordinates {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|len| (1..=DIMENSIONS_MAX as u64).contains(len));
        let len = len.ok_or_else(|| decode::Error::message("not 1 to 8 dimensions").at(at))?;
        (0..len).map(|_| d.u32()).collect::<Result<_, _>>().map(Coordinates)
    }
}

/// Whether the ends of a dimension meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A torus.
    Joined,
    /// A mesh.
    Apart,
}

/// A mesh or torus of a shape. Distances are steps along the dimensions, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    shape: Coordinates,
    ends: Ends,
}

impl Grid {
    /// The shape says how many places each dimension has.
    pub fn new(shape: Coordinates, ends: Ends) -> Grid {
        Grid { shape, ends }
    }

    pub fn shape(&self) -> &[u32] {
        self.shape.as_slice()
    }

    /// Steps from one place to another.
    pub fn distance(&self, a: &Coordinates, b: &Coordinates) -> u64 {
        let along = |((a, b), len): ((&u32, &u32), &u32)| {
            let way = a.abs_diff(*b);
            let around = len.saturating_sub(way);
            u64::from(if self.ends == Ends::Joined { way.min(around) } else { way })
        };
        a.0.iter().zip(&b.0).zip(&self.shape.0).map(along).sum()
    }
}

impl Ranking for Grid {
    type Profile = Coordinates;

    const SIDES: &'static [Side] = Side::ONE;

    fn compare(&self, of: &Coordinates, _: Side, a: &Coordinates, b: &Coordinates) -> Ordering {
        self.distance(of, a).cmp(&self.distance(of, b))
    }

    fn scale(&self, of: &Coordinates, _: Side, place: &Coordinates) -> u16 {
        log_scale(self.distance(of, place).into())
    }

    /// In the shape, and not where this node is.
    fn is_possible(&self, own: &Coordinates, place: &Coordinates) -> bool {
        let is_inside = place.0.iter().zip(&self.shape.0).all(|(at, len)| at < len);
        place.0.len() == self.shape.0.len() && is_inside && own != place
    }
}
