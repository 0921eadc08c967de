//! Members of a farm with programs that work, die, fail and kill, on a network that loses, splits and heals;
//! and a ring that keeps items, on each side of a partition for itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sink};

use super::super::task::{Body, Why};
use super::super::{Config, Event, Farm, Item, Message, Outcome, Role, Shelf, Stored, TaskId};

/// How long the ranks need to notice a death.
const NOTICE: Duration = Duration::from_secs(3);
/// When a dead member's place is filled again.
const REPLACED: Duration = Duration::from_secs(10);
/// The ring's answer takes so long, one way.
const RING: Duration = Duration::from_millis(150);

pub(super) fn task(number: u32) -> TaskId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    TaskId(id)
}

fn number(task: TaskId) -> u32 {
    u32::from_be_bytes([task.0[0], task.0[1], task.0[2], task.0[3]])
}

/// Always fails.
pub(super) fn is_poison(number: u32) -> bool {
    number % 20 == 7
}

/// Kills its worker, where there are such.
pub(super) fn is_killer(number: u32) -> bool {
    number % 20 == 13
}

enum What {
    Wake(u32),
    Message {
        from: u32,
        to: u32,
        message: Message,
    },
    /// At the ring.
    Put {
        from: u32,
        item: Item,
    },
    Load {
        from: u32,
    },
    Stored {
        to: u32,
        task: TaskId,
        stored: Stored,
    },
    Loaded {
        to: u32,
        items: Vec<Item>,
    },
    Finish {
        who: u32,
        task: TaskId,
    },
    Look,
    Kill(u32),
    KillAny,
    KillFarmer,
    Replace(usize),
    Split,
    Heal,
}

struct Node {
    farm: Farm,
    side: usize,
    is_alive: bool,
    died: Instant,
}

#[derive(Default)]
struct Out {
    sent: Vec<(Handle, Message)>,
    told: Vec<Event>,
    put: Vec<Item>,
    loads: u32,
}

impl Sink<Message> for Out {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for Out {
    fn event(&mut self, event: Event) {
        self.told.push(event);
    }
}

impl Shelf for Out {
    fn put(&mut self, item: &Item) {
        self.put.push(item.clone());
    }
    fn load(&mut self) {
        self.loads += 1;
    }
    fn load_anew(&mut self) {
        self.loads += 1;
    }
    fn remove(&mut self, _: TaskId) {}
}

pub(super) struct World {
    pub(super) config: Config,
    pub(super) tasks: u32,
    pub(super) has_killers: bool,
    /// How often a worker was told that what it reported is kept.
    pub(super) kept: u32,
    /// Everyone that was ready as farmer.
    pub(super) farmers: BTreeSet<u32>,
    /// By handle; a replacement is a new one.
    nodes: Vec<Node>,
    /// Who has a place, by rank.
    places: Vec<u32>,
    /// What lies on the ring: of each side, or of all.
    rings: [BTreeMap<TaskId, Item>; 2],
    is_split: bool,
    queue: BTreeMap<(Instant, u64), What>,
    next: u64,
    now: Instant,
    rng: Rng,
}

impl World {
    pub(super) fn new(seed: u64, members: u32, tasks: u32) -> World {
        let mut world = World {
            config: Config::default(),
            tasks,
            has_killers: false,
            kept: 0,
            farmers: BTreeSet::new(),
            nodes: Vec::new(),
            places: Vec::new(),
            rings: Default::default(),
            is_split: false,
            queue: BTreeMap::new(),
            next: 0,
            now: Instant::ZERO,
            rng: Rng::new(seed),
        };
        (0..members).for_each(|place| world.place(place as usize));
        world.at(Instant::ZERO, What::Look);
        world
    }

    pub(super) fn kill_every(&mut self, period: Duration, until: Duration) {
        let mut at = Instant::ZERO + period;
        while at < Instant::ZERO + until {
            self.at(at, What::KillAny);
            at += period;
        }
    }

