//! `POST /v1/apps/{id}/record`: publish a newer record of an application, for example a stopped one.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::time::{Instant, timeout_at};
use xtreem_allocation::{Notice, Record};
use xtreem_base::{AppId, Handle};
use xtreem_client::api::{RecordReply, RecordRequest};
use xtreem_net::{RecordFault, verify_record};
use xtreem_node::Event;

use super::error::ApiError;
use super::{body, picture, view};
use crate::agent::Agent;
use crate::waiting::Topic;

/// How long nodes are waited for; those that are away hear of the record from others.
const WAIT_MAX: Duration = Duration::from_secs(3);

pub(super) async fn publish(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<RecordReply>, ApiError> {
    let app: AppId = body::id(&id, "application")?;
    let request: RecordRequest = body::json(body).await?;
    let record: Record = decode(&request.record.0, "record")?;
    if record.id != app {
        return Err(ApiError::bad_request("the record is of another application"));
    }
    verify(&agent, &record)?;
    let picture = picture::look(&agent, app).await?.ok_or_else(|| picture::nobody_knows(app))?;
    if picture.record.version() > record.version() {
        let newer = Some(view::record(&picture.record));
        return Ok(Json(RecordReply { taken_by: 0, newer }));
    }
    let to: Vec<Handle> = picture.everybody().into_iter().collect();
    let mut taken = agent.waiting.subscribe(Topic::RecordTaken(app))?;
    let mut waiting: BTreeSet<Handle> = to.iter().copied().collect();
    tracing::info!(?app, generation = record.generation, wanted = ?record.wanted, nodes = to.len(), "record published");
    agent.node(move |node, now, out| node.publish(now, record, &to, out)).await?;
    let (mut taken_by, mut newer) = (0, None);
    let end = Instant::now() + WAIT_MAX;
    while !waiting.is_empty() {
        let Ok(event) = timeout_at(end, taken.event()).await else { break };
        if let Event::Allocation(Notice::RecordTaken { by, newer: beaten_by, .. }) = event.what
            && waiting.remove(&by)
        {
            match beaten_by {
                None => taken_by += 1,
                Some(record) => newer = Some(view::record(&record)),
            }
        }
    }
    if taken_by == 0 && newer.is_none() {
        let error = "no node has confirmed the record within 3 s";
        return Err(ApiError::indefinite(StatusCode::GATEWAY_TIMEOUT, error).with_hint("repeat the command"));
    }
    Ok(Json(RecordReply { taken_by, newer }))
}

/// Reads CBOR that a client sent.
pub(super) fn decode<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let wrong = |error: minicbor::decode::Error| match error.source().and_then(|cause| cause.downcast_ref()) {
        Some(error) => ApiError::requirement(error),
        None => ApiError::bad_request(format!("the {what}: {error}")),
    };
    let found = decoder.decode().map_err(wrong)?;
    if decoder.position() != bytes.len() {
        return Err(ApiError::bad_request(format!("bytes follow the {what}")));
    }
    Ok(found)
}

/// The node believes its host, so the host must not hand it a forged record.
pub(super) fn verify(agent: &Agent, record: &Record) -> Result<(), ApiError> {
    // A clock before 1970 finds every credential not yet valid.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let root = agent.net.identity().root();
    verify_record(root, now, record).map_err(|fault| {
        let refused = ApiError::definite(StatusCode::FORBIDDEN, format!("the record: {fault}"));
        match fault {
            RecordFault::WrongSigner => refused.with_hint(
                "it is another user's, as who has a credential issued anew is: ask its owner, or use one with role \
                 admin",
            ),
            RecordFault::Proof(_) => refused.with_hint(format!(
                "this agent is of VO {}; `xtreem vo show` says of which VO a credential is, and until when",
                root.id()
            )),
            RecordFault::WrongSpec => refused,
        }
    })
}
