//! The changes of one update as a client writes them: a line for each topic, with its value behind it.

use alloc::vec::Vec;
use core::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::frame::trimmed;
use crate::words::{Words, number};
use crate::{Fault, HashId, LINE_MAX_BYTES, Pattern, Topic, UPDATE_MAX_BYTES, UPDATE_TOPICS_MAX};

/// What one update does: each of its topics once, in their order on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub changes: Vec<Change>,
    /// Of each change its place in the request.
    pub(super) order: Vec<usize>,
}

/// One topic of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub topic: Topic<'static>,
    pub expected: Expected,
    pub what: What,
}

/// What the update is made only if it is the last value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Any,
    /// There is none.
    Absent,
    /// The event with this name.
    Is(HashId),
}

/// What becomes of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It stays; only the condition matters.
    Keep,
    /// This takes its place; nothing: there is none any more.
    Set(Bytes),
}

impl Update {
    /// # Errors
    /// No topics, too many, one twice, or too many bytes.
    pub fn new(changes: Vec<Change>) -> Result<Update, Fault> {
        let bytes: usize = changes.iter().map(Change::len_bytes).sum();
        if changes.is_empty() || changes.len() > UPDATE_TOPICS_MAX || bytes > UPDATE_MAX_BYTES {
            return Err(Fault::UpdateTooLarge);
        }
        let mut sorted: Vec<(usize, Change)> = changes.into_iter().enumerate().collect();
        sorted.sort_by_cached_key(|(_, change)| change.topic.order_key());
        if sorted.windows(2).any(|two| two[0].1.topic == two[1].1.topic) {
            return Err(Fault::BadValue("UPDATE", "each topic once"));
        }
        let (order, changes) = sorted.into_iter().unzip();
        Ok(Update { changes, order })
    }

    /// Reads the payload of an `UPDATE`.
    pub(crate) fn parse(mut payload: &[u8]) -> Result<Update, Fault> {
        let mut changes = Vec::new();
        while !payload.is_empty() {
            let end = memchr(b'\n', payload).filter(|end| *end < LINE_MAX_BYTES).ok_or(Fault::OpenChange)?;
            let (line, rest) = payload.split_at(end + 1);
            let (change, rest) = change(trimmed(line), rest)?;
            changes.push(change);
            if changes.len() > UPDATE_TOPICS_MAX {
                return Err(Fault::UpdateTooLarge);
            }
            payload = rest;
        }
        Update::new(changes)
    }
}

impl Change {
    fn len_bytes(&self) -> usize {
        let value = match &self.what {
            What::Keep => 0,
            What::Set(value) => value.len(),
        };
        self.topic.as_str().len() + value
    }
}

/// One line, and the value and its line end behind it.
fn change<'a>(line: &[u8], rest: &'a [u8]) -> Result<(Change, &'a [u8]), Fault> {
    let mut words = Words::new(line);
    let topic = words.topic()?.into_owned();
    let expected = match words.next_word() {
        Some(b"any") => Expected::Any,
        Some(b"absent") => Expected::Absent,
        word => match word.and_then(HashId::parse) {
            Some(id) => Expected::Is(id),
            None => return Err(Fault::BadValue("UPDATE", "any, absent or 32 hex digits after a topic")),
        },
    };
    let what = words.next_word();
    words.end()?;
    if what == Some(b"keep") {
        return Ok((Change { topic, expected, what: What::Keep }, rest));
    }
    let len: usize =
        what.and_then(number).ok_or(Fault::BadValue("UPDATE", "keep, or the length of a value"))?;
    let (value, rest) = rest.split_at_checked(len).ok_or(Fault::OpenChange)?;
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).ok_or(Fault::OpenChange)?;
    let what = What::Set(Bytes::copy_from_slice(value));
    Ok((Change { topic, expected, what }, rest))
}

/// Writes a request to make an update: for clients.
pub fn write_update(out: &mut BytesMut, operation: &str, changes: &[Change]) {
    let mut payload = BytesMut::new();
    for Change { topic, expected, what } in changes {
        let _ = write!(payload, "{} ", Pattern::Topic(topic.clone()));
        let _ = match expected {
            Expected::Any => write!(payload, "any "),
            Expected::Absent => write!(payload, "absent "),
            Expected::Is(id) => write!(payload, "{id} "),
        };
        match what {
            What::Keep => payload.extend_from_slice(b"keep\r\n"),
            What::Set(value) => {
                let _ = write!(payload, "{}\r\n", value.len());
                payload.extend_from_slice(value);
                payload.extend_from_slice(b"\r\n");
            }
        }
    }
    let _ = write!(out, "UPDATE {operation}\r\nPayload-length: {}\r\n", payload.len());
    out.extend_from_slice(&payload);
    out.extend_from_slice(b"\r\n");
}
