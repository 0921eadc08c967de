//! The farmer and its workers: who gets what, who is still at it, and what came of it.

use alloc::format;

use xtreem_base::{Call, Events, Handle, Instant, Sink};

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
        if worker != self.me {
            self.own_turn_at = call.now + call.config.own_turn;
        }
        // Who asks again has not got what it was handed.
        let next = || self.table.next_ready().filter(|_| worker != self.me || self.is_own_turn(call.now));
        let Some(task) = self.table.task_of(worker).or_else(next) else {
            out.send(worker, Message::Idle { seq });
            return Ok(());
        };
        let Some(entry) = self.table.entry(task) else { return Ok(()) };
        let State::Open { input, .. } = &entry.state else { return Ok(()) };
        let input = input.clone();
        let lease = call.config.lease;
        let attempt = match entry.lease {
            Some(Lease { attempt, .. }) => attempt,
            None => {
                let attempt = self.rng.next_u64();
                self.table.begin_lease(task, Lease { worker, attempt }, call.now, call.config);
                attempt
            }
        };
        self.table.extend_lease(task, call.now + lease);
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
        if entry.surplus == Some(attempt) {
            // It failed: the worker has not heard that its time was over.
            out.send(worker, Message::Stop { task, attempt });
            return Ok(());
        }
        // An own lease goes on; nobody's task that the farmer before handed out is this worker's.
        let lease = Lease { worker, attempt };
        let is_free = entry.lease.is_none() && self.table.task_of(worker).is_none();
        let is_own = entry.lease == Some(lease);
        if is_free {
            // How long it was at it before, nobody has told.
            self.table.begin_lease(task, lease, call.now, call.config);
        }
        if is_own || is_free {
            self.table.extend_lease(task, call.now + call.config.lease);
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
                self.fail(call, task, why.as_str());
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
        self.count(call, task, |failed, lost| (failed, lost.saturating_add(1)), "its workers were lost");
    }

    /// Its worker had all the time that there is: it may hang.
    pub(super) fn run_out(&mut self, call: Call<'_, Config>, task: TaskId, out: &mut impl Sink<Message>) {
        let lease = self.table.entry(task).and_then(|entry| entry.lease);
        let seconds = call.config.time_max.unwrap_or_default().as_micros() / 1_000_000;
        self.fail(call, task, &format!("it was in hand for {seconds} s, all the time that a task has"));
        if let Some(Lease { worker, attempt }) = lease {
            out.send(worker, Message::Stop { task, attempt });
        }
    }

    /// Whether the farmer's own program may have a task: nobody else has one, nor has asked for a while.
    fn is_own_turn(&self, now: Instant) -> bool {
        self.own_turn_at <= now && self.table.workers().all(|worker| worker == self.me)
    }

    /// One attempt more failed.
    pub(super) fn fail(&mut self, call: Call<'_, Config>, task: TaskId, why: &str) {
        // The attempt is over: its worker does not renew it, nor does it fail once more.
        if let Some(Lease { attempt, .. }) = self.table.entry(task).and_then(|entry| entry.lease) {
            self.table.note_surplus(task, attempt);
        }
        self.count(call, task, |failed, lost| (failed.saturating_add(1), lost), why);
    }

    /// One attempt more came to nothing.
    fn count(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        count: impl FnOnce(u16, u16) -> (u16, u16),
        why: &str,
    ) {
        let Some(entry) = self.table.entry(task) else { return };
        let State::Open { input, failed, lost } = &entry.state else { return };
        let (input, (failed, lost)) = (input.clone(), count(*failed, *lost));
        let is_over = failed >= call.config.failures_max || lost >= call.config.losses_max;
        let why = Why::new(why);
        let state = if is_over { State::GivenUp { why, input } } else { State::Open { input, failed, lost } };
        self.set(call, task, state, false);
    }

    /// A worker with a result that has no room yet keeps its lease.
    fn extend(&mut self, call: Call<'_, Config>, task: TaskId, lease: Lease) {
        if self.table.entry(task).is_some_and(|entry| entry.lease == Some(lease)) {
            self.table.extend_lease(task, call.now + call.config.lease);
        }
    }
}
