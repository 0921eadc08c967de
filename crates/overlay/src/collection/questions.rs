//! Questions of this member to others: each is repeated until it is answered or its time is over.

use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant, Wake};

use super::config::Config;
use super::event::{BeginError, QuestionId};
use super::message::Ask;

/// Questions of one member at a time; a further one is refused.
pub const QUESTIONS_MAX: usize = 256;
/// The pause between two tries grows up to so many doublings.
const DOUBLINGS_MAX: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) id: QuestionId,
    pub(super) ask: Ask,
    /// Who was asked last, and may answer.
    pub(super) asked: Option<Handle>,
    /// Whom the way to a rank leads to next; none: it begins here.
    pub(super) next: Option<Handle>,
    due: Instant,
    deadline: Instant,
    tries: u32,
    /// Of this collection itself: the driver does not wait for it.
    pub(super) is_own: bool,
}

/// Invariant: no two have one id.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    last: u32,
}

impl Questions {
    /// A question that is asked in the next call.
    pub(super) fn begin(
        &mut self,
        call: Call<'_, Config>,
        ask: Ask,
        is_own: bool,
    ) -> Result<QuestionId, BeginError> {
        if self.open.len() >= QUESTIONS_MAX {
            return Err(BeginError::TooMany("256 questions"));
        }
        self.last = self.last.wrapping_add(1);
        let (id, deadline) = (QuestionId(self.last), call.now + call.config.ask_deadline);
        let (asked, next) = (None, None);
        self.open.push(Question { id, ask, asked, next, due: call.now, deadline, tries: 0, is_own });
        Ok(id)
    }

    pub(super) fn next_due(&self) -> Wake {
        let due = self.open.iter().map(|it| it.due.min(it.deadline)).min().unwrap_or(Instant::FAR);
        Wake::new(due, "a question to another member")
    }

    /// One whose time is over.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<Question> {
        let at = self.open.iter().position(|it| it.deadline <= now)?;
        Some(self.open.remove(at))
    }

    /// One that is to be asked now; it is due again after a while.
    pub(super) fn take_due(&mut self, call: Call<'_, Config>) -> Option<&mut Question> {
        let question = self.open.iter_mut().find(|it| it.due <= call.now)?;
        question.due = call.now + call.config.ask_timeout * (1 << question.tries.min(DOUBLINGS_MAX));
        question.tries += 1;
        Some(question)
    }

    pub(super) fn find(&mut self, id: QuestionId) -> Option<&mut Question> {
        self.open.iter_mut().find(|it| it.id == id)
    }

    /// Whether this collection itself asks that already.
    pub(super) fn has_own(&self, ask: &Ask) -> bool {
        self.open.iter().any(|it| it.is_own && it.ask == *ask)
    }

    /// The one that `from` may answer.
    pub(super) fn asked(&mut self, from: Handle, id: QuestionId) -> Option<&mut Question> {
        self.open.iter_mut().find(|it| it.id == id && it.asked == Some(from))
    }

    /// It is over.
    pub(super) fn take(&mut self, id: QuestionId) -> Option<Question> {
        let at = self.open.iter().position(|it| it.id == id)?;
        Some(self.open.remove(at))
    }

    /// Goes on at `next`, now.
    pub(super) fn go_on(&mut self, now: Instant, id: QuestionId, next: Handle) {
        if let Some(question) = self.open.iter_mut().find(|it| it.id == id) {
            (question.next, question.due, question.tries) = (Some(next), now, 0);
        }
    }

    /// The farmer is another one: what it is asked is asked now.
    pub(super) fn ask_farmer_now(&mut self, now: Instant) {
        let of_farmer = self.open.iter_mut().filter(|it| !matches!(it.ask, Ask::Holder(..)));
        of_farmer.for_each(|question| (question.due, question.tries) = (now, 0));
    }

    /// Nobody may answer as `peer` any more.
    pub(super) fn handle_gone(&mut self, now: Instant, peer: Handle) {
        for question in &mut self.open {
            if question.asked == Some(peer) || question.next == Some(peer) {
                (question.asked, question.next, question.due) = (None, None, now);
            }
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.open.iter().flat_map(|it| it.asked.into_iter().chain(it.next)).for_each(f);
    }

    pub(super) fn clear(&mut self) -> Vec<Question> {
        core::mem::take(&mut self.open)
    }
}
