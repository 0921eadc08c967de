//! The operator's socket: whoever may write to its file may ask everything.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use tokio::net::UnixListener;

use super::{
    announcements, app_collections, apps, beside, error, event_stream, events, files, grid, items, listener,
    logs, node, policy, record, ring, search, show, submit, topics,
};
use crate::agent::Agent;
use crate::config::Control;
use crate::pubsub::access;
use crate::run::AgentError;

/// Connections at one time (our guess: people and their scripts on one machine).
const CONNECTIONS_MAX: usize = 64;

/// Whether the socket can lie at its path.
pub(crate) fn check(control: &Control) -> Result<(), AgentError> {
    listener::check_path(&control.path).map_err(|error| failed(control, error))
}

/// Opens the socket.
pub(crate) fn bind(control: &Control) -> Result<UnixListener, AgentError> {
    listener::open(&control.path, control.mode).map_err(|error| failed(control, error))
}

fn failed(control: &Control, error: io::Error) -> AgentError {
    AgentError::Control { path: control.path.clone(), error }
}

/// Removes the socket.
pub(crate) fn remove(control: &Control) {
    listener::remove(&control.path);
}

/// Serves until aborted.
pub(crate) async fn serve(agent: Arc<Agent>, control: UnixListener) {
    let over = listener::over(&agent, access::operator(agent.pubsub.node.clone()));
    let routes = Router::new()
        .route("/v1/node", get(node::node))
        .route("/v1/node/accept-loss", post(node::accept_loss))
        .route("/v1/grid", get(grid::grid))
        .route("/v1/ring", get(ring::show))
        .route("/v1/ring/owner", get(ring::owner))
        .route("/v1/ring/items", get(items::get).put(items::put).delete(items::delete))
        .route("/v1/ring/scan", get(items::scan))
        .route("/v1/ring/announcements", get(announcements::listen).post(announcements::announce))
        .route("/v1/topics", get(topics::list))
        .route("/v1/events", get(event_stream::of_operator).post(event_stream::publish_as_operator))
        .route("/v1/policy", get(policy::show).post(policy::set))
        .route("/v1/search", post(search::search))
        .route("/v1/files/{digest}", put(files::put).get(files::has))
        .route("/v1/apps", get(apps::list).post(submit::submit))
        .route("/v1/apps/{id}", get(show::show))
        .route("/v1/apps/{id}/collections", get(app_collections::show))
        .route("/v1/apps/{id}/events", get(events::of_app))
        .route("/v1/apps/{id}/record", post(record::publish))
        .route("/v1/apps/{id}/logs", get(logs::logs))
        .route("/v1/apps/{id}/exec", post(beside::exec))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(agent);
    let served = listener::serve(control, CONNECTIONS_MAX, routes, over).await;
    if let Err(error) = served {
        tracing::error!(%error, "the operator's socket has ended");
    }
}
