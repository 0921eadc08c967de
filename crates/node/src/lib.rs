//! A whole grid node as one state machine: the only place where the protocol cores meet. Still sans-IO.
//!
//! The driver (real sockets, or the simulator) hands in time and messages and takes messages, one deadline and
//! events. Deliberately absent: addresses, signatures, processes, files.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod adapters;
mod aggregates;
mod config;
mod event;
mod message;
mod node;
mod policy;
mod settle;
mod status;
mod tries;

#[cfg(test)]
mod tests;

pub use aggregates::GridEstimate;
pub use config::Config;
pub use event::{Description, Event, Progress};
pub use message::{Message, Plane, Relay};
pub use node::{Node, Output};
pub use policy::PolicyMessage;
pub use status::{Faults, Status};
pub use xtreem_allocation::policy::{Policy, PolicyError, PolicyVersion, Refusal, SignedPolicy};
pub use xtreem_allocation::{Me, NotStarted, StopReason, SubmitRefusal};
