//! A part of the arena: every so manieth node with all its events, one [`Cyclon`] a node, typed messages, no codec.
//!
//! A handle is 24 bits of slot and 8 of incarnation, so that a dead node's descriptor stays recognisable when
//! its slot is used again (a descriptor would have to survive 256 replacements of its slot to deceive).

use xtreem_base::{Call, Core, Driven, Handle, Instant, Sink};
use xtreem_membership::{Config, Cyclon, Message};

use super::Options;
use crate::digest::Digest;
use crate::link::{Latency, Link};
use crate::memory::{prefetch, vec_on_huge_pages};
use crate::queue::{Entry, Queue};

const SLOT_BITS: u32 = 24;
/// In the queue: a node's timer, not the number of a packet.
const TIMER: u32 = u32::MAX;
/// What is fetched from memory so many events ahead: more than memory's delay, less than the cache's room (4 to 16
/// measured alike).
const AHEAD: usize = 6;

pub(super) fn slot_of(handle: Handle) -> u32 {
    handle.as_u32() & ((1 << SLOT_BITS) - 1)
}

/// The one that lives in a slot after `handle`.
pub(super) fn successor(handle: Handle) -> Handle {
    let incarnation = handle.as_u32() >> SLOT_BITS;
    Handle::from_u32(slot_of(handle) | (incarnation + 1) << SLOT_BITS)
}

/// Three cache lines, and no more.
#[repr(align(64))]
struct Member(Cyclon);

/// Who lives in a slot, and when it wants to be called.
///
/// `next_timeout` mirrors what the core says, so that a timer that was put off is put back into the queue
/// without touching the node: every node has exactly one timer event that counts, `armed`.
#[derive(Clone, Copy)]
struct Seat {
    next_timeout: Instant,
    armed: Instant,
    /// `NONE` when it is dead.
    handle: Handle,
}

/// A message on its way: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Packet {
    from: Handle,
    to: Handle,
    msg: Message,
}

/// A packet for another shard, and when it arrives.
pub(super) struct Parcel {
    at: Instant,
    packet: Packet,
}

/// Packets on their way, numbered; numbers are used again, the latest first.
#[derive(Default)]
struct Packets {
    packets: Vec<Packet>,
    free: Vec<u32>,
}

impl Packets {
    fn put(&mut self, packet: Packet) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.packets[number as usize] = packet;
                number
            }
            None => {
                self.packets.push(packet);
                self.packets.len() as u32 - 1
            }
        }
    }

    fn take(&mut self, number: u32) -> Packet {
        self.free.push(number);
        self.packets[number as usize]
    }
}

/// How slots are dealt out to shards: by their lowest bits.
#[derive(Clone, Copy)]
pub(super) struct Deal {
    pub bits: u32,
}

impl Deal {
    pub(super) fn shard(self, slot: u32) -> usize {
        (slot & ((1 << self.bits) - 1)) as usize
    }

    fn place(self, slot: u32) -> usize {
        (slot >> self.bits) as usize
    }
}

/// All that happens between nodes.
struct Network {
    link: Link,
    queue: Queue,
    packets: Packets,
    deal: Deal,
    shard: usize,
    /// For each shard, what is to be handed over to it.
    parcels: Vec<Vec<Parcel>>,
}

impl Network {
    fn enqueue(&mut self, at: Instant, packet: Packet) {
        let number = self.packets.put(packet);
        self.queue.push(Entry { at, dst: slot_of(packet.to), tie: slot_of(packet.from), number });
    }
}

/// Where one node's core puts its messages during one call.
struct Sender<'a> {
    network: &'a mut Network,
    now: Instant,
    from: Handle,
    sent: u32,
}

impl Sink<Message> for Sender<'_> {
    #[inline]
    fn send(&mut self, to: Handle, msg: Message) {
        let (from_slot, to_slot) = (slot_of(self.from), slot_of(to));
        if let Some(at) = self.network.link.carry(self.now, from_slot, to_slot, self.sent) {
            let packet = Packet { from: self.from, to, msg };
            let shard = self.network.deal.shard(to_slot);
            if shard == self.network.shard {
                self.network.enqueue(at, packet);
            } else {
                self.network.parcels[shard].push(Parcel { at, packet });
            }
        }
        self.sent += 1;
    }
}

pub(super) struct Shard {
    config: Config,
    members: Vec<Member>,
    seats: Vec<Seat>,
    network: Network,
    now: Instant,
    events: u64,
    /// Sum over all events: no matter which shard handles which.
    happened: u64,
}

impl Shard {
    /// A shard without nodes.
    pub(super) fn new(options: &Options, config: &Config, shard: usize, deal: Deal) -> Self {
        let loss_per_million = (options.loss * 1e6).round() as u32;
        let room = (options.nodes >> deal.bits) as usize + 1;
        Shard {
            config: config.clone(),
            members: vec_on_huge_pages(room),
            seats: vec_on_huge_pages(room),
            network: Network {
                link: Link::new(options.seed, Latency::WORLD, loss_per_million),
                // One timer a node, and messages on their way from a few.
                queue: Queue::with_room(options.queue, room + room / 4),
                packets: Packets::default(),
                deal,
                shard,
                parcels: (0..options.shards).map(|_| Vec::new()).collect(),
            },
            now: Instant::ZERO,
            events: 0,
            happened: 0,
        }
    }

