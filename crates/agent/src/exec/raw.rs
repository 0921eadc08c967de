//! The only unsafe code of the agent: three system calls that no safe interface covers.
#![expect(unsafe_code, reason = "fork, close_range and a hook between fork and exec have no safe form")]

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid, execve, fork, getppid};

/// Forks. The caller must have succeeded with `unshare(CLONE_NEWUSER)` just before, which the kernel refuses
/// to a process with more than one thread (unshare(2), `EINVAL`).
pub(super) fn fork_after_unshare() -> nix::Result<ForkResult> {
    // SAFETY: with a single thread no lock of the C library or of Rust can be held by another thread at the
    // moment of the fork, so the child may run any code.
    unsafe { fork() }
}

/// Sets close-on-exec on every descriptor from 3 upwards: what the agent's parent left open must not reach
/// the program. Kernels before 5.11 refuse; the agent's own descriptors have the flag anyway.
pub(super) fn close_on_exec_from_3() {
    // SAFETY: the call changes a flag of descriptors; it touches no memory and closes nothing.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// What execve(2) takes.
pub(super) struct Image {
    pub path: CString,
    pub arguments: Vec<CString>,
    pub env: Vec<CString>,
}

/// Makes `command`, once forked, become `image` with all signals let through; with `parent`, the calling
/// process, it also dies when that one dies.
///
/// The image is executed here and not by `command` itself, because the C library's `execvp` hands what is no
/// program (one for another architecture, say) to a shell instead of failing.
pub(super) fn execute(command: &mut Command, image: Image, parent: Option<Pid>) {
    let hook = move || -> io::Result<()> {
        SigSet::empty().thread_set_mask()?;
        if let Some(parent) = parent {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        execve(&image.path, &image.arguments, &image.env)?;
        Ok(())
    };
    // SAFETY: the helper has a single thread, so after the fork no lock can be held by another one and even
    // the allocation of the argument array is sound.
    unsafe { command.pre_exec(hook) };
}
