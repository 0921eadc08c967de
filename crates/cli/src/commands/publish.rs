//! `xtreem pub`: publishes one event, or one a line.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use xtreem_client::pubsub::{Change, Details, HashId, PubSub};

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;

/// Bytes of a payload that is read: what agents take by default, and one more to be refused for.
const PAYLOAD_MAX_BYTES: u64 = (1 << 20) + 1;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem pub storage/osd/17 status.json
  date | xtreem pub clock
  echo up | xtreem pub state/web --retain
  xtreem pub state/web /dev/null --retain          # keeps no value any more
  echo me | xtreem pub lead --expect absent        # only if there is no last value
  tail -f /var/log/syslog | xtreem pub logs/$(hostname) --lines
  echo status | xtreem pub services/web --request --timeout 2s      # prints the answer

Ends with 0 once the agent has taken all of it, and the grid keeps what is to be retained.")]
pub struct Arguments {
    /// Topic, or several: `a/b`, `a/*`, `a/**`, `**`
    topic: String,
    /// File with the payload; `-`: standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// One event a line
    #[arg(long)]
    lines: bool,
    /// Keep it as the topic's last value, for those who subscribe later; nothing ends that
    #[arg(long)]
    retain: bool,
    /// As --retain, if the last value is the event with this id, as `xtreem sub --json` shows it, or if there
    /// is none: absent
    #[arg(long, value_parser = expected, conflicts_with = "lines")]
    expect: Option<Version>,
    /// Wait for one answer, and print its payload
    #[arg(long, conflicts_with_all = ["lines", "retain", "expect"])]
    request: bool,
    /// How long an answer is waited for
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        requires = "request",
        value_parser = humantime::parse_duration
    )]
    timeout: Duration,
    #[command(flatten)]
    agent: AgentSocket,
}

/// Of a topic's last value; none: there is none.
#[derive(Clone, Copy, Debug)]
struct Version(Option<HashId>);

fn expected(text: &str) -> Result<Version, String> {
    match HashId::parse(text.as_bytes()) {
        Some(id) => Ok(Version(Some(id))),
        None if text == "absent" => Ok(Version(None)),
        None => Err("expected the 32 hex digits of an event, or absent".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let client = arguments.agent.client()?;
    let name = arguments.file.display().to_string();
    let unreadable = move |error: std::io::Error| Failure::usage(format!("{name}: {error}"));
    let mut source: Box<dyn std::io::BufRead> = if arguments.file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(&arguments.file).map_err(&unreadable)?))
    };
    block_on(async {
        let mut bus = client.pubsub().await?;
        loop {
            let mut payload = Vec::new();
            let mut rest = source.by_ref().take(PAYLOAD_MAX_BYTES);
            if arguments.lines {
                if rest.read_until(b'\n', &mut payload).map_err(&unreadable)? == 0 {
                    return Ok(Exit::Success);
                }
                payload.pop_if(|last| *last == b'\n');
                publish(&mut bus, arguments, &payload).await?;
            } else {
                rest.read_to_end(&mut payload).map_err(&unreadable)?;
                publish(&mut bus, arguments, &payload).await?;
                return Ok(Exit::Success);
            }
        }
    })
}

async fn publish(bus: &mut PubSub, arguments: &Arguments, payload: &[u8]) -> Result<(), Failure> {
    if let Some(Version(expected)) = arguments.expect {
        let number = getrandom::u64().map_err(|error| Failure::usage(error.to_string()))?;
        let change = Change::set(&arguments.topic, payload).expect(expected);
        bus.update(&format!("pub-{number:016x}"), &[change]).await?;
        return Ok(());
    }
    if arguments.request {
        let answer = bus.request(&arguments.topic, payload, arguments.timeout).await?;
        // The bytes as they are: whoever reads them may be a program.
        let written = std::io::stdout().write_all(&answer.payload);
        return written.map_err(|error| Failure::usage(format!("standard output: {error}")));
    }
    let details = Details { retain: arguments.retain, ..Details::default() };
    Ok(bus.publish_acknowledged(&arguments.topic, payload, &details).await?)
}
