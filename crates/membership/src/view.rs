//! The partial view: a fixed table of neighbours with their ages.
//!
//! Handles and ages lie in arrays of their own, unused handles are `NONE`, and look-ups go over the whole array
//! without an early exit: so they become a few vector compares. In [`View::merge`] all look-ups come before the
//! first store, because a vector load of bytes just stored piecewise stalls (measured: 1.2–1.4 times the
//! simulator's speed).

use xtreem_base::{Handle, Rng};

use crate::message::{Peer, Peers};

/// Neighbours that a view can hold.
pub const VIEW_MAX: usize = 20;

#[derive(Clone, Debug)]
pub(crate) struct View {
    handles: [Handle; VIEW_MAX],
    ages: [u16; VIEW_MAX],
    len: u8,
}

/// Distinct places of a view, in random order.
pub(crate) struct Places {
    at: [u8; VIEW_MAX],
    len: usize,
}

impl Places {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.at[..self.len]
    }
}

impl View {
    pub(crate) const EMPTY: View = View { handles: [Handle::NONE; VIEW_MAX], ages: [0; VIEW_MAX], len: 0 };

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn handles(&self) -> &[Handle] {
        &self.handles[..self.len()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Peer> + '_ {
        self.handles().iter().zip(&self.ages).map(|(&handle, &age)| Peer { handle, age })
    }

    pub(crate) fn contains(&self, handle: Handle) -> bool {
        self.handles.iter().fold(false, |found, &known| found | (known == handle))
    }

    fn position(&self, handle: Handle) -> Option<usize> {
        self.handles().iter().position(|&known| known == handle)
    }

    pub(crate) fn at(&self, place: u8) -> Peer {
        let at = usize::from(place);
        Peer { handle: self.handles[at], age: self.ages[at] }
    }

    /// Everybody is one round older.
    pub(crate) fn grow_older(&mut self) {
        for age in &mut self.ages {
            *age = age.saturating_add(1);
        }
    }

    /// Takes out the neighbour with the highest age, the first of equals.
    pub(crate) fn take_oldest(&mut self) -> Option<Handle> {
        let (mut oldest, mut at) = (*self.ages[..self.len()].first()?, 0);
        for (i, &age) in self.ages[..self.len()].iter().enumerate() {
            if age > oldest {
                (oldest, at) = (age, i);
            }
        }
        Some(self.take_at(at))
    }

    fn take_at(&mut self, at: usize) -> Handle {
        let last = self.len() - 1;
        let taken = self.handles[at];
        self.handles[at] = self.handles[last];
        self.ages[at] = self.ages[last];
        self.handles[last] = Handle::NONE;
        self.len -= 1;
        taken
    }

    pub(crate) fn remove(&mut self, handle: Handle) {
        if let Some(at) = self.position(handle) {
            self.take_at(at);
        }
    }

    /// Sets the age of a known neighbour to zero. False when it is not known.
    pub(crate) fn refresh(&mut self, handle: Handle) -> bool {
        let known = self.position(handle);
        if let Some(at) = known {
            self.ages[at] = 0;
        }
        known.is_some()
    }

    /// Adds a neighbour that the view does not contain. False when there is no room.
    pub(crate) fn push(&mut self, limit: usize, peer: Peer) -> bool {
        let at = self.len();
        if at >= limit {
            return false;
        }
        self.handles[at] = peer.handle;
        self.ages[at] = peer.age;
        self.len += 1;
        true
    }

    /// Puts a neighbour that the view does not contain in place of a random one, which comes back.
    pub(crate) fn replace_random(&mut self, rng: &mut Rng, peer: Peer) -> Option<Peer> {
        if self.is_empty() {
            return None;
        }
        let at = rng.below(u32::from(self.len)) as usize;
        let replaced = self.at(at as u8);
        self.handles[at] = peer.handle;
        self.ages[at] = peer.age;
        Some(replaced)
    }

    /// `count` random places (all, when there are fewer).
    pub(crate) fn random_places(&self, rng: &mut Rng, count: usize) -> Places {
        let mut places = Places { at: core::array::from_fn(|i| i as u8), len: count.min(self.len()) };
        for i in 0..places.len {
            let j = i + rng.below((self.len() - i) as u32) as usize;
            places.at.swap(i, j);
        }
        places
    }

    /// The places of those of `handles` that are still here, in the order of the view.
    pub(crate) fn places_of(&self, handles: &[Handle]) -> Places {
        let mut hit = [false; VIEW_MAX];
        for &handle in handles {
            for (hit, &known) in hit.iter_mut().zip(&self.handles) {
                *hit |= known == handle;
            }
        }
        let mut places = Places { at: [0; VIEW_MAX], len: 0 };
        for (at, &hit) in hit[..self.len()].iter().enumerate() {
            // Written always and counted when it was a hit: no branch to guess wrong.
            places.at[places.len] = at as u8;
            places.len += usize::from(hit);
        }
        places
    }

    /// The paper's update (§3, step 7): new neighbours go to free places, then over those that were sent away.
    ///
    /// `me`, neighbours already known and repetitions are left out; what finds no place is dropped.
    pub(crate) fn merge(&mut self, limit: usize, me: Handle, received: &Peers, sent: &Places) {
        let mut unknown = Peers::EMPTY;
        for peer in received.iter() {
            let known = peer.handle == me
                || peer.handle == Handle::NONE
                || self.contains(peer.handle)
                || unknown.handles().contains(&peer.handle);
            if !known {
                unknown.push(peer);
            }
        }
        let mut sent = sent.as_slice().iter();
        for peer in unknown.iter() {
            if self.push(limit, peer) {
                continue;
            }
            let Some(&place) = sent.next() else { break };
            self.handles[usize::from(place)] = peer.handle;
            self.ages[usize::from(place)] = peer.age;
        }
    }
}
