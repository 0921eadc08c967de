//! The arena: one protocol core a node, with typed messages, virtual time, links, kills and replacements.
//!
//! Whatever has the shape of [`xtreem_base::Driven`] plays here as it is: [`Member`] adds how its messages
//! travel. The arena owns the members, lends one of them a [`Post`] for each call and calls each when it
//! wants to be called. *Absent: codecs, hosts that pause, clocks that are wrong; `grid` has those, for whole
//! nodes.*
//!
//! A handle is 24 bits of slot and 8 of incarnation, so that a dead node's descriptor stays recognisable when
//! its slot is used again (a descriptor would have to survive 256 replacements of its slot to deceive).

#[cfg(test)]
mod echo;
mod post;
#[cfg(test)]
mod tests;

use xtreem_base::{Call, Driven, Handle, Instant, Plane};

use crate::digest::Digest;
use crate::link::Link;
use crate::memory::{prefetch, vec_on_huge_pages};
use crate::queue::Kind;
pub use post::Post;
pub(crate) use post::{Deal, Parcel};
use post::{Network, Packet};

const SLOT_BITS: u32 = 24;
/// Events before its own at which what a message points to is fetched into the cache, then what hangs on its
/// node.
const AHEAD_MESSAGE: usize = 8;
const AHEAD_TABLES: usize = 3;

/// A core, or several cores of one node, as the arena plays it.
pub trait Member: Sized + for<'a> Driven<Post<'a, Self>> {
    /// What it tells the node around it: [`Arena::take_events`] has it.
    type Event;

    /// Events before its own at which an event and its node are fetched into the cache: more than memory's
    /// delay, less than the cache's room and than the events of 4 ms.
    const AHEAD: usize = 6;

    /// A datagram is lost as often as the link says; what travels on a stream is sent again until it arrives.
    fn plane(message: &Self::Message) -> Plane;

    /// Starts to fetch what a message points to into the cache, where that is worth it.
    fn fetch_message(message: &Self::Message) {
        let _ = message;
    }

    /// Starts to fetch what a message points to further on, and what of this member it is for.
    fn fetch_tables(&self, message: &Self::Message) {
        let _ = message;
    }
}

pub fn slot_of(handle: Handle) -> u32 {
    handle.as_u32() & ((1 << SLOT_BITS) - 1)
}

/// The one that lives in a slot after `handle`.
pub fn successor(handle: Handle) -> Handle {
    let incarnation = handle.as_u32() >> SLOT_BITS;
    Handle::from_u32(slot_of(handle) | (incarnation + 1) << SLOT_BITS)
}

/// On cache lines of its own.
#[repr(align(64))]
struct Place<M>(M);

/// Who lives in a slot, and when it wants to be called.
///
/// `next_timeout` mirrors what the core says, so that a timer that was put off is put back into the queue
/// without touching the node: every node has exactly one timer event that counts, `armed`.
#[derive(Clone, Copy)]
pub(super) struct Tenancy {
    next_timeout: Instant,
    armed: Instant,
    /// `NONE` when it is dead.
    handle: Handle,
}

/// All nodes with all their events; or every so manieth, when several arenas share a world on threads of
/// their own.
pub struct Arena<M: Member> {
    /// What all members are called with.
    pub config: M::Config,
    members: Vec<Place<M>>,
    tenancies: Vec<Tenancy>,
    network: Network<M>,
    now: Instant,
    events: u64,
    /// Sum over all events: no matter which part handles which.
    happened: u64,
}

impl<M: Member> Arena<M> {
    /// An arena that expects about so many nodes.
    pub fn new(config: M::Config, link: Link, nodes: usize) -> Self {
        Arena::part(config, link, nodes, Kind::Wheel, Deal::WHOLE)
    }

    /// A part of an arena.
    pub(crate) fn part(config: M::Config, link: Link, room: usize, queue: Kind, deal: Deal) -> Self {
        Arena {
            config,
            members: vec_on_huge_pages(room),
            tenancies: vec_on_huge_pages(room),
            network: Network::new(link, queue, room, deal),
            now: Instant::ZERO,
            events: 0,
            happened: 0,
        }
    }

    /// Gives the next slot to a node. Its handle has that slot.
    pub fn add(&mut self, handle: Handle, member: M) {
        self.members.push(Place(member));
        self.tenancies.push(Tenancy { next_timeout: Instant::FAR, armed: Instant::FAR, handle });
        self.arm(slot_of(handle));
    }

    /// Puts a newcomer into the slot of its handle: its first call is `join`. Whoever lived there dies.
    pub fn replace(
        &mut self,
        handle: Handle,
        newcomer: M,
        join: impl FnOnce(&mut M, Call<'_, M::Config>, &mut Post<'_, M>),
    ) {
        let place = self.place(slot_of(handle));
        self.members[place] = Place(newcomer);
        self.tenancies[place] = Tenancy { next_timeout: Instant::FAR, armed: Instant::FAR, handle };
        self.with(slot_of(handle), join);
    }

    /// It keeps silent from now on, and nobody is told.
    pub fn kill(&mut self, slot: u32) {
        let place = self.place(slot);
        self.tenancies[place].handle = Handle::NONE;
    }

    /// One call of a member, with what it needs to speak.
    #[inline]
    pub fn with<R>(
        &mut self,
        slot: u32,
        call: impl FnOnce(&mut M, Call<'_, M::Config>, &mut Post<'_, M>) -> R,
    ) -> R {
        let place = self.place(slot);
        let from = self.tenancies[place].handle;
        let mut out = Post::new(&mut self.network, &self.tenancies, self.now, from);
        let result = call(&mut self.members[place].0, Call::new(&self.config, self.now), &mut out);
        self.arm(slot);
        result
    }

