//! The kept peers: on each side of the ranking the nearest of all that were heard of.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::ranking::{Ranking, Side};

/// Peers that a view can hold. Who was told what takes a bit for each, and one is for a newcomer that is not
/// kept in the end.
pub const VIEW_MAX: usize = 63;

/// Rounds after which a peer that was not heard of is told to nobody any more, and taken from nobody: the
/// farthest of 40 is asked once in 30 rounds (`docs/protocols/tman.md`, "Whom a node asks").
pub(super) const TOLD_AGE_MAX: u16 = 40;

/// Rounds after which it is forgotten of one peer what it knows: of each once in a quarter of an hour (our guess:
/// what is told arrives, only who gives up a live peer by mistake needs to be told again).
const FORGETS_EVERY: u16 = 8;

/// Waited for longer than for anybody with whom there was an exchange.
pub(super) const NEVER: u16 = 1 << 12;

#[derive(Clone, Debug)]
pub(super) struct Entry<P> {
    pub(super) handle: Handle,
    pub(super) profile: P,
    /// Rounds since it spoke to somebody. 0: in this round, to this node.
    pub(super) age: u16,
    /// Rounds since it spoke to this node; [`NEVER`] and more before that.
    pub(super) waited: u16,
    /// By side.
    scales: [u16; 2],
    /// One bit a place: this peer knows the peer there, because it told of it or was told.
    knows: u64,
}

/// Invariants: no handle twice; each order names each place once, nearest first.
#[derive(Clone, Debug)]
pub(super) struct View<P> {
    entries: Vec<Entry<P>>,
    /// Places by side.
    orders: [Vec<u8>; 2],
    /// Rounds, which decide whose knowledge is forgotten next: it may have lost what it was told.
    forgets: u16,
}

/// From whose point of view a view is looked at.
pub(super) struct Owner<'a, R: Ranking> {
    pub(super) ranking: &'a R,
    pub(super) profile: &'a R::Profile,
}

impl<P> View<P> {
    pub(super) fn new() -> Self {
        View { entries: Vec::new(), orders: [Vec::new(), Vec::new()], forgets: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.entries.iter().map(|entry| entry.handle)
    }

    pub(super) fn profile_of(&self, peer: Handle) -> Option<&P> {
        self.entries.iter().find(|entry| entry.handle == peer).map(|entry| &entry.profile)
    }

    pub(super) fn place_of(&self, handle: Handle) -> Option<usize> {
        self.entries.iter().position(|entry| entry.handle == handle)
    }

    /// Nearest first.
    pub(super) fn side(&self, side: Side) -> impl ExactSizeIterator<Item = &Entry<P>> {
        self.orders[side.index()].iter().map(|place| &self.entries[usize::from(*place)])
    }

    /// The last of the nearest on each side; nobody, while there is room.
    pub(super) fn bounds(&self, sides: &[Side], share: usize) -> Vec<P>
    where
        P: Clone,
    {
        if self.len() <= share * sides.len() {
            return Vec::new();
        }
        sides
            .iter()
            .filter_map(|side| self.side(*side).nth(share - 1))
            .map(|last| last.profile.clone())
            .collect()
    }

    pub(super) fn grow_older(&mut self) {
        for entry in &mut self.entries {
            entry.age = entry.age.saturating_add(1);
            entry.waited = entry.waited.saturating_add(1);
        }
        self.forgets = self.forgets.wrapping_add(1);
        let place = usize::from(self.forgets / FORGETS_EVERY);
        if let Some(entry) = self.entries.get_mut(place % VIEW_MAX) {
            entry.knows = 0;
        }
    }

    pub(super) fn forget_what_it_knows(&mut self, peer: Handle) {
        if let Some(place) = self.place_of(peer) {
            self.entries[place].knows = 0;
        }
    }

    /// Notes that `peer` knows the others, as far as all are kept.
    pub(super) fn note_known(&mut self, peer: Handle, others: impl Iterator<Item = Handle>) {
        if let Some(place) = self.place_of(peer) {
            let known = others.filter_map(|other| self.place_of(other)).fold(0, |known, at| known | 1 << at);
            self.entries[place].knows |= known;
        }
    }

    pub(super) fn remove(&mut self, peer: Handle) -> bool {
        let place = self.place_of(peer);
        if let Some(place) = place {
            self.take_out(place);
        }
        place.is_some()
    }

    /// The last one moves to the place that becomes free.
    fn take_out(&mut self, place: usize) {
        let last = self.len() - 1;
        self.entries.swap_remove(place);
        for order in &mut self.orders {
            order.retain(|at| usize::from(*at) != place);
            order.iter_mut().filter(|at| usize::from(**at) == last).for_each(|at| *at = place as u8);
        }
        for entry in &mut self.entries {
            let moved = entry.knows >> last & 1;
            entry.knows =
                (entry.knows & !(1 << place) & !(1 << last)) | if place == last { 0 } else { moved << place };
        }
    }
}

/// How many peers are kept.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// In all.
    pub(super) limit: usize,
    /// Of the nearest, on each side.
    pub(super) share: usize,
}

