//! `POST .../broadcast`: tells all members of a ring something, or the owners of some of its keys.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_client::api::BROADCAST_MAX_BYTES;
use xtreem_overlay::store::Value;

use super::{items, of, unexpected, wait};
use crate::api::body;
use crate::api::error::ApiError;
use crate::api::slot_socket::Slot;
use crate::collections::{Outcome, Question};

/// Without any of them: all members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Whom {
    prefix: Option<String>,
    from: Option<String>,
    /// The first key whose owner need not be told.
    to: Option<String>,
}

pub(in crate::api) async fn broadcast(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    whom: Result<Query<Whom>, QueryRejection>,
    body: Body,
) -> Result<Json<()>, ApiError> {
    let (joined, whom) = (of(&slot, &name).await?, body::query(whom)?);
    let content = body::bytes(body, BROADCAST_MAX_BYTES, "the body").await?;
    let content = Value::new(&content).map_err(ApiError::bad_request)?;
    let Whom { prefix, from, to } = whom;
    if prefix.is_none() && from.is_none() && to.is_none() {
        joined.call(|driver| driver.with(|core, call, out| core.tell_all(call, content, out))).await??;
        return Ok(Json(()));
    }
    let prefix = prefix.as_deref().unwrap_or_default();
    let part = items::bounds(&joined.spec, prefix, from.as_deref(), to.as_deref())?;
    let answer = joined.call(|driver| {
        driver.ask(|core, call, out| core.tell_owners(call, part, content, out).map(Question::Owner))
    });
    match wait(answer.await??).await? {
        Outcome::Begun(true) => Ok(Json(())),
        Outcome::Begun(false) => {
            let error = "no owner of the first key took it in time; some members may have been told";
            Err(ApiError::indefinite(StatusCode::GATEWAY_TIMEOUT, error)
                .with_hint("say it again: who has heard these words within two minutes hears them once"))
        }
        other => Err(unexpected(&other)),
    }
}
