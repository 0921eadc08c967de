//! A few rings over a network that is as bad as asked for, and an eye on all of them at every step.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, NodeId, Rng, Sampler, Sink};

use super::{at, id};
use crate::ring::*;
use crate::{Key, Position, Range};

/// How bad it is. All but the loss are in per mille of a chance, each 200 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// Per cent of all messages.
    pub(super) loss: u32,
    /// For 1 to 15 s.
    pub(super) pauses: u32,
    /// Another one comes for it.
    pub(super) kills: u32,
    /// A node does not hear another for up to 3 s, and is told that it is dead.
    pub(super) suspicions: u32,
    /// A node hands its range on and comes back.
    pub(super) moves: u32,
}

/// One call's sink.
#[derive(Default)]
pub(super) struct Out {
    sent: Vec<(Handle, Message)>,
    has_left: bool,
    peer: Option<Handle>,
    is_cut_off: bool,
}

impl Out {
    pub(super) fn take(&mut self) -> Vec<(Handle, Message)> {
        core::mem::take(&mut self.sent)
    }
}

impl Sink<Message> for Out {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for Out {
    fn event(&mut self, event: Event) {
        self.has_left |= event == Event::Left;
    }
}

impl Sampler for Out {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.peer
    }
}

impl Host for Out {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id(peer.as_u32()))
    }
    fn is_cut_off(&mut self) -> bool {
        self.is_cut_off
    }
    fn load(&self, _: &Range) -> u64 {
        0
    }
    fn middle(&self, _: &Range) -> Option<Key> {
        None
    }
}

struct Node {
    handle: Handle,
    ring: Ring,
    paused_until: Instant,
    backlog: Vec<(Handle, Message)>,
    deaf: (Handle, Instant),
}

pub(super) struct World {
    config: Config,
    nodes: Vec<Option<Node>>,
    queue: BTreeMap<(Instant, u64), (usize, Handle, Handle, Message)>,
    sent: u64,
    next_handle: u32,
    now: Instant,
    rng: Rng,
    pub(super) trouble: Trouble,
    next_trouble: Instant,
    pub(super) split: bool,
    allows_doubles: bool,
    /// All nodes know that they are.
    pub(super) is_cut_off: bool,
}

