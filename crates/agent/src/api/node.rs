//! `GET /v1/node`: this agent. `POST /v1/node/accept-loss`: the operator's word that whoever it lost is gone
//! for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use xtreem_client::api::{LossAccepted, NodeStatus, Reach};

use super::error::ApiError;
use super::view;
use crate::agent::Agent;
use crate::{durable, namesake, policy, unwilling, validity};

pub(super) async fn node(State(agent): State<Arc<Agent>>) -> Result<Json<NodeStatus>, ApiError> {
    let asked = agent.clone();
    let (status, reach, faults, rivalry, takes_no_slots, disk_is_full) = agent
        .node(move |node, now, _| {
            let mut faults = BTreeMap::<String, u64>::new();
            node.for_each_fault(&mut |name, count| {
                *faults.entry(format!("faults.{name}")).or_default() += count
            });
            let why = unwilling::why(&asked, node, now);
            (node.status(), node.reach(now), faults, policy::rivalry(node), why, node.is_disk_full())
        })
        .await?;
    let validity = validity::trouble(agent.net.identity());
    let troubles = [namesake::trouble(&agent), validity, rivalry, durable::trouble(&agent)];
    let own = agent.net.own_contact();
    let counters = agent.net.counters();
    let counters = counters.iter().map(|(name, count)| (format!("net.{name}"), count));
    Ok(Json(NodeStatus {
        id: own.id.to_string(),
        name: agent.name.clone(),
        vo: agent.net.identity().root().id().to_string(),
        address: own.addr.to_string(),
        incarnation: own.incarnation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contacts: status.contacts,
        cut_off: status.is_cut_off,
        reach: reach.map(|reach| Reach {
            answering: reach.answering,
            members: reach.members,
            needed: reach.needed(),
            ends_in_s: reach.ends_in.as_micros() / 1_000_000,
        }),
        clock_correction_ms: agent.net.clock_correction_ms(),
        offered: view::resources(&status.offered),
        used: view::resources(&status.used),
        attributes: view::attributes(&agent.attributes()),
        counters: counters.chain(faults).collect(),
        isolation: agent.standing.words(),
        takes_no_slots,
        network: format!("UDP, bound to {}", agent.config.bind),
        troubles: troubles.into_iter().flatten().collect(),
        left_behind: agent.trash.left_behind(),
        disk_is_full,
    }))
}

pub(super) async fn accept_loss(State(agent): State<Arc<Agent>>) -> Result<Json<LossAccepted>, ApiError> {
    let given_up = agent.node(|node, now, out| node.accept_loss(now, out)).await?;
    let Some(given_up) = given_up else {
        let error = "this node is not cut off: it replaces what is lost by itself";
        return Err(ApiError::definite(StatusCode::CONFLICT, error));
    };
    tracing::warn!(given_up, "the operator says that the nodes out of reach are gone for good");
    Ok(Json(LossAccepted { given_up }))
}
