//! A member's place in a mesh: where its rank stands, and who stands beside it.

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant};

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
    /// As many members were known so long that did not fill the shape.
    short: Option<(Misfit, Instant)>,
    is_short: bool,
}

impl Mesh {
    pub(super) fn new(shape: Shape, expected: Option<u32>) -> Mesh {
        let trouble = expected.and_then(|members| shape.fit(members).err());
        Mesh { shape, expected, around: None, trouble, short: None, is_short: false }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn trouble(&self) -> Option<&Misfit> {
        let short = self.short.as_ref().filter(|_| self.is_short).map(|(misfit, _)| misfit);
        self.trouble.as_ref().or(short)
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
        now: Instant,
        patience: Duration,
        standing: Option<&Standing>,
        holder: impl FnMut(u32) -> Option<Handle>,
    ) -> bool {
        self.judge(standing);
        self.count(now, patience, standing);
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

    /// Members that are expected and do not come are trouble, too; those that are there have their places
    /// nevertheless. More than there are places are never too early.
    fn count(&mut self, now: Instant, patience: Duration, standing: Option<&Standing>) {
        let Some(standing) = standing else { return };
        let Err(misfit) = self.shape.fit(standing.members) else {
            (self.short, self.is_short) = (None, false);
            return;
        };
        if standing.members > self.shape.places() {
            self.trouble = Some(misfit);
            return;
        }
        match &self.short {
            Some((short, since)) if short.members == misfit.members => {
                self.is_short = now.since(*since) >= patience;
            }
            _ => (self.short, self.is_short) = (Some((misfit, now)), false),
        }
    }
}
