//! Requests as checked values: bodies within their limits, identities in paths, queries without surprises.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
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

/// Reads it and throws it away: for who is refused before it is looked at.
pub(super) async fn skip(body: Body) {
    let _ = bytes(body, 0, "the body").await;
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

/// A query string, whose text is UTF-8 by [`check_query`].
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| wrong_query(&rejection))
}

fn wrong_query(rejection: &QueryRejection) -> ApiError {
    let text = rejection.body_text();
    // What the framework did is nothing to who asks.
    let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    ApiError::bad_request(format!("the query: {reason}"))
}

/// A number of a query, taken as text so that what is wrong can be shown.
pub(super) fn number<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |_| {
        let (shown, bits) = (text.chars().take(40).collect::<String>(), 8 * size_of::<T>());
        let most = u64::MAX >> (64 - bits);
        ApiError::bad_request(format!("{name}={shown}: want a whole number from 0 on, {most} at most"))
    };
    text.parse().map(Some).map_err(wrong)
}

/// Refuses texts that are not UTF-8. The query's parser would put U+FFFD in place of what it cannot read, and
/// make one key of several.
pub(super) async fn check_query(request: Request, next: Next) -> Response {
    match not_utf8(request.uri().query().unwrap_or_default()) {
        Some(name) => ApiError::bad_request(format!("{name}: not UTF-8")).into_response(),
        None => next.run(request).await,
    }
}

/// The first name in a query whose value, or which itself, is not UTF-8.
fn not_utf8(query: &str) -> Option<String> {
    let is_text = |text: &str| percent_decode_str(text).decode_utf8().is_ok();
    let pair = query.split('&').find(|pair| !is_text(pair))?;
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    Some(percent_decode_str(name).decode_utf8_lossy().chars().take(40).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_query_that_are_not_utf8_are_found() {
        for fine in ["", "key", "key=a%2Fb&lease_s=3", "key=%C3%A4", "key=%", "key=%zz", "key=a+b"] {
            assert_eq!(not_utf8(fine), None, "{fine}");
        }
        for (wrong, name) in [("key=%ff", "key"), ("a=b&id=x%C3&key=%ff", "id"), ("k%C3=a", "k\u{fffd}")] {
            assert_eq!(not_utf8(wrong).as_deref(), Some(name), "{wrong}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_shown_with_what_is_wanted() {
        assert!(matches!(number::<u32>("rank", Some("5")), Ok(Some(5))));
        assert!(matches!(number::<u32>("rank", None), Ok(None)));
        for (wrong, most) in [("-1", "65535"), ("x", "65535"), ("65536", "65535")] {
            let error = number::<u16>("rank", Some(wrong)).expect_err(wrong).body.error;
            let expected = format!("rank={wrong}: want a whole number from 0 on, {most} at most");
            assert_eq!(error, expected);
        }
    }
}
