//! One node's part of a ring that orders itself: T-Man finds who stands next, the ring keeps it, the store
//! keeps what lies on it, and broadcasts go along it.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{
    Call, Core, Driven, Events, Handle, HandleTable, Instant, NodeId, Rng, Sampler, Sink, Travel, Wake,
};

use crate::broadcast::{self, Around, BeginError, Broadcast, BroadcastId, Extent};
use crate::chord::{self, ID_BYTES};
use crate::ring::{self, LookupId, Ring, TooManyLookups};
use crate::store::{
    self, Action, Operation, Overwrite, RequestId, Shelf, Store, Tenure, TooMany, Value, Word,
};
use crate::tman::{self, Side, TMan};
use crate::{Key, Namespace, Position, Range};

/// Nearest peers that T-Man hands to the ring: as many as it keeps successors.
const HANDED: usize = ring::SUCCESSORS_MAX;

/// Parts of the ring that one node is about to tell at a time; a further one is refused. Our guess.
const PARTS_MAX: usize = 16;

/// Lookups of the host at a time: those of the store have room besides.
const ASKED_MAX: usize = ring::LOOKUPS_MAX / 2;

/// The numbers of all four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub order: tman::Config,
    pub ring: ring::Config,
    pub store: store::Config,
    pub broadcast: broadcast::Config,
}

