//! This node's place in the k-d prefix trie: one trie for each version of the schema that runs.
//!
//! A changed schema comes with a new release of the program: nodes of both releases share the trie of the old
//! version until those of the new one are all in the new trie too. Searches follow the old one until then.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant, Rng};
use xtreem_discovery::Attributes;
use xtreem_discovery::trie::{self, PeerFault, Trie};
use xtreem_membership::Cyclon;
use xtreem_membership::reference::Reference;

use crate::adapters::Post;
use crate::{Config as NodeConfig, Message, Output};

/// Periods in which a newer trie must have had as many nodes before the older one is left: our guess, time for
/// requesters that looked elsewhere to see it too.
const DRAINED_PERIODS: u64 = 30;

pub(crate) struct Tries {
    /// Rising by version; empty until attributes are known.
    list: Vec<Trie>,
    /// Some joined nowhere yet since they moved.
    is_moved: bool,
    /// Since when the oldest one is not followed any more.
    drained_since: Option<Instant>,
    rng: Rng,
}

/// What the tries see of their node.
pub(crate) struct TrieOut<'a, O> {
    pub version: u32,
    pub now: Instant,
    pub post: Post<'a, O>,
    pub grid: &'a mut Cyclon,
    pub reference: &'a mut Reference,
    pub config: &'a NodeConfig,
}

impl<O: Output> trie::Output for TrieOut<'_, O> {
    fn send(&mut self, to: Handle, message: trie::Message) {
        self.post.send(to, Message::Trie(self.version, message));
    }

    fn fresh_peer(&mut self) -> Option<Handle> {
        self.grid.sample(1).first().copied()
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.reference.answered(&self.config.reference, self.now, peer);
    }
}

impl Tries {
    pub fn new(rng: Rng) -> Self {
        Tries { list: Vec::new(), is_moved: false, drained_since: None, rng }
    }

    /// Takes what the node says of itself. When that changes its place, it joins anew in the next round.
    pub fn set_attributes(
        &mut self,
        config: &NodeConfig,
        now: Instant,
        me: Handle,
        hash: u32,
        attributes: &Attributes,
    ) {
        for schema in &config.schemas {
            let (codes, present) = (schema.codes(attributes), schema.present(attributes));
            let at = self.list.iter().position(|trie| trie.schema().version() == schema.version());
            if let Some(at) = at
                && *self.list[at].codes() == codes
            {
                self.list[at].set_present(present);
                continue;
            }
            let rng = Rng::new(self.rng.next_u64());
            let mut trie = Trie::new(&config.trie, schema.clone(), me, codes, hash, rng, now);
            trie.set_present(present);
            match at {
                Some(at) => self.list[at] = trie,
                // One that has drained is not begun again.
                None if self.drained_since.is_none() => self.list.push(trie),
                None => continue,
            }
            self.is_moved = true;
        }
        self.list.sort_by_key(|trie| trie.schema().version());
    }

    /// The trie of that version; without a version, the one that searches follow.
    pub fn get(&self, version: Option<u32>) -> Option<&Trie> {
        match version {
            Some(version) => self.list.iter().find(|trie| trie.schema().version() == version),
            None if self.is_drained() => self.list.last(),
            None => self.list.first(),
        }
    }

    /// Whether the newest trie has all nodes that the oldest one has, but for the fiftieth that counts may err.
    fn is_drained(&self) -> bool {
        let [oldest, .., newest] = &self.list[..] else { return true };
        let (old, new) = (oldest.table().count(), newest.table().count());
        newest.is_settled() && new + new / 50 >= old
    }

    /// Joins through a node of the grid.
    pub fn join<O: Output>(&mut self, contact: Handle, out: &mut TrieOut<'_, O>) {
        for trie in &mut self.list {
            out.version = trie.schema().version();
            trie.join(&out.config.trie, out.now, contact, out);
        }
        self.is_moved = false;
    }

    /// `peer` is gone for good.
    pub fn remove(&mut self, peer: Handle) {
        self.list.iter_mut().for_each(|trie| trie.remove(peer));
    }

    pub fn forget(&mut self, now: Instant, peer: Handle) {
        self.list.iter_mut().for_each(|trie| trie.forget(now, peer));
    }

    /// A message of a version that does not run here is nobody's fault.
    pub fn handle_message<O: Output>(
        &mut self,
        from: Handle,
        message: trie::Message,
        out: &mut TrieOut<'_, O>,
    ) -> Result<(), PeerFault> {
        match self.list.iter_mut().find(|trie| trie.schema().version() == out.version) {
            Some(trie) => trie.handle_message(&out.config.trie, out.now, from, message, out),
            None => Ok(()),
        }
    }

    pub fn handle_timeout<O: Output>(&mut self, out: &mut TrieOut<'_, O>) {
        if self.next_timeout().is_none_or(|at| at > out.now) {
            return;
        }
        if self.is_moved
            && let Some(contact) = trie::Output::fresh_peer(out)
        {
            self.join(contact, out);
        }
        for trie in &mut self.list {
            out.version = trie.schema().version();
            trie.handle_timeout(&out.config.trie, out.now, out);
        }
        if self.list.len() > 1 {
            self.leave_drained(out.config, out.now);
        }
    }

    fn leave_drained(&mut self, config: &NodeConfig, now: Instant) {
        if !self.is_drained() {
            self.drained_since = None;
        } else if now.since(*self.drained_since.get_or_insert(now)) >= config.trie.period * DRAINED_PERIODS {
            self.list.remove(0);
        }
    }

    /// Of the schemas whose tries run, the older one first.
    #[cfg(test)]
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.list.iter().map(|trie| trie.schema().version())
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.list.iter().map(Trie::next_timeout).min()
    }

    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.list.iter().for_each(|trie| trie.for_each_handle(f));
    }
}
