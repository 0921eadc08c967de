//! The k-d prefix trie: links that lead into every region of the space of attributes, kept by gossip.
//!
//! Sources: the semantic clusters of D3.2.1, section 3.1, done as k-buckets over attribute keys
//! (docs/design/selection.md, "Key"): common prefix of keys = nearness of machines. Departures are listed in
//! `docs/protocols/trie.md`.

mod lost;
mod message;
mod repair;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant, Rng};

use crate::key::{Codes, KEY_BITS, Key, sibling_cell};
use crate::schema::{DYNAMICS_MAX, Schema};

use lost::Lost;
use repair::Checks;

pub use message::{DESCRIPTORS_MAX, Lack, Message, Part, REPORTS_MAX, Report};
pub use summary::{COUNT_MAX, PLACE_BITS, Summary, TOPS, Top};
pub use table::{ALTERNATES, Alternate, Bucket, Descriptor, Levels, Table};

/// Exchanges of one walk: 8 are the mean at 100,000 nodes (docs/design/selection.md, "Filling the links").
const WALK_MAX: u8 = 24;
/// Exchanges that a round may add while each of them leads closer to the own key.
const ROUND_WALK_MAX: u8 = 4;
/// Open exchanges; a further one is not begun.
const ASKED_MAX: usize = 16;
/// Levels from the deepest one up, all of whose nodes a newcomer greets.
const GREETED_LEVELS: usize = 3;
/// Rounds before a node's count of its subtree is taken: until then it knows too few of it.
const SETTLED_ROUNDS: u32 = 3;
/// Rounds in which every second exchange goes to a random node of the grid; later every fourth.
const YOUNG_ROUNDS: u32 = 8;

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Two exchanges are begun in each, and a lost node is tried.
    pub period: Duration,
    /// After this an asked node counts as dead.
    pub reply_timeout: Duration,
    /// Periods after which a node that nobody heard of is dropped.
    pub age_max: u32,
    /// Periods after which a summary should be newer.
    pub stale_after: u32,
}

impl Default for Config {
    /// The period is CYCLON's (docs/design/membership.md, "Period"); 30 periods are three times the mean age of links at
    /// 0.2 % churn (measured).
    fn default() -> Self {
        Config {
            period: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(1),
            age_max: 30,
            stale_after: 2,
        }
    }
}

impl Config {
    fn seconds(&self, periods: u32) -> u32 {
        (self.period.as_micros() / 1_000_000 * u64::from(periods)) as u32
    }

    fn age_max_seconds(&self) -> u32 {
        self.seconds(self.age_max)
    }
}

/// Where a [`Trie`] puts what it has to say.
pub trait Output {
    fn send(&mut self, to: Handle, message: Message);

    /// A random node of the grid, from the partial view.
    fn fresh_peer(&mut self) -> Option<Handle>;

    /// `peer` did not answer in time and is in no link any more.
    fn contact_failed(&mut self, _peer: Handle) {}

    /// `peer` answered a request of ours just now.
    fn contact_answered(&mut self, _peer: Handle) {}
}

/// A message that a correct and timely peer would not have sent. What was sound of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    #[error("an answer that nobody waits for")]
    Unsolicited,
    #[error("more descriptors or summaries than a message may have")]
    TooMany,
    #[error("a summary of nodes that cannot be where it says")]
    Unsound,
    #[error("a message from this node to itself")]
    FromMyself,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: Handle,
    seq: u16,
    deadline: Instant,
    /// The level of the closest node when it was asked.
    depth: Option<usize>,
}

/// One node's links under one schema.
#[derive(Clone, Debug)]
pub struct Trie {
    schema: Arc<Schema>,
    rng: Rng,
    codes: Codes,
    present: [u16; DYNAMICS_MAX],
    table: Table,
    next_round: Instant,
    rounds: u32,
    asked: Vec<Asked>,
    /// Asked in the walk that is under way.
    walked: Vec<Handle>,
    walk_left: u8,
    /// The walk ends with greeting all nodes close by.
    is_joining: bool,
    lost: Lost,
    checks: Checks,
    /// When the next of them may be made: far when there are none, or an answer is waited for.
    next_check: Instant,
    seq: u16,
}

