//! `xtreem mpirun`: an MPI program on the nodes of an application, by Open MPI's own `mpirun`, without `ssh`.
//!
//! The application of `app.toml` is submitted with a program that only holds its slots. `mpirun` runs in slot
//! 0 (`head`), so that this machine needs neither MPI nor a way to the nodes; its daemons are started beside
//! the other slots on this command's word (`round`), because the user's key is here and nowhere else. When a
//! slot is lost, the program is started again once all slots run (`strength`).

mod daemon;
mod frame;
mod head;
mod hold;
mod input;
mod launcher;
mod probe;
mod round;
mod strength;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio::time::timeout;
use xtreem_allocation::Restart;
use xtreem_client::api::WantedView;
use xtreem_client::{ClientError, OperatorClient};
use xtreem_net::Identity;

use self::input::Input;
use self::round::{Ended, Loss, Starter};
use self::strength::Strength;
use crate::app_file::AppFile;
use crate::commands::exec::talk::{AskedToEnd, PIECES_MAX, print, typed};
use crate::commands::{agent_node, exec, run};
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{sign, text};

pub use daemon::{Arguments as DaemonArguments, run as run_daemon};
pub use head::{Arguments as HeadArguments, run as run_head};
pub use hold::{Arguments as HoldArguments, run as run_hold};
pub use launcher::{Arguments as LauncherArguments, run as run_launcher};

/// Holds a slot until it is ended.
pub const HOLD_COMMAND: &str = "mpi-hold";
pub const HEAD_COMMAND: &str = "mpi-head";
pub const DAEMON_COMMAND: &str = "mpi-daemon";
pub const LAUNCHER_COMMAND: &str = "mpi-launch";

/// Hosts are called so for `mpirun`, and by the slot's number.
const HOST_PREFIX: &str = "slot";
/// As many commands as an agent passes on for its users, the head among them.
const SLOTS_MAX: u16 = 255;
/// Commands beside slots that are under way for one `mpirun`; one more is refused. It starts one a slot.
const LAUNCHES_MAX: usize = SLOTS_MAX as usize;
/// Longest command of them: those of Open MPI have some hundred bytes.
const LAUNCH_MAX_BYTES: usize = 32 << 10;
/// For the application to be stopped at the end.
const STOP_MAX: Duration = Duration::from_secs(20);
/// While some slots are waited for the others are told so often that they are still needed.
const KEEP_PERIOD: Duration = Duration::from_secs(10 * 60);
/// Goes to the slot's directory, which has another path on each node; takes the network of the slot's node
/// where the user names none; and becomes the program.
const BEFORE_PROGRAM: &str = "cd \"$HOME\" || exit\n\
    if [ -z \"$OMPI_MCA_btl_tcp_if_include$OMPI_MCA_btl_tcp_if_exclude\" ] && [ \"$XTREEM_MPI_NETWORK\" ]; then\n\
    export OMPI_MCA_btl_tcp_if_include=\"$XTREEM_MPI_NETWORK\"\n\
    fi\n\
    exec \"$0\" \"$@\"";

/// Examples and how it ends.
const HELP: &str = "\
Examples:
  xtreem mpirun examples/mpi/app.toml
  xtreem mpirun app.toml -n 12 --wait=10m
  xtreem mpirun app.toml -- --map-by node --mca btl_tcp_if_include 10.0.0.0/8

app.toml is that of `xtreem run`; its `command` is the MPI program. Every slot has room for as many ranks as it has
`resources.cores`. The nodes need Open MPI 4; this machine needs nothing. When a node dies the program is started again
from its beginning.

Ends with the code of mpirun, and the application is stopped. Codes 1 to 5 are also those of `xtreem run`, when it was
not started, or not to its end: then a line begins with `error:`. After Ctrl-C it is 130.";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// What to run
    #[arg(value_name = "APP.TOML")]
    file: PathBuf,
    /// Ranks [default: as many as all slots have room for]
    #[arg(short = 'n', long = "np", value_name = "RANKS", value_parser = clap::value_parser!(u32).range(1..))]
    ranks: Option<u32>,
    /// Start the program again so many times when nodes are lost
    #[arg(long, default_value_t = 3, value_name = "TIMES")]
    restarts: u32,
    /// Try again while too few nodes are found, for so long (as 30s, 10m, 2h) [default: 24h, the longest]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "24h",
        value_parser = run::time
    )]
    wait: Option<Duration>,
    #[command(flatten)]
    agent: AgentSocket,
    #[command(flatten)]
    user: Credential,
    /// Options of Open MPI's mpirun
    #[arg(last = true, value_name = "MPIRUN OPTIONS")]
    options: Vec<OsString>,
}

