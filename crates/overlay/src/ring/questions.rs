//! Questions that are still to be answered, and peers that answered none.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use crate::Position;

/// Open questions at most: neighbours of a few nodes, one row, eight loads. Beyond it nothing is asked.
pub(super) const QUESTIONS_MAX: usize = 16;
/// Silent peers that are remembered at most; the oldest is forgotten.
pub(super) const SILENT_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Neighbours,
    Row(u8),
    Load,
    Middle,
    Leave,
}

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) peer: Handle,
    pub(super) subject: Subject,
    pub(super) seq: u16,
    due: Instant,
    pub(super) asked_at: Instant,
    /// Where the range began that was claimed with it.
    pub(super) claimed: Option<Position>,
    /// Times that it was asked.
    pub(super) tries: u8,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    seq: u16,
}

impl Question {
    pub(super) fn new(
        peer: Handle,
        subject: Subject,
        (asked_at, due): (Instant, Instant),
        tries: u8,
        claimed: Option<Position>,
    ) -> Self {
        Question { peer, subject, seq: 0, due, asked_at, claimed, tries }
    }
}

impl Questions {
    /// Whether one more may be asked, and this one is not.
    pub(super) fn has_room(&self, peer: Handle, subject: Subject) -> bool {
        let is_open = |question: &Question| question.peer == peer && question.subject == subject;
        self.open.len() < QUESTIONS_MAX && !self.open.iter().any(is_open)
    }

    /// Opens a question and gives it its number.
    pub(super) fn open(&mut self, question: Question) -> u16 {
        let seq = self.number();
        self.open.push(Question { seq, ..question });
        seq
    }

    /// A number that no question has had for a while; those of lookups come from here, too.
    pub(super) fn number(&mut self) -> u16 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Closes the question that this answers. Of repetitions only the last counts.
    pub(super) fn answered(
        &mut self,
        peer: Handle,
        seq: u16,
        fits: impl Fn(Subject) -> bool,
    ) -> Option<Question> {
        let is_it =
            |question: &Question| question.peer == peer && question.seq == seq && fits(question.subject);
        let at = self.open.iter().position(is_it)?;
        Some(self.open.swap_remove(at))
    }

    pub(super) fn next_due(&self) -> Instant {
        self.open.iter().map(|question| question.due).min().unwrap_or(Instant::FAR)
    }

    /// Takes one that was not answered in time.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Question> {
        let at = self.open.iter().position(|question| question.due <= now)?;
        Some(self.open.remove(at))
    }

    /// What was claimed from another place is not wanted any more.
    pub(super) fn drop_claims(&mut self) {
        self.open.retain(|question| question.subject != Subject::Neighbours);
    }

    pub(super) fn forget(&mut self, peer: Handle) {
        self.open.retain(|question| question.peer != peer);
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = Handle> + '_ {
        self.open.iter().map(|question| question.peer)
    }
}

/// Peers that did not answer: for a while what others tell of them is not believed.
#[derive(Clone, Debug, Default)]
pub(super) struct Silent(Vec<(Handle, Instant)>);

impl Silent {
    pub(super) fn add(&mut self, peer: Handle, until: Instant) {
        self.forget(peer);
        if self.0.len() >= SILENT_MAX {
            self.0.remove(0);
        }
        self.0.push((peer, until));
    }

    pub(super) fn contains(&self, peer: Handle, now: Instant) -> bool {
        self.0.iter().any(|(silent, until)| *silent == peer && *until > now)
    }

    pub(super) fn forget(&mut self, peer: Handle) {
        self.0.retain(|(silent, _)| *silent != peer);
    }
}
