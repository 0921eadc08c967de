//! What collections of slots write to each other: a head of a fixed length, then one message of a core.
//!
//! Head: eight bytes that name the collection (of its name and specification, so that members which say
//! different things of one name do not meet), eight that name the life that it is meant for, zeros for
//! whoever the slot is, and four with the start of the sender's own. Without a message it says only who the
//! sender is.

use super::life::Life;

/// Before the message.
const HEAD_BYTES: usize = 8 + 8 + 4;

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub collection: [u8; 8],
    pub to: [u8; 8],
    pub start: u32,
}

impl Head {
    /// The head, with room for a message behind it.
    pub(super) fn write(&self) -> Vec<u8> {
        [&self.collection[..], &self.to, &self.start.to_be_bytes()].concat()
    }

    /// The head and the bytes of the message; nothing when it is too short.
    pub(super) fn read(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let (head, message) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (mut collection, mut to, mut start) = ([0; 8], [0; 8], [0; 4]);
        collection.copy_from_slice(&head[..8]);
        to.copy_from_slice(&head[8..16]);
        start.copy_from_slice(&head[16..]);
        Some((Head { collection, to, start: u32::from_be_bytes(start) }, message))
    }

    /// Whether it is for this life.
    pub(super) fn is_for(&self, own: &Life) -> bool {
        self.to == [0; 8] || self.to == own.mark()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::Epoch;

    #[test]
    fn heads_round_trip_and_short_ones_are_nothing() {
        let own = Life { slot: 1, epoch: Epoch::NONE, start: 9 };
        let head = Head { collection: [7; 8], to: own.mark(), start: 513 };
        let bytes = [head.write(), b"message".to_vec()].concat();
        assert_eq!(Head::read(&bytes), Some((head, &b"message"[..])));
        assert_eq!(Head::read(&bytes[..HEAD_BYTES]), Some((head, &b""[..])));
        assert_eq!(Head::read(&bytes[..HEAD_BYTES - 1]), None);
        assert!(head.is_for(&own) && Head { to: [0; 8], ..head }.is_for(&own));
        assert!(!head.is_for(&Life { start: 10, ..own }));
    }
}
