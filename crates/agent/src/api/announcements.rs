//! `POST /v1/ring/announcements`: tell all nodes something that an administrator signed.
//! `GET /v1/ring/announcements`: what comes from now on, as JSON lines.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use xtreem_client::api::{AnnounceReply, AnnounceRequest, AnnouncementView, Blob};
use xtreem_net::{Announcement, AnnouncementFault, Named, verify_announcement};
use xtreem_node::Event;
use xtreem_overlay::broadcast;
use xtreem_overlay::overlay;
use xtreem_overlay::store::Value;

use super::body;
use super::error::ApiError;
use crate::agent::Agent;
use crate::waiting::Topic;

pub(super) async fn announce(
    State(agent): State<Arc<Agent>>,
    body: Body,
) -> Result<Json<AnnounceReply>, ApiError> {
    let AnnounceRequest { announcement } = body::json(body).await?;
    let Announcement { by, .. } = read(&agent, &announcement.0).map_err(|fault| match fault {
        AnnouncementFault::NotAllowed | AnnouncementFault::Proof(_) => {
            ApiError::definite(StatusCode::FORBIDDEN, fault)
        }
        _ => ApiError::bad_request(fault),
    })?;
    let (origin, content) = (by.id(), Value::new(&announcement.0).map_err(ApiError::bad_request)?);
    let told = agent.node(move |node, now, out| node.announce(now, origin, content, out)).await?;
    told.map_err(|error| ApiError::definite(StatusCode::SERVICE_UNAVAILABLE, error))?;
    Ok(Json(AnnounceReply { by: origin.to_string() }))
}

/// From now on. Who reads too slowly misses some.
pub(super) async fn listen(State(agent): State<Arc<Agent>>) -> Result<Response, ApiError> {
    let events = agent.waiting.subscribe(Topic::Announcements)?;
    let lines = stream::unfold((agent, events), |(agent, mut events)| async {
        loop {
            let Named { what: Event::Ring(overlay::Event::Broadcast(event)), .. } = events.event().await
            else {
                continue;
            };
            if let Some(view) = view(&agent, &event) {
                // Plain values: nothing in them has no JSON.
                let line = serde_json::to_string(&view).unwrap_or_default() + "\n";
                return Some((Ok::<_, Infallible>(line), (agent, events)));
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn view(agent: &Agent, event: &broadcast::Event) -> Option<AnnouncementView> {
    let broadcast::Event::Delivered { content, depth, .. } = event else { return None };
    let Announcement { by, at_unix, body } = read(agent, content.as_bytes()).ok()?;
    let (by, name, body) = (by.id().to_string(), by.name().to_owned(), Blob(body));
    Some(AnnouncementView { by, name, at_unix, depth: *depth, body })
}

fn read(agent: &Agent, content: &[u8]) -> Result<Announcement, AnnouncementFault> {
    let now_unix = crate::mail::now_unix_ms(agent.net.clock_correction_ms()) / 1_000;
    verify_announcement(agent.net.identity().root(), now_unix, content)
}