/// What is to be run in the slots.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    /// The first word of its command.
    program: String,
    /// Ranks for which each slot has room.
    each: u32,
    /// Arguments of `mpirun`.
    words: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let app = AppFile::load(&arguments.file).map_err(Failure::usage)?;
    let (job, app) = job(app, arguments.ranks, &arguments.options)?;
    let user = Arc::new(arguments.user.load()?);
    let client = arguments.agent.client()?;
    agent_node::warn_if_cut_off(&client);
    block_on(async {
        let mut asked = AskedToEnd::listen()?;
        run::warn_of_unknown(&client, &app.placement).await;
        let app = run::sized(&client, app).await?;
        enough_room(&job, app.nodes, arguments)?;
        let application = run::signed(&client, &app, &user).await?;
        let id = application.record.id.to_string();
        let whole = async {
            let attempt = run::submit(&client, &app, &application, arguments.wait).await?;
            if attempt.exit() != Exit::Success {
                eprint!("{}", run::told(&app, &attempt));
                return Ok(attempt.exit());
            }
            let (pieces, printing) = mpsc::channel(PIECES_MAX);
            let mut printed = print(printing)?;
            let starter = Starter {
                client: client.clone(),
                user: user.clone(),
                app: application.record.id,
                printer: pieces,
            };
            let mut early = None;
            let ended = tokio::select! {
                ended = rounds(starter, &job, app.nodes, arguments.restarts) => ended,
                out = &mut printed => {
                    early = Some(out);
                    Ok(Exit::OutputClosed)
                }
            };
            // What was written is out before anything else is said.
            let out = match early {
                Some(out) => out,
                None => printed.await,
            };
            match out {
                Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::OutputClosed),
                Ok(Err(error)) => Err(Failure::new(Exit::Failed, format!("standard output: {error}"))),
                _ => ended,
            }
        };
        let ended = tokio::select! {
            ended = whole => ended,
            signal = asked.signal() => Ok(Exit::Command(signal)),
        };
        let stopped = async {
            timeout(STOP_MAX, stop(&client, &user, &id))
                .await
                .unwrap_or_else(|_| Err("no answer in time".into()))
        };
        let stopped = tokio::select! {
            stopped = stopped => stopped,
            _ = asked.signal() => Err("asked to end at once".to_owned()),
        };
        if let Err(why) = stopped {
            eprintln!("xtreem mpirun: perhaps it runs on, {why}: xtreem stop {id}");
        }
        ended.map_err(as_of_run)
    })
}

/// Of commands beside slots nobody knows here.
fn as_of_run(failure: Failure) -> Failure {
    let exit = match failure.exit {
        Exit::ExecRefused => Exit::Refused,
        Exit::ExecNotFound | Exit::ExecMoved | Exit::ExecLost | Exit::ExecFailed => Exit::Failed,
        Exit::ExecNotExecutable | Exit::ExecNoCommand => Exit::Failed,
        other => other,
    };
    Failure { exit, ..failure }
}

/// Of the file what `mpirun` runs, and the application that holds the slots.
fn job(app: AppFile, ranks: Option<u32>, options: &[OsString]) -> Result<(Job, AppFile), Failure> {
    let program = app.program.command.first().cloned().unwrap_or_default();
    let each = (app.resources.cores_milli / 1_000).max(1);
    let mut words = exec::words(options)?;
    words.extend(ranks.iter().flat_map(|ranks| ["-n".to_owned(), ranks.to_string()]));
    words.extend(["sh", "-c", BEFORE_PROGRAM].map(str::to_owned));
    words.extend(app.program.command.iter().cloned());
    // With some more before them.
    let len: usize = words.iter().map(|word| word.len() + 1).sum();
    if len > LAUNCH_MAX_BYTES {
        let error = format!("options and command have {len} bytes; {LAUNCH_MAX_BYTES} are allowed");
        return Err(Failure::usage(error).with_hint("write what is long to a file, and name it in `files`"));
    }
    // One that ends well has waited for long enough.
    let mut app = AppFile { restart: Restart::OnFailure, ..app };
    app.program.command = ["xtreem", HOLD_COMMAND].map(str::to_owned).to_vec();
    Ok((Job { program, each, words }, app))
}

/// Open MPI says the same in thirty lines, once all slots run.
fn enough_room(job: &Job, slots: u16, arguments: &Arguments) -> Result<(), Failure> {
    if slots > SLOTS_MAX {
        return Err(Failure::usage(format!("{slots} slots are wanted; MPI runs in {SLOTS_MAX} at most"))
            .with_hint("give each slot more cores: resources.cores"));
    }
    let room = u64::from(slots) * u64::from(job.each);
    let may_be_more =
        arguments.options.iter().any(|option| option.to_string_lossy().ends_with("-oversubscribe"));
    match arguments.ranks.map(u64::from).filter(|ranks| *ranks > room && !may_be_more) {
        None => Ok(()),
        Some(ranks) => Err(Failure::usage(format!(
            "{ranks} ranks, and {} with {} each have room for {room}",
            text::count(slots.into(), "slot"),
            text::count(job.each as usize, "core"),
        ))
        .with_hint("raise `nodes` or `resources.cores`, or add `-- --oversubscribe`")),
    }
}

