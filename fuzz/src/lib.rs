//! The fuzz targets of Xtreem. `cargo +nightly fuzz run NAME` in this repository's root runs one;
//! `docs/testing.md`, "Fuzzing".

/// The parsers of the command, which is a program and no library.
#[path = "../../crates/cli/src"]
#[allow(dead_code, reason = "the command has use for all of it")]
mod cli {
    pub mod app_file;
    pub mod policy_file;
}
pub mod targets;

use cli::{app_file, policy_file};
