//! One search under way: whom it knows, whom it asks next, what it has counted.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{Handle, Rng};

use super::set_search::{self, SetSearch, Surplus};
use crate::region::{Region, WHOLE};
use crate::search::aim::{Aims, Goals};
use crate::search::frontier::{Frontier, Standing, Visit};
use crate::search::gather::Histogram;
use crate::search::report::{Ended, Plan, RULES_TOLD_MAX, Recapture, Refused, Report, grid_size};
use crate::search::spec::{SearchId, SearchSpec};
use crate::visit::hold::HoldAnswer;
use crate::visit::host::{SearchEvent, SearchSink};
use crate::visit::message::{Answer, Query};
use crate::visit::route::{Place, Route};

/// A search that does not find enough along the trie goes on to everybody else in a grid of at most so many
/// nodes, so that "no" is exact: our guess of what a user takes for a small grid.
pub(crate) const SMALL_GRID: u32 = 256;

/// A visit that is out.
struct Out {
    route: Route,
    /// Matches that it is expected to bring, of [`WHOLE`].
    chance: u32,
    depth: u16,
}

pub(crate) struct Search {
    pub(crate) id: SearchId,
    pub(crate) spec: SearchSpec,
    pub(crate) frontier: Frontier,
    /// Version of the schema whose trie it follows.
    schema: u32,
    /// Nodes of the grid as the requester's own trie counts them.
    grid_size: Option<u32>,
    /// Visits that are out.
    out: BTreeMap<Handle, Out>,
    /// Visits, each waiting for the one before, that led to what is handled now.
    depth: u16,
    round_trips: u16,
    /// Matches that all answered visits were expected to bring, of [`WHOLE`].
    expected: u64,
    /// Holds given out as matches.
    pub(crate) kept: Vec<(Handle, u64)>,
    found: u32,
    /// A node may be visited twice: for the way, and for its own sake.
    visits: u32,
    /// The nodes that were visited, each once.
    asked: BTreeMap<Handle, Word>,
    matched: u32,
    refused: Refused,
    forbidden: Vec<(String, u32)>,
    recapture: Recapture,
    /// The nodes that failed each clause.
    failed: Vec<u32>,
    histogram: Option<Histogram>,
    pub(crate) set: Option<SetSearch>,
    aims: Aims,
}

/// What came back from a node, over all visits to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing yet.
    None,
    Silent,
    Answered,
}

/// A visit that is to go out.
pub(crate) struct Asking {
    pub(crate) peer: Handle,
    pub(crate) route: Route,
    pub(crate) query: Query,
}

impl Search {
    /// A search that follows the trie of that schema version, in which matches can be in `region`.
    pub(crate) fn new(
        id: SearchId,
        mut spec: SearchSpec,
        schema: u32,
        dimensions: usize,
        region: Region,
        goals: Goals,
    ) -> Self {
        let clauses = match &spec.query {
            Query::Nodes { requirement, .. } => requirement.clauses().len().min(crate::limits::CLAUSES_MAX),
            Query::Applications(_) => 0,
        };
        let histogram = spec.histogram.as_ref().map(|_| Histogram::default());
        let set = spec.set.clone().map(|query| {
            // Members are asked for holds when the set is chosen, and not before.
            let ask = if let Query::Nodes { hold, .. } = &mut spec.query { hold.take() } else { None };
            spec.attributes = true;
            SetSearch::new(query, ask)
        });
        let aims = goals.aims;
        let mut frontier = Frontier::new(region, dimensions, goals);
        for peer in &spec.exclude {
            frontier.exclude(*peer);
        }
        Search {
            id,
            spec,
            frontier,
            schema,
            grid_size: None,
            out: BTreeMap::new(),
            depth: 0,
            round_trips: 0,
            expected: 0,
            kept: Vec::new(),
            found: 0,
            visits: 0,
            asked: BTreeMap::new(),
            matched: 0,
            refused: Refused::default(),
            forbidden: Vec::new(),
            recapture: Recapture::default(),
            failed: alloc::vec![0; clauses],
            histogram,
            set,
            aims,
        }
    }

    /// A visit goes out.
    fn count_visit(&mut self, peer: Handle) {
        self.visits += 1;
        self.asked.entry(peer).or_insert(Word::None);
    }

    fn nodes(&self, of: impl Fn(Word) -> bool) -> u32 {
        self.asked.values().filter(|word| of(**word)).count() as u32
    }

