//! Atomic updates of retained values: all changes of one are made or none, if the values are what its client
//! expects; a repetition with the same operation id is the same update.
//!
//! After Percolator (Peng and Dabek, OSDI 2010), with a record of each update in place of its primary lock.
//! The record lies at a key of the operation id; the update's *intents* lie at its topics, in place of the
//! values and with them inside, and one compare-and-set of the record is when all of it happens. Whoever
//! meets an intent asks its record what to do, and does it. This holds no socket and no clock, and asks the
//! ring through its caller.

mod drive;
mod finish;
mod look;
mod overtaken;
mod record;
mod request;
mod single;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Duration, Instant};

use self::drive::Drive;
use self::finish::Finish;
use self::overtaken::Written;
pub use self::record::{may_be_left, record_key};
pub use self::request::{Change, Expected, Update, What, write_update};
use self::single::{Pages, Put, Read};
use crate::keeper::{Asker, Page};
use crate::relay::{Arrival, Failure};
use crate::{HashId, Pattern};

/// Updates and reads of clients at a time; more are refused. Our guess: a node's operations.
pub const JOBS_MAX: usize = 256;
/// Questions to the ring at a time; more wait. A sixteenth of what a node may have, as of others here.
const RUNNING_MAX: usize = 16;
/// How long a record lies, and so a repetition is known; an update is finished by then. Our guess: longer
/// than a program takes to find another agent; a server's quota is 4,096 records at an owner.
pub const RECORD_LEASE: Duration = Duration::from_secs(900);
/// An update that is not decided for so long may be ended by whoever meets it. Our guess: many times what
/// one takes.
pub const ABANDONED: Duration = Duration::from_secs(5);
/// Whoever has to wait for another update looks again.
const PAUSE: Duration = Duration::from_millis(100);
/// What is not answered by then is answered as indefinite. As the ring's own, and once more.
const DEADLINE: Duration = Duration::from_secs(40);
/// Topics of which the last written version is known, so that writing the next value is one question; of
/// more all are forgotten.
const KNOWN_MAX: usize = 4_096;

/// What the ring calls what lies at a key; the default one: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub epoch: u64,
    pub number: u64,
}

/// Where on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Values,
    Records,
}

/// One operation on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Get(Place, Vec<u8>),
    /// Writes, or removes, if that version lies there.
    Write {
        place: Place,
        key: Vec<u8>,
        value: Option<Bytes>,
        expected: Version,
        lease: Duration,
    },
}

/// What came of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Got(Option<Found>),
    Written(Version),
    /// Another version lies there; nothing was done.
    Differs,
    /// Nothing was done, and it is of no use to ask again.
    Refused(String),
    /// Nothing was done.
    Unanswered,
    /// It may have been done and may be done yet.
    Unsure,
}

/// What lies at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub value: Bytes,
    pub version: Version,
    /// Of its lease.
    pub left: Duration,
}

