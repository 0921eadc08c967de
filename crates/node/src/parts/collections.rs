//! The collections of the applications that this node takes part in: one CYCLON each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{AppId, Call, Core, Driven, Handle, Rng, Wake};
use xtreem_membership::{Cyclon, Message as CyclonMessage};

use crate::desk::Post;
use crate::part::Part;
use crate::{Config, Message, Output};

pub(crate) struct Collections {
    /// Decides the random choices of all of them, each by the id of its application: private, as who knows it
    /// knows whom this node will shuffle with.
    seed: u64,
    list: BTreeMap<AppId, Cyclon>,
    faults: u64,
    /// Messages of a collection that this node is not part of.
    strange: u64,
}

impl Collections {
    /// `rng` is the node's stream for this.
    pub fn new(mut rng: Rng) -> Self {
        Collections { seed: rng.next_u64(), list: BTreeMap::new(), faults: 0, strange: 0 }
    }

    /// Takes part in a collection, or learns more members of it.
    pub fn join(&mut self, call: Call<'_, Config>, app: AppId, me: Handle, members: Vec<Handle>) {
        let config = &call.config.app_membership;
        let collection = self.list.entry(app).or_insert_with(|| {
            let stream = u64::from_be_bytes(app.as_bytes()[..8].try_into().unwrap_or_default());
            Cyclon::new(config, me, Rng::derive(self.seed, stream, "collection"), call.now)
        });
        members.into_iter().filter(|peer| *peer != me).for_each(|peer| collection.seed(config, peer));
    }

    pub fn leave(&mut self, app: AppId) {
        self.list.remove(&app);
    }

    /// Up to `k` random members, without this node.
    pub fn sample(&mut self, app: AppId, k: usize) -> Vec<Handle> {
        self.list.get_mut(&app).map(|collection| collection.sample(k)).unwrap_or_default()
    }

    /// Returns whether this node is part of the collection. Members of one application may all sit in one
    /// corner of the grid: their answers say nothing about the own connection.
    pub fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (app, message): (AppId, CyclonMessage),
        post: &mut Post<'_, impl Output>,
    ) -> bool {
        let Some(collection) = self.list.get_mut(&app) else {
            self.strange += 1;
            return false;
        };
        let call = call.narrow(|config| &config.app_membership);
        let mut to = post.lend(|message| Message::App(app, message));
        if collection.handle_message(call, from, message, &mut to).is_err() {
            self.faults += 1;
        }
        true
    }

    pub fn handle_timeout(&mut self, call: Call<'_, Config>, post: &mut Post<'_, impl Output>) {
        let call = call.narrow(|config| &config.app_membership);
        for (app, collection) in &mut self.list {
            collection.handle_timeout(call, &mut post.lend(|message| Message::App(*app, message)));
        }
    }
}

impl Part for Collections {
    fn next_timeout(&self, config: &Config) -> Wake {
        self.list.values().map(|collection| collection.next_timeout(&config.app_membership)).collect()
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        let call = call.narrow(|config| &config.app_membership);
        self.list.values_mut().for_each(|collection| collection.handle_gone(call, peer));
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.list.values().for_each(|collection| collection.for_each_handle(f));
    }

    fn for_each_fault(&self, f: &mut dyn FnMut(&'static str, u64)) {
        f("membership", self.faults);
        f("no_such_collection", self.strange);
    }
}
