//! `GET /v1/node`: this agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use xtreem_client::api::NodeStatus;

use super::error::ApiError;
use super::view;
use crate::agent::Agent;

pub(super) async fn node(State(agent): State<Arc<Agent>>) -> Result<Json<NodeStatus>, ApiError> {
    let status = agent.node(|node, _, _| node.status()).await?;
    let own = agent.net.own_contact();
    let faults = status.faults;
    let node_counters = [
        ("faults.membership", faults.membership),
        ("faults.reference", faults.reference),
        ("faults.discovery", faults.discovery),
        ("faults.trie", faults.trie),
        ("faults.aggregation", faults.aggregation),
        ("faults.no_such_collection", faults.no_such_collection),
        ("faults.policy", faults.policy),
        ("faults.coordinates", faults.coordinates),
        ("faults.unsuitable_facts", faults.allocation.unsuitable_facts),
        ("faults.no_such_slot", faults.allocation.no_such_slot),
        ("faults.too_many_apps", faults.allocation.too_many_apps),
        ("faults.not_appointed", faults.allocation.not_appointed),
    ];
    let counters = agent.net.counters();
    let net_counters = counters.iter().map(|(name, count)| (format!("net.{name}"), count));
    let node_counters = node_counters.into_iter().map(|(name, count)| (name.to_owned(), count));
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
        counters: net_counters.chain(node_counters).collect(),
        isolation: agent.isolation.get().cloned().unwrap_or_else(|| "not tried yet".to_owned()),
        network: format!("UDP, bound to {}", agent.config.bind),
    }))
}
