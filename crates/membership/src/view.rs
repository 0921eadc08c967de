//! The partial view: a fixed table of neighbours with their ages.
//!
//! Handles and ages lie in arrays of their own, unused handles are `NONE`, and look-ups go over the whole
//! array without an early exit: so they become a few vector compares. In [`View::merge`] all look-ups come
//! before the first store, because a vector load of bytes just stored piecewise stalls (measured: 1.2–1.4
//! times the simulator's speed).

use xtreem_base::{Handle, Rng};

use crate::message::{Peer, Peers};

/// Neighbours that a view can hold.
pub const VIEW_MAX: usize = 20;

/// The oldest that a neighbour gets in a view, in rounds; older ones count as this. Among 20 neighbours of
/// which the oldest leaves each round, ages above 50 are rare.
const AGE_MAX: u16 = u8::MAX as u16;

/// 104 bytes, so that a whole [`Cyclon`](crate::Cyclon) takes three cache lines.
#[derive(Clone, Debug)]
pub(crate) struct View {
    handles: [Handle; VIEW_MAX],
    ages: [u8; VIEW_MAX],
    /// One bit a place: its neighbour was told to the contact whose reply is awaited, and is still there.
    told: [u8; 3],
    len: u8,
}

/// A power of two above [`VIEW_MAX`]: such an index needs no check.
const PLACES: usize = 32;

/// Distinct places of a view, in random order.
pub(crate) struct Places {
    at: [u8; PLACES],
    len: usize,
}

impl Places {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.at[..self.len]
    }
}

/// Whether a table, its length a multiple of 4, has `handle`.
///
/// Without an early exit and by fours, because compilers make three vector instructions of each four; what
/// they make of `contains`, or of a loop over all, takes several times as long (measured: a fifth of the
/// simulator's time).
#[inline]
fn has(table: &[Handle], handle: Handle) -> bool {
    let hits = |four: &[Handle]| [four[0] == handle, four[1] == handle, four[2] == handle, four[3] == handle];
    table.chunks_exact(4).fold(false, |found, four| found | (hits(four) != [false; 4]))
}

