//! What all nodes are together: how many, and how each of their attributes is distributed, by gossip.
//!
//! Sources: Jelasity, Montresor, Babaoglu: Gossip-based aggregation in large dynamic networks, ACM TOCS
//! 23(3), 2005 (push-pull averaging, epochs, size); Sacha, Napper, Stratan, Pierre: Adam2, ICDCS 2010
//! (distributions, their bounds and their error). Departures are listed in `docs/protocols/aggregation.md`.

mod bounds;
mod config;
mod curve;
mod epochs;
mod estimate;
mod exchange;
mod message;
mod samples;
mod sizes;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Handle, Instant, Rng, Sampler, Sink, Wake};

pub use bounds::{BINS, BOUNDS, Bounds, Row};
pub use config::Config;
pub use curve::Curve;
pub use estimate::{CurveError, Estimate, parts_per};
pub use message::{Half, Head, Message, PART_ATTRIBUTES, SAMPLES, Why};
pub use sizes::{INSTANCES, Size, Sizes};

use bounds::UNPROPOSED;
use epochs::{Age, Epochs, OPEN_AGE, ROUND, Word};
use exchange::Part;
use samples::COLLECTED_MAX;

/// Attributes of a schema: eight in a key and four dynamic ones.
pub const ATTRIBUTES_MAX: usize = 12;
/// A share of all nodes, in parts of [`WHOLE`]: fine enough for bars of 0.2 %, and half of a node's memory.
pub type Fraction = u16;
pub const WHOLE: Fraction = Fraction::MAX;

/// Pushes of one part that a node takes in one round; one comes on average, more than eight in a million
/// rounds.
const SERVED_MAX: usize = 8;
/// The age from which on those that may propose bounds collect samples: by then all others know that they may
/// not.
const COLLECTED_FROM: Age = 4 * ROUND;

/// A message that a correct and timely peer would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an answer that nobody waits for")]
    Unsolicited,
    #[error("values of another number of bins or attributes")]
    Shape,
    #[error("instances, bounds or an estimate that cannot be")]
    Unsound,
    /// At this age all averages are close to each other.
    #[error("a share far from all others so late in an epoch")]
    Outlier,
    /// Counted until three peers say so.
    #[error("an epoch that nobody expects")]
    UnexpectedEpoch,
    #[error("a message from this node to itself")]
    FromMyself,
}

/// One node's part in the averages of a grid.
#[derive(Clone, Debug)]
pub struct Aggregation {
    rng: Rng,
    me: Handle,
    schema: u32,
    seq: u16,
    epochs: Epochs,
    next_round: Instant,
    /// What this node brings in when an epoch begins.
    codes: Box<[u16]>,
    /// What everybody begins with.
    even: Arc<Bounds>,
    bounds: Arc<Bounds>,
    /// For the next epoch, as far as proposed.
    next: Option<Arc<Bounds>>,
    /// The rank of the instance that this node started.
    rank: u32,
    sizes: Sizes,
    /// Shares at or below each bound.
    values: Box<[Fraction]>,
    parts: Box<[Part]>,
    /// Codes of random nodes for each attribute, while this node may propose bounds.
    collected: Vec<Vec<u16>>,
    has_proposed: bool,
    estimate: Option<Arc<Estimate>>,
    /// Whom a newcomer asked for an estimate.
    asked: Handle,
    is_heard: bool,
}

impl Aggregation {
    /// A node that knows of no epoch. Its first round is at a random point in one period.
    ///
    /// At most [`ATTRIBUTES_MAX`] codes count; `schema` tells which attributes they are of. `even` is
    /// [`Bounds::even`] of as many, lent so that simulated nodes share it.
    pub fn new(
        config: &Config,
        schema: u32,
        even: Arc<Bounds>,
        me: Handle,
        codes: &[u16],
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let attributes = codes.len().min(ATTRIBUTES_MAX);
        let even = if even.rows.len() == attributes { even } else { Arc::new(Bounds::even(attributes)) };
        let next_round = now + Duration::from_micros(rng.between(0, config.period.as_micros()));
        let seq = rng.next_u32() as u16;
        Aggregation {
            rng,
            me,
            schema,
            seq,
            epochs: Epochs::new(now),
            has_proposed: false,
            next_round,
            codes: codes[..attributes].into(),
            bounds: even.clone(),
            even,
            next: None,
            rank: 0,
            sizes: Sizes::EMPTY,
            values: core::iter::repeat_n(0, attributes * BOUNDS).collect(),
            parts: Part::all(attributes),
            collected: Vec::new(),
            estimate: None,
            asked: Handle::NONE,
            is_heard: false,
        }
    }

    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// What this node is from the next epoch on.
    pub fn set_codes(&mut self, codes: &[u16]) {
        self.codes.iter_mut().zip(codes).for_each(|(mine, code)| *mine = *code);
    }

    /// What the last epoch came to.
    pub fn estimate(&self) -> Option<&Arc<Estimate>> {
        self.estimate.as_ref()
    }

    /// The shares of nodes at or below the bounds of each attribute, as far as this epoch has come.
    pub fn shares(&self) -> &[Fraction] {
        &self.values
    }

