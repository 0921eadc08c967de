//! `xtreem ring`: this node's place on the ring of all nodes, and who owns a key.

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem ring
  xtreem ring --owner 0161
  xtreem ring --json")]
pub struct Arguments {
    /// Say who owns this key (hexadecimal, its namespace first) instead
    #[arg(long, value_name = "KEY")]
    owner: Option<String>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    if let Some(key) = &arguments.owner {
        let owner = block_on(async { Ok(client.ring_owner(key).await?) })?;
        if arguments.json {
            output::print_json(&owner)?;
        } else {
            output::print(&text::ring::owner(&owner))?;
        }
        return Ok(Exit::Success);
    }
    let ring = block_on(async { Ok(client.ring().await?) })?;
    if arguments.json {
        output::print_json(&ring)?;
    } else {
        output::print(&text::ring::place(&ring))?;
    }
    Ok(Exit::Success)
}
