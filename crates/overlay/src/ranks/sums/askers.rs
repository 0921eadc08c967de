//! Who asked at which level, and has to hear when the answer changes.

use alloc::vec::Vec;

use xtreem_base::{Handle, Sink};

use super::CROWN;
use super::message::{Message, Told, Total};

/// Askers of one level at most: on a ring that is right there is one, the node as far behind as the row leads
/// ahead. The one that asked first goes, and hears of it.
const ASKERS_MAX: usize = 2;
/// Times that an asker is told something without a word from it; then it is forgotten, and may ask again.
const TELLS_MAX: u8 = 4;

/// What is said at one level.
#[derive(Clone, Debug)]
struct Answer {
    level: u8,
    told: Told,
    /// Never 0.
    version: u32,
}

#[derive(Clone, Debug)]
struct Asker {
    level: u8,
    peer: Handle,
    /// The version that it has heard; 0: none.
    heard: u32,
    /// How often it was told the newest one.
    tells: u8,
    is_due: bool,
}

/// All that asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Askers {
    answers: Vec<Answer>,
    /// In the order in which they asked last.
    askers: Vec<Asker>,
    /// What was last said of all.
    total: Option<Total>,
}

impl Askers {
    pub(super) fn len(&self) -> usize {
        self.askers.len()
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.askers.iter().map(|asker| asker.peer)
    }

    /// Somebody asks, and has heard this version. Comes back with the one that made room for it.
    pub(super) fn asked(&mut self, level: u8, peer: Handle, heard: u32) -> Option<Handle> {
        if !self.answers.iter().any(|answer| answer.level == level) {
            self.answers.push(Answer { level, told: Told::Unknown, version: 1 });
        }
        self.askers.retain(|asker| (asker.level, asker.peer) != (level, peer));
        let mut others = self.askers.iter().enumerate().filter(|(_, asker)| asker.level == level);
        let first = others.next().map(|(at, _)| at);
        let first = first.filter(|_| others.count() + 2 > ASKERS_MAX);
        let gone = first.map(|first| self.askers.remove(first).peer);
        self.askers.push(Asker { level, peer, heard, tells: 0, is_due: true });
        gone
    }

    /// What there is to say now. True when somebody has to hear it.
    pub(super) fn note(&mut self, told: impl Fn(u8) -> Told, total: Option<Total>) -> bool {
        let is_total_new = total != self.total;
        self.total = total;
        for answer in &mut self.answers {
            let now = told(answer.level);
            let says_total = says_total(answer.level, now);
            if now != answer.told || says_total && is_total_new {
                answer.told = now;
                answer.version = answer.version.wrapping_add(1).max(1);
                let askers = self.askers.iter_mut().filter(|asker| asker.level == answer.level);
                askers.for_each(|asker| (asker.is_due, asker.tells) = (true, 0));
            }
        }
        self.askers.iter().any(|asker| asker.is_due)
    }

    /// Answers one that asked just now.
    pub(super) fn answer(&mut self, level: u8, peer: Handle, out: &mut impl Sink<Message>) {
        self.tell_those(|asker| (asker.level, asker.peer) == (level, peer), out);
    }

    /// Tells all that have to hear something.
    pub(super) fn tell(&mut self, out: &mut impl Sink<Message>) {
        self.tell_those(|_| true, out);
    }

    fn tell_those(&mut self, is: impl Fn(&Asker) -> bool, out: &mut impl Sink<Message>) {
        for asker in self.askers.iter_mut().filter(|asker| asker.is_due && is(asker)) {
            (asker.is_due, asker.tells) = (false, asker.tells + 1);
            let answer = self.answers.iter().find(|answer| answer.level == asker.level);
            let Some(Answer { level, told, version }) = answer.cloned() else { continue };
            let total = self.total.filter(|_| says_total(level, told));
            out.send(asker.peer, Message::Tell { level, version, told, total });
        }
    }

    /// An asker has heard a version.
    pub(super) fn heard(&mut self, level: u8, peer: Handle, version: u32) {
        let asker = self.askers.iter_mut().find(|asker| (asker.level, asker.peer) == (level, peer));
        if let Some(asker) = asker {
            asker.heard = version;
        }
    }

    /// Those that have not heard the newest version are told again.
    pub(super) fn start_round(&mut self) {
        let Askers { answers, askers, .. } = self;
        askers.retain_mut(|asker| {
            let version = answers.iter().find(|answer| answer.level == asker.level).map(|it| it.version);
            if version != Some(asker.heard) {
                asker.is_due = true;
            }
            asker.tells < TELLS_MAX || version == Some(asker.heard)
        });
    }

    pub(super) fn remove(&mut self, peer: Handle) {
        self.askers.retain(|asker| asker.peer != peer);
    }
}

/// The last node, which asks at the crown, hears nothing of its own word.
fn says_total(level: u8, told: Told) -> bool {
    level != CROWN && matches!(told, Told::End { .. })
}