    /// Gives the next slot of this shard to a node.
    pub(super) fn add(&mut self, handle: Handle, node: Cyclon) {
        self.members.push(Member(node));
        self.seats.push(Seat { next_timeout: Instant::FAR, armed: Instant::FAR, handle });
        self.arm(slot_of(handle));
    }

    /// Puts a newcomer into the slot of its handle; it joins through `introducer`.
    pub(super) fn replace(&mut self, handle: Handle, mut newcomer: Cyclon, introducer: Handle) {
        let mut out = Sender { network: &mut self.network, now: self.now, from: handle, sent: 0 };
        newcomer.join(Call::new(&self.config, self.now), introducer, &mut out);
        let place = self.network.deal.place(slot_of(handle));
        self.members[place] = Member(newcomer);
        self.seats[place] = Seat { next_timeout: Instant::FAR, armed: Instant::FAR, handle };
        self.arm(slot_of(handle));
    }

    pub(super) fn kill(&mut self, slot: u32) {
        let place = self.network.deal.place(slot);
        self.seats[place].handle = Handle::NONE;
    }

    /// Lets everything happen until `end`, that moment included.
    pub(super) fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.network.queue.pop(end) {
            if let Some(ahead) = self.network.queue.ahead(AHEAD) {
                self.fetch(ahead);
            }
            self.now = entry.at;
            if entry.number == TIMER {
                self.on_timer(entry.dst);
            } else {
                self.on_packet(entry.dst, entry.number);
            }
        }
        self.now = end;
    }

    fn fetch(&self, entry: Entry) {
        let place = self.network.deal.place(entry.dst);
        prefetch(&self.seats[place]);
        prefetch(&self.members[place]);
        if let Some(packet) = self.network.packets.packets.get(entry.number as usize) {
            prefetch(packet);
        }
    }

    fn on_timer(&mut self, slot: u32) {
        let place = self.network.deal.place(slot);
        let seat = &mut self.seats[place];
        if seat.handle == Handle::NONE || seat.armed != self.now {
            return;
        }
        seat.armed = Instant::FAR;
        if seat.next_timeout > self.now {
            seat.armed = seat.next_timeout;
            self.network.queue.push(Entry { at: seat.armed, dst: slot, tie: slot, number: TIMER });
            return;
        }
        let handle = seat.handle;
        self.note(handle, handle);
        let mut out = Sender { network: &mut self.network, now: self.now, from: handle, sent: 0 };
        self.members[place].0.handle_timeout(Call::new(&self.config, self.now), &mut out);
        self.arm(slot);
    }

    fn on_packet(&mut self, slot: u32, number: u32) {
        let Packet { from, to, msg } = self.network.packets.take(number);
        if !self.is_alive(to) {
            return;
        }
        self.note(from, to);
        let mut out = Sender { network: &mut self.network, now: self.now, from: to, sent: 0 };
        let place = out.network.deal.place(slot);
        // Late answers are faults by design: the loss of a contact has already been dealt with.
        let _ = self.members[place].0.handle_message(Call::new(&self.config, self.now), from, msg, &mut out);
        self.arm(slot);
    }

    fn note(&mut self, from: Handle, to: Handle) {
        self.events += 1;
        let who = u64::from(from.as_u32()) << 32 | u64::from(to.as_u32());
        self.happened = self.happened.wrapping_add(Digest::of([self.now.as_micros(), who]));
    }

    /// Makes sure that the node is called when it wants to be.
    fn arm(&mut self, slot: u32) {
        let place = self.network.deal.place(slot);
        let seat = &mut self.seats[place];
        seat.next_timeout = self.members[place].0.next_timeout(&self.config).at;
        if seat.next_timeout < seat.armed {
            seat.armed = seat.next_timeout;
            self.network.queue.push(Entry { at: seat.armed, dst: slot, tie: slot, number: TIMER });
        }
    }

    /// Exchanges the parcels for `shard` with `other`, which is empty.
    pub(super) fn hand_over(&mut self, shard: usize, other: &mut Vec<Parcel>) {
        std::mem::swap(&mut self.network.parcels[shard], other);
    }

    /// Takes what other shards handed over; nothing of it may be due before `now`.
    pub(super) fn take_in(&mut self, parcels: &mut Vec<Parcel>) {
        for Parcel { at, packet } in parcels.drain(..) {
            self.network.enqueue(at, packet);
        }
    }

    pub(super) fn is_alive(&self, handle: Handle) -> bool {
        self.seats[self.network.deal.place(slot_of(handle))].handle == handle
    }

    /// Who lives in a slot of this shard; `NONE`: nobody.
    pub(super) fn handle(&self, slot: u32) -> Handle {
        self.seats[self.network.deal.place(slot)].handle
    }

    pub(super) fn node(&self, slot: u32) -> &Cyclon {
        &self.members[self.network.deal.place(slot)].0
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn happened(&self) -> u64 {
        self.happened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_packets_fill_their_cache_lines() {
        assert_eq!((size_of::<Member>(), size_of::<Packet>(), size_of::<Seat>()), (192, 64, 24));
    }
}
