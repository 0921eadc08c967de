//! `xtreem run`: from `app.toml` to running slots.

mod show;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use xtreem_client::OperatorClient;
use xtreem_client::api::{SearchReport, SearchRequest, SlotView};
use xtreem_net::Identity;

use self::show::Show;
use crate::app_file::AppFile;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::submission::{Outcome, SoFar, Submission, upload};
use crate::user::Credential;
use crate::{output, sign, text};

/// Examples and how it ends.
/// How long a submission may be told to wait: as long as agents take (`POST /v1/apps`).
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);

const HELP: &str = "\
Examples:
  xtreem run examples/web/app.toml
  xtreem run app.toml --wait --json
  xtreem run app.toml --wait=10m

Ends with 0 when all slots run (or are done), 1 when too few nodes were found or a slot failed. Ctrl-C before the
first slot is confirmed gives the submission up; after that the application runs on, whatever happens to this command.";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// What to run
    #[arg(value_name = "APP.TOML")]
    file: PathBuf,
    /// Try again while too few nodes are found, for so long (as 30s, 10m, 2h) [default: 24h, the longest]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "24h",
        value_parser = time
    )]
    wait: Option<Duration>,
    #[command(flatten)]
    agent: AgentSocket,
    #[command(flatten)]
    user: Credential,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// The JSON object.
#[derive(Serialize)]
struct Ran<'a> {
    ok: bool,
    id: String,
    name: &'a str,
    nodes: u16,
    accepted: bool,
    running: u16,
    done: u16,
    failed: u16,
    slots: &'a [SlotView],
    /// From the start of the submission to its end.
    elapsed_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a SearchReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A submission that is over, as far as this command follows it.
struct Attempt {
    id: String,
    so_far: SoFar,
    elapsed: Duration,
    interrupted: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let app = AppFile::load(&arguments.file).map_err(Failure::usage)?;
    let user = arguments.user.load()?;
    let client = arguments.agent.client()?;
    let app = block_on(sized(&client, app))?;
    let attempt = block_on(submit(&client, &app, &user, arguments.wait))?;
    let exit = if attempt.interrupted { Exit::Interrupted } else { attempt.so_far.exit() };
    if arguments.json {
        output::print_json(&ran(&app, &attempt, exit))?;
    } else {
        output::print(&told(&app, &attempt))?;
    }
    Ok(exit)
}

/// With as few nodes as are enough together at the moment. An application is signed for a number of slots, so
/// that the grid is asked first; where there is no such set the largest is submitted, which says why or
/// waits.
async fn sized(client: &OperatorClient, app: AppFile) -> Result<AppFile, Failure> {
    let Some(set) = app.set.as_ref().filter(|set| set.least() < set.most()) else { return Ok(app) };
    let request =
        SearchRequest { requirement: set.to_string(), limit: set.most(), ..SearchRequest::default() };
    let report = client.search(&request).await?.report;
    let members = report.set.filter(|set| set.found).and_then(|set| u16::try_from(set.members).ok());
    let nodes = members.unwrap_or(app.nodes);
    Ok(app.with_size(nodes))
}

async fn submit(
    client: &OperatorClient,
    app: &AppFile,
    user: &Identity,
    wait: Option<Duration>,
) -> Result<Attempt, Failure> {
    let mut show = Show::new(app.nodes);
    upload(client, app, |file| show.say(&format!("uploading {file}"))).await?;
    let submitter = sign::submitter(client).await?;
    let application = sign::application(app, user, submitter)?;
    let id = application.record.id.to_string();
    let started = Instant::now();
    let submission = Submission::begin(client, &application, wait).await?;
    let (so_far, interrupted) = follow(submission, &mut show, &id).await?;
    show.end();
    Ok(Attempt { id, so_far, elapsed: started.elapsed(), interrupted })
}

/// From a second to a day, which is the longest that an agent tries.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "expected a time with a unit, as 30s, 10m or 1h 30m".to_owned())?;
    if !WAIT.contains(&time) {
        return Err("a submission waits from 1s to 24h; `m` are minutes, `M` are months".to_owned());
    }
    Ok(time)
}