    /// Every node that this search has to do with.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.frontier.handles().chain(self.asked.keys().copied())
    }

    /// The requester visits itself, whatever waits.
    pub(crate) fn ask_self(&mut self, me: Handle) {
        self.frontier.stand(me, Standing::Asked(None));
        self.count_visit(me);
    }

    /// The requester waits for its turn like others; false when it is to be visited at once.
    pub(crate) fn is_drawn(&mut self, me: Handle, rng: &mut Rng) -> bool {
        if self.spec.by_lot.is_none() || self.set.is_some() {
            return false;
        }
        if self.frontier.is_rooted() {
            return self.frontier.draws_own();
        }
        self.frontier.hear_of(me, rng.next_u64());
        true
    }

    /// The requester's own links, when it knows the trie.
    pub(crate) fn root(&mut self, place: Place, grid_size: u32, rng: &mut Rng) {
        if place.is_settled {
            self.grid_size = Some(grid_size);
        }
        self.frontier.root(place, rng);
    }

    /// The next visit, when one more may go out.
    pub(crate) fn ask_next(&mut self, rng: &mut Rng) -> Option<Asking> {
        if let Some(asking) = self.ask_member() {
            return Some(asking);
        }
        let asked = self.frontier.asked_len();
        if asked >= self.in_flight() || self.visits >= self.spec.visits_max || self.is_enough_out() {
            return None;
        }
        let mut visit = self.frontier.ask_next(rng);
        if visit.is_none() && asked == 0 && self.grid_size.is_some_and(|size| size <= SMALL_GRID) {
            self.frontier.widen();
            visit = self.frontier.ask_next(rng);
        }
        let Visit { peer, len, only, chance } = visit?;
        let (contacts, aims) = (self.frontier.is_wide, self.aims);
        let route = Route { schema: self.schema, len, contacts, only, aims };
        self.out.insert(peer, Out { route, chance, depth: self.depth.saturating_add(1) });
        self.count_visit(peer);
        Some(Asking { peer, route, query: self.spec.query.clone() })
    }

    /// A member of the chosen set that is to be asked for its hold: all of them at once, whatever else is
    /// out.
    fn ask_member(&mut self) -> Option<Asking> {
        let set = self.set.as_mut()?;
        let peer = set.ask_next()?;
        let query = self.held_query()?;
        let route =
            Route { schema: self.schema, len: u8::MAX, contacts: false, only: false, aims: Aims::NONE };
        self.out.insert(peer, Out { route, chance: 0, depth: self.depth.saturating_add(1) });
        self.count_visit(peer);
        Some(Asking { peer, route, query })
    }

    /// What members of a set are asked when it is chosen.
    fn held_query(&self) -> Option<Query> {
        let hold = self.set.as_ref()?.ask.clone()?;
        let Query::Nodes { requirement, .. } = &self.spec.query else { return None };
        Some(Query::Nodes { requirement: requirement.clone(), hold: Some(hold) })
    }

    fn in_flight(&self) -> usize {
        let most = self.spec.in_flight;
        let now = if self.set.is_some() { set_search::in_flight(self.visits, most) } else { most };
        now as usize
    }

    /// The answer is that of a member which was asked for a hold; nothing when it is not.
    pub(crate) fn suits_member(&self, peer: Handle, answer: &Answer) -> Option<bool> {
        if !self.set.as_ref()?.is_asked(peer) {
            return None;
        }
        let route = self.route(peer);
        Some(answer.suits(&self.held_query()?, self.spec.asked(), route.as_ref()))
    }

    /// A member has answered whether it is held.
    pub(crate) fn take_member(&mut self, peer: Handle, answer: Answer) -> Vec<Surplus> {
        if let Some(out) = self.out.remove(&peer) {
            self.depth = out.depth;
            self.round_trips = self.round_trips.max(out.depth);
        }
        let Some(set) = &mut self.set else { return Vec::new() };
        self.asked.insert(peer, Word::Answered);
        match (answer.hold, answer.attributes) {
            (Some(HoldAnswer::Granted { id }), Some(attributes)) => set.on_granted(peer, id, attributes),
            (hold, _) => {
                let surplus = set.on_refused(peer, None);
                match hold {
                    Some(HoldAnswer::Refused(refusal)) => self.refused.count(refusal),
                    Some(HoldAnswer::Forbidden { rule }) => self.count_forbidden(rule),
                    _ => {}
                }
                surplus
            }
        }
    }

    /// The members of the set that was found become the matches; without one, says what is to be given back.
    pub(crate) fn tell_set(&mut self, out: &mut impl SearchSink) {
        let search = self.id;
        let Some(set) = &mut self.set else { return };
        for (peer, hold) in set.release_all() {
            out.event(SearchEvent::Surplus { peer, hold });
        }
        for (peer, hold, attributes) in set.take() {
            self.kept.extend(hold.map(|hold| (peer, hold)));
            let (attributes, facts) = (Some(attributes), None);
            out.event(SearchEvent::Match { search, peer, hold, attributes, facts });
        }
    }

    /// Whether the visits that are out will bring what is missing, as far as can be told: by what links
    /// promise, and how well such promises were kept in this search.
    fn is_enough_out(&self) -> bool {
        if let Some(set) = &self.set {
            return set.is_choosing() || set.is_done();
        }
        let promised: u64 = self.out.values().map(|out| u64::from(out.chance)).sum();
        let whole = u64::from(WHOLE);
        let kept = ((u64::from(self.found) + 1) * whole * whole / (self.expected + whole)).min(whole);
        let missing = u64::from(self.spec.wanted - self.found.min(self.spec.wanted));
        promised > 0 && u128::from(promised) * u128::from(kept) >= u128::from(missing * whole * whole)
    }

    /// Why the search is over, when it is.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let is_enough = match &self.set {
            Some(set) => set.is_done(),
            None => self.found >= self.spec.wanted,
        };
        if is_enough {
            Some(Ended::Enough)
        } else if self.frontier.asked_len() > 0 || self.set.as_ref().is_some_and(SetSearch::is_choosing) {
            None
        } else if !self.frontier.has_waiting() {
            Some(Ended::Exhausted)
        } else {
            (self.visits >= self.spec.visits_max).then_some(Ended::VisitLimit)
        }
    }

    pub(crate) fn hear_of(&mut self, contacts: &[Handle], rng: &mut Rng) {
        let known = self.frontier.known_len() as u64;
        for contact in contacts {
            self.recapture.known_sum += known;
            self.recapture.recaught += u64::from(self.frontier.hear_of(*contact, rng.next_u64()));
        }
    }

    /// The visit to `peer` has timed out. Says what is to be given back.
    pub(crate) fn give_up(&mut self, peer: Handle, rng: &mut Rng) -> Vec<Surplus> {
        if let Some(out) = self.out.remove(&peer) {
            self.depth = out.depth;
        }
        if let Some(word @ Word::None) = self.asked.get_mut(&peer) {
            *word = Word::Silent;
        }
        if let Some(set) = self.set.as_mut().filter(|set| set.is_asked(peer)) {
            return set.on_silence(peer);
        }
        let subtree = match self.frontier.end_routing(peer) {
            Some(subtree) => Some(subtree),
            None => match self.frontier.standing(peer) {
                Some(Standing::Asked(subtree)) => {
                    self.frontier.stand(peer, Standing::Silent(subtree));
                    subtree
                }
                _ => None,
            },
        };
        if let Some(subtree) = subtree {
            self.frontier.go_round(subtree, rng);
        }
        Vec::new()
    }

    /// What `peer` was asked of the way; nothing when it was not asked, or was given up.
    pub(crate) fn route(&self, peer: Handle) -> Option<Route> {
        self.out.get(&peer).map(|out| out.route)
    }

    /// Takes an answer that suits the query, from a peer asked or silent.
    pub(crate) fn take_answer(
        &mut self,
        peer: Handle,
        mut answer: Answer,
        rng: &mut Rng,
        out: &mut impl SearchSink,
    ) {
        if let Some(out) = self.out.remove(&peer) {
            // Who was asked for the way alone has promised no match of its own.
            self.expected += if answer.only { 0 } else { u64::from(out.chance) };
            self.depth = out.depth;
            self.round_trips = self.round_trips.max(out.depth);
        }
        self.asked.insert(peer, Word::Answered);
        self.hear_of(&answer.contacts, rng);
        let place = answer.place.take();
        if answer.only {
            if let Some(subtree) = self.frontier.end_routing(peer) {
                self.frontier.arrive(subtree, peer, place, rng);
            }
            return;
        }
        let hold = answer.hold.as_ref().and_then(HoldAnswer::granted);
        let standing = self.frontier.standing(peer);
        self.frontier.stand(peer, Standing::Answered(hold));
        match (standing, place) {
            (Some(Standing::Asked(Some(subtree)) | Standing::Silent(Some(subtree))), place) => {
                self.frontier.arrive(subtree, peer, place, rng);
            }
            (_, Some(place)) => self.frontier.root(place, rng),
            _ => {}
        }
        self.judge(peer, answer, hold, out);
    }

    fn judge(&mut self, peer: Handle, answer: Answer, hold: Option<u64>, out: &mut impl SearchSink) {
        for (i, failed) in self.failed.iter_mut().enumerate() {
            *failed += u32::from(answer.failing >> i & 1 == 1);
        }
        if !answer.matched {
            return;
        }
        self.matched += 1;
        if let Some(set) = &mut self.set {
            for (peer, hold) in set.on_match(peer, answer.attributes.unwrap_or_default()) {
                out.event(SearchEvent::Surplus { peer, hold });
            }
            return;
        }
        let search = self.id;
        match answer.hold {
            Some(HoldAnswer::Refused(refusal)) => return self.refused.count(refusal),
            Some(HoldAnswer::Forbidden { rule }) => return self.count_forbidden(rule),
            Some(HoldAnswer::Granted { .. }) | None => {}
        }
        self.found += 1;
        if let (Some(histogram), Some(name)) = (&mut self.histogram, &self.spec.histogram) {
            histogram.count(answer.attributes.as_ref().and_then(|attributes| attributes.value(name)));
        }
        if !self.spec.list {
            return;
        }
        self.kept.extend(hold.map(|hold| (peer, hold)));
        out.event(match self.spec.query {
            Query::Nodes { .. } => {
                let (attributes, facts) = (answer.attributes, answer.facts);
                SearchEvent::Match { search, peer, hold, attributes, facts }
            }
            Query::Applications(_) => {
                let (list, left_out) = (answer.applications, answer.left_out);
                SearchEvent::Applications { search, peer, list, left_out }
            }
        });
    }

    fn count_forbidden(&mut self, rule: String) {
        let is_full = self.forbidden.len() >= RULES_TOLD_MAX;
        let known = self.forbidden.iter().position(|(name, _)| *name == rule);
        match known.or(is_full.then_some(RULES_TOLD_MAX - 1)) {
            Some(at) => self.forbidden[at].1 += 1,
            None => self.forbidden.push((rule, 1)),
        }
    }

    fn plan(&self) -> Plan {
        if !self.frontier.is_rooted() {
            Plan::Contacts
        } else if self.frontier.is_wide {
            Plan::TrieThenContacts
        } else {
            Plan::Trie
        }
    }

    pub(crate) fn report(&self, ended: Ended) -> Report {
        let everywhere =
            ended == Ended::Exhausted && self.frontier.is_wide && !self.frontier.has_overflowed();
        let answered = self.nodes(|word| word == Word::Answered);
        // Nodes not to be visited may have been asked for the way.
        let is_reached = |(peer, word): &(&Handle, &Word)| {
            **word == Word::Answered
                && !matches!(self.frontier.standing(**peer), Some(Standing::Excluded { .. }))
        };
        let reached = self.asked.iter().filter(is_reached).count() as u32 + self.frontier.excluded_reported();
        let by_contacts = || grid_size(everywhere, reached, self.recapture);
        let excluded = match &self.spec.query {
            Query::Nodes { requirement, .. } => {
                requirement.clauses().map(Into::into).zip(self.failed.iter().copied()).collect()
            }
            Query::Applications(_) => Vec::new(),
        };
        Report {
            plan: self.plan(),
            round_trips: self.round_trips,
            visits: self.visits,
            visited: self.nodes(|_| true),
            answered,
            silent: self.nodes(|word| word == Word::Silent),
            matched: self.matched,
            granted: self.kept.len() as u32,
            refused: self.refused,
            forbidden: self.forbidden.clone(),
            lost: self.frontier.lost(),
            unopened: self.frontier.unopened(),
            grid_size_estimate: if everywhere { by_contacts() } else { self.grid_size.or_else(by_contacts) },
            excluded,
            histogram: self.histogram.clone(),
            set: self.set.as_ref().map(SetSearch::report),
            ended,
        }
    }
}
