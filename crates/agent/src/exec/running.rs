//! The agent's side of a running program.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::helper::INTERNAL_COMMAND;
use super::log::Log;
use super::order::{Exit, Isolation, Landlock, Mode, ProgramUser, REPORT_MAX_BYTES, Report, TERMINATE};
use super::plan::{Plan, PlanError, TEMPORARY, Wanted};

/// Longest time from the order to the program's start. Measured: 5 ms; the rest is for a machine that swaps.
const START_MAX: Duration = Duration::from_secs(20);
/// After the kill: longest time for the kernel to take a namespace down before the helper is killed as well.
const KILL_MAX: Duration = Duration::from_secs(5);
/// After the end of the program: longest time for its log to end. It ends at once unless, without namespaces,
/// a process escaped that still holds it.
const LOG_END_MAX: Duration = Duration::from_secs(1);

/// A program that could not be started. Nothing of it runs.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("the slot's log or temporary directory cannot be made: {0}")]
    Disk(std::io::Error),
    #[error("the helper process cannot be started from {self_exe}: {reason}")]
    Helper { self_exe: String, reason: String, errno: Option<i32> },
    /// Nothing but namespaces was allowed, and the kernel refused them.
    #[error("programs cannot be isolated on this machine: {reason}")]
    NotIsolated { reason: String },
    #[error("the program cannot be executed: {reason}")]
    Refused { reason: String, errno: Option<i32> },
}

/// A program with its sandbox. Dropping it kills everything in the sandbox.
#[derive(Debug)]
pub struct Running {
    helper: Child,
    /// `None` once everything was told to end.
    control: Option<ChildStdin>,
    reports: Reports,
    log: Log,
    isolation: Isolation,
    pid: u32,
    exit: Option<Exit>,
    end: Option<Exit>,
}

/// Runs `plan`. `self_exe` is a binary whose `main` calls [`super::internal_main`] first: as a rule
/// `/proc/self/exe`, which also holds when the file was replaced by an update.
///
/// Needs a tokio runtime with time and IO. Cancelling leaves nothing behind.
pub async fn start(plan: Plan, self_exe: &Path) -> Result<Running, StartError> {
    let first = if plan.isolation == Wanted::ProcessGroup { Mode::ProcessGroup } else { Mode::Namespaces };
    let order = plan.order(first)?;
    make_temporary(&plan).map_err(StartError::Disk)?;
    let log = || Log::create(&plan.log_dir, plan.log_max_bytes).map_err(StartError::Disk);
    let (mut running, mut report) = launch(&order, log()?, self_exe).await?;
    let mut namespaces = match first {
        Mode::Namespaces => Ok(()),
        Mode::ProcessGroup => Err("as configured".to_owned()),
    };
    if let Report::NoNamespaces { reason } = report {
        if plan.isolation == Wanted::Namespaces {
            return Err(StartError::NotIsolated { reason });
        }
        tracing::warn!(%reason, "no namespaces: the program runs as a child of the agent, as is allowed");
        let order = plan.order(Mode::ProcessGroup)?;
        // The first log is finished, and a second helper needs a fresh one.
        (running, report) = launch(&order, log()?, self_exe).await?;
        namespaces = Err(reason);
    }
    match report {
        Report::Started { landlock } => {
            running.isolation = Isolation { namespaces, landlock };
            tracing::info!(pid = running.pid, isolation = %running.isolation, "program started");
            Ok(running)
        }
        Report::NotStarted { reason, errno } => {
            // The plan has just found the file itself.
            let is_script = errno == Some(Errno::ENOENT as i32);
            let why = "; the file is there: is the interpreter that its first line names, or its loader?";
            Err(StartError::Refused { reason: reason + if is_script { why } else { "" }, errno })
        }
        Report::NoNamespaces { reason } => Err(StartError::Refused { reason, errno: None }),
        Report::Ended(exit) => Err(StartError::Refused { reason: exit.to_string(), errno: None }),
    }
}

/// The directory for temporary files, which is also the program's `/tmp`.
fn make_temporary(plan: &Plan) -> std::io::Result<()> {
    let temporary = plan.dir.join(TEMPORARY);
    std::fs::create_dir_all(&temporary)?;
    plan.user.map_or(Ok(()), |user| give(&temporary, user))
}

