//! A visit: what a requester asks one node, what that node answers, and what its host lends it for that.

pub(crate) mod application;
pub(crate) mod hold;
pub(crate) mod host;
pub(crate) mod message;
pub(crate) mod ports;
pub(crate) mod route;
