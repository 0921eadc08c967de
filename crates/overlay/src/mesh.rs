//! N-dimensional meshes and tori: which rank stands where, and who stands beside it.
//!
//! Pure arithmetic on ranks, as MPI's Cartesian topologies do it (MPI 4.1, §8.5): the last dimension runs
//! fastest. *Absent: who has a rank, and how ranks are given; `ranks` knows that.*

mod nearest;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

pub use nearest::NEAREST_MAX;

/// Sides of a shape at most. Our guess: nobody thinks in more, and a rank has at most 16 neighbours.
pub const DIMENSIONS_MAX: usize = 8;
/// Places of a shape at most: as many nodes as a grid may have.
pub const PLACES_MAX: u32 = 1 << 28;

/// What lies at the end of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// Nothing: a mesh.
    Open,
    /// Its beginning: a torus.
    Joined,
}

/// One to [`DIMENSIONS_MAX`] sides, each at least one long, with at most [`PLACES_MAX`] places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sides: [u32; DIMENSIONS_MAX],
    dimensions: u8,
    edges: Edges,
}

/// Why there is no such shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("a shape without a side: give one to {DIMENSIONS_MAX}, such as [8, 8, 4]")]
    NoSide,
    #[error("a shape of {0} dimensions: {DIMENSIONS_MAX} are possible")]
    TooManyDimensions(usize),
    /// The sides are counted from 0.
    #[error("side {0} is 0 long: every side is at least 1")]
    EmptySide(usize),
    #[error("a shape of more than {PLACES_MAX} places: make its sides shorter")]
    TooLarge,
}

/// A shape has another number of places than there are members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub shape: Shape,
    pub members: u32,
    /// Shapes of as many dimensions that fit, the nearest first; at most [`NEAREST_MAX`], none for no members
    /// or more than [`PLACES_MAX`].
    pub nearest: Vec<Shape>,
}

/// Along a dimension, to higher coordinates or to lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Down,
    Up,
}

/// One of the two ways along one dimension, which is counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direction {
    pub dimension: u8,
    pub way: Way,
}

impl Direction {
    pub fn opposite(self) -> Direction {
        let way = if self.way == Way::Up { Way::Down } else { Way::Up };
        Direction { way, ..self }
    }
}

impl Shape {
    pub fn new(sides: &[u32], edges: Edges) -> Result<Shape, ShapeError> {
        match sides.len() {
            0 => return Err(ShapeError::NoSide),
            1..=DIMENSIONS_MAX => {}
            more => return Err(ShapeError::TooManyDimensions(more)),
        }
        if let Some(empty) = sides.iter().position(|side| *side == 0) {
            return Err(ShapeError::EmptySide(empty));
        }
        let places = sides.iter().try_fold(1u32, |places, side| places.checked_mul(*side));
        if places.is_none_or(|places| places > PLACES_MAX) {
            return Err(ShapeError::TooLarge);
        }
        Ok(Shape::of(sides, edges))
    }

    /// For sides that were checked.
    fn of(sides: &[u32], edges: Edges) -> Shape {
        let mut all = [1; DIMENSIONS_MAX];
        all[..sides.len()].copy_from_slice(sides);
        Shape { sides: all, dimensions: sides.len() as u8, edges }
    }

    pub fn sides(&self) -> &[u32] {
        &self.sides[..usize::from(self.dimensions)]
    }

    pub fn edges(&self) -> Edges {
        self.edges
    }

    /// Ranks go from 0 to one less.
    pub fn places(&self) -> u32 {
        self.sides().iter().product()
    }

    /// Whether so many members fill the shape, and which shapes they would fill if not.
    ///
    /// Near is what changes the sides by the fewest steps: the sum of the differences of the sides. Of those
    /// that are equally near the one with the longer first sides comes first.
    ///
    /// # Errors
    /// There is a place too many or one too few.
    pub fn fit(&self, members: u32) -> Result<(), Misfit> {
        if self.places() == members {
            return Ok(());
        }
        Err(Misfit { shape: *self, members, nearest: nearest::of(self, members) })
    }

    /// Where a rank stands: as many coordinates as there are dimensions. None for a rank beyond the places.
    pub fn coordinates(&self, rank: u32) -> Option<Vec<u32>> {
        if rank >= self.places() {
            return None;
        }
        let mut rest = rank;
        let mut coordinates: Vec<u32> =
            self.sides().iter().rev().map(|side| step(&mut rest, *side)).collect();
        coordinates.reverse();
        Some(coordinates)
    }

