//! What lies on the ring: the record of an update, and its intents. Members write them and may lie, so all
//! of it is checked.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xtreem_base::{Duration, NodeId};

use super::look::is_old;
use super::{Change, Expected, Found, Version, What};
use crate::relay::Arrival;
use crate::{
    EventHeaders, EventWriter, Frame, Framer, HashId, PAYLOAD_MAX_BYTES, Pattern, Reply, Stem, Step, Topic,
    UPDATE_TOPICS_MAX,
};

/// Where the record of an operation lies; each user's and program's ids are its own.
pub fn record_key(who: &str, operation: &str) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("xtreem pubsub update 1");
    hasher.update(&(who.len() as u64).to_le_bytes());
    hasher.update(who.as_bytes());
    hasher.update(operation.as_bytes());
    hasher.finalize().as_bytes().to_vec()
}

/// What an update has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    /// Of each change where its intent lies, and the topic's version from now on. An intent that lies there
    /// at another version came late and does not count.
    Committed(Vec<(Version, Option<HashId>)>),
    Aborted(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Conflict(u8, Option<HashId>),
    Abandoned,
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub state: State,
    /// All intents are rolled forward or back; values are left out.
    pub is_done: bool,
    /// Who makes it.
    pub nonce: u64,
    /// Over all that its client asked for.
    pub digest: [u8; 16],
    pub who: String,
    /// None as a value: it is kept.
    pub changes: Vec<(Topic<'static>, Option<Bytes>)>,
}

pub(super) fn digest(changes: &[Change]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for Change { topic, expected, what } in changes {
        hasher.update(&(topic.as_str().len() as u64).to_le_bytes());
        hasher.update(topic.as_str().as_bytes());
        match expected {
            Expected::Any => hasher.update(&[0]),
            Expected::Absent => hasher.update(&[1]),
            Expected::Is(id) => hasher.update(&[2]).update(&id.0.to_le_bytes()),
        };
        match what {
            What::Keep => hasher.update(&[0]),
            What::Set(value) => hasher.update(&[1]).update(&(value.len() as u64).to_le_bytes()).update(value),
        };
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

impl Record {
    pub fn write(&self) -> Bytes {
        let mut out = Vec::new();
        let (state, committed) = match &self.state {
            State::Pending => (0, None),
            State::Committed(all) => (1, Some(all)),
            State::Aborted(Reason::Conflict(..)) => (2, None),
            State::Aborted(Reason::Abandoned) => (3, None),
            State::Aborted(Reason::Refused(_)) => (4, None),
        };
        out.extend([state, u8::from(self.is_done)]);
        out.extend(self.nonce.to_be_bytes());
        out.extend(self.digest);
        write_part(&mut out, self.who.as_bytes());
        out.push(self.changes.len() as u8);
        for (topic, value) in &self.changes {
            write_part(&mut out, topic.as_str().as_bytes());
            out.push(u8::from(value.is_some()));
            write_part(&mut out, if self.is_done { b"" } else { value.as_deref().unwrap_or_default() });
        }
        for (version, id) in committed.into_iter().flatten() {
            out.extend(version.epoch.to_be_bytes());
            out.extend(version.number.to_be_bytes());
            write_id(&mut out, *id);
        }
        match &self.state {
            State::Aborted(Reason::Conflict(at, id)) => {
                out.push(*at);
                write_id(&mut out, *id);
            }
            State::Aborted(Reason::Refused(words)) => write_part(&mut out, words.as_bytes()),
            _ => {}
        }
        out.into()
    }

    pub fn read(bytes: &[u8]) -> Option<Record> {
        let mut from = Reader(bytes);
        let [state, is_done] = from.array()?;
        let nonce = from.number()?;
        let digest = from.array()?;
        let who = from.text()?;
        let [count] = from.array()?;
        if usize::from(count) > UPDATE_TOPICS_MAX {
            return None;
        }
        let mut changes = Vec::new();
        for _ in 0..count {
            let topic = Topic::new(from.text()?).ok()?;
            let [is_set] = from.array()?;
            let value = Bytes::copy_from_slice(from.part()?);
            changes.push((topic, (is_set == 1).then_some(value)));
        }
        let state = match state {
            0 => State::Pending,
            1 => {
                let one = |from: &mut Reader<'_>| {
                    Some((Version { epoch: from.number()?, number: from.number()? }, from.id()?))
                };
                State::Committed((0..count).map(|_| one(&mut from)).collect::<Option<_>>()?)
            }
            2 => {
                let [at] = from.array()?;
                let is_there = at < count;
                State::Aborted(is_there.then_some(Reason::Conflict(at, from.id()?))?)
            }
            3 => State::Aborted(Reason::Abandoned),
            4 => State::Aborted(Reason::Refused(from.text()?)),
            _ => return None,
        };
        from.0.is_empty().then_some(Record { state, is_done: is_done == 1, nonce, digest, who, changes })
    }

    /// Which of its changes is the one at this key, if its intent at this version counts.
    pub fn committed(&self, key: &[u8], version: Version) -> Option<usize> {
        let State::Committed(all) = &self.state else { return None };
        let at = self.changes.iter().position(|(topic, _)| topic.order_key() == key)?;
        (all.get(at)?.0 == version && !self.is_done).then_some(at)
    }

    /// The changed value as an event: as it is kept, or as it is published.
    pub fn event(&self, at: usize, is_retained: bool) -> Option<Bytes> {
        let State::Committed(all) = &self.state else { return None };
        let (topic, value) = self.changes.get(at)?;
        let value = value.as_ref()?;
        let id = token(topic, all.get(at)?.0);
        let topic = Pattern::Topic(topic.clone());
        let headers = EventHeaders { is_retained, publisher: Some(&self.who), ..EventHeaders::default() };
        let mut out = BytesMut::new();
        EventWriter::new(&topic).write(&mut out, id, Some(&headers), value);
        Some(out.freeze())
    }
}

/// The name of the event that an update makes: of all updates of a topic the later one has the higher number,
/// as the ring's versions do.
pub(super) fn token(topic: &Topic<'_>, intent: Version) -> HashId {
    Stem::new(NodeId::from_bytes([0; 16]), b"update", intent.epoch, topic.as_str()).event(intent.number)
}

/// The name of the event that lies there; none: nothing that counts.
pub(super) fn id_of(value: Option<&Bytes>) -> Option<HashId> {
    let mut framer = Framer::new(PAYLOAD_MAX_BYTES);
    let value = value.filter(|value| Arrival::one(value).is_some())?;
    match framer.next(value) {
        (_, Step::Frame(frame)) => event_id(frame),
        _ => None,
    }
}

fn event_id(frame: Frame<'_>) -> Option<HashId> {
    match Reply::parse(frame) {
        Ok(Reply::Event(event)) => Some(event.id),
        _ => None,
    }
}

/// Lies in place of a value that an update is to change, with the value in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    /// Of the update's record.
    pub record: Vec<u8>,
    /// Its own lease, when it was written, and what was left of the value's: no clocks are compared.
    pub lease: Duration,
    pub old: Option<(Bytes, Duration)>,
}

/// No event begins so.
const MARK: &[u8] = b"\0intent";

impl Intent {
    pub fn write(&self) -> Bytes {
        let mut out = MARK.to_vec();
        write_part(&mut out, &self.record);
        out.extend(self.lease.as_micros().to_be_bytes());
        if let Some((value, left)) = &self.old {
            out.extend(left.as_micros().to_be_bytes());
            out.extend(&value[..]);
        }
        out.into()
    }

    pub fn read(bytes: &[u8]) -> Option<Intent> {
        let mut from = Reader(bytes.strip_prefix(MARK)?);
        let record = from.part()?.to_vec();
        let lease = Duration::from_micros(from.number()?);
        if from.0.is_empty() {
            return Some(Intent { record, lease, old: None });
        }
        let left = Duration::from_micros(from.number()?);
        Some(Intent { record, lease, old: Some((Bytes::copy_from_slice(from.0), left)) })
    }

    /// The value in it, and what is left of its lease by now; none: there was none, or its lease is over.
    pub fn old_at(&self, found: &Found) -> Option<(Bytes, Duration)> {
        let (value, left) = self.old.clone()?;
        let since = self.lease.as_micros().saturating_sub(found.left.as_micros());
        let left = left.as_micros().saturating_sub(since);
        (left > 0).then_some((value, Duration::from_micros(left)))
    }
}

fn write_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u32).to_be_bytes());
    out.extend(part);
}

fn write_id(out: &mut Vec<u8>, id: Option<HashId>) {
    out.push(u8::from(id.is_some()));
    out.extend(id.map_or(0, |id| id.0).to_be_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn id(&mut self) -> Option<Option<HashId>> {
        let [is_some] = self.array()?;
        let id = HashId(u128::from_be_bytes(self.array()?));
        Some((is_some == 1).then_some(id))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.array()?);
        let (part, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(part)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.part()?.to_vec()).ok()
    }
}

/// Whether this is the record of an update that its server may have left half-done.
pub fn may_be_left(record: &[u8], left: Duration) -> bool {
    is_old(left) && record.get(1) == Some(&0)
}
