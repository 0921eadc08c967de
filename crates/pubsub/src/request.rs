//! What a client asks: requests as checked types.

use core::time::Duration;

use crate::frame::{Frame, named, trimmed};
use crate::update::Update;
use crate::words::{Words, number, shown, word};
use crate::{Fault, LEASE_MAX_SECONDS, Pattern, REPLAY_MAX, Topic};

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `SUBSCRIBE "topic" [lease=S] [group=NAME] [replay=N|SECONDSs]`
    Subscribe(Pattern<'a>, Options<'a>),
    /// `CANCEL "topic"`
    Cancel(Pattern<'a>),
    /// `PUBLISH "topic"`, headers, payload.
    Publish(Publish<'a>),
    /// `READ "topic"`: its last value is wanted, once.
    Read(Topic<'a>),
    /// `UPDATE operation`, and its changes as payload.
    Update(&'a str, Update),
    /// `AUTH token`
    Auth(&'a str),
    /// `CONNECT [ok] [lost] [headers] [slow=oldest|newest|end] [as=NAME]`
    Connect(Wishes<'a>),
}

/// What stands behind the topic of a `SUBSCRIBE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// The subscription ends by itself after so long, unless it is made anew. Without: with its connection.
    pub lease: Option<Duration>,
    /// Each event goes to one member of the group.
    pub group: Option<&'a str>,
    pub replay: Option<Replay>,
}

/// Which old events a new subscriber wants, as far as they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The newest of each topic, so many.
    Last(u32),
    /// What is not older.
    Since(Duration),
}

/// What is published, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub to: Pattern<'a>,
    /// `Retain: yes`: the last such event of a topic is kept, and each new subscriber gets it. An empty one
    /// ends that.
    pub is_retained: bool,
    /// `Sequence: N`: a number of the publisher's own. The same number again is the same event.
    pub sequence: Option<u64>,
    /// `Ack: WORD`: an `OK PUBLISH WORD` is wanted once the event is on its way for sure.
    pub ack: Option<&'a str>,
    /// `Reply-to: "topic"`: where an answer is awaited.
    pub reply_to: Option<Topic<'a>>,
    pub payload: &'a [u8],
}

/// What a client wants to be told beyond events and errors, and who it says it is among those of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// `OK` lines.
    pub ok: bool,
    /// `LOST` lines.
    pub lost: bool,
    /// Header lines of events beyond the length.
    pub headers: bool,
    /// Names a publisher over several connections, so that a retry after a broken one is known as one.
    pub name: Option<&'a str>,
    pub slow: Slow,
}

/// What becomes of events when more wait for a connection than its queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// The oldest that wait are let go: who is slow sees the newest.
    #[default]
    Oldest,
    /// The new ones are let go.
    Newest,
    /// The connection ends.
    End,
}

impl<'a> Request<'a> {
    /// Reads a request. The stream is in step behind it, whatever comes out.
    ///
    /// # Errors
    /// It is none: what is wrong with it.
    pub fn parse(frame: Frame<'a>) -> Result<Request<'a>, Fault> {
        let (verb, rest) = split_verb(frame.line);
        let mut words = Words::new(rest);
        match verb {
            b"PUBLISH" => Ok(Request::Publish(publish(words, frame)?)),
            b"SUBSCRIBE" => {
                let pattern = words.pattern()?;
                Ok(Request::Subscribe(pattern, options(&mut words)?))
            }
            b"READ" => {
                let topic = words.topic()?;
                words.end()?;
                Ok(Request::Read(topic))
            }
            b"UPDATE" => {
                let operation = word(words.next_word().unwrap_or_default(), "UPDATE")?;
                words.end()?;
                if !frame.headers.is_empty() {
                    return Err(Fault::UnknownHeader(shown(trimmed(frame.headers))));
                }
                Ok(Request::Update(operation, Update::parse(frame.payload)?))
            }
            b"CANCEL" => {
                let pattern = words.pattern()?;
                words.end()?;
                Ok(Request::Cancel(pattern))
            }
            b"AUTH" => {
                let is_good = |token: &&[u8]| token.len() <= 1_024 && token.iter().all(u8::is_ascii_graphic);
                let token =
                    words.next_word().filter(is_good).and_then(|token| core::str::from_utf8(token).ok());
                let token = token.ok_or(Fault::BadValue("AUTH", "a token"))?;
                words.end()?;
                Ok(Request::Auth(token))
            }
            b"CONNECT" => Ok(Request::Connect(wishes(&mut words)?)),
            _ => Err(Fault::UnknownVerb),
        }
    }
}

/// The verb and what comes after it: a quote or a bracket may stand right behind it.
fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(line.len());
    line.split_at(end)
}

