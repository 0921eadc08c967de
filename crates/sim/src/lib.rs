//! A deterministic world in one process: virtual time, links, faults, figures.
//!
//! [`wheel`], [`link`] and [`digest`] are the engine, the same for every world. [`membership`] plays one
//! membership core a node with typed messages; [`grid`] drives whole nodes with applications, under faults and
//! invariant checkers. Deliberately absent: sockets, codecs, threads, wall clocks.
#![forbid(unsafe_code)]

pub mod contention;
pub mod digest;
pub mod grid;
pub mod link;
pub mod membership;
pub mod selection;
pub mod wheel;