impl<P: Clone + Eq> View<P> {
    /// Takes in what is known of a peer. True if it is one of the nearest and was not known, or has changed.
    ///
    /// `age` 0 is its own word. Of what others say the younger counts.
    pub(super) fn put<R: Ranking<Profile = P>>(
        &mut self,
        owner: &Owner<'_, R>,
        room: Room,
        peer: Handle,
        profile: &P,
        age: u16,
    ) -> bool {
        let mut waited = if age == 0 { 0 } else { NEVER };
        if let Some(place) = self.place_of(peer) {
            let entry = &mut self.entries[place];
            if age > entry.age {
                return false;
            }
            entry.age = age;
            entry.waited = entry.waited.min(waited);
            if entry.profile == *profile {
                return false;
            }
            waited = entry.waited;
            self.take_out(place);
        }
        let is_near = self.is_near(owner, room.share, profile);
        let scales =
            [Side::After, Side::Before].map(|side| owner.ranking.scale(owner.profile, side, profile));
        let entry = Entry { handle: peer, profile: profile.clone(), age, waited, scales, knows: 0 };
        self.insert(owner, entry);
        if self.len() > room.limit {
            let spare = self.spare(R::SIDES, room.share);
            self.take_out(spare);
        }
        is_near
    }

    /// Whether it would be one of the nearest of some side.
    fn is_near<R: Ranking<Profile = P>>(&self, owner: &Owner<'_, R>, share: usize, profile: &P) -> bool {
        R::SIDES.iter().any(|&side| {
            let last = self.side(side).nth(share - 1);
            last.is_none_or(|last| owner.ranking.compare(owner.profile, side, profile, &last.profile).is_lt())
        })
    }

    /// Of equals those that are here stay before newcomers.
    fn insert<R: Ranking<Profile = P>>(&mut self, owner: &Owner<'_, R>, entry: Entry<P>) {
        let place = self.len();
        for &side in R::SIDES {
            let order = &self.orders[side.index()];
            let at = order.partition_point(|at| {
                let there = &self.entries[usize::from(*at)].profile;
                owner.ranking.compare(owner.profile, side, there, &entry.profile).is_le()
            });
            self.orders[side.index()].insert(at, place as u8);
        }
        self.entries.push(entry);
    }

    /// One bit a place: it is one of the nearest of some side.
    fn near(&self, sides: &[Side], share: usize) -> u64 {
        let near = sides.iter().flat_map(|side| self.orders[side.index()].iter().take(share));
        near.fold(0, |near, place| near | 1 << place)
    }

