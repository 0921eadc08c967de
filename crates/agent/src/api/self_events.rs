//! `GET /v1/self/events`: the stream of membership changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use xtreem_client::api::Dropped;
use xtreem_node::Event;

use super::error::ApiError;
use super::slot_socket::Slot;
use super::view;
use crate::queue::Next;
use crate::waiting::Topic;

/// A comment is sent after so much silence, so that both sides notice a dead connection (our guess).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes from now on. What a reader is too slow for is dropped, the oldest first, and it is told how many.
pub(super) async fn events(
    State(slot): State<Arc<Slot>>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, ApiError> {
    let changes = slot.agent.waiting.subscribe(Topic::Changes(slot.run.app))?;
    let events = stream::unfold((slot, changes), |(slot, changes)| async {
        loop {
            let event = match changes.next().await {
                Next::Dropped(dropped) => event("dropped", &Dropped { dropped }),
                Next::Item(Event::SlotChanged { slot: known, .. }) => {
                    let holder = match known.holder {
                        Some(holder) => slot.agent.net.contact(holder).await,
                        None => None,
                    };
                    event("slot", &view::known(&known, holder))
                }
                Next::Item(Event::RecordChanged { record }) => event("record", &view::record(&record)),
                Next::Item(_) => continue,
            };
            return Some((Ok(event), (slot, changes)));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn event(name: &str, data: &impl Serialize) -> sse::Event {
    // The data are plain values: nothing in them has no JSON.
    sse::Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
