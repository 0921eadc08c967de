//! One node: the partial view, and the ring on it as the product has it.

use std::cell::Cell;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Plane, Rng, Sampler, Sink, Wake};
use xtreem_membership::Cyclon;
use xtreem_overlay::broadcast::{self, BroadcastId};
use xtreem_overlay::overlay::{self, Host, Overlay};
use xtreem_overlay::store::Value;
use xtreem_overlay::{Key, Namespace};

use crate::arena::{Member, Post};

pub(super) enum Message {
    Grid(xtreem_membership::Message),
    Ring(Box<overlay::Message>),
}

/// The numbers of all protocols, and what was counted.
#[derive(Default)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    pub(super) overlay: overlay::Config,
    pub(super) delegations: Cell<u64>,
    pub(super) accepts: Cell<u64>,
}

pub(super) struct Node {
    handle: Handle,
    pub(super) cyclon: Cyclon,
    pub(super) overlay: Box<Overlay>,
}

/// Who lives behind a handle.
fn id_of(handle: Handle) -> NodeId {
    let number = handle.as_u32();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&xtreem_base::mix(u64::from(number) + 1).to_be_bytes());
    bytes[8..12].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// The sink of the partial view.
struct Shuffling<'a, 'b>(&'a mut Post<'b, Node>);

impl Sink<xtreem_membership::Message> for Shuffling<'_, '_> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.0.send(to, Message::Grid(message));
    }
}

/// The sink of the ring, which meets members of the partial view.
struct Ringing<'a, 'b> {
    out: &'a mut Post<'b, Node>,
    cyclon: &'a mut Cyclon,
    common: &'a Common,
}

impl Sink<overlay::Message> for Ringing<'_, '_> {
    fn send(&mut self, to: Handle, message: overlay::Message) {
        if let overlay::Message::Broadcast(message) = &message {
            let count = match **message {
                broadcast::Message::Delegate { .. } => &self.common.delegations,
                broadcast::Message::Accept { .. } => &self.common.accepts,
            };
            count.set(count.get() + 1);
        }
        self.out.send(to, Message::Ring(message.into()));
    }
}

impl Sampler for Ringing<'_, '_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.cyclon.fresh_peer()
    }
}

/// Only broadcasts are looked at.
impl Events<overlay::Event> for Ringing<'_, '_> {
    fn event(&mut self, event: overlay::Event) {
        if let overlay::Event::Broadcast(event) = event {
            self.out.event(event);
        }
    }
}

/// Nothing lies on this ring, and everybody may broadcast.
impl Host for Ringing<'_, '_> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id_of(peer))
    }

    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    fn site_of(&self, _: Handle) -> Option<u64> {
        None
    }

    fn may_broadcast(&self, _: BroadcastId, _: &Value) -> bool {
        true
    }
}

impl Node {
    /// A node that knows nobody and stands nowhere.
    pub(super) fn new(common: &Common, handle: Handle, now: Instant) -> Self {
        let stream = |label| Rng::derive(common.seed, u64::from(handle.as_u32()), label);
        Node {
            handle,
            cyclon: Cyclon::new(&common.membership, handle, stream("membership"), now),
            overlay: Overlay::new(&common.overlay, id_of(handle), handle, stream("ring"), now).into(),
        }
    }

    /// Stands at a random key, whether there is a ring or not.
    pub(super) fn stand(&mut self, call: Call<'_, Common>) {
        let mut rng = Rng::derive(call.config.seed, u64::from(self.handle.as_u32()), "place");
        // Eight bytes and the namespace.
        let key = Key::new(Namespace::USER, &rng.next_u64().to_be_bytes()).expect("a short key");
        self.overlay.stand(call.narrow(|common| &common.overlay), key);
    }

    pub(super) fn begin(&mut self, call: Call<'_, Common>, content: Value, out: &mut Post<'_, Node>) {
        let id = id_of(self.handle);
        self.with_overlay(call, out, |core, call, out| {
            core.tell(call, id, content, out).expect("it stands on the ring, and this is its first one");
        });
    }

    pub(super) fn is_busy(&self) -> bool {
        self.overlay.is_telling()
    }

    fn with_overlay(
        &mut self,
        call: Call<'_, Common>,
        out: &mut Post<'_, Node>,
        f: impl FnOnce(&mut Overlay, Call<'_, overlay::Config>, &mut Ringing<'_, '_>),
    ) {
        let mut out = Ringing { out, cyclon: &mut self.cyclon, common: call.config };
        f(&mut self.overlay, call.narrow(|common| &common.overlay), &mut out);
    }
}

impl Core for Node {
    type Config = Common;
    type Message = Message;
    type Fault = ();

    fn next_timeout(&self, common: &Common) -> Wake {
        self.cyclon.next_timeout(&common.membership).or(self.overlay.next_timeout(&common.overlay))
    }

    /// Nobody tells.
    fn handle_gone(&mut self, _: Call<'_, Common>, _: Handle) {}

    fn for_each_handle(&self, _: &mut dyn FnMut(Handle)) {}
}

impl Driven<Post<'_, Node>> for Node {
    /// Faults of the cores are what late answers are.
    fn handle_message(
        &mut self,
        call: Call<'_, Common>,
        from: Handle,
        message: Message,
        out: &mut Post<'_, Node>,
    ) -> Result<(), ()> {
        match message {
            Message::Grid(message) => {
                let call = call.narrow(|common| &common.membership);
                let _ = self.cyclon.handle_message(call, from, message, &mut Shuffling(out));
            }
            Message::Ring(message) => self.with_overlay(call, out, |core, call, out| {
                let _ = core.handle_message(call, from, *message, out);
            }),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Common>, out: &mut Post<'_, Node>) {
        if self.cyclon.next_timeout(&call.config.membership).at <= call.now {
            self.cyclon.handle_timeout(call.narrow(|common| &common.membership), &mut Shuffling(out));
        }
        if self.overlay.next_timeout(&call.config.overlay).at <= call.now {
            self.with_overlay(call, out, |core, call, out| core.handle_timeout(call, out));
        }
    }
}

impl Member for Node {
    type Event = broadcast::Event;

    /// As in the product.
    fn plane(message: &Message) -> Plane {
        match message {
            Message::Grid(_) => Plane::Datagram,
            Message::Ring(message) => message.travel().plane,
        }
    }
}
