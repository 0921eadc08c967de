//! Questions between members: to the farmer, and for the holder of a rank step by step.

use xtreem_base::{Call, Handle};

use super::config::Config;
use super::event::{
    Answer, AskError, BeginError, Event, Holder, Host, Known, QuestionId, Refusal, TaskState,
};
use super::message::{Ask, Message, Told};
use super::numbers::counted;
use super::questions::Question;
use super::{Collection, Fault};
use crate::ranks::sums::Toward;

impl Collection {
    /// Looks for who has a rank: [`Answer::Holder`] follows, or [`Refusal::NoSuchRank`], which is definite.
    /// It is asked for until it is known.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn hold<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        rank: u32,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        let _ = &out;
        self.check_member()?;
        let standing = self.standing(call.config);
        if self.numbers.is_none() {
            return Err(BeginError::Kind("ranks"));
        }
        let numbering = standing.map(|standing| standing.epoch).unwrap_or_default();
        self.questions.begin(call, Ask::Holder(rank, numbering), false)
    }

    pub(super) fn ask_farmer<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        ask: Ask,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        let _ = &out;
        self.check_member()?;
        if self.farming.is_none() {
            return Err(BeginError::Kind("tasks"));
        }
        self.questions.begin(call, ask, false)
    }

    pub(super) fn tick_questions<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.tell_news(call, out);
        while let Some(late) = self.questions.take_late(call.now) {
            answer(late, Err(AskError::Unanswered), out);
        }
        while let Some(due) = self.questions.take_due(call) {
            let due = due.clone();
            match due.ask {
                Ask::Holder(rank, _) => self.ask_for_holder(call, &due, rank, out),
                _ => self.ask_the_farmer(call, &due, out),
            }
        }
    }

    fn ask_the_farmer<H: Host>(&mut self, call: Call<'_, Config>, due: &Question, out: &mut H) {
        // Without one it is known later, or the time is over before.
        if let Some(farmer) = self.farmer() {
            self.put(call, due, farmer, out);
        }
    }

    fn ask_for_holder<H: Host>(&mut self, call: Call<'_, Config>, due: &Question, rank: u32, out: &mut H) {
        match self.holder(call.config, rank) {
            Known::Holder(holder) => self.close(call, due.id, Ok(Answer::Holder(holder)), out),
            Known::Nobody => self.close(call, due.id, Err(Refusal::NoSuchRank.into()), out),
            Known::NotNow => {
                let next = due.next.or_else(|| match self.numbers.as_ref()?.toward(rank)? {
                    Toward::Ahead(next) => Some(next),
                    Toward::Here | Toward::Unknown => None,
                });
                if let Some(next) = next.filter(|next| *next != self.me.handle) {
                    self.put(call, due, next, out);
                }
            }
        }
    }

    /// Asks one, which may be this member itself.
    fn put<H: Host>(&mut self, call: Call<'_, Config>, due: &Question, to: Handle, out: &mut H) {
        if let Some(question) = self.questions.find(due.id) {
            question.asked = Some(to);
        }
        if to != self.me.handle {
            out.send(to, Message::Ask(due.id, due.ask.clone().into()));
        } else {
            let _ = self.on_ask(call, to, due.id, due.ask.clone(), out);
        }
    }

    pub(super) fn on_ask<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        question: QuestionId,
        ask: Ask,
        out: &mut H,
    ) -> Result<(), Fault> {
        let told = match &ask {
            Ask::Holder(rank, _) => Some(match counted(self.numbers.as_ref(), *rank)? {
                Toward::Here => Told::Mine,
                Toward::Ahead(next) => Told::Nearer(next),
                Toward::Unknown => Told::NotMe,
            }),
            Ask::Add(body) if super::task::split(body.as_bytes()).is_none() => return Err(Fault::Nameless),
            _ => self
                .with_farm(call, out, |farming, call, out| farming.serve(call, from, question, &ask, out))
                .ok_or(Fault::OtherKind)?,
        };
        if let Some(told) = told {
            self.tell(call, from, question, told, out);
        }
        Ok(())
    }

    /// Answers somebody, or this member itself.
    pub(super) fn tell<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        to: Handle,
        question: QuestionId,
        told: Told,
        out: &mut H,
    ) {
        if to == self.me.handle {
            let _ = self.on_told(call, to, question, told, out);
        } else {
            out.send(to, Message::Told(question, told.into()));
        }
    }

    pub(super) fn on_told<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        id: QuestionId,
        told: Told,
        out: &mut H,
    ) -> Result<(), Fault> {
        let question = self.questions.asked(from, id).ok_or(Fault::Unasked)?;
        let result = match (&question.ask, told) {
            (Ask::Holder(..), Told::NotMe) => {
                // The way begins anew when it is due.
                question.next = None;
                return Ok(());
            }
            (_, Told::NotMe) => return Ok(()),
            (Ask::Holder(rank, _), Told::Mine) => {
                let (rank, standing) = (*rank, self.standing(call.config));
                let numbering = standing.map(|standing| standing.epoch).unwrap_or_default();
                let is_settled = standing.is_some_and(|standing| standing.is_settled);
                Ok(Answer::Holder(Holder { rank, handle: from, numbering, is_settled }))
            }
            (Ask::Holder(..), Told::Nearer(next)) => {
                if next == from || next == self.me.handle || self.newest(out, next).is_none() {
                    return Err(Fault::Unasked);
                }
                self.questions.go_on(call.now, id, next);
                return Ok(());
            }
            (Ask::Add(_), Told::Added) => Ok(Answer::Added),
            (Ask::Add(_), Told::Refused(Refusal::Full)) => Err(Refusal::Full.into()),
            (Ask::Collect(_), Told::Task(TaskState::Collected)) => Ok(Answer::Task(TaskState::Collected)),
            (Ask::Task(name), Told::Task(state)) => {
                let body = if let TaskState::Done(body) = &state { Some(body) } else { None };
                let is_its = |(it, _): (super::TaskName, &[u8])| it == *name;
                if body.is_some_and(|body| !super::task::split(body.as_bytes()).is_some_and(is_its)) {
                    return Err(Fault::Nameless);
                }
                Ok(Answer::Task(state))
            }
            (Ask::Collect(_), Told::Refused(why @ Refusal::NotSettled))
            | (
                Ask::Collect(_) | Ask::Task(_),
                Told::Refused(why @ (Refusal::NoSuchTask | Refusal::NotSure)),
            ) => Err(why.into()),
            (Ask::Outcomes, Told::Outcomes(tasks, open, whole)) => {
                Ok(Answer::Outcomes { tasks: tasks.into_vec(), open, whole })
            }
            (Ask::Progress, Told::Progress(progress)) => Ok(Answer::Progress(progress)),
            _ => return Err(Fault::Unasked),
        };
        out.contact_answered(from);
        self.close(call, id, result, out);
        Ok(())
    }

    /// A question is over; those of the mesh are for the mesh.
    fn close<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        id: QuestionId,
        result: Result<Answer, AskError>,
        out: &mut H,
    ) {
        let Some(question) = self.questions.take(id) else { return };
        if question.is_own {
            if let Ok(Answer::Holder(holder)) = result {
                self.beside.insert(holder.rank, holder.handle);
                self.follow_ranks(call, out);
            }
            return;
        }
        answer(question, result, out);
    }

    /// Where ranks are counted along the ring, those beside this member are asked for one by one.
    pub(super) fn look_for_neighbours(&mut self, call: Call<'_, Config>) {
        self.refresh_due = call.now + call.config.refresh;
        let Some(standing) = self.standing(call.config) else { return };
        let ranks = self.mesh.as_ref().map(|mesh| mesh.beside()).unwrap_or_default();
        self.beside.retain(|rank, _| ranks.contains(rank));
        for rank in ranks {
            let ask = Ask::Holder(rank, standing.epoch);
            if !self.questions.has_own(&ask) {
                // Without room they are looked for the next time.
                let _ = self.questions.begin(call, ask, true);
            }
        }
    }
}

fn answer<H: Host>(question: Question, result: Result<Answer, AskError>, out: &mut H) {
    if !question.is_own {
        out.event(Event::Answer { question: question.id, result });
    }
}
