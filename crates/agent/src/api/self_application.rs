//! `GET /v1/self`, `/v1/self/peers` and `/v1/self/application`: one moment's answers for a program.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_allocation::{Description, Known};
use xtreem_base::Handle;
use xtreem_client::api::{Peers, SlotApplication, SlotSelf};
use xtreem_net::Named;

use super::error::ApiError;
use super::slot_socket::Slot;
use super::{body, view};
use crate::environment::epoch_text;

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
    let slots: BTreeMap<Handle, u16> =
        description.slots.iter().filter_map(|known| Some((known.holder?, known.slot))).collect();
    let app = slot.run.app;
    let Named { what: members, contacts } =
        slot.agent.net.call_named(move |node, _, _| node.app_peers(app, count)).await?;
    let peers =
        contacts.all_of(members).map(|(peer, contact)| view::peer(contact, slots.get(&peer).copied()));
    Ok(Json(Peers { peers: peers.collect() }))
}

pub(super) async fn application(State(slot): State<Arc<Slot>>) -> Result<Json<SlotApplication>, ApiError> {
    let Named { what: description, contacts } = description(&slot).await?;
    let holder = |known: &Known| known.holder.and_then(|holder| contacts.of(holder));
    let slots = description.slots.iter().map(|known| view::known(known, holder(known))).collect();
    Ok(Json(SlotApplication { application: view::brief(&description.record), slots }))
}

/// What this node knows of the slot's application.
async fn description(slot: &Slot) -> Result<Named<Description>, ApiError> {
    let app = slot.run.app;
    let Named { what, contacts } = slot.agent.net.call_named(move |node, _, _| node.app(app)).await?;
    let ended = || ApiError::definite(StatusCode::GONE, "this slot's application has ended on this node");
    Ok(Named { what: what.ok_or_else(ended)?, contacts })
}
