//! Applications: submitting, changing and looking at them.

use alloc::vec::Vec;

use xtreem_allocation::{Application, Description, Held, Record, SlotRun, SubmitRefusal};
use xtreem_base::{AppId, Duration, Handle, Instant};
use xtreem_discovery::{AppFilter, AppSummary};

use crate::parts::allocation::summaries;
use crate::{Node, Output};

impl Node {
    /// Begins to place an application; `Notice::Submission` tells how it goes on. While too few nodes are
    /// found it tries again for as long as `wait`.
    pub fn submit(
        &mut self,
        now: Instant,
        application: Application,
        wait: Duration,
        out: &mut impl Output,
    ) -> Result<(), SubmitRefusal> {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.submit(call, application, wait, &mut host)?;
        self.settle(now, out);
        Ok(())
    }

    /// Gives a submission up before it is accepted; afterwards only a stopped record ends the application.
    pub fn withdraw(&mut self, now: Instant, app: AppId, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.withdraw(call, app, &mut host);
        self.settle(now, out);
    }

    /// Sends a new record to nodes that take part; `Notice::RecordTaken` tells who has it.
    pub fn publish(&mut self, now: Instant, record: Record, to: &[Handle], out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.publish(call, record, to, &mut host);
        self.settle(now, out);
    }

    /// Asks a node what it knows of an application; `Notice::Described`, or silence.
    pub fn describe(&mut self, now: Instant, app: AppId, at: Handle, out: &mut impl Output) {
        let (allocation, _, mut host) = self.allocating(now, out);
        allocation.describe(app, at, &mut host);
        self.settle(now, out);
    }

    /// What this node knows of an application that it takes part in.
    pub fn app(&self, now: Instant, app: AppId) -> Option<Description> {
        self.allocation.describe_here(now, app)
    }

    /// What shows that this node holds a slot under this epoch, and what it believes of the application;
    /// nothing when it holds it no more.
    pub fn held(&self, run: SlotRun) -> Option<Held> {
        self.allocation.held(run)
    }

    pub fn apps(&self, now: Instant) -> Vec<AppSummary> {
        summaries(&self.allocation, now, &AppFilter::All, usize::MAX).0
    }

    /// A random subset of an application's own collection, without this node.
    pub fn app_peers(&mut self, app: AppId, k: usize) -> Vec<Handle> {
        self.collections.sample(app, k)
    }

    /// Whether this node knows that a slot of an application that it takes part in is done or failed.
    pub fn is_over(&self, app: AppId, slot: u16) -> bool {
        self.allocation.is_over(app, slot)
    }

    /// Every hold that is open here: its number, its requester and the application that it is for.
    pub fn holds(&self) -> impl Iterator<Item = (u64, Handle, AppId)> {
        self.allocation.ledger().holds()
    }
}
