//! `POST .../load`: many items of one program, written together.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use xtreem_base::Duration;
use xtreem_client::api::{
    CollectionSpec, LOAD_BODY_MAX_BYTES, LOAD_ITEMS_MAX, LoadReply, LoadRequest, NotLoaded,
};
use xtreem_overlay::collection::BeginError;
use xtreem_overlay::store::{Action, Operation, Success, Value};

use super::{items, of, unexpected, wait};
use crate::api::body;
use crate::api::error::ApiError;
use crate::api::items::LEASE_S;
use crate::api::slot_socket::Slot;
use crate::collections::{Outcome, Question};

pub(in crate::api) async fn load(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<LoadReply>, ApiError> {
    let joined = of(&slot, &name).await?;
    let body = body::bytes(body, LOAD_BODY_MAX_BYTES, "a bulk load").await?;
    let (spec, copies) = (joined.spec.clone(), items::copies(&joined.spec));
    let copies = copies.ok_or(BeginError::Kind("ring for items"))?;
    // Some milliseconds of work: not by a thread that others wait for.
    let read = tokio::task::spawn_blocking(move || operations(&spec, copies, &body)).await;
    let operations = read.map_err(|error| {
        tracing::error!(%error, "a bulk load was not read");
        ApiError::definite(StatusCode::INTERNAL_SERVER_ERROR, "the items were not read: see the agent's log")
    })??;
    let answer = joined
        .call(|driver| driver.ask(|core, call, out| core.load(call, operations, out).map(Question::Item)));
    match wait(answer.await??).await? {
        Outcome::Item(Ok(Success::Loaded { written, failed })) => {
            let not_loaded = |(key, failed)| {
                let body = items::not_done(failed).body;
                NotLoaded { key: items::text(&joined.spec, &key), error: body.error, kind: body.kind }
            };
            Ok(Json(LoadReply { written, failed: failed.into_iter().map(not_loaded).collect() }))
        }
        other => Err(unexpected(&other)),
    }
}

/// In the order of their keys, each of them once.
fn operations(spec: &CollectionSpec, copies: u8, body: &[u8]) -> Result<Vec<Operation>, ApiError> {
    let request: LoadRequest =
        serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    let count = request.items.len();
    if count > LOAD_ITEMS_MAX {
        let error = format!("{count} items: a bulk load has {LOAD_ITEMS_MAX} at most; make several of it");
        return Err(ApiError::definite(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let seconds = request.lease_s.unwrap_or(LEASE_S);
    let lease = Duration::from_secs(seconds.min(u64::MAX / 1_000_000));
    let degree = request.copies.unwrap_or(copies);
    let mut operations = Vec::with_capacity(count);
    for item in request.items {
        let value = Value::new(&item.value.0);
        let value = value.map_err(|error| ApiError::bad_request(format!("key={}: {error}", item.key)))?;
        let action = Action::Write { value: Some(value), degree, lease, expected: None };
        operations.push(Operation { key: items::key(spec, &item.key)?, action });
    }
    operations.sort_by(|a, b| a.key.cmp(&b.key));
    match operations.windows(2).find(|two| two[0].key == two[1].key) {
        Some(two) => {
            let key = items::text(spec, &two[0].key);
            Err(ApiError::bad_request(format!("key={key}: twice in one bulk load: name each key once")))
        }
        None => Ok(operations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: CollectionSpec = CollectionSpec::Ring { copies: 2 };

    #[test]
    fn items_are_put_in_the_order_of_their_keys() {
        let body = br#"{"items":[{"key":"b","value":"Qg=="},{"key":"a","value":"QQ=="}],"lease_s":60}"#;
        let operations = operations(&RING, 1, body).expect("good");
        let names: Vec<String> = operations.iter().map(|it| items::text(&RING, &it.key)).collect();
        assert_eq!(names, ["a", "b"]);
        let lease = Duration::from_secs(60);
        let is_it =
            |it: &Operation| matches!(it.action, Action::Write { degree: 1, lease: it, .. } if it == lease);
        assert!(operations.iter().all(is_it));
    }

    #[test]
    fn what_is_too_much_or_twice_is_refused_by_name() {
        let item = |key: usize| format!(r#"{{"key":"{key}","value":""}}"#);
        let body = |keys: Vec<usize>| {
            let items: Vec<String> = keys.into_iter().map(item).collect();
            format!(r#"{{"items":[{}]}}"#, items.join(","))
        };
        let judge = |keys| operations(&RING, 2, body(keys).as_bytes()).map_err(|error| error.body.error);
        assert_eq!(judge((0..LOAD_ITEMS_MAX).collect()).map(|it| it.len()), Ok(LOAD_ITEMS_MAX));
        let error = judge((0..=LOAD_ITEMS_MAX).collect()).map(drop).expect_err("one more");
        assert_eq!(error, "1025 items: a bulk load has 1024 at most; make several of it");
        let error = judge(vec![7, 8, 7]).map(drop).expect_err("twice");
        assert_eq!(error, "key=7: twice in one bulk load: name each key once");
    }
}
