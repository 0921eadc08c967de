//! `POST /v1/search`: find nodes, hold nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use xtreem_base::{Duration, Handle};
use xtreem_client::api::{NodeMatch, SearchReply, SearchRequest};
use xtreem_discovery::{AppSummary, Attributes, Report, Requirement, SearchId, SearchSpec, StartRefusal};
use xtreem_node::Event;

use super::error::ApiError;
use super::{body, view};
use crate::agent::Agent;
use crate::waiting::{Subscription, Topic};

/// Longest and shortest search that may be asked for.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

pub(super) async fn search(
    State(agent): State<Arc<Agent>>,
    body: Body,
) -> Result<Json<SearchReply>, ApiError> {
    let request: SearchRequest = body::json(body).await?;
    let requirement = match request.requirement.trim() {
        "" => Requirement::default(),
        text => Requirement::parse(text)
            .map_err(|error| ApiError::bad_request(format!("the requirement: {error}")))?,
    };
    let mut spec = SearchSpec::nodes(requirement, request.limit.into());
    if let Some(millis) = request.timeout_ms {
        if !TIMEOUT_MS.contains(&millis) {
            return Err(ApiError::bad_request(format!(
                "timeout_ms is {millis}; from 100 to 60000 is possible"
            )));
        }
        spec.deadline = Duration::from_millis(millis);
    }
    let Found { nodes, report, .. } = run(&agent, spec).await?;
    let mut matches = Vec::new();
    for (peer, attributes) in nodes {
        // A handle that is forgotten already is of a node that is gone.
        if let Some(contact) = agent.net.contact(peer).await {
            let attributes = view::attributes(&attributes);
            matches.push(NodeMatch {
                id: contact.id.to_string(),
                address: contact.addr.to_string(),
                attributes,
            });
        }
    }
    Ok(Json(SearchReply { matches, report: view::report(&report) }))
}

/// Everything that a search brought.
pub(super) struct Found {
    pub nodes: Vec<(Handle, Attributes)>,
    pub applications: Vec<(Handle, Vec<AppSummary>)>,
    pub report: Report,
}

/// A search that is cancelled when nobody waits for it any more.
struct Running {
    agent: Arc<Agent>,
    id: Option<SearchId>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let agent = self.agent.clone();
        tokio::spawn(async move { agent.tell(move |node, now, out| node.cancel_search(now, id, out)).await });
    }
}

/// Runs a search to its end.
pub(super) async fn run(agent: &Arc<Agent>, spec: SearchSpec) -> Result<Found, ApiError> {
    let events = subscribe(agent, spec).await?;
    let Topic::Search(id) = events.topic() else {
        return Err(ApiError::definite(StatusCode::INTERNAL_SERVER_ERROR, "a search got another's events"));
    };
    let mut running = Running { agent: agent.clone(), id: Some(id) };
    let (mut nodes, mut applications) = (Vec::new(), Vec::new());
    loop {
        match events.event().await {
            Event::Match { peer, attributes, .. } => nodes.push((peer, attributes.unwrap_or_default())),
            Event::Applications { peer, list, .. } => applications.push((peer, list)),
            Event::SearchDone { report, .. } => {
                running.id = None;
                return Ok(Found { nodes, applications, report });
            }
            _ => {}
        }
    }
}

async fn subscribe(agent: &Arc<Agent>, spec: SearchSpec) -> Result<Subscription, ApiError> {
    let waiting = agent.waiting.clone();
    let started = agent
        .node(move |node, now, out| waiting.subscribe_to(|| node.search(now, spec, out).map(Topic::Search)))
        .await?;
    started?.map_err(|refusal| match refusal {
        StartRefusal::TooMany => ApiError::definite(StatusCode::TOO_MANY_REQUESTS, refusal),
        StartRefusal::NothingWanted | StartRefusal::Limits => ApiError::bad_request(refusal),
    })
}
