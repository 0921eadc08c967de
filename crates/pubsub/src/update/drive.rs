//! Makes one update, in these steps: its record (1), an intent at each topic if the value is as expected
//! (2), the record again, as committed (3), the values (4), and the record without them (5).
//!
//! Steps may be repeated, by the same server when an answer was lost, or by another one that has the same
//! operation: what a step writes counts at one version of what lay there, so each is done once.

use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::Duration;

use super::look::{Look, Meeting, Sight, is_old, publish, write_record};
use super::record::{Intent, Reason, Record, State, digest, id_of, record_key, token};
use super::{Ask, Change, Done, Expected, Failed, Found, Go, Job, Out, Place, Task, Update, Version, What};
use crate::keeper::Asker;
use crate::{HashId, Pattern};

#[derive(Debug)]
pub(super) struct Drive {
    asker: Asker,
    key: Vec<u8>,
    update: Update,
    /// As this server would write it, and as it lies there.
    record: Record,
    version: Version,
    lease: Duration,
    /// Of each topic the version of its intent, and of the value before.
    placed: Vec<(Version, Option<HashId>)>,
    step: Step,
    is_answered: bool,
}

#[derive(Debug)]
enum Step {
    Record,
    /// Makes it this server's, in place of this version.
    Claim(Version),
    Look(Look),
    Place(Version, Intent),
    Commit,
    Abort(Reason),
    /// Of this change its value takes the intent's place.
    Roll(usize),
    /// The same, and what lies there is to be looked at first.
    Settle(usize, Look),
    Trim,
}

impl Drive {
    pub fn new(asker: Asker, who: &str, update: Update, nonce: u64, lease: Duration) -> Drive {
        let key = record_key(who, asker.ack.as_deref().unwrap_or_default());
        let change = |Change { topic, what, .. }: &Change| match what {
            What::Keep => (topic.clone(), None),
            What::Set(value) => (topic.clone(), Some(value.clone())),
        };
        let record = Record {
            state: State::Pending,
            is_done: false,
            nonce,
            digest: digest(&update.changes),
            who: who.into(),
            changes: update.changes.iter().map(change).collect(),
        };
        Drive {
            asker,
            key,
            update,
            record,
            version: Version::default(),
            lease,
            placed: Vec::new(),
            step: Step::Record,
            is_answered: false,
        }
    }

    fn answer(&mut self, result: Result<Vec<Option<HashId>>, Failed>, out: &mut Out) {
        if !core::mem::replace(&mut self.is_answered, true) {
            out.tasks.push_back(Task::Updated(self.asker.clone(), result));
        }
    }

    fn topic_key(&self, at: usize) -> Vec<u8> {
        self.update.changes[at].topic.order_key()
    }

    /// Whether it is of the same request.
    fn is_same(&self, there: &Record) -> bool {
        let topics =
            |record: &Record| record.changes.iter().map(|(topic, _)| topic.clone()).collect::<Vec<_>>();
        there.digest == self.record.digest && topics(there) == topics(&self.record)
    }

    /// The record as it lies there.
    fn on_record(&mut self, found: Option<Found>, out: &mut Out) -> Go {
        let Some(found) = found else {
            self.step = Step::Claim(Version::default());
            return Go::On;
        };
        let Some(there) = Record::read(&found.value).filter(|it| self.is_same(it)) else {
            self.answer(Err(Failed::Another), out);
            return Go::Over;
        };
        if there.state != State::Pending {
            return self.decided(there, found.version, out);
        }
        if there.nonce == self.record.nonce {
            return self.begin(found.version);
        }
        if !is_old(found.left) {
            return Go::Pause;
        }
        self.step = Step::Claim(found.version);
        Go::On
    }

    /// The record is this server's: now the intents.
    fn begin(&mut self, version: Version) -> Go {
        self.version = version;
        self.placed.clear();
        self.look()
    }

