//! What a core is lent for one call.

use std::collections::BTreeMap;

use xtreem_base::{Events, Handle, Sink};
use xtreem_overlay::collection::{Event, Host, Member, Message};

use super::handles::Handles;
use super::life::Life;

/// Takes what a core says, and answers what it asks.
pub(crate) struct Out<'a> {
    pub(super) handles: &'a Handles,
    pub(super) sites: &'a BTreeMap<u16, u64>,
    pub(super) sent: Vec<(Handle, Message)>,
    pub(super) told: Vec<Event>,
}

impl Sink<Message> for Out<'_> {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for Out<'_> {
    fn event(&mut self, event: Event) {
        self.told.push(event);
    }
}

impl Host for Out<'_> {
    fn member_of(&self, peer: Handle) -> Option<Member> {
        let life = self.handles.life(peer)?;
        Some(Member { slot: life.slot, epoch: life.incarnation() })
    }

    /// Slots of one node die together.
    fn site_of(&self, peer: Handle) -> Option<u64> {
        self.sites.get(&self.handles.life(peer)?.slot).copied()
    }

    fn may_be(&self, known: u64, told: u64) -> bool {
        Life::may_be(known, told)
    }
}