    pub(super) fn kill_farmer_at(&mut self, at: Instant) {
        self.at(at, What::KillFarmer);
    }

    pub(super) fn split_between(&mut self, start: Instant, end: Instant) {
        self.at(start, What::Split);
        self.at(end, What::Heal);
    }

    /// What lies on the ring, which is whole in the end.
    pub(super) fn item(&self, task: TaskId) -> Option<Item> {
        self.rings[0].get(&task).cloned()
    }

    pub(super) fn duplicates(&self) -> u32 {
        self.nodes.iter().map(|node| node.farm.farmer().progress(self.now).duplicates).sum()
    }

    pub(super) fn run(&mut self, end: Instant) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((now, _), what) = entry.remove_entry();
            self.now = now;
            self.happen(what);
        }
    }

    fn at(&mut self, at: Instant, what: What) {
        self.queue.insert((at, self.next), what);
        self.next += 1;
    }

    /// Somebody new in a place.
    fn place(&mut self, place: usize) {
        let handle = self.nodes.len() as u32;
        let side = usize::from(self.is_split && place % 2 == 1);
        let farm = Farm::new(Handle::from_u32(handle), Rng::derive(self.rng.next_u64(), 0, "farm"));
        self.nodes.push(Node { farm, side, is_alive: true, died: Instant::FAR });
        if place == self.places.len() {
            self.places.push(handle);
        } else {
            self.places[place] = handle;
        }
    }

    fn reaches(&self, from: u32, to: u32) -> bool {
        let (from, to) = (&self.nodes[from as usize], &self.nodes[to as usize]);
        to.is_alive && (!self.is_split || from.side == to.side)
    }

    fn ring(&mut self, of: u32) -> &mut BTreeMap<TaskId, Item> {
        let side = if self.is_split { self.nodes[of as usize].side } else { 0 };
        &mut self.rings[side]
    }

    fn is_lost(&mut self) -> bool {
        self.rng.chance(1, 20)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wake(who) => {
                let is_due = self.nodes[who as usize].farm.next_timeout(&self.config).at <= self.now;
                if is_due {
                    self.call(who, |farm, call, out| farm.handle_timeout(call, out));
                }
            }
            What::Message { from, to, message } => {
                if self.reaches(from, to) {
                    if let Message::Kept { task, .. } = message {
                        let item = self.ring(to).get(&task);
                        let is_stored = item.is_some_and(|item| item.stamp().version > 0);
                        assert!(is_stored, "{task:?}: a worker may forget what is not on the ring");
                        self.kept += 1;
                    }
                    // Late answers are faults by design.
                    self.call(to, |farm, call, out| {
                        let _ = farm.handle_message(call, Handle::from_u32(from), message, out);
                    });
                }
            }
            What::Put { from, item } => {
                let task = item.task;
                let kept = Stored::Kept(item.stamp());
                let lying = self.ring(from).entry(task).or_insert_with(|| item.clone());
                let stored = if lying.stamp() > item.stamp() {
                    Stored::Lost(lying.clone())
                } else {
                    *lying = item;
                    kept
                };
                if !self.is_lost() {
                    self.at(self.now + RING, What::Stored { to: from, task, stored });
                }
            }
            What::Load { from } => {
                let items = self.ring(from).values().cloned().collect();
                self.at(self.now + RING, What::Loaded { to: from, items });
            }
            What::Stored { to, task, stored } => {
                self.call(to, |farm, call, out| farm.handle_stored(call, task, stored, out));
            }
            What::Loaded { to, items } => {
                self.call(to, |farm, call, out| farm.handle_loaded(call, items, out));
            }
            What::Finish { who, task } => {
                let outcome = if is_poison(number(task)) {
                    Outcome::Failed(Why::new("always"))
                } else {
                    Outcome::Done(Body::new(&who.to_be_bytes()).expect("four bytes"))
                };
                self.call(who, |farm, call, out| {
                    // Stopped in the meantime, perhaps.
                    let _ = farm.finish(call, task, outcome, out);
                });
            }
            What::Look => {
                self.look();
                self.at(self.now + Duration::from_secs(1), What::Look);
            }
            What::Kill(who) => self.kill(who),
            What::KillAny => {
                let place = self.rng.below(self.places.len() as u32);
                self.kill(self.places[place as usize]);
            }
            What::KillFarmer => {
                let farmer = (0..self.nodes.len())
                    .find(|who| self.nodes[*who].is_alive && self.nodes[*who].farm.farmer().is_ready());
                self.kill(farmer.unwrap_or(0) as u32);
            }
            What::Replace(place) => self.place(place),
            What::Split => {
                self.is_split = true;
                for (place, who) in self.places.iter().enumerate() {
                    self.nodes[*who as usize].side = place % 2;
                }
                self.rings[1] = self.rings[0].clone();
            }
            What::Heal => {
                self.is_split = false;
                for (task, item) in core::mem::take(&mut self.rings[1]) {
                    let lying = self.rings[0].entry(task).or_insert_with(|| item.clone());
                    if item.stamp() > lying.stamp() {
                        *lying = item;
                    }
                }
            }
        }
    }

    fn kill(&mut self, who: u32) {
        let node = &mut self.nodes[who as usize];
        if node.is_alive {
            (node.is_alive, node.died) = (false, self.now);
            if let Some(place) = self.places.iter().position(|holder| *holder == who) {
                self.at(self.now + REPLACED, What::Replace(place));
            }
        }
    }

    /// Everyone learns who the farmer is: the first of its side that is not known to be dead.
    fn look(&mut self) {
        let places = self.places.clone();
        for who in places.iter().copied() {
            let side = self.nodes[who as usize].side;
            let is_seen = |other: &&u32| {
                let node = &self.nodes[**other as usize];
                self.now < node.died + NOTICE && (!self.is_split || node.side == side)
            };
            let farmer = places.iter().find(is_seen).copied();
            let role = match farmer {
                None => Role::Unknown,
                Some(farmer) if farmer == who => Role::Farmer,
                Some(farmer) => Role::WorkerOf(Handle::from_u32(farmer)),
            };
            self.call(who, |farm, call, out| farm.handle_role(call, role, out));
        }
    }

    fn call(&mut self, who: u32, f: impl FnOnce(&mut Farm, Call<'_, Config>, &mut Out)) {
        let mut queue = vec![];
        let mut out = Out::default();
        {
            let node = &mut self.nodes[who as usize];
            if !node.is_alive {
                return;
            }
            f(&mut node.farm, Call::new(&self.config, self.now), &mut out);
            // The application adds all its tasks to every farmer that comes.
            if out.told.contains(&Event::Ready) {
                self.farmers.insert(who);
                for number in 0..self.tasks {
                    let call = Call::new(&self.config, self.now);
                    node.farm
                        .add(call, task(number), &number.to_be_bytes(), &mut out)
                        .expect("there is room");
                }
            }
            queue.push((node.farm.next_timeout(&self.config).at.max(self.now), What::Wake(who)));
        }
        for (to, message) in out.sent {
            let is_own = to.as_u32() == who;
            if is_own || !self.is_lost() {
                let span = Duration::from_millis(self.rng.between(5, 165));
                queue.push((self.now + span, What::Message { from: who, to: to.as_u32(), message }));
            }
        }
        for item in out.put {
            queue.push((self.now + RING, What::Put { from: who, item }));
        }
        for _ in 0..out.loads {
            queue.push((self.now + RING, What::Load { from: who }));
        }
        for event in out.told {
            if let Event::Start { task, .. } = event {
                let at = self.now + Duration::from_millis(self.rng.between(500, 20_000));
                let kills = self.has_killers && is_killer(number(task));
                queue.push((at, if kills { What::Kill(who) } else { What::Finish { who, task } }));
            }
        }
        queue.into_iter().filter(|(at, _)| *at < Instant::FAR).for_each(|(at, what)| self.at(at, what));
    }
}
