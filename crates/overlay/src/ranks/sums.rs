//! Counting along the ring: how many members stand behind each one, from its neighbour's doubled steps.
//!
//! List ranking by pointer jumping (Wyllie: The complexity of parallel computations, 1979; Hillis, Steele,
//! CACM 29(12), 1986) on the ring's successors: row 0 leads one step, row i + 1 is row i of whoever row i
//! leads to, and the sums of both are added. It ends at the last node before the origin of all positions, so
//! every node knows what stands behind it. The last one asks the first one, which has the sum of all, and
//! tells its askers; so it comes to everybody. A rank is the sum of all without what is behind. Changes are
//! told to those that asked, and told again until they have heard. `docs/protocols/ranks.md`. *Absent: how a
//! node finds its successor; `ring` does.*

mod askers;
mod last;
mod message;
mod rows;
#[cfg(test)]
mod tests;
mod toward;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sink, Wake};

pub use message::{Frozen, Message, Sum, Told, Total};
pub use toward::Toward;

use super::{Epoch, Standing};
use crate::Position;
use crate::ring::{Contact, clockwise};
use askers::Askers;
use last::Last;
use rows::Rows;

/// Rows at most: they lead 2^27 nodes far, half round the largest grid.
pub const ROWS_MAX: usize = 28;
/// The level at which the last node asks the first one for the sum of all.
const CROWN: u8 = ROWS_MAX as u8;
/// Rounds in which a successor that the ring passed over does not answer, before the ring is believed.
const DOUBTED_TRIES: u8 = 1;
/// Numberings that a peer may be ahead; further ones are a lie.
const AHEAD_MAX: u32 = 1 << 16;

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In each one row and the last row are asked, and every row that has not answered. The ring's round.
    pub period: Duration,
    /// What changes is told after so long, all changes of that time at once. Our guess: less than a round
    /// trip.
    pub gather: Duration,
    /// Rounds without an answer after which a row counts as unknown. Our guess: at 5 % loss one in 10,000
    /// rounds of a node.
    pub tries: u8,
    /// Rounds in which nothing has changed, before a numbering is made of a sum, or a rank counts as settled.
    /// Our guess.
    pub quiet_rounds: u8,
    /// So long a successor that answers here is kept when the ring passes over it. Our guess: a ring comes
    /// back to one that it took for dead after its hold-down (4 s) and a round or two.
    pub doubt: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            period: Duration::from_secs(2),
            gather: Duration::from_millis(100),
            tries: 3,
            quiet_rounds: 5,
            doubt: Duration::from_secs(8),
        }
    }
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("row {0}: there is none")]
    Level(u8),
    /// From another than the one that this row leads to: late, or made up.
    #[error("sums from somebody who was not asked")]
    Unasked,
    /// Older than what is known from it.
    #[error("sums that came late")]
    Late,
    #[error("a row that leads back, or has more members than nodes")]
    Unsound,
    #[error("a numbering far ahead of all that are known")]
    TooFarAhead,
}

/// What the node around it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Settled(Standing),
    Unsettled,
}

/// Where the ring goes on from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Next {
    /// It is not on the ring.
    #[default]
    Unknown,
    /// It is the only one.
    Alone,
    /// Its successor stands at a higher position.
    Member(Handle),
    /// Its successor is the first one: the origin lies between the two.
    First(Handle),
}

impl Next {
    fn of(own: Option<&Position>, first: Option<&Contact>) -> Next {
        match (own, first) {
            (None, _) => Next::Unknown,
            (Some(_), None) => Next::Alone,
            (Some(own), Some(first)) if first.position > *own => Next::Member(first.handle),
            (Some(_), Some(first)) => Next::First(first.handle),
        }
    }
}

/// The ring passes over the successor that counts so far: it was silent once, or is dead.
#[derive(Clone, Debug)]
struct Doubt {
    next: Next,
    first: Option<Position>,
    /// When the ring is believed in any case.
    until: Instant,
}

/// One node's part of the counting.
#[derive(Clone, Debug)]
pub struct Sums {
    me: Handle,
    /// What this node adds: itself, or nothing.
    own: Sum,
    /// Where it stands, where the one that comes next does, and who that is.
    place: Option<Position>,
    first: Option<Position>,
    next: Next,
    doubt: Option<Doubt>,
    rows: Rows,
    askers: Askers,
    /// What only the last node knows.
    last: Last,
    /// What the last node says, by way of the last row.
    total: Option<Total>,
    /// The newest numbering that is known, and the newest that somebody wants.
    frozen: Option<Frozen>,
    wish: u32,
    rng: Rng,
    next_round: Instant,
    /// When what changed is told and asked.
    gather_at: Instant,
    /// The row whose turn it is.
    turn: u8,
    /// Rounds since the last change of what the own rank is made of.
    quiet: u8,
    /// What the rank was made of in the last round.
    made_of: Option<(Sum, Sum)>,
    /// The rank under the last numbering that was settled here.
    held: Option<(Epoch, u32)>,
    told: Option<Epoch>,
}

