//! A deterministic world in one process: virtual time, links, faults, figures.
//!
//! [`queue`], [`agenda`], [`link`] and [`digest`] are the engine, the same for every world. The [`arena`]
//! plays a protocol by itself, one core a node, with typed messages: [`membership`] (on two threads if asked
//! to), [`selection`] and [`tman`] are such protocols and what is measured of them. [`grid`] drives whole
//! nodes with applications, under faults and invariant checkers. Deliberately absent: sockets, codecs, wall
//! clocks.
#![deny(unsafe_code)]

pub mod agenda;
pub mod arena;
pub mod broadcast;
pub mod contention;
pub mod coordinates;
pub mod digest;
pub mod grid;
pub mod heap;
pub mod link;
pub mod membership;
mod memory;
pub mod pubsub;
pub mod queue;
pub mod ranks;
pub mod ring;
pub mod selection;
#[cfg(test)]
mod store;
pub mod tman;
pub mod wheel;
