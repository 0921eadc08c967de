//! What a search still may look into, in which order, and how its visits stand.
//!
//! It follows the trie: each answer opens the subtrees beside the visited node, and each open subtree waits
//! until one of its alternates has told what is in it. Until somebody who knows the trie was met, it goes to
//! random contacts.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xtreem_base::{Handle, Rng};

use crate::key::{Codes, KEY_BITS, Key};
use crate::region::{Region, WHOLE};
use crate::search::aim::{Goals, holder_at};
use crate::search::lot::Lots;
use crate::trie::ALTERNATES;
use crate::visit::route::{Link, Place, Step};

/// Subtrees, and likewise contacts, that wait at once. Beyond it those of the lowest score are given up and
/// counted. A find-all of 4,000 visits has 1,500 open at most (measured at 100,000 nodes).
pub const FRONTIER_MAX: usize = 8_192;

/// Of a subtree that is one node, known by its whole key.
const LEAF_LEVEL: u8 = KEY_BITS as u8 - 1;

/// Names an open subtree within its search.
pub(crate) type SubtreeId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A contact, not yet visited; the draw under which it waits.
    Waiting(u64),
    /// The visit shall open this subtree; there is none when the peer is visited as a contact.
    Asked(Option<SubtreeId>),
    /// Did not answer in time; may still do so.
    Silent(Option<SubtreeId>),
    /// Answered, with the hold that it granted.
    Answered(Option<u64>),
    /// Not to be taken as a match; whether anybody named it.
    Excluded { reported: bool },
}

/// A visit that may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) peer: Handle,
    /// Bits of the prefix of the subtree to look into.
    pub(crate) len: u8,
    /// The peer was seen already, or is none to be found: only the way is asked for.
    pub(crate) only: bool,
    /// Matches that it is expected to bring, of [`WHOLE`].
    pub(crate) chance: u32,
}

#[derive(Clone, Debug)]
struct Open {
    link: Link,
    /// One bit for each alternate that was asked, then one for each holder of large values.
    tried: u16,
    stage: Stage,
    /// When its turn comes, where nodes are drawn by lot.
    turn: u64,
    /// Its node was asked for the way into a subtree that is drawn from, and may be drawn like the others.
    roams: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting(u64),
    Asked,
    /// All alternates were silent.
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    region: Region,
    dimensions: usize,
    /// What comes before the number of matches, when a set is looked for.
    goals: Goals,
    /// Where every node that matches is to be found with equal odds.
    lots: Option<Lots>,
    open: BTreeMap<SubtreeId, Open>,
    /// Waiting subtrees by score.
    order: BTreeSet<(u64, SubtreeId)>,
    next: SubtreeId,
    peers: BTreeMap<Handle, Standing>,
    contacts: BTreeSet<(u64, Handle)>,
    /// Nodes asked for the way only.
    routing: BTreeMap<Handle, SubtreeId>,
    asked: usize,
    /// Contacts are visited.
    pub(crate) is_wide: bool,
    /// The links of somebody who knows the whole trie were taken.
    is_rooted: bool,
    /// Nodes of subtrees that had no room.
    dropped: u64,
    /// Contacts had no room, so that an empty frontier does not mean all were visited.
    has_overflowed: bool,
}

impl Frontier {
    pub(crate) fn new(region: Region, dimensions: usize, goals: Goals) -> Self {
        Frontier {
            region,
            dimensions,
            goals,
            lots: None,
            open: BTreeMap::new(),
            order: BTreeSet::new(),
            next: 0,
            peers: BTreeMap::new(),
            contacts: BTreeSet::new(),
            routing: BTreeMap::new(),
            asked: 0,
            is_wide: true,
            is_rooted: false,
            dropped: 0,
            has_overflowed: false,
        }
    }

    /// From now on every node that matches is found with equal odds, as far as the trie counts them, the
    /// requester `own` among them. Up to `roams` visits ask for nothing but the way, so that nodes that stand
    /// behind others are drawn like those.
    pub(crate) fn draw_lots(&mut self, own: Option<Step>, roams: u32) {
        self.lots = Some(Lots { own, roams });
    }

    pub(crate) fn exclude(&mut self, peer: Handle) {
        self.peers.insert(peer, Standing::Excluded { reported: false });
    }

