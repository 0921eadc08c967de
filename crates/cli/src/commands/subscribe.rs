//! `xtreem sub`: prints events as they come.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;
use xtreem_client::pubsub::{Event, Told};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::places::AgentSocket;
use crate::runtime::block_on;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem sub storage/osd/17
  xtreem sub 'storage/**' clock --count 10
  xtreem sub jobs --group workers --json
  xtreem sub 'storage/**' --replay 10s

Prints each event as a line: its topic and its payload, where that is text; --json tells all of it. Ends after
--count events, when --wait is over, or with Ctrl-C.")]
pub struct Arguments {
    /// Topics: `a/b`, `a/*`, `a/**`, `**`
    #[arg(required = true)]
    topics: Vec<String>,
    /// End after so many events
    #[arg(long)]
    count: Option<u64>,
    /// End when so long nothing has come
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Be one of a group: each event goes to one of it
    #[arg(long)]
    group: Option<String>,
    /// Begin with past events: so many of each topic, or so old at most, as in 10s. Agents keep them of the
    /// topics that their configuration names
    #[arg(long, value_name = "COUNT|TIME", conflicts_with = "group", value_parser = replay)]
    replay: Option<String>,
    #[command(flatten)]
    agent: AgentSocket,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Event {
        topic: &'a str,
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a str>,
        /// Where the payload is not text.
        #[serde(skip_serializing_if = "Option::is_none")]
        payload_base64: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        publisher: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        retained: bool,
    },
    Lost {
        topic: &'a str,
        lost: u64,
    },
    Overtaken {
        overtaken: &'a str,
    },
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    block_on(async {
        let mut bus = client.pubsub().await?;
        for topics in &arguments.topics {
            match &arguments.group {
                Some(group) => bus.subscribe_in_group(topics, group).await?,
                None => match &arguments.replay {
                    Some(replay) => bus.subscribe_with_replay(topics, replay).await?,
                    None => bus.subscribe(topics).await?,
                },
            }
        }
        let mut count = 0;
        while arguments.count.is_none_or(|max| count < max) {
            let told = match arguments.wait {
                None => bus.recv().await?,
                Some(wait) => match tokio::time::timeout(wait, bus.recv()).await {
                    Ok(told) => told?,
                    Err(_) => break,
                },
            };
            count += u64::from(matches!(told, Told::Event(_)));
            if arguments.json {
                output::print_json(&line(&told))?;
            } else {
                output::print(&shown(&told))?;
            }
        }
        Ok(Exit::Success)
    })
}

/// In the words of the protocol.
fn replay(text: &str) -> Result<String, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<u32>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected a number of events, or seconds as in 10s".to_owned()),
    }
}

fn line(told: &Told) -> Line<'_> {
    match told {
        Told::Lost { topic, count } => Line::Lost { topic, lost: *count },
        Told::Overtaken(words) => Line::Overtaken { overtaken: words },
        Told::Event(event) => {
            let payload = std::str::from_utf8(&event.payload).ok();
            Line::Event {
                topic: &event.topic,
                id: event.id.to_string(),
                payload,
                payload_base64: payload.is_none().then(|| STANDARD.encode(&event.payload)),
                publisher: event.publisher.as_deref(),
                sequence: event.sequence,
                reply_to: event.reply_to.as_deref(),
                retained: event.is_retained,
            }
        }
    }
}

/// What could mislead a terminal is escaped.
fn shown(told: &Told) -> String {
    match told {
        Told::Lost { topic, count } => format!("{topic}  LOST {count}: read too slowly\n"),
        Told::Overtaken(words) => format!("{words}\n"),
        Told::Event(Event { topic, payload, .. }) => match std::str::from_utf8(payload) {
            Ok(text) => {
                let safe = |c: char| {
                    if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.into() }
                };
                format!("{topic}  {}\n", text.trim_end_matches('\n').chars().map(safe).collect::<String>())
            }
            Err(_) => format!("{topic}  ({} bytes that are no text: see --json)\n", payload.len()),
        },
    }
}

#[cfg(test)]
mod tests {
    use xtreem_client::pubsub::HashId;

    use super::*;

    fn event(payload: &'static [u8]) -> Told {
        Told::Event(Event {
            topic: "a/b".into(),
            id: HashId(7),
            payload: payload.into(),
            publisher: None,
            sequence: Some(3),
            reply_to: None,
            is_retained: false,
        })
    }

    #[test]
    fn a_payload_is_shown_as_one_line_that_moves_no_cursor() {
        assert_eq!(shown(&event(b"hello\n")), "a/b  hello\n");
        assert_eq!(shown(&event(b"a\nb\x1b[2J")), "a/b  a\\nb\\u{1b}[2J\n");
        assert_eq!(shown(&event(b"\xff\xfe")), "a/b  (2 bytes that are no text: see --json)\n");
        let lost = Told::Lost { topic: "a".into(), count: 4 };
        assert_eq!(shown(&lost), "a  LOST 4: read too slowly\n");
    }

    #[test]
    fn json_tells_text_as_text_and_bytes_as_base64() {
        let of = |told: &Told| serde_json::to_string(&line(told)).expect("json");
        assert!(of(&event(b"x")).contains(r#""payload":"x","sequence":3"#), "{}", of(&event(b"x")));
        assert!(of(&event(b"\xff")).contains(r#""payload_base64":"/w==""#));
    }
}