impl Trie {
    /// A node that has no links yet. Its first round is at a random point in one period.
    pub fn new(
        config: &Config,
        schema: Arc<Schema>,
        me: Handle,
        codes: Codes,
        hash: u32,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let dimensions = schema.dimensions().len();
        let key = Key::new(&codes, dimensions, hash);
        let next_round = now + Duration::from_micros(rng.between(0, config.period.as_micros()));
        let seq = rng.next_u32() as u16;
        Trie {
            schema,
            rng,
            codes,
            present: [0; DYNAMICS_MAX],
            table: Table::new(me, key, dimensions),
            next_round,
            rounds: 0,
            asked: Vec::new(),
            walked: Vec::new(),
            walk_left: 0,
            is_joining: false,
            lost: Lost::default(),
            checks: Checks::default(),
            next_check: Instant::FAR,
            seq,
        }
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub fn key(&self) -> &Key {
        self.table.key()
    }

    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The present codes of the dynamic attributes, whenever they were measured.
    pub fn set_present(&mut self, present: [u16; DYNAMICS_MAX]) {
        self.present = present;
    }

    /// As after long gossip among these nodes with these codes of dynamic attributes, the first of each subtree becoming its
    /// alternates.
    #[cfg(test)]
    pub(crate) fn settle(&mut self, now: Instant, nodes: &[(Handle, Key, [u16; DYNAMICS_MAX])]) {
        self.rounds = SETTLED_ROUNDS;
        let dimensions = self.schema.dimensions().len();
        let mut summaries = alloc::collections::BTreeMap::<usize, Summary>::new();
        let me = self.table.me();
        for (peer, key, present) in nodes.iter().filter(|(peer, ..)| *peer != me) {
            self.meet(now, *peer, *key);
            let mut one = Summary::of(&self.schema, *peer, &key.codes(dimensions), present);
            let level = self.key().common_prefix(key);
            one.lift(|_| key.window(level + 1));
            let dynamics = self.schema.dynamics().len();
            let known = summaries.entry(level).and_modify(|known| known.add(&one, dynamics)).or_insert(one);
            known.hear_of(&one, 0, Some);
        }
        for (level, summary) in summaries {
            self.table.report(level, &summary, told(now), |_, _| true);
        }
    }

    /// Whether this node knows its subtree well enough to speak for it.
    pub fn is_settled(&self) -> bool {
        self.rounds >= SETTLED_ROUNDS
    }

    /// Walks from `contact` to the own key, taking over links on the way and becoming known there.
    pub fn join(&mut self, config: &Config, now: Instant, contact: Handle, out: &mut impl Output) {
        if contact == self.table.me() || contact == Handle::NONE {
            return;
        }
        self.is_joining = true;
        self.walk_left = WALK_MAX;
        self.walked.clear();
        self.ask(config, now, contact, out);
    }

    /// Drops a node that is gone for good and will not be back under this handle.
    pub fn remove(&mut self, peer: Handle) {
        self.asked.retain(|asked| asked.peer != peer);
        self.table.remove(peer);
        self.lost.remove(peer);
    }

    /// Drops a node that was silent.
    pub fn forget(&mut self, now: Instant, peer: Handle) {
        self.asked.retain(|asked| asked.peer != peer);
        if self.table.remove(peer) {
            self.lose(now, peer);
        }
    }

    pub fn handle_message(
        &mut self,
        config: &Config,
        now: Instant,
        from: Handle,
        message: Message,
        out: &mut impl Output,
    ) -> Result<(), PeerFault> {
        if from == self.table.me() || from == Handle::NONE {
            return Err(PeerFault::FromMyself);
        }
        match message {
            Message::Ask { seq, lack } => {
                let part = self.part_for(config, now, &lack);
                out.send(from, Message::Give { seq, lack: self.lack(config, now), part });
                self.meet(now, from, lack.key);
                Ok(())
            }
            Message::Give { seq, lack, part } => {
                let open = self.asked.iter().position(|asked| asked.peer == from && asked.seq == seq);
                let asked = self.asked.swap_remove(open.ok_or(PeerFault::Unsolicited)?);
                out.contact_answered(from);
                self.meet(now, from, lack.key);
                let taken = self.take(config, now, &lack.key, &part);
                let part = self.part_for(config, now, &lack);
                out.send(from, Message::Return { key: *self.key(), part });
                self.go_on(config, now, asked.depth, out);
                self.check(config, now, out);
                taken
            }
            Message::Return { key, part } => {
                self.meet(now, from, key);
                self.take(config, now, &key, &part)
            }
        }
    }

    pub fn handle_timeout(&mut self, config: &Config, now: Instant, out: &mut impl Output) {
        while let Some(at) = self.asked.iter().position(|asked| asked.deadline <= now) {
            let asked = self.asked.swap_remove(at);
            out.contact_failed(asked.peer);
            if self.table.remove(asked.peer) {
                self.lose(now, asked.peer);
            } else if self.lost.contains(asked.peer) {
                // Tried in vain.
                continue;
            } else {
                self.lost.add(&mut self.rng, asked.peer, seconds(now));
            }
            self.go_on(config, now, None, out);
        }
        if self.next_round <= now {
            self.tidy(config, now);
            self.next_round = now + self.rng.jitter(config.period, 5);
            self.start_round(config, now, out);
        }
        self.check(config, now, out);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Instant {
        self.asked.iter().map(|asked| asked.deadline).fold(self.next_round.min(self.next_check), Instant::min)
    }

    /// Everybody whose key shares `len` bits with this node's, this node included. Large values are not older than links.
    pub fn summary(&self, config: &Config, now: Instant, len: usize) -> Summary {
        let own = Summary::of(&self.schema, self.table.me(), &self.codes, &self.present);
        let limit = seconds(now).saturating_sub(config.age_max_seconds());
        self.table.summary(len, &own, told(now), limit, self.schema.dynamics().len())
    }

    /// Shows every handle that is kept here, some more than once.
    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.table.for_each_handle(f);
        self.asked.iter().for_each(|asked| f(asked.peer));
        self.walked.iter().copied().for_each(&mut *f);
        self.lost.iter().for_each(f);
    }

    /// Bytes of the links on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
            + self.asked.capacity() * size_of::<Asked>()
            + self.walked.capacity() * size_of::<Handle>()
            + self.lost.heap_bytes()
    }

