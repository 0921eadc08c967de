//! The fuzz targets of Xtreem. `cargo +nightly fuzz run NAME` in this repository's root runs one;
//! `docs/testing.md`, "Fuzzing".

// The parsers of the command, which is a program and no library.
#[path = "../../crates/cli/src/app_file.rs"]
#[allow(dead_code, reason = "the command has use for all of it")]
mod app_file;
#[path = "../../crates/cli/src/policy_file.rs"]
mod policy_file;
pub mod targets;
