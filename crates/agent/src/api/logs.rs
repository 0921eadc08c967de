//! `GET /v1/apps/{id}/logs?slot=S&lines=N`: what a slot's program wrote last, from the node that holds it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_base::AppId;

use super::error::ApiError;
use super::{body, picture};
use crate::agent::Agent;
use crate::logs;

/// Lines when nobody says how many.
const LINES_DEFAULT: u32 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    slot: u16,
    lines: Option<u32>,
}

pub(super) async fn logs(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<String, ApiError> {
    let app: AppId = body::id(&id, "application")?;
    let Which { slot, lines } = body::query(which)?;
    let picture = picture::look(&agent, app).await?.ok_or_else(|| picture::nobody_knows(app))?;
    if slot >= picture.record.slots {
        let error = format!("the application has slots 0 to {}", picture.record.slots - 1);
        return Err(ApiError::definite(StatusCode::NOT_FOUND, error));
    }
    let not_found = |error: String| ApiError::definite(StatusCode::NOT_FOUND, error);
    if picture.record.is_stopped() && !picture.slots.contains_key(&slot) {
        return Err(not_found("the application is stopped, and its logs are gone with it".to_owned()));
    }
    let known = picture.slots.get(&slot).filter(|known| known.holder.is_some());
    let known = known.ok_or_else(|| not_found(format!("nobody is known to hold slot {slot}")))?;
    let contact =
        picture.holder(known).ok_or_else(|| not_found(format!("the holder of slot {slot} is gone")))?;
    let words =
        logs::of(&agent, contact, app, slot, lines.unwrap_or(LINES_DEFAULT)).await.map_err(|error| {
            let error = format!("node {} at {}: {error}", contact.id, contact.addr);
            ApiError::definite(StatusCode::BAD_GATEWAY, error)
        })?;
    words.ok_or_else(|| not_found(format!("node {} has no log of slot {slot} yet", contact.id)))
}
