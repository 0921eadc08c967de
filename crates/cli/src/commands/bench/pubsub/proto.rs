//! What the generator says and hears in each protocol.
//!
//! A server says the same thing millions of times: events of one topic and one length. Their head is known
//! before the first comes, so that a frame is walked over by its length. All else is read with care.

#[cfg(test)]
mod tests;

use bytes::BytesMut;
use clap::ValueEnum;
use memchr::memchr;
use xtreem_pubsub::{Framer, HashId, Pattern, Reply, TopicError, write_publish};

/// A protocol that the generator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Proto {
    Xtreem,
    Nats,
    Redis,
}

/// What a client says when it is connected.
pub struct Hello {
    pub bytes: Vec<u8>,
    /// How often the server says [`Step::Ready`] to it.
    pub answers: usize,
}

/// A request to publish, as it is written again and again.
pub struct Template {
    pub bytes: Vec<u8>,
    /// Where the payload begins.
    pub payload: usize,
}

/// What stands at the front of what was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A message: its payload.
    Message(&'a [u8]),
    /// What was asked is done.
    Ready,
    /// The server wants to hear [`Proto::pong`].
    Ping,
    /// Something that says nothing here.
    Other,
    /// The server says no, in its words; or what it says is not understood.
    Refused(String),
    /// Nothing whole.
    More,
}

impl Proto {
    pub fn name(self) -> &'static str {
        match self {
            Proto::Xtreem => "xtreem",
            Proto::Nats => "nats",
            Proto::Redis => "redis",
        }
    }

    /// Of a client that subscribes to `topic`, or only publishes.
    pub fn hello(self, topic: Option<&str>) -> Hello {
        let said = match (self, topic) {
            (Proto::Xtreem, None) => "CONNECT ok\r\n".to_owned(),
            (Proto::Xtreem, Some(topic)) => format!("CONNECT ok\r\nSUBSCRIBE \"{topic}\"\r\n"),
            (Proto::Nats, _) => {
                let subscribe = topic.map_or(String::new(), |topic| format!("SUB {topic} 1\r\n"));
                format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{subscribe}PING\r\n")
            }
            (Proto::Redis, None) => "*1\r\n$4\r\nPING\r\n".to_owned(),
            (Proto::Redis, Some(topic)) => {
                format!("*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{topic}\r\n", topic.len())
            }
        };
        let answers = if self == Proto::Xtreem && topic.is_some() { 2 } else { 1 };
        Hello { bytes: said.into_bytes(), answers }
    }

    /// Publishes `len` bytes to `topic`.
    pub fn publish(self, topic: &str, len: usize) -> Result<Template, TopicError> {
        let payload = vec![b'x'; len];
        let mut bytes = BytesMut::new();
        match self {
            Proto::Xtreem => write_publish(&mut bytes, &Pattern::new(topic)?, "", &payload),
            Proto::Nats => {
                bytes.extend_from_slice(format!("PUB {topic} {len}\r\n").as_bytes());
                bytes.extend_from_slice(&payload);
                bytes.extend_from_slice(b"\r\n");
            }
            Proto::Redis => {
                let topic_len = topic.len();
                let head = format!("*3\r\n$7\r\nPUBLISH\r\n${topic_len}\r\n{topic}\r\n${len}\r\n");
                bytes.extend_from_slice(head.as_bytes());
                bytes.extend_from_slice(&payload);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        Ok(Template { payload: bytes.len() - len - 2, bytes: bytes.to_vec() })
    }

    /// The answer to [`Step::Ping`].
    pub fn pong(self) -> &'static [u8] {
        match self {
            Proto::Nats => b"PONG\r\n",
            Proto::Xtreem | Proto::Redis => b"",
        }
    }
}

/// Walks over what one server says to one client.
pub struct Walker {
    proto: Proto,
    /// The head of the messages that are expected: up to something of a known length, that length, and what
    /// follows it.
    before: Vec<u8>,
    varying: usize,
    after: Vec<u8>,
    payload_len: usize,
    framer: Framer,
}

impl Walker {
    /// For messages of `len` bytes to `topic`.
    pub fn new(proto: Proto, topic: &str, len: usize) -> Walker {
        let (before, varying, after) = match proto {
            Proto::Xtreem => {
                (format!("EVENT \"{topic}\" "), HASH_ID_LEN, format!("\r\nPayload-length: {len}\r\n"))
            }
            Proto::Nats => (format!("MSG {topic} 1 {len}\r\n"), 0, String::new()),
            Proto::Redis => {
                let head = format!("*3\r\n$7\r\nmessage\r\n${}\r\n{topic}\r\n${len}\r\n", topic.len());
                (head, 0, String::new())
            }
        };
        let framer = Framer::new(xtreem_pubsub::PAYLOAD_MAX_BYTES);
        let (before, after) = (before.into_bytes(), after.into_bytes());
        Walker { proto, before, varying, after, payload_len: len, framer }
    }

    /// Bytes of one message that is expected.
    pub fn frame_len(&self) -> usize {
        self.head_len() + self.payload_len + 2
    }

