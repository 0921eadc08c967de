//! What members say to each other: the sink that a call is lent, and the messages on their way.

use xtreem_base::{Duration, Events, Handle, Instant, Plane, Rng, Sampler, Sink};

use super::{Member, Tenancy, slot_of};
use crate::agenda::Agenda;
use crate::link::Link;
use crate::queue::Kind;

/// A lost packet of a stream is sent again after so long: about twice the mean round trip.
const RESENT_AFTER: Duration = Duration::from_millis(300);

/// A message on its way: one cache line where it is short.
#[repr(align(64))]
pub(super) struct Packet<T> {
    pub(super) from: Handle,
    pub(super) to: Handle,
    pub(super) message: T,
}

/// A packet for another part, and when it arrives.
pub(crate) struct Parcel<T> {
    at: Instant,
    packet: Packet<T>,
}

/// Which slots an arena has: those whose lowest bits are its number.
#[derive(Clone, Copy)]
pub(crate) struct Deal {
    pub(crate) bits: u32,
    pub(crate) part: usize,
}

impl Deal {
    pub(crate) const WHOLE: Deal = Deal { bits: 0, part: 0 };

    pub(crate) fn part_of(self, slot: u32) -> usize {
        (slot & ((1 << self.bits) - 1)) as usize
    }

    #[inline]
    pub(super) fn place(self, slot: u32) -> usize {
        (slot >> self.bits) as usize
    }
}

/// All that happens between nodes.
pub(super) struct Network<M: Member> {
    pub(super) link: Link,
    pub(super) agenda: Agenda<Packet<M::Message>>,
    pub(super) deal: Deal,
    /// For each part, what is to be handed over to it.
    parcels: Vec<Vec<Parcel<M::Message>>>,
    /// Whom members meet who ask for anybody.
    rng: Rng,
    pub(super) told: Vec<(Instant, Handle, M::Event)>,
}

impl<M: Member> Network<M> {
    pub(super) fn new(link: Link, queue: Kind, room: usize, deal: Deal) -> Self {
        Network {
            rng: Rng::derive(link.seed(), deal.part as u64, "arena"),
            link,
            // One timer a node, and messages on their way from a few.
            agenda: Agenda::with_room(queue, room + room / 4),
            deal,
            parcels: (0..1 << deal.bits).map(|_| Vec::new()).collect(),
            told: Vec::new(),
        }
    }

    #[inline]
    fn dispatch(&mut self, at: Instant, packet: Packet<M::Message>) {
        let part = self.deal.part_of(slot_of(packet.to));
        if part == self.deal.part {
            self.enqueue(at, packet);
        } else {
            self.parcels[part].push(Parcel { at, packet });
        }
    }

    #[inline]
    fn enqueue(&mut self, at: Instant, packet: Packet<M::Message>) {
        self.agenda.push(at, slot_of(packet.to), slot_of(packet.from), packet);
    }

    pub(super) fn hand_over(&mut self, part: usize, other: &mut Vec<Parcel<M::Message>>) {
        std::mem::swap(&mut self.parcels[part], other);
    }

    pub(super) fn take_in(&mut self, parcels: &mut Vec<Parcel<M::Message>>) {
        for Parcel { at, packet } in parcels.drain(..) {
            self.enqueue(at, packet);
        }
    }
}

/// Where one member puts what it says during one call.
pub struct Post<'a, M: Member> {
    network: &'a mut Network<M>,
    tenancies: &'a [Tenancy],
    now: Instant,
    from: Handle,
    sent: u32,
}

impl<'a, M: Member> Post<'a, M> {
    #[inline]
    pub(super) fn new(
        network: &'a mut Network<M>,
        tenancies: &'a [Tenancy],
        now: Instant,
        from: Handle,
    ) -> Self {
        Post { network, tenancies, now, from, sent: 0 }
    }

    fn carry(&self, to: Handle) -> Option<Instant> {
        self.network.link.carry(self.now, slot_of(self.from), slot_of(to), self.sent)
    }

    #[inline]
    fn datagram(&mut self, to: Handle, message: M::Message) {
        if let Some(at) = self.carry(to) {
            self.network.dispatch(at, Packet { from: self.from, to, message });
        }
        self.sent += 1;
    }

    /// What gets lost is sent again.
    fn stream(&mut self, to: Handle, message: M::Message) {
        let mut wait = Duration::ZERO;
        let at = loop {
            self.sent += 1;
            if let Some(at) = self.carry(to) {
                break at + wait;
            }
            wait = wait + RESENT_AFTER;
        };
        self.network.dispatch(at, Packet { from: self.from, to, message });
    }
}

impl<M: Member> Sink<M::Message> for Post<'_, M> {
    #[inline]
    fn send(&mut self, to: Handle, message: M::Message) {
        match M::plane(&message) {
            Plane::Datagram => self.datagram(to, message),
            Plane::Stream => self.stream(to, message),
        }
    }
}

impl<M: Member> Events<M::Event> for Post<'_, M> {
    fn event(&mut self, event: M::Event) {
        self.network.told.push((self.now, self.from, event));
    }
}

/// Anybody in this arena, as a well-mixed partial view would give it; nobody, when the draw is a dead one or
/// itself.
impl<M: Member> Sampler for Post<'_, M> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        let tenancy = self.network.rng.pick(self.tenancies)?;
        Some(tenancy.handle).filter(|peer| *peer != Handle::NONE && *peer != self.from)
    }
}
