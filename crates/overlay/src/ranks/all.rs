//! Everyone learns everyone, and its rank is its place in the sorted list.
//!
//! Gossip of member lists, push and pull, of which only differences travel (Demers et al., PODC 1987): two
//! members compare digests of parts of their lists, then names and versions in the parts that differ, then
//! what the other lacks. Who does not answer is *suspect*, and says the contrary when it hears of it (SWIM:
//! Das, Gupta, Motivala, DSN 2002, §4.2); while anybody is suspect nothing is settled, which is how each side
//! of a partition notices. *Absent: proof that a name is its bearer's; the driver has verified entries.*

mod entry;
mod list;
mod message;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sampler, Sink, Wake};

pub use entry::{Entry, Life, Name, Status};
pub use list::{BUCKETS, MEMBERS_MAX};
pub use message::{Head, Message};

use super::{Epoch, Standing};
use list::List;

/// Numberings that a peer may be ahead of this member; further ones are a lie.
const AHEAD_MAX: u32 = 1 << 16;

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One exchange is begun in each.
    pub period: Duration,
    /// An exchange that is not answered is tried again with the same peer after that.
    pub reply_timeout: Duration,
    /// Tries in a round. Who answers none of them in two rounds is suspect. Our guess: at 5 % loss three fail
    /// in one of 1,000 rounds, and a list of 1,000 would never be without a suspect.
    pub tries: u8,
    /// Rounds in a row in which the peer had the same list, before a list of unknown length counts as
    /// complete. Our guess.
    pub quiet_rounds: u8,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            period: Duration::from_secs(2),
            reply_timeout: Duration::from_millis(500),
            tries: 3,
            quiet_rounds: 5,
        }
    }
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Answers nothing that is open: late, repeated or made up.
    #[error("an answer that nobody waits for")]
    Unsolicited,
    #[error("a numbering far ahead of all that are known")]
    TooFarAhead,
    /// Bears the name and the incarnation of this member, or of another one that has another address. What
    /// else the message said was taken.
    #[error("a member that bears another's name")]
    Impostor,
    /// The list has no room for all members that there are. What found room was taken.
    #[error("more than {MEMBERS_MAX} members")]
    TooMany,
}

/// What the node around it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another member has a rank, or a member another one.
    Changed,
    Settled(Standing),
    Unsettled,
    /// Another incarnation bears this member's name: it was replaced, and has no rank any more.
    Displaced,
}

/// An exchange that this member began.
#[derive(Clone, Copy, Debug)]
struct Open {
    peer: Handle,
    tries: u8,
    again_at: Instant,
}

/// One member's list of all.
#[derive(Clone, Debug)]
pub struct All {
    own: Entry,
    /// How many there shall be, if that is known.
    expected: Option<u32>,
    list: List,
    number: u32,
    rng: Rng,
    next_round: Instant,
    seq: u16,
    open: Option<Open>,
    /// Did not answer in the last round: it is asked in this one, too, before it is suspect.
    doubted: Option<Handle>,
    /// Rounds in a row without a difference.
    quiet: u8,
    asks_view: bool,
    is_displaced: bool,
    told: Option<Epoch>,
}

impl All {
    /// A member that knows only itself. `expected`: how many there will be, where it is known (the slots of
    /// an application).
    pub fn new(config: &Config, own: Entry, expected: Option<u32>, mut rng: Rng, now: Instant) -> Self {
        let next_round = now + Duration::from_micros(rng.between(0, config.period.as_micros()));
        let seq = rng.next_u32() as u16;
        let mut list = List::default();
        list.insert(own);
        All {
            own,
            expected,
            list,
            number: 0,
            rng,
            next_round,
            seq,
            open: None,
            doubted: None,
            quiet: 0,
            asks_view: true,
            is_displaced: false,
            told: None,
        }
    }

    /// Where this member stands.
    pub fn standing(&self, config: &Config) -> Standing {
        Standing {
            rank: if self.is_displaced { None } else { self.list.rank_of(self.own.name) },
            members: self.list.members(),
            epoch: self.epoch(),
            is_settled: self.is_settled(config),
        }
    }

    pub fn epoch(&self) -> Epoch {
        Epoch { number: self.number, digest: self.list.names_digest() }
    }

    /// Who has a rank, as far as is known; it may be dead.
    pub fn holder(&self, rank: u32) -> Option<&Entry> {
        self.list.ranked().nth(rank as usize)
    }

    /// All that have a rank, in order.
    pub fn ranked(&self) -> impl Iterator<Item = &Entry> {
        self.list.ranked()
    }