    /// Who stands there. None outside the shape, and for another number of coordinates.
    pub fn rank(&self, coordinates: &[u32]) -> Option<u32> {
        let is_inside = coordinates.len() == self.sides().len()
            && coordinates.iter().zip(self.sides()).all(|(coordinate, side)| coordinate < side);
        // Below the number of places, which fits.
        is_inside.then(|| coordinates.iter().zip(self.sides()).fold(0, |rank, (at, side)| rank * side + at))
    }

    /// Who stands beside `rank`. None at an open end, in a torus that is one long there (nobody is its own
    /// neighbour), and for a rank or a dimension that there is not.
    pub fn neighbour(&self, rank: u32, direction: Direction) -> Option<u32> {
        let dimension = usize::from(direction.dimension);
        let side = *self.sides().get(dimension)?;
        if rank >= self.places() {
            return None;
        }
        let stride: u32 = self.sides()[dimension + 1..].iter().product();
        let at = rank / stride % side;
        let to = match (direction.way, self.edges) {
            (Way::Up, _) if at + 1 < side => at + 1,
            (Way::Down, _) if at > 0 => at - 1,
            (_, Edges::Open) => return None,
            (Way::Up, Edges::Joined) => 0,
            (Way::Down, Edges::Joined) => side - 1,
        };
        (to != at).then(|| rank - at * stride + to * stride)
    }

    /// All neighbours, first along the first dimension. In a torus that is two long somewhere, one rank lies
    /// both ways.
    pub fn neighbours(&self, rank: u32) -> impl Iterator<Item = (Direction, u32)> + '_ {
        let directions = (0..self.dimensions)
            .flat_map(|dimension| [Way::Down, Way::Up].map(|way| Direction { dimension, way }));
        directions.filter_map(move |direction| Some((direction, self.neighbour(rank, direction)?)))
    }
}

/// The last coordinate of what is left of a rank; what is left then is a rank of the dimensions before.
fn step(rest: &mut u32, side: u32) -> u32 {
    let at = *rest % side;
    *rest /= side;
    at
}

/// As people write it: `8 x 8 x 4`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sides().iter().enumerate().try_for_each(|(i, side)| {
            if i > 0 {
                f.write_str(" x ")?;
            }
            write!(f, "{side}")
        })
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.edges)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {} places for {} members", self.shape, self.shape.places(), self.members)?;
        self.nearest.iter().enumerate().try_for_each(|(i, shape)| {
            f.write_str(if i == 0 { "; near it and possible: " } else { ", " })?;
            write!(f, "{shape}")
        })
    }
}

impl core::error::Error for Misfit {}

/// Who stands beside one rank, as far as it is known: says what changed, so that a member is told when a
/// replacement takes the place of a neighbour.
#[derive(Clone, Debug)]
pub struct Neighbourhood<T> {
    shape: Shape,
    rank: u32,
    known: Vec<(Direction, Option<T>)>,
}

/// Another one stands there now; None: nobody that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<T> {
    pub direction: Direction,
    pub rank: u32,
    pub now: Option<T>,
}

impl<T: Clone + PartialEq> Neighbourhood<T> {
    /// Of a rank that knows nobody yet. None for a rank beyond the places.
    pub fn new(shape: Shape, rank: u32) -> Option<Self> {
        let known = shape.neighbours(rank).map(|(direction, _)| (direction, None)).collect();
        (rank < shape.places()).then_some(Neighbourhood { shape, rank, known })
    }

    /// Asks for everyone beside this rank and says where it is another one than the last time.
    pub fn refresh(&mut self, mut holder: impl FnMut(u32) -> Option<T>) -> Vec<Change<T>> {
        let (shape, own) = (self.shape, self.rank);
        let changed = self.known.iter_mut().filter_map(|(direction, known)| {
            let rank = shape.neighbour(own, *direction)?;
            let now = holder(rank);
            (*known != now).then(|| {
                known.clone_from(&now);
                Change { direction: *direction, rank, now }
            })
        });
        changed.collect()
    }

    /// Who stands beside this rank, as of the last time that everyone was asked for.
    pub fn known(&self) -> impl Iterator<Item = (Direction, u32, Option<&T>)> {
        let beside = self.known.iter();
        beside.filter_map(|(direction, known)| {
            Some((*direction, self.shape.neighbour(self.rank, *direction)?, known.as_ref()))
        })
    }

    pub fn rank(&self) -> u32 {
        self.rank
    }
}
