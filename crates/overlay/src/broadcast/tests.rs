//! On rings of which every node knows its successors and rows exactly; some of them are dead, and nobody has
//! noticed.

extern crate std;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::vec;

use xtreem_base::{NodeId, Rng};

use super::*;
use crate::ring::BASE;
use crate::{Key, Namespace};

const LATENCY: Duration = Duration::from_millis(100);

fn position(node: u32) -> Position {
    let key = Key::new(Namespace::USER, &node.to_be_bytes()).expect("short");
    Position::new(key, NodeId::from_bytes(u128::from(node + 1).to_be_bytes()))
}

fn contact(node: u32) -> Contact {
    Contact { handle: Handle::from_u32(node), position: position(node) }
}

/// All nodes, and what is on its way.
struct World {
    config: Config,
    now: Instant,
    count: u32,
    cores: Vec<Broadcast>,
    dead: BTreeSet<u32>,
    /// Messages that get lost: the first so many delegations that are not wide.
    lose: usize,
    /// The ring has noticed the dead.
    is_healed: bool,
    queue: VecDeque<(Instant, u32, u32, Message)>,
    delivered: BTreeMap<u32, Vec<u8>>,
    begun: usize,
    not_begun: usize,
    delegations: usize,
}

struct Lent<'a> {
    node: u32,
    world: &'a mut Outer,
}

/// What a host sees of the world while a core is called.
struct Outer {
    now: Instant,
    count: u32,
    dead: BTreeSet<u32>,
    is_healed: bool,
    lose: usize,
    queue: VecDeque<(Instant, u32, u32, Message)>,
    delivered: BTreeMap<u32, Vec<u8>>,
    begun: usize,
    not_begun: usize,
    delegations: usize,
}

impl Sink<Message> for Lent<'_> {
    fn send(&mut self, to: Handle, message: Message) {
        if let Message::Delegate { is_wide, .. } = &message {
            self.world.delegations += 1;
            if !is_wide && self.world.lose > 0 {
                self.world.lose -= 1;
                return;
            }
        }
        self.world.queue.push_back((self.world.now + LATENCY, self.node, to.as_u32(), message));
    }
}

impl Events<Event> for Lent<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Delivered { depth, .. } => self.world.delivered.entry(self.node).or_default().push(depth),
            Event::Begun { .. } => self.world.begun += 1,
            Event::NotBegun { .. } => self.world.not_begun += 1,
        }
    }
}

impl Host for Lent<'_> {
    fn around(&self) -> Around {
        let count = self.world.count;
        let is_known = |node: &u32| !(self.world.is_healed && self.world.dead.contains(node));
        let at = |step: u32| (self.node + step) % count;
        let successors = (1..count).map(at).filter(is_known).take(8).map(contact).collect();
        let steps = (1..10).map(|row| (BASE as u32).pow(row)).flat_map(|one| [one, 2 * one, 3 * one]);
        let others = steps.take_while(|step| *step < count).map(at).filter(is_known).map(contact).collect();
        Around { position: Some(position(self.node)), successors, others }
    }

    fn may_broadcast(&self, _: Handle, id: BroadcastId, _: Option<&Extent>, _: &Value) -> bool {
        id.origin != NodeId::from_bytes([0; 16])
    }
}

impl World {
    fn new(count: u32) -> World {
        World {
            config: Config::default(),
            now: Instant::ZERO,
            count,
            cores: (0..count).map(|_| Broadcast::default()).collect(),
            dead: BTreeSet::new(),
            lose: 0,
            is_healed: false,
            queue: VecDeque::new(),
            delivered: BTreeMap::new(),
            begun: 0,
            not_begun: 0,
            delegations: 0,
        }
    }

    fn with<R>(
        &mut self,
        node: u32,
        call: impl FnOnce(&mut Broadcast, Call<'_, Config>, &mut Lent<'_>) -> R,
    ) -> R {
        use core::mem::take;
        let mut outer = Outer {
            now: self.now,
            count: self.count,
            dead: take(&mut self.dead),
            is_healed: self.is_healed,
            lose: self.lose,
            queue: take(&mut self.queue),
            delivered: take(&mut self.delivered),
            begun: self.begun,
            not_begun: self.not_begun,
            delegations: self.delegations,
        };
        let mut lent = Lent { node, world: &mut outer };
        let result = call(&mut self.cores[node as usize], Call::new(&self.config, self.now), &mut lent);
        (self.dead, self.queue, self.delivered) = (outer.dead, outer.queue, outer.delivered);
        (self.lose, self.delegations) = (outer.lose, outer.delegations);
        (self.begun, self.not_begun) = (outer.begun, outer.not_begun);
        result
    }

