//! Namespaces and mounts. Runs in the helper, never in the agent.
//!
//! The program's user is the agent's user under its own number (1000 where that is 0), so the program owns
//! its files but has no capability after `execve`, and cannot undo a mount (capabilities(7)).

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid};

use super::order::Order;

/// Number that a superuser's program sees as its own user and group.
const NOT_ROOT: u32 = 1000;

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub(super) struct Refused {
    step: String,
    reason: String,
}

fn refused<E: ToString>(step: impl Into<String>) -> impl FnOnce(E) -> Refused {
    |error| Refused { step: step.into(), reason: error.to_string() }
}

/// Puts the calling process into new namespaces; its next child is PID 1 there.
pub(super) fn enter_namespaces() -> Result<(), Refused> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).map_err(refused("unshare user, PID, mount and IPC namespaces"))?;
    let inside = |id: u32| if id == 0 { NOT_ROOT } else { id };
    for (file, text) in [
        // Without this the kernel lets nobody unprivileged map a group (user_namespaces(7)).
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {user} 1", inside(user))),
        ("gid_map", format!("{} {group} 1", inside(group))),
    ] {
        fs::write(format!("/proc/self/{file}"), text).map_err(refused(format!("write {file}")))?;
    }
    Ok(())
}

/// Arranges what PID 1 and the program see of the file system.
///
/// A refused `/proc` is reported and borne: the outer one stays, where the kernel still denies access to
/// processes outside (ptrace(2), access mode checking).
pub(super) fn arrange_mounts(order: &Order) -> Result<(), Refused> {
    let none: Option<&Path> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(refused("make mounts private"))?;
    let kept: Vec<(&Path, OwnedFd)> = order
        .visible
        .iter()
        .chain([&order.dir])
        .filter(|path| order.hidden.iter().any(|hidden| path.starts_with(hidden)))
        .map(|path| Ok((path.as_path(), path_handle(path)?)))
        .collect::<Result<_, Refused>>()?;
    let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some("proc"), "/proc", Some("proc"), inert, none) {
        eprintln!("xtreem: the program sees the machine's /proc, its own cannot be mounted: {error}");
    }
    let (dirs, files): (Vec<&PathBuf>, Vec<&PathBuf>) = order.hidden.iter().partition(|path| path.is_dir());
    for dir in &dirs {
        mount(Some("xtreem"), dir.as_path(), Some("tmpfs"), inert, Some("size=64k,nr_inodes=512,mode=755"))
            .map_err(refused(format!("hide {}", dir.display())))?;
    }
    for file in files {
        mount(Some("/dev/null"), file, none, MsFlags::MS_BIND, none)
            .map_err(refused(format!("hide {}", file.display())))?;
    }
    for (path, handle) in kept {
        show_again(path, &handle)?;
    }
    for dir in dirs {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | inert;
        mount(none, dir, none, flags, none).map_err(refused(format!("seal {}", dir.display())))?;
    }
    Ok(())
}

fn path_handle(path: &Path) -> Result<OwnedFd, Refused> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(refused(format!("open {}", path.display())))
}

/// Binds what `handle` was opened on to its old place, which a tmpfs covers by now.
fn show_again(path: &Path, handle: &OwnedFd) -> Result<(), Refused> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let step = || format!("show {} again", path.display());
    if !path.exists() {
        if from.is_dir() {
            fs::create_dir_all(path).map_err(refused(step()))?;
        } else {
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(refused(step()))?;
            fs::File::create(path).map_err(refused(step()))?;
        }
    }
    let none: Option<&Path> = None;
    mount(Some(&from), path, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(refused(step()))
}
