//! What all applications and submissions of one node share: who it is, its ledger, its random numbers.

use xtreem_base::{Call, Rng};

use crate::context::Context;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::trouble::Troubles;
use crate::{Config, Fault, Faults, Me};

/// Lent to one application or submission at a time, by [`Books::context`].
#[derive(Clone, Debug)]
pub(crate) struct Books {
    pub me: Me,
    pub rng: Rng,
    pub ledger: Ledger,
    /// Confirms made by this incarnation.
    pub attempts: u32,
    pub faults: Faults,
    pub journal: Journal,
    pub troubles: Troubles,
    /// Another machine has this node's key, and this one is the later: it takes no slots, and takes up none.
    pub is_cloned: bool,
    /// The first fault of the message that is being handled.
    first_fault: Option<Fault>,
}

impl Books {
    pub fn new(me: Me, rng: Rng) -> Self {
        Books {
            me,
            rng,
            ledger: Ledger::default(),
            attempts: 0,
            faults: Faults::default(),
            journal: Journal::default(),
            troubles: Troubles::default(),
            is_cloned: false,
            first_fault: None,
        }
    }

    /// All that one call may use besides the application or submission itself.
    pub fn context<'a, H>(&'a mut self, call: Call<'a, Config>, host: &'a mut H) -> Context<'a, H> {
        Context { config: call.config, now: call.now, me: self.me, books: self, host }
    }

    /// Counts a fault, and keeps the first of each message for the answer to whoever handed it in.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.count(fault);
        self.first_fault.get_or_insert(fault);
    }

    /// Whether the message that was just handled was free of faults.
    pub fn verdict(&mut self) -> Result<(), Fault> {
        self.first_fault.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use xtreem_base::{Handle, NodeId};

    use super::*;

    #[test]
    fn the_first_fault_of_a_message_is_its_verdict_and_all_are_counted() {
        let me = Me { handle: Handle::from_u32(1), id: NodeId::from_bytes([1; 16]), incarnation: 1 };
        let mut books = Books::new(me, Rng::new(1));
        assert_eq!(books.verdict(), Ok(()));
        for fault in [Fault::NoSuchSlot, Fault::NoSuchSlot, Fault::UnsuitableFacts] {
            books.fault(fault);
        }
        assert_eq!(books.verdict(), Err(Fault::NoSuchSlot));
        assert_eq!(books.verdict(), Ok(()), "the next message begins without faults");
        assert_eq!(books.faults, Faults { no_such_slot: 2, unsuitable_facts: 1, ..Faults::default() });
    }
}
