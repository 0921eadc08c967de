//! Answers that come piece by piece: JSON lines, server-sent events, plain bytes.

use std::marker::PhantomData;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::ClientError;
use crate::api::{Dropped, SlotEvent};
use crate::http::{Answer, Connection, with_cause};

/// Longest line of a stream. The longest is a report with 64 clauses of 4 KiB each.
const LINE_MAX_BYTES: usize = 1 << 20;

/// A body as it comes. Dropping it ends the connection.
pub struct Chunks {
    body: Incoming,
    is_read: bool,
    _connection: Connection,
}

impl Chunks {
    pub(crate) fn new(answer: Answer) -> Self {
        Chunks { body: answer.body, is_read: answer.is_read, _connection: answer.connection }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => {
                    let (reason, is_read) = (with_cause(&e), self.is_read);
                    return Err(ClientError::Broken { reason, is_read });
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Cuts a body into lines.
struct Lines {
    chunks: Chunks,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold no line end.
    searched: usize,
}

impl Lines {
    fn new(answer: Answer) -> Self {
        Lines { chunks: Chunks::new(answer), buffer: Vec::new(), searched: 0 }
    }

    /// The next line without its end. A last line without an end is no line: the answer broke off in it.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|&b| b == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_MAX_BYTES {
                let reason = format!("a line has more than {LINE_MAX_BYTES} bytes");
                return Err(ClientError::Malformed { reason, is_read: self.chunks.is_read });
            }
            match self.chunks.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let reason = "it ends in the middle of a line".to_owned();
                    return Err(ClientError::Broken { reason, is_read: self.chunks.is_read });
                }
            }
        }
    }
}

/// An answer of one JSON value a line. Dropping it ends the connection.
pub struct JsonLines<T> {
    lines: Lines,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(crate) fn new(answer: Answer) -> Self {
        JsonLines { lines: Lines::new(answer), values: PhantomData }
    }

    /// The next value; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks or a line is not understood.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            if !line.is_empty() {
                let is_read = self.lines.chunks.is_read;
                let malformed =
                    |e: serde_json::Error| ClientError::Malformed { reason: e.to_string(), is_read };
                return serde_json::from_slice(&line).map(Some).map_err(malformed);
            }
        }
        Ok(None)
    }
}

/// The changes of an application and of its collections (server-sent events, WHATWG HTML section 9.2.6).
/// Dropping it ends the connection.
pub struct Events {
    lines: Lines,
}

impl Events {
    pub(crate) fn new(answer: Answer) -> Self {
        Events { lines: Lines::new(answer) }
    }

    /// The next event; `None` when the agent ends the stream. Events of an unknown name are skipped.
    ///
    /// # Errors
    /// When the connection breaks or an event is not understood.
    pub async fn next(&mut self) -> Result<Option<SlotEvent>, ClientError> {
        let (mut name, mut data) = (String::new(), String::new());
        while let Some(line) = self.lines.next().await? {
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() {
                if let Some(event) = slot_event(&name, &data)? {
                    return Ok(Some(event));
                }
                name.clear();
                data.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value.to_owned(),
                "data" => {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(value);
                    if data.len() > LINE_MAX_BYTES {
                        return Err(malformed(format!("an event has more than {LINE_MAX_BYTES} bytes")));
                    }
                }
                // Comments keep the connection alive; `id` and `retry` mean nothing here.
                _ => {}
            }
        }
        Ok(None)
    }
}

fn slot_event(name: &str, data: &str) -> Result<Option<SlotEvent>, ClientError> {
    let parsed = match name {
        "slot" => serde_json::from_str(data).map(SlotEvent::Slot),
        "lost" => serde_json::from_str(data).map(SlotEvent::Lost),
        "record" => serde_json::from_str(data).map(SlotEvent::Record),
        "collection" => serde_json::from_str(data).map(SlotEvent::Collection),
        "told" => serde_json::from_str(data).map(SlotEvent::Told),
        "dropped" => serde_json::from_str(data).map(|Dropped { dropped }| SlotEvent::Dropped(dropped)),
        _ => return Ok(None),
    };
    parsed.map(Some).map_err(|e| malformed(format!("event {name:?}: {e}")))
}

fn malformed(reason: String) -> ClientError {
    ClientError::Malformed { reason, is_read: true }
}
