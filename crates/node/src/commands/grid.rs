//! The machine, the grid around it and the VO's policy.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::policy::{Policy, PolicyError, PolicyVersion, SignedPolicy};
use xtreem_allocation::{Me, Resources};
use xtreem_base::{Coordinate, Handle, Instant};
use xtreem_discovery::Attributes;
use xtreem_membership::reference::Reach;

use crate::{GridEstimate, Message, Node, Output, Status};

impl Node {
    pub fn me(&self) -> Me {
        self.desk.me
    }

    /// Sets what this node says of itself, static and dynamic; called again whenever it was measured.
    pub fn set_attributes(&mut self, now: Instant, attributes: Attributes) {
        let (call, me) = (self.desk.call(now), self.desk.me);
        let hash = (me.id.as_u64() >> 32) as u32;
        self.tries.set_attributes(call, me.handle, hash, &attributes);
        self.aggregates.set_attributes(call, me.handle, &attributes);
        self.attributes = attributes;
    }

    /// Says whether what is declared of this machine contradicts what it measures. While it does, every hold
    /// is refused as a mismatch.
    pub fn set_contradicts(&mut self, contradicts: bool) {
        self.contradicts = contradicts;
    }

    /// Says whether another machine, which started earlier or at the same moment, has this node's key. While
    /// it does, every hold is refused for that, and nothing is taken up that was restored.
    pub fn set_cloned(&mut self, is_cloned: bool) {
        self.is_cloned = is_cloned;
        self.allocation.set_cloned(is_cloned);
    }

    /// As set by [`Self::set_contradicts`].
    pub fn contradicts(&self) -> bool {
        self.contradicts
    }

    /// Says whether programs may run here: whether the machine can shut them in, or its operator allows them
    /// all the same. While they may not, every hold is refused for that. They may until the host says
    /// otherwise.
    pub fn set_isolates(&mut self, isolates: bool) {
        self.isolates = isolates;
    }

    /// Says whether the disk is so full that no program could write a file. While it is, every hold is
    /// refused, before a program is sent here in vain.
    pub fn set_disk_full(&mut self, is_disk_full: bool) {
        self.is_disk_full = is_disk_full;
    }

    /// As set by [`Self::set_disk_full`].
    pub fn is_disk_full(&self) -> bool {
        self.is_disk_full
    }

    /// Says which ports are in use on this machine, of those that a slot wants. Until it is said anew, a hold
    /// that needs one of them is refused.
    pub fn set_ports_in_use(&mut self, ports: Vec<u16>) {
        self.ports_in_use = ports;
    }

    /// Says that programs of this machine cannot listen below `port`: a hold that needs a lower one is
    /// refused.
    pub fn set_lowest_port(&mut self, port: u16) {
        self.lowest_port = port;
    }

    /// Sets what this node offers to slots.
    pub fn set_offer(&mut self, offer: Resources) {
        self.allocation.set_offer(offer);
    }

    /// Joins the grid through a node that is part of it.
    pub fn join(&mut self, now: Instant, contact: Handle, out: &mut impl Output) {
        let Node { desk, grid, reference, tries, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let narrow = grid.narrow(call);
        grid.join(narrow, contact, &mut post.lend(Message::Grid).answering(call, reference));
        let mut lent = post.lend(|(version, message)| Message::Trie(version, message)).sampling(grid);
        tries.join(call, contact, &mut lent);
    }

    /// A contact that was part of the grid once, or should be: tried in every round.
    pub fn remember(&mut self, contact: Handle) {
        self.grid.remember(contact);
    }

    /// Puts a policy of the VO in force, if it is newer, and spreads it. The caller has verified it. Returns
    /// whether it is in force now.
    pub fn set_policy(
        &mut self,
        now: Instant,
        signed: SignedPolicy,
        out: &mut impl Output,
    ) -> Result<bool, PolicyError> {
        let Node { desk, grid, policies, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let call = policies.narrow(call);
        let taken = policies.take(call, signed, &mut post.lend(Message::Policy).sampling(grid))?;
        self.settle(now, out);
        Ok(taken)
    }

    /// The policy in force here.
    pub fn policy(&self) -> Option<(&Arc<SignedPolicy>, &Policy, PolicyVersion)> {
        self.policies.in_force()
    }

    /// A policy with the version of the one in force that this node has seen, and that lost against it.
    pub fn rival_policy(&self) -> Option<PolicyVersion> {
        self.policies.rival()
    }

    /// Where this node stands in the network.
    pub fn coordinate(&self) -> Coordinate {
        self.coordinates.coordinate()
    }

    /// The grid-wide partial view, with the contact of the exchange that is under way.
    pub fn contacts(&self) -> Vec<Handle> {
        self.grid.contacts().collect()
    }

    /// Contacts of before do not answer, as far as they are remembered: machines that are gone, or another
    /// part of a grid that has split.
    pub fn has_lost_contacts(&self) -> bool {
        self.grid.remembered().next().is_some()
    }

    /// The contacts by which this node sees whether it is cut off.
    pub fn reference_set(&self) -> Vec<Handle> {
        self.reference.peers().collect()
    }

    /// How much of its reference set this node reaches; nothing unless it is cut off.
    pub fn reach(&self, now: Instant) -> Option<Reach> {
        self.reference.reach(self.reference.narrow(self.desk.call(now)))
    }

    /// The operator's word that those members of the reference set that do not answer are gone for good: from
    /// now on this node replaces what was lost with them. Returns how many were given up; nothing unless the
    /// node is cut off.
    pub fn accept_loss(&mut self, now: Instant, out: &mut impl Output) -> Option<u8> {
        let call = self.reference.narrow(self.desk.call(now));
        let given_up = self.reference.accept_loss(call);
        self.settle(now, out);
        given_up
    }

    /// What this node knows of all nodes together.
    pub fn grid_estimate(&self, now: Instant) -> GridEstimate {
        self.aggregates.picture(self.desk.call(now))
    }

    pub fn status(&self) -> Status {
        let ledger = self.allocation.ledger();
        Status {
            contacts: self.grid.contacts().count(),
            offered: ledger.offer(),
            used: ledger.used(),
            open_holds: ledger.open_holds(),
            lapsed_holds: ledger.lapsed_holds(),
            slots: ledger.allocated_slots(),
            is_cut_off: self.is_cut_off,
        }
    }

    /// Messages that made no sense, counted by what they were about. None of them changed anything, unless
    /// the fault's type says so.
    pub fn for_each_fault(&self, f: &mut dyn FnMut(&'static str, u64)) {
        self.parts().into_iter().for_each(|part| part.for_each_fault(f));
        for (name, count) in self.allocation.faults().by_name() {
            f(name, count);
        }
    }
}
