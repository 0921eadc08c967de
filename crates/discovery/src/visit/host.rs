//! What the composing node lends to a search, and where a search puts what it has to say.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Events, Handle, Instant, Sink};

use crate::search::report::Report;
use crate::search::spec::SearchId;
use crate::trie::Trie;
use crate::visit::application::{APPLICATIONS_MAX, AppFilter, AppSummary};
use crate::visit::hold::{HoldAnswer, HoldAsk};
use crate::visit::message::{Answer, CONTACTS_MAX, Message, Query};
use crate::visit::route::{Place, Route};
use crate::{Attributes, Facts, FactsAsk, limits::SLOTS_HERE_MAX};

/// The visited node's side, lent at each call.
pub trait Host {
    fn attributes(&self) -> &Attributes;

    /// The node's trie under that version of the schema; without a version, the one that its own searches
    /// follow.
    fn trie(&self, version: Option<u32>) -> Option<&Trie>;

    /// What the node tells of itself to who chooses among matches.
    fn facts(&self, ask: &FactsAsk) -> Facts {
        Facts::of(self.attributes(), ask)
    }

    /// Up to `max` random nodes: the partial view of the grid.
    fn contacts(&mut self, max: usize) -> Vec<Handle>;

    /// Grants or refuses a hold to `from`. A visit that arrives twice asks twice: granting the same hold
    /// again is then the right answer.
    fn hold(&mut self, now: Instant, from: Handle, ask: &HoldAsk) -> HoldAnswer;

    /// The applications this node has to do with, of those that `filter` accepts; `max` at most, and how many
    /// more there are.
    fn applications(&self, filter: &AppFilter, max: usize) -> (Vec<AppSummary>, u32);
}

/// Lent for one call, as a node lends it.
impl<H: Host> Host for &mut H {
    fn attributes(&self) -> &Attributes {
        (**self).attributes()
    }

    fn trie(&self, version: Option<u32>) -> Option<&Trie> {
        (**self).trie(version)
    }

    fn facts(&self, ask: &FactsAsk) -> Facts {
        (**self).facts(ask)
    }

    fn contacts(&mut self, max: usize) -> Vec<Handle> {
        (**self).contacts(max)
    }

    fn hold(&mut self, now: Instant, from: Handle, ask: &HoldAsk) -> HoldAnswer {
        (**self).hold(now, from, ask)
    }

    fn applications(&self, filter: &AppFilter, max: usize) -> (Vec<AppSummary>, u32) {
        (**self).applications(filter, max)
    }
}

/// A host, and a sink beside it: a search looks at links that the host lends while it speaks.
#[derive(Debug)]
pub struct Hosted<H, O> {
    pub host: H,
    pub out: O,
}

/// Where a search puts what it sends and what it tells.
pub(crate) trait SearchSink: Sink<Message> + Events<SearchEvent> {}

impl<O: Sink<Message> + Events<SearchEvent>> SearchSink for O {}

/// What a search says to the composing node. One enum, as their order matters: the node takes them out of one
/// queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchEvent {
    /// A node that meets the requirement, held when that was asked for. The hold is the receiver's to use or
    /// release.
    Match {
        search: SearchId,
        peer: Handle,
        hold: Option<u64>,
        attributes: Option<Attributes>,
        facts: Option<Box<Facts>>,
    },
    /// What one node knows of applications, and how many more it knows.
    Applications { search: SearchId, peer: Handle, list: Vec<AppSummary>, left_out: u32 },
    /// A hold that nobody waits for any more: to be released at once.
    Surplus { peer: Handle, hold: u64 },
    /// The last event of a search, but for [`SearchEvent::Surplus`].
    Done { search: SearchId, report: Report },
}

impl SearchEvent {
    /// Shows the peer that the event names, for the driver to say who that is.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            SearchEvent::Match { peer, .. }
            | SearchEvent::Applications { peer, .. }
            | SearchEvent::Surplus { peer, .. } => f(*peer),
            SearchEvent::Done { .. } => {}
        }
    }
}

/// What a matching node shall tell beside its yes.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) attributes: bool,
    pub(crate) facts: Option<&'a FactsAsk>,
}

/// What this node says when `from` visits it.
pub(crate) fn answer(
    host: &mut impl Host,
    now: Instant,
    from: Handle,
    query: &Query,
    asked: Asked<'_>,
    route: &Route,
) -> Answer {
    let place = host
        .trie(Some(route.schema))
        .map(|trie| Place::of(trie, route.len.into(), &query.region(trie.schema()), route.aims));
    let leads_on = place.as_ref().is_some_and(|place| place.is_settled);
    let mut answer = Answer {
        matched: false,
        failing: 0,
        hold: None,
        attributes: None,
        applications: Vec::new(),
        contacts: Vec::new(),
        place,
        only: route.only,
        facts: None,
        left_out: 0,
    };
    if route.contacts || !leads_on {
        answer.contacts = host.contacts(CONTACTS_MAX);
        answer.contacts.truncate(CONTACTS_MAX);
    }
    match query {
        _ if route.only => {}
        Query::Nodes { requirement, hold } => {
            answer.failing = requirement.failing(host.attributes());
            answer.matched = answer.failing == 0;
            if answer.matched {
                answer.attributes = asked.attributes.then(|| host.attributes().without_lists());
                // They are told before the hold, so that what is free counts it as free.
                let facts = asked.facts.map(|ask| Box::new(host.facts(ask)));
                answer.hold = hold.as_ref().map(|ask| host.hold(now, from, ask));
                let is_offered = answer.hold.as_ref().is_none_or(|hold| hold.granted().is_some());
                answer.facts = facts.filter(|_| is_offered);
            }
        }
        Query::Applications(filter) => {
            (answer.applications, answer.left_out) = host.applications(filter, APPLICATIONS_MAX);
            answer.applications.truncate(APPLICATIONS_MAX);
            answer.applications.iter_mut().for_each(|app| app.here.truncate(SLOTS_HERE_MAX));
            answer.matched = !answer.applications.is_empty();
        }
    }
    answer
}
