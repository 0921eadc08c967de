//! The ring of all nodes.

use xtreem_base::{Instant, NodeId};
use xtreem_overlay::broadcast::{BeginError, BroadcastId};
use xtreem_overlay::ring::{LookupId, Ring, TooManyLookups};
use xtreem_overlay::store::{Operation, RequestId, TooMany, Value};
use xtreem_overlay::{Key, Overlay};

use crate::{Message, Node, Output};

impl Node {
    /// This node's part of the ring of all nodes.
    pub fn ring(&self) -> &Ring {
        self.ring.ring()
    }

    /// The same, with what finds its neighbours.
    pub fn overlay(&self) -> &Overlay {
        &self.ring
    }

    /// Looks for the owner of a key: [`Event::Ring`](crate::Event::Ring) has the answer.
    ///
    /// # Errors
    /// As many are under way as one node may make at once.
    pub fn find_owner(
        &mut self,
        now: Instant,
        key: Key,
        out: &mut impl Output,
    ) -> Result<LookupId, TooManyLookups> {
        let Node { desk, grid, ring, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let call = ring.narrow(call);
        let mut lent = post.lend(Message::Ring).sampling(grid);
        let lookup = ring.lookup(call, key, &mut lent)?;
        self.settle(now, out);
        Ok(lookup)
    }

    /// Begins an operation on what lies on the ring: [`Event::Ring`](crate::Event::Ring) has its end.
    ///
    /// # Errors
    /// As many are under way as one node may have at once.
    pub fn operate(
        &mut self,
        now: Instant,
        operation: Operation,
        out: &mut impl Output,
    ) -> Result<RequestId, TooMany> {
        let Node { desk, grid, ring, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let call = ring.narrow(call);
        let mut lent = post.lend(Message::Ring).sampling(grid);
        let request = ring.begin(call, operation, &mut lent)?;
        self.settle(now, out);
        Ok(request)
    }

    /// Tells all nodes of the grid something that `origin` signed. The caller has verified it. At each node,
    /// this one too, [`Event::Ring`](crate::Event::Ring) has it.
    ///
    /// # Errors
    /// This node is not on the ring, or tells as much already as it may at once.
    pub fn announce(
        &mut self,
        now: Instant,
        origin: NodeId,
        content: Value,
        out: &mut impl Output,
    ) -> Result<BroadcastId, BeginError> {
        let Node { desk, grid, ring, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let call = ring.narrow(call);
        let id = ring.tell(call, origin, content, &mut post.lend(Message::Ring).sampling(grid))?;
        self.settle(now, out);
        Ok(id)
    }

    /// Hands on what this node owns of the ring, before it ends. [`ring::Event::Left`] follows.
    ///
    /// [`ring::Event::Left`]: xtreem_overlay::ring::Event::Left
    pub fn leave_ring(&mut self, now: Instant, out: &mut impl Output) {
        let Node { desk, grid, ring, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let call = ring.narrow(call);
        ring.leave(call, &mut post.lend(Message::Ring).sampling(grid));
        self.settle(now, out);
    }
}
