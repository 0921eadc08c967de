//! What can go wrong between a client and its agent, and whether the request may have had an effect.

use std::io;
use std::path::PathBuf;

use crate::api::{ErrorBody, ErrorKind};

/// A request was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing was sent.
    #[error("no agent answers at {}: {source}", socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    /// The agent said no, or that it failed.
    #[error("{}", body.error)]
    Refused { status: u16, body: ErrorBody },
    /// The connection broke after the request was begun.
    #[error("the agent's answer broke off: {reason}")]
    Broken { reason: String, is_read: bool },
    #[error("the agent did not answer within {seconds} s")]
    TimedOut { seconds: u64, is_read: bool },
    /// The agent answered something that this version does not understand.
    #[error("the agent's answer is not understood: {reason}")]
    Malformed { reason: String, is_read: bool },
    /// What was to be sent could not be read; the agent was told by an unfinished request.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl ClientError {
    /// The lines of a search ended before its report: the agent ended in the middle of it.
    pub fn no_report() -> Self {
        ClientError::Broken { reason: "it ends before the search's report".to_owned(), is_read: true }
    }

    /// Whether the request may have had an effect. Questions have none, so their failures are definite.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Unreachable { .. } | ClientError::File { .. } => ErrorKind::Definite,
            ClientError::Refused { body, .. } => body.kind,
            ClientError::Broken { is_read, .. }
            | ClientError::TimedOut { is_read, .. }
            | ClientError::Malformed { is_read, .. } => {
                if *is_read {
                    ErrorKind::Definite
                } else {
                    ErrorKind::Indefinite
                }
            }
        }
    }

    /// What the agent advises, if it does.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ClientError::Refused { body, .. } => body.hint.as_deref(),
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
