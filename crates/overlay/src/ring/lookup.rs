//! Who owns a position: asked step by step by the one who wants to know.
//!
//! Iterative, for robustness: nobody on the way keeps any state, a step that gets lost costs one short
//! time-out, and who asks learns which nodes are dead and goes round them. Recursive forwarding would halve
//! the latency of a lookup that meets no trouble, and lose all of it at the first dead node.

use alloc::vec::Vec;

use xtreem_base::{Call, Duration, Handle, Instant};

use super::contact::{Contact, Contacts};
use super::{Config, Event, Fault, Host, Message, Ring};
use crate::{Position, Range};

/// Lookups of one node at a time; beyond it new ones are refused.
pub const LOOKUPS_MAX: usize = 256;
/// Steps of one attempt: rows of base 4 need about 12 for a billion nodes. After that another way is tried.
const STEPS_MAX: u8 = 40;
/// Contacts that are kept to be asked later in one attempt.
const CANDIDATES_MAX: usize = 12;
/// Contacts of an answer: the best, and those that stand in for it.
pub(super) const NEARER_MAX: usize = 3;
/// Nodes that were asked in one attempt and are not asked again in it.
const ASKED_MAX: usize = 48;

/// Names a lookup of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookupId(pub u32);

/// A lookup was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LOOKUPS_MAX} lookups are under way: wait for some of them")]
pub struct TooManyLookups;

/// Who owned the target when it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub contact: Contact,
    pub range: Range,
    /// Of the range: the higher one is right when two sides of a split disagree.
    pub epoch: u64,
    /// Nodes that were asked on the way that led there, the owner included. 0: this node itself.
    pub hops: u8,
}

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Of the host.
    Asked(LookupId),
    /// Who stands after this node in the view of a stranger: whether there is another ring.
    Merge,
    /// Where to join.
    Join,
    /// Who stands between the one who asks about an owner before it and its own range.
    Gap,
}

#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) purpose: Purpose,
    target: Position,
    /// The last is asked next.
    candidates: Vec<Contact>,
    asked: Vec<Handle>,
    open: Option<(Handle, u16)>,
    /// Of the open question, or of the pause.
    pub(super) due: Instant,
    deadline: Instant,
    hops: u8,
    /// Failed attempts.
    attempts: u8,
    /// Somebody on a ring has answered: there is one.
    has_met: bool,
}

impl Lookup {
    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.candidates.iter().for_each(|contact| f(contact.handle));
        self.asked.iter().for_each(|handle| f(*handle));
    }

    /// Puts the contacts of an answer in front, the first of them foremost.
    fn add(&mut self, contacts: &[Contact]) {
        for contact in contacts.iter().rev() {
            if !self.asked.contains(&contact.handle) {
                self.candidates.retain(|known| known.handle != contact.handle);
                self.candidates.push(contact.clone());
            }
        }
        let surplus = self.candidates.len().saturating_sub(CANDIDATES_MAX);
        self.candidates.drain(..surplus);
    }
}

