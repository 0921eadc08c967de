//! Finding all, or counting: a query is handed down the trie, each subtree once, and what comes back is
//! merged on the way up.
//!
//! Unlike a search, this keeps state in visited nodes while it runs, and what arrives is the word of the
//! nodes on the way (docs/design/selection.md, "Queries for all").

mod message;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xtreem_base::{Deadlines, Duration, Handle, Instant, Rng, Wake};

use crate::Requirement;
use crate::region::Region;
use crate::search::aim::Aims;
use crate::search::report::{Ended, Plan, Report};
use crate::search::spec::SearchId;
use crate::trie::{COUNT_MAX, Trie};
use crate::visit::host::{Host, SearchEvent, SearchSink};
use crate::visit::message::Message;
use crate::visit::route::{Link, Place};

pub use message::{
    Delegate, FOUND_MAX, FOUND_WITH_ATTRIBUTES_MAX, Found, Gather, Gathered, HISTOGRAM_MAX, Histogram, Tally,
};

/// Queries of others that a node works on at once; a further one is declined. A query for all costs a node
/// one (our guess: a grid has tens of users who ask for everything in the same seconds).
pub const TASKS_MAX: usize = 256;
/// Of them, for one and the same node: nobody alone keeps others from asking (our guess: as TASKS_MAX).
pub const TASKS_PER_PARENT_MAX: usize = 32;
/// How often a node that is not done says so (our guess: a fraction of what users notice).
const PULSE: Duration = Duration::from_secs(1);
/// A node not heard of for so long is given up, and the next of its subtree is asked: two pulses and a slow
/// round trip.
const SILENCE: Duration = Duration::from_millis(2_500);
/// What is left of the time for those below, in sixteenths: their words must travel up too.
const TIME_BELOW: u64 = 15;
/// Matching nodes told apart by a requester; those beyond it are only counted.
pub const ALL_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Pulse(u32),
    Deadline(u32),
    Child(u32),
}

/// Who waits for a task.
enum For {
    /// The node above, and its name for it.
    Parent(Handle, u32),
    /// A user of this node, who hears of each node once.
    User(SearchId, BTreeSet<Handle>),
}

struct Task {
    whose: For,
    until: Instant,
    query: Gather,
    schema: u32,
    dimensions: usize,
    region: Region,
    waiting: BTreeSet<u32>,
    tally: Tally,
    found: Vec<Found>,
    /// Messages with matches that went up before the last one.
    parts: u32,
}

/// A subtree that was handed on.
struct Child {
    task: u32,
    link: Link,
    tried: u8,
    asked: Handle,
    /// Messages with matches that came from there.
    parts: u32,
    /// It is done, and sent so many of them: messages overtake one another.
    parts_sent: Option<u32>,
}

impl Child {
    fn is_complete(&self) -> bool {
        self.parts_sent.is_some_and(|sent| self.parts >= sent)
    }
}

pub(crate) struct Gathering {
    me: Handle,
    rng: Rng,
    next: u32,
    tasks: BTreeMap<u32, Task>,
    children: BTreeMap<u32, Child>,
    deadlines: Deadlines<Timer>,
}

