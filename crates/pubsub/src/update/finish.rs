//! Finishes an update that its server has left: the owner of the record's place on the ring finds it.

use alloc::vec::Vec;

use super::look::{Look, Meeting, Sight, is_old, write_record};
use super::record::{Reason, Record, State};
use super::{Ask, Done, Found, Go, Job, Out, Version};

#[derive(Debug)]
pub(super) struct Finish {
    key: Vec<u8>,
    record: Record,
    version: Version,
    at: usize,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Abort,
    Settle(Look),
    Trim,
}

impl Finish {
    /// None for one that is finished, or may be under way.
    pub fn new(key: &[u8], found: &Found) -> Option<Finish> {
        let record = Record::read(&found.value).filter(|it| !it.is_done && is_old(found.left))?;
        let key = key.to_vec();
        let mut finish = Finish { key, record, version: found.version, at: 0, step: Step::Abort };
        if finish.record.state != State::Pending {
            finish.settle();
        }
        Some(finish)
    }

    fn settle(&mut self) {
        self.step = match self.record.changes.get(self.at) {
            Some((topic, _)) => Step::Settle(Look::new(topic.order_key(), Meeting::Wait)),
            None => Step::Trim,
        };
    }
}

impl Job for Finish {
    fn ask(&mut self) -> Ask {
        match &self.step {
            Step::Abort => write_record(&self.key, &self.record.aborted(Reason::Abandoned), self.version),
            Step::Settle(look) => look.ask(),
            Step::Trim => {
                let done = Record { is_done: true, ..self.record.clone() };
                write_record(&self.key, &done, self.version)
            }
        }
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Go {
        match (&mut self.step, done) {
            (Step::Abort, Done::Written(version)) => {
                (self.record, self.version) = (self.record.aborted(Reason::Abandoned), version);
                self.settle();
                Go::On
            }
            // Somebody else has it, or it is found again.
            (Step::Abort | Step::Trim, _) => Go::Over,
            (Step::Settle(look), done) => match look.done(done, out) {
                Sight::On => Go::On,
                Sight::Value(..) => {
                    self.at += 1;
                    self.settle();
                    Go::On
                }
                Sight::Pause | Sight::Own(..) => Go::Pause,
                Sight::Refused(_) => Go::Over,
            },
        }
    }

    fn give_up(&mut self, _: &mut Out) {}
}
