//! The network, the clock and the drivers.

use std::collections::BTreeMap;
use std::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, HandleTable, Instant, Rng, Sink};

use super::super::*;

/// All members that there ever were, by handle.
#[derive(Clone, Default)]
pub(super) struct Table(pub(super) Vec<Member>);

impl Table {
    pub(super) fn handle(&mut self, member: Member) -> Handle {
        let at = self.0.iter().position(|it| *it == member).unwrap_or_else(|| {
            self.0.push(member);
            self.0.len() - 1
        });
        Handle::from_u32(at as u32)
    }
}

impl HandleTable for Table {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        let member = self.0[handle.as_u32() as usize];
        e.array(2)?.u16(member.slot)?.u64(member.epoch)?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("not a member"));
        }
        let member = Member { slot: d.u16()?, epoch: d.u64()? };
        Ok(self.handle(member))
    }
}

/// What one member says in one call.
pub(super) struct Out<'a> {
    table: &'a Table,
    sent: Vec<(Handle, Message)>,
    told: Vec<Event>,
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
        self.table.0.get(peer.as_u32() as usize).copied()
    }

    fn site_of(&self, peer: Handle) -> Option<u64> {
        self.member_of(peer).map(|member| u64::from(member.slot % 3))
    }

    fn may_be(&self, _: u64, _: u64) -> bool {
        false
    }
}

struct Node {
    core: Collection,
    told: Vec<Event>,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) kind: Kind,
    pub(super) config: Config,
    pub(super) expected: Option<u32>,
    pub(super) rng: Rng,
    /// Of 100 messages so many are lost.
    pub(super) loss: u32,
    /// One way, in milliseconds.
    pub(super) delay: (u64, u64),
    /// Members of these slots hear only each other.
    pub(super) island: Vec<u16>,
    pub(super) table: Table,
    nodes: BTreeMap<Handle, Node>,
    on_the_way: BTreeMap<(Instant, u64), (Handle, Handle, Vec<u8>)>,
    count: u64,
    pub(super) faults: Vec<Fault>,
    /// Whether all that is sent is kept.
    pub(super) keeps: bool,
    pub(super) kept: Vec<Vec<u8>>,
}

impl World {
    pub(super) fn new(kind: Kind, expected: Option<u32>, seed: u64) -> World {
        let config = Config::of(&kind);
        World {
            now: Instant::ZERO,
            kind,
            config,
            expected,
            rng: Rng::new(seed),
            loss: 0,
            delay: (1, 40),
            island: Vec::new(),
            table: Table::default(),
            nodes: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            count: 0,
            faults: Vec::new(),
            keeps: false,
            kept: Vec::new(),
        }
    }

    /// A world of members that all start within a second.
    pub(super) fn of(kind: Kind, members: u16, loss: u32, seed: u64) -> World {
        let mut world = World::new(kind, Some(u32::from(members)), seed);
        world.loss = loss;
        for slot in 0..members {
            world.start(slot, 1);
            let pause = world.rng.between(0, 1_000_000 / u64::from(members));
            world.run(Duration::from_micros(pause));
        }
        world
    }

    /// Its driver knows of the slots that run: those that run already know nothing of it.
    pub(super) fn start(&mut self, slot: u16, epoch: u64) -> Handle {
        let member = Member { slot, epoch };
        let handle = self.table.handle(member);
        let rng = Rng::new(self.rng.next_u64());
        let core =
            Collection::new(&self.config, self.kind.clone(), handle, member, self.expected, rng, self.now);
        let others: Vec<Handle> = self.nodes.keys().copied().collect();
        self.nodes.insert(handle, Node { core, told: Vec::new() });
        for other in others {
            self.call(handle, |core, call, out| core.learn(call, other, out));
        }
        handle
    }

    pub(super) fn kill(&mut self, slot: u16) {
        let handle = self.at(slot);
        self.nodes.remove(&handle);
    }

    /// The running member of a slot.
    pub(super) fn at(&self, slot: u16) -> Handle {
        let mut running = self.nodes.keys().copied();
        running.find(|it| self.member(*it).slot == slot).expect("it runs")
    }

