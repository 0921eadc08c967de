//! The worker's side: asks for a task, says that it is at it, and reports until somebody has kept it.

use xtreem_base::{Call, Duration, Events, Handle, Instant, Sink, Wake};

use super::message::Message;
use super::task::{Outcome, TaskId};
use super::{Config, Event, Fault, backed_off};

/// A worker asks at least so often that it is still at its task, whatever its farmer says.
const RENEWALS_A_LEASE: u64 = 3;

/// The program says that it is done with something that it was not given, or that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the task at hand: it was stopped, or is reported already")]
pub struct FinishError;

/// What one worker does just now: one task at a time.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    farmer: Option<Handle>,
    phase: Phase,
    /// Of the last question; the same when it is repeated, so that no answer to it is too late.
    seq: u16,
    /// Tries to reach the farmer in this phase.
    tries: u32,
    /// A member whose program wants nothing to do asks for nothing.
    is_idle: bool,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Resting,
    /// Asks then.
    Waiting(Instant),
    /// The question is repeated then.
    Asking(Instant),
    Working {
        task: TaskId,
        attempt: u64,
        renew_at: Instant,
        renew_every: Duration,
    },
    Reporting {
        task: TaskId,
        attempt: u64,
        outcome: Outcome,
        again_at: Instant,
    },
}

impl Worker {
    pub fn farmer(&self) -> Option<Handle> {
        self.farmer
    }

    /// The task that the program works on.
    pub fn task(&self) -> Option<TaskId> {
        match &self.phase {
            Phase::Working { task, .. } => Some(*task),
            _ => None,
        }
    }

    /// Whether a result waits for the farmer to keep it.
    pub fn is_reporting(&self) -> bool {
        matches!(self.phase, Phase::Reporting { .. })
    }

    /// Another farmer, perhaps: what waits for an answer is told to it at once.
    pub(super) fn handle_farmer(
        &mut self,
        call: Call<'_, Config>,
        farmer: Option<Handle>,
        out: &mut impl Sink<Message>,
    ) {
        if self.farmer == farmer {
            return;
        }
        (self.farmer, self.tries) = (farmer, 0);
        match &mut self.phase {
            Phase::Resting | Phase::Waiting(_) | Phase::Asking(_) => {
                self.phase = Phase::Waiting(call.now);
            }
            Phase::Working { renew_at: at, .. } | Phase::Reporting { again_at: at, .. } => *at = call.now,
        }
        self.speak(call, out);
    }

    /// Whether the program wants something to do. What was asked for before still comes.
    pub(super) fn set_wants(&mut self, call: Call<'_, Config>, wants: bool, out: &mut impl Sink<Message>) {
        let was_idle = core::mem::replace(&mut self.is_idle, !wants);
        if was_idle && wants && matches!(self.phase, Phase::Waiting(_) | Phase::Asking(_)) {
            self.ask_next(call, out);
        }
    }

    pub(super) fn finish(
        &mut self,
        call: Call<'_, Config>,
        done: TaskId,
        outcome: Outcome,
        out: &mut impl Sink<Message>,
    ) -> Result<(), FinishError> {
        let Phase::Working { task, attempt, .. } = self.phase else { return Err(FinishError) };
        if task != done {
            return Err(FinishError);
        }
        self.tries = 0;
        self.phase = Phase::Reporting { task, attempt, outcome, again_at: call.now };
        self.speak(call, out);
        Ok(())
    }

    /// What was handed out is another's from now on. Should the word be lost, its lease runs out.
    pub(super) fn give_back(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        let Phase::Working { task, attempt, .. } = self.phase else { return };
        if let Some(farmer) = self.farmer {
            out.send(farmer, Message::Return { task, attempt });
        }
        self.tries = 0;
        self.phase = Phase::Waiting(call.now + call.config.rest);
    }

