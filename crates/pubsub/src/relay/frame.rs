//! What servers say to each other on their streams: four bytes of length, one of kind, eight that number the
//! frame on its stream, and what the kind has.

use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::NodeId;

use super::dealing::OTHERS_MAX;
use super::{Interest, Server};
use crate::Pattern;

/// Bytes of a frame behind its length: what one read of 64 KiB behind the longest payload may hold, with all
/// headers, twice.
pub const FRAME_MAX_BYTES: usize = 4 << 20;
/// Bytes before a frame's kind.
pub const LENGTH_BYTES: usize = 4;

const EVENTS: u8 = b'E';
const LOST: u8 = b'L';
const CHANGED: u8 = b'C';
const PART: u8 = b'P';
const SHARE: u8 = b'G';

/// A server's mark for a list of servers.
pub type Version = u64;

/// Whose events these are: the server that took them of its clients, and its name for this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub id: NodeId,
    pub incarnation: u32,
    pub batch: u64,
}

/// Where a batch stands among all that its origin publishes to one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The origin's name for the topic, for as long as it publishes to it.
    pub line: u64,
    /// Batches of the line that came before.
    pub number: u64,
    /// All whom the line goes to get it from this number on, at least.
    pub since: u64,
}

/// The bytes of a frame: what stands before its events, and they.
pub type Framed = (Vec<u8>, Bytes);

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Events of one topic as `EVENT` frames with all headers. `part`: to be passed on to the rest of the
    /// list that was told under this version; zero: to nobody.
    Events {
        origin: Origin,
        turn: Turn,
        part: Version,
        topic: Arc<Pattern<'static>>,
        count: u32,
        events: Bytes,
    },
    /// Events of one topic for one member each of a group, at this server or, if it has none, at one of the
    /// others.
    Share {
        origin: Origin,
        group: Arc<Interest>,
        others: Arc<[Server]>,
        topic: Arc<Pattern<'static>>,
        count: u32,
        events: Bytes,
    },
    /// So many events of this did not come.
    Lost { topic: Arc<Pattern<'static>>, count: u64 },
    /// The sender of this wants what is published to this from now on.
    Changed { server: Server, wanted: Arc<Interest> },
    /// Events under this version are to be passed on to these.
    Part { version: Version, servers: Arc<[Server]> },
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes: {FRAME_MAX_BYTES} are possible")]
    TooLong(usize),
    #[error("a frame that cannot be read")]
    Malformed,
}

/// The length of what comes, as its first bytes say.
///
/// # Errors
/// It is longer than possible.
pub fn length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(bytes) as usize;
    if len > FRAME_MAX_BYTES { Err(FrameError::TooLong(len)) } else { Ok(len) }
}

impl Body {
    /// Bytes that it takes while it waits.
    pub(super) fn weight(&self) -> usize {
        64 + match self {
            Body::Events { events, .. } => events.len(),
            Body::Share { events, others, .. } => events.len() + 512 + others.len() * Server::BYTES,
            Body::Part { servers, .. } => servers.len() * Server::BYTES,
            Body::Lost { .. } | Body::Changed { .. } => 512,
        }
    }

    /// Events in it.
    pub(super) fn count(&self) -> u64 {
        match self {
            Body::Events { count, .. } | Body::Share { count, .. } => (*count).into(),
            _ => 0,
        }
    }

    pub fn write(&self, number: u64) -> Framed {
        let mut head = Vec::with_capacity(96);
        head.extend([0; LENGTH_BYTES]);
        let kind = match self {
            Body::Events { .. } => EVENTS,
            Body::Lost { .. } => LOST,
            Body::Changed { .. } => CHANGED,
            Body::Part { .. } => PART,
            Body::Share { .. } => SHARE,
        };
        head.push(kind);
        head.extend(number.to_be_bytes());
        let mut tail = Bytes::new();
        match self {
            Body::Events { origin, turn, part, count, events, topic: _ } => {
                write_origin(&mut head, origin);
                for number in [turn.line, turn.number, turn.since] {
                    head.extend(number.to_be_bytes());
                }
                head.extend(part.to_be_bytes());
                head.extend(count.to_be_bytes());
                tail = events.clone();
            }
            Body::Share { origin, group, others, count, events, topic: _ } => {
                write_origin(&mut head, origin);
                head.extend(count.to_be_bytes());
                let group = group.to_string();
                head.extend((group.len() as u16).to_be_bytes());
                head.extend(group.as_bytes());
                head.push(others.len() as u8);
                others.iter().for_each(|server| server.write(&mut head));
                tail = events.clone();
            }
            Body::Lost { topic, count } => {
                head.extend(count.to_be_bytes());
                head.extend(topic.to_string().as_bytes());
            }
            Body::Changed { server, wanted } => {
                server.write(&mut head);
                head.extend(wanted.to_string().as_bytes());
            }
            Body::Part { version, servers } => {
                head.extend(version.to_be_bytes());
                servers.iter().for_each(|server| server.write(&mut head));
            }
        }
        let len = (head.len() - LENGTH_BYTES + tail.len()) as u32;
        head[..LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
        (head, tail)
    }

    /// Reads a frame behind its length. Events are not looked at: their topic is left as `**`.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &Bytes) -> Result<(u64, Body), FrameError> {
        read(bytes).ok_or(FrameError::Malformed)
    }
}

