//! Emulated grids on this machine: `xtreem emulate`, the story that `xtreem demo` tells on one, and the storm
//! that tries one for hours.
//!
//! Every host runs a real agent, told apart from one on a real machine only by declared attributes and
//! CYCLON's period. What the demo shows it does not take from what it did itself: losses are what live agents
//! report, replacements what answers HTTP requests, duplicates what processes there are.

mod client;
pub mod footprint;
pub mod grid;
mod hosts;
pub mod interrupt;
mod losses;
pub mod measure;
pub mod measure_ring;
mod processes;
mod queries;
pub mod report;
pub mod show;
pub mod state_dir;
pub mod storm;
pub mod story;
mod traffic;

pub use client::be_client;
pub use traffic::CLIENT_COMMAND;