    fn start_round(&mut self, config: &Config, now: Instant, out: &mut impl Output) {
        self.rounds = self.rounds.saturating_add(1);
        if !self.is_joining {
            self.walk_left = ROUND_WALK_MAX;
            self.walked.clear();
        }
        let near = self.near_peer();
        let wide = if self.rounds <= YOUNG_ROUNDS || self.rounds.is_multiple_of(2) || near.is_none() {
            out.fresh_peer()
        } else {
            self.oldest_peer()
        };
        let lost = self.lost.pick(&mut self.rng);
        for peer in [near, wide, lost].into_iter().flatten() {
            self.ask(config, now, peer, out);
        }
    }

    /// A node close to this one: of the deepest bucket in half of the cases, of the one above in a quarter …
    fn near_peer(&mut self) -> Option<Handle> {
        let buckets = self.table.buckets();
        let above = (self.rng.next_u32().trailing_zeros() as usize).min(buckets.len().checked_sub(1)?);
        let bucket = buckets.get(buckets.len() - 1 - above)?;
        self.rng.pick(bucket.alternates()).map(|known| known.handle)
    }

    /// The one that has not been heard of for the longest time: it is dead, or fresh again.
    fn oldest_peer(&self) -> Option<Handle> {
        self.table.all().min_by_key(|(_, known)| (known.seen, known.handle)).map(|(_, known)| known.handle)
    }

    fn ask(&mut self, config: &Config, now: Instant, peer: Handle, out: &mut impl Output) {
        let is_open = self.asked.iter().any(|asked| asked.peer == peer);
        if peer == self.table.me() || is_open || self.asked.len() >= ASKED_MAX {
            return;
        }
        self.seq = self.seq.wrapping_add(1);
        let (seq, depth) = (self.seq, self.table.deepest());
        self.asked.push(Asked { peer, seq, deadline: now + config.reply_timeout, depth });
        if self.walked.len() < usize::from(WALK_MAX) {
            self.walked.push(peer);
        }
        out.send(peer, Message::Ask { seq, lack: self.lack(config, now) });
    }

    /// After an answer, or the lack of one: asks the closest node when it is closer than what was known before.
    fn go_on(&mut self, config: &Config, now: Instant, before: Option<usize>, out: &mut impl Output) {
        let closest =
            self.table.buckets().last().filter(|_| self.table.deepest() > before).and_then(|bucket| {
                bucket.alternates().iter().map(|known| known.handle).find(|peer| !self.walked.contains(peer))
            });
        match closest {
            Some(peer) if self.walk_left > 0 => {
                self.walk_left -= 1;
                self.ask(config, now, peer, out);
            }
            _ if self.is_joining && self.asked.is_empty() => {
                self.is_joining = false;
                self.greet(config, now, out);
            }
            _ => {}
        }
    }