    /// Lets everything happen until `end`, that moment included.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.network.agenda.pop(end) {
            self.fetch_ahead();
            self.now = due.at;
            match self.network.agenda.take(due) {
                None => self.on_timer(due.dst),
                Some(packet) => self.on_packet(due.dst, packet),
            }
        }
        self.now = end;
    }

    /// What the next events need is fetched into the cache while others are handled: first events and nodes,
    /// then the messages, then what hangs on both.
    #[inline]
    fn fetch_ahead(&self) {
        let agenda = &self.network.agenda;
        if let Some(slot) = agenda.fetch(M::AHEAD) {
            let place = self.place(slot);
            prefetch(&self.tenancies[place]);
            prefetch(&self.members[place]);
        }
        if let Some((_, packet)) = agenda.ahead(AHEAD_MESSAGE) {
            M::fetch_message(&packet.message);
        }
        if let Some((slot, packet)) = agenda.ahead(AHEAD_TABLES)
            && let Some(Place(member)) = self.members.get(self.place(slot))
        {
            member.fetch_tables(&packet.message);
        }
    }

    #[inline]
    fn on_timer(&mut self, slot: u32) {
        let place = self.place(slot);
        let tenancy = &mut self.tenancies[place];
        if tenancy.handle == Handle::NONE || tenancy.armed != self.now {
            return;
        }
        tenancy.armed = Instant::FAR;
        if tenancy.next_timeout > self.now {
            tenancy.armed = tenancy.next_timeout;
            self.network.agenda.push_timer(tenancy.armed, slot);
            return;
        }
        let handle = tenancy.handle;
        self.note(handle, handle);
        self.with(slot, |member, call, out| member.handle_timeout(call, out));
    }

    #[inline]
    fn on_packet(&mut self, slot: u32, packet: Packet<M::Message>) {
        let Packet { from, to, message } = packet;
        if !self.is_alive(to) || !self.network.link.can_reach(slot_of(from), slot) {
            return;
        }
        self.note(from, to);
        self.with(slot, |member, call, out| {
            // Late answers are faults by design: the loss of a contact has already been dealt with.
            let _ = member.handle_message(call, from, message, out);
        });
    }

    fn note(&mut self, from: Handle, to: Handle) {
        self.events += 1;
        let who = u64::from(from.as_u32()) << 32 | u64::from(to.as_u32());
        self.happened = self.happened.wrapping_add(Digest::of([self.now.as_micros(), who]));
    }

    /// Makes sure that the node is called when it wants to be.
    #[inline]
    fn arm(&mut self, slot: u32) {
        let place = self.place(slot);
        let tenancy = &mut self.tenancies[place];
        tenancy.next_timeout = self.members[place].0.next_timeout(&self.config).at;
        if tenancy.next_timeout < tenancy.armed {
            tenancy.armed = tenancy.next_timeout;
            self.network.agenda.push_timer(tenancy.armed, slot);
        }
    }

    /// Exchanges the parcels for `part` with `other`, which is empty.
    pub(crate) fn hand_over(&mut self, part: usize, other: &mut Vec<Parcel<M::Message>>) {
        self.network.hand_over(part, other);
    }

    /// Takes what other parts handed over; nothing of it may be due before now.
    pub(crate) fn take_in(&mut self, parcels: &mut Vec<Parcel<M::Message>>) {
        self.network.take_in(parcels);
    }
}

/// What there is to see and to set.
impl<M: Member> Arena<M> {
    #[inline]
    fn place(&self, slot: u32) -> usize {
        self.network.deal.place(slot)
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// Loss, cuts and splits.
    pub fn link(&mut self) -> &mut Link {
        &mut self.network.link
    }

    #[inline]
    pub fn is_alive(&self, handle: Handle) -> bool {
        self.tenancies[self.place(slot_of(handle))].handle == handle
    }

    /// Who lives in a slot; `NONE`: nobody.
    pub fn handle(&self, slot: u32) -> Handle {
        self.tenancies[self.place(slot)].handle
    }

    /// The member of a slot; its last one, if nobody lives there.
    pub fn member(&self, slot: u32) -> &M {
        &self.members[self.place(slot)].0
    }

    /// Those of all slots, in their order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &M> {
        self.members.iter().map(|place| &place.0)
    }

    pub fn members_mut(&mut self) -> impl ExactSizeIterator<Item = &mut M> {
        self.members.iter_mut().map(|place| &mut place.0)
    }

    /// What members have told since the last time this was asked: when, who, what.
    pub fn take_events(&mut self) -> Vec<(Instant, Handle, M::Event)> {
        std::mem::take(&mut self.network.told)
    }

    /// Messages and time-outs that a living member handled.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A sum over these, for a digest.
    pub fn happened(&self) -> u64 {
        self.happened
    }
}

/// Turns shares of the nodes into whole nodes; what is left counts the next time.
#[derive(Clone, Debug, Default)]
pub struct Churn {
    /// In millionths of a node.
    owed: u64,
}

impl Churn {
    /// How many of so many nodes are replaced now.
    pub fn due(&mut self, nodes: usize, share: f64) -> usize {
        self.owed += (nodes as f64 * share * 1e6).round() as u64;
        let due = (self.owed / 1_000_000) as usize;
        self.owed %= 1_000_000;
        due
    }
}
