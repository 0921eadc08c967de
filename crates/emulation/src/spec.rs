//! What a caller asks for and what it is told: plain data, the same in both kinds of lab.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Most hosts a lab holds. A Linux bridge has at most 1,023 ports (`BR_MAX_PORTS` in
/// `net/bridge/br_private.h`).
pub const MAX_HOSTS: u16 = 1000;

/// Longest host name, in bytes; see [`MAX_STATE_DIR_BYTES`].
pub const MAX_NAME_BYTES: usize = 24;

/// Longest state directory, in bytes. A Unix socket's path has at most 107 bytes (unix(7)); this and the
/// longest name leave a host 10 bytes for a socket's name in its own directory (`DIR/hosts/NAME/agent.sock`).
pub const MAX_STATE_DIR_BYTES: usize = 64;

/// How to start a lab.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Directory of this lab alone, made if missing; holds a directory `hosts/NAME` for each host.
    pub state_dir: PathBuf,
    /// Which kind of network to make.
    pub network: NetworkChoice,
    /// Whose processes the lab and all in it are, for a caller that is root of the machine: root of a host is
    /// then nobody outside. The state directory becomes this user's. Without one they are the caller's.
    pub user: Option<LabUser>,
}

/// A user of the machine, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabUser {
    pub uid: u32,
    pub gid: u32,
}

/// Which kind of network a lab may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkChoice {
    /// Namespaces, or loopback addresses where the kernel forbids them.
    #[default]
    Auto,
    /// Namespaces or an error.
    Namespaces,
    /// Loopback addresses even where namespaces are allowed.
    Loopback,
}

/// Which kind of network a lab has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Each host has its own namespaces.
    Namespaces,
    /// Hosts are process trees on 127.x.y.z; `reason` says what forbade namespaces.
    Loopback {
        /// For the user, one line.
        reason: String,
    },
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces => f.write_str("namespaces"),
            Self::Loopback { reason } => write!(f, "loopback addresses ({reason})"),
        }
    }
}

/// A host to start.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// 1 to [`MAX_HOSTS`]; decides the address.
    pub index: u16,
    /// Host name: 1 to [`MAX_NAME_BYTES`] of `a-z`, `0-9` and `-`.
    pub name: String,
    /// The agent: program and arguments. It runs in the host's directory, its output goes to `agent.log`
    /// there.
    pub command: Vec<OsString>,
    /// Added to the environment of the lab's caller.
    pub env: Vec<(OsString, OsString)>,
    /// Bytes of a disk of its own, mounted on the directory [`DISK`](crate::DISK) in the host's. It is made
    /// at the host's first start and lasts until the lab ends. Needs namespaces.
    pub disk_bytes: Option<u64>,
}

/// A host that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As asked for.
    pub index: u16,
    /// As asked for.
    pub name: String,
    /// The host's only address beside loopback; in a loopback lab its address on the machine's loopback.
    pub address: IpAddr,
    /// The host's directory, visible under the same path inside and outside.
    pub dir: PathBuf,
    /// What the agent writes to stdout and stderr.
    pub log: PathBuf,
}

/// A host as the lab sees it now. Dead hosts are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// As in [`HostSpec`].
    pub index: u16,
    /// As in [`HostSpec`].
    pub name: String,
    /// All its processes are stopped.
    pub paused: bool,
    /// Its cable is cut.
    pub cut: bool,
    /// Unknown while paused.
    pub agent: Option<AgentState>,
}

/// The command of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentState {
    /// Running.
    Running,
    /// Ended, by itself or by a fault.
    Ended(Exit),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Exit code.
    Code(i32),
    /// Number of the signal that ended it.
    Signal(i32),
}

/// A program to run on the lab's network outside any host: a client of the hosts.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Added to the environment of the lab's caller.
    pub env: Vec<(OsString, OsString)>,
}