/// Everything that one [`Overlay`] says to another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    #[n(0)]
    Order(#[n(0)] Box<tman::Message<Position>>),
    #[n(1)]
    Ring(#[n(0)] Box<ring::Message>),
    #[n(2)]
    Store(#[n(0)] Box<store::Message>),
    #[n(3)]
    Broadcast(#[n(0)] Box<broadcast::Message>),
}

impl Message {
    pub fn travel(&self) -> Travel {
        match self {
            Message::Order(message) => message.travel(),
            Message::Ring(message) => message.travel(),
            Message::Store(message) => message.travel(),
            Message::Broadcast(message) => message.travel(),
        }
    }

    /// What a broadcast says, and in whose name: for drivers that know who may.
    pub fn broadcast(&self) -> Option<(BroadcastId, &Value)> {
        match self {
            Message::Broadcast(message) => match &**message {
                broadcast::Message::Delegate { id, content, .. } => Some((*id, content)),
                broadcast::Message::Accept { .. } => None,
            },
            _ => None,
        }
    }

    /// What an administrator would have done to a key, for drivers that verify its word.
    pub fn overwrite(&self) -> Option<(&Key, &Overwrite, &Word)> {
        match self {
            Message::Store(message) => match &**message {
                store::Message::Ask { key, action: Action::Overwrite { what, word }, .. } => {
                    Some((key, what, word))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// What the node around it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of lookups only those that the host asked for.
    Ring(ring::Event),
    Store(store::Event),
    Broadcast(broadcast::Event),
    /// What [`Overlay::tell_owners`] has come to. True: the owner of the beginning sees to the rest; else no
    /// owner took it in time, and some may have been told.
    Begun {
        part: LookupId,
        is_begun: bool,
    },
}

impl Event {
    /// Shows every peer that the event names.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        if let Event::Ring(event) = self {
            event.for_each_handle(f);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Order(#[from] tman::Fault),
    #[error(transparent)]
    Ring(#[from] ring::Fault),
    #[error(transparent)]
    Store(#[from] store::Fault),
    #[error(transparent)]
    Broadcast(#[from] broadcast::Fault),
    /// It stands nowhere yet, or no more.
    #[error("T-Man of a node that stands nowhere")]
    NotStanding,
    #[error("the position of another node")]
    AnotherId,
}

/// What this asks of the node around it, beside a way out and random peers of the collection.
pub trait Host: Sink<Message> + Events<Event> + Sampler {
    /// As [`ring::Host::id_of`].
    fn id_of(&self, peer: Handle) -> Option<NodeId>;
    /// As [`ring::Host::is_cut_off`].
    fn is_cut_off(&mut self) -> bool {
        false
    }
    /// As [`store::Host::is_admin`].
    fn is_admin(&self, peer: Handle) -> bool;
    /// As [`store::Host::may_overwrite`].
    fn may_overwrite(&self, peer: Handle, key: &Key) -> bool {
        let _ = key;
        self.is_admin(peer)
    }
    /// As [`store::Host::may_write`].
    fn may_write(&self, writer: NodeId, key: &Key) -> bool {
        let _ = (writer, key);
        true
    }
    /// As [`store::Host::verifies_words`].
    fn verifies_words(&self) -> bool {
        false
    }
    /// As [`store::Host::site_of`].
    fn site_of(&self, peer: Handle) -> Option<u64>;
    /// Whether its origin may tell everybody this, and it is its own word. Asked once for each broadcast.
    fn may_broadcast(&self, id: BroadcastId, content: &Value) -> bool;
}

/// Where a node stands on its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Where load is, else anywhere; it moves with the load.
    ByLoad,
    /// At a random identifier of plain Chord, for as long as it is there.
    Chord,
    /// At this key, for as long as it is there.
    At(Key),
}

/// One node's part of a ring.
///
/// It joins by itself once it has met somebody, and stands at a random key where nothing lies on the ring
/// yet.
#[derive(Clone, Debug)]
pub struct Overlay {
    id: NodeId,
    handle: Handle,
    place: Place,
    /// Once it stands somewhere.
    order: Option<Box<TMan<tman::Ring>>>,
    ring: Ring,
    store: Store,
    broadcast: Broadcast,
    /// Lookups of the host that are under way.
    asked: Vec<LookupId>,
    parts: Vec<Part>,
    rng: Rng,
    /// When it looks for a place; `FAR` while it has one.
    start_due: Instant,
}

/// A part of the ring whose owners are to be told.
#[derive(Clone, Debug)]
struct Part {
    /// Finds the owner of `lo`.
    lookup: LookupId,
    /// Once that was found.
    told: Option<BroadcastId>,
    origin: NodeId,
    lo: Position,
    hi: Position,
    content: Value,
}

/// The sink of T-Man and of the ring for one call.
struct Inner<'a, H> {
    host: &'a mut H,
    /// Whose load says where a node stands; none: it stands where it does for other reasons.
    shelf: Option<&'a Shelf>,
    is_nearest_new: bool,
    silent: Vec<Handle>,
    told: VecDeque<ring::Event>,
}

impl<'a, H> Inner<'a, H> {
    fn new(host: &'a mut H, shelf: Option<&'a Shelf>) -> Self {
        Inner { host, shelf, is_nearest_new: false, silent: Vec::new(), told: VecDeque::new() }
    }
}

/// The sink of the store for one call.
struct Storing<'a, H> {
    host: &'a mut H,
    ring: &'a mut Ring,
    call: Call<'a, ring::Config>,
    silent: Vec<Handle>,
    told: VecDeque<ring::Event>,
}

impl<H: Host> Sink<tman::Message<Position>> for Inner<'_, H> {
    fn send(&mut self, to: Handle, message: tman::Message<Position>) {
        self.host.send(to, Message::Order(message.into()));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sink<ring::Message> for Inner<'_, H> {
    fn send(&mut self, to: Handle, message: ring::Message) {
        self.host.send(to, Message::Ring(message.into()));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sampler for Inner<'_, H> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.host.fresh_peer()
    }
}

impl<H: Host> Events<tman::Event> for Inner<'_, H> {
    fn event(&mut self, _: tman::Event) {
        self.is_nearest_new = true;
    }
}

impl<H: Host> Events<ring::Event> for Inner<'_, H> {
    fn event(&mut self, event: ring::Event) {
        self.told.push_back(event);
    }
}

impl<H: Host> ring::Host for Inner<'_, H> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.host.id_of(peer)
    }

    fn is_cut_off(&mut self) -> bool {
        self.host.is_cut_off()
    }

    fn load(&self, range: &Range) -> u64 {
        self.shelf.map_or(0, |shelf| shelf.load(range))
    }

    fn middle(&self, range: &Range) -> Option<Key> {
        self.shelf?.median(range)
    }
}

impl<H: Host> Sink<store::Message> for Storing<'_, H> {
    fn send(&mut self, to: Handle, message: store::Message) {
        self.host.send(to, Message::Store(message.into()));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Events<store::Event> for Storing<'_, H> {
    fn event(&mut self, event: store::Event) {
        self.host.event(Event::Store(event));
    }
}

impl<H: Host> store::Host for Storing<'_, H> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.host.id_of(peer)
    }

    fn is_admin(&self, peer: Handle) -> bool {
        self.host.is_admin(peer)
    }

    fn may_overwrite(&self, peer: Handle, key: &Key) -> bool {
        self.host.may_overwrite(peer, key)
    }

    fn may_write(&self, writer: NodeId, key: &Key) -> bool {
        self.host.may_write(writer, key)
    }

    fn verifies_words(&self) -> bool {
        self.host.verifies_words()
    }

    fn site_of(&self, peer: Handle) -> Option<u64> {
        self.host.site_of(peer)
    }

    fn tenure(&self) -> Tenure {
        Tenure::of(self.ring)
    }

    fn look_up(&mut self, target: Position) -> Option<LookupId> {
        let mut out = Inner::new(self.host, None);
        let lookup = self.ring.lookup(self.call, target, &mut out).ok();
        self.told.extend(out.told);
        self.silent.extend(out.silent);
        lookup
    }
}

/// The sink of broadcasts for one call.
struct Telling<'a, H> {
    host: &'a mut H,
    ring: &'a Ring,
    silent: Vec<Handle>,
    begun: Vec<(BroadcastId, bool)>,
}

impl<H: Host> Sink<broadcast::Message> for Telling<'_, H> {
    fn send(&mut self, to: Handle, message: broadcast::Message) {
        self.host.send(to, Message::Broadcast(message.into()));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Events<broadcast::Event> for Telling<'_, H> {
    fn event(&mut self, event: broadcast::Event) {
        match event {
            broadcast::Event::Begun { id } => self.begun.push((id, true)),
            broadcast::Event::NotBegun { id } => self.begun.push((id, false)),
            broadcast::Event::Delivered { .. } => self.host.event(Event::Broadcast(event)),
        }
    }
}

impl<H: Host> broadcast::Host for Telling<'_, H> {
    fn around(&self) -> Around {
        let successors = self.ring.successors().to_vec();
        let others = self.ring.contacts().skip(successors.len()).cloned().collect();
        Around { position: self.ring.position().cloned(), successors, others }
    }

    fn may_broadcast(&self, _: Handle, id: BroadcastId, _: Option<&Extent>, content: &Value) -> bool {
        self.host.may_broadcast(id, content)
    }
}