impl Sums {
    /// A node that is not on the ring yet. `mark` stands for what a replacement has of the one before it, the
    /// key at which it stands; None: the node is not numbered, and only helps to count. `expected`: how many
    /// there will be, where it is known.
    pub fn new(
        config: &Config,
        me: Handle,
        mark: Option<u64>,
        expected: Option<u32>,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let next_round = now + Duration::from_micros(rng.between(0, config.period.as_micros()));
        Sums {
            me,
            own: mark.map_or(Sum::NONE, Sum::of),
            place: None,
            first: None,
            next: Next::Unknown,
            doubt: None,
            rows: Rows::default(),
            askers: Askers::default(),
            last: Last::new(expected),
            total: None,
            frozen: None,
            wish: 0,
            rng,
            next_round,
            gather_at: Instant::FAR,
            turn: 0,
            quiet: 0,
            made_of: None,
            held: None,
            told: None,
        }
    }

    /// The ring says where this node stands and who comes next. Nothing happens when it is as before.
    ///
    /// A successor that is nearer is believed at once. One that is farther away takes the place of one that
    /// does not answer here either, or when the ring has stayed with it for a while: a ring on which some
    /// messages get lost passes over somebody all the time, and each time all ranks would be others.
    pub fn handle_ring(
        &mut self,
        call: Call<'_, Config>,
        own: Option<&Position>,
        first: Option<&Contact>,
        out: &mut impl Events<Event>,
    ) {
        let next = Next::of(own, first);
        if next == self.next && self.place.as_ref() == own {
            self.doubt = None;
            return;
        }
        let is_nearer = match (own, first, &self.first) {
            (Some(own), Some(new), Some(old)) => clockwise(own, &new.position, old).is_lt(),
            (_, new, old) => new.is_some() && old.is_none(),
        };
        let first = first.map(|first| first.position.clone());
        if self.next == Next::Unknown || self.place.as_ref() != own || is_nearer {
            self.place = own.cloned();
            self.set_next(call, next, first, out);
        } else if self.doubt.as_ref().is_none_or(|doubt| doubt.next != next) {
            let until = self.doubt.as_ref().map_or(call.now + call.config.doubt, |doubt| doubt.until);
            self.doubt = Some(Doubt { next, first, until });
            self.rows.ask_first();
            self.gather_at = self.gather_at.min(call.now + call.config.gather);
        }
    }

    fn set_next(
        &mut self,
        call: Call<'_, Config>,
        next: Next,
        first: Option<Position>,
        out: &mut impl Events<Event>,
    ) {
        (self.next, self.first, self.doubt) = (next, first, None);
        self.last.forget();
        match next {
            Next::Member(successor) => self.rows.set_first(successor, self.own),
            Next::Unknown | Next::Alone | Next::First(_) => self.rows.clear(),
        }
        self.after_change(call, out);
    }

    /// Believes the ring when the one that it passed over is silent, or when it took long enough.
    fn settle_doubt(&mut self, call: Call<'_, Config>, out: &mut impl Events<Event>) {
        let tries = match self.next {
            Next::Member(_) => self.rows.first_tries(),
            Next::First(_) => self.last.tries(),
            Next::Unknown | Next::Alone => u8::MAX,
        };
        let is_over = |doubt: &mut Doubt| tries > DOUBTED_TRIES || doubt.until <= call.now;
        if let Some(doubt) = self.doubt.take_if(is_over) {
            self.set_next(call, doubt.next, doubt.first, out);
        }
    }

    /// The node stands elsewhere, or counts or does not from now on.
    pub fn handle_mark(&mut self, call: Call<'_, Config>, mark: Option<u64>, out: &mut impl Events<Event>) {
        self.own = mark.map_or(Sum::NONE, Sum::of);
        self.rows.set_own(self.own);
        self.held = None;
        self.after_change(call, out);
    }

