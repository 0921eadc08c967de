//! Another machine with this node's key: its state and key were copied, or it lost its state and its clock is
//! late.
//!
//! Peers tell a node under which other records its key was heard; that is only a reason to look. The node
//! dials the address that its own key once signed: who proves possession of the key there, at this moment,
//! and is another run than this one, is a second machine. Nobody else can make a node believe that.

use xtreem_base::{Duration, Instant};
use xtreem_wire::Contact;

/// Addresses are looked at so often at most, and a found one again after as long.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// So many looks in vain end the doubt: the other machine is gone.
const MISSES_MAX: u32 = 3;

/// What a node knows of other machines with its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Another machine that proved at this moment that it has our key.
    pub namesake: Option<Contact>,
    /// A higher incarnation of this node, signed by its key, that is nowhere to be found: peers take this one
    /// for an older run. Its address and number.
    pub outlived: Option<Contact>,
}

/// What a look at an address came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Namesake(Contact),
    /// This run of this node, another node, or nobody.
    Nobody,
}

/// When to look, and what was seen.
#[derive(Debug)]
pub(crate) struct Watch {
    own: Contact,
    doubts: Doubts,
    /// What peers told last and was not looked at yet.
    told: Option<Contact>,
    next: Instant,
    misses: u32,
}

impl Watch {
    pub(crate) fn new(own: Contact, now: Instant) -> Watch {
        Watch { own, doubts: Doubts::default(), told: None, next: now, misses: 0 }
    }

    pub(crate) fn doubts(&self) -> Doubts {
        self.doubts
    }

    /// This node has another address.
    pub(crate) fn moved(&mut self, own: Contact) {
        self.own = own;
    }

    /// A peer shows another record that our key signed.
    pub(crate) fn told(&mut self, other: Contact) {
        if (other.addr, other.incarnation) != (self.own.addr, self.own.incarnation) {
            // The highest is the one that peers listen to.
            let higher = self.told.filter(|known| known.incarnation > other.incarnation);
            self.told = higher.or(Some(other));
        }
    }

    /// When [`Self::due`] is to be asked.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (self.told.is_some() || self.doubts.namesake.is_some()).then_some(self.next)
    }

    /// Where to look now, and for what.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Contact> {
        if now < self.next {
            return None;
        }
        let found = self.doubts.namesake;
        let contact = self.told.take().or(found)?;
        self.next = now + LOOK_EVERY;
        Some(contact)
    }

    /// A second machine was met; also when it dialled us.
    pub(crate) fn met(&mut self, namesake: Contact) {
        self.misses = 0;
        self.doubts = Doubts { namesake: Some(namesake), outlived: None };
    }

    /// A look at where `other` should be came to this.
    pub(crate) fn looked(&mut self, other: Contact, seen: Seen) {
        match seen {
            Seen::Namesake(namesake) => self.met(namesake),
            Seen::Nobody if self.doubts.namesake.is_some() => {
                self.misses += 1;
                if self.misses >= MISSES_MAX {
                    self.doubts = Doubts { namesake: None, outlived: self.outlived_by(other) };
                }
            }
            Seen::Nobody => self.doubts.outlived = self.outlived_by(other).or(self.doubts.outlived),
        }
    }

    fn outlived_by(&self, other: Contact) -> Option<Contact> {
        Some(other).filter(|other| other.incarnation > self.own.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    fn contact(port: u16, incarnation: u32) -> Contact {
        Contact { id: NodeId::from_bytes([1; 16]), addr: ([10, 0, 0, 1], port).into(), incarnation }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(1_000 * secs)
    }

    #[test]
    fn what_peers_tell_is_only_a_reason_to_look() {
        let mut watch = Watch::new(contact(1, 5), at(0));
        watch.told(contact(1, 5));
        assert_eq!((watch.next_timeout(), watch.due(at(1))), (None, None), "it was this one's own record");
        watch.told(contact(2, 5));
        assert_eq!(watch.due(at(1)), Some(contact(2, 5)));
        assert_eq!(watch.doubts(), Doubts::default());
        watch.looked(contact(2, 5), Seen::Nobody);
        assert_eq!(watch.doubts(), Doubts::default(), "an address that changed");
        watch.told(contact(3, 4));
        assert_eq!(watch.due(at(2)), None, "it looks once in ten seconds");
        assert_eq!(watch.due(at(11)), Some(contact(3, 4)));
    }

    #[test]
    fn a_second_machine_is_looked_at_until_it_is_gone() {
        let mut watch = Watch::new(contact(1, 5), at(0));
        watch.told(contact(2, 9));
        assert_eq!(watch.due(at(0)), Some(contact(2, 9)));
        watch.looked(contact(2, 9), Seen::Namesake(contact(2, 9)));
        for look in 1..=MISSES_MAX {
            assert_eq!(watch.doubts().namesake, Some(contact(2, 9)));
            assert_eq!(watch.due(at(10 * u64::from(look))), Some(contact(2, 9)));
            watch.looked(contact(2, 9), Seen::Nobody);
        }
        let after = Doubts { namesake: None, outlived: Some(contact(2, 9)) };
        assert_eq!((watch.doubts(), watch.next_timeout()), (after, None), "peers still listen to the other");
    }

    #[test]
    fn a_higher_run_that_is_nowhere_outlived_this_one_and_a_lower_one_did_not() {
        let mut watch = Watch::new(contact(1, 5), at(0));
        watch.looked(contact(1, 4), Seen::Nobody);
        assert_eq!(watch.doubts(), Doubts::default());
        watch.told(contact(1, 7));
        watch.told(contact(1, 6));
        let higher = watch.due(at(1)).expect("a reason to look");
        watch.looked(higher, Seen::Nobody);
        assert_eq!(watch.doubts().outlived, Some(contact(1, 7)));
        watch.met(contact(2, 5));
        assert_eq!(watch.doubts(), Doubts { namesake: Some(contact(2, 5)), outlived: None });
    }
}
