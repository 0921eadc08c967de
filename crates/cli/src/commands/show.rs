//! `xtreem show`: one application in full.

use clap::Args;
use xtreem_client::OperatorClient;

use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text, which};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem show web\n  xtreem show 1f2e3d4c --json\n  \
xtreem show web --collections")]
pub struct Arguments {
    /// Name, id, or the beginning of an id (4 characters or more)
    app: String,
    #[command(flatten)]
    agent: AgentSocket,
    /// Show its collections: a row a slot of each
    #[arg(long)]
    collections: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    if arguments.collections {
        return collections(&client, arguments);
    }
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

fn collections(client: &OperatorClient, arguments: &Arguments) -> Result<Exit, Failure> {
    let told = block_on(async {
        let id = which::find(client, &arguments.app).await?;
        Ok(client.app_collections(&id).await?)
    })?;
    if arguments.json {
        output::print_json(&told)?;
    } else {
        output::print(&text::collections::list(&told))?;
    }
    agent_node::warn_if_cut_off(client);
    Ok(Exit::Success)
}
