//! `GET /v1/apps/{id}`: one application in full.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use futures_util::StreamExt as _;
use xtreem_allocation::SlotState;
use xtreem_base::AppId;
use xtreem_client::api::{AppShow, SlotPhase, SlotView};

use super::error::ApiError;
use super::picture::{self, Picture};
use super::{body, view};
use crate::agent::Agent;
use crate::{logs, ports};

/// Lines shown of a slot that failed.
const LAST_LINES: u32 = 20;
/// Holders asked for last words at one time.
const ASKED_AT_ONCE: usize = 16;

pub(super) async fn show(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
) -> Result<Json<AppShow>, ApiError> {
    let app: AppId = body::id(&id, "application")?;
    let picture = picture::look(&agent, app).await?.ok_or_else(|| picture::nobody_knows(app))?;
    let slots = (0..picture.record.slots).map(|slot| one_slot(&agent, app, slot, &picture));
    let mut slots: Vec<SlotView> = futures_util::stream::iter(slots).buffered(ASKED_AT_ONCE).collect().await;
    let running = picture.slots.values().filter(|known| known.state == SlotState::Running);
    let holders = running.filter_map(|known| Some((known.slot, known.epoch, picture.holder(known)?)));
    let holders: Vec<_> = holders.collect();
    let known = holders.len();
    let mut told = ports::of(&agent, app, holders).await;
    let covered = ports::covered(picture.record.slots, known, &told);
    for slot in &mut slots {
        slot.ports = told.remove(&slot.slot).unwrap_or_default();
    }
    let guardians = picture.contacts.all_of(picture.guardians.iter().copied());
    let guardians = guardians.map(|(_, contact)| view::peer(contact, None)).collect();
    let (record, lost) = (view::record(&picture.record), is_lost(&picture));
    let placement = picture.placement;
    Ok(Json(AppShow { record, slots, guardians, lost, placement, covered }))
}

/// Only this node, which submitted it, remembers it.
fn is_lost(picture: &Picture) -> bool {
    picture.answered.is_empty()
        && !picture.record.is_stopped()
        && picture.slots.values().all(|known| known.holder.is_none())
}

async fn one_slot(agent: &Arc<Agent>, app: AppId, slot: u16, picture: &Picture) -> SlotView {
    let Some(known) = picture.slots.get(&slot) else { return view::unknown_slot(slot) };
    let holder = picture.holder(known);
    let mut shown = view::known(known, holder);
    if picture.is_silent(known) {
        shown.state = SlotPhase::Silent;
        shown.silent_s = picture.silences.get(&slot).copied();
        return shown;
    }
    if let (
        SlotState::FilesLost | SlotState::Failed(_) | SlotState::Failing(_) | SlotState::Troubled(_),
        Some(holder),
    ) = (known.state, holder)
    {
        // A holder that does not answer leaves the slot without last words.
        let words = logs::of(agent, holder, app, slot, LAST_LINES).await.unwrap_or_default();
        shown.last_lines = words.unwrap_or_default().lines().map(str::to_owned).collect();
    }
    shown
}