    /// Hears of a contact; returns whether it was known before.
    pub(crate) fn hear_of(&mut self, peer: Handle, draw: u64) -> bool {
        match self.peers.get_mut(&peer) {
            Some(Standing::Excluded { reported }) => {
                *reported = true;
                return true;
            }
            Some(_) => return true,
            None => {}
        }
        self.peers.insert(peer, Standing::Waiting(draw));
        self.contacts.insert((draw, peer));
        if self.contacts.len() > FRONTIER_MAX {
            self.has_overflowed = true;
            if let Some((_, worst)) = self.contacts.pop_first() {
                self.peers.remove(&worst);
            }
        }
        false
    }

    /// Takes the links of a node that was asked about the whole grid; only the first such answer counts.
    pub(crate) fn root(&mut self, place: Place, rng: &mut Rng) {
        if !self.is_rooted && place.is_settled {
            self.is_rooted = true;
            self.is_wide = false;
            let mut links = place.links;
            links.extend(self.lots.as_ref().and_then(|lots| lots.own).and_then(|own| self.leaf(own)));
            self.open_all(links, None, rng);
        }
    }

    /// One node that can be drawn; nothing when it was, or cannot match.
    fn leaf(&self, step: Step) -> Option<Link> {
        let is_new = matches!(self.peers.get(&step.handle), None | Some(Standing::Waiting(_)));
        (is_new && self.is_in_region(&step)).then(|| Link {
            level: LEAF_LEVEL,
            count: 1,
            place: WHOLE,
            state: WHOLE,
            alternates: alloc::vec![step],
            peaks: Vec::new(),
        })
    }

    /// Subtrees wait from now on. `drawn`: they came out of one that was drawn, at that turn; the first of
    /// them has this turn, if the node that told of them was not drawn itself.
    fn open_all(&mut self, links: Vec<Link>, drawn: Option<(u64, bool)>, rng: &mut Rng) {
        let waits: Vec<u64> = match &self.lots {
            Some(_) => links.iter().map(|link| Lots::wait(link, rng)).collect(),
            None => Vec::new(),
        };
        let (since, is_whole) = drawn.unwrap_or_default();
        let first = if is_whole { waits.iter().min().copied().unwrap_or(0) } else { 0 };
        for (i, link) in links.into_iter().enumerate() {
            let turn = waits.get(i).map_or(0, |wait| since.saturating_add(wait - first));
            let score = if self.lots.is_some() { u64::MAX - turn } else { self.score(&link, 0, rng) };
            let stage = Stage::Waiting(score);
            self.open.insert(self.next, Open { link, tried: 0, stage, turn, roams: false });
            self.order.insert((score, self.next));
            self.next += 1;
            if self.order.len() > FRONTIER_MAX
                && let Some((_, worst)) = self.order.pop_first()
                && let Some(open) = self.open.remove(&worst)
            {
                self.dropped += u64::from(open.link.count);
            }
        }
    }

    fn is_in_region(&self, step: &Step) -> bool {
        let codes: Codes = step.key.codes(self.dimensions);
        self.region.contains(&codes)
    }

    /// Whoever promises most comes first: the chance that the next visit matches, then how many matches lie
    /// behind it. The random factor keeps requesters apart: without it all of them go to the same few nodes
    /// (docs/design/selection.md, "Search").
    fn score(&self, link: &Link, tried: u16, rng: &mut Rng) -> u64 {
        if !self.goals.is_empty() {
            return self.goals.score(link, |i, peer| self.is_holder_open(tried, i, peer), rng.next_u64());
        }
        let has_match = link.alternates.iter().any(|step| self.is_in_region(step));
        let place = if has_match { WHOLE } else { link.place };
        let chance = u64::from(place) * u64::from(link.state) / u64::from(WHOLE);
        let behind = u64::from(link.count) * u64::from(link.place) / u64::from(WHOLE);
        let octaves = u64::from((behind + 2).ilog2());
        (chance + 1) * octaves * rng.between(128, 384)
    }

