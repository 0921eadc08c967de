//! `GET /v1/self/events` and `GET /v1/apps/{id}/events`: the stream of membership changes, as server-sent
//! events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use xtreem_allocation::Notice;
use xtreem_base::AppId;
use xtreem_client::api::Dropped;
use xtreem_net::{Contacts, Named};
use xtreem_node::Event;

use super::error::ApiError;
use super::slot_socket::Slot;
use super::{body, view};
use crate::agent::Agent;
use crate::collections::Said;
use crate::waiting::{Missed, Topic};

/// A comment is sent after so much silence, so that both sides notice a dead connection (our guess).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Item = Result<sse::Event, Infallible>;

/// For a program: changes of its own application, and of the collections of which its slot is a member.
pub(super) async fn of_slot(
    State(slot): State<Arc<Slot>>,
) -> Result<Sse<impl Stream<Item = Item>>, ApiError> {
    let of_collections = stream::unfold(slot.collections.events(), |mut changes| async {
        match changes.recv().await {
            Ok(Said::Changed(change)) => Some((Ok(event("collection", &change)), changes)),
            Ok(Said::Told(told)) => Some((Ok(event("told", &told)), changes)),
            Err(RecvError::Lagged(dropped)) => Some((Ok(event("dropped", &Dropped { dropped })), changes)),
            // The slot has ended.
            Err(RecvError::Closed) => None,
        }
    });
    let changes = changes(&slot.agent, slot.run.app)?;
    Ok(kept_alive(stream::select(changes, of_collections)))
}

/// For the operator: changes of any application that this node takes part in, now or later.
pub(super) async fn of_app(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Item>>, ApiError> {
    let app = body::id(&id, "application")?;
    changes(&agent, app).map(kept_alive)
}

fn kept_alive<S: Stream<Item = Item> + Send + 'static>(events: S) -> Sse<impl Stream<Item = Item>> {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Changes from now on. What a reader is too slow for is dropped, the oldest first, and it is told how many.
fn changes(agent: &Agent, app: AppId) -> Result<impl Stream<Item = Item> + use<>, ApiError> {
    let changes = agent.waiting.subscribe(Topic::Changes(app))?;
    Ok(stream::unfold(changes, |mut changes| async {
        loop {
            let event = match changes.next().await {
                Err(Missed(dropped)) => Some(event("dropped", &Dropped { dropped })),
                Ok(Named { what: Event::Allocation(notice), contacts }) => told(&notice, &contacts),
                // Events of other kinds are never changes.
                Ok(_) => None,
            };
            if let Some(event) = event {
                return Some((Ok(event), changes));
            }
        }
    }))
}

/// What a change looks like to those who follow it; of a guardian's loss they need to know nothing.
fn told(notice: &Notice, contacts: &Contacts) -> Option<sse::Event> {
    match notice {
        Notice::SlotChanged { slot: known, .. } => {
            let holder = known.holder.and_then(|holder| contacts.of(holder));
            Some(event("slot", &view::known(known, holder)))
        }
        Notice::HolderLost { slot: Some(slot), peer, .. } => {
            Some(event("lost", &view::peer(contacts.of(*peer)?, Some(*slot))))
        }
        Notice::RecordChanged { record } => Some(event("record", &view::record(record))),
        Notice::HolderLost { slot: None, .. } => None,
        // Not changes, so that nobody who listens for them gets one.
        Notice::Start { .. } | Notice::KeepFiles { .. } | Notice::Stop { .. } | Notice::AppLeft { .. } => {
            None
        }
        Notice::Store { .. } | Notice::SlotPlaced { .. } => None,
        Notice::Submission { .. } | Notice::RecordTaken { .. } | Notice::Described { .. } => None,
    }
}

fn event(name: &str, data: &impl Serialize) -> sse::Event {
    // The data are plain values: nothing in them has no JSON.
    sse::Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
