//! Whom a search knows: whom it may still visit, in which order, and how the visits stand.

use alloc::collections::{BTreeMap, BTreeSet};

use xtreem_base::Handle;

/// Nodes known and not yet visited. Beyond it those of the lowest rank are forgotten: at 20 links an answer
/// the visits of a whole search (2,000) report 40,000 links, most of them known.
pub const FRONTIER_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not yet visited; the rank under which it waits.
    Waiting(u64),
    Asked,
    /// Did not answer in time; may still do so.
    Silent,
    /// Answered, with the hold that it granted.
    Answered(Option<u64>),
    /// Not to be visited; whether anybody named it as a link.
    Excluded {
        reported: bool,
    },
}

/// Visits go in falling order of this.
///
/// First form: links carry nothing that could tell a good one, so the order is random (`draw`), uniform over all
/// that wait because each draws once. Links with keys and counts will rank here.
const fn rank(draw: u64) -> u64 {
    draw
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<Handle, Standing>,
    frontier: BTreeSet<(u64, Handle)>,
    asked: usize,
    /// Some were forgotten, so that an empty frontier does not mean all were visited.
    overflowed: bool,
}

impl Candidates {
    pub(crate) fn exclude(&mut self, peer: Handle) {
        self.known.insert(peer, Standing::Excluded { reported: false });
    }

    /// Hears of `peer`; returns whether it was known before.
    pub(crate) fn hear_of(&mut self, peer: Handle, draw: u64) -> bool {
        match self.known.get_mut(&peer) {
            Some(Standing::Excluded { reported }) => {
                *reported = true;
                return true;
            }
            Some(_) => return true,
            None => {}
        }
        self.known.insert(peer, Standing::Waiting(rank(draw)));
        self.frontier.insert((rank(draw), peer));
        if self.frontier.len() > FRONTIER_MAX {
            self.overflowed = true;
            if let Some((_, worst)) = self.frontier.pop_first() {
                self.known.remove(&worst);
            }
        }
        false
    }

    /// The next to visit, which counts as asked from now on.
    pub(crate) fn ask_next(&mut self) -> Option<Handle> {
        let (_, peer) = self.frontier.pop_last()?;
        self.stand(peer, Standing::Asked);
        Some(peer)
    }

    pub(crate) fn standing(&self, peer: Handle) -> Option<Standing> {
        self.known.get(&peer).copied()
    }

    pub(crate) fn stand(&mut self, peer: Handle, standing: Standing) {
        let old = self.known.insert(peer, standing);
        if let Some(Standing::Waiting(rank)) = old {
            self.frontier.remove(&(rank, peer));
        }
        self.asked += usize::from(standing == Standing::Asked);
        self.asked -= usize::from(old == Some(Standing::Asked));
    }

    /// Visits that are out.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Handle> {
        self.handles().filter(|peer| self.standing(*peer) == Some(Standing::Asked))
    }

    pub(crate) fn asked_len(&self) -> usize {
        self.asked
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.frontier.is_empty()
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Nodes not to be visited that somebody has as a link, so that they are likely there.
    pub(crate) fn excluded_reported(&self) -> u32 {
        self.known.values().filter(|&&standing| standing == Standing::Excluded { reported: true }).count()
            as u32
    }

    pub(crate) fn known_len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.known.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rank_goes_first_and_the_lowest_is_forgotten() {
        let mut candidates = Candidates::default();
        let peer = |i: usize| Handle::from_u32(i as u32);
        for i in 0..=FRONTIER_MAX {
            assert!(!candidates.hear_of(peer(i), i as u64));
        }
        assert!(candidates.has_overflowed());
        assert_eq!((candidates.standing(peer(0)), candidates.known_len()), (None, FRONTIER_MAX));
        assert_eq!(candidates.ask_next(), Some(peer(FRONTIER_MAX)));
        assert!(candidates.hear_of(peer(FRONTIER_MAX), 1), "a visited node is not visited again");
        assert_eq!(candidates.asked().collect::<alloc::vec::Vec<_>>(), [peer(FRONTIER_MAX)]);
        candidates.stand(peer(FRONTIER_MAX), Standing::Silent);
        assert_eq!(candidates.asked_len(), 0);
    }
}
