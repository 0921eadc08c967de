//! What a slot runs: command, environment, files and ports. The agent's part of a specification.
//!
//! Allocation carries it as an opaque payload, so that no core knows what a process is. It comes from whoever
//! may submit: everything is checked here once, and a [`Program`] that was decoded is good to lay out and
//! start.

mod collection;

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use xtreem_base::Digest;
use xtreem_client::api::COLLECTIONS_MAX;
use xtreem_discovery::FixedPorts;

use crate::exec::TEMPORARY;

pub use collection::CollectionRef;
pub(crate) use collection::{check_fit, check_name, check_room, kind};

/// Longest encoding of a program; allocation carries no longer payload.
pub const PAYLOAD_MAX_BYTES: usize = 64 << 10;
/// Most words of a command.
pub const COMMAND_MAX_WORDS: usize = 256;
/// Longest word of a command, and longest value in the environment.
pub const TEXT_MAX_BYTES: usize = 4_096;
/// Most variables of the environment.
pub const ENV_MAX: usize = 256;
/// Most files of a program.
pub const FILES_MAX: usize = 256;
/// Longest path of a file in the slot's directory.
pub const PATH_MAX_BYTES: usize = 255;
/// Largest file (our guess: a disk image of a few GiB is still a program).
pub const FILE_MAX_BYTES: u64 = 16 << 30;
/// Most ports of a program.
pub const PORTS_MAX: usize = 16;
/// Longest name of a port or a variable.
pub const NAME_MAX_BYTES: usize = 64;
/// First word of a command that means the agent's own binary, so that examples need no files.
pub const SELF_COMMAND: &str = "xtreem";
/// Variables that the agent itself sets begin so.
pub const RESERVED_PREFIX: &str = "XTREEM_";

/// One file that is laid out in the slot's directory before the program starts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FileRef {
    /// Relative to the slot's directory, parts joined by `/`, none of them `.` or `..`.
    #[n(0)]
    pub path: String,
    #[n(1)]
    pub digest: Digest,
    /// In bytes.
    #[n(2)]
    pub len: u64,
    #[n(3)]
    pub executable: bool,
}

/// One TCP or UDP port that the program wants to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PortRef {
    /// Letters, digits, `-` and `_`; told to the program as `XTREEM_PORT_<NAME>`.
    #[n(0)]
    pub name: String,
    /// 0: any that is free on the node.
    #[n(1)]
    pub port: u16,
}

/// Who may start commands beside the slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ExecBy {
    /// The owner, and administrators of the VO.
    #[default]
    #[n(0)]
    Owner,
    /// The slots of the application themselves, too.
    #[n(1)]
    Slots,
}

/// What every slot of an application runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Program {
    /// The program and its arguments. A first word of [`SELF_COMMAND`] means the agent's own binary; one with
    /// a `/` is relative to the slot's directory; any other is looked up on PATH.
    #[n(0)]
    pub command: Vec<String>,
    #[n(1)]
    pub env: Vec<(String, String)>,
    #[n(2)]
    pub files: Vec<FileRef>,
    #[n(3)]
    pub ports: Vec<PortRef>,
    /// Structured collections of which every slot is a member.
    #[cbor(n(4), default)]
    pub collections: Vec<CollectionRef>,
    /// What a holder goes by, as the owner signed it.
    #[cbor(n(5), default)]
    pub exec: ExecBy,
}

/// Why something is not a program. Nothing was done with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    #[error("not the encoding of a program: {0}")]
    Malformed(String),
    #[error("the program takes {0} bytes encoded, at most {PAYLOAD_MAX_BYTES} are allowed")]
    TooLarge(usize),
    #[error("{what}: {count} are too many, at most {max} are allowed")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("the command is empty")]
    NoCommand,
    #[error("{what} {text:?}: {why}")]
    Bad { what: &'static str, text: String, why: &'static str },
    #[error("collection {name:?}: {why}")]
    Collection { name: String, why: String },
}