/// Follows a submission to its end, or to Ctrl-C.
async fn follow(mut submission: Submission, show: &mut Show, id: &str) -> Result<(SoFar, bool), Failure> {
    loop {
        tokio::select! {
            step = submission.next() => match step {
                Ok(Some(line)) => show.step(&line, &submission.so_far),
                Ok(None) => return Ok((submission.so_far, false)),
                Err(failure) if submission.so_far.is_accepted => {
                    return Err(failure.with_hint(format!(
                        "the application was accepted and goes on by itself: xtreem show {id}"
                    )));
                }
                Err(failure) => return Err(failure.with_hint(format!("look before you repeat it: xtreem show {id}"))),
            },
            _ = tokio::signal::ctrl_c() => return Ok((submission.so_far, true)),
        }
    }
}

fn ran<'a>(app: &'a AppFile, attempt: &'a Attempt, exit: Exit) -> Ran<'a> {
    let (mut counts, mut report, mut error) = ((0, 0, 0), None, None);
    match &attempt.so_far.outcome {
        Some(Outcome::Complete { running, done, failed }) => counts = (*running, *done, *failed),
        Some(Outcome::Troubled { slot, trouble }) => error = Some(cannot_start(*slot, trouble)),
        Some(Outcome::NotPlaced(why)) => report = Some(why),
        Some(Outcome::Beaten(by)) => error = Some(format!("beaten by generation {}", by.generation)),
        Some(Outcome::Failed(why)) => error = Some(why.error.clone()),
        None => error = Some("interrupted".to_owned()),
    }
    Ran {
        ok: exit == Exit::Success,
        id: attempt.id.clone(),
        name: &app.name,
        nodes: app.nodes,
        accepted: attempt.so_far.is_accepted,
        running: counts.0,
        done: counts.1,
        failed: counts.2,
        slots: &attempt.so_far.slots,
        elapsed_ms: attempt.elapsed.as_millis(),
        report,
        error,
    }
}

/// Why a slot does not run, after several nodes or all that match have been tried.
fn cannot_start(slot: u16, trouble: &str) -> String {
    let trouble = trouble.replace(char::is_control, "?");
    format!("slot {slot} cannot be started on the nodes that were tried: {trouble}")
}

/// The last lines for a human.
fn told(app: &AppFile, attempt: &Attempt) -> String {
    let id = &attempt.id;
    let seconds = attempt.elapsed.as_secs_f32();
    match (&attempt.so_far.outcome, attempt.so_far.is_accepted) {
        (_, false) if attempt.interrupted => format!("{} was given up; nothing was started.\n", app.name),
        (Some(Outcome::Complete { running, done, failed: 0 }), _) => {
            format!(
                "{} runs as {id}: {} running, {done} done, after {seconds:.1} s.\n",
                app.name,
                text::count((*running).into(), "slot")
            )
        }
        (Some(Outcome::Complete { running, done, failed }), _) => format!(
            "{} runs as {id} with {} ({running} running, {done} done): xtreem show {id}\n",
            app.name,
            text::count((*failed).into(), "failed slot")
        ),
        (Some(Outcome::Troubled { slot, trouble }), _) => format!(
            "{} was accepted as {id}, but {}.\n\
             It goes on trying, later and later: xtreem show {id}, xtreem stop {id}\n",
            app.name,
            cannot_start(*slot, trouble)
        ),
        (Some(Outcome::NotPlaced(_)), _) => {
            "Nothing was started. --wait tries again until enough nodes are found.\n".to_owned()
        }
        (Some(Outcome::Beaten(_)), _) => format!("Another word on {id} won: xtreem show {id}\n"),
        (Some(Outcome::Failed(error)), _) => {
            let hint = error.hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{} was not started: {}{hint}\n", app.name, error.error)
        }
        (None, true) => format!("{} goes on as {id}: xtreem show {id}, xtreem stop {id}\n", app.name),
        (None, false) => format!("what became of {} is not known: xtreem show {id}\n", app.name),
    }
}

#[cfg(test)]
mod tests;
