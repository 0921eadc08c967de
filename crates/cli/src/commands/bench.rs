//! `xtreem bench`: how fast something is between real agents on this machine.

mod member;
pub mod pubsub;
pub mod sends;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

pub use member::{MEMBER_COMMAND, MemberArguments, run_member};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Send messages from one member of an application to another
    Sends(sends::Arguments),
    /// Publish to subscribers through an agent, NATS or Redis
    Pubsub(pubsub::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Sends(arguments) => sends::run(arguments),
        Command::Pubsub(arguments) => pubsub::run(arguments),
    }
}
