//! The helper's main: takes its order, goes into namespaces, leaves a child as PID 1 and waits for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use super::init::{Scope, Streams, supervise};
use super::order::{BESIDE, ORDER_MAX_BYTES, Order, Report};
use super::{door, order, raw, sandbox};

/// First argument that makes a binary the helper.
pub const INTERNAL_COMMAND: &str = "internal-exec";

/// Takes over when this process was started as the helper; `None` otherwise.
///
/// A binary that runs programs calls this first in its `main`, before it starts any thread: the kernel gives
/// a user namespace to single-threaded processes only.
pub fn internal_main(args: &[OsString]) -> Option<ExitCode> {
    let is_helper = args.get(1).is_some_and(|argument| argument == INTERNAL_COMMAND);
    let is_beside = args.get(2).is_some_and(|argument| argument == BESIDE);
    let help = if is_beside { door::help } else { help };
    is_helper.then(|| match help() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtreem {INTERNAL_COMMAND}: {error} (this command is the agent's own, not for users)");
            ExitCode::FAILURE
        }
    })
}

/// The helper's two pipes.
pub(super) struct Line {
    /// From the agent: the order, then single bytes. Its end means that the agent is dead or wants an end.
    pub control: File,
    reports: File,
}

impl Line {
    /// Moves the pipes out of the way of the program: its standard input is empty, its output the log.
    pub fn take_over() -> io::Result<Line> {
        let control = io::stdin().as_fd().try_clone_to_owned()?;
        let reports = io::stdout().as_fd().try_clone_to_owned()?;
        dup2_stdin(File::open("/dev/null")?)?;
        let log = io::stderr().as_fd().try_clone_to_owned()?;
        dup2_stdout(&log)?;
        dup2_stderr(&log)?;
        Ok(Line { control: control.into(), reports: reports.into() })
    }

    pub fn order(&mut self) -> io::Result<Order> {
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        while line.last() != Some(&b'\n') {
            match self.control.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => line.extend_from_slice(&chunk[..len]),
            }
            if line.len() > ORDER_MAX_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// An agent that no longer listens is noticed on the control pipe; nobody else could be told.
    pub fn report(&mut self, report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = self.reports.write_all(&line);
        }
    }
}

fn help() -> io::Result<()> {
    raw::close_on_exec_from_3();
    // Its own session: Ctrl-C at the agent's terminal is for the agent alone.
    let _ = setsid();
    let mut line = Line::take_over()?;
    chdir("/")?;
    let order = line.order()?;
    prepare_for_the_program();
    match order.mode {
        order::Mode::Namespaces => run_in_namespaces(line, &order),
        order::Mode::ProcessGroup => {
            prctl::set_child_subreaper(true)?;
            supervise(&order, Streams::Log, &mut line, None, Scope::ProcessGroup);
            Ok(())
        }
    }
}

/// What goes over to the program by itself.
pub(super) fn prepare_for_the_program() {
    // What the agent's own files need is nothing to the program, and a directory made for its mounts must be
    // open to another user.
    umask(Mode::from_bits_truncate(0o022));
    // When memory runs out the kernel shall choose the program, not the agent (proc_pid_oom_score_adj(5)).
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

fn run_in_namespaces(mut line: Line, order: &Order) -> io::Result<()> {
    if let Err(refused) = sandbox::enter_namespaces(order) {
        line.report(&Report::NoNamespaces { reason: refused.to_string() });
        return Ok(());
    }
    let order = order.clone();
    over_a_child(line, move |line, helper_lives| be_init(line, &order, helper_lives))
}

/// Forks. The child does its work and dies with this process, which waits for it.
pub(super) fn over_a_child(line: Line, child_work: impl FnOnce(Line, OwnedFd)) -> io::Result<()> {
    // Only this process holds the writing end: when it dies, PID 1 sees the pipe end, also if it died before
    // PID 1 could ask for the parent's death signal.
    let (helper_lives, helper_end) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    match raw::fork_after_unshare()? {
        ForkResult::Child => {
            drop(helper_end);
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            child_work(line, helper_lives);
            Ok(())
        }
        ForkResult::Parent { child } => {
            // PID 1 alone talks to the agent from here on.
            drop((line, helper_lives));
            while waitpid(child, None) == Err(Errno::EINTR) {}
            Ok(())
        }
    }
}

/// PID 1. When it returns and exits, the kernel kills what is left in the namespace before the helper's
/// `waitpid` returns (pid_namespaces(7)).
fn be_init(mut line: Line, order: &Order, helper_lives: OwnedFd) {
    match sandbox::arrange_mounts(order) {
        Ok(()) => supervise(order, Streams::Log, &mut line, Some(helper_lives), Scope::Namespace),
        Err(refused) => line.report(&Report::NoNamespaces { reason: refused.to_string() }),
    }
}
