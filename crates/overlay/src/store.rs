//! What lies on the ring: items by key, their copies, and who answers for them.
//!
//! Source: replication on successors as in DHash (Dabek and others: Wide-area cooperative storage with CFS,
//! SOSP 2001), with leased ranges, so that at most one node answers for a key. The protocol is in
//! `docs/protocols/store.md`. *Absent: what keys and values mean, who is an administrator (the host says it),
//! and the ring itself, of which the host tells the facts.*

mod client;
mod config;
mod item;
mod list;
mod message;
mod overwrite;
mod owner;
mod shelf;
mod stray;
mod sync;
mod targets;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, NodeId, Rng, Sink, Wake};

pub use client::{Failed, LOADED_MAX, Operation, SCANNED_MAX, Success, TASKS_MAX, TooMany, end_of_prefix};
pub use config::Config;
pub use item::{
    DEGREE_MAX, Item, LEASE_MAX, RequestId, Sent, Stamp, VALUE_MAX, Value, ValueTooLong, Version, Writer,
    Written, weight,
};
pub use list::List;
pub use message::{Action, BATCH_BYTES_MAX, BATCH_MAX, Entry, Found, Message, Outcome, Winner};
pub use overwrite::{Overwrite, PROOF_MAX, Proof, Word};
pub use owner::{ASKERS_MAX, SETTLING_MAX};
pub use shelf::{
    BYTES_MAX, ITEMS_MAX, MEMBER_BYTES_MAX, MEMBER_ITEMS_MAX, Merged, PAGE_MAX, Page, Refused, Shelf, Sum,
};
pub use targets::Tenure;

use crate::ring::LookupId;
use crate::{Key, Position, Range};
use client::Client;
use owner::{Answered, Settling};
use stray::Strays;
use sync::Sync;

/// What the store asks of the node around it, beside a way out.
pub trait Host: Sink<Message> + Events<Event> {
    /// The node behind a handle, as its credential says.
    fn id_of(&self, peer: Handle) -> Option<NodeId>;
    /// Whether it may write and remove what others wrote.
    fn is_admin(&self, peer: Handle) -> bool;
    /// Whether it may do so at this key: a part of the ring may have a rule of its own.
    fn may_overwrite(&self, peer: Handle, key: &Key) -> bool {
        let _ = key;
        self.is_admin(peer)
    }
    /// Whether it may write here at all, whoever asks for it: a part of the ring may keep keys for some.
    fn may_write(&self, writer: NodeId, key: &Key) -> bool {
        let _ = (writer, key);
        true
    }
    /// Whether words of administrators are verified before they come here ([`Action::Overwrite`]). Where they
    /// are not, nobody is one by them.
    fn verifies_words(&self) -> bool {
        false
    }
    /// Where it stands, as far as that is known: copies prefer other sites.
    fn site_of(&self, peer: Handle) -> Option<u64>;
    /// What the ring says now.
    fn tenure(&self) -> Tenure;
    /// Looks for the owner of a position; the answer comes by [`Store::handle_found`] or
    /// [`Store::handle_not_found`]. None: not now.
    fn look_up(&mut self, target: Position) -> Option<LookupId>;
}

/// What the store tells the node around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation of this node is over.
    Done { request: RequestId, result: Result<Success, Failed> },
    /// What this node wrote has lost against what another wrote on the other side of a split.
    Lost { version: Version, winner: Winner },
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an answer that nobody waits for")]
    Unasked,
    #[error("a degree or a lease that no member may give")]
    Impossible,
    #[error("an answer that tells of another key or range")]
    NotAsked,
    #[error("a range that ends at another node")]
    AnotherId,
}

/// One node's part of the store.
///
/// Invariants: what is answered was read while the lease of the range was valid, and lies at all copies that
/// it shall have; `unsettled` is within the own range.
#[derive(Clone, Debug)]
pub struct Store {
    handle: Handle,
    shelf: Shelf,
    rng: Rng,
    /// The range and epoch for which this node has asked its neighbours and answers now.
    open: Option<(Range, u64)>,
    /// As its lease was last seen: whoever looks again later cannot tell whether another has had the range.
    held_until: Instant,
    /// What of it may not lie at all its copies yet, and since which change.
    unsettled: BTreeMap<Key, u64>,
    changes: u64,
    settling: BTreeMap<Key, Settling>,
    answered: VecDeque<Answered>,
    sync: Option<Sync>,
    /// As the last sync began.
    successors: Vec<Handle>,
    strays: Strays,
    client: Client,
    seq: u32,
    round_due: Instant,
}

