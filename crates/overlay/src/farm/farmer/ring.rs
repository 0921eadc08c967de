//! The farmer's table against the ring: what is stored, what is newer there, who may be told now.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use xtreem_base::{Call, Events, Sink};

use super::super::message::Message;
use super::super::table::{Entry, Lease};
use super::super::task::{Item, Stamp, State, TaskId};
use super::super::{Config, Event, Shelf};
use super::{Duty, Farmer};

/// What the ring answers to a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// All copies have the item of this stamp.
    Kept(Stamp),
    /// One of a higher stamp lay there: this one.
    Lost(Item),
}

impl Farmer {
    /// The ring's whole table: what is newer there counts, what is older there is put again.
    pub(in crate::farm) fn handle_loaded<S>(&mut self, call: Call<'_, Config>, items: Vec<Item>, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        let Call { config, now } = call;
        if self.duty == Duty::Off {
            return;
        }
        (self.left_out, self.is_whole) = (0, self.reads_whole);
        let seen: BTreeSet<TaskId> = items.iter().map(|item| item.task).collect();
        // What the ring has lost it gets again.
        let missing =
            |(task, entry): (TaskId, &Entry)| (entry.is_stored && !seen.contains(&task)).then_some(task);
        let missing: Vec<TaskId> = self.table.tasks().filter_map(missing).collect();
        missing.into_iter().for_each(|task| self.table.set_unstored(task));
        items.into_iter().for_each(|item| self.merge(call, item, out));
        self.reload_at = now + config.reload;
        if matches!(self.duty, Duty::Loading(_)) {
            // Nobody is at anything when nothing is open.
            let is_open = self.table.next_ready().is_some();
            self.duty = if is_open { Duty::Hearing(now + config.lease) } else { Duty::On };
            out.event(Event::Ready);
        }
        self.put_all(call, out);
    }

    pub(in crate::farm) fn handle_stored<S>(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        stored: Stored,
        out: &mut S,
    ) where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        match stored {
            Stored::Kept(stamp) => {
                let entry = self.table.entry(task);
                // An answer to a put that was overtaken by a newer state says nothing of that one.
                if entry.is_some_and(|entry| entry.stamp == stamp && !entry.is_stored) {
                    self.on_kept(task, out);
                }
            }
            Stored::Lost(item) if item.task == task && self.is_ready() => self.merge(call, item, out),
            Stored::Lost(_) => {}
        }
        self.put_all(call, out);
    }

    /// The state of a task is on the ring: whoever waits for that is told.
    fn on_kept(&mut self, task: TaskId, out: &mut (impl Sink<Message> + Events<Event>)) {
        self.table.set_stored(task);
        let Some(entry) = self.table.entry(task) else { return };
        match &entry.state {
            State::Open { failed: 0, lost: 0, .. } => out.event(Event::Added(task)),
            State::Done { .. } | State::GivenUp { .. } => out.event(Event::Settled(task)),
            State::Open { .. } | State::Collected { .. } => {}
        }
        if let Some(Lease { worker, attempt }) = entry.reporter {
            out.send(worker, Message::Kept { task, attempt });
        }
        self.table.set_reporter(task, None);
    }

    /// One item of the ring against what is known here.
    fn merge<S>(&mut self, call: Call<'_, Config>, item: Item, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        let Item { task, .. } = item;
        let Some(entry) = self.table.entry(task) else {
            if self.has_room(item.state.body_len()) {
                self.set(call, task, item.state, true);
            } else {
                self.left_out += 1;
            }
            return;
        };
        let (stamp, own, is_stored) = (item.stamp(), entry.stamp, entry.is_stored);
        let surplus = match (item.state.kept(), entry.state.kept()) {
            (Some(theirs), Some(ours)) if theirs != ours => Some(if stamp > own { ours } else { theirs }),
            _ => None,
        };
        if surplus.is_some_and(|attempt| self.table.note_surplus(task, attempt)) {
            self.duplicates += 1;
        }
        if stamp == own {
            if !is_stored {
                self.on_kept(task, out);
            }
        } else if stamp > own {
            self.replace(call, item, out);
        } else {
            self.table.set_unstored(task);
        }
    }

    /// The ring has something newer than this table.
    fn replace<S>(&mut self, call: Call<'_, Config>, item: Item, out: &mut S)
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        let Item { task, state } = item;
        let Some(entry) = self.table.entry(task) else { return };
        let (was_told, reporter) = (entry.is_stored && !entry.state.is_open(), entry.reporter);
        let (is_settled, is_open) = (state.outcome().is_some(), state.is_open());
        let (lease, since) = (entry.lease, entry.since);
        let kept = state.kept();
        self.set(call, task, state, true);
        self.table.set_reporter(task, None);
        if is_open {
            // More attempts were made elsewhere; whoever is at it here stays at it.
            if let Some(lease) = lease {
                self.table.begin_lease(task, lease, since, call.config);
                self.table.extend_lease(task, call.now + call.config.lease);
            }
            if let Some(Lease { worker, attempt }) = reporter {
                out.send(worker, Message::Kept { task, attempt });
            }
            return;
        }
        for Lease { worker, attempt } in lease.into_iter().chain(reporter) {
            out.send(worker, settled(task, attempt, kept));
        }
        if was_told {
            out.event(Event::Replaced(task));
        } else if is_settled {
            out.event(Event::Settled(task));
        }
    }
}

/// What the worker of an attempt hears of a task that has an outcome.
pub(super) fn settled(task: TaskId, attempt: u64, kept: Option<u64>) -> Message {
    if kept == Some(attempt) { Message::Kept { task, attempt } } else { Message::Stop { task, attempt } }
}
