//! For how long requesters have held something here without confirming anything of their own.
//!
//! A hold needs no proof that its asker acts for a user who may submit: only a confirm has one. So whoever
//! holds again and again and confirms nothing gives way to everybody else, from some minutes on.

use alloc::collections::BTreeMap;

use xtreem_base::{Duration, Handle, Instant};

use super::HOLD_LIFE_MAX;

/// Who has held something for so much longer than nothing is overdrawn, until it has held nothing for as
/// long. Twice the longest hold: a submission holds for seconds and pauses for as many
/// (`Config::back_off_max`).
const DEBT_MAX: Duration = Duration::from_micros(2 * HOLD_LIFE_MAX.as_micros());
/// Requesters remembered; beyond it the one with the least debt is forgotten.
const DEBTORS_MAX: usize = 1_024;

/// All of them, as of some moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Debts {
    by: BTreeMap<Handle, Debt>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    /// As of `at`; since then it grew while something was held, and shrank while nothing was.
    span: Duration,
    at: Instant,
    is_holding: bool,
    is_overdrawn: bool,
}

impl Debt {
    fn pass_to(&mut self, now: Instant) {
        let passed = now.since(self.at);
        self.at = now;
        if self.is_holding {
            self.span = (self.span + passed).min(DEBT_MAX);
            self.is_overdrawn |= self.span >= DEBT_MAX;
        } else {
            self.span = self.span - passed;
            self.is_overdrawn &= self.span > Duration::ZERO;
        }
    }
}

impl Debts {
    /// Lets the time pass in which holds were as they are now; called before any of them changes.
    pub(super) fn pass(&mut self, now: Instant) {
        self.by.values_mut().for_each(|debt| debt.pass_to(now));
        self.by.retain(|_, debt| debt.is_holding || debt.span > Duration::ZERO);
    }

    /// What is held now, after a change.
    pub(super) fn changed(&mut self, now: Instant, holders: impl Iterator<Item = Handle>) {
        self.by.values_mut().for_each(|debt| debt.is_holding = false);
        for holder in holders {
            if let Some(debt) = self.by.get_mut(&holder) {
                debt.is_holding = true;
                continue;
            }
            if self.by.len() >= DEBTORS_MAX {
                let least = self.by.iter().min_by_key(|(_, debt)| (debt.is_overdrawn, debt.span));
                let least = least.map(|(debtor, _)| *debtor);
                least.and_then(|debtor| self.by.remove(&debtor));
            }
            let debt = Debt { span: Duration::ZERO, at: now, is_holding: true, is_overdrawn: false };
            self.by.insert(holder, debt);
        }
    }

    pub(super) fn is_overdrawn(&self, requester: Handle) -> bool {
        self.by.get(&requester).is_some_and(|debt| debt.is_overdrawn)
    }

    /// It has shown that it acts for a user who may submit.
    pub(super) fn forgive(&mut self, requester: Handle) {
        if let Some(debt) = self.by.get_mut(&requester) {
            (debt.span, debt.is_overdrawn) = (Duration::ZERO, false);
        }
    }

    /// The requester has restarted: that pays nothing back.
    pub(super) fn rename(&mut self, old: Handle, new: Handle) {
        if let Some(debt) = self.by.remove(&old) {
            self.by.insert(new, debt);
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.by.keys().for_each(|debtor| f(*debtor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requesters_that_are_remembered_are_few_and_the_worst_of_them_stay() {
        let mut debts = Debts::default();
        let peer = Handle::from_u32;
        let at = |secs: u64| Instant::from_secs(secs);
        debts.changed(at(0), [peer(0)].into_iter());
        debts.pass(at(500));
        for number in 1..3_000 {
            let now = at(500) + Duration::from_millis(number);
            debts.pass(now);
            debts.changed(now, [peer(number as u32)].into_iter());
            assert!(debts.by.len() <= DEBTORS_MAX);
        }
        assert!(debts.is_overdrawn(peer(0)));
        debts.pass(at(2_000));
        debts.changed(at(2_000), [].into_iter());
        debts.pass(at(4_000));
        assert!(debts.by.is_empty(), "in the end nobody is");
    }
}