impl Overlay {
    /// A node that stands nowhere. It looks for a place after a round, in which it may meet somebody.
    pub fn new(config: &Config, id: NodeId, handle: Handle, mut rng: Rng, now: Instant) -> Self {
        let ring = Ring::new(id, handle, Rng::new(rng.next_u64()));
        Overlay::with(config, (id, handle), Place::ByLoad, ring, rng, now)
    }

    /// As [`Overlay::new`], on a ring of plain Chord: at a random identifier, with fingers instead of rows.
    pub fn chord(config: &Config, id: NodeId, handle: Handle, mut rng: Rng, now: Instant) -> Self {
        let ring = Ring::chord(id, handle, Rng::new(rng.next_u64()));
        Overlay::with(config, (id, handle), Place::Chord, ring, rng, now)
    }

    /// As [`Overlay::new`], for a node that stands at one key and does not move: who is counted along the
    /// ring is ordered by it.
    pub fn at(config: &Config, id: NodeId, handle: Handle, key: Key, mut rng: Rng, now: Instant) -> Self {
        let ring = Ring::new(id, handle, Rng::new(rng.next_u64()));
        Overlay::with(config, (id, handle), Place::At(key), ring, rng, now)
    }

    fn with(
        config: &Config,
        (id, handle): (NodeId, Handle),
        place: Place,
        ring: Ring,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let store = Store::new(handle, Rng::new(rng.next_u64()), now);
        let start_due = now + config.ring.period;
        let (order, broadcast, asked, parts) = (None, Broadcast::default(), Vec::new(), Vec::new());
        Overlay { id, handle, place, order, ring, store, broadcast, asked, parts, rng, start_due }
    }

    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Begins an operation of this node on what lies on the ring: [`store::Event::Done`] follows.
    ///
    /// # Errors
    /// [`store::TASKS_MAX`] are under way.
    pub fn begin<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        operation: Operation,
        out: &mut H,
    ) -> Result<RequestId, TooMany> {
        self.with_store(call, out, |store, call, out| store.begin(call, operation, out))
    }

    /// Writes many items of this node: [`store::Success::Loaded`] follows.
    ///
    /// # Errors
    /// See [`Store::load`].
    pub fn load<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        items: Vec<Operation>,
        out: &mut H,
    ) -> Result<RequestId, TooMany> {
        self.with_store(call, out, |store, call, out| store.load(call, items, out))
    }

    /// Peers that T-Man keeps.
    pub fn known(&self) -> usize {
        self.order.as_ref().map_or(0, |order| order.len())
    }

    /// Looks for the owner of a key: [`ring::Event::Found`] or [`ring::Event::NotFound`] follows.
    ///
    /// # Errors
    /// Half of [`ring::LOOKUPS_MAX`] are under way; the store has the others.
    pub fn lookup<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        key: Key,
        out: &mut H,
    ) -> Result<LookupId, TooManyLookups> {
        if self.asked.len() >= ASKED_MAX {
            return Err(TooManyLookups);
        }
        let target = Position::of_key(key);
        let mut inner = Inner::new(out, shelf_of(&self.place, &self.store));
        let lookup = self.ring.lookup(call.narrow(|config| &config.ring), target, &mut inner)?;
        let (told, silent) = (inner.told, inner.silent);
        self.asked.push(lookup);
        self.follow_up(call, told, silent, out);
        Ok(lookup)
    }

    /// Tells every node of the ring, itself too, in the name of `origin`: at each node
    /// [`broadcast::Event::Delivered`] follows.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn tell<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        origin: NodeId,
        content: Value,
        out: &mut H,
    ) -> Result<BroadcastId, BeginError> {
        self.with_broadcast(call, out, |core, call, out| core.begin(call, origin, content, out))
    }

    /// Tells every owner of keys from `lo` on and before `hi`, in the name of `origin`: [`Event::Begun`]
    /// follows here, and [`broadcast::Event::Delivered`] at each of them.
    ///
    /// # Errors
    /// `PARTS_MAX` are begun, or as many lookups are under way as may be.
    pub fn tell_owners<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        (lo, hi): (Key, Key),
        origin: NodeId,
        content: Value,
        out: &mut H,
    ) -> Result<LookupId, TooManyLookups> {
        if self.parts.len() >= PARTS_MAX {
            return Err(TooManyLookups);
        }
        let (lo, hi) = (Position::of_key(lo), Position::of_key(hi));
        let mut inner = Inner::new(out, shelf_of(&self.place, &self.store));
        let lookup = self.ring.lookup(call.narrow(|config| &config.ring), lo.clone(), &mut inner)?;
        let (told, silent) = (inner.told, inner.silent);
        self.parts.push(Part { lookup, told: None, origin, lo, hi, content });
        self.follow_up(call, told, silent, out);
        Ok(lookup)
    }

    /// The owner of a part's beginning was found, or was not.
    fn begin_part<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        lookup: LookupId,
        owner: Option<&ring::Contact>,
        out: &mut H,
    ) {
        let is_it = |part: &Part| part.lookup == lookup;
        let Some(part) = self.parts.iter().find(|part| is_it(part)) else { return };
        let Part { origin, lo, hi, content, .. } = part.clone();
        let begun = owner.and_then(|owner| {
            let begin = (owner, &lo, &hi);
            self.with_broadcast(call, out, |core, call, out| core.begin_at(call, origin, begin, content, out))
                .ok()
        });
        if begun.is_none() {
            self.parts.retain(|part| !is_it(part));
            return out.event(Event::Begun { part: lookup, is_begun: false });
        }
        if let Some(part) = self.parts.iter_mut().find(|part| is_it(part)) {
            part.told = begun;
        }
    }

    /// Whether it waits for somebody to accept a part of a broadcast.
    pub fn is_telling(&self) -> bool {
        self.broadcast.is_busy()
    }

    /// Stands there at once, whether there is a ring or not; for worlds that begin with many nodes.
    pub fn stand(&mut self, call: Call<'_, Config>, key: Key) {
        self.ring.stand(call.narrow(|config| &config.ring), Position::new(key, self.id));
        self.follow_position(call);
    }

    /// Hands on what it owns and leaves: [`ring::Event::Left`] follows. It does not come back by itself.
    pub fn leave<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.start_due = Instant::FAR;
        self.with_ring(call, out, |ring, call, out| ring.leave(call, out));
    }

    fn is_for_part(&self, lookup: LookupId) -> bool {
        self.parts.iter().any(|part| part.lookup == lookup)
    }

    fn choose_key(&mut self) -> Key {
        let mut id = [0; ID_BYTES];
        id.chunks_mut(8).for_each(|part| {
            let bytes = self.rng.next_u64().to_be_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        });
        match &self.place {
            Place::ByLoad => Key::from_bytes(&id[..8]).unwrap_or_default(),
            Place::Chord => chord::key_of(Namespace::USER, &id),
            Place::At(key) => key.clone(),
        }
    }

    fn with_ring<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Ring, Call<'_, ring::Config>, &mut Inner<'_, H>) -> R,
    ) -> R {
        let mut out = Inner::new(host, shelf_of(&self.place, &self.store));
        let result = f(&mut self.ring, call.narrow(|config| &config.ring), &mut out);
        let (told, silent) = (out.told, out.silent);
        self.follow_up(call, told, silent, host);
        result
    }

    fn with_store<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Store, Call<'_, store::Config>, &mut Storing<'_, H>) -> R,
    ) -> R {
        let (silent, told) = (Vec::new(), VecDeque::new());
        let lent = call.narrow(|config| &config.ring);
        let mut out = Storing { host, ring: &mut self.ring, call: lent, silent, told };
        let result = f(&mut self.store, call.narrow(|config| &config.store), &mut out);
        let (told, silent) = (out.told, out.silent);
        self.follow_up(call, told, silent, host);
        result
    }

    fn with_broadcast<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Broadcast, Call<'_, broadcast::Config>, &mut Telling<'_, H>) -> R,
    ) -> R {
        let mut out = Telling { host, ring: &self.ring, silent: Vec::new(), begun: Vec::new() };
        let result = f(&mut self.broadcast, call.narrow(|config| &config.broadcast), &mut out);
        let Telling { silent, begun, .. } = out;
        for (id, is_begun) in begun {
            // The same words to two parts are one broadcast; each of them has an answer of its own.
            if let Some(at) = self.parts.iter().position(|part| part.told == Some(id)) {
                let part = self.parts.remove(at).lookup;
                host.event(Event::Begun { part, is_begun });
            }
        }
        self.follow_up(call, VecDeque::new(), silent, host);
        result
    }

    /// Tells the others of what the ring said in one call.
    fn follow_up<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        told: VecDeque<ring::Event>,
        silent: Vec<Handle>,
        host: &mut H,
    ) {
        if let Some(order) = &mut self.order {
            let call = call.narrow(|config| &config.order);
            silent.iter().for_each(|peer| order.handle_silent(call, *peer));
        }
        self.follow_position(call);
        for event in told {
            match event {
                ring::Event::Found { lookup, .. } | ring::Event::NotFound { lookup }
                    if self.asked.contains(&lookup) =>
                {
                    self.asked.retain(|asked| *asked != lookup);
                    host.event(Event::Ring(event));
                }
                ring::Event::Found { lookup, owner } if self.is_for_part(lookup) => {
                    self.begin_part(call, lookup, Some(&owner.contact), host);
                }
                ring::Event::NotFound { lookup } if self.is_for_part(lookup) => {
                    self.begin_part(call, lookup, None, host);
                }
                ring::Event::Found { lookup, owner } => {
                    self.with_store(call, host, |store, call, out| {
                        store.handle_found(call, lookup, &owner, out);
                    });
                }
                ring::Event::NotFound { lookup } => {
                    self.with_store(call, host, |store, call, out| store.handle_not_found(call, lookup, out));
                }
                event => {
                    let has_left = event == ring::Event::Left;
                    if has_left && self.start_due != Instant::FAR && !self.ring.is_joining() {
                        self.start_due = call.now;
                    }
                    self.with_store(call, host, |store, call, out| store.handle_ring(call, out));
                    host.event(Event::Ring(event));
                }
            }
        }
    }

    /// T-Man works for the place where the ring stands.
    fn follow_position(&mut self, call: Call<'_, Config>) {
        let config = call.narrow(|config| &config.order);
        match (self.ring.position(), &mut self.order) {
            (None, order) => *order = None,
            (Some(position), Some(order)) if order.profile() != position => {
                order.set_profile(config, position.clone());
            }
            (Some(_), Some(_)) => {}
            (Some(position), order) => {
                let rng = Rng::new(self.rng.next_u64());
                let place = position.clone();
                let tman = TMan::new(config.config, tman::Ring, self.handle, place, rng, call.now);
                *order = Some(tman.into());
            }
        }
    }

    fn with_order<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut TMan<tman::Ring>, Call<'_, tman::Config>, &mut Inner<'_, H>) -> R,
    ) -> Option<R> {
        let order = self.order.as_mut()?;
        let mut out = Inner::new(host, shelf_of(&self.place, &self.store));
        let result = f(order, call.narrow(|config| &config.order), &mut out);
        if out.is_nearest_new {
            // Chord has its fingers of all that it hears of.
            let (handed, before) =
                if self.place == Place::Chord { (usize::MAX, usize::MAX) } else { (HANDED, 0) };
            let after = order.neighbours(Side::After).take(handed);
            let near = after.chain(order.neighbours(Side::Before).take(before));
            let near: Vec<_> = near.map(|it| (it.handle, it.profile.clone())).collect();
            self.with_ring(call, host, |ring, call, out| {
                near.iter().for_each(|(peer, position)| ring.learn(call, *peer, position, out));
            });
        }
        Some(result)
    }

    fn tick_start<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if self.start_due > call.now {
            return;
        }
        let has_place = self.ring.position().is_some() || self.ring.is_joining();
        if !has_place {
            let (key, id) = (self.choose_key(), self.id);
            let is_alone = out.fresh_peer().is_none();
            self.with_ring(call, out, |ring, call, out| {
                if is_alone {
                    ring.stand(call, Position::new(key, id));
                } else {
                    ring.join(call, key, out);
                }
            });
        }
        self.start_due = call.now + call.config.ring.join_timeout;
    }
}