    /// Until nothing happens any more; the ring heals after three seconds.
    fn run(&mut self) {
        for _ in 0..10_000_000 {
            let due = (0..self.count)
                .filter(|node| !self.dead.contains(node) && self.cores[*node as usize].is_busy());
            let timer = if self.queue.is_empty() {
                due.map(|node| (self.cores[node as usize].next_timeout(&self.config).at, node)).min()
            } else {
                None
            };
            if let Some((at, from, to, message)) = self.queue.pop_front() {
                self.now = at.max(self.now);
                if !self.dead.contains(&to) {
                    let result = self.with(to, |core, call, out| {
                        core.handle_message(call, Handle::from_u32(from), message, out)
                    });
                    assert!(matches!(result, Ok(()) | Err(Fault::Unasked)), "{result:?}");
                }
            } else if let Some((at, node)) = timer {
                self.now = at.max(self.now);
                self.is_healed = self.now > Instant::from_secs(3);
                self.with(node, |core, call, out| core.handle_timeout(call, out));
            } else {
                return;
            }
        }
        panic!("it does not end");
    }

    fn kill(&mut self, seed: u64, percent: u32, origin: u32) {
        let mut rng = Rng::new(seed);
        self.dead = (0..self.count).filter(|node| rng.chance(percent, 100) && *node != origin).collect();
    }

    fn check(&self, expected: impl Iterator<Item = u32>, replay: &str) {
        for node in expected.filter(|node| !self.dead.contains(node)) {
            let times = self.delivered.get(&node).map_or(0, Vec::len);
            assert_eq!(times, 1, "node {node} was told {times} times; {replay}");
        }
    }

    fn depth(&self) -> u8 {
        self.delivered.values().flatten().copied().max().unwrap_or(0)
    }
}

fn content() -> Value {
    Value::new(b"all hands").expect("short")
}

fn numbered(number: usize) -> Value {
    Value::new(&number.to_be_bytes()).expect("short")
}

fn broadcast(world: &mut World, origin: u32) {
    tell(world, origin, content());
}

fn tell(world: &mut World, origin: u32, content: Value) {
    let id = position(origin).id;
    world.with(origin, |core, call, out| core.begin(call, id, content, out)).expect("on the ring");
    world.run();
}

#[test]
fn everybody_is_told_once_with_one_delegation_each() {
    for count in [1, 2, 3, 9, 100, 1_000] {
        let mut world = World::new(count);
        broadcast(&mut world, count / 2);
        world.check(0..count, "nobody is dead");
        assert_eq!(world.delegations, count as usize - 1);
        assert!(world.depth() <= 10, "{}", world.depth());
        assert!(world.cores.iter().all(|core| !core.is_busy()));
    }
}

#[test]
fn all_survivors_are_told_although_rows_and_successors_are_stale() {
    for (percent, delegations) in [(1, 1_030), (5, 1_100), (20, 1_500)] {
        for seed in 0..5 {
            let mut world = World::new(1_000);
            world.kill(seed, percent, 17);
            broadcast(&mut world, 17);
            world.check(0..1_000, &std::format!("{percent} % dead, seed {seed}"));
            let live = 1_000 - world.dead.len();
            let most = delegations * live / 1_000 + 5;
            assert!(world.delegations <= most, "{} for {live}, seed {seed}", world.delegations);
        }
    }
}

#[test]
fn what_gets_lost_is_given_again() {
    let mut world = World::new(200);
    world.lose = 30;
    broadcast(&mut world, 3);
    world.check(0..200, "30 delegations get lost");
}