    /// Whether a holder of a large value can be turned to: it was neither seen nor asked yet.
    fn is_holder_open(&self, tried: u16, number: usize, peer: Handle) -> bool {
        let is_new = matches!(self.peers.get(&peer), None | Some(Standing::Waiting(_)));
        is_new && tried >> (ALTERNATES + number) & 1 == 0 && !self.routing.contains_key(&peer)
    }

    /// The next to visit, which counts as asked from now on.
    pub(crate) fn ask_next(&mut self, rng: &mut Rng) -> Option<Visit> {
        while let Some((score, subtree)) = self.order.pop_last() {
            if self.is_own(subtree) && self.asked > 0 {
                // Its answer would be there before those of nodes that were drawn before it.
                self.order.insert((score, subtree));
                return None;
            }
            if let Some(visit) = self.enter(subtree, rng) {
                return Some(visit);
            }
        }
        if !self.is_wide {
            return None;
        }
        let (draw, peer) = self.contacts.pop_last()?;
        if self.asked > 0
            && self.lots.as_ref().and_then(|lots| lots.own).is_some_and(|own| own.handle == peer)
        {
            // As above: among contacts it is drawn like the others.
            self.contacts.insert((draw, peer));
            return None;
        }
        self.stand(peer, Standing::Asked(None));
        Some(Visit { peer, len: 0, only: false, chance: 0 })
    }

    /// Whether the requester is drawn like others once the trie is followed.
    pub(crate) fn draws_own(&self) -> bool {
        self.lots.as_ref().and_then(|lots| lots.own).is_some_and(|own| self.is_in_region(&own))
    }

    fn is_own(&self, subtree: SubtreeId) -> bool {
        let own = self.lots.as_ref().and_then(|lots| lots.own).map(|own| own.handle);
        let open = self.open.get(&subtree);
        own.is_some() && open.and_then(|open| open.link.alternates.first()).map(|step| step.handle) == own
    }

    /// Whether to go further into a subtree before one of its nodes is taken.
    fn roams(&mut self, subtree: SubtreeId) -> bool {
        let (Some(lots), Some(open)) = (&mut self.lots, self.open.get_mut(&subtree)) else { return false };
        let hides_some = open.link.count as usize > open.link.alternates.len();
        open.roams = hides_some && lots.roams > 0;
        lots.roams -= u32::from(open.roams);
        open.roams
    }

    /// Picks a node of a subtree: who is said to have a large value that is aimed at; else an alternate, one
    /// that matches before others, one not seen yet before others.
    fn enter(&mut self, subtree: SubtreeId, rng: &mut Rng) -> Option<Visit> {
        let open = self.open.get(&subtree)?;
        let is_open = |i: usize, peer: Handle| self.is_holder_open(open.tried, i, peer);
        if let Some(i) = self.goals.holder(&open.link, is_open)
            && let Some(holder) = holder_at(&open.link, i).copied()
        {
            let open = self.open.get_mut(&subtree)?;
            open.tried |= 1 << (ALTERNATES + i);
            open.stage = Stage::Asked;
            let (len, state) = (open.link.level + 1, u64::from(open.link.state));
            let chance = (u64::from(holder.place) * state / u64::from(WHOLE)) as u32;
            self.stand(holder.handle, Standing::Asked(Some(subtree)));
            return Some(Visit { peer: holder.handle, len, only: false, chance });
        }
        let mut best: Option<((bool, bool, u32), usize)> = None;
        for (i, step) in open.link.alternates.iter().enumerate() {
            let is_new = match self.peers.get(&step.handle) {
                None | Some(Standing::Waiting(_)) => true,
                Some(Standing::Answered(_) | Standing::Excluded { .. }) => false,
                Some(Standing::Asked(_) | Standing::Silent(_)) => continue,
            };
            if open.tried >> i & 1 == 1 || self.routing.contains_key(&step.handle) {
                continue;
            }
            let rank = (is_new, self.is_in_region(step), rng.next_u32());
            if best.is_none_or(|(known, _)| known < rank) {
                best = Some((rank, i));
            }
        }
        let Some(((is_new, in_region, _), i)) = best else {
            self.open.get_mut(&subtree)?.stage = Stage::Lost;
            return None;
        };
        let open = self.open.get_mut(&subtree)?;
        open.tried |= 1 << i;
        open.stage = Stage::Asked;
        let (peer, len) = (open.link.alternates[i].handle, open.link.level + 1);
        let place = if in_region { WHOLE } else { open.link.place };
        let chance = (u64::from(place) * u64::from(open.link.state) / u64::from(WHOLE)) as u32;
        if !is_new || self.roams(subtree) {
            self.routing.insert(peer, subtree);
            self.asked += 1;
            return Some(Visit { peer, len, only: true, chance: if is_new { chance } else { 0 } });
        }
        self.stand(peer, Standing::Asked(Some(subtree)));
        Some(Visit { peer, len, only: false, chance })
    }