fn shelf_of<'a>(place: &Place, store: &'a Store) -> Option<&'a Shelf> {
    (*place == Place::ByLoad).then(|| store.shelf())
}

impl Core for Overlay {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        let order = self.order.as_ref().map_or(Wake::NEVER, |order| order.next_timeout(&config.order));
        let start = Wake::new(self.start_due, "a place on the ring");
        let telling = self.broadcast.next_timeout(&config.broadcast);
        let ring = self.ring.next_timeout(&config.ring).or(self.store.next_timeout(&config.store));
        ring.or(telling).or(order).or(start)
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.ring.handle_gone(call.narrow(|config| &config.ring), peer);
        self.store.handle_gone(call.narrow(|config| &config.store), peer);
        self.broadcast.handle_gone(call.narrow(|config| &config.broadcast), peer);
        if let Some(order) = &mut self.order {
            order.handle_gone(call.narrow(|config| &config.order), peer);
        }
    }

    fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.ring.handle_silent(call.narrow(|config| &config.ring), peer);
        if let Some(order) = &mut self.order {
            order.handle_silent(call.narrow(|config| &config.order), peer);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.ring.for_each_handle(f);
        self.store.for_each_handle(f);
        self.broadcast.for_each_handle(f);
        self.order.iter().for_each(|order| order.for_each_handle(f));
    }
}

