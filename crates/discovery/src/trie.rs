//! The k-d prefix trie: links that lead into every region of the space of attributes, kept by gossip.
//!
//! Source: the semantic clusters of XtreemOS (deliverable D3.2.1, 2006, section 3.1), done as k-buckets over
//! attribute keys: the longer the common prefix of two keys, the more alike the machines
//! (docs/design/selection.md, "Links"). Departures are listed in `docs/protocols/trie.md`.

mod exchange;
mod lost;
mod message;
mod repair;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod walk;

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Core, Driven, Duration, Handle, Instant, Rng, Sampler, Sink, Wake};

use crate::key::{Codes, Key};
use crate::schema::{DYNAMICS_MAX, Schema};

use lost::Lost;
use repair::Checks;
use walk::WALK_MAX;

pub use message::{DESCRIPTORS_MAX, Lack, Message, Part, REPORTS_MAX, Report};
pub use summary::{COUNT_MAX, PLACE_BITS, Summary, TOPS, Top};
pub use table::{ALTERNATES, Alternate, Bucket, Descriptor, Levels, Table};

/// Rounds before a node's count of its subtree is taken: until then it knows too few of it.
const SETTLED_ROUNDS: u32 = 3;

/// What every input of a [`Trie`] brings along.
type Call<'a> = xtreem_base::Call<'a, Config>;

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Two exchanges are begun in each, and a lost node is tried.
    pub period: Duration,
    /// An asked node counts as dead when it has taken longer.
    pub reply_timeout: Duration,
    /// Periods after which a node that nobody heard of is dropped.
    pub age_max: u32,
    /// Periods after which a summary should be newer.
    pub stale_after: u32,
}

impl Default for Config {
    /// The period is CYCLON's (docs/protocols/membership.md); 30 periods are three times the mean age of
    /// links at
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

/// A message that a correct and timely peer would not have sent. What was sound of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
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
    /// The next of them may be made then: never when there are none, or an answer is waited for.
    next_check: Instant,
    seq: u16,
}

impl Trie {
    /// A node that has no links yet. Its first round is at a random point in one period.
    pub fn new(
        call: Call<'_>,
        schema: Arc<Schema>,
        me: Handle,
        codes: Codes,
        hash: u32,
        mut rng: Rng,
    ) -> Self {
        let dimensions = schema.dimensions().len();
        let key = Key::new(&codes, dimensions, hash);
        let next_round = call.now + Duration::from_micros(rng.between(0, call.config.period.as_micros()));
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

    /// The state after long gossip among these nodes with these codes of dynamic attributes, the first of
    /// each subtree becoming its alternates.
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
    pub fn join(&mut self, call: Call<'_>, contact: Handle, out: &mut impl Sink<Message>) {
        if contact == self.table.me() || contact == Handle::NONE {
            return;
        }
        self.is_joining = true;
        self.walk_left = WALK_MAX;
        self.walked.clear();
        self.ask(call, contact, out);
    }

    /// Everybody whose key shares `len` bits with this node's, this node included. Large values are not older
    /// than links.
    pub fn summary(&self, call: Call<'_>, len: usize) -> Summary {
        let own = Summary::of(&self.schema, self.table.me(), &self.codes, &self.present);
        let limit = seconds(call.now).saturating_sub(call.config.age_max_seconds());
        self.table.summary(len, &own, told(call.now), limit, self.schema.dynamics().len())
    }

    /// Bytes of the links on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
            + self.asked.capacity() * size_of::<Asked>()
            + self.walked.capacity() * size_of::<Handle>()
            + self.lost.heap_bytes()
    }
}

impl Core for Trie {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    #[inline]
    fn next_timeout(&self, _: &Config) -> Wake {
        let overdue = self.asked.iter().map(|asked| asked.deadline).fold(Instant::FAR, Instant::min);
        Wake::new(overdue, "answer overdue")
            .or(Wake::new(self.next_round, "round"))
            .or(Wake::new(self.next_check, "check"))
    }

    fn handle_gone(&mut self, _: Call<'_>, peer: Handle) {
        self.asked.retain(|asked| asked.peer != peer);
        self.table.remove(peer);
        self.lost.remove(peer);
    }

    /// Drops a link, and tries the node again later.
    fn handle_silent(&mut self, call: Call<'_>, peer: Handle) {
        self.asked.retain(|asked| asked.peer != peer);
        if self.table.remove(peer) {
            self.lose(call.now, peer);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.table.for_each_handle(f);
        self.asked.iter().for_each(|asked| f(asked.peer));
        self.walked.iter().for_each(|peer| f(*peer));
        self.lost.iter().for_each(f);
    }
}

impl<S: Sink<Message> + Sampler> Driven<S> for Trie {
    fn handle_message(
        &mut self,
        call: Call<'_>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        if from == self.table.me() || from == Handle::NONE {
            return Err(Fault::FromMyself);
        }
        match message {
            Message::Ask { seq, lack } => {
                let part = self.part_for(call, &lack);
                out.send(from, Message::Give { seq, lack: self.lack(call), part });
                self.meet(call.now, from, lack.key);
                Ok(())
            }
            Message::Give { seq, lack, part } => {
                let open = self.asked.iter().position(|asked| asked.peer == from && asked.seq == seq);
                let asked = self.asked.swap_remove(open.ok_or(Fault::Unsolicited)?);
                out.contact_answered(from);
                self.meet(call.now, from, lack.key);
                let taken = self.take(call, &lack.key, &part);
                let part = self.part_for(call, &lack);
                out.send(from, Message::Return { key: *self.key(), part });
                self.go_on(call, asked.depth, out);
                self.check(call, out);
                taken
            }
            Message::Return { key, part } => {
                self.meet(call.now, from, key);
                self.take(call, &key, &part)
            }
        }
    }

    fn handle_timeout(&mut self, call: Call<'_>, out: &mut S) {
        let Call { config, now } = call;
        while let Some(at) = self.asked.iter().position(|asked| asked.deadline <= now) {
            let asked = self.asked.swap_remove(at);
            out.contact_silent(asked.peer);
            if self.table.remove(asked.peer) {
                self.lose(now, asked.peer);
            } else if self.lost.contains(asked.peer) {
                // Tried in vain.
                continue;
            } else {
                self.lost.add(&mut self.rng, asked.peer, seconds(now));
            }
            self.go_on(call, None, out);
        }
        if self.next_round <= now {
            self.tidy(call);
            self.next_round = now + self.rng.jitter(config.period, 5);
            self.start_round(call, out);
        }
        self.check(call, out);
    }
}

fn seconds(now: Instant) -> u32 {
    (now.as_micros() / 1_000_000) as u32
}

/// Times of summaries count from one: zero is "never".
fn told(now: Instant) -> u32 {
    seconds(now) + 1
}
