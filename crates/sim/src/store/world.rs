//! A world of owners and writers, and the one who remembers all that was promised.

use std::collections::BTreeMap;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_overlay::store::{
    Action, Event, Failed, Found, Operation, RequestId, Success, Value, Version, Winner,
};
use xtreem_overlay::{Key, Namespace};

use super::node::{Common, Node};
use crate::arena::{Arena, successor};
use crate::link::{Latency, Link};

pub(super) const DEGREE: u8 = 2;
const LEASE: Duration = Duration::from_secs(3_600);

/// What was asked for and not answered yet.
struct Asked {
    key: Key,
    value: Option<Value>,
    /// When it began nothing older was acknowledged.
    floor: Option<Version>,
}

pub(super) struct World {
    pub(super) arena: Arena<Node>,
    pub(super) fate: Rng,
    nodes: u32,
    asked: BTreeMap<(Handle, RequestId), Asked>,
    /// Of each key the newest that was acknowledged.
    acknowledged: BTreeMap<Key, (Version, Value)>,
    /// What each version of each key was seen to be.
    seen: BTreeMap<(Key, Version), Value>,
    pub(super) written: usize,
    pub(super) read: usize,
    pub(super) failed: usize,
    pub(super) lost: Vec<(Version, Winner)>,
    pub(super) results: Vec<Success>,
    /// What went wrong, in words.
    pub(super) wrong: Vec<String>,
    /// On two sides of a split what is read may be older.
    pub(super) is_split: bool,
}

impl World {
    pub(super) fn new(nodes: u32, seed: u64) -> World {
        let common = Common::new(seed);
        let link = Link::new(seed, Latency::WORLD, 0);
        let mut arena: Arena<Node> = Arena::new(common, link, nodes as usize);
        for slot in 0..nodes {
            let handle = Handle::from_u32(slot);
            let node = Node::new(&arena.config, handle, Instant::ZERO);
            arena.add(handle, node);
        }
        let mut world = World {
            arena,
            fate: Rng::derive(seed, 0, "fate"),
            nodes,
            asked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            seen: BTreeMap::new(),
            written: 0,
            read: 0,
            failed: 0,
            lost: Vec::new(),
            results: Vec::new(),
            wrong: Vec::new(),
            is_split: false,
        };
        world.arena.with(0, |node, call, out| node.found(call, out));
        for slot in 1..nodes {
            let introducer = Handle::from_u32(slot / 2);
            world.arena.with(slot, |node, call, out| node.join(call, introducer, out));
            world.pass(2_500);
        }
        for _ in 0..120 {
            if world.living().into_iter().all(|slot| world.is_open(slot)) {
                break;
            }
            world.pass(1_000);
        }
        assert!(world.living().into_iter().all(|slot| world.is_open(slot)), "a ring of all, seed {seed}");
        world
    }

    pub(super) fn is_open(&self, slot: u32) -> bool {
        let node = self.arena.member(slot);
        node.ring.is_owner(self.arena.now()) && node.store.is_open()
    }