    pub(super) fn on_answer<S: Sink<Message> + Events<Event>>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        answer: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        if self.farmer != Some(from) {
            return Err(Fault::NotMyFarmer);
        }
        match answer {
            Message::Hand { seq, task, attempt, lease, input } => {
                if !matches!(self.phase, Phase::Asking(_)) || seq != self.seq {
                    return self.decline(from, task, attempt, out);
                }
                let least = call.config.reply_timeout * RENEWALS_A_LEASE;
                let renew_every = Duration::from_micros(lease.max(least).as_micros() / RENEWALS_A_LEASE);
                self.tries = 0;
                let renew_at = call.now + renew_every;
                self.phase = Phase::Working { task, attempt, renew_at, renew_every };
                out.event(Event::Start { task, input: input.0 });
            }
            Message::Idle { seq } => {
                if !matches!(self.phase, Phase::Asking(_)) || seq != self.seq {
                    return Err(Fault::Unsolicited);
                }
                self.rest(call);
                self.phase = Phase::Waiting(call.now + call.config.rest);
            }
            Message::Kept { task, attempt } if self.is_at(task, attempt) && self.is_reporting() => {
                self.ask_next(call, out);
            }
            Message::Stop { task, attempt } if self.is_at(task, attempt) => {
                if !self.is_reporting() {
                    out.event(Event::Stop(task));
                }
                self.ask_next(call, out);
            }
            _ => return Err(Fault::Unsolicited),
        }
        Ok(())
    }

    /// A task that comes late goes back, unless it is the one at hand, sent twice.
    fn decline(
        &mut self,
        farmer: Handle,
        task: TaskId,
        attempt: u64,
        out: &mut impl Sink<Message>,
    ) -> Result<(), Fault> {
        if !self.is_at(task, attempt) {
            out.send(farmer, Message::Return { task, attempt });
        }
        Err(Fault::Unsolicited)
    }

    fn is_at(&self, wanted: TaskId, number: u64) -> bool {
        match &self.phase {
            Phase::Working { task, attempt, .. } | Phase::Reporting { task, attempt, .. } => {
                (*task, *attempt) == (wanted, number)
            }
            _ => false,
        }
    }

    fn rest(&mut self, call: Call<'_, Config>) {
        self.tries = 0;
        self.phase = Phase::Waiting(call.now);
    }

    fn ask_next(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        self.rest(call);
        self.speak(call, out);
    }

    pub(super) fn next_timeout(&self) -> Wake {
        if self.farmer.is_none() {
            return Wake::NEVER;
        }
        match &self.phase {
            Phase::Resting => Wake::NEVER,
            Phase::Waiting(_) | Phase::Asking(_) if self.is_idle => Wake::NEVER,
            Phase::Waiting(at) | Phase::Asking(at) => Wake::new(*at, "to ask for a task"),
            Phase::Working { renew_at, .. } => Wake::new(*renew_at, "to say that the task is in work"),
            Phase::Reporting { again_at, .. } => Wake::new(*again_at, "to report again"),
        }
    }

    pub(super) fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        self.speak(call, out);
    }

    /// Says to the farmer what is due.
    fn speak(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        let Some(farmer) = self.farmer.filter(|_| self.next_timeout().at <= call.now) else { return };
        let Config { reply_timeout, rest_max, .. } = *call.config;
        let next = call.now + backed_off(reply_timeout, self.tries, rest_max);
        match &mut self.phase {
            Phase::Resting => {}
            Phase::Waiting(_) | Phase::Asking(_) => {
                if matches!(self.phase, Phase::Waiting(_)) {
                    self.seq = self.seq.wrapping_add(1);
                }
                self.phase = Phase::Asking(next);
                out.send(farmer, Message::Ask { seq: self.seq });
            }
            Phase::Working { task, attempt, renew_at, renew_every } => {
                *renew_at = call.now + *renew_every;
                out.send(farmer, Message::Renew { task: *task, attempt: *attempt });
            }
            Phase::Reporting { task, attempt, outcome, again_at } => {
                *again_at = next;
                let (task, attempt) = (*task, *attempt);
                out.send(farmer, Message::Report { task, attempt, outcome: outcome.clone() });
            }
        }
        self.tries = self.tries.saturating_add(1);
    }
}
