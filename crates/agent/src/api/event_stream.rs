//! `GET /v1/events?topic=...`: events of topics as server-sent events. `POST /v1/events?topic=...`: publishes
//! one.
//!
//! Each request has a connection of its own to the broker, which judges it as one that speaks the protocol of
//! publish/subscribe at the same socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use xtreem_client::pubsub::{Details, Event, HashId, PubSub, PubSubError, Told};
use xtreem_pubsub::PAYLOAD_MAX_BYTES;
use xtreem_pubsub::broker::Access;

use super::body;
use super::error::ApiError;
use super::slot_socket::Slot;
use crate::agent::Agent;
use crate::pubsub::access;

/// Topics of one stream (our guess: whoever wants more subscribes to one above them).
const TOPICS_MAX: usize = 64;
/// A comment is sent after so much silence, so that both sides notice a dead connection (our guess).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What data begin with that stand in base64: bytes that are no text, or that lines of the stream would
/// change; and none at all, as pages are not told of events without data.
const BASE64: &str = "base64:";
/// The name by which lost events are told: no topic has it.
const LOST: &str = "*lost";

type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;
type Events = Sse<sse::KeepAliveStream<futures_util::stream::BoxStream<'static, Item>>>;
type Item = Result<sse::Event, Infallible>;

pub(super) async fn of_operator(
    State(agent): State<Arc<Agent>>,
    headers: HeaderMap,
    asked: Pairs,
) -> Result<Events, ApiError> {
    follow(&agent, operator(&agent), &headers, asked).await
}

pub(super) async fn of_slot(
    State(slot): State<Arc<Slot>>,
    headers: HeaderMap,
    asked: Pairs,
) -> Result<Events, ApiError> {
    follow(&slot.agent, slot.pubsub_access(), &headers, asked).await
}

pub(super) async fn publish_as_operator(
    State(agent): State<Arc<Agent>>,
    asked: Pairs,
    body: Body,
) -> Result<Json<()>, ApiError> {
    publish(&agent, operator(&agent), asked, body).await
}

pub(super) async fn publish_as_slot(
    State(slot): State<Arc<Slot>>,
    asked: Pairs,
    body: Body,
) -> Result<Json<()>, ApiError> {
    publish(&slot.agent, slot.pubsub_access(), asked, body).await
}

fn operator(agent: &Agent) -> Access {
    access::operator(agent.pubsub.node.clone())
}

