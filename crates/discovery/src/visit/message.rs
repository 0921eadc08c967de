//! What travels between requester and visited node.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel};

use crate::region::Region;
use crate::schema::Schema;
use crate::search::gather::{Delegate, FOUND_MAX, Found, Gathered};
use crate::visit::application::{APPLICATIONS_MAX, AppFilter, AppSummary};
use crate::visit::hold::{HoldAnswer, HoldAsk};
use crate::visit::host::Asked;
use crate::visit::route::{Place, Route};
use crate::{Attributes, Facts, FactsAsk, Requirement, bounded};

/// Contacts in one answer: a whole CYCLON view.
pub const CONTACTS_MAX: usize = 20;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Query {
    /// Nodes that meet the requirement, each with a hold when one is asked for.
    #[n(0)]
    Nodes {
        #[n(0)]
        requirement: Requirement,
        #[n(1)]
        hold: Option<HoldAsk>,
    },
    /// Nodes that know of such applications.
    #[n(1)]
    Applications(#[n(0)] AppFilter),
}

impl Query {
    /// The region in which the nodes can be that are looked for.
    pub fn region(&self, schema: &Schema) -> Region {
        match self {
            Query::Nodes { requirement, .. } => requirement.region(schema),
            Query::Applications(_) => Region::everything(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    #[n(0)]
    Visit {
        /// Means something to the requester only.
        #[n(0)]
        search: u32,
        /// Whether a node that matches shall send its attributes.
        #[n(1)]
        attributes: bool,
        #[n(2)]
        query: Query,
        #[n(3)]
        route: Route,
        /// What a node shall tell of itself that matches, and grants the hold if one is asked for.
        #[n(4)]
        facts: Option<FactsAsk>,
    },
    #[n(1)]
    Answer {
        #[n(0)]
        search: u32,
        #[n(1)]
        answer: Answer,
    },
    #[n(2)]
    Delegate(#[n(0)] Delegate),
    /// A node to which a subtree was handed is not done.
    #[n(3)]
    Working {
        #[n(0)]
        task: u32,
        #[cbor(n(1), decode_with = "bounded::list::<_, _, FOUND_MAX>")]
        found: Vec<Found>,
    },
    /// It is done.
    #[n(4)]
    Gathered {
        #[n(0)]
        task: u32,
        #[n(1)]
        gathered: Gathered,
    },
    /// It cannot help: too busy, too young, or it stands elsewhere.
    #[n(5)]
    Declined {
        #[n(0)]
        task: u32,
    },
}

impl Message {
    /// A visited node answers with what it measures just then.
    pub fn travel(&self) -> Travel {
        Travel::STREAM.measured(matches!(self, Message::Visit { .. } | Message::Delegate(_)))
    }
}

/// What a visited node says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Answer {
    /// It meets the requirement, or knows such applications.
    #[n(0)]
    pub matched: bool,
    /// The clauses that it fails, as in [`Requirement::failing`].
    #[n(1)]
    pub failing: u64,
    /// It is there when the node matched and a hold was asked for.
    #[n(2)]
    pub hold: Option<HoldAnswer>,
    /// They are all but the lists, when the node matched and they were asked for.
    #[n(3)]
    pub attributes: Option<Attributes>,
    #[cbor(n(4), decode_with = "bounded::list::<_, _, APPLICATIONS_MAX>")]
    pub applications: Vec<AppSummary>,
    /// Random nodes, when they were asked for or the trie does not lead on.
    #[cbor(n(5), decode_with = "bounded::list::<_, _, CONTACTS_MAX>")]
    pub contacts: Vec<Handle>,
    /// It is missing when the node takes no part in the trie that was asked for.
    #[n(6)]
    pub place: Option<Place>,
    /// The node only showed the way, as the route asked.
    #[n(7)]
    pub only: bool,
    #[n(8)]
    pub facts: Option<Box<Facts>>,
    /// Applications that the node has besides, and that had no room.
    #[n(9)]
    pub left_out: u32,
}

impl Answer {
    /// Whether an honest node could say this to `query`. `route` is what it was asked of the way, while that
    /// is known.
    pub(crate) fn suits(&self, query: &Query, asked: Asked<'_>, route: Option<&Route>) -> bool {
        let len = route.map_or(0, |route| route.len);
        if route.is_some_and(|route| route.only != self.only)
            || !self.place.as_ref().is_none_or(|place| place.suits(len, route.map(|route| route.aims)))
        {
            return false;
        }
        if self.only {
            let says_nothing = (self.matched, self.failing, &self.hold, &self.attributes, &self.facts);
            return says_nothing == (false, 0, &None, &None, &None) && self.applications.is_empty();
        }
        match query {
            Query::Nodes { requirement, hold } => {
                let clauses = requirement.clauses().len() as u32;
                let known_clauses = 1u64.checked_shl(clauses).map_or(u64::MAX, |bit| bit - 1);
                self.matched == (self.failing == 0)
                    && self.failing & !known_clauses == 0
                    && self.hold.is_some() == (self.matched && hold.is_some())
                    && self.attributes.is_some() == (self.matched && asked.attributes)
                    && !self.attributes.as_ref().is_some_and(|told| requirement.is_contradicted_by(told))
                    && self.suits_facts(asked.facts)
                    && self.applications.is_empty()
            }
            Query::Applications(filter) => {
                self.matched != self.applications.is_empty()
                    && self.applications.iter().all(|app| filter.accepts(app.id, app.owner, &app.name))
                    && (self.failing, &self.hold, &self.attributes, &self.facts) == (0, &None, &None, &None)
            }
        }
    }

    fn suits_facts(&self, ask: Option<&FactsAsk>) -> bool {
        let is_offered = self.matched && self.hold.as_ref().is_none_or(|hold| hold.granted().is_some());
        match (ask.filter(|_| is_offered), &self.facts) {
            (Some(ask), Some(facts)) => facts.suit(ask),
            (ask, facts) => ask.is_none() && facts.is_none(),
        }
    }
}
