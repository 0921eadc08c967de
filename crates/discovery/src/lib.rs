//! Finding nodes: what a node says of itself, the language in which a user says what is wanted, and the
//! search.
//!
//! [`Discovery`] and [`trie::Trie`] are cores as in `xtreem_base`. The composing node lends its attributes,
//! links and resources as a [`Host`]. Absent on purpose: who runs what (the host answers that), addresses,
//! clocks.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bounded;
mod discovery;
mod language;
mod search;
mod space;
pub mod trie;
mod visit;

pub use language::standard;
pub use search::forecast;
pub use space::{area, key, region, schema};

pub use discovery::{Discovery, Fault, StartRefusal};
pub use language::attributes::{AttributeError, Attributes, Value};
pub use language::expression::Expression;
pub use language::facts::{Facts, FactsAsk, FactsError, Free};
pub use language::need::Need;
pub use language::number::Number;
pub use language::requirement::{
    Aggregate, Demand, Function, ParseError, Requirement, SetError, SetQuery, Together,
};
pub use search::aim::{Aims, Holder, Peak};
pub use search::gather::{Delegate, Found, Gather, Gathered, Histogram, Tally};
pub use search::report::{Ended, Plan, Refused, Report};
pub use search::set_search::SetReport;
pub use search::spec::{SearchId, SearchSpec};
pub use visit::application::{AppFilter, AppSummary, Role};
pub use visit::hold::{Claimant, HoldAnswer, HoldAsk, HoldRefusal};
pub use visit::host::{Host, Hosted, SearchEvent};
pub use visit::message::{Answer, Message, Query};
pub use visit::ports::FixedPorts;
pub use visit::route::{Link, Place, Route, Step};

/// The maxima and defaults that hold for what arrives from other nodes and from users.
pub mod limits {
    pub use crate::discovery::{REMEMBERED, REMEMBERED_MAX, SEARCHES_MAX, VISIT_TIMEOUT};
    pub use crate::language::attributes::{
        ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, LIST_LEN_MAX, NAME_LEN_MAX, TEXT_LEN_MAX,
    };
    pub use crate::language::expression::EXPRESSION_LEN_MAX;
    pub use crate::language::facts::FACTS_MAX;
    pub use crate::language::requirement::{
        CLAUSES_MAX, DEPTH_MAX, REQUIREMENT_LEN_MAX, SET_AGGREGATES_MAX, SET_NODES_MAX,
    };
    pub use crate::search::aim::AIMS_MAX;
    pub use crate::search::choice::{CANDIDATES_MAX, STEPS_MAX};
    pub use crate::search::frontier::FRONTIER_MAX;
    pub use crate::search::gather::{
        ALL_MAX, FOUND_MAX, FOUND_WITH_ATTRIBUTES_MAX, HISTOGRAM_MAX, TASKS_MAX,
    };
    pub use crate::search::report::RULES_TOLD_MAX;
    pub use crate::search::spec::{
        DEADLINE_DEFAULT, DEADLINE_MAX, EXCLUDE_MAX, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, VISITS_DEFAULT,
        VISITS_MAX,
    };
    pub use crate::visit::application::{APP_NAME_LEN_MAX, APPLICATIONS_MAX, SLOTS_HERE_MAX};
    pub use crate::visit::message::CONTACTS_MAX;
    pub use crate::visit::ports::FIXED_PORTS_MAX;
    pub use crate::visit::route::LINKS_MAX;
}
