//! Who else is there: the partial view and its shuffle, the cut-off check, the failure watcher, what all
//! nodes are together, and how far they are from each other.
//!
//! [`Cyclon`] serves the grid-wide collection and every application's own;
//! [`Reference`](reference::Reference) tells a dead peer from an own lost network; [`Watch`](detector::Watch)
//! decides when one peer counts as lost. [`Aggregation`](aggregation::Aggregation) counts the grid and draws
//! its attributes, which it knows as codes only. [`Coordinates`](coordinates::Coordinates) tell the round
//! trip to nodes that were never met. [`Rumour`](rumour::Rumour) brings the newest of a signed, numbered
//! document to everybody. Deliberately absent: what attributes mean, applications, addresses, and any list of
//! all nodes.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod aggregation;
mod config;
pub mod coordinates;
mod cyclon;
pub mod detector;
mod message;
pub mod reference;
mod remembered;
pub mod rumour;
mod view;

pub use config::Config;
pub use cyclon::{Cyclon, Fault};
pub use message::{Message, PEERS_MAX, Peer, Peers, SHUFFLE_PEERS_MAX};
pub use remembered::REMEMBERED_MAX;
pub use view::VIEW_MAX;
