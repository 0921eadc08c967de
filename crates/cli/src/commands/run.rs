//! `xtreem run`: from `app.toml` to running slots.

mod show;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use xtreem_allocation::{Application, Resources};
use xtreem_client::OperatorClient;
use xtreem_client::api::{AppShow, Ended, SearchReport, SearchRequest, SlotPhase, SlotView};
use xtreem_net::Identity;

use self::show::Show;
use crate::app_file::AppFile;
use crate::commands::agent_node;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::submission::{Outcome, SoFar, Submission, upload};
use crate::user::Credential;
use crate::{output, sign, text};

/// After this time it is looked once more whether all slots run: a program that fails at once is started
/// again after half a second, then one, then two, so that a look now finds it down. Our guess.
const SETTLE: Duration = Duration::from_secs(1);

/// How long a submission may be told to wait: as long as agents take (`POST /v1/apps`).
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3_600);

/// Examples and how it ends.
const HELP: &str = "\
Examples:
  xtreem run examples/web/app.toml
  xtreem run app.toml --wait --json
  xtreem run app.toml --wait=10m

Ends with 0 when all slots run (or are done) and still do a second later, 1 when too few nodes were found or a slot
failed. Ctrl-C before the first slot is confirmed gives the submission up; after that the application runs on, whatever
happens to this command.";

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

/// What to write instead, where `--wait 3s` was: without `=` the time is taken for the file.
pub(super) fn wait_meant(arguments: &[OsString]) -> Option<String> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    words.next().filter(|command| ["run", "mpirun"].contains(command))?;
    words.find(|word| *word == "--wait")?;
    let meant = words.next().filter(|word| time(word).is_ok())?;
    Some(format!("a time follows `--wait` after `=`: --wait={meant}"))
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
    /// No node but those that run it remembers it yet.
    unguarded: bool,
    /// From the start of the submission to its end.
    elapsed_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a SearchReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A submission that is over, as far as this command follows it.
pub(super) struct Attempt {
    pub(super) id: String,
    so_far: SoFar,
    elapsed: Duration,
    interrupted: bool,
    /// Slots that do not run as they should, with their last lines.
    ill: Vec<SlotView>,
    /// It was to be tried again for so long.
    wait: Option<Duration>,
    /// So many nodes run it, and no other one remembers it.
    unguarded: Option<usize>,
}

