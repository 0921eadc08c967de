//! The agent's side of a running program.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use thiserror::Error;
use tokio::time::timeout;

use super::door::Door;
use super::link::{Helper, Setup, Silent};
use super::log::Log;
use super::order::{Exit, Isolation, Mode, ProgramUser, Report};
use super::plan::{Plan, PlanError, TEMPORARY, Wanted};

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
    /// Of a command beside a program.
    #[error("the program beside which it was to run has ended")]
    ProgramEnded,
}

/// A program with its sandbox. Dropping it kills everything in the sandbox.
#[derive(Debug)]
pub struct Running {
    helper: Helper,
    log: Log,
    isolation: Isolation,
    door: Arc<Door>,
}

/// Runs `plan`. `self_exe` is a binary whose `main` calls [`super::internal_main`] first: as a rule
/// `/proc/self/exe`, which also holds when the file was replaced by an update.
///
/// Needs a tokio runtime with time and IO. Cancelling leaves nothing behind.
pub async fn start(plan: Plan, self_exe: &Path) -> Result<Running, StartError> {
    let first = if plan.isolation == Wanted::ProcessGroup { Mode::ProcessGroup } else { Mode::Namespaces };
    let mut order = plan.order(first)?;
    make_temporary(&plan).map_err(StartError::Disk)?;
    let log = || Log::create(&plan.log_dir, plan.log_max_bytes).map_err(StartError::Disk);
    let (mut helper, mut log_of, mut report) = launch(&order.line()?, log()?, self_exe).await?;
    let mut namespaces = match first {
        Mode::Namespaces => Ok(()),
        Mode::ProcessGroup => Err("as configured".to_owned()),
    };
    if let Report::NoNamespaces { reason } = report {
        if plan.isolation == Wanted::Namespaces {
            return Err(StartError::NotIsolated { reason });
        }
        tracing::warn!(%reason, "no namespaces: the program runs as a child of the agent, as is allowed");
        order = plan.order(Mode::ProcessGroup)?;
        // The first log is finished, and a second helper needs a fresh one.
        (helper, log_of, report) = launch(&order.line()?, log()?, self_exe).await?;
        namespaces = Err(reason);
    }
    match report {
        Report::Started { landlock } => {
            let isolation = Isolation { namespaces, landlock };
            tracing::info!(pid = helper.pid(), %isolation, "program started");
            let door = Arc::new(Door::of(helper.pid(), order).map_err(StartError::Disk)?);
            Ok(Running { helper, log: log_of, isolation, door })
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
async fn launch(order: &[u8], log: Log, self_exe: &Path) -> Result<(Helper, Log, Report), StartError> {
    let (output, log_pipe) = pipe2(OFlag::O_CLOEXEC).map_err(|error| StartError::Disk(error.into()))?;
    let output_of_helper = Stdio::from(log_pipe);
    let setup = Setup { self_exe, kind: None, descriptors: &[], output: output_of_helper };
    let helper = Helper::spawn(setup)?;
    let filled = log.clone();
    // A thread of its own: neither a slow disk nor a program that prints without end can hold up the agent.
    std::thread::Builder::new()
        .name("slot-log".into())
        .spawn(move || filled.fill_from(File::from(output)))
        .map_err(|error| StartError::Helper {
        self_exe: self_exe.display().to_string(),
        reason: error.to_string(),
        errno: error.raw_os_error(),
    })?;
    match helper.give(order).await {
        Ok((helper, report)) => Ok((helper, log, report)),
        Err(silent) => {
            if matches!(silent, Silent::Ended) {
                let _ = timeout(LOG_END_MAX, log.closed()).await;
            }
            Err(silent.of(self_exe, &log.tail_lines(3).unwrap_or_default().join("; ")))
        }
    }
}

impl Running {
    /// Process number of the helper over the program, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.helper.pid()
    }

    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The program's log; stays readable after this value is dropped.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The way to the program for commands beside it. It leads nowhere once the program has ended.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Waits for the program's end. When this returns, nothing of the program runs (without namespaces: as
    /// far as [`Isolation`] promises) and its log is complete. May be cancelled and called
    /// again.
    pub async fn wait(&mut self) -> Exit {
        let exit = self.helper.wait().await;
        self.ended(exit).await
    }

    /// Ends the program: SIGTERM to all its processes, after `grace` SIGKILL to all that is left.
    ///
    /// When this is cancelled the program may have got the first signal; it can be called again.
    pub async fn stop(&mut self, grace: Duration) -> Exit {
        let exit = self.helper.stop(grace).await;
        self.ended(exit).await
    }

    async fn ended(&self, exit: Option<Exit>) -> Exit {
        let _ = timeout(LOG_END_MAX, self.log.closed()).await;
        // Without a report the sandbox itself was killed: by the machine's operator, or for want of memory.
        exit.unwrap_or(Exit::Signal(Signal::SIGKILL as i32))
    }
}
