//! What concerns one topic at a time, and may meet an intent there: a value that is published, one that is
//! read, and those of a page that was read.

use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::Duration;

use super::look::{Look, Meeting, Sight};
use super::record::Intent;
use super::{Ask, Done, Go, Job, Out, Place, Task, Version};
use crate::Pattern;
use crate::keeper::{Asker, Kept, Page};
use crate::relay::Failure;

/// Writes the last value of a topic. It waits for an update that is under way there.
#[derive(Debug)]
pub(super) struct Put {
    request: u64,
    key: Vec<u8>,
    event: Option<Bytes>,
    lease: Duration,
    step: Step,
    /// It may have taken the place of this version, or do so yet.
    unsure: Option<Version>,
}

#[derive(Debug)]
enum Step {
    Look(Look),
    Write(Version),
}

impl Put {
    pub fn new(
        request: u64,
        topic: &Pattern<'static>,
        event: Option<Bytes>,
        lease: Duration,
        out: &Out,
    ) -> Put {
        let key = topic.extent().0;
        // Mostly it is as this server left it.
        let step = match out.known.get(&key) {
            Some(version) => Step::Write(*version),
            None => Step::Look(Look::new(key.clone(), Meeting::Wait)),
        };
        Put { request, key, event, lease, step, unsure: None }
    }

    fn end(&self, result: Result<(), Failure>, out: &mut Out) -> Go {
        out.tasks.push_back(Task::Put(self.request, result));
        Go::Over
    }
}

impl Job for Put {
    fn ask(&mut self) -> Ask {
        match &self.step {
            Step::Look(look) => look.ask(),
            Step::Write(version) => Ask::Write {
                place: Place::Values,
                key: self.key.clone(),
                value: self.event.clone(),
                expected: *version,
                lease: self.lease,
            },
        }
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Go {
        match (&mut self.step, done) {
            (Step::Look(look), done) => match look.done(done, out) {
                Sight::On => Go::On,
                Sight::Pause | Sight::Own(..) => Go::Pause,
                Sight::Refused(words) => self.end(Err(Failure::Refused(words)), out),
                Sight::Value(value, version) => {
                    let is_there = value.map(|(value, _)| value) == self.event;
                    if is_there && (self.unsure.is_some() || self.event.is_none()) {
                        return self.end(Ok(()), out);
                    }
                    if self.unsure.is_some_and(|unsure| unsure != version) {
                        // If it was there it has been replaced, and must not come again.
                        return self.end(Err(Failure::Unanswered), out);
                    }
                    self.step = Step::Write(version);
                    Go::On
                }
            },
            (Step::Write(_), Done::Written(version)) => {
                match self.event {
                    Some(_) => out.know(&self.key, version),
                    None => drop(out.known.remove(&self.key)),
                }
                self.end(Ok(()), out)
            }
            (Step::Write(_), Done::Refused(words)) => self.end(Err(Failure::Refused(words)), out),
            (Step::Write(version), done) => {
                out.known.remove(&self.key);
                self.unsure = Some(*version).filter(|_| done == Done::Unsure).or(self.unsure);
                self.step = Step::Look(Look::new(self.key.clone(), Meeting::Wait));
                if matches!(done, Done::Unanswered | Done::Unsure) { Go::Pause } else { Go::On }
            }
        }
    }

    fn give_up(&mut self, out: &mut Out) {
        self.end(Err(Failure::Unanswered), out);
    }
}

/// Reads the last value of a topic.
#[derive(Debug)]
pub(super) struct Read {
    asker: Asker,
    topic: Arc<Pattern<'static>>,
    look: Look,
}

impl Read {
    pub fn new(asker: Asker, topic: Arc<Pattern<'static>>) -> Read {
        let look = Look::new(topic.extent().0, Meeting::See);
        Read { asker, topic, look }
    }
}

impl Job for Read {
    fn ask(&mut self) -> Ask {
        self.look.ask()
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Go {
        let result = match self.look.done(done, out) {
            Sight::On => return Go::On,
            Sight::Pause | Sight::Own(..) => return Go::Pause,
            Sight::Value(value, _) => Ok(value.map(|(value, _)| value)),
            Sight::Refused(words) => Err(words),
        };
        out.tasks.push_back(Task::Value(self.asker.clone(), self.topic.clone(), result));
        Go::Over
    }

    fn give_up(&mut self, out: &mut Out) {
        let words = "the ring did not answer in time: read it again".to_string();
        out.tasks.push_back(Task::Value(self.asker.clone(), self.topic.clone(), Err(words)));
    }
}

/// Puts the values that count in place of the intents in a page, one after the other.
#[derive(Debug)]
pub(super) struct Pages {
    request: u64,
    page: Page,
    at: usize,
    look: Look,
}

impl Pages {
    /// # Errors
    /// There is no intent in it.
    pub fn new(request: u64, page: Page) -> Result<Pages, Page> {
        let look = Look::new(Vec::new(), Meeting::See);
        let mut pages = Pages { request, page, at: 0, look };
        if pages.find() { Ok(pages) } else { Err(pages.page) }
    }

    fn find(&mut self) -> bool {
        let is_intent = |kept: &Kept| Intent::read(&kept.item.value).is_some();
        let Some(next) = self.page.items[self.at..].iter().position(is_intent) else { return false };
        self.at += next;
        self.look = Look::new(self.page.items[self.at].item.key.clone(), Meeting::See);
        true
    }
}

impl Job for Pages {
    fn ask(&mut self) -> Ask {
        self.look.ask()
    }

    fn done(&mut self, done: Done, out: &mut Out) -> Go {
        match self.look.done(done, out) {
            Sight::On => return Go::On,
            Sight::Value(Some((value, left)), _) => {
                let kept = &mut self.page.items[self.at];
                (kept.item.value, kept.left) = (value.to_vec(), left);
                self.at += 1;
            }
            Sight::Value(None, _) => drop(self.page.items.remove(self.at)),
            Sight::Pause | Sight::Own(..) | Sight::Refused(_) => return Go::Pause,
        }
        if self.find() {
            return Go::On;
        }
        out.tasks.push_back(Task::Page(self.request, Ok(core::mem::take(&mut self.page))));
        Go::Over
    }

    fn give_up(&mut self, out: &mut Out) {
        out.tasks.push_back(Task::Page(self.request, Err(Failure::Unanswered)));
    }
}