    pub(super) fn living(&self) -> Vec<u32> {
        (0..self.nodes).filter(|&slot| self.arena.handle(slot) != Handle::NONE).collect()
    }

    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.arena.now() + Duration::from_millis(millis);
        self.arena.run_until(end);
        self.count();
        self.look_for_two_owners();
    }

    /// That would be the ring's fault, and everything else follows from it.
    fn look_for_two_owners(&mut self) {
        let now = self.arena.now();
        let mut owned = Vec::new();
        for slot in self.living() {
            if let Some(lease) = self.arena.member(slot).ring.lease().filter(|it| it.is_valid(now)) {
                owned.push((slot, lease.range().clone(), lease.epoch()));
            }
        }
        let others = |at: usize| owned[at + 1..].iter();
        let first = (0..owned.len()).find_map(|at| {
            let other = others(at).find(|other| other.1.overlaps(&owned[at].1))?;
            Some(format!("{now:?}: two owners: {:?} {other:?}", owned[at]))
        });
        self.wrong.extend(first.filter(|_| !self.is_split));
    }

    pub(super) fn key(number: u32) -> Key {
        Key::new(Namespace::USER, &number.wrapping_mul(0x9e37_79b9).to_be_bytes()).expect("short")
    }

    fn writer(&mut self) -> Option<u32> {
        let living = self.living();
        let slot = *self.fate.pick(&living)?;
        (self.arena.member(slot).paused_until <= self.arena.now()).then_some(slot)
    }

    /// Somebody writes a key of its own.
    pub(super) fn put(&mut self, keys: u32) {
        let Some(slot) = self.writer() else { return };
        // Each writer has keys of its own, so that nobody is refused.
        let number = slot + self.nodes * self.fate.below(keys.div_ceil(self.nodes));
        let handle = self.arena.handle(slot);
        let key = Key::new(
            Namespace::USER,
            &[&World::key(number).as_bytes()[1..], &handle.as_u32().to_be_bytes()].concat(),
        );
        let key = key.expect("short");
        let value = Value::new(&self.fate.next_u64().to_be_bytes()).expect("short");
        let action =
            Action::Write { value: Some(value.clone()), degree: DEGREE, lease: LEASE, expected: None };
        self.ask(slot, key, action, Some(value));
    }

    /// Somebody reads what somebody has written.
    pub(super) fn get(&mut self) {
        let keys: Vec<Key> = self.acknowledged.keys().cloned().collect();
        let Some(key) = self.fate.pick(&keys).cloned() else { return };
        if let Some(slot) = self.writer() {
            self.ask(slot, key, Action::Get, None);
        }
    }

    pub(super) fn ask(&mut self, slot: u32, key: Key, action: Action, value: Option<Value>) {
        let floor = self.acknowledged.get(&key).map(|(version, _)| *version);
        let operation = Operation { key: key.clone(), action };
        let begun = self.arena.with(slot, |node, call, out| node.begin(call, operation, out));
        if let Some(request) = begun {
            self.asked.insert((self.arena.handle(slot), request), Asked { key, value, floor });
        }
    }

    fn note(&mut self, key: &Key, version: Version, value: &Value) {
        let at = self.arena.now();
        let seen = self.seen.entry((key.clone(), version)).or_insert_with(|| value.clone());
        if seen != value && !self.is_split {
            self.wrong.push(format!("{at:?}: {key:?} at {version:?} was {seen:?} and is {value:?}"));
        }
    }

    fn count(&mut self) {
        for (at, who, event) in self.arena.take_events() {
            let (request, result) = match event {
                Event::Done { request, result } => (request, result),
                Event::Lost { version, winner } => {
                    self.lost.push((version, winner));
                    continue;
                }
            };
            let Some(Asked { key, value, floor }) = self.asked.remove(&(who, request)) else {
                self.results.extend(result);
                continue;
            };
            match result {
                Ok(Success::Written { version, .. }) => {
                    self.written += 1;
                    let Some(value) = value else { continue };
                    self.note(&key, version, &value);
                    let newest = self.acknowledged.entry(key).or_insert((version, value.clone()));
                    if newest.0 < version {
                        *newest = (version, value);
                    }
                }
                Ok(Success::Got { found, .. }) => {
                    self.read += 1;
                    self.compare(at, &key, found, floor);
                }
                Ok(other) => self.results.push(other),
                Err(Failed::Refused(why)) => self.wrong.push(format!("{at:?}: {key:?} refused: {why}")),
                Err(_) => self.failed += 1,
            }
        }
    }

    fn compare(&mut self, at: Instant, key: &Key, found: Option<Found>, floor: Option<Version>) {
        match found {
            Some(found) => {
                self.note(key, found.version, &found.value);
                if Some(found.version) < floor && !self.is_split {
                    self.wrong.push(format!("{at:?}: {key:?} was {floor:?} and is {:?}", found.version));
                }
            }
            None if floor.is_some() && !self.is_split => {
                self.wrong.push(format!("{at:?}: {key:?} was {floor:?} and is gone"));
            }
            None => {}
        }
    }

    /// One death, and in a while a newcomer in its place.
    pub(super) fn kill(&mut self, slot: u32) {
        self.arena.kill(slot);
    }

    pub(super) fn replace(&mut self, slot: u32) {
        let living = self.living();
        let Some(&introducer) = self.fate.pick(&living) else { return };
        let introducer = self.arena.handle(introducer);
        let last = self.arena.member(slot).handle();
        let handle = successor(last);
        let newcomer = Node::new(&self.arena.config, handle, self.arena.now());
        self.arena.replace(handle, newcomer, |node, call, out| node.join(call, introducer, out));
    }

    /// So many that stand next to each other.
    pub(super) fn adjacent(&mut self, count: usize) -> Vec<u32> {
        let mut standing: Vec<u32> = self.living();
        standing.retain(|slot| self.arena.member(*slot).ring.position().is_some());
        standing.sort_by_key(|slot| self.arena.member(*slot).ring.position().cloned());
        let first = self.fate.below(standing.len() as u32) as usize;
        (0..count).map(|step| standing[(first + step) % standing.len()]).collect()
    }

    /// Reads everything that was ever acknowledged.
    pub(super) fn read_all(&mut self) {
        let keys: Vec<Key> = self.acknowledged.keys().cloned().collect();
        let before = self.read;
        for (nth, key) in keys.iter().enumerate() {
            let living = self.living();
            let slot = living[nth % living.len()];
            self.ask(slot, key.clone(), Action::Get, None);
            if nth % 20 == 19 {
                self.pass(500);
            }
        }
        self.pass(25_000);
        if self.read - before < keys.len() {
            self.wrong.push(format!("{} of {} keys could be read", self.read - before, keys.len()));
        }
    }
}
