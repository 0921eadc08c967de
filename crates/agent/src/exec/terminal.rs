//! A terminal for a command: the agent's side of it (pty(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, fchown};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::order::ProgramUser;
use super::raw;

/// The agent's side. Whoever runs at the other one is hung up on when it, its reader and its writer are
/// dropped.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

/// Rows and columns of the terminal behind a descriptor, if it is one.
pub fn window_of(terminal: &impl AsFd) -> Option<(u16, u16)> {
    raw::window_of(terminal.as_fd())
}

impl Terminal {
    /// A new one, and the side of the command, which runs as `user`.
    ///
    /// Its name in /dev/pts is for nobody, from before it could be opened: programs of other slots have the
    /// same user, and are not to read what is typed here. The command has it as `/dev/tty`.
    pub fn open(user: Option<ProgramUser>) -> io::Result<(Terminal, OwnedFd)> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let near = posix_openpt(flags | OFlag::O_NONBLOCK)?;
        grantpt(&near)?;
        std::fs::set_permissions(ptsname_r(&near)?, std::fs::Permissions::from_mode(0o000))?;
        unlockpt(&near)?;
        let far = raw::open_peer(near.as_fd(), flags)?;
        if let Some(ProgramUser { uid, gid }) = user {
            fchown(&far, Some(uid), Some(gid))?;
        }
        Ok((Terminal(near.as_fd().try_clone_to_owned()?), far))
    }

    pub fn set_window(&self, rows: u16, columns: u16) -> io::Result<()> {
        Ok(raw::set_window(self.0.as_fd(), (rows, columns))?)
    }

    /// What is written there. Reading fails (`EIO`) when nobody has the other side open any more. Needs a
    /// tokio runtime, as the next does.
    pub fn reader(&self) -> io::Result<Receiver> {
        Receiver::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// What is written here is as if it were typed.
    pub fn writer(&self) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(self.0.try_clone()?)
    }
}
