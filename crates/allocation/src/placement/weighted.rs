//! The nodes for which an expression over their attributes is highest.

use core::cmp::Reverse;

use alloc::vec::Vec;

use xtreem_base::Rng;
use xtreem_discovery::Expression;

use super::{Candidate, Choice, Placement, Wishes, surplus};

#[derive(Clone, Debug)]
pub struct Weighted {
    by: Expression,
}

impl Weighted {
    pub fn by(expression: Expression) -> Self {
        Weighted { by: expression }
    }
}

impl Placement for Weighted {
    fn wishes(&self, wanted: u16) -> Wishes {
        Wishes { surplus: surplus(wanted), facts: self.by.facts() }
    }

    fn choose(&self, choice: &Choice<'_>, _: &mut Rng) -> Vec<usize> {
        choice.best_by_key(|candidate: &Candidate| Reverse(self.by.of(&candidate.facts.values)))
    }
}
