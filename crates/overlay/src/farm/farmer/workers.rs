//! The farmer and its workers: who gets what, who is still at it, and what came of it.

use xtreem_base::{Call, Events, Handle, Sink};

use super::super::message::Message;
use super::super::table::Lease;
use super::super::task::{Outcome, State, TaskId, Why};
use super::super::{BYTES_MAX, Config, Event, Fault, Shelf};
use super::ring::settled;
use super::{Duty, Farmer};

impl Farmer {
    pub(in crate::farm) fn on_ask(
        &mut self,
        call: Call<'_, Config>,
        worker: Handle,
        seq: u16,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        match self.duty {
            Duty::On => {}
            Duty::Hearing(_) => {
                out.send(worker, Message::Idle { seq });
                return Ok(());
            }
            Duty::Off | Duty::Loading(_) => return Err(Fault::NotFarmer),
        }
        // Who asks again has not got what it was handed.
        let Some(task) = self.table.task_of(worker).or_else(|| self.table.next_ready()) else {
            out.send(worker, Message::Idle { seq });
            return Ok(());
        };
        let Some(entry) = self.table.entry(task) else { return Ok(()) };
        let State::Open { input, .. } = &entry.state else { return Ok(()) };
        let input = input.clone();
        let attempt = entry.lease.map_or_else(|| self.rng.next_u64(), |lease| lease.attempt);
        let lease = call.config.lease;
        self.table.set_lease(task, Lease { worker, attempt }, call.now + lease);
        out.send(worker, Message::Hand { seq, task, attempt, lease, input });
        Ok(())
    }

    pub(in crate::farm) fn on_renew(
        &mut self,
        call: Call<'_, Config>,
        worker: Handle,
        task: TaskId,
        attempt: u64,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if !self.is_ready() {
            return Err(Fault::NotFarmer);
        }
        let Some(entry) = self.table.entry(task) else {
            out.send(worker, Message::Stop { task, attempt });
            return Ok(());
        };
        if !entry.state.is_open() {
            // One's own result may just be on its way to the ring.
            if entry.state.kept() != Some(attempt) || entry.is_stored {
                out.send(worker, settled(task, attempt, entry.state.kept()));
            }
            return Ok(());
        }
        // An own lease goes on; nobody's task that the farmer before handed out is this worker's.
        let lease = Lease { worker, attempt };
        let is_free = entry.lease.is_none() && self.table.task_of(worker).is_none();
        if entry.lease == Some(lease) || is_free {
            self.table.set_lease(task, lease, call.now + call.config.lease);
        }
        Ok(())
    }

    pub(in crate::farm) fn on_report<S>(
        &mut self,
        call: Call<'_, Config>,
        worker: Handle,
        task: TaskId,
        attempt: u64,
        outcome: Outcome,
        out: &mut S,
    ) -> Result<(), Fault>
    where
        S: Sink<Message> + Events<Event> + Shelf,
    {
        if !self.is_ready() {
            return Err(Fault::NotFarmer);
        }
        let Some(entry) = self.table.entry(task) else {
            out.send(worker, Message::Stop { task, attempt });
            return Ok(());
        };
        let reporter = Lease { worker, attempt };
        match outcome {
            _ if entry.reporter == Some(reporter) => return Ok(()),
            Outcome::Done(result) if entry.state.is_open() => {
                let more = result.as_bytes().len().saturating_sub(entry.state.body_len());
                if self.table.bytes() + more > BYTES_MAX {
                    // It stays at the worker, which reports again, until the application has collected.
                    self.extend(call, task, reporter);
                    return Ok(());
                }
                let before = self.set(call, task, State::Done { attempt, result }, false);
                self.table.set_reporter(task, Some(reporter));
                if let Some(other) = before.filter(|lease| *lease != reporter) {
                    out.send(other.worker, Message::Stop { task, attempt: other.attempt });
                }
            }
            Outcome::Done(_) => {
                let kept = entry.state.kept();
                if kept == Some(attempt) {
                    if entry.is_stored {
                        out.send(worker, Message::Kept { task, attempt });
                    } else {
                        self.table.set_reporter(task, Some(reporter));
                    }
                    return Ok(());
                }
                if self.table.note_surplus(task, attempt) {
                    self.duplicates += 1;
                }
                out.send(worker, Message::Stop { task, attempt });
            }
            Outcome::Failed(why) => {
                let is_its = entry.lease.is_none_or(|lease| lease == reporter);
                if !entry.state.is_open() || !is_its {
                    out.send(worker, Message::Stop { task, attempt });
                    return Ok(());
                }
                if !self.table.note_surplus(task, attempt) {
                    // It counted, and the word that it did was lost.
                    out.send(worker, Message::Kept { task, attempt });
                    return Ok(());
                }
                self.fail(call, task, |failed, lost| (failed.saturating_add(1), lost), why);
                self.table.set_reporter(task, Some(reporter));
            }
        }
        self.put_all(call, out);
        Ok(())
    }

    /// A worker does not want what it was handed.
    pub(in crate::farm) fn on_return(
        &mut self,
        worker: Handle,
        task: TaskId,
        attempt: u64,
    ) -> Result<(), Fault> {
        let lease = self.table.entry(task).and_then(|entry| entry.lease);
        if lease != Some(Lease { worker, attempt }) {
            return Err(Fault::Unsolicited);
        }
        self.table.remove_lease(task);
        Ok(())
    }

    /// Its worker is lost.
    pub(super) fn lose(&mut self, call: Call<'_, Config>, task: TaskId) {
        self.lost_leases += 1;
        let why = Why::new("every worker that had it was lost");
        self.fail(call, task, |failed, lost| (failed, lost.saturating_add(1)), why);
    }

    /// One attempt more came to nothing.
    fn fail(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        count: impl FnOnce(u16, u16) -> (u16, u16),
        why: Why,
    ) {
        let Some(entry) = self.table.entry(task) else { return };
        let State::Open { input, failed, lost } = &entry.state else { return };
        let (input, (failed, lost)) = (input.clone(), count(*failed, *lost));
        let is_over = failed >= call.config.failures_max || lost >= call.config.losses_max;
        let state = if is_over { State::GivenUp { why, input } } else { State::Open { input, failed, lost } };
        self.set(call, task, state, false);
    }

    /// A worker with a result that has no room yet keeps its lease.
    fn extend(&mut self, call: Call<'_, Config>, task: TaskId, lease: Lease) {
        if self.table.entry(task).is_some_and(|entry| entry.lease == Some(lease)) {
            self.table.set_lease(task, lease, call.now + call.config.lease);
        }
    }
}
