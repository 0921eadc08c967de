//! `GET /v1/apps/{id}`: one application in full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use futures_util::StreamExt as _;
use xtreem_allocation::SlotState;
use xtreem_base::{AppId, NodeId};
use xtreem_client::api::{AppShow, SlotPhase, SlotView};
use xtreem_net::Contact;

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
    let guardians = picture.contacts.all_of(picture.guardians.iter().copied()).map(|(_, contact)| contact);
    let holders = picture.slots.values().filter(|known| !known.state.is_final());
    let holders = holders.filter_map(|known| Some(picture.holder(known)?.id)).collect();
    let guardians = who_guard(guardians, &holders).into_iter().map(|guard| view::peer(guard, None)).collect();
    let (record, lost) = (view::record(&picture.record), is_lost(&picture));
    let placement = picture.placement;
    Ok(Json(AppShow { record, slots, guardians, lost, placement, covered }))
}

/// Those that run nothing of it, each as its last start. Members may still name as a guardian who became a
/// holder, or who was started again since.
fn who_guard(named: impl Iterator<Item = Contact>, holders: &BTreeSet<NodeId>) -> Vec<Contact> {
    let mut guardians = BTreeMap::<NodeId, Contact>::new();
    for contact in named.filter(|contact| !holders.contains(&contact.id)) {
        let last = guardians.entry(contact.id).or_insert(contact);
        if contact.incarnation > last.incarnation {
            *last = contact;
        }
    }
    guardians.into_values().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guardian_is_shown_once_and_runs_no_slot() {
        let contact = |id: u8, incarnation| Contact {
            id: NodeId::from_bytes([id; 16]),
            addr: ([127, 0, 0, 1], 7_000).into(),
            incarnation,
        };
        let named = [contact(1, 5), contact(2, 5), contact(3, 5), contact(3, 7), contact(3, 6)];
        let holders = [contact(1, 5).id].into();
        assert_eq!(who_guard(named.into_iter(), &holders), [contact(2, 5), contact(3, 7)]);
        // A holder that was started again since is one all the same.
        assert_eq!(who_guard([contact(1, 9)].into_iter(), &holders), []);
    }
}