fn publish<'a>(mut words: Words<'a>, frame: Frame<'a>) -> Result<Publish<'a>, Fault> {
    let to = words.pattern()?;
    words.end()?;
    let mut publish =
        Publish { to, is_retained: false, sequence: None, ack: None, reply_to: None, payload: frame.payload };
    if frame.headers.is_empty() {
        return Ok(publish);
    }
    for header in frame.headers.split_inclusive(|byte| *byte == b'\n').map(trimmed) {
        if let Some(value) = named(header, b"Retain") {
            publish.is_retained = match value {
                b"yes" => true,
                b"no" => false,
                _ => return Err(Fault::BadValue("Retain", "yes or no")),
            };
        } else if let Some(value) = named(header, b"Sequence") {
            publish.sequence = Some(number(value).ok_or(Fault::BadValue("Sequence", "a number"))?);
        } else if let Some(value) = named(header, b"Ack") {
            publish.ack = Some(word(value, "Ack")?);
        } else if let Some(value) = named(header, b"Reply-to") {
            let mut words = Words::new(value);
            publish.reply_to = Some(words.topic()?);
            words.end()?;
        } else {
            let name = header.split(|byte| *byte == b':').next().unwrap_or(header);
            return Err(Fault::UnknownHeader(shown(name)));
        }
    }
    Ok(publish)
}

fn options<'a>(words: &mut Words<'a>) -> Result<Options<'a>, Fault> {
    let mut options = Options::default();
    while let Some(option) = words.next_word() {
        if let Some(value) = option.strip_prefix(b"lease=") {
            let seconds = number(value).filter(|seconds| (1..=LEASE_MAX_SECONDS).contains(seconds));
            options.lease = Some(Duration::from_secs(seconds.ok_or(Fault::BadLease)?.into()));
        } else if let Some(value) = option.strip_prefix(b"group=") {
            options.group = Some(word(value, "group=")?);
        } else if let Some(value) = option.strip_prefix(b"replay=") {
            options.replay = Some(replay(value)?);
        } else {
            return Err(Fault::UnknownOption(shown(option)));
        }
    }
    Ok(options)
}

fn replay(value: &[u8]) -> Result<Replay, Fault> {
    let fault = Fault::BadValue("replay=", "a number of events, or seconds as in 10s");
    match value.strip_suffix(b"s") {
        Some(seconds) => match number::<u32>(seconds) {
            Some(seconds) => Ok(Replay::Since(Duration::from_secs(seconds.into()))),
            None => Err(fault),
        },
        None => number(value).map(|count: u32| Replay::Last(count.min(REPLAY_MAX))).ok_or(fault),
    }
}

fn wishes<'a>(words: &mut Words<'a>) -> Result<Wishes<'a>, Fault> {
    let mut wishes = Wishes::default();
    while let Some(wish) = words.next_word() {
        match wish {
            b"ok" => wishes.ok = true,
            b"lost" => wishes.lost = true,
            b"headers" => wishes.headers = true,
            b"slow=oldest" => wishes.slow = Slow::Oldest,
            b"slow=newest" => wishes.slow = Slow::Newest,
            b"slow=end" => wishes.slow = Slow::End,
            _ => match wish.strip_prefix(b"as=") {
                Some(name) => wishes.name = Some(word(name, "as=")?),
                None => return Err(Fault::UnknownOption(shown(wish))),
            },
        }
    }
    Ok(wishes)
}