    fn look(&mut self) -> Go {
        let at = self.placed.len();
        self.step = match self.update.changes.get(at) {
            Some(_) => Step::Look(Look::new(self.topic_key(at), Meeting::Own(self.key.clone()))),
            None => Step::Commit,
        };
        Go::On
    }

    fn on_look(&mut self, sight: Sight) -> Go {
        match sight {
            Sight::On => Go::On,
            Sight::Pause => Go::Pause,
            Sight::Refused(words) => self.abort(Reason::Refused(words)),
            Sight::Own(intent, version) => {
                // Placed before: by this server when the answer was lost, or by one that had it before.
                let old = intent.old.as_ref().map(|(old, _)| old);
                self.placed.push((version, id_of(old)));
                self.look()
            }
            Sight::Value(value, version) => {
                let id = id_of(value.as_ref().map(|(value, _)| value));
                let at = self.placed.len();
                let is_expected = match self.update.changes[at].expected {
                    Expected::Any => true,
                    Expected::Absent => id.is_none(),
                    Expected::Is(expected) => id == Some(expected),
                };
                if !is_expected {
                    return self.abort(Reason::Conflict(at as u8, id));
                }
                let left = value.as_ref().map_or(Duration::ZERO, |(_, left)| *left);
                let lease = self.lease.max(left);
                let intent = Intent { record: self.key.clone(), lease, old: value };
                self.step = Step::Place(version, intent);
                Go::On
            }
        }
    }

    fn abort(&mut self, reason: Reason) -> Go {
        self.step = Step::Abort(reason);
        Go::On
    }

    /// The record as it is once all intents lie there.
    fn committed(&self) -> Record {
        let both = self.update.changes.iter().zip(&self.placed);
        let all = both.map(|(change, (version, old))| {
            let id = match &change.what {
                What::Keep => *old,
                What::Set(value) if value.is_empty() => None,
                What::Set(_) => Some(token(&change.topic, *version)),
            };
            (*version, id)
        });
        Record { state: State::Committed(all.collect()), ..self.record.clone() }
    }

    /// Nothing changes that any more: the client is told, and what lies at the topics follows.
    fn decided(&mut self, there: Record, version: Version, out: &mut Out) -> Go {
        let result = match &there.state {
            State::Committed(all) => {
                let mut ids = alloc::vec![None; all.len()];
                for ((_, id), place) in all.iter().zip(&self.update.order) {
                    ids[*place] = *id;
                }
                for ((version, _), change) in all.iter().zip(&self.update.changes) {
                    out.written.add(&change.topic, *version, &self.asker);
                }
                Ok(ids)
            }
            State::Aborted(reason) => Err(self.failed(reason)),
            State::Pending => return Go::Pause,
        };
        self.answer(result, out);
        (self.record, self.version) = (there, version);
        if self.record.is_done {
            return Go::Over;
        }
        self.roll(0)
    }

    fn failed(&self, reason: &Reason) -> Failed {
        match reason {
            Reason::Conflict(at, id) => match self.update.changes.get(usize::from(*at)) {
                Some(change) => Failed::Conflict(Pattern::Topic(change.topic.clone()), *id),
                None => Failed::Another,
            },
            Reason::Abandoned => Failed::Abandoned,
            Reason::Refused(words) => Failed::Refused(words.clone()),
        }
    }

    fn roll(&mut self, at: usize) -> Go {
        self.step = match self.record.changes.get(at) {
            Some((_, Some(_))) if matches!(self.record.state, State::Committed(_)) => Step::Roll(at),
            Some(_) => Step::Settle(at, Look::new(self.topic_key(at), Meeting::Wait)),
            None => Step::Trim,
        };
        Go::On
    }

    /// The value of a change, and the version of the intent that it replaces.
    fn rolled(&self, at: usize) -> (Option<Bytes>, Version) {
        let value = self.record.event(at, true);
        let is_removed = self.record.changes[at].1.as_ref().is_some_and(Bytes::is_empty);
        let version = match &self.record.state {
            State::Committed(all) => all[at].0,
            _ => Version::default(),
        };
        (value.filter(|_| !is_removed), version)
    }

