//! Who was asked whether a silent peer is there: the indirect probes that are open.

use alloc::collections::VecDeque;

use xtreem_base::{Duration, Handle, Instant};

/// Open questions; the oldest goes. Eight watched slots of a few applications, two helpers each, in three
/// rounds.
pub(crate) const HELPERS_MAX: usize = 128;
/// An answer that takes longer says nothing of the round in which it was asked for.
const OPEN: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(crate) struct Helpers {
    asked: VecDeque<(Instant, Handle, Handle)>,
}

impl Helpers {
    /// `helper` is asked whether `about` is there.
    pub fn ask(&mut self, now: Instant, helper: Handle, about: Handle) {
        self.asked.retain(|(at, ..)| now.since(*at) < OPEN);
        if self.asked.len() >= HELPERS_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back((now, helper, about));
    }

    /// Whether this answers an open question; one question has one answer.
    pub fn answers(&mut self, now: Instant, helper: Handle, about: Handle) -> bool {
        let is_it = |(at, who, whom): &(Instant, Handle, Handle)| {
            (*who, *whom) == (helper, about) && now.since(*at) < OPEN
        };
        let open = self.asked.iter().position(is_it);
        open.and_then(|at| self.asked.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_asked_answers_once_and_in_time() {
        let (h, at) = (Handle::from_u32, Instant::from_millis);
        let mut helpers = Helpers::default();
        helpers.ask(at(0), h(1), h(9));
        for (helper, about) in [(2, 9), (1, 8), (9, 1)] {
            assert!(!helpers.answers(at(1), h(helper), h(about)));
        }
        assert!(helpers.answers(at(2), h(1), h(9)));
        assert!(!helpers.answers(at(3), h(1), h(9)));
        helpers.ask(at(10), h(1), h(9));
        assert!(!helpers.answers(at(4_010), h(1), h(9)));
        (0..1_000).for_each(|number| helpers.ask(at(5_000), h(number), h(9)));
        assert_eq!(helpers.asked.len(), HELPERS_MAX);
    }
}
