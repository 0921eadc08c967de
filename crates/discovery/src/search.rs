//! The requester's side: which nodes a search asks, in which order, and when it has seen enough.
//!
//! [`course`] is a search by visits and [`gather`] a query for all that is handed down; [`set_search`],
//! [`choice`] and [`aim`] are what a search for a set has beside that, and [`lot`] how nodes are drawn of
//! which one is as good as another.

pub(crate) mod aim;
pub(crate) mod choice;
pub(crate) mod course;
pub mod forecast;
pub(crate) mod frontier;
pub(crate) mod gather;
pub(crate) mod lot;
pub(crate) mod report;
pub(crate) mod set_search;
pub(crate) mod spec;