    /// The estimate is the word of a single peer: no epoch has ended here yet.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// The epoch, zero when none is known, and the rounds since it began.
    pub fn epoch(&self, call: Call<'_, Config>) -> (u32, u16) {
        (self.epochs.number, self.epochs.age(call) / ROUND)
    }

    /// Whether this node's values are in the averages of the epoch.
    pub fn takes_part(&self) -> bool {
        self.epochs.is_in
    }

    /// Bytes on the heap, those left out that all nodes of a simulation share.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.codes)
            + size_of_val(&*self.values)
            + self.parts.iter().map(Part::heap_bytes).sum::<usize>()
            + self.collected.iter().map(|codes| codes.capacity() * size_of::<u16>()).sum::<usize>()
            + self.estimate.as_ref().filter(|_| !self.is_heard).map_or(0, |estimate| estimate.heap_bytes())
    }

    fn head(&self, call: Call<'_, Config>) -> Head {
        Head {
            schema: self.schema,
            epoch: self.epochs.number,
            age: self.epochs.age(call),
            bounds: self.bounds.rank,
            next: self.next_rank(),
        }
    }

    fn next_rank(&self) -> u32 {
        self.next.as_ref().map_or(UNPROPOSED, |next| next.rank)
    }

    fn start_round(&mut self, call: Call<'_, Config>, out: &mut (impl Sink<Message> + Sampler)) {
        if self.epochs.is_over(call) {
            self.begin(call, self.epochs.number.saturating_add(1), 0);
        }
        self.parts.iter_mut().for_each(Part::start_round);
        if self.epochs.is_in {
            if !self.has_proposed && self.epochs.age(call) >= call.config.proposal_age() {
                self.propose();
            }
            (0..self.parts.len()).for_each(|part| self.push(call, part, out));
        } else {
            self.ask(call, out);
        }
    }

    /// A newcomer asks where others stand, and for what came out last.
    fn ask(&mut self, call: Call<'_, Config>, out: &mut (impl Sink<Message> + Sampler)) {
        let questions = if self.epochs.number == 0 { call.config.tries } else { 1 };
        for nth in 0..questions {
            let Some(peer) = out.fresh_peer().filter(|peer| *peer != self.me) else { return };
            let wants_estimate = self.estimate.is_none() && nth == 0;
            if wants_estimate {
                self.asked = peer;
            }
            self.seq = self.seq.wrapping_add(1);
            out.send(peer, Message::Ask { seq: self.seq, head: self.head(call), wants_estimate });
        }
    }

    /// Moves on to an epoch. What this one came to is kept when it was in it for long enough.
    fn begin(&mut self, call: Call<'_, Config>, epoch: u32, age: Age) {
        let last = &self.epochs;
        if last.is_in
            && last.age(call) >= call.config.ripe_age()
            && let Some(size) = self.sizes.estimate()
        {
            let estimate = Estimate::new(last.number, size, self.bounds.clone(), &self.values);
            self.estimate = Some(Arc::new(estimate));
            self.is_heard = false;
        }
        let follows = epoch == last.number.saturating_add(1);
        self.bounds = match self.next.take() {
            Some(next) if follows => next,
            None if follows && self.bounds.again() == self.bounds.rank => self.bounds.clone(),
            None if follows => Arc::new(Bounds { rank: self.bounds.again(), rows: self.bounds.rows.clone() }),
            _ => self.even.clone(),
        };
        self.epochs.move_on(call, epoch, age);
        self.has_proposed = false;
        self.collected = Vec::new();
        self.parts.iter_mut().for_each(Part::begin);
        // The highest bit is not the proposer's.
        self.rank = self.rng.next_u32() >> 1;
        self.sizes = if self.epochs.is_in { Sizes::start(self.rank) } else { Sizes::EMPTY };
        self.fill();
    }

    /// The values of this node alone.
    fn fill(&mut self) {
        let rows = self.values.chunks_exact_mut(BOUNDS).zip(&self.bounds.rows).zip(&self.codes);
        for ((values, row), code) in rows {
            for (value, bound) in values.iter_mut().zip(&row.codes) {
                *value = if code <= bound { WHOLE } else { 0 };
            }
        }
    }

    fn hear(&mut self, call: Call<'_, Config>, from: Handle, head: &Head) -> Result<(), Fault> {
        match self.epochs.hear(call, from, head.epoch, head.age) {
            Word::Begun { epoch, age } => self.begin(call, epoch, age),
            Word::Unexpected if self.epochs.number > 0 => return Err(Fault::UnexpectedEpoch),
            Word::Unexpected | Word::Known => {}
        }
        Ok(())
    }

    /// The nodes whose instances stay also propose bounds: they are few, and everybody hears of them.
    fn may_propose(&self) -> bool {
        self.epochs.is_in && self.sizes.has(self.rank)
    }

    fn propose(&mut self) {
        self.has_proposed = true;
        if self.may_propose() && self.rank < self.next_rank() {
            self.next = Some(Arc::new(self.bounds.propose(self.rank, &self.values, &self.collected)));
        }
        self.collected = Vec::new();
    }

    fn collect(&mut self, call: Call<'_, Config>, half: &Half) {
        if !self.may_propose() {
            self.collected = Vec::new();
            return;
        }
        if self.has_proposed || self.epochs.age(call) < COLLECTED_FROM {
            return;
        }
        self.collected.resize(self.codes.len(), Vec::new());
        let attributes = Part::attributes(half.part.into(), self.codes.len());
        for node in half.samples.chunks_exact(attributes.len().max(1)) {
            for (codes, code) in self.collected[attributes.clone()].iter_mut().zip(node) {
                if codes.len() < COLLECTED_MAX {
                    codes.push(*code);
                }
            }
        }
    }

    /// Hands over bounds that are before those of a peer in the same epoch.
    fn offer_bounds(&self, to: Handle, head: &Head, out: &mut impl Sink<Message>) {
        if head.schema != self.schema || head.epoch != self.epochs.number || head.epoch == 0 {
            return;
        }
        let mut offer = |epoch, bounds: &Arc<Bounds>| {
            out.send(to, Message::Bounds { schema: self.schema, epoch, bounds: bounds.clone() });
        };
        if self.bounds.rank < head.bounds && head.age <= OPEN_AGE {
            offer(head.epoch, &self.bounds);
        }
        if let Some(next) = self.next.as_ref().filter(|next| next.rank < head.next) {
            offer(head.epoch.saturating_add(1), next);
        }
    }

    fn on_bounds(
        &mut self,
        call: Call<'_, Config>,
        schema: u32,
        epoch: u32,
        bounds: Arc<Bounds>,
    ) -> Result<(), Fault> {
        if schema != self.schema {
            return Ok(());
        }
        if bounds.rows.len() != self.codes.len() {
            return Err(Fault::Shape);
        }
        if !bounds.is_sound() {
            return Err(Fault::Unsound);
        }
        if epoch == self.epochs.number.saturating_add(1) && bounds.rank < self.next_rank() {
            self.next = Some(bounds);
        } else if epoch == self.epochs.number
            && bounds.rank < self.bounds.rank
            && self.epochs.age(call) <= OPEN_AGE
        {
            // Whoever uses the others does the same: no node's values are lost or counted twice.
            self.bounds = bounds;
            self.parts.iter_mut().for_each(Part::begin);
            self.fill();
        }
        Ok(())
    }

    fn on_estimate(&mut self, from: Handle, schema: u32, estimate: Arc<Estimate>) -> Result<(), Fault> {
        if self.asked != from {
            return Err(Fault::Unsolicited);
        }
        if schema != self.schema || estimate.attributes() != self.codes.len() {
            return Err(Fault::Shape);
        }
        if !estimate.is_sound() {
            return Err(Fault::Unsound);
        }
        self.asked = Handle::NONE;
        if self.estimate.is_none() {
            (self.estimate, self.is_heard) = (Some(estimate), true);
        }
        Ok(())
    }
}

