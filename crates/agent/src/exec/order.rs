//! What agent and helper say to each other: one order down, reports up, one JSON line each.
//!
//! They travel on the helper's standard input and output, which the program never sees: an argument vector
//! would show the program's environment, tokens included, to every user of the machine.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// Everything the helper needs, already checked by the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub mode: Mode,
    /// Absolute path of the executable.
    pub program: PathBuf,
    /// Arguments, the program's name not among them.
    pub arguments: Vec<String>,
    /// The slot's own directory: absolute, no symbolic links.
    pub dir: PathBuf,
    pub env: Vec<(String, String)>,
    /// Covered in the program's mount namespace, except `dir` and `visible`.
    pub hidden: Vec<PathBuf>,
    pub visible: Vec<PathBuf>,
}

/// What the helper tells the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs.
    Started,
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

/// What stands between a running program and the rest of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Own user, PID, mount and IPC namespaces: hidden paths are hidden, and no process can escape its end.
    Namespaces,
    /// Only a process group under a subreaper. Hidden paths are readable with the agent's rights, and when
    /// the helper itself is killed (not the agent) processes that called `setsid` survive.
    ProcessGroup {
        /// Why there are no namespaces.
        reason: String,
    },
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Isolation::Namespaces => f.write_str("own namespaces"),
            Isolation::ProcessGroup { reason } => {
                write!(f, "process group only, the agent's files are not hidden ({reason})")
            }
        }
    }
}
