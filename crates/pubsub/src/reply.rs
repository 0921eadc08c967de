//! What a server says: events, and what a client asked to be told.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Write as _;

use bytes::BytesMut;

use crate::frame::{Frame, named, trimmed};
use crate::words::{Words, number, shown, word};
use crate::{Fault, HashId, Pattern, Topic};

/// One thing that a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    Event(Event<'a>),
    /// The last value of a topic that was read: written as an event.
    Value(Event<'a>),
    /// `OK VERB ...`: what was done, as [`write_ok`] wrote it.
    Ok(&'a [u8]),
    /// `LOST "topic" n`: so many events of the topic did not come.
    Lost(Pattern<'a>, u64),
    /// `ERROR code "words"`
    Error(&'a str, alloc::borrow::Cow<'a, str>),
}

/// An event as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What it was published to: one topic, or several.
    pub topic: Pattern<'a>,
    pub id: HashId,
    pub headers: EventHeaders<'a>,
    pub payload: &'a [u8],
}

/// What only comes to clients that asked for headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventHeaders<'a> {
    /// It was kept from before the subscription.
    pub is_retained: bool,
    /// The publisher's own number.
    pub sequence: Option<u64>,
    pub reply_to: Option<Topic<'a>>,
    /// Who published it, as the agent that took it says.
    pub publisher: Option<&'a str>,
}

impl<'a> Reply<'a> {
    /// # Errors
    /// What a server does not say.
    pub fn parse(frame: Frame<'a>) -> Result<Reply<'a>, Fault> {
        let mut words = Words::new(frame.line);
        match words.next_word() {
            Some(verb @ (b"EVENT" | b"VALUE")) => {
                let topic = words.pattern()?;
                let id = words.next_word().and_then(HashId::parse);
                let id = id.ok_or(Fault::BadValue("EVENT", "32 hex digits"))?;
                words.end()?;
                let headers = headers(frame.headers)?;
                let event = Event { topic, id, headers, payload: frame.payload };
                Ok(if verb == b"EVENT" { Reply::Event(event) } else { Reply::Value(event) })
            }
            Some(b"OK") => Ok(Reply::Ok(frame.line[2..].trim_ascii())),
            Some(b"LOST") => {
                let topic = words.pattern()?;
                let count = words.next_word().and_then(number);
                Ok(Reply::Lost(topic, count.ok_or(Fault::BadValue("LOST", "a number"))?))
            }
            Some(b"ERROR") => {
                let code = word(words.next_word().unwrap_or_default(), "ERROR")?;
                Ok(Reply::Error(code, words.quoted()?))
            }
            _ => Err(Fault::UnknownVerb),
        }
    }
}

fn headers(lines: &[u8]) -> Result<EventHeaders<'_>, Fault> {
    let mut headers = EventHeaders::default();
    for header in lines.split_inclusive(|byte| *byte == b'\n').map(trimmed) {
        if let Some(value) = named(header, b"Retained") {
            headers.is_retained = value == b"yes";
        } else if let Some(value) = named(header, b"Sequence") {
            headers.sequence = Some(number(value).ok_or(Fault::BadValue("Sequence", "a number"))?);
        } else if let Some(value) = named(header, b"Reply-to") {
            headers.reply_to = Some(Words::new(value).topic()?);
        } else if let Some(value) = named(header, b"Publisher") {
            headers.publisher = Some(word(value, "Publisher")?);
        } else if !header.contains(&b':') {
            return Err(Fault::UnknownHeader(shown(header)));
        }
    }
    Ok(headers)
}

/// Writes events of one topic: what does not change from one to the next is written once.
#[derive(Clone, Debug)]
pub struct EventWriter {
    /// `EVENT "topic" `
    head: Vec<u8>,
}

impl EventWriter {
    pub fn new(topic: &Pattern<'_>) -> EventWriter {
        EventWriter { head: format!("EVENT {topic} ").into_bytes() }
    }

    /// Adds one event to `out`.
    pub fn write(&self, out: &mut BytesMut, id: HashId, headers: Option<&EventHeaders<'_>>, payload: &[u8]) {
        out.reserve(self.head.len() + payload.len() + 80);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&id.digits());
        out.extend_from_slice(b"\r\n");
        if let Some(headers) = headers {
            write_headers(out, headers);
        }
        out.extend_from_slice(b"Payload-length: ");
        write_number(out, payload.len() as u64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_headers(out: &mut BytesMut, headers: &EventHeaders<'_>) {
    if headers.is_retained {
        out.extend_from_slice(b"Retained: yes\r\n");
    }
    if let Some(sequence) = headers.sequence {
        let _ = write!(out, "Sequence: {sequence}\r\n");
    }
    if let Some(topic) = &headers.reply_to {
        let _ = write!(out, "Reply-to: {}\r\n", Pattern::Topic(topic.clone()));
    }
    if let Some(publisher) = headers.publisher {
        let _ = write!(out, "Publisher: {publisher}\r\n");
    }
}

/// `OK what`, such as `OK SUBSCRIBE "a/b"`.
pub fn write_ok(out: &mut BytesMut, what: core::fmt::Arguments<'_>) {
    let _ = write!(out, "OK {what}\r\n");
}

pub fn write_lost(out: &mut BytesMut, topic: &Pattern<'_>, count: u64) {
    let _ = write!(out, "LOST {topic} {count}\r\n");
}

/// `words` are for people: what was wrong, and what to do.
pub fn write_error(out: &mut BytesMut, code: &str, words: &str) {
    let _ = write!(out, "ERROR {code} \"");
    for character in words.chars() {
        match character {
            '"' | '\\' => {
                out.extend_from_slice(&[b'\\', character as u8]);
            }
            character if character.is_control() => out.extend_from_slice(b" "),
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.extend_from_slice(b"\"\r\n");
}

/// Writes a request to publish: for clients.
pub fn write_publish(out: &mut BytesMut, to: &Pattern<'_>, headers: &str, payload: &[u8]) {
    let _ = write!(out, "PUBLISH {to}\r\n{headers}Payload-length: {}\r\n", payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

fn write_number(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
