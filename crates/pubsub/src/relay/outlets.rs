//! Topics that this server's clients publish to, and the servers that want them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Duration, Instant, NodeId};

use super::dealing::Groups;
use super::overdue::Overdue;
use super::{
    Body, DIRECT_MAX, FRAME_MAX_BYTES, Failure, Interest, Item, Origin, Relay, Server, Space, Timer, Turn,
    Waiter, What,
};
use crate::Pattern;

/// Topics that a server publishes to at one time; of more the one that was used longest ago goes, unless
/// events wait for it. When they do for all, events to others are let go. Our guess: as many items as one
/// writer may have on a node of the ring.
pub const TOPICS_MAX: usize = 4_096;
/// An item that says that this server publishes lives so long.
pub const HOLD: Duration = Duration::from_secs(30);
/// A list is used so long after its making began: the item lives longer than that.
const USABLE: Duration = Duration::from_secs(25);
/// It is made anew when it is used after so long.
const FRESH: Duration = Duration::from_secs(10);
/// After a failure (our guess).
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of events that wait for one topic's first list; beyond it the oldest are let go. Our guess: some
/// thousand small events, or one of the longest.
pub(super) const WAITING_MAX_BYTES: usize = 2 << 20;
/// Events that wait for a list longer than this are let go.
const WAITING_MAX: Duration = Duration::from_secs(60);

/// One topic, or several, that clients of this server publish to.
#[derive(Debug)]
pub(super) struct Outlet {
    /// In their order, without this server.
    servers: Arc<[Server]>,
    /// Those that have members of groups, without this server.
    groups: Arc<Groups>,
    /// Where the next batch stands among all of this topic.
    turn: Turn,
    /// When the making of that list began.
    begun: Option<Instant>,
    cycle: Option<Cycle>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    waiting_lost: u64,
    /// Since when the first of them waits, or the last ones did.
    waiting_since: Instant,
    overdue: Overdue,
    used: Instant,
    /// No list is begun before: the last one has failed.
    pausing_until: Instant,
}

/// Events that wait for a list, so many, and the groups that had them before: of this server alone.
#[derive(Debug)]
struct Waiting {
    events: Bytes,
    count: u32,
    had: Vec<Arc<Interest>>,
}

/// A list in the making.
#[derive(Debug)]
struct Cycle {
    number: u64,
    begun: Instant,
    /// Places that were not read yet; none while the server's own item is written.
    left: Option<usize>,
    found: BTreeMap<NodeId, Server>,
    groups: BTreeMap<Arc<Interest>, BTreeMap<NodeId, Server>>,
    has_failed: bool,
}

impl Outlet {
    fn is_usable(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now < begun + USABLE)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now < begun + FRESH)
    }

    /// One more server wants this. What it has a claim to besides, if it is new.
    pub(super) fn add(&mut self, now: Instant, wanted: &Arc<Interest>, server: Server) -> Vec<Body> {
        if wanted.group.is_some() {
            let servers = Arc::make_mut(&mut self.groups).entry(wanted.clone()).or_default();
            match servers.binary_search_by_key(&server.id, |known| known.id) {
                Ok(at) => servers[at] = server,
                Err(at) => servers.insert(at, server),
            }
            return Vec::new();
        }
        let mut servers = self.servers.to_vec();
        let found = servers.binary_search_by_key(&server.id, |known| known.id);
        let before = match found {
            Ok(at) => Some(core::mem::replace(&mut servers[at], server)),
            Err(at) => {
                servers.insert(at, server);
                None
            }
        };
        self.servers = servers.into();
        if before.is_none_or(|before| before.incarnation < server.incarnation) {
            self.turn.since = self.turn.number;
        }
        // Who started anew has subscribed anew, too.
        if before.is_some() { Vec::new() } else { self.overdue.of_newcomer(now) }
    }

    fn wait(&mut self, now: Instant, events: Bytes, count: u32, had: Vec<Arc<Interest>>) -> u64 {
        let mut lost = 0;
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        self.waiting_bytes += events.len();
        self.waiting.push_back(Waiting { events, count, had });
        while self.waiting_bytes > WAITING_MAX_BYTES && self.waiting.len() > 1 {
            let Some(Waiting { events, count, .. }) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= events.len();
            lost += u64::from(count);
        }
        self.waiting_lost += lost;
        lost
    }
}