/// Gives `path`, and what is below it, to the user that a program runs as. For what the agent has just made:
/// a program may change nothing of it meanwhile.
pub fn give(path: &Path, user: ProgramUser) -> std::io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Starts one helper, gives it its order and takes its first report.
async fn launch(order: &[u8], log: Log, self_exe: &Path) -> Result<(Running, Report), StartError> {
    let failed =
        |reason: String| StartError::Helper { self_exe: self_exe.display().to_string(), reason, errno: None };
    let refused = |error: std::io::Error| StartError::Helper {
        self_exe: self_exe.display().to_string(),
        reason: error.to_string(),
        errno: error.raw_os_error(),
    };
    let (output, log_pipe) = pipe2(OFlag::O_CLOEXEC).map_err(|error| StartError::Disk(error.into()))?;
    let mut command = Command::new(self_exe);
    command.arg(INTERNAL_COMMAND).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(log_pipe));
    let mut helper = command.spawn().map_err(refused)?;
    // The command holds the log's writing end until it is dropped; the log ends when all writers are gone.
    drop(command);
    let pid = helper.id().unwrap_or_default();
    let (Some(mut control), Some(reports)) = (helper.stdin.take(), helper.stdout.take()) else {
        return Err(failed("its pipes are missing".into()));
    };
    let filled = log.clone();
    // A thread of its own: neither a slow disk nor a program that prints without end can hold up the agent.
    std::thread::Builder::new()
        .name("slot-log".into())
        .spawn(move || filled.fill_from(File::from(output)))
        .map_err(refused)?;
    let mut reports = Reports { pipe: BufReader::new(reports), line: Vec::new() };
    let exchange = async {
        // A helper that takes no order has no report either.
        let _ = control.write_all(order).await;
        reports.next().await
    };
    let report = match timeout(START_MAX, exchange).await {
        Ok(Ok(Some(report))) => report,
        Ok(Ok(None)) => {
            let _ = timeout(LOG_END_MAX, log.closed()).await;
            let words = log.tail_lines(3).unwrap_or_default().join("; ");
            return Err(failed(format!(
                "it ended without a word ({words}); does its main call internal_main?"
            )));
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no answer within {START_MAX:?}"))),
    };
    let not_yet = Landlock::Missing { reason: "not started".to_owned() };
    let isolation = Isolation { namespaces: Ok(()), landlock: not_yet };
    Ok((
        Running { helper, control: Some(control), reports, log, isolation, pid, exit: None, end: None },
        report,
    ))
}

/// Reports as they come. What came of a line stays here when a reading is cancelled.
#[derive(Debug)]
struct Reports {
    pipe: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Reports {
    /// `None` when the helper's side is closed.
    async fn next(&mut self) -> std::io::Result<Option<Report>> {
        (&mut self.pipe).take(REPORT_MAX_BYTES).read_until(b'\n', &mut self.line).await?;
        let report = serde_json::from_slice(&self.line).ok();
        self.line.clear();
        Ok(report)
    }
}

impl Running {
    /// Process number of the helper over the program, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The program's log; stays readable after this value is dropped.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for the program's end. When this returns, nothing of the program runs (without namespaces: as
    /// far as [`Isolation`] promises) and its log is complete. May be cancelled and called
    /// again.
    pub async fn wait(&mut self) -> Exit {
        if let Some(end) = self.end {
            return end;
        }
        if self.exit.is_none()
            && let Ok(Some(Report::Ended(exit))) = self.reports.next().await
        {
            self.exit = Some(exit);
        }
        let _ = self.helper.wait().await;
        let _ = timeout(LOG_END_MAX, self.log.closed()).await;
        // Without a report the sandbox itself was killed: by the machine's operator, or for want of memory.
        let end = self.exit.unwrap_or(Exit::Signal(Signal::SIGKILL as i32));
        self.end = Some(end);
        end
    }

    /// Ends the program: SIGTERM to all its processes, after `grace` SIGKILL to all that is left.
    ///
    /// When this is cancelled the program may have got the first signal; it can be called again.
    pub async fn stop(&mut self, grace: Duration) -> Exit {
        if let Some(control) = &mut self.control {
            // A helper that is gone cannot be told, and `wait` finds that out.
            let _ = control.write_all(&[TERMINATE]).await;
        }
        if let Ok(exit) = timeout(grace, self.wait()).await {
            return exit;
        }
        self.control = None;
        if let Ok(exit) = timeout(KILL_MAX, self.wait()).await {
            return exit;
        }
        let _ = self.helper.start_kill();
        self.wait().await
    }
}
