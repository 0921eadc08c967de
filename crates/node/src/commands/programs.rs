//! What became of the programs that the node wanted started or stopped.

use xtreem_allocation::{Exit, NotStarted, SlotRun};
use xtreem_base::Instant;

use crate::{Node, Output};

impl Node {
    pub fn program_started(&mut self, now: Instant, run: SlotRun, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_started(call, run, &mut host);
        self.settle(now, out);
    }

    /// Files of the program arrive: its start takes its time, and goes on.
    pub fn program_progress(&mut self, now: Instant, run: SlotRun, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_progress(call, run, &mut host);
        self.settle(now, out);
    }

    pub fn program_exited(&mut self, now: Instant, run: SlotRun, exit: Exit, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_exited(call, run, exit, &mut host);
        self.settle(now, out);
    }

    pub fn program_not_started(
        &mut self,
        now: Instant,
        run: SlotRun,
        why: NotStarted,
        out: &mut impl Output,
    ) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_not_started(call, run, why, &mut host);
        self.settle(now, out);
    }

    /// The operator of this machine takes a slot back; it is recruited elsewhere.
    pub fn free(&mut self, now: Instant, run: SlotRun, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.free(call, run, &mut host);
        self.settle(now, out);
    }
}