impl Core for Aggregation {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        let open = self.parts.iter().map(Part::deadline).fold(Instant::FAR, Instant::min);
        Wake::new(self.next_round, "round of aggregation").or(Wake::new(open, "exchange unanswered"))
    }

    /// An exchange with it is given up in its time, as with anybody who does not answer.
    fn handle_gone(&mut self, _: Call<'_, Config>, _: Handle) {}

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.parts.iter().for_each(|part| part.for_each_handle(f));
        self.epochs.witnesses().chain([self.me, self.asked]).filter(|peer| *peer != Handle::NONE).for_each(f);
    }
}

impl<S: Sink<Message> + Sampler> Driven<S> for Aggregation {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        if from == self.me || from == Handle::NONE {
            return Err(Fault::FromMyself);
        }
        match message {
            Message::Push { seq, head, half } => self.on_push(call, (from, seq), &head, &half, out),
            Message::Pull { seq, head, half } => self.on_pull(call, (from, seq), &head, &half, out),
            Message::Here { seq, head, why } => self.on_here(call, (from, seq), &head, why, out),
            Message::Ask { seq, head, wants_estimate } => {
                out.send(from, Message::Here { seq, head: self.head(call), why: Why::Asked });
                if head.schema != self.schema {
                    return Ok(());
                }
                if let Some(estimate) = self.estimate.as_ref().filter(|_| wants_estimate) {
                    out.send(from, Message::Estimate { schema: self.schema, estimate: estimate.clone() });
                }
                self.offer_bounds(from, &head, out);
                self.hear(call, from, &head)
            }
            Message::Bounds { schema, epoch, bounds } => self.on_bounds(call, schema, epoch, bounds),
            Message::Estimate { schema, estimate } => self.on_estimate(from, schema, estimate),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        for part in 0..self.parts.len() {
            if self.parts[part].give_up(call.now) {
                self.push(call, part, out);
            }
        }
        if self.next_round <= call.now {
            self.next_round = call.now + self.rng.jitter(call.config.period, 5);
            self.start_round(call, out);
        }
    }
}
