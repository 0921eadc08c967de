//! The socket of one slot: its program asks who it is and who the others are.
//!
//! The path is told to the program only, and a token with it: without namespaces another program on the
//! machine could find the path, but not read the environment of other users' processes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use subtle::ConstantTimeEq as _;
use tokio::task::JoinHandle;
use xtreem_allocation::SlotRun;
use xtreem_pubsub::broker::Access;

use super::collections::{self, items, load, tasks, tell};
use super::error::{self, ApiError};
use super::waits::{self, Waits};
use super::{beside, event_stream, events, listener, member, messages, self_application};
use crate::agent::Agent;
use crate::collections::Collections;
use crate::mail::SlotMail;
use crate::ports::Reserved;
use crate::program::PortRef;
use crate::pubsub::access;
use crate::slots::Order;

/// Connections at one time: the program's own business, and its own limit (our guess: three quarters of them
/// may be taken by calls that wait, `waits.rs`, and a program may have dozens of threads).
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What the routes of one slot know.
pub(super) struct Slot {
    pub(super) agent: Arc<Agent>,
    pub(super) run: SlotRun,
    token: String,
    ports: Reserved,
    pub(super) mail: SlotMail,
    pub(super) waits: Arc<Waits>,
    pub(super) collections: Arc<Collections>,
}

impl Slot {
    pub(super) fn ports(&self) -> &[(PortRef, u16)] {
        &self.ports.numbers
    }

    /// What its program may publish and subscribe to.
    pub(super) fn pubsub_access(&self) -> Access {
        self.agent.pubsub.tokens.access(&self.token).unwrap_or_else(access::nobody)
    }
}

/// The open socket; closed and removed when dropped.
pub(crate) struct SlotSocket {
    path: PathBuf,
    slot: Arc<Slot>,
    serving: JoinHandle<()>,
}

impl SlotSocket {
    /// Opens it for one run of a slot, whose ports it keeps reserved.
    pub(crate) fn open(
        agent: &Arc<Agent>,
        order: &Order,
        path: PathBuf,
        ports: Reserved,
    ) -> io::Result<Self> {
        // Everybody may connect who can see it: the program may run as another user, and has the token.
        let socket = listener::open(&path, 0o666)?;
        let run = order.run;
        let mail = SlotMail::new(agent.clone(), run)?;
        let collections = Arc::new(Collections::new(agent.clone(), run, order.slots));
        agent.collections.add(run, &collections);
        let (token, waits) = (token()?, Waits::new());
        let waiting = waits.clone();
        let slot =
            Arc::new(Slot { agent: agent.clone(), run, token, ports, mail, waits: waiting, collections });
        agent.pubsub.tokens.add(&slot.token, access::slot(run, order.by.clone()));
        // Who it is such a connection says with the token.
        let over = listener::over(agent, access::nobody());
        let streams = from_fn_with_state(waits.clone(), waits::stream);
        let sends = from_fn_with_state(waits.clone(), waits::send);
        let topics = get(event_stream::of_slot).layer(streams.clone());
        let publish = post(event_stream::publish_as_slot).layer(sends.clone());
        let routes = Router::new()
            .route("/v1/self", get(self_application::whoami))
            .route("/v1/self/peers", get(self_application::peers))
            .route("/v1/self/application", get(self_application::application))
            .route("/v1/self/events", get(events::of_slot).layer(streams.clone()))
            .route("/v1/events", topics.merge(publish))
            .route("/v1/self/credential", get(messages::credential))
            .route("/v1/self/mailbox", put(messages::mailbox))
            .route("/v1/self/members/{slot}", get(member::member))
            .route("/v1/self/send", post(messages::send).layer(sends))
            .route("/v1/self/exec", post(beside::of_slot))
            .route("/v1/self/messages", get(messages::messages).layer(streams))
            .merge(of_collections(&waits))
            .fallback(error::no_such_path)
            .method_not_allowed_fallback(error::no_such_method)
            .layer(from_fn_with_state(slot.clone(), check_token))
            .with_state(slot.clone());
        let serving = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ = listener::serve(socket, CONNECTIONS_MAX, routes, over).await;
        });
        Ok(SlotSocket { path, slot, serving })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn token(&self) -> &str {
        &self.slot.token
    }

    pub(crate) fn ports(&self) -> &[(PortRef, u16)] {
        self.slot.ports()
    }

    pub(crate) fn collections(&self) -> &Arc<Collections> {
        &self.slot.collections
    }
}

fn of_collections(waits: &Arc<Waits>) -> Router<Arc<Slot>> {
    let polls = from_fn_with_state(waits.clone(), waits::poll);
    let of = |rest: &str| format!("/v1/self/collections/{{name}}{rest}");
    let items = get(items::get).put(items::put).delete(items::delete);
    let tasks = get(tasks::state).put(tasks::add).delete(tasks::collect);
    let work = get(tasks::work).put(tasks::done).delete(tasks::failed);
    Router::new()
        .route("/v1/self/collections", get(collections::list))
        .route(&of(""), get(collections::show).put(collections::join).delete(collections::leave))
        .route(&of("/ranks/{rank}"), get(collections::rank))
        .route(&of("/places"), get(collections::place))
        .route(&of("/renumber"), post(collections::renumber))
        .route(&of("/owner"), get(collections::owner))
        .route(&of("/broadcast"), post(tell::broadcast))
        .route(&of("/profile"), put(collections::set_profile))
        .route(&of("/items"), items)
        .route(&of("/scan"), get(items::scan))
        .route(&of("/load"), post(load::load))
        .route(&of("/tasks"), tasks.layer(polls.clone()))
        .route(&of("/outcomes"), get(tasks::outcomes).layer(polls.clone()))
        .route(&of("/progress"), get(tasks::progress))
        .route(&of("/work"), work.layer(polls))
}

impl Drop for SlotSocket {
    fn drop(&mut self) {
        self.serving.abort();
        self.slot.agent.pubsub.tokens.remove(&self.slot.token);
        // What cannot be removed now goes at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn token() -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn check_token(State(slot): State<Arc<Slot>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    // The time that the answer takes must not tell how much of a guess was right.
    if given.is_some_and(|given| given.as_bytes().ct_eq(slot.token.as_bytes()).into()) {
        return next.run(request).await;
    }
    let error = "the token is missing or wrong";
    ApiError::definite(StatusCode::UNAUTHORIZED, error)
        .with_hint("send `Authorization: Bearer` with the value of XTREEM_TOKEN")
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (first, second) = (token().unwrap(), token().unwrap());
        assert_eq!(first.len(), 2 * TOKEN_BYTES);
        assert_ne!(first, second);
    }
}
