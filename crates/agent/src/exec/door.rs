//! The way to a running program for commands beside it: they join its namespaces, and have its directory,
//! user, fence and limits.
//!
//! The command's helper stands outside, as the program's does. Its child within the program's PID namespace
//! is a subreaper over the command: with the command it ends whatever that left. And all of them end with PID
//! 1 of that namespace, which is the program's. Where there are no namespaces, the helper itself is the
//! subreaper.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{chdir, setsid};

use super::helper::{Line, over_a_child, prepare_for_the_program};
use super::init::{Scope, Streams, supervise};
use super::link::{Helper, Setup};
use super::order::{BESIDE, Exit, Mode, Order, Part, ProgramUser, Report};
use super::plan::{self, PlanError};
use super::raw;
use super::running::StartError;

/// Longest reason for which a command is not found: a report has room for four times as many bytes.
const REASON_MAX_CHARS: usize = 1_000;

/// A program's helper, kept so that its number can never be that of another process, and how the program was
/// started.
#[derive(Debug)]
pub struct Door {
    /// `/proc/PID`, which leads nowhere once that process is gone (proc(5)).
    helper: OwnedFd,
    order: Order,
}

/// A command that runs beside a program. Dropping it ends it and all that it started.
#[derive(Debug)]
pub struct Beside(Helper);

impl Door {
    /// While its parent has not waited for the process.
    pub(super) fn of(helper: u32, order: Order) -> io::Result<Door> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let helper = open(Path::new(&format!("/proc/{helper}")), flags, FileMode::empty())?;
        Ok(Door { helper, order })
    }

    /// Whom the program runs as, other than the agent's user.
    pub fn user(&self) -> Option<ProgramUser> {
        self.order.user
    }

    /// Starts `command` with these three streams, of which a terminal is all three, and `env` besides the
    /// program's environment. `self_exe` as for [`super::start`]. Cancelling leaves nothing behind.
    pub async fn start(
        &self,
        command: &[String],
        env: &[(String, String)],
        streams: [OwnedFd; 3],
        has_terminal: bool,
        self_exe: &Path,
    ) -> Result<Beside, StartError> {
        let (name, arguments) = plan::checked(command)?;
        let mut order = Order {
            part: Part::Beside { has_terminal },
            program: PathBuf::from(name),
            arguments: arguments.to_vec(),
            ..self.order.clone()
        };
        order.env.retain(|(name, _)| !env.iter().any(|(other, _)| other == name));
        order.env.extend_from_slice(env);
        let namespaces = self.namespaces().map_err(|_| StartError::ProgramEnded)?;
        let line = order.line()?;
        let setup = Setup {
            self_exe,
            kind: Some(BESIDE),
            descriptors: &streams.iter().chain(&namespaces).map(AsFd::as_fd).collect::<Vec<_>>(),
            output: Stdio::null(),
        };
        let helper = Helper::spawn(setup)?;
        // They end with the command.
        drop(streams);
        let (helper, report) = helper.give(&line).await.map_err(|silent| silent.of(self_exe, ""))?;
        match report {
            Report::Started { .. } => Ok(Beside(helper)),
            Report::NotStarted { reason, errno } => Err(StartError::Refused { reason, errno }),
            Report::NoNamespaces { reason } => Err(StartError::NotIsolated { reason }),
            Report::Ended(exit) => Err(StartError::Refused { reason: exit.to_string(), errno: None }),
        }
    }

    /// In the order in which they are joined: the user namespace gives the right to the others.
    fn namespaces(&self) -> nix::Result<Vec<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let names = joined(&self.order).iter().map(|(name, _)| Path::new("ns").join(name));
        names.map(|path| openat(&self.helper, &path, flags, FileMode::empty())).collect()
    }
}

/// The namespaces that the program's helper has made (`sandbox`), and what they are.
fn joined(order: &Order) -> &'static [(&'static str, CloneFlags)] {
    const ALL: [(&str, CloneFlags); 4] = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("pid_for_children", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    match (order.mode, order.user) {
        (Mode::ProcessGroup, _) => &[],
        (Mode::Namespaces, None) => &ALL,
        (Mode::Namespaces, Some(_)) => &ALL[1..],
    }
}

impl Beside {
    /// Waits until nothing of it is left. Without an exit it was killed with its sandbox, as when the program
    /// ended. May be cancelled and called again.
    pub async fn wait(&mut self) -> Option<Exit> {
        self.0.wait().await
    }

    /// SIGTERM to the command's process group, after `grace` SIGKILL to all that it started. May be cancelled
    /// and called again.
    pub async fn stop(&mut self, grace: Duration) -> Option<Exit> {
        self.0.stop(grace).await
    }
}

/// The helper's main.
pub(super) fn help() -> io::Result<()> {
    raw::close_on_exec_from_3();
    let _ = setsid();
    let mut line = Line::take_over()?;
    let mut given = receive(line.control.as_fd())?;
    let mut order = line.order()?;
    let namespaces = given.split_off(given.len().min(3));
    let Ok(streams) = <[OwnedFd; 3]>::try_from(given) else { return Err(io::ErrorKind::InvalidData.into()) };
    prepare_for_the_program();
    for (namespace, (name, kind)) in namespaces.iter().zip(joined(&order)) {
        if let Err(errno) = setns(namespace, *kind) {
            line.report(&Report::NoNamespaces { reason: format!("join {name}: {errno}") });
            return Ok(());
        }
    }
    drop(namespaces);
    chdir("/")?;
    match order.mode {
        Mode::Namespaces => over_a_child(line, move |mut line, helper_lives| {
            run(&mut order, streams, &mut line, Some(helper_lives));
        }),
        Mode::ProcessGroup => {
            run(&mut order, streams, &mut line, None);
            Ok(())
        }
    }
}

fn run(order: &mut Order, streams: [OwnedFd; 3], line: &mut Line, helper_lives: Option<OwnedFd>) {
    let found = prctl::set_child_subreaper(true)
        .map_err(|errno| (errno.to_string(), errno))
        .and_then(|()| find(order).map_err(|error| (error.to_string(), errno_of(&error))));
    match found {
        Ok(program) => {
            order.program = program;
            supervise(order, Streams::Given(streams), line, helper_lives, Scope::ProcessGroup);
        }
        Err((reason, errno)) => {
            // A caller may name a program of any length.
            let reason = reason.chars().take(REASON_MAX_CHARS).collect();
            line.report(&Report::NotStarted { reason, errno: Some(errno as i32) });
        }
    }
}

/// Where the command is, as the program sees it.
fn find(order: &Order) -> Result<PathBuf, PlanError> {
    let name = order.program.to_str().ok_or(PlanError::NotUtf8)?;
    plan::find_program(name, &order.dir, &order.env)
}

fn errno_of(error: &PlanError) -> Errno {
    match error {
        PlanError::NotExecutable { .. } => Errno::EACCES,
        _ => Errno::ENOENT,
    }
}

/// What the agent hands over before the order: one byte, and the descriptors with it.
fn receive(control: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    // Three streams and four namespaces.
    let mut room = cmsg_space!([i32; 7]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(control.as_raw_fd(), &mut slices, Some(&mut room), flags)?;
    let mut given = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            given.extend(descriptors.into_iter().map(raw::own));
        }
    }
    Ok(given)
}
