//! Chord#: a ring in the order of keys, with rows in node space.
//!
//! Source: Schütt, Schintke, Reinefeld: Chord#, DAIS 2005; notify, stabilise and the list of successors are
//! those of Chord (Stoica and others, SIGCOMM 2001). Departures are listed in `docs/protocols/ring.md`.

mod config;
mod contact;
mod join;
mod lease;
mod lookup;
mod message;
mod questions;
mod rows;
mod stabilise;
mod successors;
mod tenure;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Rng, Sampler, Sink, Wake};

pub use config::Config;
pub use contact::{Contact, Contacts, clockwise};
pub use join::SAMPLED_MAX;
pub use lease::{Lease, PROMISES_MAX};
pub use lookup::{LOOKUPS_MAX, LookupId, Owner, TooManyLookups};
pub use message::{Claim, Inheritance, LEVEL_MAX, Message, Promised, Verdict};
pub use rows::{BASE, ENTRIES, ROWS_MAX, Row};
pub use successors::SUCCESSORS_MAX;

use crate::chord::Fingers;
use crate::{Key, Position, Range};
use join::{Joining, Leaving, Sample};
use lease::Promises;
use lookup::Lookup;
use questions::{Questions, Silent};
use rows::Rows;
use stabilise::Neighbours;
use successors::Successors;
use tenure::Gap;

/// What the ring asks of the node around it, beside a way out.
pub trait Host: Sink<Message> + Events<Event> + Sampler {
    /// The node behind a handle, as its credential says.
    fn id_of(&self, peer: Handle) -> Option<NodeId>;
    /// Whether this node itself is cut off, as far as is known now. Asked, again and again, before it takes
    /// the whole ring because it hears of nobody.
    fn is_cut_off(&mut self) -> bool {
        false
    }
    /// How much lies in a range that this node owns.
    fn load(&self, range: &Range) -> u64;
    /// The key up to which half of that lies; none when there is nothing to share.
    fn middle(&self, range: &Range) -> Option<Key>;
}

/// What the ring tells the node around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Found {
        lookup: LookupId,
        owner: Owner,
    },
    /// Nobody answered as the owner in time.
    NotFound {
        lookup: LookupId,
    },
    /// [`Ring::successors`] are others.
    Successors,
    /// [`Ring::predecessor`] is another.
    Predecessor,
    /// What this node owns from now on, and its epoch, as long as its lease is valid: [`Ring::lease`]. What
    /// is new in it lies with the successors.
    Range(Option<(Range, u64)>),
    /// It owns a part of the ring that it did not have by its lease before: after a start, a move, or when it
    /// was gone for longer than a lease.
    Joined {
        epoch: u64,
    },
    /// The range of this node, which is not there any more, is this one's from now on.
    TookOver {
        from: NodeId,
        how: Departure,
        epoch: u64,
    },
    /// A part of what it owned is `to`'s from now on.
    Ceded {
        to: Handle,
        range: Range,
    },
    /// [`Ring::leave`] is over.
    Left,
}

/// How a node has come to be gone from its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It said that it leaves.
    Left,
    /// It said that it goes to another place.
    Moves,
    /// Its lease ended, and nobody has heard of it.
    Vanished,
}

impl Event {
    /// Shows every peer that the event names.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Event::Found { owner, .. } => f(owner.contact.handle),
            Event::Ceded { to, .. } => f(*to),
            Event::NotFound { .. } | Event::Successors | Event::Predecessor => {}
            Event::Range(_) | Event::Joined { .. } | Event::TookOver { .. } | Event::Left => {}
        }
    }
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an answer that nobody waits for")]
    Unasked,
    #[error("the position of another node")]
    AnotherId,
    #[error("a range that does not hold what was asked for")]
    NotAsked,
    #[error("row {0}: there is none")]
    Level(u8),
    #[error("an epoch beyond all reason")]
    Epoch,
}

/// Somebody and when it spoke last.
#[derive(Clone, Debug)]
struct Heard {
    contact: Contact,
    at: Instant,
}

