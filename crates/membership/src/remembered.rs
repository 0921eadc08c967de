//! Contacts outside the view that are tried again: what lets split grids find each other.

use xtreem_base::{Handle, Rng};

/// Contacts that are remembered. Of more, each lost one takes the place of a random other with a chance that
/// sinks to a quarter.
pub const REMEMBERED_MAX: usize = 8;

/// From here on every fourth lost contact is taken in, so that one stays for about 32 further losses: long
/// after a split began some of the other side are still known, yet the table follows a changing grid. Our
/// guess.
const LOST_MAX: u8 = 4 * REMEMBERED_MAX as u8;

/// Unused places are `NONE` and may lie anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    handles: [Handle; REMEMBERED_MAX],
    /// Number of the last ping to one of these.
    pub(crate) ping_seq: u16,
    lost: u8,
    len: u8,
}

impl Remembered {
    /// Pings are numbered on from `ping_seq`.
    pub(crate) fn new(ping_seq: u16) -> Self {
        Remembered { handles: [Handle::NONE; REMEMBERED_MAX], ping_seq, lost: 0, len: 0 }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        self.handles.iter().copied().filter(|&handle| handle != Handle::NONE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, contact: Handle) -> bool {
        self.handles.contains(&contact)
    }

    /// Takes `contact` in for certain, over a random other one when full.
    pub(crate) fn add(&mut self, rng: &mut Rng, contact: Handle) {
        if self.handles.contains(&contact) {
            return;
        }
        let at = match self.handles.iter().position(|&handle| handle == Handle::NONE) {
            Some(free) => {
                self.len += 1;
                free
            }
            None => rng.below(REMEMBERED_MAX as u32) as usize,
        };
        self.handles[at] = contact;
    }

    /// Takes a contact in that did not answer: as in reservoir sampling (Vitter 1985, algorithm R) the n-th
    /// one gets in with probability 8/n, but never less than 1/4.
    pub(crate) fn add_lost(&mut self, rng: &mut Rng, contact: Handle) {
        self.lost = (self.lost + 1).min(LOST_MAX);
        let full = usize::from(self.len) == REMEMBERED_MAX;
        if !full || rng.chance(REMEMBERED_MAX as u32, u32::from(self.lost).max(REMEMBERED_MAX as u32)) {
            self.add(rng, contact);
        }
    }

    pub(crate) fn remove(&mut self, contact: Handle) {
        if self.len == 0 {
            return;
        }
        if let Some(at) = self.handles.iter().position(|&handle| handle == contact) {
            self.handles[at] = Handle::NONE;
            self.len -= 1;
        }
    }

    pub(crate) fn pick(&self, rng: &mut Rng) -> Option<Handle> {
        if self.len == 0 {
            return None;
        }
        self.iter().nth(rng.below(u32::from(self.len)) as usize)
    }
}
