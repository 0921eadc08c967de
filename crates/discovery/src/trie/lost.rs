//! Nodes found dead: what others say of them from before that is not believed, and they are tried again.

use alloc::vec::Vec;

use xtreem_base::{Handle, Rng};

/// Nodes that are remembered; beyond it a random one is forgotten, so that long after a split some of the other side are
/// still known. A table has 35 to 90 links at 100,000 nodes, of which a split takes half.
const LOST_MAX: usize = 64;
/// How long they are tried, as long as former holders of a slot are (docs/design/allocation.md, "Yielding").
const LOST_SECONDS: u32 = 24 * 60 * 60;
/// By so much times may be off that others tell: they are whole seconds, and messages take their time.
const HEARSAY_SECONDS: u32 = 5;

#[derive(Clone, Copy, Debug)]
struct One {
    peer: Handle,
    /// In seconds of the table's own clock.
    at: u32,
    /// Others said that it lived, and it was found dead once more.
    is_doubted: bool,
}

/// In the order in which they were lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Vec<One>);

impl Lost {
    /// `peer` was found dead at `now`, and what others say is all that there was for it if it is here already.
    pub(super) fn add(&mut self, rng: &mut Rng, peer: Handle, now: u32) {
        let is_doubted = self.remove(peer);
        if self.0.len() >= LOST_MAX {
            self.0.remove(rng.below(LOST_MAX as u32) as usize);
        }
        self.0.push(One { peer, at: now, is_doubted });
    }

    /// Forgets who was lost long before `now`.
    pub(super) fn tidy(&mut self, now: u32) {
        let limit = now.saturating_sub(LOST_SECONDS);
        self.0.retain(|lost| lost.at >= limit);
    }

    /// `peer` lives; whether it was lost.
    pub(super) fn remove(&mut self, peer: Handle) -> bool {
        let before = self.0.len();
        self.0.retain(|lost| lost.peer != peer);
        self.0.len() < before
    }

    pub(super) fn contains(&self, peer: Handle) -> bool {
        self.iter().any(|lost| lost == peer)
    }

    /// Whether somebody who says that `peer` lived at `seen` is not believed: it was found dead later, as far as times that are
    /// handed on can tell; or twice, and at most `doubt` seconds before.
    pub(super) fn disproves(&self, peer: Handle, seen: u32, doubt: u32) -> bool {
        let recent = self.0.iter().rev().take_while(|lost| lost.at.saturating_add(doubt) >= seen);
        recent
            .filter(|lost| lost.peer == peer)
            .any(|lost| lost.is_doubted || lost.at.saturating_add(HEARSAY_SECONDS) >= seen)
    }

    pub(super) fn pick(&self, rng: &mut Rng) -> Option<Handle> {
        rng.pick(&self.0).map(|lost| lost.peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        self.0.iter().map(|lost| lost.peer)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<One>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(i: u32) -> Handle {
        Handle::from_u32(i)
    }

    #[test]
    fn only_word_from_after_a_loss_counts_and_after_the_second_none_for_long() {
        let mut lost = Lost::default();
        let mut rng = Rng::new(1);
        lost.add(&mut rng, peer(1), 100);
        lost.add(&mut rng, peer(2), 200);
        let table =
            [(1, 90, true), (1, 105, true), (1, 106, false), (2, 205, true), (2, 206, false), (3, 0, false)];
        for (who, seen, expected) in table {
            assert_eq!(lost.disproves(peer(who), seen, 300), expected, "{who} at {seen}");
        }
        lost.add(&mut rng, peer(1), 1_000);
        for (who, seen, expected) in [(1, 1_200, true), (1, 1_300, true), (1, 1_301, false), (2, 206, false)]
        {
            assert_eq!(lost.disproves(peer(who), seen, 300), expected, "{who} at {seen}");
        }
        assert!(lost.remove(peer(1)) && !lost.remove(peer(1)) && !lost.disproves(peer(1), 0, 300));
        assert!(lost.contains(peer(2)) && lost.pick(&mut rng) == Some(peer(2)));
        lost.tidy(200 + LOST_SECONDS);
        assert!(lost.contains(peer(2)));
        lost.tidy(201 + LOST_SECONDS);
        assert!(!lost.contains(peer(2)));
    }

    #[test]
    fn of_many_a_random_one_goes() {
        let mut lost = Lost::default();
        let mut rng = Rng::new(1);
        (0..2 * LOST_MAX as u32).for_each(|i| lost.add(&mut rng, peer(i), i));
        let left: Vec<Handle> = lost.iter().collect();
        assert!(left.len() == LOST_MAX && left.is_sorted() && left.contains(&peer(2 * LOST_MAX as u32 - 1)));
        let early = left.iter().filter(|lost| lost.as_u32() < LOST_MAX as u32).count();
        assert!((10..40).contains(&early), "{early} of the first half are remembered");
    }
}