    pub(crate) fn standing(&self, peer: Handle) -> Option<Standing> {
        self.peers.get(&peer).copied()
    }

    pub(crate) fn stand(&mut self, peer: Handle, standing: Standing) {
        let old = self.peers.insert(peer, standing);
        if let Some(Standing::Waiting(draw)) = old {
            self.contacts.remove(&(draw, peer));
        }
        self.asked += usize::from(matches!(standing, Standing::Asked(_)));
        self.asked -= usize::from(matches!(old, Some(Standing::Asked(_))));
    }

    /// Whether `peer` was asked for the way only; it is not any more.
    pub(crate) fn end_routing(&mut self, peer: Handle) -> Option<SubtreeId> {
        let subtree = self.routing.remove(&peer)?;
        self.asked -= 1;
        Some(subtree)
    }

    /// Takes what a node says of the subtree that it was to open.
    pub(crate) fn arrive(&mut self, subtree: SubtreeId, peer: Handle, place: Option<Place>, rng: &mut Rng) {
        // Another alternate may have been first.
        let Some(open) = self.open.get(&subtree) else { return };
        let alternates = &open.link.alternates;
        let len = usize::from(open.link.level) + 1;
        // All of them share the prefix, and so does a holder of a large value who is no alternate.
        let was = alternates.iter().find(|step| step.handle == peer).or(alternates.first());
        let is_there = |key: &Key| was.is_some_and(|step| step.key.common_prefix(key) >= len);
        let others = (0..alternates.len()).any(|i| open.tried >> i & 1 == 0);
        match place {
            // A newcomer's word is taken when there is no better one.
            Some(mut place) if is_there(&place.key) && (place.is_settled || !others) => {
                place.links.retain(|link| usize::from(link.level) >= len);
                let (turn, roams) = (open.turn, open.roams);
                if let Some(Open { stage: Stage::Waiting(score), .. }) = self.open.remove(&subtree) {
                    self.order.remove(&(score, subtree));
                }
                if roams {
                    place.links.extend(self.leaf(Step { handle: peer, key: place.key }));
                }
                self.open_all(place.links, Some((turn, roams)), rng);
            }
            _ => self.go_round(subtree, rng),
        }
    }

    /// An alternate was silent or no help: the next one is to be asked.
    pub(crate) fn go_round(&mut self, subtree: SubtreeId, rng: &mut Rng) {
        let Some(open) = self.open.get(&subtree).filter(|open| open.stage == Stage::Asked) else { return };
        let score = match self.lots {
            Some(_) => u64::MAX - open.turn,
            None => self.score(&open.link, open.tried, rng),
        };
        if let Some(open) = self.open.get_mut(&subtree) {
            open.stage = Stage::Waiting(score);
            self.order.insert((score, subtree));
        }
    }

    /// Somebody who knows the whole trie was met.
    pub(crate) fn is_rooted(&self) -> bool {
        self.is_rooted
    }

