//! Publish/subscribe: topics in levels, the textual protocol of the XtreemOS design (D3.2.1, section 7.3),
//! and who subscribed to what.
//!
//! `docs/protocols/pubsub.md` has the grammar. The codec keeps no bytes: [`Framer`] finds whole frames in a
//! buffer of its caller, [`Request`] and [`Reply`] read them in place. `broker` is one server's part,
//! [`relay`] how servers tell each other, [`keeper`] what is kept for later, [`reserved`] the topics of the
//! agents themselves. Absent on purpose: connections, credentials; `relay` and `keeper` say what to ask of
//! the ring, and another crate asks it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod broker;
mod fault;
mod frame;
mod hash_id;
pub mod keeper;
mod limits;
pub mod relay;
mod reply;
mod request;
pub mod reserved;
pub mod storm;
mod subscriptions;
#[cfg(test)]
mod tests;
mod topic;
mod words;

pub use fault::Fault;
pub use frame::{Frame, Framer, Step};
pub use hash_id::{HashId, Stem};
pub use limits::*;
pub use reply::{Event, EventHeaders, EventWriter, Reply, write_error, write_lost, write_ok, write_publish};
pub use request::{Options, Publish, Replay, Request, Slow, Wishes};
pub use subscriptions::Subscriptions;
pub use topic::{Pattern, Topic, TopicError};
