//! `xtreem sim`: the protocols on many simulated nodes, reproducible from a seed.

mod membership;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// How good and how cheap the grid-wide partial view is
    Membership(membership::Arguments),
}

pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Membership(arguments) => membership::run(&arguments),
    }
}