    /// Asks for a numbering of those that are there: without gaps, under a new epoch. Any member may.
    pub fn number_anew(&mut self, call: Call<'_, Config>, out: &mut impl Events<Event>) {
        self.wish = self.wish.max(self.number()).saturating_add(1);
        self.after_change(call, out);
    }

    fn number(&self) -> u32 {
        self.frozen.map_or(0, |frozen| frozen.epoch.number)
    }

    fn is_last(&self) -> bool {
        matches!(self.next, Next::Alone | Next::First(_))
    }

    /// Who counts as the next one.
    pub fn successor(&self) -> Option<Handle> {
        match self.next {
            Next::Member(successor) | Next::First(successor) => Some(successor),
            Next::Unknown | Next::Alone => None,
        }
    }

    /// This node and all behind it.
    pub fn rest(&self) -> Option<Sum> {
        match self.next {
            Next::Unknown => None,
            Next::Alone | Next::First(_) => Some(self.own),
            Next::Member(_) => self.rows.rest(),
        }
    }

    /// The rank of this node and the number of all by what is counted now, settled or not.
    pub fn counted(&self) -> Option<(u32, u32)> {
        if self.own == Sum::NONE {
            return None;
        }
        let members = self.total?.current.members;
        Some((members.checked_sub(self.rest()?.members)?, members))
    }

    /// Where this node stands, as far as it is known. Under a numbering that is not settled any more it keeps
    /// the rank that it had.
    pub fn standing(&self, config: &Config) -> Option<Standing> {
        let total = self.total?;
        let Some(Frozen { epoch, members }) = total.frozen else {
            let epoch = Epoch { number: self.wish, digest: total.current.marks };
            return Some(Standing {
                rank: self.counted().map(|(rank, _)| rank),
                members: total.current.members,
                epoch,
                is_settled: false,
            });
        };
        // The same members in the same order have the same ranks, so what is counted is right once it is
        // quiet.
        let is_settled = total.is_current() && self.is_fresh() && self.quiet >= config.quiet_rounds;
        let held = self.held.filter(|(held, _)| *held == epoch && !is_settled).map(|(_, rank)| rank);
        let rank = held.or(self.counted().map(|(rank, _)| rank));
        Some(Standing { rank, members, epoch, is_settled })
    }

    /// Nothing that the rank is made of is unknown or waits for an answer.
    fn is_fresh(&self) -> bool {
        match self.next {
            Next::Unknown => false,
            Next::Alone => true,
            Next::First(_) => self.last.sum().is_some(),
            Next::Member(_) => self.rows.is_fresh(),
        }
    }

    /// Other nodes that are kept: those that rows lead to, and those that asked.
    pub fn entries(&self) -> usize {
        self.rows.len() + self.askers.len() + usize::from(matches!(self.next, Next::First(_)))
    }

    /// A peer's numbering and its wish for another one; the higher ones count.
    fn learn(&mut self, frozen: Option<Frozen>, wish: u32) -> Result<(), Fault> {
        let number = frozen.map_or(0, |frozen| frozen.epoch.number);
        let known = self.number().max(self.wish);
        let is_new = self.frozen.is_none() && self.wish == 0;
        if !is_new && number.max(wish) > known.saturating_add(AHEAD_MAX) {
            return Err(Fault::TooFarAhead);
        }
        self.wish = self.wish.max(wish);
        if frozen.is_some() && (self.frozen.is_none() || number > self.number()) {
            self.frozen = frozen;
        }
        Ok(())
    }

    /// A row's peer says its own row of that level, and the last row's peer what the last node says. Whether
    /// it waits for a word that this was heard.
    fn on_tell(
        &mut self,
        from: Handle,
        (level, version): (u8, u32),
        (told, total): (Told, Option<Total>),
    ) -> Result<bool, Fault> {
        if level == CROWN {
            if self.next != Next::First(from) {
                return Err(Fault::Unasked);
            }
            return self.last.on_tell(version, told.end());
        }
        let is_new = self.rows.on_tell(self.me, from, (level, version), told)?;
        if told.end().is_some() {
            // Numbers that are far ahead are a lie, and no reason to refuse the sums.
            let _ = self.learn(total.and_then(|total| total.frozen), 0);
            self.set_total(total);
        }
        Ok(is_new)
    }

    /// Without a word from the last node its old one stays, but nothing is settled by it.
    fn set_total(&mut self, total: Option<Total>) {
        self.total = total.or(self.total.map(|total| Total { is_quiet: false, ..total }));
    }

