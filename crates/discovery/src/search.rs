//! One search: what is wanted, whom it knows, what it has counted.

use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Rng};

use crate::Requirement;
use crate::candidates::{Candidates, Standing};
use crate::hold::HoldAnswer;
use crate::host::{Output, SearchEvent};
use crate::message::{Answer, Query};
use crate::report::{Ended, RULES_TOLD_MAX, Recapture, Refused, Report, grid_size};

/// How long a search goes on unless told otherwise (from the task: a user waits for it).
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// Visits of a search unless told otherwise (from the task: a bound on what one search costs the grid).
pub const VISITS_DEFAULT: u32 = 2_000;
/// Visits at once unless told otherwise (design note on discovery: 8 keeps both round trips and overshoot low).
pub const IN_FLIGHT_DEFAULT: u32 = 8;
/// The most visits that a search may be given.
pub const VISITS_MAX: u32 = 100_000;
/// The most visits at once that a search may be given.
pub const IN_FLIGHT_MAX: u32 = 64;
/// The most nodes that a search may be told to leave out.
pub const EXCLUDE_MAX: usize = 4_096;

/// Names a search on its own node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub u32);

/// What a search is told.
#[derive(Clone, Debug)]
pub struct SearchSpec {
    pub query: Query,
    /// Matching nodes after which it ends; holds granted, when holds are asked for.
    pub wanted: u32,
    /// Whether matching nodes shall send their attributes.
    pub attributes: bool,
    pub deadline: Duration,
    pub visits_max: u32,
    pub in_flight: u32,
    /// Nodes not to visit. To leave the requester out, name it here.
    pub exclude: Vec<Handle>,
}

impl SearchSpec {
    pub fn new(query: Query, wanted: u32) -> Self {
        SearchSpec {
            query,
            wanted,
            attributes: false,
            deadline: DEADLINE_DEFAULT,
            visits_max: VISITS_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
            exclude: Vec::new(),
        }
    }

    /// Nodes that meet `requirement`, without holds, with their attributes.
    pub fn nodes(requirement: Requirement, wanted: u32) -> Self {
        let spec = SearchSpec::new(Query::Nodes { requirement, hold: None }, wanted);
        SearchSpec { attributes: true, ..spec }
    }

    pub(crate) fn is_within_limits(&self) -> bool {
        (1..=VISITS_MAX).contains(&self.visits_max)
            && (1..=IN_FLIGHT_MAX).contains(&self.in_flight)
            && self.exclude.len() <= EXCLUDE_MAX
    }
}

pub(crate) struct Search {
    pub(crate) id: SearchId,
    pub(crate) spec: SearchSpec,
    pub(crate) candidates: Candidates,
    /// Holds given out as matches.
    pub(crate) kept: Vec<(Handle, u64)>,
    found: u32,
    visited: u32,
    answered: u32,
    silent: u32,
    matched: u32,
    refused: Refused,
    forbidden: Vec<(String, u32)>,
    recapture: Recapture,
    /// For each clause, the nodes that failed it.
    failed: Vec<u32>,
}

impl Search {
    pub(crate) fn new(id: SearchId, spec: SearchSpec) -> Self {
        let clauses = match &spec.query {
            Query::Nodes { requirement, .. } => requirement.clauses().len().min(crate::limits::CLAUSES_MAX),
            Query::Applications(_) => 0,
        };
        let mut candidates = Candidates::default();
        for peer in &spec.exclude {
            candidates.exclude(*peer);
        }
        Search {
            id,
            spec,
            candidates,
            kept: Vec::new(),
            found: 0,
            visited: 0,
            answered: 0,
            silent: 0,
            matched: 0,
            refused: Refused::default(),
            forbidden: Vec::new(),
            recapture: Recapture::default(),
            failed: alloc::vec![0; clauses],
        }
    }

    /// The requester visits itself, whatever waits.
    pub(crate) fn ask_self(&mut self, me: Handle) {
        self.candidates.stand(me, Standing::Asked);
        self.visited += 1;
    }

    /// The next visit, when one more may go out.
    pub(crate) fn ask_next(&mut self) -> Option<Handle> {
        if self.candidates.asked_len() >= self.spec.in_flight as usize || self.visited >= self.spec.visits_max
        {
            return None;
        }
        let peer = self.candidates.ask_next()?;
        self.visited += 1;
        Some(peer)
    }

    /// Why the search is over, when it is.
    pub(crate) fn ended(&self) -> Option<Ended> {
        if self.found >= self.spec.wanted {
            Some(Ended::Enough)
        } else if self.candidates.asked_len() > 0 {
            None
        } else if !self.candidates.has_waiting() {
            Some(Ended::Exhausted)
        } else {
            (self.visited >= self.spec.visits_max).then_some(Ended::VisitLimit)
        }
    }

    pub(crate) fn hear_of(&mut self, links: &[Handle], rng: &mut Rng) {
        let known = self.candidates.known_len() as u64;
        for link in links {
            self.recapture.known_sum += known;
            self.recapture.recaught += u64::from(self.candidates.hear_of(*link, rng.next_u64()));
        }
    }

    /// The visit to `peer` has timed out.
    pub(crate) fn give_up(&mut self, peer: Handle) {
        self.candidates.stand(peer, Standing::Silent);
        self.silent += 1;
    }

    /// Takes an answer that suits the query, from a peer asked or silent.
    pub(crate) fn take_answer(&mut self, peer: Handle, answer: Answer, rng: &mut Rng, out: &mut impl Output) {
        self.silent -= u32::from(self.candidates.standing(peer) == Some(Standing::Silent));
        let hold = answer.hold.as_ref().and_then(HoldAnswer::granted);
        self.candidates.stand(peer, Standing::Answered(hold));
        self.answered += 1;
        self.hear_of(&answer.links, rng);
        for (i, failed) in self.failed.iter_mut().enumerate() {
            *failed += u32::from(answer.failing >> i & 1 == 1);
        }
        if !answer.matched {
            return;
        }
        self.matched += 1;
        let search = self.id;
        match answer.hold {
            Some(HoldAnswer::Refused(refusal)) => return self.refused.count(refusal),
            Some(HoldAnswer::Forbidden { rule }) => return self.count_forbidden(rule),
            Some(HoldAnswer::Granted { .. }) | None => {}
        }
        self.found += 1;
        self.kept.extend(hold.map(|hold| (peer, hold)));
        out.event(match self.spec.query {
            Query::Nodes { .. } => SearchEvent::Match { search, peer, hold, attributes: answer.attributes },
            Query::Applications(_) => SearchEvent::Applications { search, peer, list: answer.applications },
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

    pub(crate) fn report(&self, ended: Ended) -> Report {
        let everywhere = ended == Ended::Exhausted && !self.candidates.has_overflowed();
        let reached = self.answered + self.candidates.excluded_reported();
        let excluded = match &self.spec.query {
            Query::Nodes { requirement, .. } => {
                requirement.clauses().map(Into::into).zip(self.failed.iter().copied()).collect()
            }
            Query::Applications(_) => Vec::new(),
        };
        Report {
            visited: self.visited,
            answered: self.answered,
            silent: self.silent,
            matched: self.matched,
            granted: self.kept.len() as u32,
            refused: self.refused,
            forbidden: self.forbidden.clone(),
            grid_size_estimate: grid_size(everywhere, reached, self.recapture),
            excluded,
            ended,
        }
    }
}
