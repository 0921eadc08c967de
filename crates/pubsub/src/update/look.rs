//! Looks at the last value of a topic. Where an intent lies it asks its record, and rolls it forward or back:
//! whoever comes by finishes what another one has left.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::Duration;

use super::record::{Intent, Reason, Record, State};
use super::{ABANDONED, Ask, Done, Found, Out, Place, RECORD_LEASE, Task, Version};
use crate::relay::Arrival;

/// What to do with an intent whose update is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// The value in it counts as yet: for who only reads.
    See,
    /// It is waited for.
    Wait,
    /// The same, unless it is this update's own.
    Own(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Look {
    pub key: Vec<u8>,
    meeting: Meeting,
    step: Box<Step>,
}

#[derive(Debug)]
enum Step {
    Item,
    Record(Intent, Found),
    /// It was left undecided: its record, and that one's version.
    Abort(Vec<u8>, Record, Version),
    Roll(Roll),
}

#[derive(Clone, Debug)]
struct Roll {
    version: Version,
    value: Option<(Bytes, Duration)>,
    /// The committed update, and which of its changes.
    forward: Option<(Record, usize)>,
}

/// What comes of one question.
#[derive(Debug)]
pub(super) enum Sight {
    On,
    Pause,
    /// What lies there, and its version.
    Value(Option<(Bytes, Duration)>, Version),
    /// An intent of the update that looks.
    Own(Intent, Version),
    Refused(String),
}

impl Look {
    pub fn new(key: Vec<u8>, meeting: Meeting) -> Look {
        Look { key, meeting, step: Box::new(Step::Item) }
    }

    pub fn ask(&self) -> Ask {
        match &*self.step {
            Step::Item => Ask::Get(Place::Values, self.key.clone()),
            Step::Record(intent, _) => Ask::Get(Place::Records, intent.record.clone()),
            Step::Abort(key, record, version) => {
                write_record(key, &record.aborted(Reason::Abandoned), *version)
            }
            Step::Roll(Roll { version, value, .. }) => {
                let lease = value.as_ref().map_or(RECORD_LEASE, |(_, lease)| *lease);
                let value = value.as_ref().map(|(value, _)| value.clone());
                Ask::Write { place: Place::Values, key: self.key.clone(), value, expected: *version, lease }
            }
        }
    }

    pub fn done(&mut self, done: Done, out: &mut Out) -> Sight {
        let step = core::mem::replace(&mut *self.step, Step::Item);
        match (step, done) {
            (_, Done::Refused(words)) => Sight::Refused(words),
            (_, Done::Unanswered | Done::Unsure) => Sight::Pause,
            (Step::Item, Done::Got(None)) => Sight::Value(None, Version::default()),
            (Step::Item, Done::Got(Some(found))) => match Intent::read(&found.value) {
                None => Sight::Value(Some((found.value, found.left)), found.version),
                Some(intent) if self.meeting == Meeting::Own(intent.record.clone()) => {
                    Sight::Own(intent, found.version)
                }
                Some(intent) => {
                    *self.step = Step::Record(intent, found);
                    Sight::On
                }
            },
            (Step::Record(intent, found), Done::Got(record)) => self.judge(intent, &found, record),
            (Step::Roll(roll), Done::Written(version)) => {
                if let Some((record, at)) = &roll.forward {
                    publish(record, *at, out);
                }
                let version = if roll.value.is_some() { version } else { Version::default() };
                Sight::Value(roll.value, version)
            }
            _ => Sight::On,
        }
    }

    fn judge(&mut self, intent: Intent, found: &Found, record: Option<Found>) -> Sight {
        let read = record.and_then(|it| Some((Record::read(&it.value)?, it.version, it.left)));
        if let Some((record @ Record { state: State::Pending, .. }, version, left)) = &read {
            if is_old(*left) {
                *self.step = Step::Abort(intent.record, record.clone(), *version);
                return Sight::On;
            }
            // It is undecided, so the intent lies there as yet, and what is in it is the value.
            return match self.meeting {
                Meeting::See => Sight::Value(intent.old_at(found), found.version),
                Meeting::Wait | Meeting::Own(_) => Sight::Pause,
            };
        }
        let forward = read.and_then(|(record, ..)| {
            let at = record.committed(&self.key, found.version)?;
            Some((record, at))
        });
        let value = match &forward {
            Some((record, at)) => rolled(record, *at, &intent, found),
            // A record goes only when nothing can be committed under it any more.
            None => intent.old_at(found),
        };
        *self.step = Step::Roll(Roll { version: found.version, value, forward });
        Sight::On
    }
}

/// What an intent of a committed update becomes. The intent has the lease of the new value.
fn rolled(record: &Record, at: usize, intent: &Intent, found: &Found) -> Option<(Bytes, Duration)> {
    match record.changes.get(at)?.1.as_ref() {
        None => intent.old_at(found),
        Some(value) if value.is_empty() => None,
        Some(_) => record.event(at, true).map(|event| (event, found.left)),
    }
}

/// A change is on the ring: its subscribers hear of it.
pub(super) fn publish(record: &Record, at: usize, out: &mut Out) {
    out.tasks.extend(record.event(at, false).and_then(|event| Arrival::one(&event)).map(Task::Publish));
}

/// By what is left of its lease.
pub(super) fn is_old(left: Duration) -> bool {
    RECORD_LEASE.as_micros().saturating_sub(left.as_micros()) >= ABANDONED.as_micros()
}

pub(super) fn write_record(key: &[u8], record: &Record, expected: Version) -> Ask {
    let value = Some(record.write());
    Ask::Write { place: Place::Records, key: key.into(), value, expected, lease: RECORD_LEASE }
}

impl Record {
    pub(super) fn aborted(&self, reason: Reason) -> Record {
        let changes = self.changes.iter().map(|(topic, _)| (topic.clone(), None)).collect();
        Record { state: State::Aborted(reason), changes, ..self.clone() }
    }
}