/// Why an update was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The value of this topic is another one, or none.
    Conflict(Pattern<'static>, Option<HashId>),
    /// Another update had this operation id.
    Another,
    /// It took too long, and another update ended it. Nothing was done.
    Abandoned,
    /// The ring does not take it. Nothing was done.
    Refused(String),
    /// It may have been made and may be made yet: a repetition finds out.
    Indefinite,
    /// Too many are under way.
    Full,
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Asks the ring; [`Updates::handle_done`] has the answer.
    Ring(u64, Ask),
    /// Calls [`Updates::wake`] after so long.
    Wake(u64, Duration),
    /// A changed value goes to subscribers.
    Publish(Arrival),
    /// An update is made: of each topic its version now; none: no value. Or it is not made.
    Updated(Asker, Result<Vec<Option<HashId>>, Failed>),
    /// What another side of a split wrote has taken the place of what an update wrote.
    Overtaken(Asker, Arc<Pattern<'static>>),
    /// The last value of a topic, for who reads it.
    Value(Asker, Arc<Pattern<'static>>, Result<Option<Bytes>, String>),
    /// What became of [`Updates::put`].
    Put(u64, Result<(), Failure>),
    /// What became of [`Updates::settle`].
    Page(u64, Result<Page, Failure>),
}

/// Where a job goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    Pause,
    Over,
}

/// Something that takes several questions to the ring, one after the other.
trait Job: core::fmt::Debug {
    fn ask(&mut self) -> Ask;
    fn done(&mut self, done: Done, out: &mut Out) -> Go;
    /// Its time is over.
    fn give_up(&mut self, out: &mut Out);
}

/// What jobs share.
#[derive(Debug, Default)]
struct Out {
    tasks: VecDeque<Task>,
    written: Written,
    known: BTreeMap<Vec<u8>, Version>,
}

impl Out {
    fn know(&mut self, key: &[u8], version: Version) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key.into(), version);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Updates {
    /// Tells this server's updates from others' with the same operation id.
    seed: u64,
    /// Of values that it writes.
    lease: Duration,
    jobs: BTreeMap<u64, (Box<dyn Job>, Instant)>,
    ready: VecDeque<u64>,
    running: usize,
    numbers: u64,
    out: Out,
}

impl Updates {
    /// `seed`: another one for each start of each server. `lease`: of values that it writes.
    pub fn new(seed: u64, lease: Duration) -> Updates {
        let (jobs, ready, out) = (BTreeMap::new(), VecDeque::new(), Out::default());
        Updates { seed, lease, jobs, ready, running: 0, numbers: 0, out }
    }

    /// Makes an update for `who`; [`Task::Updated`] follows. The asker's word is the operation id.
    pub fn update(&mut self, now: Instant, asker: Asker, who: &str, update: Update) {
        if self.jobs.len() >= JOBS_MAX {
            return self.out.tasks.push_back(Task::Updated(asker, Err(Failed::Full)));
        }
        let nonce = self.seed.wrapping_add(self.numbers + 1);
        self.start(now, Box::new(Drive::new(asker, who, update, nonce, self.lease)));
    }

    /// Reads the last value of a topic; [`Task::Value`] follows.
    pub fn read(&mut self, now: Instant, asker: Asker, topic: &Arc<Pattern<'static>>) {
        if self.jobs.len() >= JOBS_MAX {
            let words = "too many updates and reads are under way: try again".into();
            return self.out.tasks.push_back(Task::Value(asker, topic.clone(), Err(words)));
        }
        self.start(now, Box::new(Read::new(asker, topic.clone())));
    }

    /// Writes the last value of a topic, whatever it was; [`Task::Put`] follows.
    pub fn put(&mut self, now: Instant, request: u64, topic: &Pattern<'static>, event: Option<Bytes>) {
        let job = Put::new(request, topic, event, self.lease, &self.out);
        self.start(now, Box::new(job));
    }

    /// Finds the values that count where intents lie; [`Task::Page`] follows.
    pub fn settle(&mut self, now: Instant, request: u64, page: Page) {
        match Pages::new(request, page) {
            Ok(job) => self.start(now, Box::new(job)),
            Err(page) => self.out.tasks.push_back(Task::Page(request, Ok(page))),
        }
    }

    /// A record that was found on the ring: what its server has left half-done is finished.
    pub fn look_after(&mut self, now: Instant, key: &[u8], found: &Found) {
        if self.jobs.len() < JOBS_MAX
            && let Some(job) = Finish::new(key, found)
        {
            self.start(now, Box::new(job));
        }
    }

    /// The ring says that another version has won over this one, which was written here. The other side of a
    /// split that wins has a higher epoch; else what is lost is mostly an old copy somewhere.
    pub fn overtaken(&mut self, key: &[u8], version: Version, winner: Version) {
        self.out.known.remove(key);
        if winner.epoch <= version.epoch {
            return;
        }
        let told = self.out.written.take(key, version);
        self.out.tasks.extend(told.map(|(asker, topic)| Task::Overtaken(asker, topic)));
    }

    pub fn next_task(&mut self) -> Option<Task> {
        if let Some(task) = self.out.tasks.pop_front() {
            return Some(task);
        }
        while self.running < RUNNING_MAX {
            let number = self.ready.pop_front()?;
            let Some((job, _)) = self.jobs.get_mut(&number) else { continue };
            self.running += 1;
            return Some(Task::Ring(number, job.ask()));
        }
        None
    }

    /// What the ring said.
    pub fn handle_done(&mut self, now: Instant, number: u64, done: Done) {
        self.running = self.running.saturating_sub(1);
        let Some((job, until)) = self.jobs.get_mut(&number) else { return };
        let go = job.done(done, &mut self.out);
        if go != Go::Over && now >= *until {
            job.give_up(&mut self.out);
            self.jobs.remove(&number);
            return;
        }
        match go {
            Go::On => self.ready.push_back(number),
            Go::Pause => self.out.tasks.push_back(Task::Wake(number, PAUSE)),
            Go::Over => drop(self.jobs.remove(&number)),
        }
    }

    /// A pause is over.
    pub fn wake(&mut self, number: u64) {
        self.ready.push_back(number);
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    fn start(&mut self, now: Instant, job: Box<dyn Job>) {
        self.numbers += 1;
        self.jobs.insert(self.numbers, (job, now + DEADLINE));
        self.ready.push_back(self.numbers);
    }
}
