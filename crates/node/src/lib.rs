//! A whole grid node as one state machine: the only place where the protocol cores meet. Still sans-IO.
//!
//! The driver (real sockets, or the simulator) hands in time and messages and takes messages, one deadline
//! and events. Deliberately absent: addresses, signatures, processes, files.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod commands;
mod config;
mod desk;
mod errands;
mod event;
mod message;
mod node;
mod part;
mod parts;
mod relay;
mod settle;
mod status;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use event::Event;
pub use message::{Message, PolicyMessage, Relay};
pub use node::{Node, Output, Saved};
pub use parts::aggregates::GridEstimate;
pub use status::Status;
pub use xtreem_allocation::Me;
