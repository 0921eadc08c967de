//! `xtreem ring`: this node's place on the ring of all nodes, and what lies on it.

mod overwrite;

use std::io::{Read as _, Write as _};

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use xtreem_client::OperatorClient;
use xtreem_client::api::RingWrite;
use xtreem_net::sign_announcement;
use xtreem_overlay::store::SCANNED_MAX;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{output, text};
use overwrite::overwrite;

#[derive(Args, Debug)]
#[command(
    after_help = "\
Examples:
  xtreem ring
  xtreem ring put colours/sky blue
  xtreem ring get colours/sky
  xtreem ring list colours/
  xtreem ring remove colours/sky
  xtreem ring owner colours/sky
  xtreem ring announce 'all hands: power cut at noon'
  xtreem ring listen

Values lie at their owner and at the nodes behind it. Only the node that wrote a key writes it again or removes it
while its lease lasts, and with `--admin` an administrator of the VO.",
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

#[derive(Args, Debug)]
struct Admin {
    /// Whoever wrote what lies there: signed with --credential, which is an administrator's
    #[arg(long)]
    admin: bool,
    #[command(flatten)]
    user: Credential,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say which node owns a key
    #[command(after_help = "Examples:\n  xtreem ring owner colours/sky\n  xtreem ring owner --hex 0161")]
    Owner {
        key: String,
        /// The key is hexadecimal, its namespace first, as `xtreem ring` shows keys
        #[arg(long)]
        hex: bool,
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
        admin: Admin,
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
        admin: Admin,
        #[command(flatten)]
        common: Common,
    },
    /// Tell all nodes of the grid something: administrators of the VO may
    #[command(after_help = "Example:\n  xtreem ring announce 'all hands: power cut at noon'")]
    Announce {
        text: String,
        #[command(flatten)]
        user: Credential,
        #[command(flatten)]
        common: Common,
    },
    /// Print what is announced to all nodes, until Ctrl-C
    #[command(after_help = "Example:\n  xtreem ring listen --json")]
    Listen {
        #[command(flatten)]
        common: Common,
    },
    /// List what lies under the keys that begin so, in their order
    #[command(
        after_help = "Examples:\n  xtreem ring list colours/\n  xtreem ring list colours/ --limit 1000 --from colours/green"
    )]
    List {
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many; `next` of --json is where the rest begins
        #[arg(long, value_name = "N", default_value_t = 100,
              value_parser = clap::value_parser!(u16).range(1..=SCANNED_MAX as i64))]
        limit: u16,
        /// Begin at this key
        #[arg(long, value_name = "KEY")]
        from: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        None => show(&arguments.common, |client| async move { client.ring().await }, text::ring::place),
        Some(Command::Announce { text, user, common }) => announce(text, user, common),
        Some(Command::Listen { common }) => listen(common),
        Some(Command::Owner { key, hex, common }) => {
            let key = &if *hex { key.clone() } else { hex_of(key) };
            show(common, |client| async move { client.ring_owner(key).await }, text::ring::owner)
        }
        Some(Command::Put { key, value, copies, lease, expected, admin, common }) => {
            let value = read(value)?;
            let (copies, lease_s, expected) = (Some(*copies), Some(lease.as_secs()), expected.clone());
            let write = RingWrite { copies, lease_s, expected };
            let put = |client: OperatorClient| async move {
                if admin.admin {
                    overwrite(client, key, Some(value), &write, &admin.user).await
                } else {
                    Ok(client.ring_put(key, value, &write).await?)
                }
            };
            show(common, put, |written| format!("version  {}\n", written.version))
        }
        Some(Command::Remove { key, expected, admin, common }) => {
            let expected = expected.clone();
            let remove = |client: OperatorClient| async move {
                if !admin.admin {
                    return Ok(client.ring_remove(key, expected.as_deref()).await?);
                }
                let write = RingWrite { expected, ..RingWrite::default() };
                overwrite(client, key, None, &write, &admin.user).await
            };
            show(common, remove, |written| format!("removed with version {}\n", written.version))
        }
        Some(Command::List { prefix, limit, from, common }) => {
            let from = from.as_deref();
            let list = |client: OperatorClient| async move { client.ring_list(prefix, from, *limit).await };
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

fn announce(text: &str, user: &Credential, common: &Common) -> Result<Exit, Failure> {
    let identity = user.load()?;
    let signed = sign_announcement(&identity, now_unix(), text.as_bytes()).map_err(Failure::usage)?;
    show(
        common,
        |client| async move { client.announce(signed).await },
        |_| "all nodes are being told\n".to_owned(),
    )
}

fn listen(common: &Common) -> Result<Exit, Failure> {
    let client = common.agent.client()?;
    block_on(async {
        let mut lines = client.announcements().await?;
        while let Some(told) = lines.next().await? {
            if common.json {
                output::print_json(&told)?;
            } else {
                output::print(&text::ring::announcement(&told))?;
            }
        }
        Ok(Exit::Success)
    })
}

/// Seconds.
fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The namespace of what users store (1), and the text.
fn hex_of(key: &str) -> String {
    let bytes = std::iter::once(1).chain(key.bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect()
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

fn show<T: serde::Serialize, E: Into<Failure>, F: Future<Output = Result<T, E>>>(
    common: &Common,
    ask: impl FnOnce(OperatorClient) -> F,
    text: impl FnOnce(&T) -> String,
) -> Result<Exit, Failure> {
    let client = common.agent.client()?;
    let answer = block_on(async { ask(client).await.map_err(Into::into) })?;
    if common.json {
        output::print_json(&answer)?;
    } else {
        output::print(&text(&answer))?;
    }
    Ok(Exit::Success)
}
