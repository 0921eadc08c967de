//! `xtreem apps`: what runs in the grid.

use clap::Args;

use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem apps\n  xtreem apps --all --name web --json")]
pub struct Arguments {
    /// Only applications of this name
    #[arg(long)]
    name: Option<String>,
    /// Those that are stopped or ended, too, the newest first
    #[arg(long)]
    all: bool,
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
    let list = block_on(async { Ok(client.apps(arguments.name.as_deref(), arguments.all).await?) })?;
    agent_node::warn_if_cut_off(&client);
    if arguments.json {
        output::print_json(&list)?;
        return Ok(Exit::Success);
    }
    let table = text::apps::list(&list.apps, arguments.user.id_if_any().as_deref(), arguments.all);
    if table.is_empty() {
        let answered = text::count(list.report.answered as usize, "node");
        let which = if arguments.all { "" } else { " that runs" };
        output::print(&format!("No application{which} was found; {answered} answered.\n"))?;
    } else {
        output::print(&format!("{table}{}", text::apps::left_out(list.left_out)))?;
    }
    Ok(Exit::Success)
}
