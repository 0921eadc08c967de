//! `PUT` and `HEAD /v1/files/{digest}`: the content of programs' files.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use xtreem_base::Digest;

use super::body;
use super::error::ApiError;
use crate::agent::Agent;
use crate::bulk;
use crate::store::PutError;

/// Parts of a body that wait for the disk.
const PARTS_MAX: usize = 8;
/// Longest silence within a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// 200 when the content is here, 404 otherwise. GET serves HEAD requests, too; a body would be of no use.
pub(super) async fn has(
    State(agent): State<Arc<Agent>>,
    Path(digest): Path<String>,
) -> Result<StatusCode, ApiError> {
    let digest: Digest = body::id(&digest, "digest")?;
    if agent.store.has(digest) {
        Ok(StatusCode::OK)
    } else {
        Err(ApiError::definite(StatusCode::NOT_FOUND, format!("file {digest} is not here")))
    }
}

/// 201 when the content is new here, 200 when it was here before.
pub(super) async fn put(
    State(agent): State<Arc<Agent>>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let digest: Digest = body::id(&digest, "digest")?;
    let is_new = !agent.store.has(digest);
    let (parts, waiting) = mpsc::channel(PARTS_MAX);
    let store = agent.store.clone();
    let parts_in = Parts { waiting, part: Bytes::new(), hasher: blake3::Hasher::new(), digest };
    let writing = tokio::spawn(bulk::UPLOADS.run(move || store.put_reader(parts_in)));
    let mut body = body.into_data_stream();
    loop {
        let part = match timeout(SILENCE_MAX, body.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(part))) => Ok(part),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let is_broken = part.is_err();
        // When the writer is gone it has an error to tell.
        if parts.send(part).await.is_err() || is_broken {
            break;
        }
    }
    drop(parts);
    let failed = |error| ApiError::definite(StatusCode::INTERNAL_SERVER_ERROR, error);
    let written = writing.await.map_err(io::Error::other).flatten().map_err(failed)?;
    written.map_err(|error| {
        let status = match error {
            PutError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            PutError::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
            PutError::Source(_) => StatusCode::BAD_REQUEST,
            PutError::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::definite(status, error)
    })?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::OK })
}

/// The parts of a body, to a thread that may wait. Content of another digest ends in an error, so that
/// nothing of it is stored.
struct Parts {
    waiting: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
    hasher: blake3::Hasher,
    digest: Digest,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.waiting.blocking_recv() {
                None => return self.check().map(|()| 0),
                Some(part) => self.part = part?,
            }
        }
        let len = self.part.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.part.split_to(len));
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}

impl Parts {
    fn check(&self) -> io::Result<()> {
        let found = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if found == self.digest {
            return Ok(());
        }
        let error = format!("the content has digest {found}, not {}", self.digest);
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}
