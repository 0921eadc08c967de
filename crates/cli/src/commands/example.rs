//! `xtreem example`: applications that need no installation, because they are this binary.

mod web;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// A web page about the slot that serves it
    Web(web::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Web(arguments) => web::run(arguments),
    }
}
