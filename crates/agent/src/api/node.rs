//! `GET /v1/node`: this agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use xtreem_client::api::NodeStatus;

use super::error::ApiError;
use super::view;
use crate::agent::Agent;
use crate::policy;

pub(super) async fn node(State(agent): State<Arc<Agent>>) -> Result<Json<NodeStatus>, ApiError> {
    let (status, faults, troubles) = agent
        .node(|node, _, _| {
            let mut faults = BTreeMap::<String, u64>::new();
            node.for_each_fault(&mut |name, count| {
                *faults.entry(format!("faults.{name}")).or_default() += count
            });
            (node.status(), faults, policy::rivalry(node).into_iter().collect())
        })
        .await?;
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
        clock_correction_ms: agent.net.clock_correction_ms(),
        offered: view::resources(&status.offered),
        used: view::resources(&status.used),
        attributes: view::attributes(&agent.attributes()),
        counters: counters.chain(faults).collect(),
        isolation: agent.standing.words(),
        takes_no_slots: agent.standing.may_take_slots().err().map(|why| why.to_string()),
        network: format!("UDP, bound to {}", agent.config.bind),
        troubles,
        left_behind: agent.trash.left_behind(),
        disk_is_full: !agent.state.reserve().is_held(),
    }))
}