    /// What follows from a change: rows from rows, the last node's word, and what is to be told to whom.
    fn after_change(&mut self, call: Call<'_, Config>, out: &mut impl Events<Event>) {
        self.rows.derive(self.me);
        if self.is_last() {
            let current = if self.next == Next::Alone { Some(self.own) } else { self.last.sum() };
            let (frozen, wish) = (self.frozen, self.wish);
            let total = current.map(|current| self.last.total(call.config, current, frozen, wish));
            self.set_total(total);
            self.frozen = self.total.and_then(|total| total.frozen).or(self.frozen);
        } else if self.next == Next::Unknown {
            self.total = None;
        }
        let made_of = self.rest().zip(self.total.map(|total| total.current));
        if made_of != self.made_of {
            (self.made_of, self.quiet) = (made_of, 0);
        }
        let (rows, rest, total) = (&self.rows, self.rest(), self.total);
        let told = |level: u8| match (rows.row(level), rest) {
            (Some((peer, sum)), _) if level != CROWN => Told::Ahead { peer, sum },
            (_, Some(sum)) => Told::End { sum },
            (_, None) => Told::Unknown,
        };
        let has_news = self.askers.note(told, total);
        if has_news || self.rows.has_unasked() || self.last.is_unasked(self.next) {
            self.gather_at = self.gather_at.min(call.now + call.config.gather);
        }
        self.tell_host(call.config, out);
    }

    fn tell_host(&mut self, config: &Config, out: &mut impl Events<Event>) {
        let standing = self.standing(config);
        let settled = standing.filter(|standing| standing.is_settled);
        if let Some(Standing { rank: Some(rank), epoch, .. }) = settled {
            self.held = Some((epoch, rank));
        }
        let epoch = settled.map(|standing| standing.epoch);
        if epoch != self.told {
            self.told = epoch;
            out.event(settled.map_or(Event::Unsettled, Event::Settled));
        }
    }

    fn start_round(&mut self, call: Call<'_, Config>) {
        self.next_round = call.now + self.rng.jitter(call.config.period, 10);
        self.quiet = self.quiet.saturating_add(1);
        self.last.start_round(call.config);
        self.askers.start_round();
        let rows = self.rows.len() as u8;
        self.turn = if self.turn + 1 < rows { self.turn + 1 } else { 0 };
        self.rows.start_round(call.config, self.turn);
        self.gather_at = call.now;
    }

    /// Asks and tells all that is due.
    fn speak(&mut self, out: &mut impl Sink<Message>) {
        self.gather_at = Instant::FAR;
        let (frozen, wish) = (self.frozen, self.wish);
        if let Next::First(first) = self.next
            && let Some(heard) = self.last.take_due()
        {
            out.send(first, Message::Ask { level: CROWN, heard, frozen, wish });
        }
        for (level, peer, heard) in self.rows.take_due() {
            out.send(peer, Message::Ask { level, heard, frozen, wish });
        }
        self.askers.tell(out);
    }
}

impl Core for Sums {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        if self.next == Next::Unknown {
            return Wake::NEVER;
        }
        Wake::new(self.next_round, "a round of counting").or(Wake::new(self.gather_at, "sums have changed"))
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        if let Some(doubt) = &mut self.doubt {
            doubt.until = call.now;
        }
        self.askers.remove(peer);
        self.rows.forget_answers_of(peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.rows.handles().chain(self.askers.handles()).for_each(&mut *f);
        if let Next::Member(successor) | Next::First(successor) = self.next {
            f(successor);
        }
    }
}

impl<S: Sink<Message> + Events<Event>> Driven<S> for Sums {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        match message {
            Message::Ask { level, heard, frozen, wish } => {
                if level > CROWN {
                    return Err(Fault::Level(level));
                }
                self.learn(frozen, wish)?;
                if let Some(gone) = self.askers.asked(level, from, heard) {
                    out.send(gone, Message::Forgotten { level });
                }
                self.after_change(call, out);
                self.askers.answer(level, from, out);
            }
            Message::Tell { level, version, told, total } => {
                if self.on_tell(from, (level, version), (told, total))? {
                    out.send(from, Message::Heard { level, version });
                }
                out.contact_answered(from);
                self.after_change(call, out);
            }
            Message::Heard { level, version } => self.askers.heard(level, from, version),
            Message::Forgotten { level } => self.rows.on_forgotten(from, level)?,
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        if self.next_round <= call.now {
            self.settle_doubt(call, out);
            self.start_round(call);
            self.after_change(call, out);
        }
        if self.gather_at <= call.now {
            self.speak(out);
        }
    }
}
