//! `xtreem show`: one application in full.

use clap::Args;

use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text, which};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem show web\n  xtreem show 1f2e3d4c --json")]
pub struct Arguments {
    /// Name, id, or the beginning of an id (4 characters or more)
    app: String,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let app = block_on(async {
        let id = which::find(&client, &arguments.app).await?;
        Ok(client.app(&id).await?)
    })?;
    if arguments.json {
        output::print_json(&app)?;
    } else {
        output::print(&text::apps::show(&app))?;
    }
    agent_node::warn_if_cut_off(&client);
    Ok(if app.lost { Exit::Failed } else { Exit::Success })
}
