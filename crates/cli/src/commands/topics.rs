//! `xtreem topics`: what the grid subscribes to and publishes to, and which topics have a last value.

use clap::Args;
use xtreem_client::api::TopicList;

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::{output, text};

/// Topics asked for at a time: as many as one answer has.
const PAGE: usize = 1_000;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem topics
  xtreem topics storage/osd
  xtreem topics --limit 10000 --json

SUBSCRIBED and PUBLISHED count agents: those whose clients subscribed to just this, and those whose clients
published to it in the last half minute. RETAINED is the length of the topic's last value, GROUPS are those
of which one member gets each event.")]
pub struct Arguments {
    /// Only this topic and what lies below it
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let mut list = TopicList::default();
    block_on(async {
        while list.topics.len() < arguments.limit {
            let limit = PAGE.min(arguments.limit - list.topics.len()) as u16;
            let page = client.topics(arguments.prefix.as_deref(), list.next.as_deref(), limit).await?;
            list.topics.extend(page.topics);
            list.next = page.next;
            if list.next.is_none() {
                break;
            }
        }
        Ok(())
    })?;
    // A place has several patterns at most: the last one may bring more than were asked for.
    if arguments.json {
        output::print_json(&list)?;
    } else {
        output::print(&text::topics::list(&list))?;
    }
    Ok(Exit::Success)
}
