//! Requests as checked values: bodies within their limits, identities in paths, queries without surprises.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::ApiError;

/// Longest JSON body: an application of 64 KiB payload, in base64, with room.
pub(super) const JSON_MAX_BYTES: usize = 256 << 10;
/// A longer body is read to here all the same, and thrown away: who still sends when the connection ends
/// hears of a broken pipe and not of the reason (our guess: more is sent by no mistake).
const SKIPPED_MAX_BYTES: usize = 16 << 20;
/// Longest time for such a body to arrive.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The body as JSON.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = bytes(body, JSON_MAX_BYTES, "the body").await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
}

/// The body as it is, of so many bytes at most; `what` is too long otherwise.
pub(super) async fn bytes(body: Body, max_bytes: usize, what: &str) -> Result<Vec<u8>, ApiError> {
    let late = |_| ApiError::definite(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    timeout(BODY_MAX, read(body.into_data_stream(), max_bytes, what)).await.map_err(late)?
}

async fn read(mut pieces: BodyDataStream, max_bytes: usize, what: &str) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut len) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let broken = |error| ApiError::bad_request(format!("the body broke off: {error}"));
        let piece = piece.map_err(broken)?;
        len += piece.len();
        if len <= max_bytes {
            bytes.extend_from_slice(&piece);
        } else if len > SKIPPED_MAX_BYTES {
            break;
        }
    }
    if len <= max_bytes {
        return Ok(bytes);
    }
    let error = format!("{what} has more than {max_bytes} bytes");
    Err(ApiError::definite(StatusCode::PAYLOAD_TOO_LARGE, error))
}

/// An identity in a path.
pub(super) fn id<T: FromStr<Err: ToString>>(text: &str, what: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error: T::Err| ApiError::bad_request(format!("{what} {text:?}: {}", error.to_string())))
}

/// A query string.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| ApiError::bad_request(rejection.body_text()))
}
