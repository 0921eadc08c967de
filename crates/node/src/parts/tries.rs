//! This node's place in the k-d prefix trie: one trie for each version of the schema that runs.
//!
//! A changed schema comes with a new release of the program: nodes of both releases share the trie of the old
//! version until those of the new one are all in the new trie too. Searches follow the old one until then.

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Handle, Instant, Rng, Sampler, Sink, Wake};
use xtreem_discovery::Attributes;
use xtreem_discovery::trie::{Fault, Message, Trie};

use crate::Config;

/// Periods in which a newer trie must have had as many nodes before the older one is left: our guess, time
/// for requesters that looked elsewhere to see it too.
const DRAINED_PERIODS: u64 = 30;

pub(crate) struct Tries {
    /// Rising by version; empty until attributes are known.
    list: Vec<Trie>,
    /// Some joined nowhere yet since they moved.
    is_moved: bool,
    /// When the oldest one ceased to be followed.
    drained_since: Option<Instant>,
    rng: Rng,
}

/// The sink of the trie of one version.
struct Versioned<'a, S> {
    version: u32,
    out: &'a mut S,
}

impl<S: Sink<(u32, Message)>> Sink<Message> for Versioned<'_, S> {
    fn send(&mut self, to: Handle, message: Message) {
        self.out.send(to, (self.version, message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.out.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.out.contact_silent(peer);
    }
}

impl<S: Sampler> Sampler for Versioned<'_, S> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.out.fresh_peer()
    }
}

impl Tries {
    pub fn new(rng: Rng) -> Self {
        Tries { list: Vec::new(), is_moved: false, drained_since: None, rng }
    }

    /// Takes what the node says of itself. When that changes its place, it joins anew in the next round.
    pub fn set_attributes(&mut self, call: Call<'_, Config>, me: Handle, hash: u32, attributes: &Attributes) {
        for schema in &call.config.schemas {
            let (codes, present) = (schema.codes(attributes), schema.present(attributes));
            let at = self.list.iter().position(|trie| trie.schema().version() == schema.version());
            if let Some(at) = at
                && *self.list[at].codes() == codes
            {
                self.list[at].set_present(present);
                continue;
            }
            let rng = Rng::new(self.rng.next_u64());
            let place = call.narrow(|config| &config.trie);
            let mut trie = Trie::new(place, schema.clone(), me, codes, hash, rng);
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

    /// Whether the newest trie has all nodes that the oldest one has, but for the fiftieth that counts may
    /// err.
    fn is_drained(&self) -> bool {
        let [oldest, .., newest] = &self.list[..] else { return true };
        let (old, new) = (oldest.table().count(), newest.table().count());
        newest.is_settled() && new + new / 50 >= old
    }

    /// Joins through a node of the grid.
    pub fn join<S>(&mut self, call: Call<'_, Config>, contact: Handle, out: &mut S)
    where
        S: Sink<(u32, Message)> + Sampler,
    {
        for trie in &mut self.list {
            let version = trie.schema().version();
            trie.join(call.narrow(|config| &config.trie), contact, &mut Versioned { version, out });
        }
        self.is_moved = false;
    }

    fn leave_drained(&mut self, call: Call<'_, Config>) {
        let Call { config, now } = call;
        if !self.is_drained() {
            self.drained_since = None;
        } else if now.since(*self.drained_since.get_or_insert(now)) >= config.trie.period * DRAINED_PERIODS {
            self.list.remove(0);
        }
    }

    /// The versions of the schemas whose tries run, the older one first.
    #[cfg(test)]
    pub fn versions(&self) -> impl Iterator<Item = u32> {
        self.list.iter().map(|trie| trie.schema().version())
    }
}

impl Core for Tries {
    type Config = Config;
    /// The version of the schema, and what its trie says.
    type Message = (u32, Message);
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        self.list.iter().map(|trie| trie.next_timeout(&config.trie)).collect()
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        let call = call.narrow(|config| &config.trie);
        self.list.iter_mut().for_each(|trie| trie.handle_gone(call, peer));
    }

    fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        let call = call.narrow(|config| &config.trie);
        self.list.iter_mut().for_each(|trie| trie.handle_silent(call, peer));
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.list.iter().for_each(|trie| trie.for_each_handle(f));
    }
}

impl<S: Sink<(u32, Message)> + Sampler> Driven<S> for Tries {
    /// A message of a version that does not run here is nobody's fault.
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (version, message): (u32, Message),
        out: &mut S,
    ) -> Result<(), Fault> {
        let call = call.narrow(|config| &config.trie);
        match self.list.iter_mut().find(|trie| trie.schema().version() == version) {
            Some(trie) => trie.handle_message(call, from, message, &mut Versioned { version, out }),
            None => Ok(()),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        if self.next_timeout(call.config).at > call.now {
            return;
        }
        if self.is_moved
            && let Some(contact) = out.fresh_peer()
        {
            self.join(call, contact, out);
        }
        for trie in &mut self.list {
            let version = trie.schema().version();
            trie.handle_timeout(call.narrow(|config| &config.trie), &mut Versioned { version, out });
        }
        if self.list.len() > 1 {
            self.leave_drained(call);
        }
    }
}
