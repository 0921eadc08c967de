//! What an item with past events says, and which of them a subscriber gets.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Duration, Instant, NodeId};

use super::Kept;
use crate::relay::Arrival;
use crate::{Framer, HashId, PAYLOAD_MAX_BYTES, Pattern, REPLAY_MAX, Replay, Reply, Step};

/// Between the topic and the server in a key, as where servers say what they want.
pub(super) const END: u8 = 0;

/// One event, as it is sent with all headers.
#[derive(Clone, Debug)]
pub(super) struct Entry(pub Bytes);

impl Entry {
    /// With its length and age.
    pub(super) fn len_bytes(&self) -> usize {
        self.0.len() + 8
    }
}

/// One event that was kept.
#[derive(Clone, Debug)]
pub(super) struct Past {
    age: Duration,
    id: HashId,
    arrival: Arrival,
}

impl Past {
    pub(super) fn len_bytes(&self) -> usize {
        self.arrival.full.len()
    }
}

/// An item: its number among those of its topic and server, its lease in seconds, and of each event its age
/// in milliseconds and its length. Clocks of servers are not compared: since it was written so much of its
/// lease is gone.
pub(super) fn write(now: Instant, number: u64, lease: Duration, events: &[(Instant, Entry)]) -> Bytes {
    let mut out = Vec::new();
    out.extend(number.to_be_bytes());
    out.extend(((lease.as_micros() / 1_000_000) as u32).to_be_bytes());
    for (at, entry) in events {
        let age = (now.since(*at).as_micros() / 1_000) as u32;
        out.extend(age.to_be_bytes());
        out.extend((entry.0.len() as u32).to_be_bytes());
        out.extend(&entry.0[..]);
    }
    out.into()
}

/// The key of one item of a topic's.
pub fn log_key(topic: &Pattern<'_>, node: NodeId, incarnation: u32, slot: u16) -> Vec<u8> {
    let mut key = topic.extent().0;
    key.push(END);
    key.extend(node.as_bytes());
    key.extend(incarnation.to_be_bytes());
    key.extend(slot.to_be_bytes());
    key
}

/// The events in an item, with its number: nothing of what is not as its server writes it.
pub(super) fn read(kept: &Kept, pattern: &Pattern<'_>) -> Option<(u64, Vec<Past>)> {
    let (number, rest) = kept.item.value.split_first_chunk::<8>()?;
    let (lease, mut rest) = rest.split_first_chunk::<4>()?;
    let lease = Duration::from_secs(u32::from_be_bytes(*lease).into());
    let since = Duration::from_micros(lease.as_micros().saturating_sub(kept.left.as_micros()));
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (age, more) = rest.split_first_chunk::<4>()?;
        let (len, more) = more.split_first_chunk::<4>()?;
        let (event, more) = more.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        rest = more;
        let age = Duration::from_millis(u32::from_be_bytes(*age).into());
        let age = Duration::from_micros(age.as_micros() + since.as_micros());
        let (arrival, id) = (Arrival::one(event)?, id_of(event)?);
        let Pattern::Topic(topic) = &*arrival.topic else { return None };
        let mut place = topic.order_key();
        place.push(END);
        place.extend(kept.item.writer.as_bytes());
        if !kept.item.key.starts_with(&place) {
            return None;
        }
        if pattern.matches(topic.as_str()) && age <= lease {
            found.push(Past { age, id, arrival });
        }
    }
    Some((u64::from_be_bytes(*number), found))
}

/// All events of these items, in the order in which their servers took them. Ages of two items are not exact
/// to the millisecond: no event is younger than those behind it.
pub(super) fn in_order(mut items: Vec<(Vec<u8>, u64, Vec<Past>)>) -> Vec<Past> {
    items.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut found: Vec<Past> = Vec::new();
    for of_one in items.chunk_by_mut(|a, b| a.0 == b.0) {
        let mut age = Duration::ZERO;
        for past in of_one.iter_mut().rev().flat_map(|(.., events)| events.iter_mut().rev()) {
            age = age.max(past.age);
            past.age = age;
        }
        found.extend(of_one.iter_mut().flat_map(|(.., events)| events.drain(..)));
    }
    found
}

fn id_of(event: &[u8]) -> Option<HashId> {
    let (_, Step::Frame(frame)) = Framer::new(PAYLOAD_MAX_BYTES).next(event) else { return None };
    match Reply::parse(frame) {
        Ok(Reply::Event(event)) => Some(event.id),
        _ => None,
    }
}

/// What a subscriber gets of what was found, in the order of the items of each server: the oldest first, and
/// the events of each publisher in their order.
pub(super) fn choose(mut found: Vec<Past>, replay: Replay) -> Vec<Arrival> {
    // Stable: of one age they stay as they were published.
    found.sort_by_key(|past| core::cmp::Reverse(past.age));
    let mut known = BTreeSet::new();
    found.retain(|past| known.insert(past.id));
    match replay {
        Replay::Since(time) => {
            let time = Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX / 1_000));
            found.retain(|past| past.age <= time);
        }
        Replay::Last(count) => {
            let mut left: BTreeMap<Arc<Pattern<'static>>, u32> = BTreeMap::new();
            let mut newest: Vec<Past> = (found.into_iter().rev())
                .filter(|past| {
                    let left = left.entry(past.arrival.topic.clone()).or_insert(count);
                    let is_wanted = *left > 0;
                    *left = left.saturating_sub(1);
                    is_wanted
                })
                .collect();
            newest.reverse();
            found = newest;
        }
    }
    let behind = found.len().saturating_sub(REPLAY_MAX as usize);
    found.drain(..behind);
    found.into_iter().map(|past| past.arrival).collect()
}
