//! What the ring says of this node, and who keeps copies for it.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use crate::ring::{Contact, Ring};
use crate::{Key, Range};

/// What a node owns and who stands behind it, now.
#[derive(Clone, Debug, Default)]
pub struct Tenure {
    /// Its range, the range's epoch, and when the lease ends.
    pub lease: Option<(Range, u64, Instant)>,
    /// As they follow one another.
    pub successors: Vec<Contact>,
    pub predecessor: Option<Handle>,
}

impl Tenure {
    pub fn of(ring: &Ring) -> Tenure {
        let lease = ring.lease().map(|it| (it.range().clone(), it.epoch(), it.until()));
        let predecessor = ring.predecessor().map(|it| it.handle);
        Tenure { lease, successors: ring.successors().to_vec(), predecessor }
    }

    /// The range and epoch for which this node may answer.
    pub fn valid(&self, now: Instant) -> Option<(&Range, u64)> {
        self.lease.as_ref().filter(|(_, _, until)| now < *until).map(|(range, epoch, _)| (range, *epoch))
    }

    /// The epoch under which this node may answer for a key.
    pub fn owns(&self, now: Instant, key: &Key) -> Option<u64> {
        self.valid(now).filter(|(range, _)| range.contains_key(key)).map(|(_, epoch)| epoch)
    }

    /// Who keeps copies, in the order in which they are taken: the immediate successor, then those at sites
    /// where there is none yet, then the rest. None when too few are known for `degree` copies although
    /// there are more nodes.
    pub fn targets(
        &self,
        degree: u8,
        own: Option<u64>,
        site_of: impl Fn(Handle) -> Option<u64>,
    ) -> Option<Vec<Handle>> {
        let order = self.order(own, site_of);
        let is_whole = self.lease.as_ref().is_some_and(|(range, ..)| range.is_whole());
        let knows_all = is_whole || self.predecessor.is_some_and(|it| order.contains(&it));
        let wanted = usize::from(degree);
        if order.len() < wanted && !knows_all {
            return None;
        }
        Some(order.into_iter().take(wanted).collect())
    }

    pub(super) fn order(&self, own: Option<u64>, site_of: impl Fn(Handle) -> Option<u64>) -> Vec<Handle> {
        let mut sites: Vec<u64> = own.into_iter().collect();
        let (mut order, mut later) = (Vec::new(), Vec::new());
        for (nth, contact) in self.successors.iter().enumerate() {
            let site = site_of(contact.handle);
            let is_new = site.is_none_or(|site| !sites.contains(&site));
            if nth == 0 || is_new {
                sites.extend(site);
                order.push(contact.handle);
            } else {
                later.push(contact.handle);
            }
        }
        order.extend(later);
        order
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;

    use super::*;
    use crate::Position;
    use xtreem_base::NodeId;

    fn tenure(count: u32) -> Tenure {
        let at =
            |node: u32| Position::new(Key::default(), NodeId::from_bytes(u128::from(node).to_be_bytes()));
        let contact = |node| Contact { handle: Handle::from_u32(node), position: at(node) };
        let lease = Some((Range::new(at(9), at(10)), 1, Instant::FAR));
        Tenure { lease, successors: (11..11 + count).map(contact).collect(), predecessor: None }
    }

    #[test]
    fn the_next_one_has_a_copy_and_further_ones_lie_at_other_sites() {
        // Nodes 10, 11 and 12 stand at site 1, 13 at site 2.
        let site = |it: Handle| Some(if it.as_u32() < 13 { 1 } else { u64::from(it.as_u32()) - 11 });
        let handles = |nodes: &[u32]| Some(nodes.iter().map(|it| Handle::from_u32(*it)).collect::<Vec<_>>());
        let tenure = tenure(4);
        assert_eq!(tenure.targets(1, Some(1), site), handles(&[11]));
        assert_eq!(tenure.targets(2, Some(1), site), handles(&[11, 13]));
        assert_eq!(tenure.targets(4, Some(1), site), handles(&[11, 13, 14, 12]));
        assert_eq!(tenure.targets(2, None, |_| None), handles(&[11, 12]), "where no sites are known");
    }

    #[test]
    fn fewer_copies_are_enough_only_where_there_are_no_more_nodes() {
        let mut tenure = tenure(1);
        assert_eq!(tenure.targets(2, None, |_| None), None);
        tenure.predecessor = Some(Handle::from_u32(11));
        assert_eq!(tenure.targets(2, None, |_| None), Some(vec![Handle::from_u32(11)]));
        tenure.successors.clear();
        tenure.predecessor = None;
        assert_eq!(tenure.targets(2, None, |_| None), None);
    }
}
