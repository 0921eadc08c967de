//! Who fell silent here, so that others do not bring the dead back.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::view::TOLD_AGE_MAX;

/// Silent peers that are remembered; the one that was lost first makes room. Half of the largest view may die
/// at once, and others tell of as many.
pub(super) const LOST_MAX: usize = 64;

/// Each with the rounds since then. An entry ends when nobody tells of its peer any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Vec<(Handle, u16)>);

impl Lost {
    pub(super) fn add(&mut self, peer: Handle) {
        self.remove(peer);
        if self.0.len() == LOST_MAX {
            self.0.remove(0);
        }
        self.0.push((peer, 0));
    }

    pub(super) fn remove(&mut self, peer: Handle) {
        self.0.retain(|(lost, _)| *lost != peer);
    }

    pub(super) fn grow_older(&mut self) {
        self.0.iter_mut().for_each(|(_, age)| *age += 1);
        self.0.retain(|(_, age)| *age <= TOLD_AGE_MAX);
    }

    /// Whether a peer that was alive so many rounds ago is known to be silent since.
    pub(super) fn is_lost(&self, peer: Handle, age: u16) -> bool {
        self.0.iter().any(|(lost, since)| *lost == peer && age >= *since)
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.0.iter().map(|(peer, _)| *peer)
    }
}