    fn is_settled(&self, config: &Config) -> bool {
        let is_complete = match self.expected {
            // Once numbered anew there are as many as there are.
            Some(expected) if self.number == 0 => self.list.members() == expected,
            _ => self.quiet >= config.quiet_rounds,
        };
        is_complete && !self.is_displaced && self.list.is_whole()
    }

    /// Numbers anew without those that are suspect, so that there are no gaps. Any member may ask for it.
    pub fn number_anew(&mut self, call: Call<'_, Config>, out: &mut impl Events<Event>) -> Epoch {
        self.list.drop_suspects();
        self.number = self.number.saturating_add(1);
        self.quiet = 0;
        self.tell(call, true, out);
        self.epoch()
    }

    /// Whether others have told of a higher incarnation than this one.
    pub fn is_said_to_be_replaced(&self, name: Name, incarnation: u64) -> bool {
        self.list.entry(name).is_some_and(|known| known.life.incarnation > incarnation)
    }

    /// A member has spoken itself: what others said of a higher incarnation of its name is not believed any
    /// more. Where there is one indeed it speaks, too, and stands in its place again.
    pub fn handle_spoken(&mut self, call: Call<'_, Config>, entry: Entry, out: &mut impl Events<Event>) {
        if self.is_said_to_be_replaced(entry.name, entry.life.incarnation) {
            self.list.put(entry);
            self.quiet = 0;
            self.tell(call, true, out);
        }
    }

    /// Somebody that the node knows to be lost, or to be back.
    pub fn handle_lost(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut impl Events<Event>) {
        self.suspect(peer);
        self.tell(call, false, out);
    }

    fn suspect(&mut self, peer: Handle) {
        if peer != self.own.handle && self.list.suspect(peer) {
            self.quiet = 0;
        }
    }

    fn head(&self) -> Head {
        Head { seq: self.seq, number: self.number }
    }

    fn start_round(&mut self, call: Call<'_, Config>, out: &mut (impl Sink<Message> + Sampler)) {
        self.next_round = call.now + self.rng.jitter(call.config.period, 10);
        if self.open.take().is_some() {
            self.quiet = 0;
        }
        // In turn: the view brings members that nobody here knows, the list those that a split has hidden.
        self.asks_view = !self.asks_view;
        let of_view = if self.asks_view { out.fresh_peer() } else { None };
        let of_view = self.doubted.or(of_view);
        let of_list = |all: &mut All| all.list.random(&mut all.rng, all.own.name);
        let Some(peer) = of_view.or_else(|| of_list(self)).or_else(|| out.fresh_peer()) else {
            // Who knows nobody may be the last one, or cut off: alone it is settled only on request.
            self.quiet = if self.number > 0 { self.quiet.saturating_add(1) } else { 0 };
            return;
        };
        self.seq = self.seq.wrapping_add(1);
        self.open = Some(Open { peer, tries: 0, again_at: Instant::FAR });
        self.ask(call, out);
    }

    fn ask(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) {
        let head = self.head();
        let Some(open) = &mut self.open else { return };
        open.tries += 1;
        open.again_at = call.now + call.config.reply_timeout;
        out.send(open.peer, Message::Compare { head, buckets: Box::new(self.list.digests()) });
    }

    /// A peer's numbering; the higher one counts.
    fn take_head(&mut self, head: Head) -> Result<(), Fault> {
        let knows_others = self.list.members() > 1;
        if knows_others && head.number > self.number.saturating_add(AHEAD_MAX) {
            return Err(Fault::TooFarAhead);
        }
        if head.number > self.number {
            self.number = head.number;
            self.quiet = 0;
        }
        Ok(())
    }

    fn on_compare(
        &mut self,
        from: Handle,
        head: Head,
        theirs: &[u64; BUCKETS],
        out: &mut impl Sink<Message>,
    ) {
        let ours = self.list.digests();
        let differ = (0..BUCKETS).filter(|bucket| ours[*bucket] != theirs[*bucket]);
        let mask = differ.fold(0, |mask, bucket| mask | 1 << bucket);
        let head = Head { number: self.number, ..head };
        if mask == 0 {
            out.send(from, Message::Same { head });
        } else {
            out.send(from, Message::Have { head, mask, known: self.list.known(mask) });
        }
    }

    /// Closes the exchange that this answers.
    fn close(&mut self, from: Handle, head: Head) -> Result<(), Fault> {
        if head.seq != self.seq || self.open.is_none_or(|open| open.peer != from) {
            return Err(Fault::Unsolicited);
        }
        self.take_head(head)?;
        self.open = None;
        Ok(())
    }

