//! `xtreem nodes`: which nodes meet a requirement.

use clap::Args;
use xtreem_client::api::SearchRequest;
use xtreem_discovery::Requirement;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

/// Matches after which a search ends when nobody says how many (our guess: a screenful).
const LIMIT_DEFAULT: u16 = 20;
/// Examples and the end of the command.
const HELP: &str = "\
Examples:
  xtreem nodes
  xtreem nodes 'cpu.cores >= 4 && mem.total >= 8GiB && arch == \"x86_64\"'
  xtreem nodes 'site in (\"lab\", \"attic\") && has gpu.model' --limit 50 --json

Ends with 0 when at least one node matches, 1 when none does.";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// In the requirement language; any node when it is left out
    #[arg(default_value = "", hide_default_value = true)]
    requirement: String,
    /// How many are wanted: the search stops when so many match [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    limit: Option<u16>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=50))]
    timeout: u64,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    Requirement::parse(&arguments.requirement)
        .map_err(|e| Failure::usage(format!("the requirement, {e}")))?;
    let client = arguments.agent.client()?;
    let request = SearchRequest {
        requirement: arguments.requirement.clone(),
        limit: arguments.limit.unwrap_or(LIMIT_DEFAULT),
        timeout_ms: Some(arguments.timeout * 1_000),
    };
    let reply = block_on(async { Ok(client.search(&request).await?) })?;
    if arguments.json {
        output::print_json(&reply)?;
    } else {
        if !reply.matches.is_empty() {
            output::print(&format!("{}\n", text::nodes::matches(&arguments.requirement, &reply.matches)))?;
        }
        output::print(&format!(
            "{}\n",
            text::nodes::closing(arguments.limit.map(usize::from), &reply.report)
        ))?;
    }
    Ok(if reply.matches.is_empty() { Exit::Failed } else { Exit::Success })
}
