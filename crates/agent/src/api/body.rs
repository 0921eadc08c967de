//! Requests as checked values: bodies within their limits, identities in paths, queries without surprises.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::ApiError;

/// Longest JSON body: an application of 64 KiB payload, in base64, with room.
pub(super) const JSON_MAX_BYTES: usize = 256 << 10;
/// Longest time for such a body to arrive.
const BODY_MAX: Duration = Duration::from_secs(10);

/// The body as JSON.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let too_large = |_| {
        let error = format!("the body has more than {JSON_MAX_BYTES} bytes or broke off");
        ApiError::definite(StatusCode::PAYLOAD_TOO_LARGE, error)
    };
    let late = |_| ApiError::definite(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let bytes = timeout(BODY_MAX, to_bytes(body, JSON_MAX_BYTES)).await.map_err(late)?.map_err(too_large)?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
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
