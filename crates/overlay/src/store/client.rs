//! The side that asks: operations of this node, each until its owner has answered or its time is over.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant};

use super::item::{RequestId, Version};
use super::message::{Action, Found, Message, Outcome};
use super::shelf::Refused;
use super::{Config, Event, Fault, Host, Store};
use crate::ring::{Contact, LookupId, Owner};
use crate::{Key, Position, Range};

/// Operations of one node at a time; a further one is refused.
pub const TASKS_MAX: usize = 256;
/// Items of one bulk load at most; more are loaded by another one.
pub const LOADED_MAX: usize = 65_536;
/// Items of a bulk load that are on their way at once.
const LOADING_MAX: usize = 32;
/// Owners that are remembered; the oldest is forgotten. What they say now is asked of them anew each time.
const OWNERS_MAX: usize = 32;
/// Items of a scan at most.
pub const SCANNED_MAX: usize = 16_384;

/// One operation, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub key: Key,
    pub action: Action,
}

/// What an operation has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    Written {
        version: Version,
        epoch: u64,
    },
    Got {
        found: Option<Found>,
        epoch: u64,
    },
    /// In the order of the keys. `next`: where to go on, if the limit was reached.
    Scanned {
        found: Vec<Found>,
        next: Option<Key>,
    },
    /// So many items were loaded; of the others the key and why not.
    Loaded {
        written: usize,
        failed: Vec<(Key, Failed)>,
    },
}

/// What an operation has failed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Definite.
    #[error("refused: {0}")]
    Refused(Refused),
    /// Definite.
    #[error("no owner answered in time; nothing was done: try again")]
    Unanswered,
    /// The owner was asked and did not answer, or not all copies could be made.
    #[error("it may have been done and may yet be: read the key, or repeat with the same request id")]
    Indefinite,
}

/// Nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{TASKS_MAX} operations, or {LOADED_MAX} items, are under way: wait for some of them")]
pub struct TooMany;

#[derive(Clone, Debug)]
enum State {
    LookingUp(LookupId),
    Asking(Handle),
    Pausing,
}

#[derive(Clone, Debug)]
struct Task {
    request: RequestId,
    key: Key,
    action: Action,
    state: State,
    due: Instant,
    deadline: Instant,
    tries: u8,
    /// An owner may have done it.
    was_sent: bool,
    /// Of a scan, so far.
    found: Vec<Found>,
    /// Whose part it is.
    load: Option<RequestId>,
}

#[derive(Clone, Debug)]
struct Load {
    request: RequestId,
    waiting: VecDeque<Operation>,
    under_way: usize,
    /// When nothing more is begun, unless an owner answers before: a deadline after the last one did.
    until: Instant,
    written: usize,
    failed: Vec<(Key, Failed)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    tasks: Vec<Task>,
    loads: Vec<Load>,
    owners: Vec<(Range, Contact)>,
}

impl Client {
    pub(super) fn next_due(&self) -> Instant {
        self.tasks.iter().map(|it| it.due.min(it.deadline)).min().unwrap_or(Instant::FAR)
    }

    pub(super) fn forget(&mut self, peer: Handle, now: Instant) {
        self.owners.retain(|(_, contact)| contact.handle != peer);
        let asks = |task: &&mut Task| matches!(task.state, State::Asking(owner) if owner == peer);
        for task in self.tasks.iter_mut().filter(asks) {
            (task.state, task.due) = (State::Pausing, now);
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.owners.iter().for_each(|(_, contact)| f(contact.handle));
        for task in &self.tasks {
            if let State::Asking(owner) = task.state {
                f(owner);
            }
        }
    }

    fn remember(&mut self, owner: &Owner) {
        self.owners.retain(|(_, known)| known.handle != owner.contact.handle);
        if self.owners.len() >= OWNERS_MAX {
            self.owners.remove(0);
        }
        self.owners.push((owner.range.clone(), owner.contact.clone()));
    }

    fn owner_of(&self, key: &Key) -> Option<Handle> {
        let known = self.owners.iter().rev().find(|(range, _)| range.contains_key(key));
        known.map(|(_, contact)| contact.handle)
    }
}

impl Store {
    /// Begins an operation; [`Event::Done`] follows with the id that is returned.
    ///
    /// # Errors
    /// [`TASKS_MAX`] are under way.
    pub fn begin<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        operation: Operation,
        out: &mut H,
    ) -> Result<RequestId, TooMany> {
        let request = RequestId(self.rng.next_u64());
        self.repeat(call, request, operation, out)?;
        Ok(request)
    }

