//! What can go wrong: when a lab starts, and when it is asked for something.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::spec::{LabUser, MAX_HOSTS, MAX_NAME_BYTES, MAX_STATE_DIR_BYTES};

/// Why no lab was started. Nothing is left running.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be made or resolved.
    #[error("cannot use {} as the lab's state directory", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Unix sockets in the hosts' directories would have paths that the kernel does not take.
    #[error("the lab's state directory {} is longer than {MAX_STATE_DIR_BYTES} bytes", .0.display())]
    StateDirTooLong(PathBuf),
    /// The user whose processes the hosts are could not get to its files.
    #[error(
        "the lab's state directory {} lies in {}, which user {} of the hosts may not enter: choose another place",
        path.display(), closed.display(), user.uid
    )]
    StateDirClosed {
        /// The directory.
        path: PathBuf,
        /// The one above it that is closed.
        closed: PathBuf,
        /// Of [`LabOptions`](crate::LabOptions).
        user: LabUser,
    },
    /// The lab process cannot be started or spoken to.
    #[error("cannot start the lab process")]
    Launch(#[from] io::Error),
    /// The kernel forbids namespaces and the caller wanted nothing else.
    #[error("this machine forbids what emulated hosts need: {reason}")]
    NoNamespaces {
        /// The step that failed and the kernel's error.
        reason: String,
    },
    /// The lab process ended without a word; most likely `main` does not call `internal_main`.
    #[error("the lab process ended before it was ready")]
    Died,
}

/// Why the lab did not do what it was asked. Unless the variant says otherwise nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LabError {
    /// The lab process has ended, and every host with it.
    #[error("the lab has ended")]
    Gone,
    /// No answer in time; whether it was done is not known.
    #[error("the lab did not answer in time")]
    Timeout,
    /// Host index out of range.
    #[error("host index {0} is not within 1 to {MAX_HOSTS}")]
    BadIndex(u16),
    /// Host name that is no label.
    #[error("host name {0:?} is not 1 to {MAX_NAME_BYTES} of a-z, 0-9 and -")]
    BadName(String),
    /// A command without a program.
    #[error("the command is empty")]
    EmptyCommand,
    /// The index or the name is in use by a live host.
    #[error("host {0} is already there, or another has its name")]
    HostExists(u16),
    /// No live host has this index.
    #[error("there is no live host {0}")]
    NoSuchHost(u16),
    /// What was asked needs the host to run.
    #[error("host {0} is paused")]
    Paused(u16),
    /// What was asked cannot be made without namespaces.
    #[error("{0} needs namespaces; this lab's hosts are loopback addresses")]
    NeedsNamespaces(String),
    /// The host was started without a disk.
    #[error("host {0} has no disk of its own")]
    NoDisk(u16),
    /// No child process has this number.
    #[error("there is no such child process in the lab, or its end was already reported")]
    NoSuchChild,
    /// More children of the lab than it keeps account of.
    #[error("too many child processes in the lab")]
    TooManyChildren,
    /// A step failed; hosts being started by this request have been killed.
    #[error("{what}: {reason}")]
    Failed {
        /// What the lab tried.
        what: String,
        /// Why it did not work.
        reason: String,
    },
}

impl LabError {
    pub(crate) fn failed(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Failed { what: what.into(), reason: reason.to_string() }
    }
}
