//! `xtreem node`: the node behind this machine's agent.

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  xtreem node")]
pub struct Arguments {
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let node = block_on(async { Ok(client.node().await?) })?;
    if arguments.json {
        output::print_json(&node)?;
    } else {
        output::print(&text::nodes::status(&node))?;
    }
    Ok(Exit::Success)
}