    /// Begins an operation under an id that it had before: what has been done is not done twice.
    ///
    /// # Errors
    /// [`TASKS_MAX`] are under way.
    pub fn repeat<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        request: RequestId,
        operation: Operation,
        out: &mut H,
    ) -> Result<(), TooMany> {
        if self.client.tasks.len() >= TASKS_MAX {
            return Err(TooMany);
        }
        self.start_task(call, request, operation, None, out);
        Ok(())
    }

    /// Writes many items, sorted by key so that each owner is looked for once, 32 at a time.
    ///
    /// # Errors
    /// Too many items or operations.
    pub fn load<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        mut items: Vec<Operation>,
        out: &mut H,
    ) -> Result<RequestId, TooMany> {
        let waiting: usize = self.client.loads.iter().map(|load| load.waiting.len()).sum();
        let is_write = |it: &Operation| matches!(it.action, Action::Write { .. });
        if waiting + items.len() > LOADED_MAX || self.client.tasks.len() + LOADING_MAX > TASKS_MAX {
            return Err(TooMany);
        }
        items.retain(is_write);
        items.sort_by(|a, b| a.key.cmp(&b.key));
        let request = RequestId(self.rng.next_u64());
        let until = call.now + call.config.deadline;
        let (waiting, failed) = (items.into(), Vec::new());
        let load = Load { request, waiting, under_way: 0, until, written: 0, failed };
        self.client.loads.push(load);
        self.go_on_loading(call, request, out);
        Ok(request)
    }

    fn go_on_loading<H: Host>(&mut self, call: Call<'_, Config>, request: RequestId, out: &mut H) {
        loop {
            let full = self.client.tasks.len() >= TASKS_MAX;
            let Some(at) = self.client.loads.iter().position(|it| it.request == request) else { return };
            let load = &mut self.client.loads[at];
            if load.until <= call.now {
                let unanswered = |item: Operation| (item.key, Failed::Unanswered);
                load.failed.extend(load.waiting.drain(..).map(unanswered));
            }
            if load.under_way == 0 && load.waiting.is_empty() {
                let Load { written, failed, .. } = self.client.loads.remove(at);
                let result = Ok(Success::Loaded { written, failed });
                return out.event(Event::Done { request, result });
            }
            // The first one finds the owner for those behind it.
            let first = load.waiting.front().map(|it| it.key.clone());
            let is_known = first.is_some_and(|key| self.client.owner_of(&key).is_some());
            let load = &mut self.client.loads[at];
            if full || load.under_way >= LOADING_MAX || (load.under_way > 0 && !is_known) {
                return;
            }
            let Some(operation) = load.waiting.pop_front() else { return };
            load.under_way += 1;
            let part = RequestId(self.rng.next_u64());
            self.start_task(call, part, operation, Some(request), out);
        }
    }

    fn start_task<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        request: RequestId,
        Operation { key, action }: Operation,
        load: Option<RequestId>,
        out: &mut H,
    ) {
        let (state, found) = (State::Pausing, Vec::new());
        let deadline = call.now + call.config.deadline;
        let due = call.now;
        let task =
            Task { request, key, action, state, due, deadline, tries: 0, was_sent: false, found, load };
        self.go_on_task(call, task, out);
    }

    /// Asks the owner, or who it is.
    fn go_on_task<H: Host>(&mut self, call: Call<'_, Config>, mut task: Task, out: &mut H) {
        if let Some(owner) = self.client.owner_of(&task.key) {
            return self.ask_owner(call, task, owner, out);
        }
        match out.look_up(Position::of_key(task.key.clone())) {
            Some(lookup) => (task.state, task.due) = (State::LookingUp(lookup), task.deadline),
            None => (task.state, task.due) = (State::Pausing, call.now + call.config.retry_pause),
        }
        self.client.tasks.push(task);
    }

    fn ask_owner<H: Host>(&mut self, call: Call<'_, Config>, mut task: Task, owner: Handle, out: &mut H) {
        task.was_sent |= task.action.is_write();
        task.state = State::Asking(owner);
        task.due = call.now + call.config.answer_timeout;
        let (request, key, mut action) = (task.request, task.key.clone(), task.action.clone());
        if let Action::Scan { limit, .. } = &mut action {
            *limit = limit.saturating_sub(task.found.len() as u16);
        }
        out.send(owner, Message::Ask { request, key, action });
        self.client.tasks.push(task);
    }

    /// The ring has found an owner that was asked for here.
    pub fn handle_found<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        lookup: LookupId,
        owner: &Owner,
        out: &mut H,
    ) {
        if self.found_for_stray(call, lookup, Some(owner), out) {
            return;
        }
        let is_it = |task: &Task| matches!(task.state, State::LookingUp(it) if it == lookup);
        let Some(at) = self.client.tasks.iter().position(is_it) else { return };
        let task = self.client.tasks.swap_remove(at);
        self.client.remember(owner);
        let load = task.load;
        self.ask_owner(call, Task { tries: 0, ..task }, owner.contact.handle, out);
        if let Some(load) = load {
            self.go_on_loading(call, load, out);
        }
    }

    /// The ring has found no owner in time.
    pub fn handle_not_found<H: Host>(&mut self, call: Call<'_, Config>, lookup: LookupId, out: &mut H) {
        if self.found_for_stray(call, lookup, None, out) {
            return;
        }
        let is_it = |task: &Task| matches!(task.state, State::LookingUp(it) if it == lookup);
        if let Some(task) = self.client.tasks.iter_mut().find(|it| is_it(it)) {
            (task.state, task.due) = (State::Pausing, call.now + call.config.retry_pause);
        }
    }

    pub(super) fn on_answer<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        request: RequestId,
        outcome: Outcome,
        epoch: u64,
        out: &mut H,
    ) -> Result<(), Fault> {
        let is_it = |task: &Task| {
            task.request == request && matches!(task.state, State::Asking(owner) if owner == from)
        };
        let at = self.client.tasks.iter().position(is_it).ok_or(Fault::Unasked)?;
        if !fits(&self.client.tasks[at], &outcome) {
            return Err(Fault::NotAsked);
        }
        out.contact_answered(from);
        let mut task = self.client.tasks.swap_remove(at);
        match outcome {
            Outcome::Written { version } => {
                self.done(call, task, Ok(Success::Written { version, epoch }), out)
            }
            Outcome::Got(found) => self.done(call, task, Ok(Success::Got { found, epoch }), out),
            Outcome::Refused(refused) => self.done(call, task, Err(Failed::Refused(refused)), out),
            Outcome::Scanned { found, next } => {
                task.found.extend(found.into_vec());
                let limit = match task.action {
                    Action::Scan { limit, .. } => usize::from(limit).min(SCANNED_MAX),
                    _ => 0,
                };
                match next {
                    Some(next) if task.found.len() < limit => {
                        task.key = next;
                        task.deadline = call.now + call.config.deadline;
                        self.go_on_task(call, Task { tries: 0, ..task }, out);
                    }
                    next => {
                        let found = core::mem::take(&mut task.found);
                        self.done(call, task, Ok(Success::Scanned { found, next }), out);
                    }
                }
            }
            Outcome::NotOwner => {
                self.client.owners.retain(|(_, contact)| contact.handle != from);
                (task.state, task.due) = (State::Pausing, call.now + call.config.retry_pause);
                self.client.tasks.push(task);
            }
            Outcome::Later => {
                (task.state, task.due) = (State::Pausing, call.now + call.config.retry_pause);
                self.client.tasks.push(task);
            }
        }
        Ok(())
    }

    fn done<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: Task,
        result: Result<Success, Failed>,
        out: &mut H,
    ) {
        let Some(request) = task.load else {
            return out.event(Event::Done { request: task.request, result });
        };
        if let Some(load) = self.client.loads.iter_mut().find(|it| it.request == request) {
            load.under_way -= 1;
            if matches!(result, Ok(_) | Err(Failed::Refused(_))) {
                load.until = call.now + call.config.deadline;
            }
            match result {
                Ok(_) => load.written += 1,
                Err(failed) => load.failed.push((task.key, failed)),
            }
        }
        self.go_on_loading(call, request, out);
    }

    pub(super) fn tick_client<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let is_due = |task: &Task| task.due <= call.now || task.deadline <= call.now;
        while let Some(at) = self.client.tasks.iter().position(is_due) {
            let mut task = self.client.tasks.swap_remove(at);
            if task.deadline <= call.now {
                let failed = if task.was_sent { Failed::Indefinite } else { Failed::Unanswered };
                self.done(call, task, Err(failed), out);
                continue;
            }
            match task.state {
                State::Asking(owner) if task.tries + 1 < call.config.tries => {
                    task.tries += 1;
                    self.ask_owner(call, task, owner, out);
                }
                State::Asking(owner) => {
                    out.contact_silent(owner);
                    self.client.owners.retain(|(_, contact)| contact.handle != owner);
                    self.go_on_task(call, Task { tries: 0, ..task }, out);
                }
                State::LookingUp(_) | State::Pausing => self.go_on_task(call, task, out),
            }
        }
    }
}

