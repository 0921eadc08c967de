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
    /// A collection was opened as what it is not.
    #[error("collection {name:?} is of kind {kind}, not {wanted}")]
    WrongKind { name: String, kind: &'static str, wanted: &'static str },
    #[error("collection {name:?} is not settled after {seconds} s: {why}")]
    NotSettled { name: String, seconds: u64, why: String },
}

impl ClientError {
    /// The lines of a search ended before its report: the agent ended in the middle of it.
    pub fn no_report() -> Self {
        ClientError::Broken { reason: "it ends before the search's report".to_owned(), is_read: true }
    }

    /// Whether the request may have had an effect. Questions have none, so their failures are definite.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::File { .. }
            | ClientError::WrongKind { .. }
            | ClientError::NotSettled { .. } => ErrorKind::Definite,
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
            ClientError::NotSettled { .. } => Some(
                "some slots may not run yet, or be lost: `xtreem show` tells; wait longer, or number anew",
            ),
            _ => None,
        }
    }

    /// The same request may be answered with success later, with nothing changed by whoever asks.
    pub fn is_passing(&self) -> bool {
        match self {
            ClientError::Refused { status, .. } => *status >= 500 || *status == 429,
            ClientError::Unreachable { .. }
            | ClientError::Broken { .. }
            | ClientError::TimedOut { .. }
            | ClientError::NotSettled { .. } => true,
            ClientError::Malformed { .. } | ClientError::File { .. } | ClientError::WrongKind { .. } => false,
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