impl View {
    pub(crate) const EMPTY: View =
        View { handles: [Handle::NONE; VIEW_MAX], ages: [0; VIEW_MAX], told: [0; 3], len: 0 };

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
        self.handles().iter().zip(&self.ages).map(|(&handle, &age)| Peer { handle, age: age.into() })
    }

    #[inline]
    pub(crate) fn contains(&self, handle: Handle) -> bool {
        has(&self.handles, handle)
    }

    fn position(&self, handle: Handle) -> Option<usize> {
        self.handles().iter().position(|&known| known == handle)
    }

    #[inline]
    pub(crate) fn at(&self, place: u8) -> Peer {
        let at = usize::from(place);
        Peer { handle: self.handles[at], age: self.ages[at].into() }
    }

    /// The neighbours at `places`; the first [`PEERS_MAX`].
    #[inline]
    pub(crate) fn peers_at(&self, places: &Places) -> Peers {
        Peers::of(places.as_slice(), |&place| self.at(place))
    }

    #[inline]
    fn set(&mut self, at: usize, peer: Peer) {
        self.handles[at] = peer.handle;
        self.ages[at] = peer.age.min(AGE_MAX) as u8;
    }

    #[inline]
    fn told(&self) -> u32 {
        let [low, mid, high] = self.told;
        u32::from_le_bytes([low, mid, high, 0])
    }

    #[inline]
    fn set_told(&mut self, places: u32) {
        let [low, mid, high, _] = places.to_le_bytes();
        self.told = [low, mid, high];
    }

    /// Notes which neighbours were told to the contact whose reply is awaited, and forgets those told before.
    #[inline]
    pub(crate) fn tell(&mut self, places: &Places) {
        self.set_told(places.as_slice().iter().fold(0, |told, &place| told | 1 << place));
    }

    /// No reply is awaited any more.
    #[inline]
    pub(crate) fn untell(&mut self) {
        self.told = [0; 3];
    }

    /// The places of those who were told and are still here, in the order of the view.
    pub(crate) fn told_places(&self) -> Places {
        let mut places = Places { at: [0; PLACES], len: 0 };
        let mut told = self.told();
        while told != 0 && places.len < VIEW_MAX {
            places.at[places.len] = told.trailing_zeros() as u8;
            places.len += 1;
            told &= told - 1;
        }
        places
    }

    /// Everybody is one round older.
    #[inline]
    pub(crate) fn grow_older(&mut self) {
        for age in &mut self.ages {
            *age = age.saturating_add(1);
        }
    }

    /// Takes out the neighbour with the highest age, the first of equals.
    pub(crate) fn take_oldest(&mut self) -> Option<Handle> {
        // Age above, place below and counted down: the highest such number is the one looked for. Without a
        // branch in the loop, and signed 16 bits wide, it is a handful of vector instructions.
        let len = i16::from(self.len);
        let mut highest = -1;
        for (at, &age) in (0i16..).zip(&self.ages) {
            let number = if at < len { i16::from(age) << 5 | (31 - at) } else { -1 };
            highest = number.max(highest);
        }
        if highest < 0 { None } else { Some(self.take_at(31 - (highest as usize & 31))) }
    }

    fn take_at(&mut self, at: usize) -> Handle {
        let last = self.len() - 1;
        let taken = self.handles[at];
        self.handles[at] = self.handles[last];
        self.ages[at] = self.ages[last];
        self.handles[last] = Handle::NONE;
        let told = self.told();
        let was_last_told = told >> last & 1;
        self.set_told((told & !(1 << at) | was_last_told << at) & !(1 << last));
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

    /// Whether it was heard of in this round.
    pub(crate) fn is_fresh(&self, handle: Handle) -> bool {
        self.position(handle).is_some_and(|at| self.ages[at] == 0)
    }

    /// Adds a neighbour that the view does not contain. False when there is no room.
    pub(crate) fn push(&mut self, limit: usize, peer: Peer) -> bool {
        let at = self.len();
        if at >= limit {
            return false;
        }
        self.set(at, peer);
        self.len += 1;
        true
    }

    /// Puts a neighbour that the view does not contain in place of a random one, which comes back.
    pub(crate) fn replace_random(&mut self, rng: &mut Rng, peer: Peer) -> Option<Peer> {
        if self.is_empty() {
            return None;
        }
        let at = rng.below(u32::from(self.len)) as u8;
        let replaced = self.at(at);
        self.set(usize::from(at), peer);
        self.set_told(self.told() & !(1 << at));
        Some(replaced)
    }

    /// `count` random places (all, when there are fewer).
    pub(crate) fn random_places(&self, rng: &mut Rng, count: usize) -> Places {
        let mut places = Places { at: core::array::from_fn(|i| i as u8), len: count.min(self.len()) };
        let mut draw = |i: usize, bits: u32| {
            let j = i + Rng::scaled(bits, (self.len() - i) as u32) as usize;
            places.at.swap(i % PLACES, j % PLACES);
        };
        for i in (0..places.len).step_by(2) {
            // Two draws from one number: half of it is enough for each.
            let bits = rng.next_u64();
            draw(i, (bits >> 32) as u32);
            if i + 1 < places.len {
                draw(i + 1, bits as u32);
            }
        }
        places
    }

    /// The paper's update (§3, step 7): new neighbours go to free places, then over those that were sent
    /// away.
    ///
    /// `me`, neighbours already known and repetitions are left out; what finds no place is dropped.
    pub(crate) fn merge(&mut self, limit: usize, me: Handle, received: &Peers, sent: &Places) {
        if self.are_all_news(me, received) {
            self.take_in(limit, received, sent);
        } else {
            self.take_in(limit, &self.news(me, received), sent);
        }
    }

    /// Whether all places of `received` are used, by peers that are no neighbours, not `me`, and different:
    /// in a large collection nearly always. One answer for all, because it is found without a branch.
    #[inline]
    fn are_all_news(&self, me: Handle, received: &Peers) -> bool {
        let peers = received.all_handles();
        let (low, high) = (&peers[..4], &peers[4..]);
        let mut hits = [false; 4];
        let mut compare = |four: &[Handle], others: [Handle; 4]| {
            for lane in 0..4 {
                hits[lane] |= four[lane] == others[lane];
            }
        };
        for four in self.handles.chunks_exact(4) {
            for peer in peers {
                compare(four, [*peer; 4]);
            }
        }
        for four in [low, high] {
            compare(four, [me; 4]);
            compare(four, [Handle::NONE; 4]);
            compare(four, [four[1], four[2], four[3], four[0]]);
            compare(four, [four[2], four[3], four[0], four[1]]);
        }
        for turn in 0..4 {
            compare(low, core::array::from_fn(|lane| high[(lane + turn) % 4]));
        }
        hits == [false; 4]
    }

    /// Those of `received` that are neither neighbours nor `me` nor told twice.
    #[cold]
    fn news(&self, me: Handle, received: &Peers) -> Peers {
        let mut news = Peers::EMPTY;
        for peer in received.iter() {
            let is_known = self.contains(peer.handle)
                || peer.handle == me
                || peer.handle == Handle::NONE
                || news.handles().contains(&peer.handle);
            if !is_known {
                news.push(peer);
            }
        }
        news
    }

    /// Gives places to peers that are all new.
    #[inline]
    fn take_in(&mut self, limit: usize, news: &Peers, sent: &Places) {
        let free = limit.saturating_sub(self.len()).min(news.len());
        news.iter().take(free).for_each(|peer| _ = self.push(limit, peer));
        let mut told = self.told();
        for (peer, &place) in news.iter().skip(free).zip(sent.as_slice()) {
            self.set(usize::from(place), peer);
            told &= !(1 << place);
        }
        self.set_told(told);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn the_quick_look_at_all_says_what_the_look_at_each_says(
            known in prop_oneof![prop::collection::vec(60u32..400, 0..=60), Just(Vec::from_iter(300..340))],
            told in prop::collection::vec(
                prop_oneof![30 => 0u32..70, 1 => Just(Handle::NONE.as_u32())],
                7..=8,
            ),
            me in 0u32..70,
        ) {
            let mut view = View::EMPTY;
            for handle in known.into_iter().map(Handle::from_u32) {
                if !view.contains(handle) {
                    view.push(VIEW_MAX, Peer { handle, age: 3 });
                }
            }
            let peer = |handle| Peer { handle: Handle::from_u32(handle), age: 1 };
            let told: Peers = told.into_iter().map(peer).collect();
            let me = Handle::from_u32(me);
            let news = view.news(me, &told);
            prop_assert_eq!(view.are_all_news(me, &told), news.len() == 8, "{:?} of {:?}", news, told);
            prop_assert!(news.len() < 8 || news == told);
        }
    }

    #[test]
    fn told_places_follow_who_leaves_moves_and_is_overwritten() {
        let h = Handle::from_u32;
        let mut view = View::EMPTY;
        for number in 0..VIEW_MAX as u32 {
            assert!(view.push(VIEW_MAX, Peer { handle: h(number), age: 0 }));
        }
        let places = |at: &[u8]| {
            let mut places = Places { at: [0; PLACES], len: at.len() };
            places.at[..at.len()].copy_from_slice(at);
            places
        };
        view.tell(&places(&[19, 3, 7, 11]));
        // The last one, told, takes the place of one that was told; then of one that was not.
        view.remove(h(3));
        assert_eq!(view.told_places().as_slice(), [3, 7, 11]);
        view.remove(h(11));
        assert_eq!(view.told_places().as_slice(), [3, 7]);
        let news: Peers =
            [100, 101, 102].map(|number| Peer { handle: h(number), age: 900 }).into_iter().collect();
        // Two free places, then over place 7.
        view.merge(VIEW_MAX, h(500), &news, &places(&[7]));
        assert_eq!((view.at(7).handle, view.at(7).age), (h(102), AGE_MAX));
        assert_eq!(view.told_places().as_slice(), [3]);
        view.untell();
        assert!(view.told_places().as_slice().is_empty());
    }
}
