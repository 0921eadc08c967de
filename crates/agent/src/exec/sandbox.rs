//! Namespaces and mounts. Runs in the helper, never in the agent.
//!
//! The program's user is the agent's user under its own number (1000 where that is 0), so the program owns
//! its files but has no capability after `execve`, and cannot undo a mount (capabilities(7)). An agent that
//! is root and runs programs as somebody else needs no user namespace for the rest, and takes none: then it
//! does not matter whether the kernel grants them.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{getegid, geteuid};

use super::order::{Kernel, Order};
use super::plan::TEMPORARY;
use super::raw;

/// Number that a superuser's program sees as its own user and group.
const NOT_ROOT: u32 = 1000;

/// Where programs leave temporary things, each its own.
pub(super) const PRIVATE: [&str; 2] = [TMP, SHARED_MEMORY];
/// On the slot's disk.
const TMP: &str = "/tmp";
const SHARED_MEMORY: &str = "/dev/shm";

const NOTHING: Option<&Path> = None;

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
pub(super) fn enter_namespaces(order: &Order) -> Result<(), Refused> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if order.user.is_some() {
        return unshare(flags).map_err(refused("unshare PID, mount and IPC namespaces"));
    }
    unshare(CloneFlags::CLONE_NEWUSER | flags)
        .map_err(refused("unshare user, PID, mount and IPC namespaces"))?;
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

/// Arranges what PID 1 and the program see of the file system: everything read only, what is hidden empty,
/// `/tmp` and `/dev/shm` the program's own, and the slot's directory as it is.
///
/// A refused `/proc` is reported and borne: the outer one stays, where the kernel still denies access to
/// processes outside (ptrace(2), access mode checking).
pub(super) fn arrange_mounts(order: &Order) -> Result<(), Refused> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(refused("make mounts private"))?;
    let dir = path_handle(&order.dir)?;
    let temporary = path_handle(&order.dir.join(TEMPORARY))?;
    let covered = |path: &&PathBuf| {
        let hidden = order.hidden.iter().map(PathBuf::as_path).chain(PRIVATE.map(Path::new));
        hidden.into_iter().any(|hidden| path.starts_with(hidden))
    };
    let visible: Vec<(&Path, OwnedFd)> = order
        .visible
        .iter()
        .filter(covered)
        .map(|path| Ok((path.as_path(), path_handle(path)?)))
        .collect::<Result<_, Refused>>()?;
    let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some("proc"), "/proc", Some("proc"), inert, NOTHING) {
        eprintln!("xtreem: the program sees the machine's /proc, its own cannot be mounted: {error}");
    }
    seal_everything(order.kernel)?;
    own_temporaries(&temporary, order.kernel)?;
    // What went with /tmp is hidden already; what this process cannot even look at, the program cannot.
    let hidden = order.hidden.iter().filter(|path| path.exists());
    let (dirs, files): (Vec<&PathBuf>, Vec<&PathBuf>) = hidden.partition(|path| path.is_dir());
    for path in &dirs {
        mount(Some("xtreem"), path.as_path(), Some("tmpfs"), inert, Some("size=64k,nr_inodes=512,mode=755"))
            .map_err(refused(format!("hide {}", path.display())))?;
    }
    for file in files {
        mount(Some("/dev/null"), file, NOTHING, MsFlags::MS_BIND, NOTHING)
            .map_err(refused(format!("hide {}", file.display())))?;
    }
    for (path, handle) in visible {
        show_again(path, &handle)?;
    }
    show_again(&order.dir, &dir)?;
    for path in dirs {
        set_read_only(path, true, order.kernel).map_err(refused(format!("seal {}", path.display())))?;
    }
    set_read_only(&order.dir, false, order.kernel)
        .map_err(refused(format!("open {} for writing", order.dir.display())))
}

