//! Calls of a program that may wait for others: of each kind at most so many at one time, so that the socket
//! of its slot has connections left for the calls that do not. One more is refused, and nothing was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::{body, guests};

// With these of the 64 connections of a slot 16 are left for calls that are answered at once (our guesses).
/// Sends under way.
pub(super) const SENDS_MAX: usize = 20;
/// Of them, those to one slot: more than its mailbox takes of the longest messages, should nobody read it.
pub(super) const SENDS_TO_ONE_MAX: usize = 5;
/// Requests with `wait_ms`.
pub(super) const POLLS_MAX: usize = 12;
/// Streams of events and messages: as many as there are collections of one slot.
pub(super) const STREAMS_MAX: usize = 16;

/// The places of one slot's program.
pub(super) struct Waits {
    sends: Arc<Semaphore>,
    polls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// How many sends are under way to a slot; without those to which there are none.
    to: Mutex<BTreeMap<u16, usize>>,
}

/// A send's place among those to one slot; dropping it makes room.
pub(super) struct Way {
    waits: Arc<Waits>,
    to: u16,
}

impl Waits {
    pub(super) fn new() -> Arc<Waits> {
        let [sends, polls, streams] =
            [SENDS_MAX, POLLS_MAX, STREAMS_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Arc::new(Waits { sends, polls, streams, to: Mutex::default() })
    }

    /// For a send to this slot, beside its place among all.
    pub(super) fn way(self: &Arc<Self>, to: u16) -> Result<Way, ApiError> {
        let mut ways = self.ways();
        let under_way = ways.entry(to).or_default();
        if *under_way >= SENDS_TO_ONE_MAX {
            let error = format!("SENDS_TO_ONE_MAX: {SENDS_TO_ONE_MAX} sends to slot {to} are under way");
            let hint = "wait until one of them has ended; its program may take no messages";
            return Err(ApiError::definite(StatusCode::TOO_MANY_REQUESTS, error).with_hint(hint));
        }
        *under_way += 1;
        Ok(Way { waits: self.clone(), to })
    }

    fn ways(&self) -> MutexGuard<'_, BTreeMap<u16, usize>> {
        // Each change leaves the map whole.
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let mut ways = self.waits.ways();
        if let Some(under_way) = ways.get_mut(&self.to) {
            *under_way -= 1;
            if *under_way == 0 {
                ways.remove(&self.to);
            }
        }
    }
}

/// Around sends.
pub(super) async fn send(State(waits): State<Arc<Waits>>, request: Request, next: Next) -> Response {
    match waits.sends.clone().try_acquire_owned() {
        Ok(place) => attend(place, request, next).await,
        Err(_) => {
            // Who is refused while it still writes hears of a broken pipe, and not that nothing was done.
            body::skip(request.into_body()).await;
            let error = format!("SENDS_MAX: {SENDS_MAX} sends of this program are under way");
            too_many(error, "wait until one of them has ended")
        }
    }
}

/// Around what may be asked with `wait_ms`.
pub(super) async fn poll(State(waits): State<Arc<Waits>>, request: Request, next: Next) -> Response {
    if !is_poll(&request) {
        return next.run(request).await;
    }
    match waits.polls.clone().try_acquire_owned() {
        Ok(place) => attend(place, request, next).await,
        Err(_) => {
            let error = format!("POLLS_MAX: {POLLS_MAX} requests of this program wait already");
            too_many(error, "wait until one of them has ended, or ask with wait_ms=0")
        }
    }
}

/// Around streams of events and messages.
pub(super) async fn stream(State(waits): State<Arc<Waits>>, request: Request, next: Next) -> Response {
    match waits.streams.clone().try_acquire_owned() {
        Ok(place) => attend(place, request, next).await,
        Err(_) => {
            let error = format!("STREAMS_MAX: {STREAMS_MAX} streams of this program are open");
            too_many(error, "read one stream of events for several purposes, or close one")
        }
    }
}

/// The place is taken until the last byte of the answer.
async fn attend(place: OwnedSemaphorePermit, request: Request, next: Next) -> Response {
    guests::until_answered(next.run(request).await, place)
}

fn too_many(error: String, hint: &str) -> Response {
    ApiError::definite(StatusCode::TOO_MANY_REQUESTS, error).with_hint(hint).into_response()
}

#[derive(Deserialize)]
struct Asked {
    wait_ms: Option<String>,
}

/// What is no query or no number is refused without a wait.
fn is_poll(request: &Request) -> bool {
    let asked = Query::<Asked>::try_from_uri(request.uri()).ok();
    let wait_ms = asked.and_then(|Query(asked)| asked.wait_ms?.parse::<u64>().ok());
    request.method() == Method::GET && wait_ms.is_some_and(|wait_ms| wait_ms > 0)
}

#[cfg(test)]
mod tests;
