//! What agent and helper say to each other: one order down, reports up, one JSON line each.
//!
//! They travel on the helper's standard input and output, which the program never sees: an argument vector
//! would show the program's environment, tokens included, to every user of the machine.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::PlanError;

/// What a helper is told that starts a command beside a running program.
pub(super) const BESIDE: &str = "beside";

/// Longest order. Linux takes no more than 2 MiB of arguments and environment together (execve(2)).
pub(super) const ORDER_MAX_BYTES: usize = 1 << 20;
/// Longest report: a reason in words.
pub(super) const REPORT_MAX_BYTES: u64 = 8 << 10;

/// Byte on the control pipe: ask the program to end (SIGTERM). The pipe's end means: kill everything.
pub(super) const TERMINATE: u8 = b'T';

/// How the helper is to shut the program in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    Namespaces,
    ProcessGroup,
}

/// The user that a program runs as, other than the agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramUser {
    pub uid: u32,
    pub gid: u32,
}

/// What of the kernel may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    AsItIs,
    /// Neither Landlock (Linux 5.13) nor mount_setattr(2) (Linux 5.12), whatever the kernel has: what older
    /// machines do can be tried on newer ones.
    Before5_12,
}

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    /// The program of a slot.
    Program,
    /// A command beside it, which has its streams of its caller.
    Beside { has_terminal: bool },
}

/// Everything the helper needs, already checked by the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub part: Part,
    pub mode: Mode,
    pub kernel: Kernel,
    /// Whom the program runs as; without one, the agent's user.
    pub user: Option<ProgramUser>,
    /// Absolute path of the executable; of a command beside a program, its first word, which is looked up
    /// where that program sees it.
    pub program: PathBuf,
    /// Arguments, the program's name not among them.
    pub arguments: Vec<String>,
    /// The slot's own directory: absolute, no symbolic links. [`TEMPORARY`](super::plan::TEMPORARY) is in it.
    pub dir: PathBuf,
    pub env: Vec<(String, String)>,
    /// Covered in the program's mount namespace, except `dir` and `visible`.
    pub hidden: Vec<PathBuf>,
    pub visible: Vec<PathBuf>,
}

impl Order {
    /// The line that the helper is sent.
    pub fn line(&self) -> Result<Vec<u8>, PlanError> {
        let mut line = serde_json::to_vec(self).map_err(|_| PlanError::NotUtf8)?;
        line.push(b'\n');
        match line.len() {
            len if len > ORDER_MAX_BYTES => Err(PlanError::TooLarge { len }),
            _ => Ok(line),
        }
    }
}

/// What the helper tells the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs, behind this fence.
    Started { landlock: Landlock },
    /// The kernel refused a namespace or a mount; the program was not started.
    NoNamespaces { reason: String },
    /// The program could not be executed.
    NotStarted {
        reason: String,
        /// The system's number for it.
        errno: Option<i32>,
    },
    /// The program ended.
    Ended(Exit),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code; 0 is success.
    Code(i32),
    /// This signal killed it. 9 also when the sandbox was killed from outside.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Whether Landlock holds a program (landlock(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landlock {
    /// In this version, of those that this agent knows. From 6 on also signals and abstract sockets.
    Version(u8),
    /// The kernel has none, or it is switched off.
    Missing { reason: String },
}

/// What stands between a running program and the rest of the machine: two layers, of which either may be
/// missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Own user (unless the agent is root), PID, mount and IPC namespaces: what is hidden is hidden, the
    /// rest is read only, and no process escapes its end. Without them, why not; then there is a process
    /// group under a subreaper, and when the helper itself is killed (not the agent) processes that called
    /// `setsid` survive.
    pub namespaces: Result<(), String>,
    pub landlock: Landlock,
}

impl Isolation {
    pub fn has_namespaces(&self) -> bool {
        self.namespaces.is_ok()
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.namespaces, &self.landlock) {
            (Ok(()), Landlock::Version(version)) => write!(f, "own namespaces, Landlock {version}"),
            (Ok(()), Landlock::Missing { reason }) => write!(f, "own namespaces, no Landlock ({reason})"),
            (Err(why), Landlock::Version(version)) => {
                write!(f, "Landlock {version} only, no namespaces ({why})")
            }
            (Err(why), Landlock::Missing { reason }) => {
                write!(f, "none: no namespaces ({why}), no Landlock ({reason})")
            }
        }
    }
}