    /// Visits that are out.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Handle> {
        let asked =
            |(peer, standing): (&Handle, &Standing)| matches!(standing, Standing::Asked(_)).then_some(*peer);
        self.peers.iter().filter_map(asked).chain(self.routing.keys().copied())
    }

    pub(crate) fn asked_len(&self) -> usize {
        self.asked
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.order.is_empty() || self.is_wide && !self.contacts.is_empty()
    }

    /// Contacts are visited too from now on, where there are any.
    pub(crate) fn widen(&mut self) {
        self.is_wide |= !self.contacts.is_empty();
    }

    pub(crate) fn has_overflowed(&self) -> bool {
        self.has_overflowed || self.dropped > 0
    }

    /// Nodes, about, of subtrees that can have matches and all of whose alternates were silent; where no trie
    /// was followed, contacts that were silent.
    pub(crate) fn lost(&self) -> u64 {
        self.nodes(|stage| stage == Stage::Lost)
            + self.contacts_that(|standing| matches!(standing, Standing::Silent(_)))
    }

    /// Nodes, about, of subtrees that can have matches and were not looked into; where no trie was followed,
    /// contacts that have not answered yet.
    pub(crate) fn unopened(&self) -> u64 {
        let is_open = |standing| matches!(standing, Standing::Waiting(_) | Standing::Asked(_));
        self.nodes(|stage| stage != Stage::Lost) + self.dropped + self.contacts_that(is_open)
    }

    /// Contacts of that standing, where they are all that is known. Beside a trie they are nodes that were
    /// found in it, or that cannot match.
    fn contacts_that(&self, is_meant: impl Fn(Standing) -> bool) -> u64 {
        let all = self.peers.values().filter(|_| !self.is_rooted);
        all.filter(|standing| is_meant(**standing)).count() as u64
    }

    fn nodes(&self, is_meant: impl Fn(Stage) -> bool) -> u64 {
        self.open.values().filter(|open| is_meant(open.stage)).map(|open| u64::from(open.link.count)).sum()
    }

    /// Nodes not to be visited that somebody named, so that they are likely there.
    pub(crate) fn excluded_reported(&self) -> u32 {
        let reported = |standing: &&Standing| **standing == Standing::Excluded { reported: true };
        self.peers.values().filter(reported).count() as u32
    }

    pub(crate) fn known_len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        let alternates = self.open.values().flat_map(|open| open.link.alternates.iter());
        let peaks = self.open.values().flat_map(|open| open.link.peaks.iter());
        let holders = peaks.flat_map(|peak| peak.holders.iter()).map(|holder| holder.handle);
        self.peers.keys().copied().chain(alternates.map(|step| step.handle)).chain(holders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(i: usize) -> Handle {
        Handle::from_u32(i as u32)
    }

    #[test]
    fn the_highest_draw_goes_first_and_the_lowest_is_forgotten() {
        let mut frontier = Frontier::new(Region::everything(), 0, Goals::default());
        let mut rng = Rng::new(1);
        for i in 0..=FRONTIER_MAX {
            assert!(!frontier.hear_of(peer(i), i as u64));
        }
        assert!(frontier.has_overflowed());
        assert_eq!((frontier.standing(peer(0)), frontier.known_len()), (None, FRONTIER_MAX));
        assert_eq!(frontier.ask_next(&mut rng).map(|visit| visit.peer), Some(peer(FRONTIER_MAX)));
        assert!(frontier.hear_of(peer(FRONTIER_MAX), 1), "a visited node is not visited again");
        assert_eq!(frontier.asked().collect::<Vec<_>>(), [peer(FRONTIER_MAX)]);
        frontier.stand(peer(FRONTIER_MAX), Standing::Silent(None));
        assert_eq!(frontier.asked_len(), 0);
    }

    #[test]
    fn before_the_trie_is_known_the_requester_is_a_contact_like_the_others() {
        let own = Step { handle: peer(0), key: key(0) };
        let mut first = [0; 4];
        let mut rng = Rng::new(202_611_271_000);
        for _ in 0..4_000 {
            let mut frontier = Frontier::new(Region::everything(), 0, Goals::default());
            frontier.draw_lots(Some(own), 0);
            (0..4).for_each(|i| assert!(!frontier.hear_of(peer(i), rng.next_u64())));
            // Its own answer is there at once, so who is asked with it never comes first.
            let visits: Vec<Handle> =
                core::iter::from_fn(|| frontier.ask_next(&mut rng)).map(|visit| visit.peer).collect();
            let quickest = if visits.contains(&own.handle) { own.handle } else { visits[0] };
            first[quickest.as_u32() as usize] += 1;
            if quickest != own.handle {
                visits.iter().for_each(|peer| frontier.stand(*peer, Standing::Silent(None)));
                assert_eq!(
                    frontier.ask_next(&mut rng).map(|visit| visit.peer),
                    Some(own.handle),
                    "in its turn"
                );
            }
        }
        assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
    }

    /// The key of a node without attributes.
    fn key(hash: u32) -> Key {
        Key::new(&[0; 8], 0, hash)
    }

    fn link(level: u8, hashes: &[u32]) -> Link {
        let step = |hash: &u32| Step { handle: peer(*hash as usize >> 16), key: key(*hash) };
        Link {
            level,
            count: 5,
            place: WHOLE,
            state: WHOLE,
            alternates: hashes.iter().map(step).collect(),
            peaks: Vec::new(),
        }
    }

    fn place(hash: u32, is_settled: bool, links: Vec<Link>) -> Place {
        Place { key: key(hash), is_settled, links }
    }

    const A: u32 = 0x8001_0000;
    const B: u32 = 0x8002_0000;

    fn handle(hash: u32) -> Handle {
        peer(hash as usize >> 16)
    }

    #[test]
    fn a_subtree_stays_open_until_one_alternate_has_told_what_is_in_it() {
        let mut rng = Rng::new(1);
        let mut frontier = Frontier::new(Region::everything(), 0, Goals::default());
        frontier.root(place(0, true, [link(0, &[A, B])].into()), &mut rng);
        let first = frontier.ask_next(&mut rng).unwrap();
        assert_eq!((first.len, first.only, first.chance), (1, false, WHOLE));
        assert_eq!(frontier.ask_next(&mut rng), None);
        frontier.stand(first.peer, Standing::Silent(Some(0)));
        frontier.go_round(0, &mut rng);
        let second = frontier.ask_next(&mut rng).unwrap();
        assert_ne!(first.peer, second.peer);
        frontier.stand(second.peer, Standing::Silent(Some(0)));
        frontier.go_round(0, &mut rng);
        assert_eq!((frontier.ask_next(&mut rng), frontier.lost(), frontier.unopened()), (None, 5, 0));
        // Late, but nobody else has told.
        let hash = if first.peer == handle(A) { A } else { B };
        frontier.arrive(
            0,
            first.peer,
            Some(place(hash, true, [link(15, &[hash ^ 1 << 16])].into())),
            &mut rng,
        );
        assert_eq!((frontier.lost(), frontier.unopened()), (0, 5));
        assert_eq!(frontier.ask_next(&mut rng).unwrap().len, 16);
    }

    #[test]
    fn a_node_that_stands_elsewhere_or_is_young_is_no_help_while_there_are_others() {
        for (moved, is_settled) in [(0, true), (A, false)] {
            let mut rng = Rng::new(1);
            let mut frontier = Frontier::new(Region::everything(), 0, Goals::default());
            frontier.root(place(0, true, [link(0, &[A, B])].into()), &mut rng);
            let first = frontier.ask_next(&mut rng).unwrap();
            frontier.stand(first.peer, Standing::Answered(None));
            frontier.arrive(0, first.peer, Some(place(moved, is_settled, Vec::new())), &mut rng);
            let second = frontier.ask_next(&mut rng).unwrap();
            frontier.stand(second.peer, Standing::Answered(None));
            frontier.arrive(0, second.peer, Some(place(moved, is_settled, Vec::new())), &mut rng);
            // The newcomer's word is better than none; whoever stands elsewhere knows nothing of it.
            assert_eq!(frontier.ask_next(&mut rng), None);
            assert_eq!(frontier.lost(), if is_settled { 5 } else { 0 });
        }
    }

    #[test]
    fn excluded_and_seen_nodes_are_asked_for_the_way_only() {
        let mut rng = Rng::new(1);
        let mut frontier = Frontier::new(Region::everything(), 0, Goals::default());
        frontier.exclude(handle(A));
        frontier.root(place(0, true, [link(0, &[A])].into()), &mut rng);
        let visit = frontier.ask_next(&mut rng).unwrap();
        assert_eq!((visit.peer, visit.only, frontier.asked_len()), (handle(A), true, 1));
        assert_eq!(frontier.end_routing(handle(A)), Some(0));
        frontier.arrive(0, handle(A), Some(place(A, true, Vec::new())), &mut rng);
        assert_eq!((frontier.asked_len(), frontier.has_waiting(), frontier.lost()), (0, false, 0));
        assert_eq!(frontier.standing(handle(A)), Some(Standing::Excluded { reported: false }));
    }
}
