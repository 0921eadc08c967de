//! The crate's only unsafe code: a child in namespaces of its own, and the few system calls that furnish
//! them.
//!
//! `clone` instead of `unshare` and `fork`, because a PID namespace must belong to the user namespace made
//! with it (else its `/proc` cannot be mounted) and because a second `unshare` of PIDs by one process is
//! refused (pid_namespaces(7)). The child executes this program again at once, so that it starts with a clean
//! runtime.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, dup2_stdin, execv, getegid, geteuid, pipe2, write};

/// The child's stack until it executes. It formats a few short strings and writes four files.
const STACK_BYTES: usize = 256 * 1024;

/// The namespaces of a lab: bridges and hosts' processes, nothing of the machine's.
pub(crate) fn lab_flags() -> CloneFlags {
    CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS
}

/// The namespaces of a host.
pub(crate) fn host_flags() -> CloneFlags {
    lab_flags() | CloneFlags::CLONE_NEWUTS
}

/// Starts this program again with `args`, as PID 1 and root of new namespaces. `stdin` replaces its
/// descriptor 0.
///
/// # Errors
/// Any step of the child's up to and including `execve`; the child is then gone (a zombie for the caller to
/// reap).
pub(crate) fn spawn(flags: CloneFlags, args: &[&str], stdin: Option<OwnedFd>) -> io::Result<Pid> {
    // One thread only: then no lock can be held by a thread that the child does not have.
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("namespaces are made by a process of one thread only"));
    }
    let argv = std::iter::once("xtreem")
        .chain(args.iter().copied())
        .map(CString::new)
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let (uid, gid) = (geteuid(), getegid());
    let (report_read, report_write) = pipe2(OFlag::O_CLOEXEC)?;
    let mut stack = vec![0; STACK_BYTES];
    let enter = || {
        let error = match enter_and_execute(uid, gid, &argv, stdin.as_ref()) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // The caller reads this instead of the end of file that a successful execve gives it.
        let _ = write(&report_write, error.as_bytes());
        127
    };
    // SAFETY: no CLONE_VM, so the child works on its own copy of memory and of `stack`, which outlives the
    // call and is larger than what `enter` needs; the process has one thread (checked above), so the copy has
    // no orphaned locks; `enter` ends in execve or in the return that makes the child exit, and never unwinds
    // (it does not panic).
    let pid = unsafe { clone(Box::new(enter), &mut stack, flags, Some(Signal::SIGCHLD as i32)) }?;
    drop(report_write);
    let mut report = String::new();
    fs::File::from(report_read).read_to_string(&mut report)?;
    if report.is_empty() { Ok(pid) } else { Err(io::Error::other(report)) }
}

fn enter_and_execute(
    uid: Uid,
    gid: Gid,
    argv: &[CString],
    stdin: Option<&OwnedFd>,
) -> Result<std::convert::Infallible, String> {
    // One's own id may be mapped without privilege, the group only once setgroups is given up
    // (user_namespaces(7)).
    let steps = [
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    for (path, text) in steps {
        fs::write(path, text).map_err(|error| format!("writing {path}: {error}"))?;
    }
    if let Some(stdin) = stdin {
        dup2_stdin(stdin).map_err(|error| format!("dup2: {error}"))?;
    }
    execv(c"/proc/self/exe", argv).map_err(|error| format!("executing this program again: {error}"))
}

/// A private mount namespace whose `/proc` shows this PID namespace. For PID 1 of new namespaces.
pub(crate) fn mount_own_proc() -> Result<(), String> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("making mounts private: {error}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)
        .map_err(|error| format!("mounting /proc: {error}"))
}

/// This process dies when the thread that started it does.
pub(crate) fn die_with_parent() -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

/// As [`die_with_parent`], for a process about to be started.
pub(crate) fn dies_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: prctl(2) is one system call without memory of ours, and the closure neither allocates nor
    // locks.
    unsafe { command.pre_exec(|| Ok(die_with_parent()?)) }
}
