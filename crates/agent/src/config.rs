//! `agent.toml`: read once, checked once, refused with reason and place.
//!
//! What is left out gets a default that works on an ordinary machine; the only ambient default is the state
//! directory's place. Declared attributes are the operator's word; `declared.rs` holds it against what
//! is measured.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use xtreem_base::Duration;
use xtreem_discovery::Attributes;

use crate::complaint::{Complaint, Source};
use crate::exec::Wanted;
pub use crate::pubsub::{PubsubConfig, TcpConfig};

mod file;
#[cfg(test)]
mod tests;

/// UDP port of an agent (our guess: unassigned at IANA, and above the ports that need root).
pub const DEFAULT_PORT: u16 = 7_227;
/// Where a system agent keeps its state.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/xtreem";
/// Where the system agent's operator socket is.
pub const DEFAULT_CONTROL: &str = "/run/xtreem/control.sock";
/// Most `join` addresses.
pub const JOIN_MAX: usize = 64;
/// Longest configuration file.
pub const CONFIG_MAX_BYTES: u64 = 256 << 10;
/// Longest name of a node: it stands in the node's credential.
pub const NODE_NAME_MAX_BYTES: usize = 48;
/// Levels of the log when nothing is said.
pub const DEFAULT_LOG: &str = "info";

/// Whether this is an address to join by, as `HOST:PORT`.
pub fn is_address(text: &str) -> bool {
    file::check_join(text).is_ok()
}

/// Everything an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that said all this, if one did.
    pub file: Option<PathBuf>,
    /// Identity, files, slots and sockets live here; one agent at a time.
    pub state_dir: PathBuf,
    /// Credential bundle of this node; without one that of an accepted invitation, or a development VO that
    /// is made in the state directory.
    pub identity: Option<PathBuf>,
    /// Signed policy of the VO to begin with; a newer one comes from the grid.
    pub policy: Option<PathBuf>,
    /// UDP address to listen on.
    pub bind: SocketAddr,
    /// IP address that others are told; by default the bound one, or the one the system would send from.
    pub advertise: Option<IpAddr>,
    /// `host:port` of nodes to join by; the own address among them does no harm.
    pub join: Vec<String>,
    /// Name of this node; by default the machine's host name.
    pub name: Option<String>,
    /// From `[attributes]`, `site` and `rack`.
    pub declared: Attributes,
    pub offer: Offer,
    /// The operator's socket: in the state directory, the system agent's in /run.
    pub control: Control,
    pub pubsub: PubsubConfig,
    /// How programs are shut in.
    pub isolation: Wanted,
    /// Name or number of the user that programs run as: of an agent that is root.
    pub run_as: Option<String>,
    /// Filter of the log, as `info` or `info,xtreem_agent=debug`.
    pub log: String,
    /// An emulated host: declared attributes override what is measured.
    pub emulated: bool,
    /// Period of CYCLON; only an emulated host may have another than the real grid's.
    pub cyclon_period: Option<Duration>,
    /// Period of the trie's gossip; only an emulated host may have another than the real grid's.
    pub trie_period: Option<Duration>,
}

/// What the node offers to slots; what is not said is the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub cores_milli: Option<u32>,
    pub memory_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
}

/// The operator's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub path: PathBuf,
    /// Permission bits of the socket file: who may connect is who may write to it (unix(7)).
    pub mode: u32,
}

/// A configuration that cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {reason}", .file.display())]
    Unreadable { file: PathBuf, reason: String },
    #[error(transparent)]
    Wrong(#[from] Complaint),
}

impl Config {
    /// What an agent does with no file at all.
    pub fn new(state_dir: PathBuf) -> Self {
        let is_system = state_dir == Path::new(DEFAULT_STATE_DIR);
        let path = if is_system { DEFAULT_CONTROL.into() } else { state_dir.join("control.sock") };
        let control = Control { path, mode: 0o600 };
        Config {
            file: None,
            state_dir,
            identity: None,
            policy: None,
            bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            advertise: None,
            join: Vec::new(),
            name: None,
            declared: Attributes::new(),
            offer: Offer::default(),
            control,
            pubsub: PubsubConfig::default(),
            isolation: Wanted::Namespaces,
            run_as: None,
            log: DEFAULT_LOG.to_owned(),
            emulated: false,
            cyclon_period: None,
            trie_period: None,
        }
    }

    /// Reads and checks `file`.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason: String| ConfigError::Unreadable { file: file.to_owned(), reason };
        let len = std::fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len();
        if len > CONFIG_MAX_BYTES {
            return Err(unreadable(format!("{len} bytes are no configuration; at most {CONFIG_MAX_BYTES}")));
        }
        let text = std::fs::read_to_string(file).map_err(|e| unreadable(e.to_string()))?;
        Self::parse(file, &text)
    }

    /// Checks `text`, which stands in `file`; relative paths in it start at the file's directory.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let config = file::parse(file, Source { name: &name, text }).map_err(ConfigError::Wrong)?;
        Ok(Config { file: Some(file.to_owned()), ..config })
    }

    /// Adds a `--join` address of the command line.
    pub fn add_join(&mut self, address: &str) -> Result<(), String> {
        if self.join.len() == JOIN_MAX {
            return Err(format!("more than {JOIN_MAX} addresses to join by"));
        }
        file::check_join(address)?;
        self.join.push(address.to_owned());
        Ok(())
    }
}
