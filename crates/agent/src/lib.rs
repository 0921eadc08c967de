//! The agent: one grid node on a real machine. Processes, files, the local API; no protocol logic.

pub mod config;
mod declared;
mod deploy;
pub mod exec;
mod lifecycle;
pub mod machine;
pub mod program;
pub mod quantity;
pub mod store;

pub use config::Config;
