//! A deterministic world in one process: virtual time, links, faults, figures.
//!
//! [`wheel`], [`link`] and [`digest`] are the engine, the same for every world. [`membership`] plays one
//! membership core a node with typed messages. Deliberately absent: sockets, codecs, threads, wall clocks.
#![forbid(unsafe_code)]

pub mod digest;
pub mod link;
pub mod membership;
pub mod wheel;