/// `/tmp` is the slot's directory for temporary files, `/dev/shm` empty memory.
fn own_temporaries(temporary: &OwnedFd, kernel: Kernel) -> Result<(), Refused> {
    if Path::new(TMP).is_dir() {
        let step = || refused("give the program a /tmp of its own");
        mount(Some(&by_handle(temporary)), TMP, NOTHING, MsFlags::MS_BIND, NOTHING).map_err(step())?;
        set_read_only(Path::new(TMP), false, kernel).map_err(step())?;
    }
    if Path::new(SHARED_MEMORY).is_dir() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("xtreem"), SHARED_MEMORY, Some("tmpfs"), flags, Some("mode=1777"))
            .map_err(refused("give the program a /dev/shm of its own"))?;
    }
    Ok(())
}

/// Makes every mount read only: in one call, or (before Linux 5.12) one by one.
fn seal_everything(kernel: Kernel) -> Result<(), Refused> {
    let step = "make everything read only";
    if kernel == Kernel::AsItIs {
        match raw::set_read_only(Path::new("/"), true, raw::Depth::AllBelow) {
            Err(Errno::ENOSYS) => {}
            result => return result.map_err(refused(step)),
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(refused(step))?;
    for path in mounts.lines().filter_map(mount_point) {
        match remount(&path, true) {
            // Covered by another mount, or in a place where the program cannot go either.
            Ok(()) | Err(Errno::ENOENT | Errno::EACCES | Errno::EINVAL) => {}
            Err(error) => return Err(refused(format!("{step}: {}", path.display()))(error)),
        }
    }
    Ok(())
}

/// Field 5 of proc_pid_mountinfo(5), in which blanks and backslashes are octal.
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?;
    let mut parts = field.split('\\');
    let mut path = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..3)?, 8).ok()?;
        path.push(char::from(code));
        path.push_str(part.get(3..)?);
    }
    Some(path.into())
}

fn set_read_only(path: &Path, is_read_only: bool, kernel: Kernel) -> nix::Result<()> {
    if kernel == Kernel::AsItIs {
        match raw::set_read_only(path, is_read_only, raw::Depth::This) {
            Err(Errno::ENOSYS) => {}
            result => return result,
        }
    }
    remount(path, is_read_only)
}

/// As [`set_read_only`], with mount(2), which has to be told all flags that the mount has already: the kernel
/// lets nobody unprivileged drop one.
fn remount(path: &Path, is_read_only: bool) -> nix::Result<()> {
    let has = statvfs(path)?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    for (kept, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
    ] {
        flags.set(flag, has.contains(kept));
    }
    flags.set(MsFlags::MS_RDONLY, is_read_only);
    let times = if has.contains(FsFlags::ST_NOATIME) { MsFlags::MS_NOATIME } else { MsFlags::MS_RELATIME };
    match mount(NOTHING, path, NOTHING, flags | times, NOTHING) {
        Err(Errno::EPERM) => mount(NOTHING, path, NOTHING, flags | MsFlags::MS_STRICTATIME, NOTHING),
        result => result,
    }
}

fn path_handle(path: &Path) -> Result<OwnedFd, Refused> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(refused(format!("open {}", path.display())))
}

fn by_handle(handle: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// Binds what `handle` was opened on to its old place, which may be covered by now.
fn show_again(path: &Path, handle: &OwnedFd) -> Result<(), Refused> {
    let from = by_handle(handle);
    let step = || format!("show {} again", path.display());
    if !path.exists() {
        if from.is_dir() {
            fs::create_dir_all(path).map_err(refused(step()))?;
        } else {
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(refused(step()))?;
            fs::File::create(path).map_err(refused(step()))?;
        }
    }
    mount(Some(&from), path, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING).map_err(refused(step()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        let table = [
            ("36 35 98:0 / /mnt/a rw,noatime - ext4 /dev/sda rw", Some("/mnt/a")),
            ("36 35 98:0 / /mnt/a\\040b\\134c rw - ext4 /dev/sda rw", Some("/mnt/a b\\c")),
            ("36 35 98:0 / /mnt/a\\9 rw", None),
            ("36 35", None),
        ];
        for (line, path) in table {
            assert_eq!(mount_point(line), path.map(PathBuf::from), "{line}");
        }
    }
}
