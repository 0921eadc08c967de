//! The arena: one [`Cyclon`] a node, typed messages, no codec.
//!
//! A handle is 24 bits of slot and 8 of incarnation, so that a dead node's descriptor stays recognisable when
//! its slot is used again (a descriptor would have to survive 256 replacements of its slot to deceive).

use xtreem_base::{Handle, Instant, Rng};
use xtreem_membership::{Config, Cyclon, Message, Output};

use super::Options;
use crate::digest::Digest;
use crate::link::{Latency, Link};
use crate::wheel::Wheel;

const SLOT_BITS: u32 = 24;
/// Ring predecessors that a node knows at the start.
const PREDECESSORS: u32 = 5;
/// In the wheel: a node's timer, not the number of a packet.
const TIMER: u32 = u32::MAX;

pub(super) fn slot_of(handle: Handle) -> u32 {
    handle.as_u32() & ((1 << SLOT_BITS) - 1)
}

fn incarnation_of(handle: Handle) -> u32 {
    handle.as_u32() >> SLOT_BITS
}

/// Who lives in a slot, and when it wants to be called.
///
/// `next_timeout` mirrors what the core says, so that a timer that was put off is put back into the wheel
/// without touching the node: every node has exactly one timer event that counts, `armed`.
#[derive(Clone, Copy)]
struct Seat {
    next_timeout: Instant,
    armed: Instant,
    handle: Handle,
    alive: bool,
}

#[derive(Clone, Copy)]
struct Packet {
    from: Handle,
    to: Handle,
    msg: Message,
}

/// Packets on their way, numbered; numbers are used again.
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

/// All that happens between nodes.
struct Network {
    link: Link,
    wheel: Wheel<u32>,
    packets: Packets,
}

/// Where one node's core puts its messages during one call.
struct Sender<'a> {
    network: &'a mut Network,
    now: Instant,
    from: Handle,
    sent: u32,
}

impl Output for Sender<'_> {
    fn send(&mut self, to: Handle, msg: Message) {
        let (from_slot, to_slot) = (slot_of(self.from), slot_of(to));
        if let Some(at) = self.network.link.carry(self.now, from_slot, to_slot, self.sent) {
            let number = self.network.packets.put(Packet { from: self.from, to, msg });
            self.network.wheel.push(at, to_slot, from_slot, number);
        }
        self.sent += 1;
    }
}