/// Runs the program, again and again while nodes are lost, as often as allowed.
async fn rounds(starter: Starter, job: &Job, slots: u16, restarts: u32) -> Result<Exit, Failure> {
    let (mut strength, mut input) = (Strength::default(), Input::new(typed()?));
    let id = starter.app.to_string();
    let mut restarted = 0;
    loop {
        loop {
            if let Ok(reached) = timeout(KEEP_PERIOD, strength.reach(&starter.client, &id)).await {
                break reached?;
            }
            // What the slots that run answer is asked again when all do.
            let _ = probe::probe(&starter, slots, &job.program, &strength).await;
        }
        let hosts = match probe::probe(&starter, slots, &job.program, &strength).await? {
            Ok(answers) => answers,
            Err(losses) => {
                strength.lost(&losses);
                continue;
            }
        };
        if restarted > 0 {
            eprintln!("xtreem mpirun: started again");
        }
        let (losses, code) = match round::run(&starter, slots, job.each, &job.words, &mut input).await? {
            Ended::Exited(code) => return Ok(Exit::Command(code)),
            Ended::Lost(losses, code) => (losses, code),
        };
        strength.lost(&losses);
        let lost = losses.iter().map(|Loss { slot, why }| {
            format!("{} ({}) was lost: {why}", strength.node(*slot), probe::host(&hosts, *slot))
        });
        let lost = lost.collect::<Vec<_>>().join("; ");
        let over = if restarts == 0 {
            "it is not started again".to_owned()
        } else if restarted == restarts {
            format!("it was started again {} already", text::count(restarts as usize, "time"))
        } else if !input.rewind() {
            "it has read more of its standard input than is kept for another run".to_owned()
        } else {
            restarted += 1;
            eprintln!(
                "xtreem mpirun: {lost}\nxtreem mpirun: the program is started again ({restarted} of {restarts}) once \
                 all slots run"
            );
            continue;
        };
        let failure = Failure::new(code.map_or(Exit::Failed, Exit::Command), format!("{lost}; {over}"));
        return Err(failure.with_hint("--restarts says how many times it may be started again"));
    }
}

/// The owner's last word on the application, if it ever was one.
async fn stop(client: &OperatorClient, user: &Identity, id: &str) -> Result<(), String> {
    let current = match client.app(id).await {
        Ok(shown) => shown.record,
        Err(ClientError::Refused { status: 404, .. }) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if current.wanted == WantedView::Stopped {
        return Ok(());
    }
    let stopped = sign::stopped(&current, user).and_then(|record| sign::encoded(&record));
    let stopped = stopped.map_err(|failure| failure.message)?;
    let reply = client.publish(id, stopped).await.map_err(|error| error.to_string())?;
    if reply.taken_by > 0 || reply.newer.is_some_and(|newer| newer.wanted == WantedView::Stopped) {
        Ok(())
    } else {
        Err("no node that holds it could be told".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(more: &str) -> AppFile {
        let text = format!("name = \"pi\"\nnodes = 4\ncommand = [\"pi\", \"--digits\", \"9\"]\n{more}");
        AppFile::parse(&text, "app.toml", std::path::Path::new("")).expect("an application")
    }

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_slots_are_held_and_mpirun_runs_the_program() {
        let (job, app) = job(app(""), Some(3), &words(&["--map-by", "node"])).expect("a job");
        assert_eq!(app.program.command, ["xtreem", HOLD_COMMAND]);
        assert_eq!(app.restart, Restart::OnFailure);
        let expected = ["--map-by", "node", "-n", "3", "sh", "-c", BEFORE_PROGRAM, "pi", "--digits", "9"];
        assert_eq!((job.program.as_str(), job.each), ("pi", 1));
        assert_eq!(job.words, expected);
        let long = words(&["x".repeat(LAUNCH_MAX_BYTES).as_str()]);
        assert_eq!(super::job(self::app(""), None, &long).map_err(|failure| failure.exit), Err(Exit::Usage));
    }

    #[test]
    fn the_shell_knows_the_variable_of_the_daemon() {
        assert!(BEFORE_PROGRAM.contains(&format!("\"${}\"", daemon::NETWORK)));
    }

    #[test]
    fn slots_have_room_for_as_many_ranks_as_they_have_cores() {
        for (cores, each) in [("0.5", 1), ("1", 1), ("3.9", 3), ("16", 16)] {
            let (job, _) = job(app(&format!("resources.cores = {cores}\n")), None, &[]).expect("a job");
            assert_eq!(job.each, each, "{cores}");
        }
    }
}
