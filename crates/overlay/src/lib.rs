//! Structured collections: nodes that know a few others, and by them reach all, in an order of their own.
//!
//! A [`Key`] says where something lies on the ring, a [`Position`] where a node stands, a [`Range`] what a
//! node owns. Deliberately absent: what keys and values mean (topics, directories), addresses, and any list
//! of all nodes.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod broadcast;
pub mod chord;
pub mod collection;
pub mod farm;
mod key;
pub mod mesh;
pub mod overlay;
mod position;
mod range;
pub mod ranks;
pub mod ring;
pub mod store;
pub mod tman;

pub use collection::Collection;
pub use key::{KEY_MAX, Key, KeyTooLong, Namespace};
pub use overlay::Overlay;
pub use position::Position;
pub use range::Range;
