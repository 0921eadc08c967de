//! `GET /v1/topics`: what the grid subscribes to and publishes to, and which topics have a last value.
//!
//! It lies on the ring in three namespaces, each in the order of topics: they are read side by side, a page
//! at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use xtreem_base::NodeId;
use xtreem_client::api::{TopicList, TopicView};
use xtreem_overlay::store::{Action, Found, Success, end_of_prefix};
use xtreem_overlay::{Key, Namespace};
use xtreem_pubsub::relay::Arrival;
use xtreem_pubsub::{Framer, PAYLOAD_MAX_BYTES, Pattern, Step, Topic, keeper};

use super::error::ApiError;
use super::items::{self, LISTED};
use super::ring::unhexed;
use crate::agent::Agent;
use crate::pubsub;

/// Topics of one answer.
const LISTED_MAX: u16 = 1_000;
/// Items read at a time; of last values fewer, which may be long: 4 MiB.
const PAGE: u16 = 256;
const RETAINED_PAGE: u16 = 64;
/// Readings for one answer: those of 65,536 servers at one topic (our guess).
const READINGS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    prefix: Option<String>,
    /// To go on after an answer that was cut off.
    from: Option<String>,
    limit: Option<u16>,
}

/// One namespace as it is read, from its beginning to its end.
struct Source {
    of: Namespace,
    page: u16,
    hi: Option<Key>,
    /// Where to read on.
    rest: Option<Key>,
    read: VecDeque<Found>,
}

/// What is known of one topic or pattern.
#[derive(Default)]
struct Row {
    subscribers: BTreeSet<NodeId>,
    publishers: BTreeSet<NodeId>,
    groups: BTreeSet<String>,
    /// Bytes and seconds left.
    retained: Option<(usize, u64)>,
}

pub(super) async fn list(
    State(agent): State<Arc<Agent>>,
    Query(asked): Query<Asked>,
) -> Result<Json<TopicList>, ApiError> {
    let limit = asked.limit.unwrap_or(LISTED);
    if limit == 0 || limit > LISTED_MAX {
        return Err(ApiError::bad_request(format!("limit={limit}: want 1 to {LISTED_MAX}")));
    }
    let (mut from, to) = extent(asked.prefix.as_deref())?;
    if let Some(text) = &asked.from {
        let wrong = || ApiError::bad_request(format!("from={text}: want what `next` of an answer says"));
        from = from.max(unhexed(text).ok_or_else(wrong)?);
    }
    let mut sources = Vec::new();
    for (of, page) in
        [(Namespace::SUBSCRIBERS, PAGE), (Namespace::PUBLISHERS, PAGE), (Namespace::RETAINED, RETAINED_PAGE)]
    {
        sources.push(Source::new(of, page, &from, to.as_deref())?);
    }
    let (mut topics, mut readings) = (Vec::new(), 0);
    loop {
        let mut places = Vec::new();
        for source in &mut sources {
            places.extend(source.place(&agent, &mut readings).await?);
        }
        let Some(place) = places.into_iter().min() else { return Ok(Json(TopicList { topics, next: None })) };
        if topics.len() >= usize::from(limit) {
            let next = place.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Json(TopicList { topics, next: Some(next) }));
        }
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for source in &mut sources {
            while source.place(&agent, &mut readings).await?.as_ref() == Some(&place) {
                if let Some(found) = source.read.pop_front() {
                    add(&mut rows, source.of, found);
                }
            }
        }
        topics.extend(rows.into_iter().map(|(topic, row)| TopicView {
            topic,
            subscribers: row.subscribers.len(),
            publishers: row.publishers.len(),
            groups: row.groups.into_iter().collect(),
            retained_bytes: row.retained.map(|(bytes, _)| bytes),
            retained_left_s: row.retained.map(|(_, left_s)| left_s),
        }));
    }
}

/// A topic and all that lies below it, in the order of topics.
fn extent(prefix: Option<&str>) -> Result<(Vec<u8>, Option<Vec<u8>>), ApiError> {
    let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else { return Ok(Pattern::All.extent()) };
    let wrong = |error| ApiError::bad_request(format!("prefix={prefix}: {error}"));
    Ok(Pattern::Subtree(Topic::new(prefix).map_err(wrong)?).extent())
}

impl Source {
    fn new(of: Namespace, page: u16, from: &[u8], to: Option<&[u8]>) -> Result<Source, ApiError> {
        let key = |name: &[u8]| Key::new(of, name).map_err(ApiError::bad_request);
        let hi = match to {
            Some(to) => Some(key(to)?),
            None => end_of_prefix(&key(b"")?),
        };
        Ok(Source { of, page, hi, rest: Some(key(from)?), read: VecDeque::new() })
    }

    /// The place of the next item, in the order of topics.
    async fn place(&mut self, agent: &Arc<Agent>, readings: &mut usize) -> Result<Option<Vec<u8>>, ApiError> {
        while self.read.is_empty() {
            let Some(from) = self.rest.take() else { return Ok(None) };
            *readings += 1;
            if *readings > READINGS_MAX {
                let error = "more lies there than one answer can tell of: name a longer prefix";
                return Err(ApiError::definite(StatusCode::PAYLOAD_TOO_LARGE, error));
            }
            let action = Action::Scan { hi: self.hi.clone(), limit: self.page };
            if let Success::Scanned { found, next } = items::operate(agent, from, action).await? {
                self.read.extend(found);
                self.rest = next;
            }
        }
        let key = self.read.front().map(|found| found.key.as_bytes().get(1..).unwrap_or_default());
        // No topic has a zero byte: what stands behind it are the kind of the pattern and the server.
        Ok(key.map(|key| key.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()))
    }
}

/// What an item says, if it may say it.
fn add(rows: &mut BTreeMap<String, Row>, of: Namespace, found: Found) {
    let left_s = found.left.as_micros() / 1_000_000;
    let item = pubsub::item(found);
    if of == Namespace::RETAINED {
        if let Some(value) = keeper::retained(&item) {
            let row = rows.entry(value.topic.text().into_owned()).or_default();
            row.retained = Some((payload_bytes(&value), left_s));
        }
    } else if let Some((interest, server)) = item.read() {
        let row = rows.entry(interest.pattern.text().into_owned()).or_default();
        row.groups.extend(interest.group);
        let servers = if of == Namespace::SUBSCRIBERS { &mut row.subscribers } else { &mut row.publishers };
        servers.insert(server.id);
    }
}

fn payload_bytes(value: &Arrival) -> usize {
    match Framer::new(PAYLOAD_MAX_BYTES).next(&value.plain) {
        (_, Step::Frame(frame)) => frame.payload.len(),
        _ => 0,
    }
}