    /// Of those that are not among the nearest the one whose absence leaves the smallest hole in the scale of
    /// its side; of equals the farthest.
    fn spare(&self, sides: &[Side], share: usize) -> usize {
        let near = self.near(sides, share);
        let mut best_ranks = [u8::MAX; VIEW_MAX + 1];
        for side in sides {
            let order = &self.orders[side.index()];
            for (rank, place) in (0..).zip(order) {
                let best = &mut best_ranks[usize::from(*place)];
                *best = rank.min(*best);
            }
        }
        let mut spare = None;
        for side in sides {
            let scale = |place: &u8| self.entries[usize::from(*place)].scales[side.index()];
            let order = &self.orders[side.index()];
            // A peer is on the side where it is nearer.
            let is_here = |place: &&u8| {
                let [after, before] = self.entries[usize::from(**place)].scales;
                near >> **place & 1 == 0 && (sides.len() < 2 || (*side == Side::After) == (after <= before))
            };
            let mut last = order.iter().take(share).next_back().map_or(0, scale);
            let mut far = order.iter().filter(is_here).peekable();
            while let Some(place) = far.next() {
                let next = far.peek().map_or(u16::MAX, |next| scale(next));
                let key = (next.saturating_sub(last), u8::MAX - best_ranks[usize::from(*place)]);
                last = scale(place);
                if spare.is_none_or(|(least, _)| key < least) {
                    spare = Some((key, usize::from(*place)));
                }
            }
        }
        // More are kept than are near, and each is on a side.
        spare.expect("somebody").1
    }

    /// Ranks everybody anew, after the owner's own profile has changed.
    pub(super) fn rank<R: Ranking<Profile = P>>(&mut self, owner: &Owner<'_, R>) {
        for entry in &mut self.entries {
            let scale = |side| owner.ranking.scale(owner.profile, side, &entry.profile);
            entry.scales = [Side::After, Side::Before].map(scale);
        }
        for &side in R::SIDES {
            let entries = &self.entries;
            let profile = |place: &u8| &entries[usize::from(*place)].profile;
            self.orders[side.index()]
                .sort_by(|a, b| owner.ranking.compare(owner.profile, side, profile(a), profile(b)));
        }
    }

    /// What `to` lacks of what its view would keep, nearest to it first and its sides in turn; at most `count`.
    ///
    /// Left out: `to` itself, what it knows (from the bits, and `sent`, what it just sent), who was not heard
    /// of for long, and whoever has enough others before it on each side, or is beyond its `bounds`.
    pub(super) fn lacking<R: Ranking<Profile = P>>(
        &self,
        to: &Owner<'_, R>,
        peer: Handle,
        sent: impl Iterator<Item = Handle>,
        bounds: Option<&[P]>,
        share: usize,
        count: usize,
    ) -> Vec<&Entry<P>> {
        let own_place = self.place_of(peer);
        let bits = sent.filter_map(|other| self.place_of(other)).fold(0u64, |known, at| known | 1 << at);
        let known = bits | own_place.map_or(0, |place| self.entries[place].knows | 1 << place);
        // Who did not say what it lacks is told of the nearest only.
        let offered = if bounds.is_some() { u64::MAX } else { self.near(R::SIDES, share) };
        let bounds = bounds.unwrap_or_default();
        let news = offered & !known;
        let is_lacking = |place: &usize| news >> place & 1 == 1 && self.entries[*place].age < TOLD_AGE_MAX;
        if !(0..self.len()).any(|place| is_lacking(&place)) {
            return Vec::new();
        }
        let mut by_side: [Vec<usize>; 2] = Default::default();
        for &side in R::SIDES {
            let order = &mut by_side[side.index()];
            let profile = |place: &usize| &self.entries[*place].profile;
            let others = (0..self.len()).filter(|place| Some(*place) != own_place);
            // Its own bounds say what it wants; without them it has at least what is known here.
            match bounds.get(side.index()) {
                Some(bound) => order.extend(
                    others
                        .filter(is_lacking)
                        .filter(|place| to.ranking.compare(to.profile, side, profile(place), bound).is_lt()),
                ),
                None => order.extend(others),
            }
            order.sort_unstable_by(|a, b| {
                to.ranking.compare(to.profile, side, profile(a), profile(b)).then(a.cmp(b))
            });
            order.truncate(share);
            order.retain(is_lacking);
        }
        let mut taken = 0u64;
        let mut lacking = Vec::new();
        let [first, second] = &by_side;
        for rank in 0..first.len().max(second.len()) {
            for place in [first.get(rank), second.get(rank)].into_iter().flatten() {
                if lacking.len() < count && taken >> place & 1 == 0 {
                    taken |= 1 << place;
                    lacking.push(&self.entries[*place]);
                }
            }
        }
        lacking
    }
}
