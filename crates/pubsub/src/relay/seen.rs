//! Which batches of events came already: what is sent again comes to subscribers once.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use xtreem_base::NodeId;

use super::Origin;

/// Batches of one origin that are remembered: more than wait for an acknowledgement at one time.
pub const BATCHES_MAX: usize = 1_024;
/// Origins that are remembered; of more the one that was heard of longest ago goes.
pub const ORIGINS_MAX: usize = 1_024;

/// What came of each origin.
#[derive(Debug, Default)]
pub(super) struct Seen {
    origins: BTreeMap<NodeId, Batches>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Batches {
    incarnation: u32,
    order: VecDeque<u64>,
    known: BTreeSet<u64>,
    used: u64,
}

impl Seen {
    /// Whether it is new.
    pub(super) fn add(&mut self, origin: Origin) -> bool {
        self.clock += 1;
        let is_full = self.origins.len() >= ORIGINS_MAX && !self.origins.contains_key(&origin.id);
        if is_full && let Some((oldest, _)) = self.origins.iter().min_by_key(|(_, batches)| batches.used) {
            let oldest = *oldest;
            self.origins.remove(&oldest);
        }
        let batches = self.origins.entry(origin.id).or_default();
        batches.used = self.clock;
        if batches.incarnation != origin.incarnation {
            *batches = Batches { incarnation: origin.incarnation, used: self.clock, ..Batches::default() };
        }
        if !batches.known.insert(origin.batch) {
            return false;
        }
        batches.order.push_back(origin.batch);
        if batches.order.len() > BATCHES_MAX
            && let Some(oldest) = batches.order.pop_front()
        {
            batches.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_new_once_and_memory_is_bounded() {
        let mut seen = Seen::default();
        let origin = |id: u32, incarnation, batch| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&id.to_be_bytes());
            Origin { id: NodeId::from_bytes(bytes), incarnation, batch }
        };
        assert!(seen.add(origin(1, 1, 5)) && !seen.add(origin(1, 1, 5)) && seen.add(origin(1, 2, 5)));
        for batch in 0..2 * BATCHES_MAX as u64 {
            assert!(seen.add(origin(2, 1, batch)));
        }
        assert!(!seen.add(origin(2, 1, 2 * BATCHES_MAX as u64 - 1)));
        assert_eq!(seen.origins[&origin(2, 1, 0).id].known.len(), BATCHES_MAX);
        for id in 0..2 * ORIGINS_MAX as u32 {
            seen.add(origin(id, 1, 1));
        }
        assert_eq!(seen.origins.len(), ORIGINS_MAX);
    }
}
