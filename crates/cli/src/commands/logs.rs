//! `xtreem logs`: what programs wrote, fetched from the nodes that run them.

mod follow;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use xtreem_client::{ClientError, OperatorClient};

use self::follow::Follow;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::which::{self, SlotName};

/// Lines that are looked at when following: what a program may write between two looks before some are
/// missed.
const FOLLOW_LINES: u32 = 2_000;
/// Between two looks (our guess: a person does not feel it, a node hardly).
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);
/// Longest log that is taken in.
const LOG_MAX_BYTES: usize = 64 << 20;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem logs web/0\n  xtreem logs web --lines 20\n  xtreem logs web/3 --follow"
)]
pub struct Arguments {
    /// Application (name, id, or 4 characters or more of the beginning of an id); one slot of it, or all
    #[arg(value_name = "APP[/SLOT]")]
    app: SlotName,
    /// Lines of each slot
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    lines: u32,
    /// Go on as the programs write
    #[arg(long, short, conflicts_with = "json")]
    follow: bool,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Logs {
    id: String,
    slots: Vec<SlotLog>,
}

#[derive(Serialize)]
struct SlotLog {
    slot: u16,
    lines: Vec<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    block_on(async {
        let id = which::find(&client, &arguments.app.app).await?;
        let slots = match arguments.app.slot {
            Some(slot) => vec![slot],
            None => (0..client.app(&id).await?.record.slots).collect(),
        };
        if arguments.follow {
            return follow_all(&client, &id, &slots, arguments.lines).await;
        }
        let mut logs = Logs { id, slots: Vec::new() };
        for &slot in &slots {
            let log = match fetch(&client, &logs.id, slot, arguments.lines).await {
                Ok(text) => SlotLog { slot, lines: text.lines().map(str::to_owned).collect(), error: None },
                // One slot without a log does not hide the others'.
                Err(e) if slots.len() > 1 && e.status().is_some() => {
                    SlotLog { slot, lines: Vec::new(), error: Some(e.to_string()) }
                }
                Err(e) => return Err(e.into()),
            };
            logs.slots.push(log);
        }
        let failed = logs.slots.iter().any(|log| log.error.is_some());
        if arguments.json {
            output::print_json(&logs)?;
        } else {
            for log in &logs.slots {
                if let Some(error) = &log.error {
                    eprintln!("slot {}: {error}", log.slot);
                }
                output::print(&shown(log.slot, &log.lines, slots.len() > 1))?;
            }
        }
        Ok(if failed { Exit::Failed } else { Exit::Success })
    })
}

async fn follow_all(client: &OperatorClient, id: &str, slots: &[u16], lines: u32) -> Result<Exit, Failure> {
    let mut follows: Vec<(u16, Follow)> = slots.iter().map(|&slot| (slot, Follow::default())).collect();
    // Always as many, so that what was seen is found again.
    let looked_at = lines.max(FOLLOW_LINES);
    let mut is_first = true;
    loop {
        for (slot, follow) in &mut follows {
            match fetch(client, id, *slot, looked_at).await {
                Ok(text) => {
                    let new = follow.take(text.lines().map(str::to_owned).collect());
                    let from = if is_first { new.len().saturating_sub(lines as usize) } else { 0 };
                    output::print(&shown(*slot, &new[from..], slots.len() > 1))?;
                }
                // The slot may be on its way to another node.
                Err(e) if e.status().is_some() && !is_first => {}
                Err(e) => return Err(e.into()),
            }
        }
        is_first = false;
        tokio::time::sleep(FOLLOW_PERIOD).await;
    }
}

async fn fetch(client: &OperatorClient, id: &str, slot: u16, lines: u32) -> Result<String, ClientError> {
    let mut chunks = client.logs(id, slot, lines).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await? {
        if bytes.len() + chunk.len() > LOG_MAX_BYTES {
            let reason = format!("a log of more than {LOG_MAX_BYTES} bytes");
            return Err(ClientError::Malformed { reason, is_read: true });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn shown(slot: u16, lines: &[String], with_slot: bool) -> String {
    lines
        .iter()
        .map(|line| if with_slot { format!("{slot}| {line}\n") } else { format!("{line}\n") })
        .collect()
}
