//! The agent's side of one helper: its order goes down, its reports come up, and its end is the end of all
//! that it started.

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::helper::INTERNAL_COMMAND;
use super::order::{Exit, REPORT_MAX_BYTES, Report, TERMINATE};
use super::running::StartError;

/// Longest time from the order to the program's start. Measured: 5 ms; the rest is for a machine that swaps.
const START_MAX: Duration = Duration::from_secs(20);
/// After the kill: longest time for the kernel to take a namespace down before the helper is killed as well.
const KILL_MAX: Duration = Duration::from_secs(5);

/// What a helper is started with.
pub(super) struct Setup<'a> {
    /// A binary whose `main` calls `internal_main` first.
    pub self_exe: &'a Path,
    /// What kind of helper it is, if not that of a slot.
    pub kind: Option<&'static str>,
    /// Handed over before the order.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Where its complaints go, and for a slot all that is printed.
    pub output: Stdio,
}

/// A running helper. Dropping it ends everything that it started.
#[derive(Debug)]
pub(super) struct Helper {
    process: Child,
    /// `None` once everything was told to end.
    control: Option<UnixStream>,
    reports: Reports,
    pid: u32,
    exit: Option<Exit>,
    is_over: bool,
}

impl Helper {
    /// Starts one. Nothing is said to it yet.
    pub fn spawn(setup: Setup<'_>) -> Result<Fresh, StartError> {
        let Setup { self_exe, kind, descriptors, output } = setup;
        let failed = |error: std::io::Error| StartError::Helper {
            self_exe: self_exe.display().to_string(),
            reason: error.to_string(),
            errno: error.raw_os_error(),
        };
        let (near, far) = StdUnixStream::pair().map_err(failed)?;
        near.set_nonblocking(true).map_err(failed)?;
        let mut command = Command::new(self_exe);
        command.arg(INTERNAL_COMMAND).args(kind).env_clear().current_dir("/");
        command.stdin(Stdio::from(OwnedFd::from(far))).stdout(Stdio::piped()).stderr(output);
        let mut process = command.spawn().map_err(failed)?;
        // The command holds its ends of what it was given until it is dropped, and they are to end with their
        // users.
        drop(command);
        if !descriptors.is_empty() {
            hand_over(&near, descriptors).map_err(failed)?;
        }
        let control = UnixStream::from_std(near).map_err(failed)?;
        let reports = process.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let pid = process.id().unwrap_or_default();
        let reports = Reports { pipe: BufReader::new(reports), line: Vec::new() };
        let helper = Helper { process, control: Some(control), reports, pid, exit: None, is_over: false };
        Ok(Fresh(helper))
    }

    /// Process number, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until nothing of what it started is left, and says how the program ended; nothing when the
    /// sandbox itself was killed. May be cancelled and called again.
    pub async fn wait(&mut self) -> Option<Exit> {
        if !self.is_over {
            if self.exit.is_none()
                && let Ok(Some(Report::Ended(exit))) = self.reports.next().await
            {
                self.exit = Some(exit);
            }
            let _ = self.process.wait().await;
            self.is_over = true;
        }
        self.exit
    }

    /// Asks the program to end (SIGTERM), and after `grace` ends it and all that it started.
    ///
    /// When this is cancelled the program may have got the first signal; it can be called again.
    pub async fn stop(&mut self, grace: Duration) -> Option<Exit> {
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
        let _ = self.process.start_kill();
        self.wait().await
    }
}

/// A helper that has not got its order yet.
pub(super) struct Fresh(Helper);

/// A helper did not say whether it did what it was told.
pub(super) enum Silent {
    Failed(std::io::Error),
    /// It ended without a word.
    Ended,
    Late,
}

impl Fresh {
    /// Gives the line of the order, and takes the first report.
    pub async fn give(self, line: &[u8]) -> Result<(Helper, Report), Silent> {
        let Fresh(mut helper) = self;
        let exchange = async {
            if let Some(control) = &mut helper.control {
                // A helper that takes no order has no report either.
                let _ = control.write_all(line).await;
            }
            helper.reports.next().await
        };
        match timeout(START_MAX, exchange).await {
            Ok(Ok(Some(report))) => Ok((helper, report)),
            Ok(Ok(None)) => Err(Silent::Ended),
            Ok(Err(error)) => Err(Silent::Failed(error)),
            Err(_) => Err(Silent::Late),
        }
    }
}

impl Silent {
    /// As the failure of a start; `words` are what the helper had to say.
    pub fn of(self, self_exe: &Path, words: &str) -> StartError {
        let reason = match self {
            Silent::Failed(error) => error.to_string(),
            Silent::Ended => format!("it ended without a word ({words}); does its main call internal_main?"),
            Silent::Late => format!("no answer within {START_MAX:?}"),
        };
        StartError::Helper { self_exe: self_exe.display().to_string(), reason, errno: None }
    }
}

/// One byte, and descriptors with it (unix(7), `SCM_RIGHTS`). The socket is new: it has room.
fn hand_over(to: &StdUnixStream, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let raw: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let (byte, rights) = ([IoSlice::new(&[0])], [ControlMessage::ScmRights(&raw)]);
    sendmsg::<()>(to.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    Ok(())
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
