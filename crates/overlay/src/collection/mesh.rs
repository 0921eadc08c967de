//! A member's place in a mesh: where its rank stands, and who stands beside it.

use alloc::vec::Vec;

use xtreem_base::Handle;

use crate::mesh::{Direction, Misfit, Neighbourhood, Shape};
use crate::ranks::Standing;

/// Where a member stands, and who beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its coordinates.
    pub at: Vec<u32>,
    /// All neighbours: direction, rank, and who has it, if that is known.
    pub neighbours: Vec<(Direction, u32, Option<Handle>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Mesh {
    shape: Shape,
    /// How many there will be, where it is known.
    expected: Option<u32>,
    around: Option<Neighbourhood<Handle>>,
    /// Said last.
    trouble: Option<Misfit>,
}

impl Mesh {
    pub(super) fn new(shape: Shape, expected: Option<u32>) -> Mesh {
        let trouble = expected.and_then(|members| shape.fit(members).err());
        Mesh { shape, expected, around: None, trouble }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn trouble(&self) -> Option<&Misfit> {
        self.trouble.as_ref()
    }

    pub(super) fn place(&self) -> Option<Place> {
        let around = self.around.as_ref().filter(|_| self.trouble.is_none())?;
        let neighbours = around.known().map(|(direction, rank, holder)| (direction, rank, holder.copied()));
        Some(Place { at: self.shape.coordinates(around.rank())?, neighbours: neighbours.collect() })
    }

    /// Ranks of the neighbours.
    pub(super) fn beside(&self) -> Vec<u32> {
        self.around.iter().flat_map(|around| around.known()).map(|(_, rank, _)| rank).collect()
    }

    /// The ranks say something else, or may: whether somebody else stands beside this member now, or it
    /// elsewhere.
    pub(super) fn refresh(
        &mut self,
        standing: Option<&Standing>,
        holder: impl FnMut(u32) -> Option<Handle>,
    ) -> bool {
        self.judge(standing);
        let rank = standing.and_then(|standing| standing.rank).filter(|_| self.trouble.is_none());
        let before = self.around.as_ref().map(Neighbourhood::rank);
        if before != rank {
            self.around = rank.and_then(|rank| Neighbourhood::new(self.shape, rank));
        }
        let changes = self.around.as_mut().map_or(0, |around| around.refresh(holder).len());
        before != self.around.as_ref().map(Neighbourhood::rank) || changes > 0
    }

    /// Whether the members fill the shape: as many as are expected, or as there are in a numbering that
    /// counts. A word on it stays until there is another one.
    fn judge(&mut self, standing: Option<&Standing>) {
        let Some(standing) = standing else { return };
        let members = match self.expected {
            Some(expected) if standing.epoch.number == 0 => Some(expected),
            _ => Some(standing.members).filter(|_| standing.is_settled),
        };
        if let Some(members) = members {
            self.trouble = self.shape.fit(members).err();
        }
    }
}
