//! The agent: one grid node on a real machine. Processes, files, the local API; no protocol logic.
//!
//! [`run`] is the door. `run.rs` puts the parts together and turns what the node says into work: `slots`
//! carries out starts and stops over `exec` and `store`, `deploy` brings files from other nodes, `api` serves
//! people and programs. Deliberately absent: every decision about who runs what, which is the node core's.
//!
//! Levels of the log: `error` when the agent cannot do its work, `warn` when something was lost or refused
//! that the operator should know of, `info` one line for each decision of note, `debug` for single streams
//! and pieces.
#![deny(unsafe_code)]

mod agent;
mod api;
mod beside;
mod bulk;
mod collections;
pub mod complaint;
pub mod config;
mod contacts;
mod declared;
mod deploy;
mod durable;
mod environment;
mod exchange;
pub mod exec;
mod fault_switch;
#[doc(hidden)]
pub mod fuzzed;
mod identity;
mod isolation;
mod lifecycle;
mod logs;
pub mod machine;
mod mail;
mod members;
mod namesake;
mod operating;
mod overruled;
mod policy;
mod ports;
pub mod program;
mod publisher;
mod pubsub;
pub mod quantity;
mod reserve;
mod run;
mod services;
mod slots;
pub mod store;
mod trash;
mod unwilling;
mod validity;
mod waiting;

pub use config::Config;
pub use fault_switch::FAULT_SWITCH_ENV;
pub use identity::{AcceptError, accept, identity_file};
pub use isolation::{RunAsError, is_root_of_machine};
pub use run::{AgentError, run, run_until};

/// The binary that this process runs, also when its file was replaced by an update. Its `main` calls
/// [`exec::internal_main`] first.
const SELF_EXE: &str = "/proc/self/exe";
