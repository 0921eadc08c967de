//! The agent: one grid node on a real machine. Processes, files, the local API; no protocol logic.

pub mod config;
pub mod exec;
pub mod program;
pub mod quantity;

pub use config::Config;
pub mod store;
