//! What all parts of a node share: who it is, its numbers, and the way out, lent for one call at a time.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::Me;
use xtreem_base::{Call, Events, Handle, Instant, NodeId, Sampler, Sink};
use xtreem_membership::reference::{self, Reference, Verdict};
use xtreem_membership::{Cyclon, rumour};
use xtreem_overlay::Key;
use xtreem_overlay::broadcast::BroadcastId;
use xtreem_overlay::overlay;
use xtreem_overlay::store::Value;

use crate::{Config, Event, Message, Output};

/// The own handle, the numbers of all protocols, and messages from this node to itself.
pub(crate) struct Desk {
    pub me: Me,
    pub config: Arc<Config>,
    pub loopback: VecDeque<Message>,
}

impl Desk {
    /// Opens the desk for one input. Both halves can be used at the same time.
    pub fn open<'a, O>(&'a mut self, now: Instant, out: &'a mut O) -> (Call<'a, Config>, Post<'a, O>) {
        let post = Post { me: self.me.handle, loopback: &mut self.loopback, out };
        (Call::new(&self.config, now), post)
    }

    /// A call without a way out.
    pub fn call(&self, now: Instant) -> Call<'_, Config> {
        Call::new(&self.config, now)
    }
}

/// Messages out; those to this node itself come back in the same input.
pub(crate) struct Post<'a, O> {
    me: Handle,
    loopback: &'a mut VecDeque<Message>,
    pub out: &'a mut O,
}

impl<'a, O: Output> Post<'a, O> {
    pub fn send(&mut self, to: Handle, message: Message) {
        if to == self.me {
            self.loopback.push_back(message);
        } else {
            self.out.send(to, message);
        }
    }

    /// Lends the way out to a core whose messages `wrap` makes the node's.
    pub fn lend<W>(&mut self, wrap: W) -> Lent<'_, O, W> {
        Post { me: self.me, loopback: self.loopback, out: self.out }.into_lent(wrap)
    }

    /// As [`Self::lend`], for as long as this was lent.
    pub fn into_lent<W>(self, wrap: W) -> Lent<'a, O, W> {
        Lent { post: self, wrap, reference: None, sampler: () }
    }
}

/// The sink of one core for one call: wraps its messages, tells the reference set who answered, and leads it
/// to random peers if it has a sampler.
pub(crate) struct Lent<'a, O, W, S = ()> {
    post: Post<'a, O>,
    wrap: W,
    reference: Option<(Call<'a, reference::Config>, &'a mut Reference)>,
    sampler: S,
}

impl<'a, O, W, S> Lent<'a, O, W, S> {
    /// Peers that answer count as signs that this node is not cut off.
    pub fn answering(self, call: Call<'a, Config>, reference: &'a mut Reference) -> Self {
        let call = call.narrow(|config| &config.reference);
        Lent { reference: Some((call, reference)), ..self }
    }

    /// The core meets random peers of this collection.
    pub fn sampling<'b>(self, collection: &'b mut Cyclon) -> Lent<'a, O, W, &'b mut Cyclon> {
        Lent { post: self.post, wrap: self.wrap, reference: self.reference, sampler: collection }
    }
}

impl<M, O: Output, W: Fn(M) -> Message, S> Sink<M> for Lent<'_, O, W, S> {
    fn send(&mut self, to: Handle, message: M) {
        self.post.send(to, (self.wrap)(message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        if let Some((call, reference)) = &mut self.reference {
            reference.answered(*call, peer);
        }
    }
}

impl<E: Into<Event>, O: Output, W, S> Events<E> for Lent<'_, O, W, S> {
    fn event(&mut self, event: E) {
        self.post.out.event(event.into());
    }
}

impl<O, W> Sampler for Lent<'_, O, W, &mut Cyclon> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.sampler.fresh_peer()
    }
}

impl<O, W> rumour::Contacts for Lent<'_, O, W, &mut Cyclon> {
    fn contacts(&self) -> Vec<Handle> {
        self.sampler.contacts().collect()
    }
}

impl<O: Output, W: Fn(overlay::Message) -> Message> overlay::Host for Lent<'_, O, W, &mut Cyclon> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.post.out.id_of(peer)
    }

    /// Until the reference set has answered nobody knows.
    fn is_cut_off(&mut self) -> bool {
        let Some((call, reference)) = &mut self.reference else { return false };
        reference.check(*call, &mut self.post.lend(Message::Reference)) != Verdict::Connected
    }

    /// Of VO administrators only users are known here, and no user is a node: their words say who they are.
    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    /// Nobody says of another what is said at its keys.
    fn may_write(&self, writer: NodeId, key: &Key) -> bool {
        key.may_be_of(writer)
    }

    /// The driver does: they are among the message's statements.
    fn verifies_words(&self) -> bool {
        true
    }

    fn site_of(&self, _: Handle) -> Option<u64> {
        None
    }

    /// The driver has verified who says so: it is one of the message's statements.
    fn may_broadcast(&self, _: BroadcastId, _: &Value) -> bool {
        true
    }
}