    pub(super) fn member(&self, handle: Handle) -> Member {
        self.table.0[handle.as_u32() as usize]
    }

    pub(super) fn slot(&self, handle: Handle) -> u16 {
        self.member(handle).slot
    }

    pub(super) fn running(&self) -> Vec<Handle> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn core(&self, handle: Handle) -> &Collection {
        &self.nodes[&handle].core
    }

    pub(super) fn cores(&self) -> impl Iterator<Item = &Collection> {
        self.nodes.values().map(|node| &node.core)
    }

    pub(super) fn take_events(&mut self, handle: Handle) -> Vec<Event> {
        self.nodes.get_mut(&handle).map(|node| std::mem::take(&mut node.told)).unwrap_or_default()
    }

    /// Events of a member that were not taken yet.
    pub(super) fn events(&self, handle: Handle) -> &[Event] {
        &self.nodes[&handle].told
    }

    pub(super) fn call<R>(
        &mut self,
        handle: Handle,
        f: impl FnOnce(&mut Collection, Call<'_, Config>, &mut Out<'_>) -> R,
    ) -> R {
        let node = self.nodes.get_mut(&handle).expect("it runs");
        let mut out = Out { table: &self.table, sent: Vec::new(), told: Vec::new() };
        let result = f(&mut node.core, Call::new(&self.config, self.now), &mut out);
        let Out { sent, told, .. } = out;
        node.told.extend(told);
        for (to, message) in sent {
            assert_ne!(to, handle, "what it says to itself stays with it: {message:?}");
            let bytes = minicbor::to_vec_with(&message, &mut self.table).expect("written");
            if self.keeps {
                self.kept.push(bytes.clone());
            }
            if self.rng.chance(self.loss, 100) {
                continue;
            }
            let (least, most) = self.delay;
            let delay = Duration::from_micros(self.rng.between(1_000 * least, 1_000 * most));
            self.count += 1;
            self.on_the_way.insert((self.now + delay, self.count), (handle, to, bytes));
        }
        result
    }

    fn is_cut(&self, one: Handle, other: Handle) -> bool {
        let is_on_it = |it| self.island.contains(&self.slot(it));
        is_on_it(one) != is_on_it(other)
    }

    pub(super) fn hear(&mut self, from: Handle, to: Handle, message: Message) -> Result<(), Fault> {
        self.call(to, |core, call, out| core.handle_message(call, from, message, out))
    }

    /// The next thing that happens, if it does by then.
    fn step(&mut self, until: Instant) -> bool {
        let config = &self.config;
        let wake = self.nodes.iter().map(|(handle, node)| (node.core.next_timeout(config).at, *handle)).min();
        let message = self.on_the_way.keys().next().copied();
        let is_message = message.is_some_and(|(at, _)| wake.is_none_or(|(wake, _)| at <= wake.max(self.now)));
        if is_message {
            let Some(entry) = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= until) else {
                return false;
            };
            self.now = entry.key().0.max(self.now);
            let (from, to, bytes) = entry.remove();
            if self.nodes.contains_key(&to) && !self.is_cut(from, to) {
                let message = minicbor::decode_with(&bytes, &mut self.table).expect("read");
                if let Err(fault) = self.hear(from, to, message) {
                    self.faults.push(fault);
                }
            }
            return true;
        }
        let Some((at, handle)) = wake.filter(|(at, _)| *at <= until) else { return false };
        self.now = at.max(self.now);
        self.call(handle, |core, call, out| core.handle_timeout(call, out));
        true
    }

    pub(super) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until it is so, at most that long; how long it took.
    pub(super) fn until(&mut self, most: Duration, is_so: impl Fn(&World) -> bool) -> Option<Duration> {
        let begin = self.now;
        while !is_so(self) {
            if self.now.since(begin) >= most {
                return None;
            }
            self.run(Duration::from_millis(50));
        }
        Some(self.now.since(begin))
    }
}
