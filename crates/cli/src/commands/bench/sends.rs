//! `xtreem bench sends`: two members of an application on real agents, each on an emulated host of its own,
//! one sending to the other.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use xtreem_client::OperatorClient;

use super::member::{MEMBER_COMMAND, Measured, SIZES};
use crate::app_file::AppFile;
use crate::commands::emulate::Kind;
use crate::demo::grid::{Grid, failed, until_within};
use crate::demo::interrupt::Interrupt;
use crate::demo::show::Show;
use crate::demo::state_dir::StateDir;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::runtime::block_on;
use crate::sign;
use crate::submission::{Outcome, Submission};

/// One for each member, and one more that guards.
const HOSTS: u16 = 3;
/// Longest time for the measurement beside the sending itself: the programs are started, and find each other.
const BEGIN_MAX: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem bench sends\n  xtreem bench sends --json | jq .sends_per_second")]
pub struct Arguments {
    /// How long messages of each length are sent
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How the hosts are told apart
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    network: Kind,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    seconds: u64,
    /// Sends that were acknowledged, by the length of the message in bytes.
    sends_per_second: BTreeMap<usize, f64>,
    /// From a send to its acknowledgement, while nothing else is under way; median.
    round_trip_us: BTreeMap<usize, f64>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let dir = StateDir::new(None)?;
    block_on(async {
        let mut interrupt = Interrupt::take()?;
        let show = Show::new();
        let mut grid = Grid::start(dir.path(), arguments.network.into(), 1, &show).await?;
        let measured = tokio::select! {
            measured = measure(&mut grid, arguments.seconds, &show) => measured.map(Some),
            () = interrupt.come() => Ok(None),
        };
        show.end();
        // Only when all is gone can the directory be removed.
        grid.stop().await;
        let Some(measured) = measured? else { return Ok(Exit::Interrupted) };
        print(arguments, &measured)?;
        Ok(Exit::Success)
    })
}

fn print(arguments: &Arguments, measured: &[Measured]) -> Result<(), Failure> {
    if arguments.json {
        let by_size = |of: fn(&Measured) -> f64| measured.iter().map(|one| (one.bytes, of(one))).collect();
        return output::print_json(&Report {
            seconds: arguments.seconds,
            sends_per_second: by_size(|one| one.sends_per_second.round()),
            round_trip_us: by_size(|one| one.round_trip_us.round()),
        });
    }
    for Measured { bytes, sends_per_second, round_trip_us, .. } in measured {
        let megabytes = *bytes as f64 * sends_per_second / 1e6;
        output::print(&format!(
            "{bytes:>6} bytes: {sends_per_second:>9.0} sends/s, {megabytes:>6.0} MB/s, {round_trip_us:>5.0} µs alone\n"
        ))?;
    }
    Ok(())
}

async fn measure(grid: &mut Grid, seconds: u64, show: &Show) -> Result<Vec<Measured>, Failure> {
    grid.form(HOSTS, show).await?;
    on(grid, seconds, show).await
}

/// The same on a grid that is there.
pub async fn on(grid: &Grid, seconds: u64, show: &Show) -> Result<Vec<Measured>, Failure> {
    let app = AppFile::parse(&text(seconds), "bench", grid.dir()).map_err(|e| failed(&e))?;
    let client = &grid.hosts[0].client;
    let submitter = sign::submitter(client).await?;
    let application = sign::application(&app, &grid.user, submitter)?;
    let id = application.record.id.to_string();
    let mut submission = Submission::begin(client, &application, Some(BEGIN_MAX)).await?;
    while submission.next().await?.is_some() {}
    match &submission.so_far.outcome {
        Some(Outcome::Complete { failed: 0, .. }) => {}
        outcome => return Err(failed(&format!("the application did not start: {outcome:?}"))),
    }
    show.say("two members run; one sends to the other");
    let sending = Duration::from_secs(seconds) * SIZES.len() as u32;
    let mut measured = Vec::new();
    until_within(BEGIN_MAX + sending, "the measurement", async || {
        measured = told(client, &id).await;
        measured.len() == SIZES.len()
    })
    .await?;
    Ok(measured)
}

/// What the sender has said so far.
async fn told(client: &OperatorClient, id: &str) -> Vec<Measured> {
    let Ok(mut chunks) = client.logs(id, 0, 100).await else { return Vec::new() };
    let mut log = Vec::new();
    while let Ok(Some(chunk)) = chunks.next().await {
        log.extend_from_slice(&chunk);
    }
    let log = String::from_utf8_lossy(&log);
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn text(seconds: u64) -> String {
    format!(
        "name = \"bench\"\nnodes = 2\ncommand = [\"xtreem\", \"{MEMBER_COMMAND}\", \"{seconds}\"]\n\n\
         [resources]\ncores = 0.25\nmemory = \"64MiB\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_right() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(AppFile::parse(&text(5), "bench", home.path()).expect("an application").nodes, 2);
    }
}
