//! The only unsafe code of the agent: system calls that no safe interface covers.
#![expect(
    unsafe_code,
    reason = "fork, close_range, mount_setattr, terminals and a hook before exec have no safe form"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use landlock::RulesetCreated;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, execve, fork, getppid, setgroups, setresgid, setresuid, setsid,
};
use nix::{NixPath, libc};

use super::order::ProgramUser;

/// Forks. The caller is the helper, which has a single thread: it starts none, and where it made a user
/// namespace just before, the kernel would have refused that to more than one (unshare(2), `EINVAL`).
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

/// A descriptor that the kernel has just made for this process (unix(7), `SCM_RIGHTS`).
pub(super) fn own(received: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the number for the message that it came in, and nothing else here knows it.
    unsafe { OwnedFd::from_raw_fd(received) }
}

/// The other side of a terminal, whatever the permissions of its name (ioctl_tty(2), `TIOCGPTPEER`, Linux
/// 4.13).
pub(super) fn open_peer(near: BorrowedFd<'_>, flags: OFlag) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes numbers and touches no memory.
    let opened = unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    // SAFETY: the kernel has just made the number for this process, and nothing else here knows it.
    Errno::result(opened).map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}

/// How far a change of mounts goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    This,
    AllBelow,
}

/// Makes the mount at `path`, and with [`Depth::AllBelow`] all mounts below it, read only, or takes that
/// back. mount_setattr(2), Linux 5.12: `ENOSYS` before.
pub(super) fn set_read_only(path: &Path, is_read_only: bool, depth: Depth) -> nix::Result<()> {
    let (set, clear) = if is_read_only { (libc::MOUNT_ATTR_RDONLY, 0) } else { (0, libc::MOUNT_ATTR_RDONLY) };
    let change = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    let flags = if depth == Depth::AllBelow { libc::AT_RECURSIVE } else { 0 };
    let result = path.with_nix_path(|path| {
        // SAFETY: both pointers are to values that outlive the call, the length is that of the second one,
        // and the kernel only reads.
        unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                libc::AT_FDCWD,
                path.as_ptr(),
                flags,
                std::ptr::from_ref(&change),
                size_of::<libc::mount_attr>(),
            )
        }
    })?;
    Errno::result(result).map(drop)
}

/// Rows and columns of a terminal; nothing when it is none, or does not say.
pub(super) fn window_of(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize` to where it is told, and that outlives the call.
    let result =
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, std::ptr::from_mut(&mut size)) };
    (result == 0 && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Sets them; whoever runs there is told (SIGWINCH).
pub(super) fn set_window(terminal: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one `winsize`, which outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(&size)) };
    Errno::result(result).map(drop)
}

/// What the program's process becomes between fork and exec.
pub(super) struct Becoming {
    /// It dies when this process, the calling one, does.
    pub parent: Option<Pid>,
    pub user: Option<ProgramUser>,
    pub fence: Option<RulesetCreated>,
    /// It leads a session of its own, and its standard input is that session's terminal.
    pub has_terminal: bool,
}

/// What execve(2) takes.
pub(super) struct Image {
    pub path: CString,
    pub arguments: Vec<CString>,
    pub env: Vec<CString>,
}

/// Makes `command`, once forked, become `image` with all signals let through, as `becoming` says.
///
/// The image is executed here and not by `command` itself, because the C library's `execvp` hands what is no
/// program (one for another architecture, say) to a shell instead of failing.
pub(super) fn execute(command: &mut Command, image: Image, mut becoming: Becoming) {
    let hook = move || -> io::Result<()> {
        SigSet::empty().thread_set_mask()?;
        if becoming.has_terminal {
            setsid()?;
            // SAFETY: the call takes a number and touches no memory.
            Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) })?;
        }
        if let Some(ProgramUser { uid, gid }) = becoming.user {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            setgroups(&[])?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
        }
        // After the change of user, which takes it back (prctl(2)).
        if let Some(parent) = becoming.parent {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        if let Some(fence) = becoming.fence.take() {
            fence.restrict_self().map_err(io::Error::other)?;
        }
        execve(&image.path, &image.arguments, &image.env)?;
        Ok(())
    };
    // SAFETY: the helper has a single thread, so after the fork no lock can be held by another one and even
    // the allocation of the argument array is sound.
    unsafe { command.pre_exec(hook) };
}
