//! What the last node does for all: it asks the first one for the sum, and makes numberings of it.

use super::message::{Frozen, Sum, Total};
use super::{Config, Fault, Next};
use crate::ranks::Epoch;

#[derive(Clone, Debug)]
pub(super) struct Last {
    /// How many there shall be.
    expected: Option<u32>,
    /// What the first one said, and the version of that; 0: nothing yet.
    sum: Option<Sum>,
    heard: u32,
    /// Rounds in which it was asked in vain.
    tries: u8,
    is_due: bool,
    /// The sum of all, and for how many rounds it has been that.
    current: Option<Sum>,
    quiet: u8,
}

impl Last {
    pub(super) fn new(expected: Option<u32>) -> Self {
        Last { expected, sum: None, heard: 0, tries: 0, is_due: true, current: None, quiet: 0 }
    }

    /// The first one is another, or this node is not the last one.
    pub(super) fn forget(&mut self) {
        *self = Last::new(self.expected);
    }

    pub(super) fn sum(&self) -> Option<Sum> {
        self.sum
    }

    /// How often the first one was asked without an answer.
    pub(super) fn tries(&self) -> u8 {
        self.tries
    }

    pub(super) fn is_unasked(&self, next: Next) -> bool {
        self.is_due && matches!(next, Next::First(_))
    }

    /// Takes the first one's word; whether it is a new one. None: it does not know yet.
    pub(super) fn on_tell(&mut self, version: u32, sum: Option<Sum>) -> Result<bool, Fault> {
        if self.heard != 0 && (version.wrapping_sub(self.heard) as i32) < 0 {
            return Err(Fault::Late);
        }
        let is_new = version != self.heard || self.tries == 0;
        (self.sum, self.heard, self.tries) = (sum, version, 0);
        Ok(is_new)
    }

    pub(super) fn start_round(&mut self, config: &Config) {
        self.quiet = self.quiet.saturating_add(1);
        self.is_due = true;
        if self.tries > config.tries {
            self.sum = None;
        }
    }

    /// The version heard, when the first one is to be asked now.
    pub(super) fn take_due(&mut self) -> Option<u32> {
        if !core::mem::take(&mut self.is_due) {
            return None;
        }
        self.tries = self.tries.saturating_add(1);
        Some(self.heard)
    }

    /// What is told to all when this is the sum of them.
    pub(super) fn total(
        &mut self,
        config: &Config,
        current: Sum,
        frozen: Option<Frozen>,
        wish: u32,
    ) -> Total {
        if self.current != Some(current) {
            (self.current, self.quiet) = (Some(current), 0);
        }
        let is_quiet = self.quiet >= config.quiet_rounds;
        let number = is_quiet.then(|| self.number_of(current, frozen, wish)).flatten();
        let made = number.map(|number| Frozen {
            epoch: Epoch { number, digest: current.marks },
            members: current.members,
        });
        Total { current, frozen: made.or(frozen), is_quiet }
    }

    /// The number of the numbering that is to be made of a sum that is quiet; None: the one that there is
    /// stays in force. Only a request makes one of fewer members: they may be behind a split, or replaced.
    fn number_of(&self, current: Sum, frozen: Option<Frozen>, wish: u32) -> Option<u32> {
        let is_complete = self.expected.is_none_or(|expected| expected == current.members);
        match frozen {
            Some(frozen) if wish > frozen.epoch.number => Some(wish),
            Some(frozen) if current.members > frozen.members && is_complete => Some(frozen.epoch.number),
            Some(_) => None,
            None if is_complete || wish > 0 => Some(wish),
            None => None,
        }
    }
}
