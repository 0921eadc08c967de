//! Where a node stands is chosen by load: a newcomer takes half of the fullest of eight, and who has much
//! less than others hands its range on and comes back as a newcomer.

use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant};

use super::contact::Contact;
use super::lookup::{Owner, Purpose};
use super::message::{Inheritance, Promised};
use super::questions::{Question, Subject};
use super::{Config, Departure, Event, Fault, Host, Message, Ring};
use crate::{Key, Position, Range};

/// Nodes whose load is compared (measured with a million keys on 10,000 nodes: two leave the fullest at 5
/// times the mean, eight at 2.4).
pub const SAMPLED_MAX: usize = 8;
/// Who has so many times less than the fullest of the sample stands in the wrong place.
const DRIFT: u64 = 4;

/// What is compared, and what for.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    purpose: For,
    /// Who was asked, and what it said.
    loads: Vec<(Handle, Option<u64>)>,
    /// The answers that come later do not count.
    due: Instant,
}

impl Sample {
    /// It has nothing to tell.
    pub(super) fn skip(&mut self, peer: Handle) {
        self.loads.retain(|(it, _)| *it != peer);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Join,
    Drift,
}

/// A node on its way to a place.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    /// Where it goes when there is no load to share.
    fallback: Key,
    /// It begins anew then.
    due: Instant,
    /// Whom to ask for a half, the fullest last.
    fullest: Vec<Handle>,
}

/// A node that hands its range on.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    heir: Handle,
    message: Message,
    /// Where it goes afterwards: to the one with so much more load.
    then: Option<Handle>,
}

impl Ring {
    /// Becomes a member: half of the range of the fullest of [`SAMPLED_MAX`] is asked for, or the place
    /// `fallback` when they have nothing. [`Event::Range`] tells when it has come.
    pub fn join<H: Host>(&mut self, call: Call<'_, Config>, fallback: Key, out: &mut H) {
        let due = call.now + call.config.join_timeout;
        self.joining = Some(Joining { fallback, due, fullest: Vec::new() });
        self.sample(call, For::Join, out);
    }

    /// Whether it is on its way to a place and owns nothing yet.
    pub fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    fn sample<H: Host>(&mut self, call: Call<'_, Config>, purpose: For, out: &mut H) {
        let mut loads = Vec::new();
        // A sampler may name somebody twice.
        for _ in 0..3 * SAMPLED_MAX {
            let Some(peer) = out.fresh_peer() else { continue };
            if loads.len() < SAMPLED_MAX && peer != self.handle && loads.iter().all(|(it, _)| *it != peer) {
                loads.push((peer, None));
            }
        }
        for (peer, _) in &loads {
            self.ask(call, *peer, Subject::Load, call.config.tries, out);
        }
        let due = call.now + call.config.answer_timeout;
        self.sample = Some(Sample { purpose, loads, due });
    }

    pub(super) fn next_join(&self) -> Instant {
        let sample = self.sample.as_ref().map_or(Instant::FAR, |sample| sample.due);
        let joining = self.joining.as_ref().map_or(Instant::FAR, |joining| joining.due);
        sample.min(joining).min(self.drift_due)
    }

