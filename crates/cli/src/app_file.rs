//! `app.toml`: what a user wants to run, read and checked before anything happens.
//!
//! Every complaint shows its place. The file's values are checked one by one where their
//! place is known; limits are those of the crates that carry the values later.

mod check;
mod collections;
mod raw;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xtreem_agent::complaint::{Complaint, Source};
use xtreem_agent::program::{Program, ProgramError};
use xtreem_allocation::{Resources, Restart, Spec};
use xtreem_base::Digest;
use xtreem_discovery::{Need, SetQuery};

/// Longest `app.toml`: far more than 256 files and variables need.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Bytes of a file that are hashed at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A checked application file. Its files existed and were hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFile {
    pub name: String,
    /// Nodes wanted, the most of them: the number of slots.
    pub nodes: u16,
    /// What is needed of each node; a set of exactly so many nodes when they are to be enough together.
    pub requirement: Need,
    /// Which of the matching nodes get the slots; empty means any.
    pub placement: String,
    /// The set that is wanted, from its fewest to its most nodes.
    pub set: Option<SetQuery>,
    pub resources: Resources,
    pub colocate: bool,
    pub restart: Restart,
    pub program: Program,
    /// Where the program's files are on this machine, in the program's order.
    pub files: Vec<LocalFile>,
}

/// A file of the program, here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    pub path: PathBuf,
    pub digest: Digest,
    pub len: u64,
}

/// The application file is not usable. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Wrong(#[from] Complaint),
}

impl AppFile {
    /// Reads and checks the file at `path`, and hashes the files it names (relative to its directory).
    pub fn load(path: &Path) -> Result<AppFile, LoadError> {
        let text =
            read_text(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        AppFile::parse(&text, &path.display().to_string(), directory).map_err(LoadError::Wrong)
    }

    /// Checks `text`. `shown` names the file in complaints.
    pub fn parse(text: &str, shown: &str, directory: &Path) -> Result<AppFile, Complaint> {
        let source = Source { name: shown, text };
        check::app(&source, source.toml()?, directory)
    }

    /// The same for so many nodes, of those that are possible.
    pub fn with_size(self, nodes: u16) -> Self {
        let Some(set) = &self.set else { return self };
        let nodes = nodes.clamp(set.least(), set.most());
        match check::exactly(set, nodes) {
            Ok(requirement) => AppFile { nodes, requirement, ..self },
            Err(_) => self,
        }
    }

    /// What every slot runs and needs, as it travels.
    pub fn spec(&self) -> Result<Spec, ProgramError> {
        Ok(Spec {
            requirement: self.requirement.clone(),
            resources: self.resources,
            colocate: self.colocate,
            restart: self.restart,
            payload: Arc::from(self.program.to_payload()?),
            placement: self.placement.as_str().into(),
            ports: self.program.fixed_ports(),
        })
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    let len = file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if len as u64 > FILE_MAX_BYTES {
        return Err(io::Error::other("larger than 1 MiB: this is no application file"));
    }
    Ok(text)
}

/// Length and BLAKE3 hash of a file.
fn hash_file(path: &Path) -> io::Result<(u64, Digest)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut total = 0;
    loop {
        let len = file.read(&mut piece)?;
        if len == 0 {
            return Ok((total, Digest::from_bytes(*hasher.finalize().as_bytes())));
        }
        hasher.update(&piece[..len]);
        total += len as u64;
    }
}