impl Store {
    pub fn new(handle: Handle, rng: Rng, now: Instant) -> Self {
        Store {
            handle,
            shelf: Shelf::default(),
            rng,
            open: None,
            held_until: Instant::ZERO,
            unsettled: BTreeMap::new(),
            changes: 0,
            settling: BTreeMap::new(),
            answered: VecDeque::new(),
            sync: None,
            successors: Vec::new(),
            strays: Strays::default(),
            client: Client::default(),
            seq: 0,
            round_due: now,
        }
    }

    /// What lies here: for the load and the middle of a range, which the ring asks.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Whether it answers for what it owns: it has asked its neighbours for what it took over.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Items of the own range that may lie at too few nodes.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    fn changed(&mut self, key: &Key) {
        self.changes += 1;
        self.unsettled.insert(key.clone(), self.changes);
    }

    /// The epoch under which this node may answer for a key now; none when it is not the owner, or has yet to
    /// ask its neighbours.
    fn answers_for(&self, tenure: &Tenure, now: Instant, key: &Key) -> Option<u64> {
        let epoch = tenure.owns(now, key)?;
        let (range, open) = self.open.as_ref()?;
        (*open == epoch && range.contains_key(key)).then_some(epoch)
    }

    /// The ring says something else than before: the range, its epoch, or the successors. To be called after
    /// each event of the ring; once too often does no harm.
    pub fn handle_ring<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let tenure = out.tenure();
        let was_held = call.now <= self.held_until;
        self.held_until = tenure.lease.as_ref().map_or(Instant::ZERO, |(.., until)| *until);
        match tenure.valid(call.now) {
            None => self.close(call, out),
            Some((range, epoch)) => {
                let is_same = self.open.as_ref().is_some_and(|(own, open)| own == range && *open == epoch);
                let is_part = |(own, open): &(Range, u64)| {
                    // A newcomer has taken the beginning: what is left was this node's all the time.
                    own.to == range.to && own.contains(&range.after) && *open <= epoch && own != range
                };
                let is_taking = self.sync.as_ref().is_some_and(|sync| sync.is_takeover_of(range, epoch));
                if is_same || is_taking {
                    self.follow_successors(call, &tenure, out);
                } else if was_held && self.open.as_ref().is_some_and(is_part) {
                    self.give_up_part(call, range.clone(), epoch, out);
                    self.follow_successors(call, &tenure, out);
                } else {
                    self.take_over(call, range.clone(), epoch, &tenure, out);
                }
            }
        }
    }

    /// It owns nothing now. What it has are copies like others.
    fn close<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.open = None;
        self.sync = None;
        self.unsettled.clear();
        for (_, settling) in core::mem::take(&mut self.settling) {
            self.refuse_askers(settling, out);
        }
        self.note_strays(call, None);
    }

    fn give_up_part<H: Host>(&mut self, call: Call<'_, Config>, range: Range, epoch: u64, out: &mut H) {
        self.unsettled.retain(|key, _| range.contains_key(key));
        let is_lost = |key: &Key| !range.contains_key(key);
        let lost: Vec<Key> = self.settling.keys().filter(|key| is_lost(key)).cloned().collect();
        for key in lost {
            if let Some(settling) = self.settling.remove(&key) {
                self.refuse_askers(settling, out);
            }
        }
        self.note_strays(call, Some(&range));
        self.sync = None;
        self.open = Some((range, epoch));
    }

    /// A node is gone for good, or has restarted: nobody can be told there.
    fn forget_writer(&mut self, peer: Handle) {
        self.shelf.writers_mut().filter(|it| it.at == Some(peer)).for_each(|it| it.at = None);
    }

    /// Takes in what another sent. True when something changed.
    fn take_in<H: Host>(&mut self, call: Call<'_, Config>, sent: Sent, out: &mut H) -> Result<Merged, Fault> {
        if !may_be(&sent, out) {
            return Err(Fault::Impossible);
        }
        let (key, item) = sent.open(call.now).map_err(|_| Fault::Impossible)?;
        let Some(item) = item.left_at(call.now, &key) else { return Ok(Merged::Same) };
        let winner = Winner { key: key.clone(), stamp: item.stamp, writer: item.writer.id };
        let merged = self.shelf.merge(&key, item);
        let tenure = out.tenure();
        let is_own = tenure.owns(call.now, &key).is_some();
        if let (Merged::Taken(old), true) = (&merged, is_own) {
            self.changed(&key);
            if let Some(old) = old.as_ref().filter(|_| self.answers_for(&tenure, call.now, &key).is_some()) {
                tell_loser(old, winner, out);
            }
        } else if !is_own && merged != Merged::Full {
            self.strays.keep(&key, call.now + call.config.keep);
        }
        Ok(merged)
    }
}

