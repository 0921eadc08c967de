//! `GET /v1/self/events` and `GET /v1/apps/{id}/events`: the stream of membership changes, as server-sent
//! events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use xtreem_base::{AppId, Handle};
use xtreem_client::api::Dropped;
use xtreem_net::Contact;
use xtreem_node::Event;

use super::error::ApiError;
use super::slot_socket::Slot;
use super::{body, view};
use crate::agent::Agent;
use crate::waiting::{Missed, Topic};

/// A comment is sent after so much silence, so that both sides notice a dead connection (our guess).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Item = Result<sse::Event, Infallible>;

/// For a program: changes of its own application.
pub(super) async fn of_slot(
    State(slot): State<Arc<Slot>>,
) -> Result<Sse<impl Stream<Item = Item>>, ApiError> {
    changes(slot.agent.clone(), slot.run.app)
}

/// For the operator: changes of any application that this node takes part in, now or later.
pub(super) async fn of_app(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Item>>, ApiError> {
    let app = body::id(&id, "application")?;
    changes(agent, app)
}

/// Changes from now on. What a reader is too slow for is dropped, the oldest first, and it is told how many.
fn changes(agent: Arc<Agent>, app: AppId) -> Result<Sse<impl Stream<Item = Item>>, ApiError> {
    let changes = agent.waiting.subscribe(Topic::Changes(app))?;
    let events = stream::unfold((agent, changes), |(agent, mut changes)| async {
        loop {
            let event = match changes.next().await {
                Err(Missed(dropped)) => event("dropped", &Dropped { dropped }),
                Ok(Event::SlotChanged { slot: known, .. }) => {
                    event("slot", &view::known(&known, contact(&agent, known.holder).await))
                }
                Ok(Event::HolderLost { slot: Some(slot), peer, .. }) => {
                    match contact(&agent, Some(peer)).await {
                        Some(contact) => event("lost", &view::peer(contact, Some(slot))),
                        None => continue,
                    }
                }
                Ok(Event::RecordChanged { record }) => event("record", &view::record(&record)),
                Ok(_) => continue,
            };
            return Some((Ok(event), (agent, changes)));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn contact(agent: &Agent, peer: Option<Handle>) -> Option<Contact> {
    agent.net.contact(peer?).await
}

fn event(name: &str, data: &impl Serialize) -> sse::Event {
    // The data are plain values: nothing in them has no JSON.
    sse::Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
