//! What the caller, the lab and the inits say to each other: JSON lines over inherited Unix sockets.
//!
//! Both ends are the same program, so there are no versions. The end of the stream is a message too: whoever
//! reads it ends, and takes with it all that it started.

use std::ffi::OsString;
use std::io;
use std::net::Ipv6Addr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::error::LabError;
use crate::spec::{AgentState, Exit, HostStatus};

/// Longest line. 1,000 hosts with 2 KiB of command and environment each, whose bytes JSON writes as numbers
/// of up to four characters, fit. A longer line ends the conversation.
const MAX_LINE_BYTES: usize = 8 << 20;

/// First line from the lab.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Greeting {
    Ready,
    /// Namespaces cannot be had; the lab ends after it.
    Refused {
        reason: String,
    },
}

/// Caller to lab. Answered in any order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub id: u64,
    pub order: Order,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Spawn(Vec<HostOrder>),
    KillHost(u16),
    KillAgent(u16),
    TerminateAgent(u16),
    RestartAgent(u16),
    Pause(u16),
    Resume(u16),
    Cut(u16),
    Heal(u16),
    Split(Vec<u16>),
    FillDisk(u16),
    FreeDisk(u16),
    Merge,
    Status,
    RunChild(ChildOrder),
    WaitChild(u64),
    KillChild(u64),
    Stop,
}

/// A checked `HostSpec`. Paths and arguments are `OsString` because JSON strings cannot hold every path.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostOrder {
    pub index: u16,
    pub name: String,
    pub dir: OsString,
    pub program: Program,
    pub disk_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChildOrder {
    pub id: u64,
    /// The Unix socket that becomes the child's stdin and stdout.
    pub socket: OsString,
    pub program: Program,
}

/// A command that is not empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub path: OsString,
    pub args: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
}

impl Program {
    pub fn checked(command: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Result<Self, LabError> {
        let mut words = command.into_iter();
        let path = words.next().ok_or(LabError::EmptyCommand)?;
        Ok(Self { path, args: words.collect(), env })
    }

    pub fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.path);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Lab to caller.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub id: u64,
    pub result: Result<Answer, LabError>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Hosts(Vec<HostStatus>),
    Exit(Exit),
}

/// Lab to a host's init. Each is answered by one `InitReply` before the next is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitOrder {
    Begin(Begin),
    KillAgent,
    TerminateAgent,
    RestartAgent,
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub name: String,
    /// `None`: no namespaces, be a subreaper.
    pub address: Option<Ipv6Addr>,
    pub dir: OsString,
    pub program: Program,
}

pub(crate) type InitReply = Result<AgentState, LabError>;

pub(crate) async fn send<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// The reading end of a conversation.
pub(crate) struct Incoming<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new() }
    }

    /// The next message, or `None` at the end of the stream. May be dropped half-way: what was read is kept.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        while self.line.last() != Some(&b'\n') {
            let room = (MAX_LINE_BYTES - self.line.len()) as u64;
            if (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await? == 0 {
                return if room == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
            }
        }
        let message = serde_json::from_slice(&self.line)?;
        self.line.clear();
        Ok(Some(message))
    }
}
