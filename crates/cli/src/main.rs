//! The `xtreem` command.
//!
//! Every subcommand is one file under `commands/`; agents and simulators are entry points of their own
//! crates. Data goes to standard output, everything else to standard error; `exit.rs` has the table of exit
//! codes.

mod app_file;
mod commands;
mod demo;
mod exit;
#[cfg(test)]
mod fuzz;
mod output;
#[cfg(test)]
mod pages;
mod places;
mod policy_file;
mod runtime;
mod sign;
mod submission;
mod text;
mod user;
mod which;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Hosts of an emulation and helpers that start programs are this binary started again. They go into
    // namespaces, which the kernel allows to single-threaded processes only: so before anything else.
    let internal =
        xtreem_emulation::internal_main(&arguments).or_else(|| xtreem_agent::exec::internal_main(&arguments));
    if let Some(code) = internal {
        return code;
    }
    let cli = match commands::parse(&arguments) {
        Ok(cli) => cli,
        Err((error, hint)) => {
            // Help that nobody reads is no failure.
            let _ = error.print();
            if let Some(hint) = hint {
                eprintln!("\nhint: {hint}");
            }
            return u8::try_from(error.exit_code()).unwrap_or(1).into();
        }
    };
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit != exit::Exit::OutputClosed {
                eprintln!("{failure}");
            }
            failure.exit.into()
        }
    }
}
