//! `GET /v1/apps/{id}/collections`: the collections of an application, as its slots see them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use xtreem_allocation::SlotState;
use xtreem_base::AppId;
use xtreem_client::api::AppCollections;

use super::error::ApiError;
use super::{body, picture};
use crate::agent::Agent;
use crate::collections;

pub(super) async fn show(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
) -> Result<Json<AppCollections>, ApiError> {
    let app: AppId = body::id(&id, "application")?;
    let picture = picture::look(&agent, app).await?.ok_or_else(|| picture::nobody_knows(app))?;
    let running = picture.slots.values().filter(|known| known.state == SlotState::Running);
    let holders: Vec<_> = running.filter_map(|known| picture.holder(known)).collect();
    // There are at most as many as slots.
    let known = holders.len() as u16;
    let slots = collections::of(&agent, app, holders.into_iter()).await;
    Ok(Json(AppCollections { slots, known }))
}