impl Ring {
    /// Asks for the owner of a position, or of a key: [`Position::of_key`]. [`Event::Found`] or
    /// [`Event::NotFound`] follows.
    ///
    /// # Errors
    /// [`LOOKUPS_MAX`] are under way; nothing was done.
    pub fn lookup<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        target: Position,
        out: &mut H,
    ) -> Result<LookupId, TooManyLookups> {
        if self.lookups.len() >= LOOKUPS_MAX {
            return Err(TooManyLookups);
        }
        self.last_lookup = self.last_lookup.wrapping_add(1);
        let id = LookupId(self.last_lookup);
        self.start_lookup(call, Purpose::Asked(id), target, None, out);
        Ok(id)
    }

    /// A lookup that begins at `first`, or at this node.
    pub(super) fn start_lookup<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        purpose: Purpose,
        target: Position,
        first: Option<Contact>,
        out: &mut H,
    ) {
        let limit = match purpose {
            // Where nobody has a ring yet nobody is found; and who stands somewhere is found by the others.
            Purpose::Join => call.config.lease,
            _ => call.config.lookup_timeout,
        };
        let mut lookup = Lookup {
            purpose,
            target,
            candidates: Vec::new(),
            asked: Vec::new(),
            open: None,
            due: call.now,
            deadline: call.now + limit,
            hops: 0,
            attempts: 0,
            has_met: false,
        };
        match first {
            Some(first) => lookup.candidates.push(first),
            None => self.begin_attempt(call, &mut lookup, out),
        }
        self.step(call, lookup, out);
    }

    /// Where an attempt starts: what this node knows, and from the second one on a random other node.
    fn begin_attempt<H: Host>(&mut self, call: Call<'_, Config>, lookup: &mut Lookup, out: &mut H) {
        lookup.candidates.clear();
        lookup.asked.clear();
        lookup.hops = 0;
        lookup.add(&self.nearer(call.now, &lookup.target));
        let another = lookup.attempts % 2 == 1 || lookup.candidates.is_empty();
        if another
            && let Some(peer) = out.fresh_peer()
            && let Some(id) = out.id_of(peer)
        {
            // Where it stands is its own affair: it is asked, whatever it owns.
            let contact = Contact { handle: peer, position: Position { id, ..lookup.target.clone() } };
            lookup.candidates.push(contact);
        }
    }

    /// Asks the next candidate, answers itself, or pauses. Puts the lookup back unless it is over.
    fn step<H: Host>(&mut self, call: Call<'_, Config>, mut lookup: Lookup, out: &mut H) {
        if let Some(owner) = self.own_answer(call.now, &lookup.target)
            && lookup.purpose != Purpose::Merge
        {
            return self.end_lookup(call, &lookup, owner, out);
        }
        if call.now >= lookup.deadline {
            match lookup.purpose {
                Purpose::Asked(lookup) => out.event(Event::NotFound { lookup }),
                // There is a ring, and that part of it has no owner for now.
                Purpose::Join if lookup.has_met => {
                    self.start_lookup(call, Purpose::Join, lookup.target, None, out);
                }
                // Nobody has a ring: one is founded by those who stand there long enough.
                Purpose::Join => self.stand_before(call, lookup.target, None, out),
                Purpose::Merge | Purpose::Gap => {}
            }
            return;
        }
        let is_over = lookup.hops >= STEPS_MAX || lookup.asked.len() >= ASKED_MAX;
        while let Some(next) = lookup.candidates.pop().filter(|_| !is_over) {
            if next.handle == self.handle {
                match lookup.purpose {
                    Purpose::Merge => return,
                    Purpose::Gap => return self.gap_searched(call, &lookup.target),
                    Purpose::Asked(_) | Purpose::Join => continue,
                }
            }
            if lookup.asked.contains(&next.handle) {
                continue;
            }
            let seq = self.questions.number();
            lookup.asked.push(next.handle);
            lookup.open = Some((next.handle, seq));
            lookup.due = call.now + call.config.step_timeout;
            out.send(next.handle, Message::Find { seq, target: lookup.target.clone() });
            if lookup.purpose == Purpose::Gap {
                self.ask_between(call, &next, out);
            }
            self.lookups.push(lookup);
            return;
        }
        self.pause(call, lookup);
    }

    fn pause(&mut self, call: Call<'_, Config>, mut lookup: Lookup) {
        if lookup.purpose == Purpose::Merge {
            return;
        }
        lookup.attempts = lookup.attempts.saturating_add(1);
        lookup.open = None;
        lookup.due = call.now + call.config.retry_pause * u64::from(lookup.attempts.min(4));
        self.lookups.push(lookup);
    }

    fn end_lookup<H: Host>(&mut self, call: Call<'_, Config>, lookup: &Lookup, owner: Owner, out: &mut H) {
        match lookup.purpose {
            Purpose::Asked(lookup) => out.event(Event::Found { lookup, owner }),
            Purpose::Merge => self.learn(call, owner.contact.handle, &owner.contact.position, out),
            Purpose::Join => self.stand_before(call, lookup.target.clone(), Some(&owner), out),
            Purpose::Gap => self.consider_below(call, owner.contact.handle, &owner.contact.position),
        }
    }

    fn take_lookup(&mut self, from: Handle, seq: u16) -> Result<Lookup, Fault> {
        let is_it = |lookup: &Lookup| lookup.open == Some((from, seq));
        let at = self.lookups.iter().position(is_it).ok_or(Fault::Unasked)?;
        let mut lookup = self.lookups.swap_remove(at);
        lookup.open = None;
        lookup.hops += 1;
        Ok(lookup)
    }

    pub(super) fn on_nearer<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        contacts: &Contacts,
        out: &mut H,
    ) -> Result<(), Fault> {
        let mut lookup = self.take_lookup(from, seq)?;
        out.contact_answered(from);
        let known = contacts.as_slice().iter().take(NEARER_MAX).filter(|contact| {
            out.id_of(contact.handle) == Some(contact.position.id)
                && !self.silent.contains(contact.handle, call.now)
        });
        let known: Vec<Contact> = known.cloned().collect();
        lookup.has_met |= !known.is_empty();
        if lookup.purpose == Purpose::Merge || self.successors.as_slice().is_empty() {
            // Of a ring in which nobody owns anything nobody could say so: its nodes are met all the same.
            for contact in &known {
                self.learn(call, contact.handle, &contact.position, out);
            }
        }
        lookup.add(&known);
        self.step(call, lookup, out);
        Ok(())
    }

    pub(super) fn on_owned<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (seq, range, epoch): (u16, Range, u64),
        out: &mut H,
    ) -> Result<(), Fault> {
        if out.id_of(from) != Some(range.to.id) {
            return Err(Fault::AnotherId);
        }
        let is_it = |lookup: &Lookup| lookup.open == Some((from, seq));
        if self.lookups.iter().any(|lookup| is_it(lookup) && !range.contains(&lookup.target)) {
            return Err(Fault::NotAsked);
        }
        let lookup = self.take_lookup(from, seq)?;
        out.contact_answered(from);
        let contact = Contact { handle: from, position: range.to.clone() };
        let owner = Owner { contact, range, epoch, hops: lookup.hops };
        self.end_lookup(call, &lookup, owner, out);
        Ok(())
    }

    /// The one that was asked can say nothing now.
    pub(super) fn on_absent_step(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
    ) -> Result<(), Fault> {
        let lookup = self.take_lookup(from, seq)?;
        self.pause(call, lookup);
        Ok(())
    }

    /// Goes on with lookups whose step or pause is over.
    pub(super) fn tick_lookups<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        while let Some(at) = self.lookups.iter().position(|lookup| lookup.due <= call.now) {
            let mut lookup = self.lookups.swap_remove(at);
            match lookup.open.take() {
                // One lost message is no death: whoever is known here is asked again for that.
                Some((silent, _)) => self.doubt(call, silent, out),
                None => self.begin_attempt(call, &mut lookup, out),
            }
            // A pause is over at the latest with the next one: nothing is due at once for ever.
            self.step(call, lookup, out);
        }
    }

    pub(super) fn next_lookup(&self) -> Instant {
        self.lookups.iter().map(|lookup| lookup.due).min().unwrap_or(Instant::FAR)
    }

    /// Longest time until a lookup has an answer or has failed.
    pub fn lookup_limit(config: &Config) -> Duration {
        config.lookup_timeout + config.step_timeout + config.retry_pause * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_always_lies_ahead() {
        let config = Config::default();
        assert!(config.retry_pause > Duration::ZERO && config.step_timeout < config.answer_timeout);
    }
}