/// One node's part of the ring.
///
/// Invariants: the successors follow one another, none twice, never the own node; the predecessor spoke
/// itself.
#[derive(Clone, Debug)]
pub struct Ring {
    id: NodeId,
    handle: Handle,
    /// None: it is not on the ring and only asks.
    position: Option<Position>,
    predecessor: Option<Heard>,
    /// The nearest before it that has or claims a range: who has not come by one yet stands before no gap.
    below: Option<Heard>,
    successors: Successors,
    rows: Rows,
    /// Chord's table beside the rows, which are then empty.
    fingers: Option<Fingers>,
    questions: Questions,
    silent: Silent,
    lookups: Vec<Lookup>,
    last_lookup: u32,
    lease: Option<Lease>,
    promises: Promises,
    gap: Option<Gap>,
    gap_due: Instant,
    /// Whether the host has heard of the range in `lease`.
    is_range_told: bool,
    /// ... that it did not have before.
    is_join_untold: bool,
    /// The highest that this node knows of; a new one is higher.
    epoch: u64,
    /// When the predecessor or the first successor became another, or this node came out of a pause.
    changed_at: Instant,
    last_call: Instant,
    /// When somebody on the ring last spoke to this node.
    met_at: Instant,
    /// When this node last knew of a lease of anybody.
    leased_at: Instant,
    /// Until then it founds, once it has begun to.
    founding_until: Instant,
    sample: Option<Sample>,
    joining: Option<Joining>,
    leaving: Option<Leaving>,
    last_key: Option<Key>,
    drift_due: Instant,
    /// When the next newcomer may be told of a middle.
    middle_free: Instant,
    round_due: Instant,
    round: u32,
    /// The row whose turn it is.
    level: u8,
    rng: Rng,
}

impl Ring {
    /// A node that is not on the ring yet.
    pub fn new(id: NodeId, handle: Handle, rng: Rng) -> Self {
        Ring {
            id,
            handle,
            position: None,
            predecessor: None,
            below: None,
            successors: Successors::default(),
            rows: Rows::default(),
            fingers: None,
            questions: Questions::default(),
            silent: Silent::default(),
            lookups: Vec::new(),
            last_lookup: 0,
            lease: None,
            promises: Promises::default(),
            gap: None,
            gap_due: Instant::FAR,
            is_range_told: true,
            is_join_untold: false,
            epoch: 0,
            changed_at: Instant::ZERO,
            last_call: Instant::ZERO,
            met_at: Instant::ZERO,
            leased_at: Instant::ZERO,
            founding_until: Instant::ZERO,
            sample: None,
            joining: None,
            leaving: None,
            last_key: None,
            drift_due: Instant::FAR,
            middle_free: Instant::ZERO,
            round_due: Instant::FAR,
            round: 0,
            level: 1,
            rng,
        }
    }

    /// A node of plain Chord: fingers in the space of identifiers instead of rows. It is to stand at a random
    /// [`chord::key_of`](crate::chord::key_of), and to [`learn`](Self::learn) of all nodes that it hears of.
    pub fn chord(id: NodeId, handle: Handle, rng: Rng) -> Self {
        Ring { fingers: Some(Fingers::default()), ..Ring::new(id, handle, rng) }
    }

    /// Where it stands; none while it is not on the ring.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The next nodes in their order, at most [`SUCCESSORS_MAX`].
    pub fn successors(&self) -> &[Contact] {
        self.successors.as_slice()
    }

    pub fn predecessor(&self) -> Option<&Contact> {
        self.predecessor.as_ref().map(|heard| &heard.contact)
    }

    /// Row `level`: entry `j` is about `(j + 1) * 4^level` nodes away. Row 0 are the first three successors;
    /// of Chord every row is.
    pub fn row(&self, level: usize) -> Row {
        if level == 0 || self.fingers.is_some() {
            return core::array::from_fn(|nth| self.successors.as_slice().get(nth).cloned());
        }
        self.rows.row(level).cloned().unwrap_or_default()
    }

    /// Rows that there are, row 0 among them.
    pub fn row_count(&self) -> usize {
        1 + self.rows.as_slice().len()
    }

