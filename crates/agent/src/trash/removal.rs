//! Takes apart what a program left, whatever it did to its directories.
//!
//! Everything works on descriptors of directories and single names: no symbolic link is followed, no path can
//! be too long, and a program that still lives cannot lead the removal elsewhere. A directory that is not
//! empty is moved up into the *pit* and is emptied from there, so that depth costs neither descriptors nor
//! stack: five descriptors are open at most. A directory that lacks permissions gets them back, which its
//! owner may always do (chmod(2)).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// What lies in the pit under such a name is to go.
pub(super) const GONE: &str = ".gone-";
/// What could not go, and is not tried again before the next start.
pub(super) const STUCK: &str = ".stuck-";
/// Names tried for what is moved up: another remover may use the same numbers only when random bits agree.
const NAMES_MAX: u32 = 16;
/// What an owner needs to empty a directory.
const OWNER: Mode = Mode::S_IRWXU;

/// Called before each removal of a single entry; an error stands for the system's own.
pub(super) type Step<'a> = &'a mut (dyn FnMut(&CStr) -> Result<(), Errno> + Send);

/// A directory in which leftovers wait for their end.
pub(super) struct Pit {
    dir: OwnedFd,
    /// Part of every name that is given in here.
    random: u64,
    given: u64,
}

/// Something that cannot be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// Entry that stands in the way.
    pub name: CString,
    pub why: Errno,
}

impl Pit {
    pub(super) fn new(dir: OwnedFd, random: u64) -> Pit {
        Pit { dir, random, given: 0 }
    }

    /// Moves what is at `name` of the directory `from` into the pit, under a name that begins with `prefix`.
    pub(super) fn take(&mut self, from: BorrowedFd<'_>, name: &CStr, prefix: &str) -> Result<CString, Errno> {
        let mut refused = Errno::EEXIST;
        for _ in 0..NAMES_MAX {
            self.given += 1;
            let fresh = CString::new(format!("{prefix}{:016x}-{}", self.random, self.given))
                .map_err(|_| Errno::EINVAL)?;
            match renameat(from, name, &self.dir, fresh.as_c_str()) {
                Ok(()) => return Ok(fresh),
                Err(error @ (Errno::EEXIST | Errno::ENOTEMPTY | Errno::EISDIR | Errno::ENOTDIR)) => {
                    refused = error
                }
                // A directory tells its new parent, so it has to be writable itself (rename(2)).
                Err(Errno::EACCES) if refused != Errno::EACCES => {
                    mend(from, name)?;
                    refused = Errno::EACCES;
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// The names in the pit that `is_wanted`, as far as one reading finds them.
    pub(super) fn names<F: Fn(&[u8]) -> bool>(
        &self,
        is_wanted: F,
    ) -> Result<impl Iterator<Item = CString> + use<F>, Errno> {
        let names = entries(self.dir.as_fd())?;
        Ok(names.filter(move |name| is_wanted(name.to_bytes())))
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Removes one entry of the pit; what is not empty in it comes into the pit as an entry of its own.
    pub(super) fn remove(&mut self, name: &CStr, step: Step<'_>) -> Result<(), Stuck> {
        let stuck = |why| Stuck { name: name.to_owned(), why };
        if remove_single(self.dir.as_fd(), name, step).map_err(stuck)? {
            return Ok(());
        }
        loop {
            let dir = open_mended(self.dir.as_fd(), name).map_err(stuck)?;
            let (has_moved, in_the_way) = self.clear(dir.as_fd(), step)?;
            drop(dir);
            match unlinkat(&self.dir, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                // A program that still lives may have added something, or a reading missed an entry.
                Err(Errno::ENOTEMPTY | Errno::EEXIST) if has_moved => {}
                Err(error) => return Err(in_the_way.unwrap_or_else(|| stuck(error))),
            }
        }
    }

    /// Removes or moves up every entry of `dir`: whether any went, and one that did not.
    fn clear(&mut self, dir: BorrowedFd<'_>, step: Step<'_>) -> Result<(bool, Option<Stuck>), Stuck> {
        let (mut has_moved, mut in_the_way) = (false, None);
        let names = entries(dir).map_err(|why| Stuck { name: c".".to_owned(), why })?;
        for name in names {
            let gone = match remove_single(dir, &name, step) {
                Ok(false) => self.take(dir, &name, GONE).map(|_| ()),
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            match gone {
                Ok(()) => has_moved = true,
                Err(why) => in_the_way = Some(Stuck { name, why }),
            }
        }
        Ok((has_moved, in_the_way))
    }
}

/// Removes a file or an empty directory. False when it is a directory with something in it.
fn remove_single(parent: BorrowedFd<'_>, name: &CStr, step: Step<'_>) -> Result<bool, Errno> {
    step(name)?;
    let refused = match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        // The first is Linux' word for a directory, the second POSIX' and that of some file systems.
        Err(error @ (Errno::EISDIR | Errno::EPERM)) => error,
        Err(error) => return Err(error),
    };
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(Errno::ENOTDIR) => Err(refused),
        Err(error) => Err(error),
    }
}

/// The entries of a directory, read as they are asked for.
fn entries(dir: BorrowedFd<'_>) -> Result<impl Iterator<Item = CString> + use<>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let names = Dir::openat(dir, ".", flags, Mode::empty())?.into_iter();
    let names = names.map_while(Result::ok).map(|entry| entry.file_name().to_owned());
    Ok(names.filter(|name| ![c".", c".."].contains(&name.as_c_str())))
}

fn open_mended(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let open = || {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(parent, name, flags, Mode::empty())
    };
    let dir = match open() {
        Err(Errno::EACCES) => {
            mend(parent, name)?;
            open()?
        }
        opened => opened?,
    };
    let is_usable = fstat(&dir).is_ok_and(|found| Mode::from_bits_truncate(found.st_mode).contains(OWNER));
    if !is_usable {
        // Where it is refused, the entries show whether it was needed.
        let _ = fchmod(&dir, OWNER);
    }
    Ok(dir)
}

/// Gives the owner of a directory its rights back.
///
/// A descriptor without the right to read cannot be changed itself (open(2), O_PATH), but by its name in
/// /proc, which leads to what was opened and nowhere else.
fn mend(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(parent, name, flags, Mode::empty())?;
    let by_name = format!("/proc/self/fd/{}", dir.as_raw_fd());
    fchmodat(AT_FDCWD, by_name.as_str(), OWNER, FchmodatFlags::FollowSymlink)
}