fn read(bytes: &Bytes) -> Option<(u64, Body)> {
    let (kind, rest) = bytes.split_first()?;
    let (number, rest) = number(rest)?;
    let body = match *kind {
        EVENTS => {
            let (origin, rest) = origin(rest)?;
            let (line, rest) = self::number(rest)?;
            let (nth, rest) = self::number(rest)?;
            let (since, rest) = self::number(rest)?;
            let turn = Turn { line, number: nth, since };
            let (part, rest) = self::number(rest)?;
            let (count, rest) = short(rest)?;
            let events = bytes.slice_ref(rest);
            Body::Events { origin, turn, part, topic: Arc::new(Pattern::All), count, events }
        }
        SHARE => {
            let (origin, rest) = origin(rest)?;
            let (count, rest) = short(rest)?;
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let (group, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
            let group = Interest::read(group).ok().filter(|it| it.group.is_some())?;
            let (len, mut rest) = rest.split_first()?;
            if usize::from(*len) > OTHERS_MAX {
                return None;
            }
            let mut others = Vec::with_capacity(usize::from(*len));
            for _ in 0..*len {
                let (server, behind) = Server::read(rest)?;
                others.push(server);
                rest = behind;
            }
            let (group, topic, events) = (Arc::new(group), Arc::new(Pattern::All), bytes.slice_ref(rest));
            Body::Share { origin, group, others: others.into(), topic, count, events }
        }
        LOST => {
            let (count, rest) = self::number(rest)?;
            Body::Lost { topic: pattern(rest)?, count }
        }
        CHANGED => {
            let (server, rest) = Server::read(rest)?;
            Body::Changed { server, wanted: Arc::new(Interest::read(rest).ok()?) }
        }
        PART => {
            let (version, mut rest) = self::number(rest)?;
            let mut servers = Vec::with_capacity(rest.len() / Server::BYTES);
            while !rest.is_empty() {
                let (server, behind) = Server::read(rest)?;
                servers.push(server);
                rest = behind;
            }
            Body::Part { version, servers: servers.into() }
        }
        _ => return None,
    };
    Some((number, body))
}

fn write_origin(head: &mut Vec<u8>, origin: &Origin) {
    head.extend(origin.id.as_bytes());
    head.extend(origin.incarnation.to_be_bytes());
    head.extend(origin.batch.to_be_bytes());
}

fn origin(bytes: &[u8]) -> Option<(Origin, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (incarnation, rest) = short(rest)?;
    let (batch, rest) = number(rest)?;
    Some((Origin { id: NodeId::from_bytes(*id), incarnation, batch }, rest))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn short(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn pattern(text: &[u8]) -> Option<Arc<Pattern<'static>>> {
    Pattern::read(text).ok().map(|pattern| Arc::new(pattern.into_owned()))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let addr = "127.0.0.1:9".parse().expect("an address");
        let server = Server { id: NodeId::from_bytes([1; 16]), incarnation: 2, addr };
        let topic = Arc::new(Pattern::new("a/b\"/**").expect("a pattern"));
        let origin = Origin { id: server.id, incarnation: 2, batch: 77 };
        let turn = Turn { line: 7, number: 6, since: 5 };
        let all = Arc::new(Pattern::All);
        let events = Bytes::from_static(b"EVENT...");
        let group = Arc::new(Interest { pattern: (*topic).clone(), group: Some("g".into()) });
        let others: Arc<[Server]> = vec![server; OTHERS_MAX].into();
        for body in [
            Body::Events { origin, turn, part: 5, topic: all.clone(), count: 3, events: events.clone() },
            Body::Share { origin, group: group.clone(), others, topic: all, count: 3, events },
            Body::Changed { server, wanted: group },
            Body::Lost { topic: topic.clone(), count: u64::MAX },
            Body::Changed { server, wanted: Arc::new((*topic).clone().into()) },
            Body::Part { version: 9, servers: vec![server; 3].into() },
        ] {
            let (head, tail) = body.write(12);
            let (len, rest) = head.split_first_chunk().expect("a length");
            let rest = [rest, &tail].concat();
            assert_eq!(length(*len), Ok(rest.len()));
            assert_eq!(Body::read(&rest.into()), Ok((12, body)));
        }
        assert!(length([255; 4]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Body::read(&bytes.into());
        }
    }
}
