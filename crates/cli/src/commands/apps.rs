//! `xtreem apps`: what runs in the grid.

use clap::Args;

use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem apps\n  xtreem apps --name web --json")]
pub struct Arguments {
    /// Only applications of this name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    agent: AgentSocket,
    #[command(flatten)]
    user: Credential,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let list = block_on(async { Ok(client.apps(arguments.name.as_deref()).await?) })?;
    agent_node::warn_if_cut_off(&client);
    if arguments.json {
        output::print_json(&list)?;
        return Ok(Exit::Success);
    }
    let table = text::apps::list(&list.apps, arguments.user.id_if_any().as_deref());
    if table.is_empty() {
        let answered = text::count(list.report.answered as usize, "node");
        output::print(&format!("No application was found; {answered} answered.\n"))?;
    } else {
        output::print(&table.to_string())?;
    }
    Ok(Exit::Success)
}
