//! `GET /v1/ring`: this node's place on the ring of all nodes. `GET /v1/ring/owner`: who owns a key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant as Moment, timeout};
use xtreem_base::{Duration, Handle, Instant};
use xtreem_client::api::{RingMember, RingOwner, RingRange, RingReply};
use xtreem_net::{Contacts, Named, NamesPeers};
use xtreem_node::{Event, Node};
use xtreem_overlay::ring::{self, Contact};
use xtreem_overlay::{KEY_MAX, Key, overlay};

use super::error::ApiError;
use crate::agent::Agent;
use crate::waiting::Topic;

/// A node's part of the ring at one moment.
struct Place {
    key: Option<Key>,
    owns: Option<RingRange>,
    predecessor: Option<Contact>,
    successors: Vec<Contact>,
    rows: Vec<ring::Row>,
    candidates: usize,
}

impl Place {
    fn of(node: &Node, now: Instant) -> Place {
        let ring = node.ring();
        let lease = ring.lease().filter(|lease| lease.is_valid(now));
        Place {
            key: ring.position().map(|position| position.key.clone()),
            owns: lease.map(|lease| owned(lease, now)),
            predecessor: ring.predecessor().cloned(),
            successors: ring.successors().to_vec(),
            rows: (0..ring.row_count()).map(|level| ring.row(level)).collect(),
            candidates: node.overlay().known(),
        }
    }
}

impl NamesPeers for Place {
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        let rows = self.rows.iter().flatten().flatten();
        let all = self.predecessor.iter().chain(&self.successors).chain(rows);
        all.for_each(|contact| f(contact.handle));
    }
}

pub(super) async fn show(State(agent): State<Arc<Agent>>) -> Result<Json<RingReply>, ApiError> {
    let Named { what: place, contacts } = agent.net.call_named(|node, now, _| Place::of(node, now)).await?;
    let named = |contact: &Contact| member(contact, &contacts);
    let row = |row: &ring::Row| row.iter().map(|entry| entry.as_ref().and_then(named)).collect();
    Ok(Json(RingReply {
        key: place.key.as_ref().map(hex),
        predecessor: place.predecessor.as_ref().and_then(named),
        successors: place.successors.iter().filter_map(named).collect(),
        rows: place.rows.iter().map(row).collect(),
        candidates: place.candidates,
        owns: place.owns,
    }))
}

fn member(contact: &Contact, contacts: &Contacts) -> Option<RingMember> {
    let known = contacts.of(contact.handle)?;
    let (id, address) = (known.id.to_string(), known.addr.to_string());
    Some(RingMember { id, address, key: hex(&contact.position.key) })
}

pub(super) fn owned(lease: &ring::Lease, now: Instant) -> RingRange {
    RingRange {
        after: hex(&lease.range().after.key),
        epoch: lease.epoch(),
        lease_ms: (lease.until() != Instant::FAR).then(|| lease.until().since(now).as_millis()),
    }
}

pub(super) fn hex(key: &Key) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as its namespace and its bytes in hexadecimal.
fn key(text: &str) -> Result<Key, ApiError> {
    let wrong = || {
        let error = format!("key={text}: want an even number of hexadecimal digits, {} at most", 2 * KEY_MAX);
        ApiError::bad_request(error)
    };
    Key::from_bytes(&unhexed(text).ok_or_else(wrong)?).map_err(|_| wrong())
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn unhexed(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[derive(Deserialize)]
pub(super) struct Asked {
    key: String,
}

pub(super) async fn owner(
    State(agent): State<Arc<Agent>>,
    Query(Asked { key: text }): Query<Asked>,
) -> Result<Json<RingOwner>, ApiError> {
    let (key, begin, waiting) = (key(&text)?, Moment::now(), agent.waiting.clone());
    let started = agent
        .node(move |node, now, out| waiting.subscribe_to(|| node.find_owner(now, key, out).map(Topic::Owner)))
        .await?;
    let mut events =
        started?.map_err(|too_many| ApiError::definite(StatusCode::TOO_MANY_REQUESTS, too_many))?;
    let limit = ring::Ring::lookup_limit(&ring::Config::default()) + Duration::from_secs(1);
    let event = timeout(std::time::Duration::from_micros(limit.as_micros()), events.event()).await;
    let found = match event {
        Ok(Named { what: Event::Ring(overlay::Event::Ring(ring::Event::Found { owner, .. })), contacts }) => {
            Some((owner, contacts))
        }
        _ => None,
    };
    let own = agent.net.own_contact();
    let found = found.and_then(|(owner, contacts)| {
        // Of itself a node has no contact.
        let named = member(&owner.contact, &contacts).or_else(|| {
            let is_own = owner.range.to.id == own.id;
            let key = hex(&owner.range.to.key);
            is_own.then(|| RingMember { id: own.id.to_string(), address: own.addr.to_string(), key })
        })?;
        Some(RingOwner {
            owner: named,
            after: hex(&owner.range.after.key),
            epoch: owner.epoch,
            hops: owner.hops,
            micros: begin.elapsed().as_micros() as u64,
        })
    });
    let nobody = "nobody answered as the owner of this key; the ring may be mending itself: try again";
    found.map(Json).ok_or_else(|| ApiError::definite(StatusCode::SERVICE_UNAVAILABLE, nobody))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_anything_else_is_refused() {
        let read = key("01ff00").expect("a key");
        assert_eq!((read.as_bytes(), hex(&read)), (&[1, 255, 0][..], "01ff00".to_owned()));
        for wrong in ["0", "0x", "+1", "ä1", &"00".repeat(KEY_MAX + 1)] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