    /// Everybody in successors, rows and fingers that is known to this node, some twice.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        let fingers = self.fingers.iter().flat_map(Fingers::contacts);
        self.successors.as_slice().iter().chain(self.rows.contacts()).chain(fingers)
    }

    /// Who was not called for longer than a round has not heard what happened meanwhile.
    fn notice_pause(&mut self, call: Call<'_, Config>) {
        if self.last_call + call.config.pause_limit() < call.now {
            self.changed_at = call.now;
            self.founding_until = Instant::ZERO;
        }
        self.last_call = call.now;
    }

    fn own_answer(&self, now: Instant, target: &Position) -> Option<Owner> {
        let lease =
            self.lease.as_ref().filter(|lease| lease.is_valid(now) && lease.range.contains(target))?;
        let contact = Contact { handle: self.handle, position: lease.range.to.clone() };
        Some(Owner { contact, range: lease.range.clone(), epoch: lease.epoch, hops: 0 })
    }
}

impl Core for Ring {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.round_due, "round of the ring")
            .or(Wake::new(self.questions.next_due(), "question unanswered"))
            .or(Wake::new(self.next_lookup(), "lookup"))
            .or(Wake::new(self.next_gap(), "gap before the own range"))
            .or(Wake::new(self.next_join(), "loads to compare"))
    }

    fn handle_gone(&mut self, _: Call<'_, Config>, peer: Handle) {
        self.drop_peer(peer);
        self.questions.forget(peer);
        self.silent.forget(peer);
    }

    /// Others may be wrong: it is asked once more, in this node's own round, which comes now.
    fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        let is_known =
            self.successors.contains(peer) || self.predecessor().is_some_and(|it| it.handle == peer);
        if is_known && self.position.is_some() {
            self.round_due = call.now;
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.contacts().for_each(|contact| f(contact.handle));
        self.predecessor().into_iter().for_each(|contact| f(contact.handle));
        self.below.iter().for_each(|heard| f(heard.contact.handle));
        self.questions.peers().for_each(&mut *f);
        self.lookups.iter().for_each(|lookup| lookup.for_each_handle(f));
        self.lease.iter().for_each(|lease| lease.for_each_handle(f));
        self.promises.for_each_handle(f);
    }
}

impl<H: Host> Driven<H> for Ring {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        self.notice_pause(call);
        match message {
            Message::Stabilise { seq, position, claim } => {
                self.on_stabilise(call, from, seq, (position, claim), out)
            }
            Message::Neighbours { seq, position, predecessor, successors, epoch, verdict, quiet } => {
                let answer = Neighbours { seq, position, predecessor, successors, epoch, verdict, quiet };
                self.on_neighbours(call, from, answer, out)
            }
            Message::AskRow { seq, level } => self.on_ask_row(from, seq, level, out),
            Message::TellRow { seq, entries } => self.on_tell_row(call, from, seq, entries, out),
            Message::Find { seq, target } => {
                self.on_find(call, from, seq, &target, out);
                Ok(())
            }
            Message::Nearer { seq, contacts } => self.on_nearer(call, from, seq, &contacts, out),
            Message::Owned { seq, range, epoch } => self.on_owned(call, from, (seq, range, epoch), out),
            Message::Absent { seq } => self.on_absent(call, from, seq, out),
            Message::AskLoad { seq } => {
                self.on_ask_load(call, from, seq, out);
                Ok(())
            }
            Message::Load { seq, load } => self.on_load(call, from, seq, load, out),
            Message::AskMiddle { seq } => {
                self.on_ask_middle(call, from, seq, out);
                Ok(())
            }
            Message::Middle { seq, key } => self.on_middle(call, from, seq, key, out),
            Message::Leave { seq, range, epoch, promises, moves } => {
                self.on_leave(call, from, (seq, range, epoch), (promises, moves), out)
            }
            Message::Left { seq } => self.on_left(call, from, seq, out),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.notice_pause(call);
        self.tick_questions(call, out);
        self.tick_lookups(call, out);
        self.tick_join(call, out);
        if self.next_gap() <= call.now {
            self.tick_gap(call, out);
        }
        if self.round_due <= call.now {
            self.round(call, out);
        }
    }
}
