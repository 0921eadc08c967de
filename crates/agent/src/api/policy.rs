//! `GET /v1/policy`: the VO's policy in force here; `POST /v1/policy`: a newer one, signed by the VO's root.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use xtreem_allocation::policy::{Policy, PolicyVersion, SignedPolicy};
use xtreem_base::Digest;
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
    let offered = verify_policy(agent.net.identity().root(), &signed)
        .map_err(|fault| ApiError::definite(StatusCode::FORBIDDEN, fault))?;
    let digest = signed.digest;
    let (taken, policy) = agent
        .node(move |node, now, out| {
            let refused =
                node.policy().is_some_and(|(_, _, held)| is_refused(&held, offered.version, &digest));
            let taken = if refused { Ok(false) } else { node.set_policy(now, signed, out) };
            (taken, in_force(node))
        })
        .await?;
    if taken.map_err(ApiError::bad_request)? {
        return Ok(Json(PolicyReply { policy }));
    }
    let version = policy.map_or(0, |policy| policy.version);
    let error = if version == offered.version {
        format!("another policy of version {version} is in force: two policies never share a version")
    } else {
        format!("version {version} is in force, and wins over version {}", offered.version)
    };
    let hint = format!("sign it with version = {}", version.saturating_add(1));
    Err(ApiError::definite(StatusCode::CONFLICT, error).with_hint(hint))
}

/// Whether a policy of this version and digest may not take the place of the one in force. Another one of the
/// same version is refused even where its digest would win: nobody could say beforehand which one would be in
/// force.
fn is_refused(held: &PolicyVersion, version: u64, digest: &Digest) -> bool {
    version < held.version || (version == held.version && *digest != held.digest)
}

fn in_force(node: &xtreem_node::Node) -> Option<PolicyView> {
    node.policy().map(|(_, policy, version)| view(policy, version, node.rival_policy()))
}

fn view(policy: &Policy, version: PolicyVersion, rival: Option<PolicyVersion>) -> PolicyView {
    let rule = |rule: &xtreem_allocation::policy::Rule| RuleView {
        name: rule.name.clone(),
        says: policy.describe(&rule.name).unwrap_or_default(),
    };
    PolicyView {
        version: version.version,
        digest: version.digest.to_string(),
        rules: policy.rules.iter().map(rule).collect(),
        rival: rival.map(|rival| rival.digest.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_refused_unless_it_is_newer_or_the_very_same() {
        let digest = |byte| Digest::from_bytes([byte; 32]);
        let held = PolicyVersion { version: 3, digest: digest(5) };
        let rows = [(2, 9, true), (3, 4, true), (3, 6, true), (3, 5, false), (4, 1, false)];
        for (version, byte, refused) in rows {
            assert_eq!(is_refused(&held, version, &digest(byte)), refused, "{version} {byte}");
        }
    }
}
