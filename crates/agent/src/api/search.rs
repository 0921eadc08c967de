//! `POST /v1/search`: find nodes, hold nothing. Matches are told as they come.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use xtreem_base::{Duration, Handle};
use xtreem_client::api::{Expected, NodeMatch, SearchLine, SearchReport, SearchRequest};
use xtreem_discovery::forecast::{Forecast, Path};
use xtreem_discovery::{
    AppSummary, Attributes, Need, Query, Report, SearchEvent, SearchId, SearchSpec, StartRefusal,
};
use xtreem_net::{Contacts, Named};
use xtreem_node::Event;

use super::error::ApiError;
use super::{body, view};
use crate::agent::Agent;
use crate::waiting::{Missed, Subscription, Topic};

/// Longest and shortest search that may be asked for.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

pub(super) async fn search(State(agent): State<Arc<Agent>>, body: Body) -> Result<Response, ApiError> {
    let request: SearchRequest = body::json(body).await?;
    let spec = spec(request)?;
    let expected = expected(&agent, &spec).await?;
    let events = subscribe(&agent, spec).await?;
    let mut running = Running::new(&agent, &events)?;
    running.expected = expected;
    let lines = stream::unfold((running, events), |(mut running, mut events)| async {
        running.id?;
        let line = running.next(&mut events).await;
        // The lines are plain values: nothing in them has no JSON.
        let line = serde_json::to_string(&line).ok()? + "\n";
        Some((Ok::<_, Infallible>(line), (running, events)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// What is asked for, when it makes sense.
fn spec(request: SearchRequest) -> Result<SearchSpec, ApiError> {
    let SearchRequest { requirement, limit, all, count, histogram, timeout_ms } = request;
    let need = Need::parse(&requirement).map_err(|error| ApiError::requirement(&error))?;
    if let Some(name) = &histogram
        && Attributes::new().set(name, 1).is_err()
    {
        return Err(ApiError::bad_request(format!("histogram: {name:?} cannot be an attribute's name")));
    }
    let names = !count && histogram.is_none();
    let wants_all = all || !names;
    let mut spec = match need {
        Need::Together(_) if wants_all => {
            let error = "a set query finds one set: it cannot list, count or measure all nodes";
            return Err(ApiError::bad_request(error));
        }
        Need::Together(set) => SearchSpec::set(Arc::unwrap_or_clone(set), None),
        Need::Each(requirement) if wants_all => {
            SearchSpec { attributes: names, ..SearchSpec::all(requirement, names) }
        }
        Need::Each(requirement) => SearchSpec::nodes(requirement, limit.into()),
    };
    spec.histogram = histogram.map(Into::into);
    if let Some(millis) = timeout_ms {
        if !TIMEOUT_MS.contains(&millis) {
            return Err(ApiError::bad_request(format!(
                "timeout_ms is {millis}; from 100 to 60000 is possible"
            )));
        }
        spec.deadline = Duration::from_millis(millis);
    }
    Ok(spec)
}

/// What the node expects of a search, when it knows enough of all nodes.
async fn expected(agent: &Agent, spec: &SearchSpec) -> Result<Option<Expected>, ApiError> {
    let Query::Nodes { requirement, .. } = &spec.query else { return Ok(None) };
    let (requirement, wanted) = (requirement.clone(), (!spec.gather).then_some(spec.wanted));
    let forecast = agent.node(move |node, _, _| node.forecast(&requirement, wanted)).await?;
    Ok(forecast.map(|Forecast { matches, visits, path: Path::Trie }| Expected { matches, visits }))
}

/// What a search for applications brought.
pub(super) struct Found {
    pub applications: Vec<(Handle, Vec<AppSummary>)>,
    pub contacts: Contacts,
    pub report: Report,
    /// Applications that a node had besides, at most.
    pub left_out: u32,
}

/// A search that is cancelled when nobody waits for it any more.
struct Running {
    agent: Arc<Agent>,
    id: Option<SearchId>,
    expected: Option<Expected>,
}

impl Running {
    fn new(agent: &Arc<Agent>, events: &Subscription) -> Result<Self, ApiError> {
        let Topic::Search(id) = events.topic() else {
            let error = "a search got another's events";
            return Err(ApiError::definite(StatusCode::INTERNAL_SERVER_ERROR, error));
        };
        Ok(Running { agent: agent.clone(), id: Some(id), expected: None })
    }

    /// What is told next. The report is the last.
    async fn next(&mut self, events: &mut Subscription) -> SearchLine {
        loop {
            match events.next().await {
                Err(Missed(dropped)) => return SearchLine::Dropped { dropped },
                Ok(Named { what: Event::Search(SearchEvent::Match { peer, attributes, .. }), contacts }) => {
                    // A handle that is forgotten already is of a node that is gone.
                    let Some(contact) = contacts.of(peer) else { continue };
                    return SearchLine::Match(NodeMatch {
                        id: contact.id.to_string(),
                        address: contact.addr.to_string(),
                        attributes: view::attributes(&attributes.unwrap_or_default()),
                    });
                }
                Ok(Named { what: Event::Search(SearchEvent::Done { report, .. }), .. }) => {
                    self.id = None;
                    let report = SearchReport { expected: self.expected, ..view::report(&report) };
                    return SearchLine::Done { report };
                }
                Ok(_) => {}
            }
        }
    }
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
    let mut events = subscribe(agent, spec).await?;
    let mut running = Running::new(agent, &events)?;
    let (mut applications, mut contacts, mut left_out) = (Vec::new(), Contacts::default(), 0);
    loop {
        let Named { what: Event::Search(event), contacts: told } = events.event().await else { continue };
        contacts.extend(told);
        match event {
            SearchEvent::Applications { peer, list, left_out: more, .. } => {
                left_out = left_out.max(more);
                applications.push((peer, list));
            }
            SearchEvent::Done { report, .. } => {
                running.id = None;
                return Ok(Found { applications, contacts, report, left_out });
            }
            SearchEvent::Match { .. } | SearchEvent::Surplus { .. } => {}
        }
    }
}

async fn subscribe(agent: &Arc<Agent>, spec: SearchSpec) -> Result<Subscription, ApiError> {
    let waiting = agent.waiting.clone();
    // The search begins with a look at this machine.
    agent.net.measure().await?;
    let started = agent
        .node(move |node, now, out| waiting.subscribe_to(|| node.search(now, spec, out).map(Topic::Search)))
        .await?;
    started?.map_err(|refusal| match refusal {
        StartRefusal::TooMany => ApiError::definite(StatusCode::TOO_MANY_REQUESTS, refusal),
        StartRefusal::NothingWanted | StartRefusal::Limits => ApiError::bad_request(refusal),
    })
}