    /// Makes a newcomer known to all that are close: they alone can fill the gap that it leaves in their tables.
    fn greet(&mut self, config: &Config, now: Instant, out: &mut impl Output) {
        let close: Vec<Handle> = self
            .table
            .buckets()
            .iter()
            .rev()
            .take(GREETED_LEVELS)
            .flat_map(Bucket::alternates)
            .map(|known| known.handle)
            .filter(|peer| !self.walked.contains(peer))
            .collect();
        close.into_iter().for_each(|peer| self.ask(config, now, peer, out));
    }

    fn lack(&self, config: &Config, now: Instant) -> Lack {
        let stale = self.table.stale(told(now).saturating_sub(config.seconds(config.stale_after)).max(1));
        Lack { key: *self.key(), wants: self.table.wants(), stale }
    }

    fn part_for(&self, config: &Config, now: Instant, lack: &Lack) -> Part {
        let split = self.key().common_prefix(&lack.key);
        if split >= KEY_BITS {
            return Part::default();
        }
        let now_told = told(now);
        let fresh = || {
            let above = self.table.summaries(&lack.stale).take_while(|(level, ..)| *level < split);
            above
                .filter(|(_, told, _)| now_told - told.min(&now_told) < config.age_max_seconds())
                .take(REPORTS_MAX)
        };
        let report = |(level, told, summary): (usize, u32, &Summary)| {
            let age = (now_told - told.min(now_told)) as u16;
            Report { level: level as u8, age, summary: *summary }
        };
        // Counted first: growing would copy them.
        let mut reports = Vec::with_capacity(fresh().count());
        reports.extend(fresh().map(report));
        Part {
            own: Some(self.summary(config, now, split + 1)),
            is_settled: self.is_settled(),
            descriptors: self.table.useful(&lack.key, &lack.wants, seconds(now), DESCRIPTORS_MAX),
            reports,
        }
    }

    fn meet(&mut self, now: Instant, peer: Handle, key: Key) {
        self.find(now, peer);
        self.table.insert(peer, key, seconds(now));
    }

    fn take(&mut self, config: &Config, now: Instant, key: &Key, part: &Part) -> Result<(), PeerFault> {
        if part.descriptors.len() > DESCRIPTORS_MAX || part.reports.len() > REPORTS_MAX {
            return Err(PeerFault::TooMany);
        }
        let split = self.key().common_prefix(key);
        if split >= KEY_BITS {
            return Ok(());
        }
        for known in &part.descriptors {
            let seen = seconds(now).saturating_sub(known.age.into());
            let is_there = !self.lost.disproves(known.handle, seen, config.age_max_seconds());
            if u32::from(known.age) < config.age_max_seconds() && is_there {
                self.table.insert(known.handle, known.key, seen);
            }
        }
        let dimensions = self.schema.dimensions().len();
        let limit = seconds(now).saturating_sub(config.age_max_seconds());
        let (me, lost, doubt) = (self.table.me(), &self.lost, config.age_max_seconds());
        let is_heard = |peer, said| said > limit && peer != me && !lost.disproves(peer, said, doubt);
        let mut result = Ok(());
        if let Some(own) = &part.own {
            if own.is_sound(&sibling_cell(&self.codes, split, dimensions)) {
                if part.is_settled {
                    self.table.report(split, own, told(now), is_heard);
                } else {
                    self.table.hear_of(split, own, told(now), is_heard);
                }
            } else {
                result = Err(PeerFault::Unsound);
            }
        }
        for report in &part.reports {
            let level = usize::from(report.level);
            let cell = || sibling_cell(&self.codes, level, dimensions);
            if level < split && report.summary.is_sound(&cell()) {
                let made = told(now).saturating_sub(report.age.into());
                self.table.report(level, &report.summary, made, is_heard);
            } else {
                result = Err(PeerFault::Unsound);
            }
        }
        result
    }
}

fn seconds(now: Instant) -> u32 {
    (now.as_micros() / 1_000_000) as u32
}

/// Times of summaries count from one: zero is "never".
fn told(now: Instant) -> u32 {
    seconds(now) + 1
}