impl World {
    /// So many nodes that come one after the other.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        let mut world = World {
            config: Config::default(),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            next_handle: 0,
            now: Instant::from_secs(100),
            rng: Rng::new(seed),
            trouble: Trouble::default(),
            next_trouble: Instant::ZERO,
            split: false,
            allows_doubles: false,
            is_cut_off: false,
        };
        for nth in 0..count {
            world.nodes.push(None);
            world.put(nth);
            let place = Position::new(world.key(), id(world.next_handle - 1));
            if nth == 0 {
                world.with(0, |ring, call, out| ring.found(call, place, out));
            } else {
                world.come(nth);
            }
            world.run(Duration::from_millis(1_500));
        }
        world
    }

    fn key(&mut self) -> Key {
        Key::from_bytes(&[1, self.rng.below(256) as u8, self.rng.below(256) as u8]).expect("short")
    }

    fn put(&mut self, nth: usize) {
        let handle = Handle::from_u32(self.next_handle);
        self.next_handle += 1;
        let ring = Ring::new(id(handle.as_u32()), handle, Rng::new(self.rng.next_u64()));
        let deaf = (Handle::NONE, Instant::ZERO);
        let (paused_until, backlog) = (Instant::ZERO, Vec::new());
        self.nodes[nth] = Some(Node { handle, ring, paused_until, backlog, deaf });
    }

    fn come(&mut self, nth: usize) {
        let key = self.key();
        self.with(nth, |ring, call, out| ring.join(call, key, out));
    }

    pub(super) fn kill(&mut self, nth: usize) {
        self.nodes[nth] = None;
    }

    pub(super) fn living(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    pub(super) fn allow_doubles(&mut self) {
        self.allows_doubles = true;
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn node_mut(&mut self, nth: usize) -> &mut Ring {
        &mut self.nodes[nth].as_mut().expect("it lives").ring
    }

    fn part(&self, nth: usize) -> usize {
        if self.split { nth % 2 } else { 0 }
    }

    fn with(&mut self, nth: usize, f: impl FnOnce(&mut Ring, Call<'_, Config>, &mut Out)) {
        let part = self.part(nth);
        let others = (0..self.nodes.len()).filter(|other| *other != nth && self.part(*other) == part);
        let others: Vec<Handle> =
            others.filter_map(|other| Some(self.nodes[other].as_ref()?.handle)).collect();
        let mut out =
            Out { peer: self.rng.pick(&others).copied(), is_cut_off: self.is_cut_off, ..Out::default() };
        let Some(node) = &mut self.nodes[nth] else { return };
        let from = node.handle;
        f(&mut node.ring, Call::new(&self.config, self.now), &mut out);
        let is_away = out.has_left && node.ring.position().is_none() && !node.ring.is_joining();
        for (to, message) in out.sent {
            self.send(nth, from, to, message);
        }
        self.check();
        if is_away {
            self.come(nth);
        }
    }

    fn send(&mut self, nth: usize, from: Handle, to: Handle, message: Message) {
        let Some(to_nth) = self.nodes.iter().position(|it| it.as_ref().is_some_and(|it| it.handle == to))
        else {
            return;
        };
        if self.rng.below(100) < self.trouble.loss || self.part(nth) != self.part(to_nth) {
            return;
        }
        // One in fifty takes seconds, and overtakes nothing: stale news.
        let slow = self.trouble.loss > 0 && self.rng.below(50) == 0;
        let delay = self.rng.between(5, if slow { 4_000 } else { 165 });
        self.sent += 1;
        let due = self.now + Duration::from_millis(delay);
        self.queue.insert((due, self.sent), (to_nth, from, to, message));
    }

    fn due(&self, nth: usize) -> Instant {
        let node = self.nodes[nth].as_ref();
        node.map_or(Instant::FAR, |node| node.ring.next_timeout(&self.config).at.max(node.paused_until))
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timer = (0..self.nodes.len()).map(|nth| (self.due(nth), nth)).min();
            let (at, nth) = timer.unwrap_or((Instant::FAR, 0));
            let packet = self.queue.keys().next().map_or(Instant::FAR, |(at, _)| *at);
            let next = at.min(packet).min(self.next_trouble);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if self.next_trouble <= self.now {
                self.next_trouble = self.now + Duration::from_millis(200);
                self.make_trouble();
            } else if packet <= at {
                if let Some((_, (nth, from, to, message))) = self.queue.pop_first() {
                    self.deliver(nth, from, to, message);
                }
            } else {
                self.wake(nth);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, nth: usize, from: Handle, to: Handle, message: Message) {
        let now = self.now;
        let Some(node) = self.nodes[nth].as_mut().filter(|node| node.handle == to) else { return };
        if node.deaf.0 == from && now < node.deaf.1 {
            return;
        }
        if now < node.paused_until {
            return node.backlog.push((from, message));
        }
        self.with(nth, |ring, call, out| {
            let _ = ring.handle_message(call, from, message, out);
        });
    }

    fn wake(&mut self, nth: usize) {
        let Some(node) = &mut self.nodes[nth] else { return };
        let backlog = core::mem::take(&mut node.backlog);
        // What came during a pause is found before the timers, or after them.
        let is_late = self.rng.chance(1, 2);
        if is_late {
            self.with(nth, |ring, call, out| ring.handle_timeout(call, out));
        }
        for (from, message) in backlog {
            self.with(nth, |ring, call, out| {
                let _ = ring.handle_message(call, from, message, out);
            });
        }
        self.with(nth, |ring, call, out| ring.handle_timeout(call, out));
    }

    fn make_trouble(&mut self) {
        for nth in 0..self.nodes.len() {
            let Trouble { pauses, kills, suspicions, moves, .. } = self.trouble;
            let now = self.now;
            if self.rng.chance(pauses, 1_000) {
                let span = Duration::from_millis(self.rng.between(1_000, 15_000));
                self.nodes[nth].iter_mut().for_each(|node| node.paused_until = now + span);
            }
            if self.rng.chance(kills, 1_000) {
                self.put(nth);
                self.come(nth);
            }
            let span = Duration::from_millis(self.rng.between(500, 3_000));
            if self.rng.chance(suspicions, 1_000)
                && let Some(node) = &mut self.nodes[nth]
                && let Some(first) = node.ring.successors().first().map(|it| it.handle)
            {
                node.deaf = (first, now + span);
                self.with(nth, |ring, call, _| ring.handle_silent(call, first));
            }
            let is_awake = self.nodes[nth].as_ref().is_some_and(|node| node.paused_until <= now);
            if self.rng.chance(moves, 1_000) && is_awake {
                self.with(nth, |ring, call, out| {
                    if ring.is_owner(call.now) {
                        ring.leave(call, out);
                    }
                });
            }
        }
    }

    /// The ranges of all who may answer now, with their nodes.
    fn owned(&self, part: Option<usize>) -> Vec<(usize, Range)> {
        let mut owned = Vec::new();
        for (nth, node) in self.nodes.iter().enumerate() {
            let lease = node.as_ref().and_then(|node| node.ring.lease());
            if let Some(lease) = lease.filter(|it| it.is_valid(self.now))
                && part.is_none_or(|part| self.part(nth) == part)
            {
                owned.push((nth, lease.range().clone()));
            }
        }
        owned
    }

    fn check(&self) {
        if self.allows_doubles {
            return;
        }
        let owned = self.owned(None);
        for (at, (a, range)) in owned.iter().enumerate() {
            for (b, other) in &owned[at + 1..] {
                assert!(!range.overlaps(other), "{:?}: {a} and {b}\n{}", self.now, self.describe());
            }
        }
    }

    /// Whether all keys have exactly one owner; of each part, when the network is split.
    pub(super) fn is_whole(&self) -> bool {
        let parts = if self.split { 0..2 } else { 0..1 };
        parts.into_iter().all(|part| {
            let mut owned: Vec<Range> = self.owned(Some(part)).into_iter().map(|(_, range)| range).collect();
            owned.sort_by(|a, b| a.to.cmp(&b.to));
            let count = owned.len();
            let alive =
                (0..self.nodes.len()).filter(|nth| self.nodes[*nth].is_some() && self.part(*nth) == part);
            count == alive.count() && (0..count).all(|at| owned[(at + 1) % count].after == owned[at].to)
        })
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for (nth, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let ring = &node.ring;
            let lease = ring.lease().map(|it| (it.range().clone(), it.epoch(), it.until()));
            let first = ring.successors().first().map(|it| it.handle);
            let before = ring.predecessor().map(|it| it.handle);
            text += &format!("{nth} {:?} at {:?}: {lease:?}\n", node.handle, ring.position());
            text += &format!("   {before:?} < > {first:?}, joining {}\n", ring.is_joining());
        }
        text
    }
}

/// Whatever a stranger can put together.
pub(super) fn any_message(rng: &mut Rng) -> Message {
    let place = |rng: &mut Rng| Position { id: id(rng.below(44)), ..at(rng.below(256) as u8) };
    let contact = |rng: &mut Rng| {
        let handle = Handle::from_u32(rng.below(44));
        Contact { handle, position: Position { id: id(handle.as_u32()), ..place(rng) } }
    };
    let seq = rng.below(200) as u16;
    let epoch = if rng.chance(1, 3) { u64::MAX } else { rng.next_u64() % 100 };
    match rng.below(11) {
        0..3 => {
            let after = rng.chance(2, 3).then(|| place(rng));
            let (is_second, quiet) = (rng.chance(1, 2), Duration::from_micros(rng.next_u64()));
            let claim = Claim { after, epoch, is_second, quiet };
            Message::Stabilise { seq, position: place(rng), claim }
        }
        3 => {
            let successors = (0..8).map(|_| contact(rng)).collect();
            let verdict = match rng.below(4) {
                0 => Verdict::Granted { second: None, left: Duration::from_micros(rng.next_u64()) },
                1 => Verdict::Seconded,
                2 => Verdict::Yours { after: place(rng), epoch, left: Duration::from_micros(rng.next_u64()) },
                _ => Verdict::Wait,
            };
            let predecessor = Some(contact(rng));
            let (position, quiet) = (place(rng), Duration::from_micros(rng.next_u64()));
            Message::Neighbours { seq, position, predecessor, successors, epoch, verdict, quiet }
        }
        4 => Message::AskRow { seq, level: rng.below(256) as u8 },
        5 => Message::TellRow { seq, entries: [0; 3].map(|_| Some(contact(rng))) },
        6 => Message::Find { seq, target: place(rng) },
        7 => Message::Nearer { seq, contacts: (0..8).map(|_| contact(rng)).collect() },
        8 => Message::Owned { seq, range: Range::new(place(rng), place(rng)), epoch },
        9 => {
            let promise = |rng: &mut Rng| Promised {
                to: Handle::from_u32(rng.below(44)),
                range: Range::new(place(rng), place(rng)),
                left: Duration::from_micros(rng.next_u64()),
            };
            let promises = Inheritance((0..8).map(|_| promise(rng)).collect());
            let moves = rng.below(2) == 0;
            Message::Leave { seq, range: Range::new(place(rng), place(rng)), epoch, promises, moves }
        }
        _ => Message::Left { seq },
    }
}
