//! `xtreem grid`: what all nodes are together.

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem grid
  xtreem grid cpu.cores mem.free
  xtreem grid --json

Nodes work these figures out together, anew in each epoch of 30 rounds (five minutes). They describe the grid as it
was when the last epoch began. To count nodes that meet a requirement now: xtreem nodes --count.")]
pub struct Arguments {
    /// Only these attributes
    #[arg(value_name = "ATTRIBUTE")]
    attributes: Vec<String>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let mut grid = block_on(async { Ok(client.grid().await?) })?;
    if let Some(estimate) = grid.estimate.as_mut().filter(|_| !arguments.attributes.is_empty()) {
        let is_known = |name: &String| estimate.attributes.iter().any(|attribute| attribute.name == *name);
        if let Some(unknown) = arguments.attributes.iter().find(|name| !is_known(name)) {
            let known: Vec<&str> = estimate.attributes.iter().map(|one| one.name.as_str()).collect();
            let known = known.join(", ");
            return Err(Failure::usage(format!(
                "{unknown}: the grid keeps no figures of it, only of {known}"
            )));
        }
        estimate.attributes.retain(|attribute| arguments.attributes.contains(&attribute.name));
    }
    if arguments.json {
        output::print_json(&grid)?;
    } else {
        output::print(&text::grid::grid(&grid))?;
    }
    Ok(Exit::Success)
}