async fn follow(
    agent: &Agent,
    access: Access,
    headers: &HeaderMap,
    asked: Pairs,
) -> Result<Events, ApiError> {
    let (mut topics, mut replay) = (Vec::new(), None);
    for (name, value) in body::query(asked)? {
        match name.as_str() {
            "topic" => topics.push(value),
            "replay" if replay.is_none() => replay = Some(value),
            _ => {
                return Err(unknown(
                    &name,
                    "topic=TOPICS, which may be repeated, and replay=50 or replay=10s",
                ));
            }
        }
    }
    if topics.is_empty() || topics.len() > TOPICS_MAX {
        let error = format!("{} topics: want 1 to {TOPICS_MAX}, each as topic=a/b", topics.len());
        return Err(ApiError::bad_request(error));
    }
    let last = headers.get("last-event-id").map(|id| last_event(id.as_bytes())).transpose()?;
    let mut bus = open(agent, access).await?;
    bus.subscribe_all(&topics, replay.as_deref()).await?;
    let mut first = bus.take_told();
    if let Some(last) = last {
        first.retain(|told| is_after(told, last));
    }
    let events = stream::unfold((first, bus), |(mut first, mut bus): (VecDeque<Told>, PubSub)| async {
        let told = match first.pop_front() {
            Some(told) => told,
            // However the connection ends, the stream does, and its reader asks again.
            None => bus.recv().await.ok()?,
        };
        Some((Ok(shown(&told)), (first, bus)))
    });
    Ok(Sse::new(Box::pin(events) as stream::BoxStream<'static, Item>)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn publish(agent: &Agent, access: Access, asked: Pairs, body: Body) -> Result<Json<()>, ApiError> {
    let payload = body::bytes(body, PAYLOAD_MAX_BYTES, "the payload").await?;
    let (mut topic, mut details) = (None, Details::default());
    for (name, value) in body::query(asked)? {
        match (name.as_str(), value.as_str()) {
            ("topic", _) if topic.is_none() => topic = Some(value),
            ("reply_to", _) if details.reply_to.is_none() => details.reply_to = Some(value),
            ("retain", "true") => details.retain = true,
            ("retain", "false") => details.retain = false,
            _ => return Err(unknown(&name, "one topic=TOPIC, retain=true and reply_to=TOPIC")),
        }
    }
    let topic = topic.ok_or_else(|| ApiError::bad_request("to which topic? topic=a/b"))?;
    let mut bus = open(agent, access).await?;
    Ok(Json(bus.publish_acknowledged(&topic, &payload, &details).await?))
}

fn unknown(name: &str, wanted: &str) -> ApiError {
    let shown: String = name.chars().take(40).collect();
    ApiError::bad_request(format!("the query: {shown} cannot stand there so; want {wanted}"))
}

/// A connection to the broker, as if somebody came by a socket.
async fn open(agent: &Agent, access: Access) -> Result<PubSub, ApiError> {
    let (near, far) = tokio::net::UnixStream::pair().map_err(no_room)?;
    let far = UnixStream::from(OwnedFd::from(far.into_std().map_err(no_room)?));
    agent.pubsub.take(far, access, None);
    Ok(PubSub::over(near).await?)
}

fn no_room(error: std::io::Error) -> ApiError {
    ApiError::definite(StatusCode::SERVICE_UNAVAILABLE, format!("no room for a connection: {error}"))
}

/// The hash id that a reader had last.
fn last_event(text: &[u8]) -> Result<HashId, ApiError> {
    let id = std::str::from_utf8(text).ok().filter(|id| id.len() == 32);
    let id = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let id = id.and_then(|id| u128::from_str_radix(id, 16).ok());
    id.map(HashId).ok_or_else(|| ApiError::bad_request("Last-Event-ID: want the 32 digits of an event's id"))
}

/// Whether the reader may not have had it: of one publisher and topic it had all up to the last one. Of
/// others nobody knows.
fn is_after(told: &Told, last: HashId) -> bool {
    match told {
        Told::Event(event) => event.id.is_after(last.place()),
        Told::Lost { .. } | Told::Overtaken(_) => true,
    }
}

fn shown(told: &Told) -> sse::Event {
    match told {
        Told::Event(event) => {
            sse::Event::default().id(event.id.to_string()).event(&event.topic).data(data(event))
        }
        Told::Lost { topic, count } => {
            let data = serde_json::json!({ "topic": topic, "lost": count });
            sse::Event::default().event(LOST).data(data.to_string())
        }
        // Of updates, of which none is made here.
        Told::Overtaken(operation) => sse::Event::default().comment(operation),
    }
}

fn data(event: &Event) -> String {
    match std::str::from_utf8(&event.payload) {
        // A line end is one in the stream, whichever it was; other texts come as they are.
        Ok(text) if !text.is_empty() && !text.contains('\r') && !text.starts_with(BASE64) => text.to_owned(),
        _ => format!("{BASE64}{}", STANDARD.encode(&event.payload)),
    }
}

impl From<PubSubError> for ApiError {
    fn from(error: PubSubError) -> Self {
        match &error {
            PubSubError::Topic(_) | PubSubError::Malformed(_) => ApiError::bad_request(error),
            PubSubError::Refused { code, .. } => {
                let status = match code.as_str() {
                    "forbidden" => StatusCode::FORBIDDEN,
                    "too-many" => StatusCode::TOO_MANY_REQUESTS,
                    // It was published, and nobody keeps it.
                    "not-kept" => return ApiError::indefinite(StatusCode::SERVICE_UNAVAILABLE, error),
                    _ => StatusCode::BAD_REQUEST,
                };
                ApiError::definite(status, error)
            }
            _ => ApiError::indefinite(StatusCode::SERVICE_UNAVAILABLE, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: HashId, payload: &'static [u8]) -> Event {
        let (publisher, sequence, reply_to) = (None, None, None);
        let payload = payload.into();
        Event { topic: "a".into(), id, payload, publisher, sequence, reply_to, is_retained: false }
    }

    #[test]
    fn text_comes_as_it_is_and_all_else_in_base64() {
        let of = |payload| data(&event(HashId(1), payload));
        assert_eq!((of(b"up"), of(b""), of(b"a\nb")), ("up".into(), BASE64.into(), "a\nb".into()));
        assert_eq!((of(b"\xff"), of(b"a\rb")), ("base64:/w==".into(), "base64:YQ1i".into()));
        assert_eq!(of(b"base64:x"), "base64:YmFzZTY0Ong=");
    }

    #[test]
    fn what_a_reader_had_does_not_come_again_and_what_others_published_does() {
        let stem =
            |who: &[u8]| xtreem_pubsub::Stem::new(xtreem_base::NodeId::from_bytes([1; 16]), who, 1, "a");
        let last = stem(b"x").event(5);
        let is_new = |id| is_after(&Told::Event(event(id, b"")), last);
        assert!(!is_new(stem(b"x").event(4)) && !is_new(last) && is_new(stem(b"x").event(6)));
        assert!(is_new(stem(b"y").event(4)));
        assert_eq!(last_event(last.to_string().as_bytes()).ok(), Some(last));
        for wrong in [&b""[..], b"1", b"+0000000000000000000000000000001", b"\xff"] {
            assert!(last_event(wrong).is_err());
        }
    }
}