impl Relay {
    /// Whether anybody elsewhere may want what is published to this.
    pub fn is_wanted(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) -> bool {
        let Some(outlet) = self.outlets.get_mut(topic) else { return true };
        if !outlet.is_usable(now) || !outlet.servers.is_empty() || !outlet.groups.is_empty() {
            return true;
        }
        // What groups of this server get goes by the list, too; and who comes late may have a claim to it.
        if outlet.overdue.is_open(now) || self.groups.iter().any(|group| group.pattern.overlaps(topic)) {
            return true;
        }
        self.use_outlet(now, topic);
        false
    }

    /// Something may be published to this at any moment, and is not to wait for a list then.
    pub fn keep_ready(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) {
        if self.make_outlet(now, topic) {
            self.use_outlet(now, topic);
        }
    }

    /// These events were published here, so many, of one topic.
    pub fn publish(&mut self, now: Instant, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32) {
        if events.len() + 64 > FRAME_MAX_BYTES || !self.make_outlet(now, topic) {
            self.lost += u64::from(count);
            return;
        }
        self.use_outlet(now, topic);
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        if outlet.is_usable(now) {
            let servers = outlet.servers.clone();
            self.send_events(now, topic, &servers, (events, count), &[]);
        } else {
            // Members here do not wait for the ring.
            let had = self.groups_here(topic);
            if !had.is_empty() {
                self.deal(topic, &Groups::new(), &[], events);
            }
            if let Some(outlet) = self.outlets.get_mut(topic) {
                self.lost += outlet.wait(now, events.clone(), count, had);
            }
        }
    }

    /// Whether there is one now.
    fn make_outlet(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) -> bool {
        if self.outlets.contains_key(topic) {
            return true;
        }
        if self.outlets.len() >= TOPICS_MAX {
            let idle = self.outlets.iter().filter(|(_, outlet)| outlet.waiting.is_empty());
            let Some((oldest, _)) = idle.min_by_key(|(_, outlet)| outlet.used) else { return false };
            let oldest = oldest.clone();
            self.timers.clear(&Timer::Outlet(oldest.clone()));
            self.outlets.remove(&oldest);
        }
        self.lines += 1;
        let outlet = Outlet {
            servers: [].into(),
            groups: Arc::default(),
            turn: Turn { line: self.lines, number: 0, since: 0 },
            begun: None,
            cycle: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_lost: 0,
            waiting_since: now,
            overdue: Overdue::default(),
            used: now,
            pausing_until: now,
        };
        self.outlets.insert(topic.clone(), outlet);
        self.timers.set(Timer::Outlet(topic.clone()), now + HOLD);
        true
    }

    /// Makes a list unless there is a new one.
    fn use_outlet(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) {
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        outlet.used = now;
        if outlet.is_fresh(now) || outlet.cycle.is_some() || now < outlet.pausing_until {
            return;
        }
        self.cycles += 1;
        let number = self.cycles;
        let (found, groups) = (BTreeMap::new(), BTreeMap::new());
        let cycle = Cycle { number, begun: now, left: None, found, groups, has_failed: false };
        outlet.cycle = Some(cycle);
        let waiter = Waiter::Outlet(topic.clone(), number);
        let item = Arc::new((**topic).clone().into());
        self.ops.add(What::Put(Space::Publishers, item), Some(waiter));
    }

    pub(super) fn outlet_done(
        &mut self,
        now: Instant,
        topic: &Arc<Pattern<'static>>,
        number: u64,
        done: &Result<Vec<Item>, Failure>,
    ) {
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        let Some(cycle) = outlet.cycle.as_mut().filter(|cycle| cycle.number == number) else { return };
        let Some(left) = &mut cycle.left else {
            if *done == Err(Failure::Unanswered) {
                // Who subscribes now would not see that this server publishes.
                cycle.has_failed = true;
                return self.end_cycle(now, topic);
            }
            // Where the item cannot be written the list is made all the same: new subscribers then come with
            // the next one.
            let sections = super::sections(topic);
            cycle.left = Some(sections.len());
            for section in sections {
                let waiter = Waiter::Outlet(topic.clone(), number);
                self.ops.add(What::Scan(Space::Subscribers, section), Some(waiter));
            }
            return;
        };
        *left -= 1;
        cycle.has_failed |= done.is_err();
        for (interest, server) in done.iter().flatten().filter_map(Item::read) {
            if server.id == self.own.id || !interest.pattern.overlaps(topic) {
                continue;
            }
            let found = match interest.group {
                None => &mut cycle.found,
                Some(_) => cycle.groups.entry(Arc::new(interest)).or_default(),
            };
            found.insert(server.id, server);
        }
        if *left == 0 {
            self.end_cycle(now, topic);
        }
    }