impl<H: Host> Driven<H> for Overlay {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        match message {
            Message::Order(message) => {
                // Who speaks says where itself stands; of others it gives hints.
                if out.id_of(from) != Some(message.profile.id) {
                    return Err(Fault::AnotherId);
                }
                let result = self.with_order(call, out, |order, call, out| {
                    order.handle_message(call, from, *message, out)
                });
                Ok(result.ok_or(Fault::NotStanding)??)
            }
            Message::Ring(message) => {
                let result = self
                    .with_ring(call, out, |ring, call, out| ring.handle_message(call, from, *message, out));
                Ok(result?)
            }
            Message::Store(message) => {
                let result = self.with_store(call, out, |store, call, out| {
                    store.handle_message(call, from, *message, out)
                });
                Ok(result?)
            }
            Message::Broadcast(message) => {
                let result = self.with_broadcast(call, out, |core, call, out| {
                    core.handle_message(call, from, *message, out)
                });
                Ok(result?)
            }
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.tick_start(call, out);
        self.with_order(call, out, |order, call, out| order.handle_timeout(call, out));
        self.with_ring(call, out, |ring, call, out| ring.handle_timeout(call, out));
        self.with_store(call, out, |store, call, out| store.handle_timeout(call, out));
        self.with_broadcast(call, out, |core, call, out| core.handle_timeout(call, out));
    }
}