/// Whether an outcome can be one of what was asked, ordered and within what was asked for.
fn fits(task: &Task, outcome: &Outcome) -> bool {
    match (&task.action, outcome) {
        (_, Outcome::Refused(_) | Outcome::NotOwner | Outcome::Later) => true,
        (Action::Get, Outcome::Got(found)) => found.as_ref().is_none_or(|it| it.key == task.key),
        (Action::Write { .. } | Action::Overwrite { .. }, Outcome::Written { .. }) => true,
        (Action::Scan { hi, .. }, Outcome::Scanned { found, next }) => {
            let is_in = |key: &Key| *key >= task.key && hi.as_ref().is_none_or(|hi| key < hi);
            let found = found.as_slice();
            let goes_on = next.as_ref().is_none_or(|next| {
                let last = found.last().map(|it| &it.key);
                *next > task.key && last.is_none_or(|last| next > last)
            });
            found.iter().all(|it| is_in(&it.key)) && found.is_sorted_by(|a, b| a.key < b.key) && goes_on
        }
        _ => false,
    }
}

/// Everything that begins with a key lies from it on and before this one; none: to the end of the order.
pub fn end_of_prefix(prefix: &Key) -> Option<Key> {
    let mut bytes = prefix.as_bytes().to_vec();
    while bytes.pop_if(|last| *last == u8::MAX).is_some() {}
    *bytes.last_mut()? += 1;
    Key::from_bytes(&bytes).ok()
}

const _: () = assert!(LOADING_MAX < TASKS_MAX);

#[cfg(test)]
mod tests {
    use super::super::owner::after;
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let key = |bytes: &[u8]| Key::from_bytes(bytes).expect("short");
        assert_eq!(end_of_prefix(&key(b"\x01ab")), Some(key(b"\x01ac")));
        assert_eq!(end_of_prefix(&key(b"\x01a\xff")), Some(key(b"\x01b")));
        assert_eq!(end_of_prefix(&key(b"\xff")), None);
        assert!(after(&key(b"\x01ab")) < end_of_prefix(&key(b"\x01ab")));
    }
}
