//! `xtreem node`: the node behind this machine's agent, and its operator's word on what is gone.

use clap::{Args, Subcommand};
use serde::Serialize;
use xtreem_client::OperatorClient;
use xtreem_client::api::{LossAccepted, NodeMatch, SearchRequest};

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

/// Nodes named that wait for the same word; a grid with more of them has another trouble.
const ELSEWHERE_MAX: u16 = 256;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  xtreem node", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say that the nodes which this one lost are gone for good, so that it replaces what ran on them
    ///
    /// A node that reaches fewer than half of those it knew cannot tell their death from its own lost
    /// network: it keeps what it runs and replaces nothing. This word ends that, on this node only. If the
    /// others are alive after all, slots run twice until both sides meet.
    #[command(after_help = "Example:\n  xtreem node accept-loss")]
    AcceptLoss(AcceptLoss),
}

#[derive(Args, Debug)]
struct AcceptLoss {
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(flatten)]
    accepted: LossAccepted,
    /// Nodes that are cut off, too.
    elsewhere: &'a [NodeMatch],
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(Command::AcceptLoss(arguments)) = &arguments.command {
        return accept_loss(arguments);
    }
    let client = arguments.agent.client()?;
    let node = block_on(async { Ok(client.node().await?) })?;
    if arguments.json {
        output::print_json(&node)?;
    } else {
        output::print(&text::nodes::status(&node))?;
    }
    Ok(Exit::Success)
}

/// Says on standard error when the node that answers is cut off: what it knows of others may be long past.
pub fn warn_if_cut_off(client: &OperatorClient) {
    // An agent that has just ended says so at the next command.
    let node = block_on(async { Ok(client.node().await?) });
    if let Some(words) = node.ok().as_ref().and_then(text::nodes::cut_off) {
        eprintln!("warning: {words}");
    }
}

fn accept_loss(arguments: &AcceptLoss) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let requirement = "cut_off == true".to_owned();
    let cut_off = SearchRequest { requirement, limit: ELSEWHERE_MAX, ..SearchRequest::default() };
    let (accepted, elsewhere) = block_on(async {
        let accepted = client.accept_loss().await?;
        Ok((accepted, client.search(&cut_off).await?.matches))
    })?;
    if arguments.json {
        output::print_json(&Accepted { accepted, elsewhere: &elsewhere })?;
    } else {
        output::print(&text::nodes::loss_accepted(accepted, &elsewhere))?;
    }
    Ok(Exit::Success)
}
