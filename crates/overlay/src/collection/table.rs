//! The farm's table on the ring: each task an item of its own, written only over the version that was read.
//!
//! The ring orders what is written by who owned the range and how often it was written; the farm by how far a
//! task is. So whatever does not lie there as expected is read and compared, and the farm's order decides
//! (compare and swap). *Absent: what tasks mean, and who may write; `lent` says that.*

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use xtreem_base::Duration;

use crate::farm::{self, Item, State, Stored, TaskId};
use crate::store::{self, Action, Failed, Operation, Refused, RequestId, Success, Value, Version};
use crate::{Key, Namespace};

use super::lent::TASKS;

/// Items that are read at once.
const PAGE: u16 = 256;
/// A task that nobody touches for so long is forgotten by the ring, unless a farmer that has it reads the
/// table and puts it again.
const LEASE: Duration = store::LEASE_MAX;
/// The mark of a task that was removed is kept for so long: longer than any copy of it may turn up late. Our
/// guess.
const REMOVED: Duration = Duration::from_secs(3_600);
/// Outcomes that this member has written and still remembers, in case the ring keeps another item of a split;
/// the oldest is forgotten. Our guess.
const OUTCOMES_MAX: usize = 4_096;
/// Bytes of these at most.
const OUTCOMES_MAX_BYTES: usize = 16 << 20;

/// What the farm wants of the ring.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Put(Item),
    Load,
    /// What is being read does not count any more.
    LoadAnew,
    Remove(TaskId),
}

/// What is to be told to the farm, or begun on the ring.
#[derive(Debug, Default)]
pub(super) struct Next {
    pub(super) stored: Option<(TaskId, Stored)>,
    pub(super) loaded: Option<Vec<Item>>,
    pub(super) begin: Option<(Operation, Purpose)>,
}

/// What an operation of the ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Write(TaskId),
    Read(TaskId),
    /// Of one reading of the table.
    Page(u32),
    Remove,
}

/// An item on its way, and a newer one of the same task that waits for it.
#[derive(Clone, Debug)]
struct Job {
    item: Item,
    newer: Option<Item>,
}

/// What was read of the table so far.
#[derive(Clone, Debug, Default)]
struct Loading {
    items: Vec<Item>,
    bytes: usize,
}

/// Invariant: each job has one operation under way.
#[derive(Clone, Debug)]
pub(super) struct Table {
    copies: u8,
    jobs: BTreeMap<TaskId, Job>,
    under_way: BTreeMap<RequestId, Purpose>,
    /// As they lay on the ring when this member saw them last.
    versions: BTreeMap<TaskId, Version>,
    loading: Option<Loading>,
    /// Counts readings: what comes of an earlier one is not of this one.
    reading: u32,
    outcomes: VecDeque<Item>,
    outcome_bytes: usize,
}

pub(super) fn key_of(task: TaskId) -> Key {
    Key::new(TASKS, &task.0).unwrap_or_default()
}

fn task_of(key: &Key) -> Option<TaskId> {
    let name = key.as_bytes().strip_prefix(&[TASKS.0])?;
    Some(TaskId(name.try_into().ok()?))
}

/// None for what no farmer has written.
fn item_in(key: &Key, value: &Value) -> Option<Item> {
    let item: Item = minicbor::decode(value.as_bytes()).ok()?;
    (task_of(key) == Some(item.task)).then_some(item)
}

impl Table {
    pub(super) fn new(copies: u8) -> Table {
        Table {
            copies,
            jobs: BTreeMap::new(),
            under_way: BTreeMap::new(),
            versions: BTreeMap::new(),
            loading: None,
            reading: 0,
            outcomes: VecDeque::new(),
            outcome_bytes: 0,
        }
    }

    /// What is to be begun for a request of the farm, if anything.
    pub(super) fn request(&mut self, request: Request) -> Option<(Operation, Purpose)> {
        match request {
            Request::Put(item) => {
                let task = item.task;
                if let Some(job) = self.jobs.get_mut(&task) {
                    job.newer = Some(item);
                    return None;
                }
                let operation = self.write(&item);
                self.jobs.insert(task, Job { item, newer: None });
                Some((operation, Purpose::Write(task)))
            }
            Request::Load if self.loading.is_some() => None,
            Request::Load => {
                self.loading = Some(Loading::default());
                self.reading = self.reading.wrapping_add(1);
                Some((page(Key::new(TASKS, b"").unwrap_or_default()), Purpose::Page(self.reading)))
            }
            Request::LoadAnew => {
                self.loading = None;
                self.request(Request::Load)
            }
            Request::Remove(task) => {
                let expected = self.versions.remove(&task);
                let action = Action::Write { value: None, degree: self.copies, lease: REMOVED, expected };
                Some((Operation { key: key_of(task), action }, Purpose::Remove))
            }
        }
    }

    /// The operation has begun under this id.
    pub(super) fn begun(&mut self, request: RequestId, purpose: Purpose) {
        self.under_way.insert(request, purpose);
    }

