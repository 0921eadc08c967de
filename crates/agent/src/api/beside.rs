//! The way to the holder of a slot, for a command beside it: `POST /v1/apps/{id}/exec?slot=S[&anew=true]` for
//! users, `POST /v1/self/exec?slot=S[&anew=true]` for programs, to slots of their own application.
//!
//! The connection goes over to what caller and holder say to each other (`xtreem_net::beside`), which
//! is sealed: this agent passes bytes on, and has no say in it.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, duplex, sink, split,
};
use tokio::time::timeout;
use xtreem_base::AppId;
use xtreem_client::api::EXEC_PROTOCOL;
use xtreem_net::{Contact, Service};

use super::error::ApiError;
use super::guests::Visitor;
use super::slot_socket::Slot;
use super::{body, holders};
use crate::agent::Agent;
use crate::beside;

/// Bytes that are passed on at a time, each way.
const PIECE_BYTES: usize = 32 << 10;

/// After the holder's last word the caller has so long to take it. Our guess: it reads and leaves at once.
const LAST_WORD_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A conversation with some holder.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    slot: u16,
    /// Whatever was known of its holder proved wrong.
    #[serde(default)]
    anew: bool,
}

pub(super) async fn exec(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let app: AppId = body::id(&id, "application")?;
    let which = body::query(which)?;
    go_over(&agent, app, which, &visitor, &mut request, ()).await
}

pub(super) async fn of_slot(
    State(slot): State<Arc<Slot>>,
    which: Result<Query<Which>, QueryRejection>,
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let which = body::query(which)?;
    let seat = slot.agent.commands.calling_slots.seat(slot.run).ok_or_else(|| {
        let error = "this slot has as many commands beside slots under way as it may";
        ApiError::definite(StatusCode::TOO_MANY_REQUESTS, error).with_hint("wait until one of them has ended")
    })?;
    go_over(&slot.agent, slot.run.app, which, &visitor, &mut request, seat).await
}

/// Has the connection go over to a conversation with the holder, which keeps `seat` as long as it lasts.
async fn go_over(
    agent: &Arc<Agent>,
    app: AppId,
    Which { slot, anew }: Which,
    visitor: &Visitor,
    request: &mut Request,
    seat: impl Send + 'static,
) -> Result<Response, ApiError> {
    let protocol = HeaderValue::from_static(EXEC_PROTOCOL);
    if request.headers().get(UPGRADE) != Some(&protocol) {
        let error = format!("the connection is to be upgraded to {EXEC_PROTOCOL}");
        return Err(ApiError::definite(StatusCode::UPGRADE_REQUIRED, error));
    }
    let too_many = |_| {
        let error = "this agent has as many commands beside slots under way as it may";
        ApiError::definite(StatusCode::TOO_MANY_REQUESTS, error)
    };
    let turn = agent.commands.callers.clone().try_acquire_owned().map_err(too_many)?;
    let mut holder = reach(agent, app, slot, anew).await?;
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let passed = async {
            let caller = upgraded.await.map_err(io::Error::other)?;
            pass(TokioIo::new(caller), &mut holder).await
        };
        let passed: io::Result<u64> = passed.await;
        tracing::debug!(?app, slot, ?passed, "a command beside a slot: the caller or the holder has left");
        drop((turn, seat));
    });
    visitor.leave();
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, protocol);
    Ok(answer)
}

/// Passes bytes on, both ways, until the holder has said its last word; returns how many of its bytes.
///
/// A holder whose command has ended reads no more, and says how it ended all the same: what it does not take
/// of the caller is dropped, and what it said is not.
async fn pass(
    caller: impl AsyncRead + AsyncWrite,
    holder: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<u64> {
    let (from_caller, mut to_caller) = split(caller);
    let (from_holder, mut to_holder) = split(holder);
    let mut from_caller = BufReader::with_capacity(PIECE_BYTES, from_caller);
    let mut from_holder = BufReader::with_capacity(PIECE_BYTES, from_holder);
    let there = async {
        let _ = copy_buf(&mut from_caller, &mut to_holder).await;
        let is_over = from_caller.fill_buf().await.is_ok_and(<[u8]>::is_empty);
        if !is_over {
            let _ = copy_buf(&mut from_caller, &mut sink()).await;
        }
        // The caller has left.
        let _ = to_holder.shutdown().await;
        std::future::pending().await
    };
    let passed = tokio::select! {
        passed = copy_buf(&mut from_holder, &mut to_caller) => passed?,
        never = there => never,
    };
    to_caller.shutdown().await?;
    // A socket that is closed with something unread in it takes its last words along.
    let _ = timeout(LAST_WORD_MAX, copy_buf(&mut from_caller, &mut sink())).await;
    Ok(passed)
}

/// A stream to the holder. One that is not where it was is looked for once more.
async fn reach(
    agent: &Arc<Agent>,
    app: AppId,
    slot: u16,
    is_anew: bool,
) -> Result<Box<dyn Stream>, ApiError> {
    let first = holders::holder(agent, app, slot, is_anew).await?;
    if let Ok(stream) = open(agent, first).await {
        return Ok(stream);
    }
    let second = holders::holder(agent, app, slot, true).await?;
    open(agent, second).await.map_err(|error| {
        let error = format!("node {} at {}, which holds slot {slot}: {error}", second.id, second.addr);
        ApiError::definite(StatusCode::BAD_GATEWAY, error)
    })
}

async fn open(agent: &Arc<Agent>, holder: Contact) -> io::Result<Box<dyn Stream>> {
    let own = agent.net.own_contact();
    if holder.id != own.id {
        let (send, receive) = agent.net.open(holder, Service::BESIDE).await.map_err(io::Error::other)?;
        return Ok(Box::new(tokio::io::join(receive, send)));
    }
    let (near, far) = duplex(PIECE_BYTES);
    let agent = agent.clone();
    tokio::spawn(async move {
        if let Err(error) = beside::serve(&agent, far, own.id).await {
            tracing::debug!(%error, "a command beside a slot of this node ended early");
        }
    });
    Ok(Box::new(near))
}
