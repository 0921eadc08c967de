//! `GET /v1/policy`: the VO's policy in force here; `POST /v1/policy`: a newer one, signed by the VO's root.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use xtreem_allocation::policy::{Policy, PolicyVersion, SignedPolicy};
use xtreem_client::api::{PolicyReply, PolicyRequest, PolicyView, RuleView};
use xtreem_net::verify_policy;

use super::error::ApiError;
use super::{body, record};
use crate::agent::Agent;

pub(super) async fn show(State(agent): State<Arc<Agent>>) -> Result<Json<PolicyReply>, ApiError> {
    let policy = agent.node(|node, _, _| in_force(node)).await?;
    Ok(Json(PolicyReply { policy }))
}

pub(super) async fn set(State(agent): State<Arc<Agent>>, body: Body) -> Result<Json<PolicyReply>, ApiError> {
    let request: PolicyRequest = body::json(body).await?;
    let signed: SignedPolicy = record::decode(&request.policy.0, "policy")?;
    verify_policy(agent.net.identity().root(), &signed)
        .map_err(|fault| ApiError::definite(StatusCode::FORBIDDEN, fault))?;
    let (taken, policy) = agent
        .node(move |node, now, out| {
            let taken = node.set_policy(now, signed, out);
            (taken, in_force(node))
        })
        .await?;
    if taken.map_err(ApiError::bad_request)? {
        return Ok(Json(PolicyReply { policy }));
    }
    let version = policy.map_or(0, |policy| policy.version);
    let error = format!("version {version} is in force, and wins over this one");
    Err(ApiError::definite(StatusCode::CONFLICT, error).with_hint("sign the policy with a higher version"))
}

fn in_force(node: &xtreem_node::Node) -> Option<PolicyView> {
    node.policy().map(|(_, policy, version)| view(policy, version))
}

fn view(policy: &Policy, version: PolicyVersion) -> PolicyView {
    let rule = |rule: &xtreem_allocation::policy::Rule| RuleView {
        name: rule.name.clone(),
        says: policy.describe(&rule.name).unwrap_or_default(),
    };
    PolicyView {
        version: version.version,
        digest: version.digest.to_string(),
        rules: policy.rules.iter().map(rule).collect(),
    }
}