    fn head_len(&self) -> usize {
        self.before.len() + self.varying + self.after.len()
    }

    /// How many bytes of `input` are done with, and what they say.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Step<'a>) {
        if input.is_empty() {
            return (0, Step::More);
        }
        if self.may_be_expected(input) {
            let len = self.frame_len();
            let Some(frame) = input.get(..len) else { return (0, Step::More) };
            if frame.ends_with(b"\r\n") {
                return (len, Step::Message(&frame[self.head_len()..len - 2]));
            }
        }
        match self.proto {
            Proto::Xtreem => xtreem(&mut self.framer, input),
            Proto::Nats => nats(input),
            Proto::Redis => redis(input),
        }
    }

    /// Whether what is expected begins like this, as far as it is there. Once this is not so it stays so
    /// when more is read: nothing is begun in one way and ended in the other.
    fn may_be_expected(&self, input: &[u8]) -> bool {
        let is_begin = |of: &[u8], rest: &[u8]| {
            let len = of.len().min(rest.len());
            of[..len] == rest[..len]
        };
        is_begin(&self.before, input)
            && is_begin(&self.after, input.get(self.before.len() + self.varying..).unwrap_or_default())
    }
}

/// Digits of what names an event.
const HASH_ID_LEN: usize = size_of::<HashId>() * 2;

fn xtreem<'a>(framer: &mut Framer, input: &'a [u8]) -> (usize, Step<'a>) {
    let (taken, step) = framer.next(input);
    let step = match step {
        xtreem_pubsub::Step::More(_) => Step::More,
        xtreem_pubsub::Step::Frame(frame) => match Reply::parse(frame) {
            Ok(Reply::Event(event)) => Step::Message(event.payload),
            Ok(Reply::Ok(_)) => Step::Ready,
            // Messages have numbers: what is lost is seen without it. No value is read.
            Ok(Reply::Lost(..) | Reply::Value(_)) => Step::Other,
            Ok(Reply::Error(code, words)) => Step::Refused(format!("{code}: {words}")),
            Err(fault) => Step::Refused(fault.to_string()),
        },
        xtreem_pubsub::Step::Refused(fault) | xtreem_pubsub::Step::Broken(fault) => {
            Step::Refused(fault.to_string())
        }
    };
    (taken, step)
}

fn nats(input: &[u8]) -> (usize, Step<'_>) {
    let Some((line, end)) = line(input) else { return (0, Step::More) };
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let step = match verb {
        b"MSG" => {
            let len = line.rsplit(|byte| *byte == b' ').next().and_then(number);
            let Some(len) = len else { return (end, not_understood(line)) };
            return payload(input, end, len)
                .map_or((0, Step::More), |(payload, end)| (end, Step::Message(payload)));
        }
        b"PING" => Step::Ping,
        b"PONG" => Step::Ready,
        b"INFO" | b"+OK" => Step::Other,
        b"-ERR" => Step::Refused(shown(line)),
        _ => not_understood(line),
    };
    (end, step)
}

fn redis(input: &[u8]) -> (usize, Step<'_>) {
    let Some((first, mut end)) = line(input) else { return (0, Step::More) };
    let step = match first.split_first() {
        Some((b'+', b"PONG")) => Step::Ready,
        Some((b'+' | b':', _)) => Step::Other,
        Some((b'-', words)) => Step::Refused(shown(words)),
        Some((b'*', count)) => {
            let Some(count) = number(count).filter(|count| *count <= ELEMENTS_MAX) else {
                return (end, not_understood(first));
            };
            let (mut kind, mut last): (&[u8], &[u8]) = (b"", b"");
            for at in 0..count {
                let Some((head, head_end)) = input.get(end..).and_then(line) else { return (0, Step::More) };
                end += head_end;
                let element = match head.split_first() {
                    Some((b':', number)) => number,
                    Some((b'$', len)) => {
                        let Some(len) = number(len) else { return (end, not_understood(head)) };
                        let Some((bytes, bytes_end)) = payload(input, end, len) else {
                            return (0, Step::More);
                        };
                        end = bytes_end;
                        bytes
                    }
                    _ => return (end, not_understood(head)),
                };
                if at == 0 {
                    kind = element;
                }
                last = element;
            }
            match kind {
                b"message" => Step::Message(last),
                b"subscribe" => Step::Ready,
                _ => Step::Other,
            }
        }
        _ => not_understood(first),
    };
    (end, step)
}

/// Elements of an array of Redis: a message has three.
const ELEMENTS_MAX: usize = 8;

/// The first line without its end, and where the next one begins.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr(b'\n', input)?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// So many bytes from `at` on, and where the line end behind them ends.
fn payload(input: &[u8], at: usize, len: usize) -> Option<(&[u8], usize)> {
    let end = at.checked_add(len)?.checked_add(2)?;
    (input.len() >= end).then(|| (&input[at..end - 2], end))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn not_understood(line: &[u8]) -> Step<'static> {
    Step::Refused(format!("`{}` is not understood", shown(line)))
}

/// The beginning of a line, for people.
fn shown(line: &[u8]) -> String {
    line[..line.len().min(120)].escape_ascii().to_string()
}
