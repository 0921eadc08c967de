//! `GET /v1/node`: this agent. `POST /v1/node/accept-loss`: the operator's word that whoever it lost is gone
//! for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use xtreem_client::api::{LossAccepted, NodeStatus, Reach, Validity};

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
    let mut troubles = validity::troubles(&agent, status.contacts);
    troubles.extend([namesake::trouble(&agent), rivalry, durable::trouble(&agent)].into_iter().flatten());
    let member = agent.net.identity().member();
    let own = agent.net.own_contact();
    let counters = agent.net.counters();
    let counters = counters.iter().map(|(name, count)| (format!("net.{name}"), count));
    Ok(Json(NodeStatus {
        id: own.id.to_string(),
        name: agent.name.clone(),
        vo: agent.net.identity().root().id().to_string(),
        credential: Validity { not_before: member.not_before(), not_after: member.not_after() },
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
        troubles,
        left_behind: agent.trash.left_behind(),
        disk_is_full,
        is_out_of_date: validity::is_out_of_date(&agent, status.contacts),
    }))
}

pub(super) async fn accept_loss(State(agent): State<Arc<Agent>>) -> Result<Json<LossAccepted>, ApiError> {
    let contacts = agent.node(|node, _, _| node.status().contacts).await?;
    if validity::is_out_of_date(&agent, contacts) {
        let error = "dates part this node from the others, which may be well: what it lost runs there";
        let hint = "`xtreem node` shows in the row TROUBLE what to mend; then they answer again";
        return Err(ApiError::definite(StatusCode::CONFLICT, error).with_hint(hint));
    }
    let given_up = agent.node(|node, now, out| node.accept_loss(now, out)).await?;
    let Some(given_up) = given_up else {
        let error = "this node is not cut off: it replaces what is lost by itself";
        return Err(ApiError::definite(StatusCode::CONFLICT, error));
    };
    tracing::warn!(given_up, "the operator says that the nodes out of reach are gone for good");
    Ok(Json(LossAccepted { given_up }))
}