    fn end_cycle(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) {
        let told: Vec<(Arc<Interest>, Server)> = self.told_of(now, topic).collect();
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        let Some(cycle) = outlet.cycle.take() else { return };
        if cycle.has_failed {
            outlet.pausing_until = now + PAUSE;
            self.timers.set(Timer::Outlet(topic.clone()), now + PAUSE);
            return;
        }
        let (mut found, mut groups) = (cycle.found, cycle.groups);
        for (wanted, server) in told {
            let found = if wanted.group.is_none() { &mut found } else { groups.entry(wanted).or_default() };
            // It may have started anew since it was read.
            let known = found.entry(server.id).or_insert(server);
            if known.incarnation < server.incarnation {
                *known = server;
            }
        }
        let before = |server: &&Server| {
            let at = outlet.servers.binary_search_by_key(&server.id, |known| known.id);
            at.ok().map(|at| outlet.servers[at].incarnation)
        };
        if found.values().any(|server| before(&server) != Some(server.incarnation)) {
            outlet.turn.since = outlet.turn.number;
        }
        let new: Vec<Server> = found.values().filter(|server| before(server).is_none()).copied().collect();
        let overdue = if new.is_empty() { Vec::new() } else { outlet.overdue.of_newcomer(now) };
        outlet.servers = found.into_values().collect();
        let listed =
            |(group, servers): (_, BTreeMap<NodeId, Server>)| (group, servers.into_values().collect());
        outlet.groups = Arc::new(groups.into_iter().map(listed).collect());
        outlet.begun = Some(cycle.begun);
        let servers = outlet.servers.clone();
        let (waiting, lost) =
            (core::mem::take(&mut outlet.waiting), core::mem::take(&mut outlet.waiting_lost));
        outlet.waiting_bytes = 0;
        if !waiting.is_empty() {
            outlet.overdue.begin(now, outlet.waiting_since);
        }
        for body in overdue {
            self.spread(&new, DIRECT_MAX, &body, None);
        }
        for Waiting { events, count, had } in waiting {
            self.send_events(now, topic, &servers, (&events, count), &had);
        }
        if lost > 0 {
            for server in servers.iter() {
                if let Some(link) = self.links.get_mut(&server.id) {
                    link.lose(topic, lost);
                }
            }
        }
    }

    /// Goes on after a failure, or ends what nobody publishes to any more.
    pub(super) fn look_after_outlet(&mut self, now: Instant, topic: &Arc<Pattern<'static>>) {
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        outlet.overdue.look_after(now);
        if now >= outlet.used + WAITING_MAX && !outlet.waiting.is_empty() {
            self.lost += outlet.waiting.drain(..).map(|it| u64::from(it.count)).sum::<u64>();
            outlet.waiting_bytes = 0;
        }
        if outlet.waiting.is_empty() && now >= outlet.used + HOLD {
            self.outlets.remove(topic);
            return;
        }
        self.timers.set(Timer::Outlet(topic.clone()), now + HOLD);
        if !outlet.waiting.is_empty() {
            let used = outlet.used;
            self.use_outlet(now, topic);
            if let Some(outlet) = self.outlets.get_mut(topic) {
                outlet.used = used;
            }
        }
    }

    /// A name for a batch that nobody else can know before.
    pub(super) fn next_origin(&mut self) -> Origin {
        self.batches += 1;
        let name = blake3::keyed_hash(&self.key, &self.batches.to_le_bytes());
        let batch = u64::from_le_bytes(name.as_bytes().first_chunk().copied().unwrap_or_default());
        let Server { id, incarnation, .. } = self.own;
        Origin { id, incarnation, batch }
    }

    fn send_events(
        &mut self,
        now: Instant,
        topic: &Arc<Pattern<'static>>,
        servers: &[Server],
        (events, count): (&Bytes, u32),
        had: &[Arc<Interest>],
    ) {
        let origin = self.next_origin();
        let Some(outlet) = self.outlets.get_mut(topic) else { return };
        let groups = outlet.groups.clone();
        let turn = outlet.turn;
        outlet.turn.number += 1;
        let (topic, events) = (topic.clone(), events.clone());
        let body = Body::Events { origin, turn, part: 0, topic, count, events };
        outlet.overdue.note(now, &body);
        if let Body::Events { topic, events, .. } = &body {
            self.deal(topic, &groups, had, events);
        }
        self.spread(servers, DIRECT_MAX, &body, None);
    }
}