impl Attempt {
    pub(super) fn exit(&self) -> Exit {
        match self.so_far.exit() {
            _ if self.interrupted => Exit::Interrupted,
            Exit::Success if !self.ill.is_empty() => Exit::Failed,
            exit => exit,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let app = AppFile::load(&arguments.file).map_err(|error| {
        let meant = wait_meant(&std::env::args_os().collect::<Vec<_>>());
        let failure = Failure::usage(error);
        match meant {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    })?;
    let user = arguments.user.load()?;
    let client = arguments.agent.client()?;
    agent_node::warn_if_cut_off(&client);
    let app = block_on(async {
        warn_of_unknown(&client, &app.placement).await;
        sized(&client, app).await
    })?;
    let attempt = block_on(async {
        let application = signed(&client, &app, &user).await?;
        submit(&client, &app, &application, arguments.wait).await
    })?;
    let exit = attempt.exit();
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
pub(super) async fn sized(client: &OperatorClient, app: AppFile) -> Result<AppFile, Failure> {
    let Some(set) = app.set.as_ref().filter(|set| set.least() < set.most()) else { return Ok(app) };
    let request =
        SearchRequest { requirement: set.to_string(), limit: set.most(), ..SearchRequest::default() };
    let report = client.search(&request).await?.report;
    let members = report.set.filter(|set| set.found).and_then(|set| u16::try_from(set.members).ok());
    let nodes = members.unwrap_or(app.nodes);
    Ok(app.with_size(nodes))
}

/// An attribute that nobody has is no mistake of the form, and the slots would lie anywhere. A search that
/// fails, or ends early, warns of nothing.
pub(super) async fn warn_of_unknown(client: &OperatorClient, placement: &str) {
    let Some(name) = spread_by(placement) else { return };
    let requirement = format!("has {name}");
    let request =
        SearchRequest { requirement, limit: 1, timeout_ms: Some(2_000), ..SearchRequest::default() };
    let Ok(reply) = client.search(&request).await else { return };
    if reply.matches.is_empty() && reply.report.ended == Ended::Exhausted {
        eprintln!("warning: no node has the attribute `{name}`: the slots are not spread by it");
    }
}

/// The attribute by which a placement spreads.
fn spread_by(placement: &str) -> Option<&str> {
    match placement.split_whitespace().collect::<Vec<_>>()[..] {
        ["spread", "by", name] => Some(name),
        _ => None,
    }
}

/// The application with a new id, whose files the agent has.
pub(super) async fn signed(
    client: &OperatorClient,
    app: &AppFile,
    user: &Identity,
) -> Result<Application, Failure> {
    upload(client, app, |file| eprintln!("uploading {file}")).await?;
    let submitter = sign::submitter(client).await?;
    sign::application(app, user, submitter)
}

pub(super) async fn submit(
    client: &OperatorClient,
    app: &AppFile,
    application: &Application,
    wait: Option<Duration>,
) -> Result<Attempt, Failure> {
    let show = Show::new(app.nodes);
    let id = application.record.id.to_string();
    let started = Instant::now();
    let submission = Submission::begin(client, application, wait).await?;
    let (so_far, interrupted) = follow(submission, &show, &id).await?;
    let elapsed = started.elapsed();
    let shown = if interrupted { None } else { afterwards(client, &id, &so_far).await };
    let (unguarded, ill) = (shown.as_ref().and_then(unguarded), shown.map_or(Vec::new(), ill));
    show.end();
    Ok(Attempt { id, so_far, elapsed, interrupted, ill, wait, unguarded })
}

/// The application a while after the word that it was all. An agent that does not answer now has said it all
/// the same.
async fn afterwards(client: &OperatorClient, id: &str, so_far: &SoFar) -> Option<AppShow> {
    match so_far.outcome {
        Some(Outcome::Complete { running, .. }) if running > 0 => {
            tokio::select! {
                () = tokio::time::sleep(SETTLE) => {}
                _ = tokio::signal::ctrl_c() => return None,
            }
        }
        Some(Outcome::Complete { .. } | Outcome::Troubled { .. }) => {}
        _ => return None,
    }
    client.app(id).await.ok()
}

/// Slots that fail, or that no node can start.
fn ill(shown: AppShow) -> Vec<SlotView> {
    let is_ill =
        |slot: &SlotView| matches!(slot.state, SlotPhase::Failing | SlotPhase::Failed | SlotPhase::Troubled);
    shown.slots.into_iter().filter(is_ill).collect()
}

/// How many nodes run it, when none guards it.
fn unguarded(shown: &AppShow) -> Option<usize> {
    let is_over = |slot: &&SlotView| matches!(slot.state, SlotPhase::Done | SlotPhase::Failed);
    let going_on = shown.slots.iter().filter(|slot| !is_over(slot));
    let nodes: BTreeSet<&str> = going_on.filter_map(|slot| slot.node.as_deref()).collect();
    (shown.guardians.is_empty() && !nodes.is_empty()).then_some(nodes.len())
}

/// What that means.
fn guardless(unguarded: Option<usize>) -> String {
    match unguarded {
        None => String::new(),
        Some(1) => {
            "Nobody guards it yet: should the node that runs it die now, it goes on only when that is back.\n"
                .to_owned()
        }
        Some(nodes) => format!(
            "Nobody guards it yet: should the {nodes} nodes that run it die together now, it goes on only when one \
             of them is back.\n"
        ),
    }
}

/// From a second to a day, which is the longest that an agent tries.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "expected a time with a unit, as 30s, 10m or 1h 30m".to_owned())?;
    if !WAIT.contains(&time) {
        return Err("a submission waits from 1s to 24h; `m` are minutes, `M` are months".to_owned());
    }
    Ok(time)
}

/// Follows a submission to its end, or to Ctrl-C.
async fn follow(mut submission: Submission, show: &Show, id: &str) -> Result<(SoFar, bool), Failure> {
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
        Some(Outcome::Complete { running, done, failed }) => {
            counts = (*running, *done, *failed);
            error = attempt
                .ill
                .first()
                .map(|slot| format!("slot {} {}", slot.slot, text::apps::slot_state(slot)));
        }
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
        unguarded: attempt.unguarded.is_some(),
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

/// What the slots that do not run as they should have come to, the first of them by name.
fn sickness(ill: &[SlotView]) -> String {
    let Some(first) = ill.first() else { return String::new() };
    let more = match ill.len() {
        1 => String::new(),
        all => format!(" and {} like it", text::count(all - 1, "slot")),
    };
    format!("slot {} is {}{more} after a second", first.slot, text::apps::slot_state(first))
}

/// What the first of them wrote last.
fn last_lines(ill: &[SlotView]) -> String {
    ill.iter().find(|slot| !slot.last_lines.is_empty()).map(text::apps::last_lines).unwrap_or_default()
}

/// How to see whether any node is large enough: nobody waits for room that does not exist.
fn who_offers(resources: &Resources) -> String {
    let Resources { cores_milli, memory_bytes, disk_bytes } = *resources;
    let mut parts = vec![format!("offer.cores >= {}", text::cores(cores_milli))];
    let sizes = [("offer.mem", memory_bytes), ("offer.disk", disk_bytes)];
    parts.extend(sizes.iter().filter(|(_, size)| *size > 0).map(|(name, size)| format!("{name} >= {size}")));
    format!("Who offers what a slot needs, busy or not: xtreem nodes '{}'\n", parts.join(" && "))
}

/// The last lines for a human.
pub(super) fn told(app: &AppFile, attempt: &Attempt) -> String {
    let id = &attempt.id;
    let seconds = attempt.elapsed.as_secs_f32();
    match (&attempt.so_far.outcome, attempt.so_far.is_accepted) {
        (_, false) if attempt.interrupted => format!("{} was given up; nothing was started.\n", app.name),
        (Some(Outcome::Complete { failed: 0, .. }), _) if !attempt.ill.is_empty() => format!(
            "{} was accepted as {id}, but {}.\nxtreem show {id}, xtreem stop {id}\n{}",
            app.name,
            sickness(&attempt.ill),
            last_lines(&attempt.ill)
        ),
        (Some(Outcome::Complete { running, done, failed: 0 }), _) => {
            format!(
                "{} runs as {id}: {} running, {done} done, after {seconds:.1} s.\n{}",
                app.name,
                text::count((*running).into(), "slot"),
                guardless(attempt.unguarded)
            )
        }
        (Some(Outcome::Complete { running, done, failed }), _) => format!(
            "{} runs as {id} with {} ({running} running, {done} done): xtreem show {id}\n{}",
            app.name,
            text::count((*failed).into(), "failed slot"),
            last_lines(&attempt.ill)
        ),
        (Some(Outcome::Troubled { slot, trouble }), _) => format!(
            "{} was accepted as {id}, but {}.\n\
             It goes on trying, later and later: xtreem show {id}, xtreem stop {id}\n{}",
            app.name,
            cannot_start(*slot, trouble),
            last_lines(&attempt.ill)
        ),
        (Some(Outcome::NotPlaced(report)), _) => format!(
            "Nothing was started{}\n{}",
            match attempt.wait {
                None => ". --wait tries again until enough nodes are found.".to_owned(),
                Some(_) => format!(" in {seconds:.0} s."),
            },
            if report.refused.busy > 0 { who_offers(&app.resources) } else { String::new() }
        ),
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