/// Whether a correct member may send this.
fn may_be<H: Host>(sent: &Sent, out: &H) -> bool {
    sent.is_possible() && (sent.value.is_none() || out.may_write(sent.writer.id, &sent.key))
}

/// Tells the writer of a copy that another one's took its place.
fn tell_loser<H: Host>(old: &Item, winner: Winner, out: &mut H) {
    if old.is_removed() || old.writer.id == winner.writer {
        return;
    }
    if let Some(at) = old.writer.at {
        out.send(at, Message::Lost { version: old.stamp.version, winner });
    }
}

impl Core for Store {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.round_due, "round of the store")
            .or(Wake::new(self.shelf.next_due(), "lease of an item"))
            .or(Wake::new(self.next_settling(), "copy not acknowledged"))
            .or(Wake::new(self.sync.as_ref().map_or(Instant::FAR, Sync::next_due), "copies not compared"))
            .or(Wake::new(self.client.next_due(), "operation"))
            .or(Wake::new(self.strays.next_due(), "stray copies"))
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.forget_writer(peer);
        self.client.forget(peer, call.now);
        self.strays.forget(peer, call.now);
        if let Some(sync) = &mut self.sync {
            sync.forget(peer);
        }
        for settling in self.settling.values_mut() {
            settling.forget(peer, call.now);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.shelf.iter().filter_map(|(_, item)| item.writer.at).for_each(&mut *f);
        self.settling.values().for_each(|it| it.for_each_handle(f));
        self.sync.iter().for_each(|it| it.for_each_handle(f));
        self.client.for_each_handle(f);
        self.strays.for_each_handle(f);
        self.successors.iter().for_each(|it| f(*it));
    }
}

impl<H: Host> Driven<H> for Store {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        match message {
            Message::Ask { request, key, action } => {
                self.on_ask(call, from, request, key, action, out);
                Ok(())
            }
            Message::Answer { request, outcome, epoch } => {
                self.on_answer(call, from, request, outcome, epoch, out)
            }
            Message::Copy { seq, items } => self.on_copy(call, from, seq, items, out),
            Message::Copied { seq, is_full } => self.on_copied(call, from, seq, is_full, out),
            Message::Compare { seq, range, sum, is_takeover } => {
                self.on_compare(call, from, (seq, range), sum, is_takeover, out)
            }
            Message::Same { seq } => self.on_same(call, from, seq, out),
            Message::Listing { seq, entries, through } => {
                self.on_listing(call, from, seq, entries.into_vec(), through, out)
            }
            Message::Fetch { seq, keys } => {
                self.on_fetch(call, from, seq, keys.as_slice(), out);
                Ok(())
            }
            Message::Fetched { seq, items } => self.on_fetched(call, from, seq, items.into_vec(), out),
            Message::Unneeded { keys } => {
                self.strays.unneeded(&self.shelf, keys.as_slice(), call.now);
                Ok(())
            }
            Message::Offer { seq, entries } => {
                self.on_offer(call, from, seq, entries.as_slice(), out);
                Ok(())
            }
            Message::Placed { seq, wanted, unneeded } => {
                self.on_placed(call, from, seq, wanted.as_slice(), unneeded.into_vec(), out)
            }
            Message::Lost { version, winner } => {
                out.event(Event::Lost { version, winner });
                Ok(())
            }
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut H) {
        while let Some(key) = self.shelf.expire(call.now) {
            self.unsettled.remove(&key);
            self.strays.remove(&key);
            if let Some(settling) = self.settling.remove(&key) {
                self.refuse_askers(settling, out);
            }
        }
        self.tick_settling(call, out);
        self.tick_sync(call, out);
        self.tick_strays(call, out);
        self.tick_client(call, out);
        if self.round_due <= call.now {
            self.round_due = call.now + self.rng.jitter(call.config.period, 5);
            self.handle_ring(call, out);
            self.begin_sync(call, out);
            self.begin_stray(call, out);
        }
    }
}

/// Bytes of a batch so far.
pub(crate) fn batch<'a>(
    items: impl Iterator<Item = (&'a Key, &'a Item)>,
    now: Instant,
) -> List<Sent, BATCH_MAX> {
    let (mut list, mut bytes) = (List::default(), 0);
    for (key, item) in items {
        if list.is_full() || bytes >= BATCH_BYTES_MAX {
            break;
        }
        let sent = Sent::new(key, item, now);
        bytes += sent.len_bytes();
        list.push(sent);
    }
    list
}