impl Program {
    /// The payload of a specification.
    pub fn to_payload(&self) -> Result<Vec<u8>, ProgramError> {
        self.check()?;
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail, and the types hold nothing that has no encoding.
        minicbor::encode(self, &mut bytes).map_err(|e| ProgramError::Malformed(e.to_string()))?;
        if bytes.len() > PAYLOAD_MAX_BYTES {
            return Err(ProgramError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads and checks a payload, which may come from anybody.
    pub fn from_payload(payload: &[u8]) -> Result<Program, ProgramError> {
        if payload.len() > PAYLOAD_MAX_BYTES {
            return Err(ProgramError::TooLarge(payload.len()));
        }
        let mut decoder = minicbor::Decoder::new(payload);
        let program: Program = decoder.decode().map_err(|e| ProgramError::Malformed(e.to_string()))?;
        if decoder.position() != payload.len() {
            return Err(ProgramError::Malformed("bytes follow the program".to_owned()));
        }
        program.check()?;
        Ok(program)
    }

    /// Every rule of this file.
    pub fn check(&self) -> Result<(), ProgramError> {
        count("command words", self.command.len(), COMMAND_MAX_WORDS)?;
        count("environment variables", self.env.len(), ENV_MAX)?;
        count("files", self.files.len(), FILES_MAX)?;
        count("ports", self.ports.len(), PORTS_MAX)?;
        count("collections", self.collections.len(), COLLECTIONS_MAX)?;
        if self.command.first().is_none_or(|word| word.is_empty()) {
            return Err(ProgramError::NoCommand);
        }
        for word in &self.command {
            check_text("command word", word)?;
        }
        self.check_env()?;
        self.check_files()?;
        self.check_ports()?;
        self.check_collections()
    }

    fn check_env(&self) -> Result<(), ProgramError> {
        let mut seen = BTreeSet::new();
        for (name, value) in &self.env {
            let bad = |why| Err(ProgramError::Bad { what: "variable", text: name.clone(), why });
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(is_name) {
                return bad("a name has 1 to 64 letters, digits and underscores");
            }
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return bad("a name does not begin with a digit");
            }
            if name.starts_with(RESERVED_PREFIX) {
                return bad("names that begin with XTREEM_ belong to the agent");
            }
            if !seen.insert(name) {
                return bad("given twice");
            }
            check_text("value of variable", value)?;
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), ProgramError> {
        let mut seen = BTreeSet::new();
        for file in &self.files {
            let bad = |why| Err(ProgramError::Bad { what: "file", text: file.path.clone(), why });
            if file.path.is_empty() || file.path.len() > PATH_MAX_BYTES {
                return bad("a path has 1 to 255 bytes");
            }
            if file.path.contains('\0') {
                return bad("a path has no zero byte");
            }
            if file.path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return bad("a path is relative and stays inside the slot's directory");
            }
            if file.path.split('/').next() == Some(TEMPORARY) {
                return bad("that name is the directory for temporary files");
            }
            if file.len > FILE_MAX_BYTES {
                return bad("larger than 16 GiB");
            }
            if !seen.insert(file.path.as_str()) {
                return bad("given twice");
            }
        }
        for file in &self.files {
            let is_taken = |(at, _): (usize, &str)| seen.contains(&file.path[..at]);
            if file.path.match_indices('/').any(is_taken) {
                let why = "lies below another file";
                return Err(ProgramError::Bad { what: "file", text: file.path.clone(), why });
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), ProgramError> {
        let mut names = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for port in &self.ports {
            let bad = |why| Err(ProgramError::Bad { what: "port", text: port.name.clone(), why });
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if port.name.is_empty() || port.name.len() > NAME_MAX_BYTES || !port.name.chars().all(is_name) {
                return bad("a name has 1 to 64 letters, digits, '-' and '_'");
            }
            if !names.insert(port.variable()) {
                return bad("given twice");
            }
            if port.port != 0 && !numbers.insert(port.port) {
                return bad("another port has its number");
            }
        }
        Ok(())
    }
}

impl Program {
    /// Whether so many slots can be members of its collections: a mesh has a place for each of them.
    pub fn check_slots(&self, slots: u16) -> Result<(), ProgramError> {
        self.collections.iter().try_for_each(|CollectionRef { name, spec }| {
            check_fit(spec, slots).map_err(|why| ProgramError::Collection { name: name.clone(), why })
        })
    }

    fn check_collections(&self) -> Result<(), ProgramError> {
        let mut names = BTreeSet::new();
        for CollectionRef { name, spec } in &self.collections {
            let bad = |why| ProgramError::Collection { name: name.chars().take(80).collect(), why };
            check_name(name).and_then(|()| kind(spec)).map_err(bad)?;
            if !names.insert(name) {
                return Err(bad("given twice".to_owned()));
            }
        }
        Ok(())
    }

    /// Numbers that its ports have. As many fit as a program may have ports, and each is there once.
    pub fn fixed_ports(&self) -> FixedPorts {
        let numbers = self.ports.iter().map(|port| port.port).filter(|number| *number > 0);
        FixedPorts::new(numbers).unwrap_or_default()
    }
}

impl PortRef {
    /// The environment variable that tells the program its port.
    pub fn variable(&self) -> String {
        format!("XTREEM_PORT_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

fn count(what: &'static str, count: usize, max: usize) -> Result<(), ProgramError> {
    if count > max { Err(ProgramError::TooMany { what, count, max }) } else { Ok(()) }
}

fn check_text(what: &'static str, text: &str) -> Result<(), ProgramError> {
    let bad = |why| {
        let shown = text.chars().take(40).collect();
        Err(ProgramError::Bad { what, text: shown, why })
    };
    if text.len() > TEXT_MAX_BYTES {
        return bad("longer than 4096 bytes");
    }
    if text.contains('\0') {
        return bad("has a zero byte");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