impl Gathering {
    pub(crate) fn new(me: Handle, rng: Rng) -> Self {
        Gathering {
            me,
            rng,
            next: 0,
            tasks: BTreeMap::new(),
            children: BTreeMap::new(),
            deadlines: Deadlines::default(),
        }
    }

    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Asks all nodes of the grid for this node's user. The node must know the trie.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        search: SearchId,
        query: Gather,
        time: Duration,
        host: &impl Host,
        out: &mut impl SearchSink,
    ) {
        let Some(schema) = host.trie(None).map(|trie| trie.schema().version()) else { return };
        self.begin(now, For::User(search, BTreeSet::new()), query, schema, 0, time, host, out);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one task")]
    fn begin(
        &mut self,
        now: Instant,
        whose: For,
        query: Gather,
        schema: u32,
        len: u8,
        time: Duration,
        host: &impl Host,
        out: &mut impl SearchSink,
    ) {
        let Some(trie) = host.trie(Some(schema)) else { return };
        let (region, dimensions) =
            (query.requirement.region(trie.schema()), trie.schema().dimensions().len());
        let place = Place::of(trie, len.into(), &region, Aims::NONE);
        let failing = query.requirement.failing(host.attributes());
        let mut tally = Tally::of(&query, host.attributes(), failing);
        let mut found = Vec::new();
        if failing == 0 {
            if query.list {
                let attributes = query.attributes.then(|| host.attributes().without_lists());
                found.push(Found { peer: self.me, attributes });
            }
            tally.matched = 1;
        }
        let id = self.number();
        let until = now + time;
        let waiting = BTreeSet::new();
        let task = Task { whose, until, query, schema, dimensions, region, waiting, tally, found, parts: 0 };
        self.tasks.insert(id, task);
        self.deadlines.set(Timer::Deadline(id), until);
        self.deadlines.set(Timer::Pulse(id), now + PULSE);
        for link in place.links {
            let number = self.number();
            let asked = Handle::NONE;
            let child = Child { task: id, link, tried: 0, asked, parts: 0, parts_sent: None };
            self.children.insert(number, child);
            if let Some(task) = self.tasks.get_mut(&id) {
                task.waiting.insert(number);
            }
            self.hand_on(now, number, out);
        }
        self.proceed(id, out);
    }

    /// Asks an alternate of a subtree that was not asked yet, best one that can match itself; without one the
    /// subtree is lost.
    fn hand_on(&mut self, now: Instant, number: u32, out: &mut impl SearchSink) {
        let Some(child) = self.children.get_mut(&number) else { return };
        let Some(task) = self.tasks.get_mut(&child.task) else { return };
        let alternates = &child.link.alternates;
        let matches = |i: &usize| task.region.contains(&alternates[*i].key.codes(task.dimensions));
        let left = (0..alternates.len()).filter(|i| child.tried >> i & 1 == 0);
        let Some(i) = left.max_by_key(|i| (matches(i), self.rng.next_u32())) else {
            task.tally.miss(child.link.count);
            task.waiting.remove(&number);
            self.children.remove(&number);
            self.deadlines.clear(&Timer::Child(number));
            return;
        };
        child.tried |= 1 << i;
        child.asked = alternates[i].handle;
        child.parts = 0;
        let time = task.until.since(now);
        let delegate = Delegate {
            task: number,
            gather: task.query.clone(),
            schema: task.schema,
            len: child.link.level + 1,
            key: alternates[i].key,
            last: child.tried.count_ones() as usize == alternates.len(),
            time_ms: (time.as_millis() * TIME_BELOW / 16).min(u32::MAX.into()) as u32,
        };
        self.deadlines.set(Timer::Child(number), now + SILENCE);
        out.send(child.asked, Message::Delegate(delegate));
    }

    /// Somebody hands a subtree to this node.
    pub(crate) fn handle_delegate(
        &mut self,
        now: Instant,
        from: Handle,
        delegate: Delegate,
        host: &impl Host,
        out: &mut impl SearchSink,
    ) {
        let Delegate { task, gather, schema, len, key, time_ms, last } = delegate;
        let is_there =
            |trie: &Trie| (last || trie.is_settled()) && trie.key().common_prefix(&key) >= usize::from(len);
        let is_his = |task: &&Task| matches!(task.whose, For::Parent(parent, _) if parent == from);
        let is_busy = || self.tasks.values().filter(is_his).count() >= TASKS_PER_PARENT_MAX;
        if self.tasks.len() >= TASKS_MAX || is_busy() || !host.trie(Some(schema)).is_some_and(is_there) {
            return out.send(from, Message::Declined { task });
        }
        let time = Duration::from_millis(time_ms.into()).min(crate::search::spec::DEADLINE_MAX);
        self.begin(now, For::Parent(from, task), gather, schema, len, time, host, out);
    }

    /// The child of that number, if `from` is who was asked last.
    fn task_of(&self, from: Handle, number: u32) -> Option<u32> {
        self.children.get(&number).filter(|child| child.asked == from).map(|child| child.task)
    }

    /// `from` is not done, and may have found some already.
    pub(crate) fn handle_working(
        &mut self,
        now: Instant,
        from: Handle,
        number: u32,
        found: Vec<Found>,
        out: &mut impl SearchSink,
    ) {
        let Some(id) = self.task_of(from, number) else { return };
        out.contact_answered(from);
        self.deadlines.set(Timer::Child(number), now + SILENCE);
        if let Some(child) = self.children.get_mut(&number).filter(|_| !found.is_empty()) {
            child.parts = child.parts.saturating_add(1);
        }
        self.take(id, found, out);
        self.end_child(number);
        self.proceed(id, out);
    }

    pub(crate) fn handle_gathered(
        &mut self,
        now: Instant,
        from: Handle,
        number: u32,
        gathered: Gathered,
        out: &mut impl SearchSink,
    ) {
        let Some(id) = self.task_of(from, number) else { return };
        let Gathered { tally, parts, found } = gathered;
        let (Some(task), Some(child)) = (self.tasks.get_mut(&id), self.children.get_mut(&number)) else {
            return;
        };
        if child.parts_sent.is_some() {
            return;
        }
        if !tally.is_sound(&task.query) {
            // It counts as declined: the next alternate may make sense.
            return self.handle_declined(now, from, number, out);
        }
        out.contact_answered(from);
        child.parts_sent = Some(parts);
        task.tally.add(tally);
        self.take(id, found, out);
        self.end_child(number);
        self.proceed(id, out);
    }

    /// Forgets a subtree that has told all.
    fn end_child(&mut self, number: u32) {
        if let Some(child) = self.children.get(&number).filter(|child| child.is_complete()) {
            if let Some(task) = self.tasks.get_mut(&child.task) {
                task.waiting.remove(&number);
            }
            self.children.remove(&number);
            self.deadlines.clear(&Timer::Child(number));
        }
    }

    pub(crate) fn handle_declined(
        &mut self,
        now: Instant,
        from: Handle,
        number: u32,
        out: &mut impl SearchSink,
    ) {
        let Some(id) = self.task_of(from, number) else { return };
        out.contact_answered(from);
        self.hand_on(now, number, out);
        self.proceed(id, out);
    }

    /// Matches from below: to the user at once, upwards when there are enough for a message.
    fn take(&mut self, id: u32, found: Vec<Found>, out: &mut impl SearchSink) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if !task.query.list {
            return;
        }
        task.found.extend(found);
        if matches!(task.whose, For::User(..)) || task.found.len() >= task.query.found_max() {
            task.tell(out);
        }
    }

    /// Ends a task for which nobody is waited for any more.
    fn proceed(&mut self, id: u32, out: &mut impl SearchSink) {
        if self.tasks.get(&id).is_some_and(|task| task.waiting.is_empty()) {
            self.finish(id, Ended::Exhausted, out);
        }
    }

    fn finish(&mut self, id: u32, ended: Ended, out: &mut impl SearchSink) {
        let Some(mut task) = self.tasks.remove(&id) else { return };
        self.deadlines.clear(&Timer::Deadline(id));
        self.deadlines.clear(&Timer::Pulse(id));
        for number in core::mem::take(&mut task.waiting) {
            self.deadlines.clear(&Timer::Child(number));
            if let Some(child) = self.children.remove(&number) {
                task.tally.leave(child.link.count);
            }
        }
        task.tell_most(out);
        match task.whose {
            For::Parent(parent, number) => {
                let gathered = Gathered { tally: task.tally, parts: task.parts, found: task.found };
                out.send(parent, Message::Gathered { task: number, gathered });
            }
            For::User(search, _) => {
                let report = task.tally.report(&task.query.requirement, ended);
                out.event(SearchEvent::Done { search, report });
            }
        }
    }

    /// A user does not wait any longer. Those below end by themselves.
    pub(crate) fn cancel(&mut self, search: SearchId, out: &mut impl SearchSink) {
        let is_his = |task: &Task| matches!(task.whose, For::User(whose, _) if whose == search);
        if let Some(id) = self.tasks.iter().find(|(_, task)| is_his(task)).map(|(id, _)| *id) {
            self.finish(id, Ended::Cancelled, out);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut impl SearchSink) {
        while let Some(timer) = self.deadlines.expire(now) {
            match timer {
                Timer::Deadline(id) => self.finish(id, Ended::Deadline, out),
                Timer::Pulse(id) => {
                    if let Some(task) = self.tasks.get_mut(&id) {
                        self.deadlines.set(Timer::Pulse(id), now + PULSE);
                        task.pulse(out);
                    }
                }
                Timer::Child(number) => {
                    let Some(child) = self.children.get(&number) else { continue };
                    let (id, silent) = (child.task, child.asked);
                    if child.parts_sent.is_some() {
                        // Its matches got lost on the way. It cannot tell them again.
                        if let Some(task) = self.tasks.get_mut(&id) {
                            task.waiting.remove(&number);
                            task.tally.miss(1);
                        }
                        self.children.remove(&number);
                        self.proceed(id, out);
                        continue;
                    }
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.tally.silent = (task.tally.silent + 1).min(COUNT_MAX);
                    }
                    out.contact_silent(silent);
                    self.hand_on(now, number, out);
                    self.proceed(id, out);
                }
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Wake {
        self.deadlines.next().map_or(Wake::NEVER, |(at, timer)| match timer {
            Timer::Pulse(_) => Wake::new(at, "pulse of a query for all"),
            Timer::Deadline(_) => Wake::new(at, "end of a query for all"),
            Timer::Child(_) => Wake::new(at, "part of a query for all overdue"),
        })
    }

    /// Queries of this node's own users.
    pub(crate) fn running(&self) -> usize {
        self.tasks.values().filter(|task| matches!(task.whose, For::User(..))).count()
    }

    pub(crate) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        for task in self.tasks.values() {
            match &task.whose {
                For::Parent(parent, _) => f(*parent),
                For::User(_, seen) => seen.iter().copied().for_each(&mut *f),
            }
            task.found.iter().for_each(|found| f(found.peer));
        }
        for child in self.children.values() {
            child.link.alternates.iter().for_each(|step| f(step.handle));
        }
    }
}

impl Task {
    /// Hands on what was found, as far as it fills messages.
    fn tell(&mut self, out: &mut impl SearchSink) {
        match &mut self.whose {
            For::Parent(parent, number) => {
                let max = self.query.found_max();
                while self.found.len() >= max {
                    let found = self.found.split_off(self.found.len() - max);
                    self.parts += 1;
                    out.send(*parent, Message::Working { task: *number, found });
                }
            }
            For::User(search, seen) => {
                for Found { peer, attributes } in self.found.drain(..) {
                    // An alternate may have told again what one found that was silent later.
                    if seen.len() < ALL_MAX && seen.insert(peer) {
                        out.event(SearchEvent::Match {
                            search: *search,
                            peer,
                            hold: None,
                            attributes,
                            facts: None,
                        });
                    }
                }
            }
        }
    }

    /// Hands on all but what fits the last message.
    fn tell_most(&mut self, out: &mut impl SearchSink) {
        if matches!(self.whose, For::User(..)) || self.found.len() > self.query.found_max() {
            self.tell(out);
        }
    }

    fn pulse(&mut self, out: &mut impl SearchSink) {
        self.tell(out);
        if let For::Parent(parent, number) = self.whose {
            let found = core::mem::take(&mut self.found);
            self.parts += u32::from(!found.is_empty());
            out.send(parent, Message::Working { task: number, found });
        }
    }
}

impl Tally {
    fn report(self, requirement: &Requirement, ended: Ended) -> Report {
        let clauses = requirement.clauses().map(Into::into);
        Report {
            plan: Plan::Gather,
            round_trips: self.depth,
            visits: self.visited.saturating_add(self.silent),
            visited: self.visited.saturating_add(self.silent),
            answered: self.visited,
            silent: self.silent,
            matched: self.matched,
            granted: 0,
            refused: Default::default(),
            forbidden: Vec::new(),
            lost: self.lost,
            unopened: self.unopened,
            grid_size_estimate: None,
            excluded: clauses.zip(self.failing).collect(),
            histogram: self.histogram,
            set: None,
            ended,
        }
    }
}