    fn on_rolled(&mut self, at: usize, done: Done, out: &mut Out) -> Go {
        if let Done::Written(version) = done {
            publish(&self.record, at, out);
            out.written.add(&self.update.changes[at].topic, version, &self.asker);
            return self.roll(at + 1);
        }
        self.step = Step::Settle(at, Look::new(self.topic_key(at), Meeting::Wait));
        if matches!(done, Done::Unanswered | Done::Unsure) { Go::Pause } else { Go::On }
    }
}

impl Job for Drive {
    fn ask(&mut self) -> Ask {
        match &self.step {
            Step::Record => Ask::Get(Place::Records, self.key.clone()),
            Step::Claim(version) => write_record(&self.key, &self.record, *version),
            Step::Look(look) | Step::Settle(_, look) => look.ask(),
            Step::Place(version, intent) => Ask::Write {
                place: Place::Values,
                key: self.topic_key(self.placed.len()),
                value: Some(intent.write()),
                expected: *version,
                lease: intent.lease,
            },
            Step::Commit => write_record(&self.key, &self.committed(), self.version),
            Step::Abort(reason) => {
                write_record(&self.key, &self.record.aborted(reason.clone()), self.version)
            }
            Step::Roll(at) => {
                let (value, expected) = self.rolled(*at);
                let key = self.topic_key(*at);
                Ask::Write { place: Place::Values, key, value, expected, lease: self.lease }
            }
            Step::Trim => {
                let done = Record { is_done: true, ..self.record.clone() };
                write_record(&self.key, &done, self.version)
            }
        }
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Go {
        match core::mem::replace(&mut self.step, Step::Record) {
            Step::Record => match done {
                Done::Got(found) => self.on_record(found, out),
                // Nobody knows what lies there.
                _ => Go::Pause,
            },
            Step::Claim(instead) => match done {
                Done::Written(version) => self.begin(version),
                Done::Refused(words) => {
                    // Whoever had it may be at it.
                    let is_new = instead == Version::default();
                    let failed = if is_new { Failed::Refused(words) } else { Failed::Indefinite };
                    self.answer(Err(failed), out);
                    Go::Over
                }
                done => after(&done),
            },
            Step::Look(mut look) => {
                let sight = look.done(done, out);
                self.step = Step::Look(look);
                self.on_look(sight)
            }
            Step::Place(_, intent) => match done {
                Done::Written(version) => {
                    self.placed.push((version, id_of(intent.old.as_ref().map(|(old, _)| old))));
                    self.look()
                }
                Done::Refused(words) => self.abort(Reason::Refused(words)),
                done => {
                    let _ = self.look();
                    after(&done)
                }
            },
            Step::Commit => match done {
                Done::Written(version) => self.decided(self.committed(), version, out),
                Done::Refused(words) => self.abort(Reason::Refused(words)),
                done => after(&done),
            },
            Step::Abort(reason) => match done {
                Done::Written(version) => self.decided(self.record.aborted(reason), version, out),
                Done::Refused(words) => {
                    self.answer(Err(Failed::Refused(words)), out);
                    Go::Over
                }
                done => after(&done),
            },
            Step::Roll(at) => self.on_rolled(at, done, out),
            Step::Settle(at, mut look) => match look.done(done, out) {
                Sight::Value(..) => self.roll(at + 1),
                sight => {
                    self.step = Step::Settle(at, look);
                    if matches!(sight, Sight::On) { Go::On } else { Go::Pause }
                }
            },
            // The next one who looks for it does it.
            Step::Trim => Go::Over,
        }
    }

    fn give_up(&mut self, out: &mut Out) {
        self.answer(Err(Failed::Indefinite), out);
    }
}

/// The step was not done, or nobody knows: what lies there tells.
fn after(done: &Done) -> Go {
    if matches!(done, Done::Differs | Done::Got(_) | Done::Written(_)) { Go::On } else { Go::Pause }
}
