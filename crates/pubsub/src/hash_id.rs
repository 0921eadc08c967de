//! What names an event: 32 hex digits over publisher, incarnation, sequence and topic.

use core::fmt;

use xtreem_base::NodeId;

/// Names one event of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashId(pub u128);

/// One publisher and one topic of it: from here each event's name is a few instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem(u128);

impl Stem {
    /// `publisher` names it among those of `node`; `incarnation` grows when it begins its numbers anew.
    pub fn new(node: NodeId, publisher: &[u8], incarnation: u64, topic: &str) -> Stem {
        let mut hasher = blake3::Hasher::new_derive_key("xtreem pubsub event 1");
        hasher.update(node.as_bytes());
        hasher.update(&(publisher.len() as u64).to_le_bytes());
        hasher.update(publisher);
        hasher.update(&incarnation.to_le_bytes());
        hasher.update(topic.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Stem(u128::from_be_bytes(bytes))
    }

    /// The name of the event with this number. Two numbers never have one name: the lower half goes through
    /// a bijection (the finaliser of MurmurHash3) after the number is added.
    pub fn event(self, sequence: u64) -> HashId {
        let mut low = (self.0 as u64).wrapping_add(sequence);
        low = (low ^ (low >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        low = (low ^ (low >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        low ^= low >> 33;
        HashId((self.0 >> 64) << 64 | u128::from(low))
    }
}

impl HashId {
    /// The publisher and topic, and a number by which events of these two are ordered: see
    /// [`HashId::is_after`].
    pub fn place(self) -> (u64, u64) {
        // What `Stem::event` does, backwards: each step has one that undoes it.
        let mut low = self.0 as u64;
        low = (low ^ (low >> 33)).wrapping_mul(0x9cb4_b2f8_1293_37db);
        low = (low ^ (low >> 33)).wrapping_mul(0x4f74_430c_22a5_4005);
        low ^= low >> 33;
        ((self.0 >> 64) as u64, low)
    }

    /// Whether it is behind that place, or of another publisher or topic.
    pub fn is_after(self, (stem, number): (u64, u64)) -> bool {
        let (own_stem, own_number) = self.place();
        own_stem != stem || own_number.wrapping_sub(number) as i64 > 0
    }

    /// Its 32 digits.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        digits
    }

    /// Reads 32 digits.
    pub fn parse(digits: &[u8]) -> Option<HashId> {
        if digits.len() != 32 {
            return None;
        }
        digits
            .iter()
            .try_fold(0, |value, digit| {
                let digit = char::from(*digit).to_digit(16)?;
                Some(value << 4 | u128::from(digit))
            })
            .map(HashId)
    }
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value)]
}

impl fmt::Display for HashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for HashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_publisher_and_topic_are_ordered_by_their_names() {
        for topic in ["a", "b", "c"] {
            let stem = Stem::new(NodeId::from_bytes([1; 16]), b"p", 3, topic);
            let other = Stem::new(NodeId::from_bytes([1; 16]), b"q", 3, topic).event(9);
            for (number, next) in [(0, 1), (7, 100), (u64::MAX, 0), (5, u64::MAX >> 1)] {
                let (event, next) = (stem.event(number), stem.event(next));
                assert_eq!(event.place().0, next.place().0);
                assert!(next.is_after(event.place()) && !event.is_after(next.place()));
                assert!(!event.is_after(event.place()));
                assert!(event.is_after(other.place()) && other.is_after(event.place()));
            }
        }
    }
}