    pub(super) fn tick_join<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if let Some(sample) = self.sample.take_if(|sample| sample.due <= call.now) {
            self.compare(call, sample, out);
        }
        if self.is_owner(call.now) {
            self.joining = None;
        }
        // Where nobody owns anything it waits with its neighbours, who found when none comes or goes.
        let is_founding = self.position.is_some() && self.quiet(call.now) >= call.config.lease;
        if let Some(joining) = self.joining.as_mut().filter(|it| is_founding && it.due <= call.now) {
            joining.due = call.now + call.config.join_timeout;
        }
        if let Some(joining) = self.joining.take_if(|joining| joining.due <= call.now) {
            self.leave_place();
            self.join(call, joining.fallback, out);
        }
        if self.drift_due <= call.now {
            self.drift_due = call.now + self.rng.jitter(call.config.drift_period, 20);
            if self.is_owner(call.now) && self.leaving.is_none() && self.sample.is_none() {
                self.sample(call, For::Drift, out);
            }
        }
    }

    fn compare<H: Host>(&mut self, call: Call<'_, Config>, sample: Sample, out: &mut H) {
        let mut loads: Vec<(u64, Handle)> =
            sample.loads.iter().filter_map(|(peer, load)| load.map(|load| (load, *peer))).collect();
        loads.sort_unstable();
        match sample.purpose {
            For::Join => {
                let loaded = loads.iter().filter(|(load, _)| *load > 1);
                let fullest = loaded.map(|(_, peer)| *peer).collect();
                if let Some(joining) = &mut self.joining {
                    joining.fullest = fullest;
                }
                self.ask_fullest(call, out);
            }
            For::Drift => {
                let Some(range) = self.range().cloned() else { return };
                let own = out.load(&range);
                let least = loads.first().map_or(u64::MAX, |(load, _)| *load);
                let Some(&(most, fullest)) = loads.last() else { return };
                if own <= least && most >= call.config.drift_load_min && most > own.saturating_mul(DRIFT) {
                    self.hand_on(call, Some(fullest), out);
                }
            }
        }
    }

    /// Asks the fullest that is left for its middle; goes to the place of last resort when none is.
    fn ask_fullest<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let Some(joining) = &mut self.joining else { return };
        match joining.fullest.pop() {
            Some(peer) => self.ask(call, peer, Subject::Middle, call.config.tries, out),
            None => {
                let target = Position::new(joining.fallback.clone(), self.id);
                self.start_lookup(call, Purpose::Join, target, None, out);
            }
        }
    }

    /// The owner of the place where this node wants to stand is known.
    pub(super) fn stand_before<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        place: Position,
        owner: Option<&Owner>,
        out: &mut H,
    ) {
        if self.joining.is_none() || self.position.is_some() {
            return;
        }
        self.stand(call, place);
        match owner {
            Some(owner) => self.learn(call, owner.contact.handle, &owner.contact.position, out),
            // It is a founder, with others who found nobody.
            None => self.joining = None,
        }
    }

    pub(super) fn on_ask_load<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        out: &mut H,
    ) {
        let owned = self.lease.as_ref().filter(|lease| lease.is_valid(call.now));
        let message = match owned {
            Some(lease) => Message::Load { seq, load: out.load(&lease.range) },
            None => Message::Absent { seq },
        };
        out.send(from, message);
    }

    pub(super) fn on_load<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        load: u64,
        out: &mut H,
    ) -> Result<(), Fault> {
        self.questions.answered(from, seq, |it| it == Subject::Load).ok_or(Fault::Unasked)?;
        out.contact_answered(from);
        let Some(sample) = &mut self.sample else { return Ok(()) };
        sample.loads.iter_mut().filter(|(peer, _)| *peer == from).for_each(|(_, said)| *said = Some(load));
        if sample.loads.iter().all(|(_, said)| said.is_some()) {
            sample.due = call.now;
        }
        Ok(())
    }

    pub(super) fn on_ask_middle<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        out: &mut H,
    ) {
        let owned = self.lease.as_ref().filter(|lease| lease.is_valid(call.now));
        // One newcomer at a time: the middle that two are told of is the middle of nothing for the second.
        let key = match owned {
            Some(lease) if self.middle_free <= call.now => out.middle(&lease.range),
            _ => None,
        };
        if key.is_some() {
            self.middle_free = call.now + call.config.period;
        }
        out.send(from, Message::Middle { seq, key });
    }

    pub(super) fn on_middle<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        key: Option<Key>,
        out: &mut H,
    ) -> Result<(), Fault> {
        self.questions.answered(from, seq, |it| it == Subject::Middle).ok_or(Fault::Unasked)?;
        out.contact_answered(from);
        match (key, out.id_of(from)) {
            (Some(key), Some(_)) if self.joining.is_some() && self.position.is_none() => {
                let target = Position::new(key, self.id);
                let first = Contact { handle: from, position: target.clone() };
                self.start_lookup(call, Purpose::Join, target, Some(first), out);
            }
            _ => self.ask_fullest(call, out),
        }
        Ok(())
    }

    /// A load or a middle was not told in time, or there is none.
    pub(super) fn on_unanswered<H: Host>(&mut self, call: Call<'_, Config>, subject: Subject, out: &mut H) {
        match subject {
            Subject::Middle => self.ask_fullest(call, out),
            Subject::Leave => self.end_leaving(call, out),
            Subject::Neighbours | Subject::Row(_) | Subject::Load => {}
        }
    }

    /// Hands its range to its successor and leaves the ring: from now on it answers for nothing.
    /// [`Event::Left`] follows.
    pub fn leave<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.joining = None;
        self.hand_on(call, None, out);
    }

    fn hand_on<H: Host>(&mut self, call: Call<'_, Config>, then: Option<Handle>, out: &mut H) {
        let owned = self.lease.take().filter(|lease| lease.is_valid(call.now));
        let heir = owned.as_ref().and_then(super::Lease::first_granter);
        let promises = self.promises.open(call.now);
        let promises = promises.map(|(it, left)| Promised { to: it.to, range: it.range.clone(), left });
        let promises = Inheritance(promises.collect());
        self.last_key = self.position.as_ref().map(|position| position.key.clone());
        self.leave_place();
        self.tell_range(out);
        let Some((lease, heir)) = owned.zip(heir) else { return self.end_leaving(call, out) };
        let (range, epoch, moves) = (lease.range, lease.epoch, then.is_some());
        let message = Message::Leave { seq: 0, range, epoch, promises, moves };
        self.leaving = Some(Leaving { heir, message, then });
        self.send_leave(call, 1, out);
    }

    /// Stands nowhere any more. What it knows of others stays.
    fn leave_place(&mut self) {
        self.position = None;
        self.questions.drop_claims();
        self.lease = None;
        self.gap = None;
        self.predecessor = None;
        self.below = None;
        self.promises = super::lease::Promises::default();
        self.round_due = Instant::FAR;
    }

    pub(super) fn send_leave<H: Host>(&mut self, call: Call<'_, Config>, tries: u8, out: &mut H) {
        let Some(Leaving { heir, message, .. }) = self.leaving.clone() else { return };
        let times = (call.now, call.now + call.config.answer_timeout);
        let number = self.questions.open(Question::new(heir, Subject::Leave, times, tries, None));
        if let Message::Leave { range, epoch, promises, moves, .. } = message {
            out.send(heir, Message::Leave { seq: number, range, epoch, promises, moves });
        }
    }

    fn end_leaving<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let then = self.leaving.take().and_then(|leaving| leaving.then);
        out.event(Event::Left);
        if let Some(fullest) = then {
            let due = call.now + call.config.join_timeout;
            let fallback = self.last_key.take().unwrap_or_default();
            self.joining = Some(Joining { fallback, due, fullest: [fullest].into() });
            self.ask_fullest(call, out);
        }
    }

    pub(super) fn on_left<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        out: &mut H,
    ) -> Result<(), Fault> {
        self.questions.answered(from, seq, |it| it == Subject::Leave).ok_or(Fault::Unasked)?;
        out.contact_answered(from);
        self.end_leaving(call, out);
        Ok(())
    }

    /// Takes what the node before it leaves, if this node granted it just that.
    pub(super) fn on_leave<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (seq, range, epoch): (u16, Range, u64),
        (promises, moves): (Inheritance, bool),
        out: &mut H,
    ) -> Result<(), Fault> {
        if out.id_of(from) != Some(range.to.id) {
            return Err(Fault::AnotherId);
        }
        self.heed_epoch(epoch)?;
        let is_mine = |own: &Range| own.contains(&range.to) && own.contains(&range.after);
        let is_owner = self.is_owner(call.now);
        let Some(lease) = self.lease.as_mut().filter(|_| is_owner) else {
            out.send(from, Message::Absent { seq });
            return Ok(());
        };
        let granted = self.promises.to_position(&range.to);
        let is_granted = granted.is_some_and(|it| it.to == from && it.range == range && it.until > call.now);
        if lease.range.after == range.to && is_granted {
            self.promises.take(from, &range.to);
            let next = promises.0.iter().find(|it| it.range.to == range.after).map(|it| &it.range.after);
            let still: Vec<&Position> = [Some(&range.after), next].into_iter().flatten().collect();
            self.promises.moved(&still);
            self.epoch = self.epoch.max(epoch) + 1;
            lease.extend(range.after.clone(), self.epoch, call.now, call.now + call.config.lease);
            let own = lease.range.clone();
            for Promised { to, range, left } in promises.0 {
                // None lasts longer than one that was given now.
                let left = left.min(call.config.lease) + call.config.drift();
                if !own.overlaps(&range) {
                    self.promises.inherit(to, range, call.now + left, call.now);
                }
            }
            self.drop_peer(from);
            out.event(Event::Successors);
            self.tell_range(out);
            let how = if moves { Departure::Moves } else { Departure::Left };
            out.event(Event::TookOver { from: range.to.id, how, epoch: self.epoch });
            self.claim_anew(call, out);
            out.send(from, Message::Left { seq });
        } else if is_mine(&lease.range) {
            // Told again: it was taken before.
            out.send(from, Message::Left { seq });
        } else {
            out.send(from, Message::Absent { seq });
        }
        Ok(())
    }
}
