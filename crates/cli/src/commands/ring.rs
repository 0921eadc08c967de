//! `xtreem ring`: this node's place on the ring of all nodes, and what lies on it.

use std::io::{Read as _, Write as _};

use clap::{Args, Subcommand};
use xtreem_client::OperatorClient;
use xtreem_client::api::RingWrite;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

#[derive(Args, Debug)]
#[command(
    after_help = "\
Examples:
  xtreem ring
  xtreem ring put colours/sky blue
  xtreem ring get colours/sky
  xtreem ring list colours/
  xtreem ring remove colours/sky
  xtreem ring owner 0161

Values lie at their owner and at the nodes behind it. Only the node that wrote a key writes it again or removes it
while its lease lasts.",
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say which node owns a key: hexadecimal, its namespace first
    #[command(after_help = "Example:\n  xtreem ring owner 0161")]
    Owner {
        key: String,
        #[command(flatten)]
        common: Common,
    },
    /// Write a value under a key
    #[command(after_help = "Example:\n  xtreem ring put colours/sky blue --lease 2h")]
    Put {
        key: String,
        /// The value; `-`: standard input
        value: String,
        /// Copies beside the owner's
        #[arg(long, default_value_t = 2)]
        copies: u8,
        /// How long it lies there
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = humantime::parse_duration)]
        lease: std::time::Duration,
        /// Write only if this version lies there (`none`: nothing)
        #[arg(long, value_name = "VERSION")]
        expected: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print the value under a key
    #[command(after_help = "Example:\n  xtreem ring get colours/sky")]
    Get {
        key: String,
        #[command(flatten)]
        common: Common,
    },
    /// Remove what lies under a key
    #[command(after_help = "Example:\n  xtreem ring remove colours/sky")]
    Remove {
        key: String,
        /// Remove only this version
        #[arg(long, value_name = "VERSION")]
        expected: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List what lies under the keys that begin so, in their order
    #[command(after_help = "Example:\n  xtreem ring list colours/")]
    List {
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u16,
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        None => show(&arguments.common, |client| async move { client.ring().await }, text::ring::place),
        Some(Command::Owner { key, common }) => {
            show(common, |client| async move { client.ring_owner(key).await }, text::ring::owner)
        }
        Some(Command::Put { key, value, copies, lease, expected, common }) => {
            let value = read(value)?;
            let (copies, lease_s, expected) = (Some(*copies), Some(lease.as_secs()), expected.clone());
            let write = RingWrite { copies, lease_s, expected };
            let put = |client: OperatorClient| async move { client.ring_put(key, value, &write).await };
            show(common, put, |written| format!("version  {}\n", written.version))
        }
        Some(Command::Remove { key, expected, common }) => {
            let expected = expected.as_deref();
            let remove = |client: OperatorClient| async move { client.ring_remove(key, expected).await };
            show(common, remove, |written| format!("removed with version {}\n", written.version))
        }
        Some(Command::List { prefix, limit, common }) => {
            let list = |client: OperatorClient| async move { client.ring_list(prefix, None, *limit).await };
            show(common, list, text::ring::items)
        }
        Some(Command::Get { key, common }) if common.json => {
            show(common, |client| async move { client.ring_get(key).await }, |_| String::new())
        }
        Some(Command::Get { key, common }) => {
            let client = common.agent.client()?;
            let item = block_on(async { Ok(client.ring_get(key).await?) })?;
            // The bytes as they are: whoever reads them may be a program.
            let written = std::io::stdout().write_all(&item.value.0);
            written.map_err(|error| Failure::usage(format!("standard output: {error}")))?;
            Ok(Exit::Success)
        }
    }
}

fn read(value: &str) -> Result<Vec<u8>, Failure> {
    if value != "-" {
        return Ok(value.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    // One byte more than can be stored is enough to be refused for it.
    let read = std::io::stdin().take(64 * 1024 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    Ok(bytes)
}

fn show<T: serde::Serialize, F: Future<Output = Result<T, xtreem_client::ClientError>>>(
    common: &Common,
    ask: impl FnOnce(OperatorClient) -> F,
    text: impl FnOnce(&T) -> String,
) -> Result<Exit, Failure> {
    let client = common.agent.client()?;
    let answer = block_on(async { Ok(ask(client).await?) })?;
    if common.json {
        output::print_json(&answer)?;
    } else {
        output::print(&text(&answer))?;
    }
    Ok(Exit::Success)
}
