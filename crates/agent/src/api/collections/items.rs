//! `.../items?key=...` and `.../scan`: what lies on the ring of a collection, by names that programs give.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_base::Duration;
use xtreem_client::api::{Blob, CollectionSpec, RingItem, RingItems, RingVersion};
use xtreem_overlay::chord::ID_BYTES;
use xtreem_overlay::collection::{BeginError, Member};
use xtreem_overlay::store::{
    Action, Failed, Found, Operation, Refused, SCANNED_MAX, Success, VALUE_MAX, Value, end_of_prefix,
};
use xtreem_overlay::{KEY_MAX, Key, Namespace};

use super::{of, unexpected, wait};
use crate::api::body;
use crate::api::error::ApiError;
use crate::api::items::{LEASE_S, LISTED, expected, failed, told, too_long};
use crate::api::slot_socket::Slot;
use crate::collections::{Joined, Outcome, Question};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Asked {
    key: String,
    copies: Option<u8>,
    lease_s: Option<u64>,
    /// `EPOCH.NUMBER`, or `none`: only if that lies there.
    expected: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Scan {
    #[serde(default)]
    prefix: String,
    /// To go on after an answer that was cut off.
    from: Option<String>,
    /// The first that is not told.
    to: Option<String>,
    limit: Option<u16>,
}

pub(in crate::api) async fn get(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<RingItem>, ApiError> {
    let (joined, asked) = (of(&slot, &name).await?, body::query(asked)?);
    match operate(&joined, key(&joined.spec, &asked.key)?, Action::Get).await? {
        Success::Got { found: Some(found), .. } => Ok(Json(item(&joined.spec, &found))),
        _ => Err(ApiError::definite(StatusCode::NOT_FOUND, format!("nothing lies at {}", asked.key))),
    }
}

pub(in crate::api) async fn put(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
    body: Body,
) -> Result<Json<RingVersion>, ApiError> {
    let (joined, asked) = (of(&slot, &name).await?, body::query(asked)?);
    let value = body::bytes(body, VALUE_MAX, "the value").await?;
    let value = Value::new(&value).map_err(ApiError::bad_request)?;
    write(&joined, &asked, Some(value)).await
}

pub(in crate::api) async fn delete(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<RingVersion>, ApiError> {
    let (joined, asked) = (of(&slot, &name).await?, body::query(asked)?);
    write(&joined, &asked, None).await
}

async fn write(joined: &Joined, asked: &Asked, value: Option<Value>) -> Result<Json<RingVersion>, ApiError> {
    let copies = copies(&joined.spec).unwrap_or(0);
    let seconds = asked.lease_s.unwrap_or(LEASE_S);
    let action = Action::Write {
        value,
        degree: asked.copies.unwrap_or(copies),
        lease: Duration::from_secs(seconds.min(u64::MAX / 1_000_000)),
        expected: asked.expected.as_deref().map(expected).transpose()?,
    };
    match operate(joined, key(&joined.spec, &asked.key)?, action).await? {
        Success::Written { version, .. } => Ok(Json(told(version))),
        other => Err(unexpected(&Outcome::Item(Ok(other)))),
    }
}

pub(in crate::api) async fn scan(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    asked: Result<Query<Scan>, QueryRejection>,
) -> Result<Json<RingItems>, ApiError> {
    let (joined, asked) = (of(&slot, &name).await?, body::query(asked)?);
    let limit = asked.limit.unwrap_or(LISTED);
    if limit == 0 || usize::from(limit) > SCANNED_MAX {
        return Err(ApiError::bad_request(format!("limit={limit}: want 1 to {SCANNED_MAX}")));
    }
    if matches!(joined.spec, CollectionSpec::Chord { .. }) {
        return Err(BeginError::Kind("order of its keys").into());
    }
    let (from, hi) = bounds(&joined.spec, &asked.prefix, asked.from.as_deref(), asked.to.as_deref())?;
    if hi.as_ref().is_some_and(|hi| *hi <= from) {
        return Ok(Json(RingItems { items: Vec::new(), next: None }));
    }
    match operate(&joined, from, Action::Scan { hi, limit }).await? {
        Success::Scanned { found, next } => {
            let items = found.iter().map(|found| item(&joined.spec, found)).collect();
            Ok(Json(RingItems { items, next: next.map(|next| text(&joined.spec, &next)) }))
        }
        other => Err(unexpected(&Outcome::Item(Ok(other)))),
    }
}

async fn operate(joined: &Joined, key: Key, action: Action) -> Result<Success, ApiError> {
    let operation = Operation { key, action };
    let answer = joined
        .call(|driver| driver.ask(|core, call, out| core.begin(call, operation, out).map(Question::Item)));
    match wait(answer.await??).await? {
        Outcome::Item(result) => result.map_err(not_done),
        other => Err(unexpected(&other)),
    }
}

/// Why something was not done, with slots for members.
pub(super) fn not_done(why: Failed) -> ApiError {
    let Failed::Refused(Refused::AnotherWriter(id)) = why else { return failed(why) };
    let writer = Member::slot_of(&id).map_or_else(|| "another member".to_owned(), |it| format!("slot {it}"));
    let error = format!("{writer} wrote this key: only it may write here until its lease ends");
    ApiError::definite(StatusCode::CONFLICT, error)
}

/// Copies of an item, where nothing else is asked for. None: nothing lies in such a collection.
pub(super) fn copies(spec: &CollectionSpec) -> Option<u8> {
    match spec {
        CollectionSpec::Ring { copies }
        | CollectionSpec::Chord { copies }
        | CollectionSpec::Farm { copies, .. } => Some(*copies),
        _ => None,
    }
}

/// The first key of a part of the order, and the first one behind it.
pub(super) fn bounds(
    spec: &CollectionSpec,
    prefix: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(Key, Option<Key>), ApiError> {
    let key = |text: &str| key(spec, text);
    let prefix = key(prefix)?;
    let hi = [end_of_prefix(&prefix), to.map(key).transpose()?].into_iter().flatten().min();
    let from = from.map(key).transpose()?.unwrap_or_else(|| prefix.clone()).max(prefix);
    Ok((from, hi))
}

/// Where something of this name lies. On a Chord its hash decides, which stands before the name.
pub(super) fn key(spec: &CollectionSpec, name: &str) -> Result<Key, ApiError> {
    let (mut bytes, mut most) = (Vec::new(), KEY_MAX - 1);
    if matches!(spec, CollectionSpec::Chord { .. }) {
        most -= ID_BYTES;
        bytes.extend_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..ID_BYTES]);
    }
    bytes.extend_from_slice(name.as_bytes());
    Key::new(Namespace::USER, &bytes).map_err(|_| too_long(name, most))
}

pub(super) fn text(spec: &CollectionSpec, key: &Key) -> String {
    let head = if matches!(spec, CollectionSpec::Chord { .. }) { 1 + ID_BYTES } else { 1 };
    String::from_utf8_lossy(key.as_bytes().get(head..).unwrap_or_default()).into_owned()
}

fn item(spec: &CollectionSpec, found: &Found) -> RingItem {
    RingItem {
        key: text(spec, &found.key),
        value: Blob(found.value.as_bytes().to_vec()),
        writer: Member::slot_of(&found.writer).map_or_else(String::new, |slot| slot.to_string()),
        version: told(found.version).version,
        left_s: found.left.as_micros() / 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_in_keys_of_both_rings_and_long_ones_are_refused() {
        let specs = [CollectionSpec::Ring { copies: 2 }, CollectionSpec::Chord { copies: 2 }];
        for (spec, most) in specs.iter().zip([511, 511 - ID_BYTES]) {
            for name in ["", "ä/b", &"x".repeat(most)] {
                assert_eq!(text(spec, &key(spec, name).expect("short")), name);
            }
            let error = key(spec, &"x".repeat(most + 1)).expect_err("too long").body.error;
            assert!(error.ends_with(&format!("a key has {most} at most")), "{error}");
        }
        let (one, other) = (key(&specs[1], "a").expect("short"), key(&specs[1], "b").expect("short"));
        assert_ne!(one.as_bytes()[..=ID_BYTES], other.as_bytes()[..=ID_BYTES]);
    }
}
