//! `GET /v1/self`, `/v1/self/peers` and `/v1/self/application`: one moment's answers for a program.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_allocation::{Description, Known, SlotState};
use xtreem_base::Handle;
use xtreem_client::api::{Covered, Peer, Peers, SlotApplication, SlotSelf, SlotView};
use xtreem_net::{Contact, Named};

use super::error::ApiError;
use super::slot_socket::Slot;
use super::{body, view};
use crate::environment::epoch_text;
use crate::ports;

/// Peers in one answer (our guess: beyond this a program builds something of its own).
const PEERS_MAX: usize = 64;
/// Peers when the program does not say how many: as many as CYCLON shuffles.
const PEERS_DEFAULT: usize = 8;

pub(super) async fn whoami(State(slot): State<Arc<Slot>>) -> Result<Json<SlotSelf>, ApiError> {
    let description = description(&slot).await?.what;
    let own = slot.agent.net.own_contact();
    Ok(Json(SlotSelf {
        application: view::brief(&description.record),
        slot: slot.run.slot,
        epoch: epoch_text(&slot.run.epoch),
        node: own.id.to_string(),
        address: own.addr.ip().to_string(),
        ports: slot.ports().iter().map(|(port, number)| (port.name.clone(), *number)).collect(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    count: Option<usize>,
}

pub(super) async fn peers(
    State(slot): State<Arc<Slot>>,
    count: Result<Query<Count>, QueryRejection>,
) -> Result<Json<Peers>, ApiError> {
    let count = body::query(count)?.count.unwrap_or(PEERS_DEFAULT);
    if count > PEERS_MAX {
        return Err(ApiError::bad_request(format!("count is {count}; at most {PEERS_MAX} are given")));
    }
    let description = description(&slot).await?.what;
    // A node of the collection may hold no slot (a guardian), or several.
    let slots: BTreeMap<Handle, &Known> =
        description.slots.iter().filter_map(|known| Some((known.holder?, known))).collect();
    let app = slot.run.app;
    let Named { what: members, contacts } =
        slot.agent.net.call_named(move |node, _, _| node.app_peers(app, count)).await?;
    let members: Vec<_> =
        contacts.all_of(members).map(|(peer, contact)| (slots.get(&peer).copied(), contact)).collect();
    let running = members.iter().filter_map(|(known, contact)| Some(((*known)?, *contact)));
    let (mut told, covered) = ports_of(&slot, &description, running).await;
    let peers = members.into_iter().map(|(known, contact)| {
        let slot = known.map(|known| known.slot);
        let ports = slot.and_then(|slot| told.remove(&slot)).unwrap_or_default();
        Peer { ports, ..view::peer(contact, slot) }
    });
    Ok(Json(Peers { peers: peers.collect(), covered }))
}

pub(super) async fn application(State(slot): State<Arc<Slot>>) -> Result<Json<SlotApplication>, ApiError> {
    let Named { what: description, contacts } = description(&slot).await?;
    let holder = |known: &Known| known.holder.and_then(|holder| contacts.of(holder));
    let held = description.slots.iter().filter_map(|known| Some((known, holder(known)?)));
    let (mut told, covered) = ports_of(&slot, &description, held).await;
    let slots = description.slots.iter().map(|known| {
        let ports = told.remove(&known.slot).unwrap_or_default();
        SlotView { ports, ..view::known(known, holder(known)) }
    });
    let slots = slots.collect();
    Ok(Json(SlotApplication { application: view::brief(&description.record), slots, covered }))
}

/// The ports of those of these slots that run. Nobody is asked when the asking program has none itself.
async fn ports_of(
    slot: &Slot,
    description: &Description,
    held: impl Iterator<Item = (&Known, Contact)>,
) -> (BTreeMap<u16, BTreeMap<String, u16>>, Covered) {
    let running = held.filter(|(known, _)| known.state == SlotState::Running);
    let running: Vec<_> = running.map(|(known, contact)| (known.slot, known.epoch, contact)).collect();
    let known = running.len();
    let told = if slot.ports().is_empty() {
        BTreeMap::new()
    } else {
        ports::of(&slot.agent, slot.run.app, running).await
    };
    let covered = ports::covered(description.record.slots, known, &told);
    (told, covered)
}

/// What this node knows of the slot's application.
async fn description(slot: &Slot) -> Result<Named<Description>, ApiError> {
    let app = slot.run.app;
    let Named { what, contacts } = slot.agent.net.call_named(move |node, now, _| node.app(now, app)).await?;
    let ended = || ApiError::definite(StatusCode::GONE, "this slot's application has ended on this node");
    Ok(Named { what: what.ok_or_else(ended)?, contacts })
}
