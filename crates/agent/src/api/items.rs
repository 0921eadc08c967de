//! `GET`, `PUT` and `DELETE /v1/ring/items?key=...`: what lies on the ring of all nodes, by names that people
//! give. `GET /v1/ring/scan`: what lies between two names.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_base::Duration;
use xtreem_client::api::{Blob, RingItem, RingItems, RingVersion};
use xtreem_net::{SignedOverwrite, verify_overwrite};
use xtreem_overlay::store::{
    Action, Failed, Found, Operation, Overwrite, Proof, SCANNED_MAX, Success, Value, Version, Word,
    end_of_prefix,
};
use xtreem_overlay::{KEY_MAX, Key, Namespace};

use super::error::ApiError;
use super::ring::unhexed;
use crate::agent::Agent;
use crate::operating::{self, Unfinished};

/// Copies beside the owner's, where nothing else is asked for: two nodes may die at once.
const COPIES: u8 = 2;
/// Seconds that an item lies there, where nothing else is asked for. Our guess: a day's work.
pub(super) const LEASE_S: u64 = 86_400;
/// Items of one answer, where nothing else is asked for.
pub(super) const LISTED: u16 = 100;

#[derive(Deserialize)]
pub(super) struct Asked {
    key: String,
    copies: Option<u8>,
    lease_s: Option<u64>,
    /// `EPOCH.NUMBER`, or `none`: only if that lies there.
    expected: Option<String>,
    /// CBOR of an administrator's signature, in hexadecimal: it writes over what another wrote.
    overwrite: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Scan {
    #[serde(default)]
    prefix: String,
    /// To go on after an answer that was cut off.
    from: Option<String>,
    limit: Option<u16>,
}

pub(super) async fn get(
    State(agent): State<Arc<Agent>>,
    Query(asked): Query<Asked>,
) -> Result<Json<RingItem>, ApiError> {
    match operate(&agent, key(&asked.key)?, Action::Get).await? {
        Success::Got { found: Some(found), .. } => Ok(Json(item(&found))),
        _ => Err(ApiError::definite(StatusCode::NOT_FOUND, format!("nothing lies at {}", asked.key))),
    }
}

pub(super) async fn put(
    State(agent): State<Arc<Agent>>,
    Query(asked): Query<Asked>,
    body: Bytes,
) -> Result<Json<RingVersion>, ApiError> {
    let value = Value::new(&body).map_err(ApiError::bad_request)?;
    write(&agent, &asked, Some(value)).await
}

pub(super) async fn delete(
    State(agent): State<Arc<Agent>>,
    Query(asked): Query<Asked>,
) -> Result<Json<RingVersion>, ApiError> {
    write(&agent, &asked, None).await
}

async fn write(
    agent: &Arc<Agent>,
    asked: &Asked,
    value: Option<Value>,
) -> Result<Json<RingVersion>, ApiError> {
    let seconds = asked.lease_s.unwrap_or(LEASE_S);
    let degree = asked.copies.unwrap_or(COPIES);
    let lease = Duration::from_secs(seconds.min(u64::MAX / 1_000_000));
    let expected = asked.expected.as_deref().map(expected).transpose()?;
    let key = key(&asked.key)?;
    let action = match &asked.overwrite {
        None => Action::Write { value, degree, lease, expected },
        Some(signed) => {
            let version = expected.filter(|version| *version != Version::default()).ok_or_else(|| {
                ApiError::bad_request("overwrite: also name the version that lies there, as expected=3.17")
            })?;
            let what = Overwrite { value, degree, lease, version };
            let word = word(agent, signed, &what.statement(&key))?;
            Action::Overwrite { what, word }
        }
    };
    match operate(agent, key, action).await? {
        Success::Written { version, .. } => Ok(Json(told(version))),
        other => Err(unexpected(&other)),
    }
}

/// The word of the administrator who signed `what`. Its owner looks again: this node may be wrong, or lie.
fn word(agent: &Agent, signed: &str, what: &[u8]) -> Result<Word, ApiError> {
    let malformed = || ApiError::bad_request("overwrite: want the hexadecimal CBOR of a signature");
    let bytes = unhexed(signed).ok_or_else(malformed)?;
    let SignedOverwrite { at_unix, proof } = minicbor::decode(&bytes).map_err(|_| malformed())?;
    let now_unix = crate::mail::now_unix_ms(agent.net.clock_correction_ms()) / 1_000;
    let by = verify_overwrite(agent.net.identity().root(), now_unix, at_unix, what, &proof);
    let by = by.map_err(|fault| ApiError::definite(StatusCode::FORBIDDEN, fault))?.id();
    Ok(Word { by, at_unix, proof: Proof::new(&proof).ok_or_else(malformed)? })
}

pub(super) async fn scan(
    State(agent): State<Arc<Agent>>,
    Query(asked): Query<Scan>,
) -> Result<Json<RingItems>, ApiError> {
    let limit = asked.limit.unwrap_or(LISTED);
    if limit == 0 || usize::from(limit) > SCANNED_MAX {
        return Err(ApiError::bad_request(format!("limit={limit}: want 1 to {SCANNED_MAX}")));
    }
    let prefix = key(&asked.prefix)?;
    let hi = end_of_prefix(&prefix);
    let from = asked.from.as_deref().map(key).transpose()?.map_or(prefix.clone(), |from| from.max(prefix));
    match operate(&agent, from, Action::Scan { hi, limit }).await? {
        Success::Scanned { found, next } => {
            let items = found.iter().map(item).collect();
            Ok(Json(RingItems { items, next: next.as_ref().map(name) }))
        }
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn operate(agent: &Arc<Agent>, key: Key, action: Action) -> Result<Success, ApiError> {
    let done = operating::operate(&agent.net, &agent.waiting, Operation { key, action }).await;
    done.map_err(|unfinished| match unfinished {
        Unfinished::Stopped(stopped) => stopped.into(),
        Unfinished::TooManyWait(too_many) => too_many.into(),
        Unfinished::TooMany(too_many) => ApiError::definite(StatusCode::TOO_MANY_REQUESTS, too_many),
        Unfinished::Failed(error) => failed(error),
    })
}

pub(super) fn failed(failed: Failed) -> ApiError {
    match failed {
        Failed::Refused(refused) => ApiError::definite(StatusCode::CONFLICT, refused),
        Failed::Unanswered => ApiError::definite(StatusCode::SERVICE_UNAVAILABLE, failed),
        Failed::Indefinite => ApiError::indefinite(StatusCode::GATEWAY_TIMEOUT, failed),
    }
}

/// A core that answers another question than it was asked.
fn unexpected(success: &Success) -> ApiError {
    tracing::error!(?success, "the store answered something else than it was asked");
    ApiError::indefinite(StatusCode::INTERNAL_SERVER_ERROR, "an answer to another question")
}

fn key(name: &str) -> Result<Key, ApiError> {
    Key::new(Namespace::USER, name.as_bytes()).map_err(|_| too_long(name, KEY_MAX - 1))
}

/// So many bytes are left for a name in a key.
pub(super) fn too_long(name: &str, most: usize) -> ApiError {
    let shown: String = name.chars().take(40).collect();
    ApiError::bad_request(format!("key={shown}…: {} bytes; a key has {most} at most", name.len()))
}

/// What people call it: without its namespace.
fn name(key: &Key) -> String {
    String::from_utf8_lossy(key.as_bytes().get(1..).unwrap_or_default()).into_owned()
}

pub(super) fn told(version: Version) -> RingVersion {
    RingVersion { version: version.to_string() }
}

fn item(found: &Found) -> RingItem {
    RingItem {
        key: name(&found.key),
        value: Blob(found.value.as_bytes().to_vec()),
        writer: found.writer.to_string(),
        version: told(found.version).version,
        left_s: found.left.as_micros() / 1_000_000,
    }
}

pub(super) fn expected(text: &str) -> Result<Version, ApiError> {
    let version = || {
        let (epoch, number) = text.split_once('.')?;
        Some(Version { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    };
    match text {
        "none" => Ok(Version::default()),
        _ => version().ok_or_else(|| {
            ApiError::bad_request(format!("expected={text}: want a version as it was told (3.17), or none"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_told() {
        let version = Version { epoch: 3, number: 17 };
        assert_eq!(expected(&told(version).version).ok(), Some(version));
        assert_eq!(expected("none").ok(), Some(Version::default()));
        for wrong in ["", "3", "3.", ".3", "a.b", "-1.2"] {
            assert!(expected(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        assert_eq!(name(&key("ä/b").expect("short")), "ä/b");
        let error = key(&"x".repeat(512)).expect_err("too long").body.error;
        assert!(error.ends_with("x…: 512 bytes; a key has 511 at most"), "{error}");
    }
}
