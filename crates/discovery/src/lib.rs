//! Finding nodes: what a node says of itself, the language in which a user says what is wanted, and the search.
//!
//! Sans-IO: the composing node lends its attributes, links and resources as a [`Host`] and takes messages and
//! events through an [`Output`]. Absent on purpose: who runs what (the host answers that), addresses, clocks.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod aim;
mod application;
pub mod area;
mod attributes;
mod bounded;
mod choice;
mod discovery;
mod expression;
mod facts;
pub mod forecast;
mod frontier;
mod gather;
mod hold;
mod host;
pub mod key;
mod message;
mod number;
pub mod region;
mod report;
mod requirement;
mod route;
pub mod schema;
mod search;
mod set_search;
pub mod standard;
pub mod trie;

pub use aim::{Aims, Holder, Peak};
pub use application::{AppFilter, AppSummary, Role};
pub use attributes::{AttributeError, Attributes, Value};
pub use discovery::{Discovery, PeerFault, StartRefusal};
pub use expression::Expression;
pub use facts::{Facts, FactsAsk, FactsError, Free};
pub use gather::{Delegate, Found, Gather, Gathered, Histogram, Tally};
pub use hold::{Claimant, HoldAnswer, HoldAsk, HoldRefusal};
pub use host::{Host, Output, SearchEvent};
pub use message::{Answer, Message, Query};
pub use number::Number;
pub use report::{Ended, Plan, Refused, Report};
pub use requirement::{Aggregate, Demand, Function, ParseError, Requirement, SetQuery, Together};
pub use route::{Link, Place, Route, Step};
pub use search::{SearchId, SearchSpec};
pub use set_search::SetReport;

/// The maxima and defaults that hold for what arrives from other nodes and from users.
pub mod limits {
    pub use crate::aim::AIMS_MAX;
    pub use crate::application::{APP_NAME_LEN_MAX, APPLICATIONS_MAX, SLOTS_HERE_MAX};
    pub use crate::attributes::{
        ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, LIST_LEN_MAX, NAME_LEN_MAX, TEXT_LEN_MAX,
    };
    pub use crate::choice::{CANDIDATES_MAX, STEPS_MAX};
    pub use crate::discovery::{REMEMBERED, REMEMBERED_MAX, SEARCHES_MAX, VISIT_TIMEOUT};
    pub use crate::expression::EXPRESSION_LEN_MAX;
    pub use crate::facts::FACTS_MAX;
    pub use crate::frontier::FRONTIER_MAX;
    pub use crate::gather::{ALL_MAX, FOUND_MAX, FOUND_WITH_ATTRIBUTES_MAX, HISTOGRAM_MAX, TASKS_MAX};
    pub use crate::message::CONTACTS_MAX;
    pub use crate::report::RULES_TOLD_MAX;
    pub use crate::requirement::{
        CLAUSES_MAX, DEPTH_MAX, REQUIREMENT_LEN_MAX, SET_AGGREGATES_MAX, SET_NODES_MAX,
    };
    pub use crate::route::LINKS_MAX;
    pub use crate::search::{
        DEADLINE_DEFAULT, DEADLINE_MAX, EXCLUDE_MAX, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, VISITS_DEFAULT,
        VISITS_MAX,
    };
}
