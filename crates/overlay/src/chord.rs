//! Chord's fingers: for each binary range of the distance one node in it, out of all that were heard of.
//!
//! Source: D3.2.1 of XtreemOS, section 4.1.1, after Stoica and others, Chord, SIGCOMM 2001: identifiers are
//! 160 random bits, and finger `j` is the node with the smallest identifier `q` for which
//! `p + 2^(j-1) <= q < p + 2^j`. It need not be exact, as T-Man and CYCLON show some nodes and not all. All
//! else (the successors, lookups, leases) is as in [`ring`](crate::ring), which takes either table.

use alloc::vec::Vec;

use xtreem_base::Handle;

use crate::ring::Contact;
use crate::{Key, Namespace, Position};

/// Bytes of an identifier.
pub const ID_BYTES: usize = 20;
/// Binary ranges of a distance: none is further than half of the last.
pub const FINGERS_MAX: usize = 8 * ID_BYTES;

/// The identifier on the ring of nodes and of what is stored: random, or a hash.
pub fn key_of(namespace: Namespace, id: &[u8; ID_BYTES]) -> Key {
    Key::new(namespace, id).unwrap_or_default()
}

/// The bits of a position: what is shorter ends in zeros, and what is longer counts by its beginning.
fn bits_of(position: &Position) -> [u8; ID_BYTES] {
    let mut bits = [0; ID_BYTES];
    let name = position.key.as_bytes().get(1..).unwrap_or_default();
    bits.iter_mut().zip(name).for_each(|(bit, byte)| *bit = *byte);
    bits
}

/// How far it is from `a` up to `b`, modulo 2^160.
fn distance(a: &[u8; ID_BYTES], b: &[u8; ID_BYTES]) -> [u8; ID_BYTES] {
    let mut difference = [0; ID_BYTES];
    let mut borrow = false;
    for at in (0..ID_BYTES).rev() {
        let (byte, first) = b[at].overflowing_sub(a[at]);
        let (byte, second) = byte.overflowing_sub(u8::from(borrow));
        (difference[at], borrow) = (byte, first || second);
    }
    difference
}

/// The binary range in which a distance lies: `j` for 2^(j-1) up to 2^j; 0 for none.
fn range_of(distance: &[u8; ID_BYTES]) -> usize {
    let zeros = distance.iter().take_while(|byte| **byte == 0).count();
    let head = distance.get(zeros).map_or(8, |byte| byte.leading_zeros() as usize);
    (FINGERS_MAX - 8 * zeros).saturating_sub(head)
}

/// One finger.
#[derive(Clone, Debug)]
struct Finger {
    range: u8,
    contact: Contact,
}

/// At most one contact for each range, the farthest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingers(Vec<Finger>);

impl Fingers {
    /// Somebody stands there. True when it is a finger now.
    pub(crate) fn see(&mut self, me: &Position, contact: &Contact) -> bool {
        let own = bits_of(me);
        let length = distance(&own, &bits_of(&contact.position));
        let range = range_of(&length);
        if range == 0 || contact.position.id == me.id {
            return false;
        }
        let finger = Finger { range: range as u8, contact: contact.clone() };
        match self.0.binary_search_by(|known| range.cmp(&usize::from(known.range))) {
            Ok(at) => {
                let known = &mut self.0[at];
                let is_nearer = length < distance(&own, &bits_of(&known.contact.position));
                if is_nearer {
                    *known = finger;
                }
                is_nearer
            }
            Err(at) => {
                self.0.insert(at, finger);
                true
            }
        }
    }

    pub(crate) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.0.iter().map(|finger| &finger.contact)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, nth: usize) -> Option<&Contact> {
        self.0.get(nth).map(|finger| &finger.contact)
    }

    pub(crate) fn remove(&mut self, peer: Handle) {
        self.0.retain(|finger| finger.contact.handle != peer);
    }

    /// It stands elsewhere by its own word.
    pub(crate) fn moved(&mut self, contact: &Contact) {
        self.0.retain(|it| it.contact.handle != contact.handle || it.contact.position == contact.position);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use xtreem_base::NodeId;

    use super::*;

    fn contact(number: u32, id: [u8; ID_BYTES]) -> Contact {
        let mut node = [0; 16];
        node[12..].copy_from_slice(&number.to_be_bytes());
        let position = Position::new(key_of(Namespace::USER, &id), NodeId::from_bytes(node));
        Contact { handle: Handle::from_u32(number), position }
    }

    fn id(head: u8, tail: u8) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        (id[0], id[ID_BYTES - 1]) = (head, tail);
        id
    }

    #[test]
    fn distances_go_over_the_end_and_lie_in_binary_ranges() {
        let cases = [(id(0, 0), id(0, 1), 1), (id(0, 0), id(0, 4), 3), (id(0, 1), id(0, 1), 0)];
        for (a, b, range) in cases {
            assert_eq!(range_of(&distance(&a, &b)), range);
        }
        assert_eq!(range_of(&distance(&id(0, 1), &id(0, 0))), FINGERS_MAX, "all round but one");
        assert_eq!(range_of(&distance(&id(0xff, 0xff), &id(0x7f, 0xff))), FINGERS_MAX);
        assert_eq!(range_of(&distance(&id(0, 0), &id(0x40, 0))), FINGERS_MAX - 1);
    }

    #[test]
    fn a_finger_is_the_nearest_of_its_range() {
        let (me, mut fingers) = (contact(0, id(0, 0)), Fingers::default());
        for (number, place) in [(1, 0x80), (2, 0xff), (3, 0x50), (4, 0x41), (5, 0x02)] {
            fingers.see(&me.position, &contact(number, id(place, 0)));
        }
        let kept: Vec<u32> = fingers.contacts().map(|it| it.handle.as_u32()).collect();
        assert_eq!(kept, [1, 4, 5]);
        fingers.moved(&contact(4, id(0x42, 0)));
        fingers.remove(Handle::from_u32(5));
        assert_eq!(fingers.len(), 1);
    }
}