    /// There was no room for it: the farm asks again.
    pub(super) fn not_begun(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Write(task) | Purpose::Read(task) => drop(self.jobs.remove(&task)),
            Purpose::Page(reading) if reading == self.reading => self.loading = None,
            Purpose::Page(_) | Purpose::Remove => {}
        }
    }

    /// What the ring has answered. None: it is no operation of the table.
    pub(super) fn done(&mut self, request: RequestId, result: &Result<Success, Failed>) -> Option<Next> {
        let purpose = self.under_way.remove(&request)?;
        Some(match purpose {
            Purpose::Page(reading) if reading == self.reading => self.page_read(result),
            Purpose::Page(_) | Purpose::Remove => Next::default(),
            Purpose::Write(task) => self.written(task, result),
            Purpose::Read(task) => self.read(task, result),
        })
    }

    fn write(&self, item: &Item) -> Operation {
        let expected = Some(self.versions.get(&item.task).copied().unwrap_or_default());
        // It fits: a body is shorter than a value by more than what stands beside it.
        let value = minicbor::to_vec(item).ok().and_then(|bytes| Value::new(&bytes).ok());
        let action = Action::Write { value, degree: self.copies, lease: LEASE, expected };
        Operation { key: key_of(item.task), action }
    }

    fn written(&mut self, task: TaskId, result: &Result<Success, Failed>) -> Next {
        match result {
            Ok(Success::Written { version, .. }) => {
                self.versions.insert(task, *version);
                let stamp = self.jobs.get(&task).map(|job| job.item.stamp());
                self.remember(task);
                self.over(task, stamp.map(Stored::Kept))
            }
            Err(Failed::Refused(Refused::AnotherVersion(_))) => {
                let begin = Some((read(task), Purpose::Read(task)));
                Next { begin, ..Next::default() }
            }
            _ => self.over(task, None),
        }
    }

    fn read(&mut self, task: TaskId, result: &Result<Success, Failed>) -> Next {
        let (Ok(Success::Got { found, .. }), Some(job)) = (result, self.jobs.get(&task)) else {
            return self.over(task, None);
        };
        let lies = found.as_ref().and_then(|found| item_in(&found.key, &found.value));
        let version = found.as_ref().map_or(Version::default(), |found| found.version);
        self.versions.insert(task, version);
        match lies {
            Some(item) if item.stamp() == job.item.stamp() => {
                self.over(task, Some(Stored::Kept(item.stamp())))
            }
            Some(item) if item.stamp() > job.item.stamp() => self.over(task, Some(Stored::Lost(item))),
            _ => {
                let begin = Some((self.write(&job.item), Purpose::Write(task)));
                Next { begin, ..Next::default() }
            }
        }
    }

    /// An item is where it shall be, or cannot be put now; the newer one follows.
    fn over(&mut self, task: TaskId, stored: Option<Stored>) -> Next {
        let newer = self.jobs.remove(&task).and_then(|job| job.newer);
        let begin = newer.and_then(|item| self.request(Request::Put(item)));
        Next { stored: stored.map(|stored| (task, stored)), begin, ..Next::default() }
    }

    fn page_read(&mut self, result: &Result<Success, Failed>) -> Next {
        let (Ok(Success::Scanned { found, next }), Some(mut loading)) = (result, self.loading.take()) else {
            return Next::default();
        };
        for found in found {
            let Some(task) = task_of(&found.key) else { continue };
            self.versions.insert(task, found.version);
            loading.bytes += found.value.as_bytes().len();
            loading.items.extend(item_in(&found.key, &found.value));
        }
        // What goes beyond has no room in the farmer's table either.
        let has_room = loading.items.len() < farm::TASKS_MAX && loading.bytes < farm::BYTES_MAX;
        match next {
            Some(next) if has_room => {
                self.loading = Some(loading);
                Next { begin: Some((page(next.clone()), Purpose::Page(self.reading))), ..Next::default() }
            }
            _ => {
                self.forget_versions(&loading.items);
                Next { loaded: Some(loading.items), ..Next::default() }
            }
        }
    }

    /// Versions of what is neither there nor on its way are not needed.
    fn forget_versions(&mut self, items: &[Item]) {
        if self.versions.len() > items.len() + self.jobs.len() {
            let there: alloc::collections::BTreeSet<TaskId> = items.iter().map(|item| item.task).collect();
            self.versions.retain(|task, _| there.contains(task) || self.jobs.contains_key(task));
        }
    }

    fn remember(&mut self, task: TaskId) {
        let Some(job) = self.jobs.get(&task).filter(|job| !job.item.state.is_open()) else { return };
        let item = job.item.clone();
        self.outcome_bytes += bytes_of(&item);
        self.outcomes.push_back(item);
        while self.outcomes.len() > OUTCOMES_MAX || self.outcome_bytes > OUTCOMES_MAX_BYTES {
            let Some(oldest) = self.outcomes.pop_front() else { return };
            self.outcome_bytes -= bytes_of(&oldest);
        }
    }

    /// What this member wrote has lost, after a split, against what lies there now: an outcome is put again
    /// where it stands higher.
    pub(super) fn lost(&mut self, key: &Key) -> Option<(Operation, Purpose)> {
        let task = task_of(key)?;
        let item = self.outcomes.iter().rev().find(|item| item.task == task)?.clone();
        if self.jobs.contains_key(&task) {
            return None;
        }
        self.jobs.insert(task, Job { item, newer: None });
        Some((read(task), Purpose::Read(task)))
    }
}

fn bytes_of(item: &Item) -> usize {
    match &item.state {
        State::Open { input: body, .. } | State::Done { result: body, .. } => body.as_bytes().len(),
        State::GivenUp { input, .. } => input.as_bytes().len(),
        State::Collected { .. } => 0,
    }
}

fn read(task: TaskId) -> Operation {
    Operation { key: key_of(task), action: Action::Get }
}

fn page(from: Key) -> Operation {
    let end = Key::new(Namespace(TASKS.0 + 1), b"").unwrap_or_default();
    Operation { key: from, action: Action::Scan { hi: Some(end), limit: PAGE } }
}
