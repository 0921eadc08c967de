//! The tiny init over one program: starts it, reaps, passes SIGTERM on, reports its end, and lets nothing
//! live on.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::fence;
use super::helper::Line;
use super::order::{Exit, Landlock, Order, Part, Report, TERMINATE};
use super::raw::{self, Becoming, Image};

/// Open files a program starts with, and may raise itself to: systemd's defaults since 240, which keep
/// `select(2)` working.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// What "everything" means when everything must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This process is PID 1: its exit ends all others.
    Namespace,
    /// This process is a subreaper: orphans come to it and are killed one by one.
    ProcessGroup,
}

/// Where a program reads and writes.
#[derive(Debug)]
pub(super) enum Streams {
    /// Nothing, and to the log, which is this process's own output.
    Log,
    /// Input, output and errors.
    Given([OwnedFd; 3]),
}

/// Runs the program to its end, or to the end of the agent or the helper.
pub(super) fn supervise(
    order: &Order,
    streams: Streams,
    line: &mut Line,
    helper_lives: Option<OwnedFd>,
    scope: Scope,
) {
    match start(order, streams, scope) {
        Ok((program, signals, landlock)) => {
            line.report(&Report::Started { landlock });
            let exit = watch(program, line, &signals, helper_lives.as_ref(), scope);
            line.report(&Report::Ended(exit));
        }
        Err(error) => {
            // Whoever runs a command names a program of any length, and a report has its own.
            let name: String = order.program.display().to_string().chars().take(1_000).collect();
            let reason = format!("{name}: {error}");
            line.report(&Report::NotStarted { reason, errno: error.raw_os_error() });
        }
    }
}

fn start(order: &Order, streams: Streams, scope: Scope) -> std::io::Result<(Pid, SignalFd, Landlock)> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let arrivals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    limit_resources()?;
    let mut command = Command::new(&order.program);
    command.current_dir(&order.dir).stdin(Stdio::null());
    if let Streams::Given([input, output, errors]) = streams {
        command.stdin(input).stdout(output).stderr(errors);
    }
    let has_terminal = order.part == Part::Beside { has_terminal: true };
    if !has_terminal {
        // Else it leads a session, and with it a group.
        command.process_group(0);
    }
    let (fence, landlock) = fence::build(order)?;
    let parent = (scope == Scope::ProcessGroup).then(getpid);
    let becoming = Becoming { parent, user: order.user, fence, has_terminal };
    raw::execute(&mut command, image(order)?, becoming);
    let child = command.spawn()?;
    // A process number fits i32: the kernel's own type.
    Ok((Pid::from_raw(child.id() as i32), arrivals, landlock))
}

fn image(order: &Order) -> std::io::Result<Image> {
    let name = order.program.as_os_str().as_bytes();
    let variables = order.env.iter().map(|(key, value)| format!("{key}={value}"));
    Ok(Image {
        path: CString::new(name)?,
        arguments: std::iter::once(CString::new(name))
            .chain(order.arguments.iter().map(|argument| CString::new(argument.as_str())))
            .collect::<Result<_, _>>()?,
        env: variables.map(CString::new).collect::<Result<_, _>>()?,
    })
}

/// Limits are inherited: set here, they hold for the program and all it starts.
fn limit_resources() -> nix::Result<()> {
    prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.0.min(hard), OPEN_FILES.1.min(hard))
}

fn watch(
    program: Pid,
    line: &mut Line,
    signals: &SignalFd,
    helper_lives: Option<&OwnedFd>,
    scope: Scope,
) -> Exit {
    loop {
        let mut sources = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(line.control.as_fd(), PollFlags::POLLIN),
        ];
        sources.extend(helper_lives.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        // An interrupted or refused poll looks at every source again: none of them blocks.
        let _ = poll(&mut sources, PollTimeout::NONE);
        let is_ready = |at: usize| sources.get(at).is_some_and(|source| source.any() == Some(true));
        let (control_ready, helper_gone) = (is_ready(1), is_ready(2));
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                terminate(program, scope);
            }
        }
        if let Some(exit) = reap(program) {
            if scope == Scope::ProcessGroup {
                end_descendants(program);
            }
            return exit;
        }
        let agent_gone = control_ready && {
            let mut byte = [0; 1];
            match line.control.read(&mut byte) {
                Ok(1) if byte[0] == TERMINATE => {
                    terminate(program, scope);
                    false
                }
                Ok(0) => true,
                _ => false,
            }
        };
        if agent_gone || helper_gone {
            return end_everything(program, scope);
        }
    }
}

/// Collects whoever ended; `Some` once the program itself did.
fn reap(program: Pid) -> Option<Exit> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                return Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// SIGTERM to all processes of the slot, as systemd does: children of a shell get their chance, too.
fn terminate(program: Pid, scope: Scope) {
    let _ = match scope {
        Scope::Namespace => kill(Pid::from_raw(-1), Signal::SIGTERM),
        Scope::ProcessGroup => killpg(program, Signal::SIGTERM),
    };
}

fn end_everything(program: Pid, scope: Scope) -> Exit {
    match scope {
        Scope::Namespace => {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            loop {
                match waitpid(program, None) {
                    Ok(WaitStatus::Exited(_, code)) => return Exit::Code(code),
                    Ok(_) | Err(Errno::ECHILD) => return Exit::Signal(Signal::SIGKILL as i32),
                    Err(_) => {}
                }
            }
        }
        Scope::ProcessGroup => end_descendants(program).unwrap_or(Exit::Signal(Signal::SIGKILL as i32)),
    }
}

/// Kills children until there are none. Grandchildren become children of this subreaper as their parents die,
/// so every round reaches deeper; a program that forks faster than it is killed can outrun this.
fn end_descendants(program: Pid) -> Option<Exit> {
    let mut exit = None;
    loop {
        let _ = killpg(program, Signal::SIGKILL);
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => exit = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                exit = Some(Exit::Signal(signal as i32));
            }
            Err(Errno::ECHILD) => return exit,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Direct children of this process, found by the parent's number in every /proc/PID/stat. None where /proc is
/// of other namespaces, in whose numbers others would be meant.
fn children() -> Vec<Pid> {
    let me = getpid().as_raw();
    if std::fs::read_link("/proc/self").is_ok_and(|number| number.as_os_str() != me.to_string().as_str()) {
        return Vec::new();
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, parent_in_stat(&stat)?))
    });
    stats.filter(|&(_, parent)| parent == me).map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// Field 4 of proc_pid_stat(5). The command's name before it is in parentheses and may itself hold some.
fn parent_in_stat(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent_in_stat;

    #[test]
    fn a_hostile_command_name_does_not_hide_the_parent() {
        let table = [
            ("17 (sh) S 4 17 17 0", Some(4)),
            ("17 (a) R 9 (b)) S 4 17", Some(4)),
            ("17 (sh) S", None),
            ("", None),
        ];
        for (stat, parent) in table {
            assert_eq!(parent_in_stat(stat), parent, "{stat}");
        }
    }
}
