//! The farm of a collection for its programs: tasks to add, to do and to collect, at any member.

use alloc::sync::Arc;

use xtreem_base::{Call, Handle, Instant};

use super::Collection;
use super::config::Config;
use super::event::{BeginError, Event, FinishError, Host, QuestionId};
use super::farming::NEWS_PAUSE;
use super::message::{Ask, Message, Told};
use super::task::{self, TaskName};
use crate::farm::{self, Outcome, TaskId, Why};

impl Collection {
    /// The slot's member that hands out the tasks, as far as it is known here.
    pub fn farmer(&self) -> Option<Handle> {
        self.farming.as_ref()?.farmer()
    }

    /// Whether this member hands out the tasks and knows its table.
    pub fn is_farmer(&self) -> bool {
        self.farming.as_ref().is_some_and(|farming| farming.farm.farmer().is_ready())
    }

    /// How far the work is, at the farmer that knows its table.
    pub fn own_progress(&self, now: Instant) -> Option<super::Progress> {
        let farmer = self.farming.as_ref()?.farm.farmer();
        farmer.is_ready().then(|| farmer.progress(now))
    }

    /// The task that this member is at.
    pub fn at_hand(&self) -> Option<&TaskName> {
        self.farming.as_ref()?.at_hand.as_ref()
    }

    /// Whether what came of the last task is not kept by a farmer yet.
    pub fn is_reporting(&self) -> bool {
        self.farming.as_ref().is_some_and(|farming| farming.farm.worker().is_reporting())
    }

    /// Adds a task, at any member: [`Answer::Added`](super::Answer::Added) says when it is safe. One that is
    /// known under this name is the same task, so that this may be repeated.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn add_task<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        input: &[u8],
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        let body = task.head(input)?;
        self.ask_farmer(call, Ask::Add(body), out)
    }

    /// Takes the outcome of a task out of the table, which then only remembers that it was done; whoever
    /// wants the outcome asks for it before. May be repeated.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn collect<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Collect(task.clone()), out)
    }

    /// Asks where a task stands: [`Answer::Task`](super::Answer::Task). While it is open
    /// [`Event::Outcomes`] says when to ask again; a word may be lost, so ask from time to time.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn outcome<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Task(task.clone()), out)
    }

    /// Asks which tasks have an outcome: [`Answer::Outcomes`](super::Answer::Outcomes).
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn outcomes<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Outcomes, out)
    }

    /// Asks how far the work is: [`Answer::Progress`](super::Answer::Progress).
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn progress<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Progress, out)
    }

    /// Whether the program of this member wants a task; it does in the beginning. One that was asked for
    /// before still comes.
    pub fn want_task<H: Host>(&mut self, call: Call<'_, Config>, wants: bool, out: &mut H) {
        self.with_farm(call, out, |farming, call, out| farming.farm.set_wants(call, wants, out));
    }

    /// The program is done with the task at hand, or failed at it and says why.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub fn finish<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        outcome: Result<&[u8], &str>,
        out: &mut H,
    ) -> Result<(), FinishError> {
        if self.at_hand() != Some(task) {
            return Err(FinishError::NotAtHand);
        }
        let outcome = match outcome {
            Ok(result) => Outcome::Done(task.head(result)?),
            Err(why) => Outcome::Failed(Why::new(why)),
        };
        self.finish_with(call, task.id(), outcome, out)
    }

    /// The program does not do the task at hand, which is another's from now on: nothing counts.
    pub fn give_back<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.with_farm(call, out, |farming, call, out| {
            farming.at_hand = None;
            farming.farm.give_back(call, out);
        });
    }

    /// The driver knows that the program of a member has ended, which its node starts anew: if it had a task
    /// in hand, it failed at it.
    pub fn handle_ended<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut H) {
        self.with_farm(call, out, |farming, call, _| farming.farm.handle_ended(call, peer));
    }

    fn finish_with<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        outcome: Outcome,
        out: &mut H,
    ) -> Result<(), FinishError> {
        let finished = self.with_farm(call, out, |farming, call, out| {
            farming.at_hand = None;
            farming.farm.finish(call, task, outcome, out)
        });
        finished.and_then(Result::ok).ok_or(FinishError::NotAtHand)
    }

    pub(super) fn on_farm<H: Host>(&mut self, call: Call<'_, Config>, event: farm::Event, out: &mut H) {
        let Some(farming) = &mut self.farming else { return };
        match event {
            farm::Event::Ready => {
                self.questions.ask_farmer_now(call.now);
                out.event(Event::Farmer);
            }
            farm::Event::Added(task) => {
                for (from, question) in farming.added(task) {
                    self.tell(call, from, question, Told::Added, out);
                }
            }
            farm::Event::Settled(_) | farm::Event::Replaced(_) => {
                farming.news_due = farming.news_due.min(call.now + NEWS_PAUSE);
                out.event(Event::Outcomes);
            }
            farm::Event::Start { task, input } => match task::split(&input).filter(|(it, _)| it.id() == task)
            {
                Some((name, bytes)) => {
                    farming.at_hand = Some(name.clone());
                    out.event(Event::Start { task: name, input: Arc::from(bytes) });
                }
                None => {
                    let failed = Outcome::Failed(Why::new("its input does not begin with its name"));
                    let _ = self.finish_with(call, task, failed, out);
                }
            },
            farm::Event::Stop(task) => {
                if let Some(name) = farming.at_hand.take_if(|name| name.id() == task) {
                    out.event(Event::Stop(name));
                }
            }
        }
    }

    pub(super) fn tell_news<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let listeners = self.farming.as_mut().map(|farming| farming.take_listeners(call.now));
        listeners.into_iter().flatten().for_each(|listener| out.send(listener, Message::News));
    }
}