#[test]
fn a_part_of_the_ring_is_told_and_nobody_else() {
    // From between two nodes to between two others: who owns the ends belongs to it.
    for (lo, hi, expected) in [(10, 20, 10..21), (10, 400, 10..401), (10, 10, 10..11)] {
        for is_stale in [false, true] {
            let mut world = World::new(500);
            if is_stale {
                world.kill(u64::from(hi), 5, lo);
            }
            let id = position(499).id;
            world.dead.remove(&499);
            let key = |node: u32| Position::of_key(position(node).key);
            let begin = (&contact(lo), &key(lo), &key(hi));
            world.with(499, |core, call, out| core.begin_at(call, id, begin, content(), out)).expect("room");
            world.run();
            // If the owner of the end is dead, the next one has become it.
            let owner = (hi..).find(|node| !world.dead.contains(node)).expect("somebody lives");
            world.check(expected.clone().chain([owner]), "part of the ring");
            assert_eq!((world.begun, world.not_begun), (1, 0));
            let told: Vec<u32> = world.delivered.keys().copied().collect();
            assert!(told.iter().all(|node| (lo..=owner).contains(node)), "{told:?}");
        }
    }
}

#[test]
fn who_tells_a_part_in_which_it_stands_is_told_as_well_and_each_hears_the_same_words_once() {
    let mut world = World::new(50);
    let key = |node: u32| Position::of_key(position(node).key);
    let id = position(12).id;
    for (lo, hi) in [(10, 15), (12, 12), (14, 20)] {
        let begin = (&contact(lo), &key(lo), &key(hi));
        world.with(12, |core, call, out| core.begin_at(call, id, begin, content(), out)).expect("room");
        world.run();
    }
    world.check(10..21, "three parts");
    assert_eq!((world.begun, world.not_begun), (3, 0));
    assert_eq!(world.cores[12].known.len(), 1, "under one name");
}

#[test]
fn whoever_asked_hears_that_nobody_began() {
    let mut world = World::new(20);
    world.dead = [10].into();
    let key = |node: u32| Position::of_key(position(node).key);
    let id = position(1).id;
    let begin = (&contact(10), &key(10), &key(12));
    world.with(1, |core, call, out| core.begin_at(call, id, begin, content(), out)).expect("room");
    world.run();
    assert_eq!((world.not_begun, world.delivered.len()), (1, 0));
}

#[test]
fn wrong_messages_change_nothing() {
    let mut world = World::new(50);
    let ok = BroadcastId::new(position(1).id, &content());
    let forbidden = BroadcastId::new(NodeId::from_bytes([0; 16]), &content());
    let other = BroadcastId { number: ok.number ^ 1, ..ok };
    let delegate = |id, depth| Message::Delegate {
        id,
        seq: 1,
        extent: Some(Extent::all_but(&position(1))),
        content: content(),
        depth,
        is_wide: true,
    };
    let cases = [
        (delegate(forbidden, 1), Fault::Forbidden),
        (delegate(other, 1), Fault::OtherContent),
        (delegate(ok, DEPTH_MAX + 1), Fault::TooDeep),
        (Message::Accept { id: ok, seq: 1, is_wide: true }, Fault::Unasked),
    ];
    for (message, fault) in cases {
        let result =
            world.with(1, |core, call, out| core.handle_message(call, Handle::from_u32(2), message, out));
        assert_eq!(result, Err(fault));
        assert!(world.queue.is_empty() && world.delivered.is_empty() && world.cores[1].known.is_empty());
    }
}

#[test]
fn what_is_remembered_has_a_limit_and_an_end() {
    let mut world = World::new(2);
    for number in 0..2 * REMEMBERED_MAX {
        tell(&mut world, 0, numbered(number));
    }
    assert_eq!(world.cores.iter().map(|core| core.known.len()).collect::<Vec<_>>(), vec![REMEMBERED_MAX; 2]);
    world.now += world.config.memory;
    world.with(1, |core, call, out| core.handle_timeout(call, out));
    assert!(world.cores[1].known.is_empty() && world.cores[1].next_timeout(&world.config).is_never());
    world.dead = [1].into();
    let id = position(0).id;
    for number in 0..REMEMBERED_MAX {
        let content = numbered(1_000 + number);
        world.with(0, |core, call, out| core.begin(call, id, content, out)).expect("room");
    }
    let refused = world.with(0, |core, call, out| core.begin(call, id, content(), out));
    assert_eq!(refused, Err(BeginError::Full));
}

#[test]
fn the_same_words_of_one_origin_are_told_once() {
    let mut world = World::new(20);
    broadcast(&mut world, 3);
    let sent = world.delegations;
    broadcast(&mut world, 3);
    assert_eq!(world.delegations, sent, "nothing more is sent");
}