pub(super) struct World {
    config: Config,
    seed: u64,
    /// Who dies and who replaces them.
    fate: Rng,
    nodes: Vec<Cyclon>,
    seats: Vec<Seat>,
    network: Network,
    now: Instant,
    /// Replacements that did not make a whole node yet, in millionths.
    owed: u64,
    events: u64,
    digest: Digest,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let config = Config::default();
        let loss_per_million = (options.loss * 1e6).round() as u32;
        let mut world = World {
            seed: options.seed,
            fate: Rng::derive(options.seed, 0, "fate"),
            nodes: Vec::with_capacity(options.nodes as usize),
            seats: Vec::with_capacity(options.nodes as usize),
            network: Network {
                link: Link::new(options.seed, Latency::WORLD, loss_per_million),
                wheel: Wheel::default(),
                packets: Packets::default(),
            },
            config,
            now: Instant::ZERO,
            owed: 0,
            events: 0,
            digest: Digest::default(),
        };
        for slot in 0..options.nodes {
            let mut node = world.newborn(Handle::from_u32(slot));
            for back in 1..=PREDECESSORS.min(options.nodes - 1) {
                let predecessor = (slot + options.nodes - back) % options.nodes;
                node.seed(&world.config, Handle::from_u32(predecessor));
            }
            let handle = Handle::from_u32(slot);
            let seat = Seat { next_timeout: Instant::FAR, armed: Instant::FAR, handle, alive: true };
            world.nodes.push(node);
            world.seats.push(seat);
            world.arm(slot);
        }
        world
    }

    fn newborn(&self, handle: Handle) -> Cyclon {
        let rng = Rng::derive(self.seed, u64::from(handle.as_u32()), "membership");
        Cyclon::new(&self.config, handle, rng, self.now)
    }

    pub(super) fn run_round(&mut self) {
        let end = self.now + self.config.period;
        while let Some(entry) = self.network.wheel.pop(end) {
            self.now = entry.at;
            if entry.event == TIMER {
                self.on_timer(entry.dst);
            } else {
                self.on_packet(entry.event);
            }
        }
        self.now = end;
    }

    fn on_timer(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if !seat.alive || seat.armed != self.now {
            return;
        }
        seat.armed = Instant::FAR;
        if seat.next_timeout <= self.now {
            let handle = seat.handle;
            self.note(handle, handle);
            let mut out = Sender { network: &mut self.network, now: self.now, from: handle, sent: 0 };
            self.nodes[slot as usize].handle_timeout(&self.config, self.now, &mut out);
        }
        self.arm(slot);
    }

    fn on_packet(&mut self, number: u32) {
        let Packet { from, to, msg } = self.network.packets.take(number);
        let slot = slot_of(to);
        if !self.is_alive(to) {
            return;
        }
        self.note(from, to);
        let mut out = Sender { network: &mut self.network, now: self.now, from: to, sent: 0 };
        // Late answers are faults by design: the loss of a contact has already been dealt with.
        let _ = self.nodes[slot as usize].handle_message(&self.config, self.now, from, msg, &mut out);
        self.arm(slot);
    }

    fn note(&mut self, from: Handle, to: Handle) {
        self.events += 1;
        self.digest.add(self.now.as_micros());
        self.digest.add(u64::from(from.as_u32()) << 32 | u64::from(to.as_u32()));
    }

    /// Makes sure that the node is called when it wants to be.
    fn arm(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        seat.next_timeout = self.nodes[slot as usize].next_timeout();
        if seat.next_timeout < seat.armed {
            seat.armed = seat.next_timeout;
            self.network.wheel.push(seat.armed, slot, slot, TIMER);
        }
    }

    /// Takes the life of a share of the living, all at once. They keep silent, and nobody is told.
    pub(super) fn kill(&mut self, share: f64) {
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let dying = (living.len() as f64 * share).round() as usize;
        for slot in living.into_iter().take(dying) {
            self.seats[slot as usize].alive = false;
        }
    }

    /// Replaces a share of all nodes: each dies, and a newcomer in its slot joins through a random live node.
    pub(super) fn replace(&mut self, share: f64) {
        self.owed += (self.live() as f64 * share * 1e6).round() as u64;
        let due = (self.owed / 1_000_000) as usize;
        self.owed %= 1_000_000;
        if due == 0 {
            return;
        }
        let mut living = self.living();
        self.fate.shuffle(&mut living);
        let (replaced, staying) = living.split_at(due.min(living.len()));
        for &slot in replaced {
            let Some(&introducer) = self.fate.pick(staying) else { return };
            let introducer = self.seats[introducer as usize].handle;
            self.replace_one(slot, introducer);
        }
    }

    fn replace_one(&mut self, slot: u32, introducer: Handle) {
        let old = self.seats[slot as usize].handle;
        let handle = Handle::from_u32(slot | (incarnation_of(old) + 1) << SLOT_BITS);
        let mut newcomer = self.newborn(handle);
        let mut out = Sender { network: &mut self.network, now: self.now, from: handle, sent: 0 };
        newcomer.join(&self.config, self.now, introducer, &mut out);
        self.nodes[slot as usize] = newcomer;
        self.seats[slot as usize] =
            Seat { next_timeout: Instant::FAR, armed: Instant::FAR, handle, alive: true };
        self.arm(slot);
    }

    fn is_alive(&self, handle: Handle) -> bool {
        let seat = &self.seats[slot_of(handle) as usize];
        seat.alive && seat.handle == handle
    }

    fn living(&self) -> Vec<u32> {
        (0..self.seats.len() as u32).filter(|&slot| self.seats[slot as usize].alive).collect()
    }

    pub(super) fn live(&self) -> usize {
        self.seats.iter().filter(|seat| seat.alive).count()
    }

    /// Live nodes in the order of their slots, each with its links to live nodes, as numbers in that order.
    pub(super) fn live_links(&self) -> Vec<Vec<u32>> {
        let mut number = vec![0; self.seats.len()];
        let living = self.living();
        for (i, &slot) in living.iter().enumerate() {
            number[slot as usize] = i as u32;
        }
        let links = |slot: &u32| {
            let view = self.nodes[*slot as usize].view();
            let alive = view.filter(|&(handle, _)| self.is_alive(handle));
            alive.map(|(handle, _)| number[slot_of(handle) as usize]).collect()
        };
        living.iter().map(links).collect()
    }

    /// Share of the links of live nodes that lead to dead ones.
    pub(super) fn dead_links(&self) -> f64 {
        let (mut dead, mut all) = (0u64, 0u64);
        for slot in self.living() {
            for (handle, _) in self.nodes[slot as usize].view() {
                all += 1;
                dead += u64::from(!self.is_alive(handle));
            }
        }
        dead as f64 / all.max(1) as f64
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Of all events so far and all views of now.
    pub(super) fn digest(&self) -> Digest {
        let mut digest = self.digest;
        for slot in self.living() {
            digest.add(u64::from(slot));
            for (handle, age) in self.nodes[slot as usize].view() {
                digest.add(u64::from(handle.as_u32()) << 16 | u64::from(age));
            }
        }
        digest
    }
}
