//! The next nodes of the ring: its only exact part, and what all else is made from.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::contact::{Contact, clockwise};
use crate::Position;

/// Contacts after `me` as they follow one another; no node twice, never the own one.
#[derive(Clone, Debug, Default)]
pub(super) struct Successors(Vec<Contact>);

/// Successors that a node knows at most: with half of all nodes dead at once one node of 256 loses them all,
/// and finds others by its rows (Stoica and others, Chord, section 5, asks for about log N).
pub const SUCCESSORS_MAX: usize = 8;

impl Successors {
    pub(super) fn as_slice(&self) -> &[Contact] {
        &self.0
    }

    pub(super) fn first(&self) -> Option<&Contact> {
        self.0.first()
    }

    pub(super) fn contains(&self, handle: Handle) -> bool {
        self.0.iter().any(|contact| contact.handle == handle)
    }

    /// Takes one in that is among the nearest. A node that is here already moves to its new position only by
    /// its own word. True when anything changed.
    pub(super) fn learn(&mut self, me: &Position, contact: &Contact, is_its_own_word: bool) -> bool {
        if contact.position.id == me.id {
            return false;
        }
        if let Some(at) = self.0.iter().position(|known| known.position.id == contact.position.id) {
            if !is_its_own_word || self.0[at] == *contact {
                return false;
            }
            self.0.remove(at);
            self.insert(me, contact);
            return true;
        }
        self.insert(me, contact)
    }

    fn insert(&mut self, me: &Position, contact: &Contact) -> bool {
        let is_before = |known: &Contact| clockwise(me, &known.position, &contact.position).is_lt();
        let at = self.0.partition_point(is_before);
        if at >= SUCCESSORS_MAX {
            return false;
        }
        self.0.insert(at, contact.clone());
        self.0.truncate(SUCCESSORS_MAX);
        true
    }

    /// What the first one says of its own successors takes the place of all that was known behind it: so the
    /// dead go. True when anything changed.
    pub(super) fn follow(&mut self, me: &Position, first: &Contact, behind: &[&Contact]) -> bool {
        let mut list = Vec::with_capacity(SUCCESSORS_MAX);
        list.push(first.clone());
        for contact in behind {
            let last = &list[list.len() - 1].position;
            // Round the ring and no farther.
            if contact.position.id == me.id || !clockwise(me, last, &contact.position).is_lt() {
                break;
            }
            list.push((*contact).clone());
        }
        list.truncate(SUCCESSORS_MAX);
        let is_other = self.0 != list;
        self.0 = list;
        is_other
    }

    pub(super) fn remove(&mut self, handle: Handle) -> bool {
        let before = self.0.len();
        self.0.retain(|contact| contact.handle != handle);
        self.0.len() != before
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