    fn on_have(&mut self, from: Handle, mask: u32, known: &[(Name, Life)], out: &mut impl Sink<Message>) {
        let (entries, wants) = self.list.compare(mask, known);
        // Lives travel without addresses where the address is known: the words on somebody, not somebody.
        out.send(from, Message::Swap { head: self.head(), entries, wants });
        self.quiet = 0;
    }

    /// Takes what is newer. All of it is taken, also when there is a fault among it.
    fn take(&mut self, entries: Vec<Entry>, out: &mut impl Events<Event>) -> Result<(), Fault> {
        let mut result = Ok(());
        for entry in entries {
            if entry.name == self.own.name {
                result = result.and(self.take_own(entry, out));
                continue;
            }
            match self.list.merge(entry) {
                Ok(true) => self.quiet = 0,
                Ok(false) => {}
                Err(fault) => result = Err(fault),
            }
        }
        result
    }

    /// What others say of this member.
    fn take_own(&mut self, entry: Entry, out: &mut impl Events<Event>) -> Result<(), Fault> {
        let (own, theirs) = (self.own.life, entry.life);
        if theirs.incarnation > own.incarnation {
            self.list.put(entry);
            if !self.is_displaced {
                self.is_displaced = true;
                out.event(Event::Displaced);
            }
            return Ok(());
        }
        if theirs.incarnation == own.incarnation && theirs > own {
            // It is suspected, or was: it says that it is there, with a higher word than that.
            self.own.life = Life { beat: theirs.beat.saturating_add(1), status: Status::Alive, ..own };
            self.list.put(self.own);
            self.quiet = 0;
        }
        if theirs.incarnation == own.incarnation && entry.handle != self.own.handle {
            return Err(Fault::Impostor);
        }
        Ok(())
    }

    /// Says what has changed since the last time.
    fn tell(&mut self, call: Call<'_, Config>, has_changed: bool, out: &mut impl Events<Event>) {
        if has_changed {
            out.event(Event::Changed);
        }
        let standing = self.standing(call.config);
        let settled = standing.is_settled.then_some(standing.epoch);
        if settled == self.told {
            return;
        }
        self.told = settled;
        out.event(if standing.is_settled { Event::Settled(standing) } else { Event::Unsettled });
    }
}

impl Core for All {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        if self.is_displaced {
            return Wake::NEVER;
        }
        let again_at = self.open.map_or(Instant::FAR, |open| open.again_at);
        Wake::new(self.next_round, "a round").or(Wake::new(again_at, "an exchange without an answer"))
    }

    /// It may be back under another handle.
    fn handle_gone(&mut self, _: Call<'_, Config>, peer: Handle) {
        self.suspect(peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.list.entries().for_each(|entry| f(entry.handle));
        self.open.into_iter().for_each(|open| f(open.peer));
    }
}

impl<S: Sink<Message> + Events<Event> + Sampler> Driven<S> for All {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        let before = self.list.version();
        self.doubted = self.doubted.filter(|doubted| *doubted != from);
        let result = match message {
            Message::Compare { head, buckets } => {
                self.take_head(head)?;
                self.on_compare(from, head, &buckets, out);
                Ok(())
            }
            Message::Same { head } => {
                self.close(from, head)?;
                self.quiet = self.quiet.saturating_add(1);
                out.contact_answered(from);
                Ok(())
            }
            Message::Have { head, mask, known } => {
                self.close(from, head)?;
                self.on_have(from, mask, &known, out);
                out.contact_answered(from);
                Ok(())
            }
            Message::Swap { head, entries, wants } => {
                self.take_head(head)?;
                let result = self.take(entries, out);
                let entries: Vec<Entry> =
                    wants.iter().filter_map(|name| self.list.entry(*name)).copied().collect();
                if !entries.is_empty() {
                    out.send(from, Message::Take { head: Head { number: self.number, ..head }, entries });
                }
                result
            }
            Message::Take { head, entries } => {
                self.take_head(head)?;
                self.take(entries, out)
            }
        };
        self.tell(call, self.list.version() != before, out);
        result
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        let before = self.list.version();
        if let Some(open) = self.open.filter(|open| open.again_at <= call.now) {
            if open.tries < call.config.tries {
                self.ask(call, out);
            } else {
                self.open = None;
                self.quiet = 0;
                if self.doubted.replace(open.peer) == Some(open.peer) {
                    self.doubted = None;
                    self.suspect(open.peer);
                    out.contact_silent(open.peer);
                }
            }
        }
        if self.next_round <= call.now {
            self.start_round(call, out);
        }
        self.tell(call, self.list.version() != before, out);
    }
}
