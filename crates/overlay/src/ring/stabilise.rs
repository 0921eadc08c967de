//! A round: who is around, and one row.

use alloc::vec::Vec;

use xtreem_base::{Call, Duration, Handle, Instant};

use super::contact::{Contact, Contacts, clockwise};
use super::lookup::{NEARER_MAX, Purpose};
use super::message::{Claim, Verdict};
use super::questions::{Question, Subject};
use super::rows::{BASE, Row};
use super::{Config, Event, Fault, Heard, Host, LEVEL_MAX, Lease, Message, Ring};
use crate::chord::Fingers;
use crate::{Position, Range};

/// In one of so many rounds a random member of the collection is asked who it takes for this node's
/// successor, so that rings that were separate become one; in every round by who owns nothing. Our guess.
const STRANGER_ROUNDS: u32 = 8;

/// The fields of [`Message::Neighbours`].
pub(super) struct Neighbours {
    pub(super) seq: u16,
    pub(super) position: Position,
    pub(super) predecessor: Option<Contact>,
    pub(super) successors: Contacts,
    pub(super) epoch: u64,
    pub(super) verdict: Verdict,
    pub(super) quiet: Duration,
}

impl Ring {
    /// Takes a place on the ring, or another one. What was known of others stays known.
    pub fn stand(&mut self, call: Call<'_, Config>, position: Position) {
        debug_assert_eq!(position.id, self.id, "a node stands under its own id");
        let known: Vec<Contact> = self.contacts().cloned().collect();
        self.position = Some(position.clone());
        self.questions.drop_claims();
        self.successors.clear();
        self.rows.clear();
        self.fingers.iter_mut().for_each(Fingers::clear);
        self.predecessor = None;
        self.below = None;
        for contact in known {
            self.successors.learn(&position, &contact, false);
            if let Some(fingers) = &mut self.fingers {
                fingers.see(&position, &contact);
            }
        }
        self.lease = None;
        self.changed_at = call.now;
        self.founding_until = Instant::ZERO;
        self.drift_due = call.now + self.rng.jitter(call.config.drift_period, 20);
        self.round = self.rng.below(STRANGER_ROUNDS);
        self.round_due = call.now;
    }

    /// Somebody tells that a node stands there: T-Man, an answer of a lookup. It is a hint, believed as far
    /// as asking it goes.
    pub fn learn<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, position: &Position, out: &mut H) {
        let contact = Contact { handle: peer, position: position.clone() };
        if self.learn_quietly(call.now, &contact, out) {
            self.ask_first(call, out);
        }
    }

    /// True when there is a new first successor.
    fn learn_quietly<H: Host>(&mut self, now: Instant, contact: &Contact, out: &mut H) -> bool {
        let Some(me) = &self.position else { return false };
        if out.id_of(contact.handle) != Some(contact.position.id) || self.silent.contains(contact.handle, now)
        {
            return false;
        }
        let first = self.successors.first().map(|it| it.handle);
        if let Some(fingers) = &mut self.fingers {
            fingers.see(me, contact);
        }
        if self.successors.learn(me, contact, false) {
            out.event(Event::Successors);
        }
        first != self.successors.first().map(|it| it.handle)
    }

    /// A peer spoke itself, and says where it stands.
    fn heard<H: Host>(&mut self, call: Call<'_, Config>, from: Handle, position: Position, out: &mut H) {
        let Some(me) = self.position.clone() else { return };
        let contact = Contact { handle: from, position };
        self.met_at = call.now;
        self.silent.forget(from);
        self.rows.moved(&contact);
        if let Some(fingers) = &mut self.fingers {
            fingers.moved(&contact);
            fingers.see(&me, &contact);
        }
        if self.successors.learn(&me, &contact, true) {
            out.event(Event::Successors);
        }
        self.consider_predecessor(call, &me, contact, out);
    }

    fn consider_predecessor<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        me: &Position,
        contact: Contact,
        out: &mut H,
    ) {
        let limit = call.config.predecessor_limit();
        if contact.position.id != me.id && is_nearer(call, me, (self.predecessor.as_ref(), limit), &contact) {
            let is_other = self.predecessor() != Some(&contact);
            self.predecessor = Some(Heard { contact, at: call.now });
            if is_other {
                self.changed_at = call.now;
                out.event(Event::Predecessor);
            }
        }
    }

    /// Somebody before this node has a range, or wants one.
    pub(super) fn consider_below(&mut self, call: Call<'_, Config>, from: Handle, position: &Position) {
        let Some(me) = &self.position else { return };
        let contact = Contact { handle: from, position: position.clone() };
        // Nodes without a lease pass it on, so it may speak less often than once a round.
        let limit = call.config.below_limit();
        if is_nearer(call, me, (self.below.as_ref(), limit), &contact) {
            self.below = Some(Heard { contact, at: call.now });
        }
    }

    pub(super) fn round<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let Some(me) = self.position.clone() else {
            self.round_due = Instant::FAR;
            return;
        };
        let quarter = Duration::from_micros(call.config.period.as_micros() / 4);
        let period = if self.is_eager(call) { quarter } else { call.config.period };
        self.round_due = call.now + self.rng.jitter(period, 5);
        self.round = self.round.wrapping_add(1);
        let is_stale = |heard: &Heard| heard.at + call.config.predecessor_limit() <= call.now;
        if self.predecessor.as_ref().is_some_and(is_stale) {
            self.predecessor = None;
            self.changed_at = call.now;
            out.event(Event::Predecessor);
        }
        self.renew_whole(call);
        self.claim_alone(call, out);
        self.ask_first(call, out);
        self.ask_first_granter(call, out);
        self.tick_gap(call, out);
        self.refresh_row(call, out);
        if self.round.is_multiple_of(STRANGER_ROUNDS) || !self.is_owner(call.now) {
            self.ask_stranger(call, me, out);
        }
    }

    /// Where a stranger would put this node: in its own ring, if that is another one.
    fn ask_stranger<H: Host>(&mut self, call: Call<'_, Config>, me: Position, out: &mut H) {
        let Some(peer) = out.fresh_peer().filter(|peer| *peer != self.handle) else { return };
        if !self.is_owner(call.now) || self.successors.first().is_none() {
            // Whoever owns the place where this node stands gives it its part; who knows nobody is glad of
            // anybody.
            self.ask(call, peer, Subject::Neighbours, call.config.tries, out);
        }
        if self.successors.first().is_none() {
            return;
        }
        let Some(id) = out.id_of(peer) else { return };
        let first = Contact { handle: peer, position: Position { id, ..me.clone() } };
        self.start_lookup(call, Purpose::Merge, me, Some(first), out);
    }

    pub(super) fn ask_first<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if let Some(first) = self.successors.first().map(|contact| contact.handle) {
            self.ask(call, first, Subject::Neighbours, 1, out);
        }
    }

    /// Newcomers that own nothing yet may stand before it.
    fn ask_first_granter<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if let Some(granter) = self.lease.as_ref().and_then(Lease::first_granter) {
            self.ask(call, granter, Subject::Neighbours, 1, out);
        }
    }

    pub(super) fn ask<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        peer: Handle,
        subject: Subject,
        tries: u8,
        out: &mut H,
    ) {
        if peer == self.handle || !self.questions.has_room(peer, subject) {
            return;
        }
        let times = (call.now, call.now + call.config.answer_timeout);
        let mut question = Question::new(peer, subject, times, tries, None);
        let message = match (subject, self.position.clone()) {
            (Subject::Neighbours, Some(position)) => {
                let claim = self.claim(call, peer);
                question.claimed = claim.after.clone();
                Message::Stabilise { seq: 0, position, claim }
            }
            (Subject::Row(level), _) => Message::AskRow { seq: 0, level },
            (Subject::Load, _) => Message::AskLoad { seq: 0 },
            (Subject::Middle, _) => Message::AskMiddle { seq: 0 },
            (Subject::Leave, _) => return self.send_leave(call, tries, out),
            (Subject::Neighbours, None) => return,
        };
        let number = self.questions.open(question);
        out.send(peer, message.numbered(number));
    }

    /// Asks again, or counts the peer as silent.
    pub(super) fn tick_questions<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        while let Some(question) = self.questions.expire(call.now) {
            if question.tries < call.config.tries {
                self.ask(call, question.peer, question.subject, question.tries + 1, out);
            } else {
                self.suspect(call, question.peer, out);
                self.on_unanswered(call, question.subject, out);
            }
        }
    }

    /// It did not answer once. It is taken out only when it does not answer again.
    pub(super) fn doubt<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut H) {
        if self.position.is_some() && self.contacts().chain(self.predecessor()).any(|it| it.handle == peer) {
            self.ask(call, peer, Subject::Neighbours, 1, out);
        }
    }

    /// It did not answer: it is taken out, and others are asked.
    pub(super) fn suspect<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut H) {
        out.contact_silent(peer);
        self.silent.add(peer, call.now + call.config.hold_down);
        let first = self.successors.first().map(|it| it.handle);
        if self.drop_peer(peer) {
            out.event(Event::Successors);
        }
        if first == Some(peer) {
            self.changed_at = call.now;
            self.ask_first(call, out);
        }
    }

    /// True when it was a successor.
    pub(super) fn drop_peer(&mut self, peer: Handle) -> bool {
        self.rows.remove(peer);
        self.fingers.iter_mut().for_each(|fingers| fingers.remove(peer));
        for heard in [&mut self.predecessor, &mut self.below] {
            heard.take_if(|heard| heard.contact.handle == peer);
        }
        self.successors.remove(peer)
    }

    /// One row a round, each in its turn; of Chord one finger, which tells some of its own.
    fn refresh_row<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if let Some(fingers) = &self.fingers {
            let nth = usize::from(self.level) % fingers.len().max(1);
            self.level = nth as u8 + 1;
            if let Some(peer) = fingers.get(nth).map(|contact| contact.handle) {
                self.ask(call, peer, Subject::Row(1), 1, out);
            }
            return;
        }
        self.rows.begin(self.successors.as_slice());
        let rows = self.rows.as_slice().len();
        for _ in 0..rows {
            let level = if usize::from(self.level) > rows { 1 } else { self.level };
            self.level = level + 1;
            if let Some(first) = self.rows.first(usize::from(level)) {
                let peer = first.handle;
                return self.ask(call, peer, Subject::Row(level), 1, out);
            }
        }
    }

    pub(super) fn on_stabilise<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        (position, claim): (Position, Claim),
        out: &mut H,
    ) -> Result<(), Fault> {
        if out.id_of(from) != Some(position.id) {
            return Err(Fault::AnotherId);
        }
        self.heed_epoch(claim.epoch)?;
        let Some(me) = self.position.clone() else {
            out.send(from, Message::Absent { seq });
            return Ok(());
        };
        let predecessor = self.fresh_predecessor(call).cloned();
        let successors: Contacts = self.successors.as_slice().iter().cloned().collect();
        self.heard(call, from, position.clone(), out);
        self.heed_quiet(call.now, from, claim.quiet);
        if claim.after.is_some() {
            self.consider_below(call, from, &position);
        }
        let verdict = self.judge(call, from, &position, &claim, out);
        let (epoch, quiet) = (self.epoch, self.own_quiet(call.now));
        let position = me;
        out.send(from, Message::Neighbours { seq, position, predecessor, successors, epoch, verdict, quiet });
        Ok(())
    }

    pub(super) fn on_neighbours<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        answer: Neighbours,
        out: &mut H,
    ) -> Result<(), Fault> {
        let Neighbours { seq, position, predecessor, successors, epoch, verdict, quiet } = answer;
        if out.id_of(from) != Some(position.id) {
            return Err(Fault::AnotherId);
        }
        self.heed_epoch(epoch)?;
        let question =
            self.questions.answered(from, seq, |it| it == Subject::Neighbours).ok_or(Fault::Unasked)?;
        out.contact_answered(from);
        let Some(me) = self.position.clone() else { return Ok(()) };
        self.heed_between(call, from, &position, quiet);
        self.heard(call, from, position, out);
        self.heed_quiet(call.now, from, quiet);
        let first = self.successors.first().filter(|first| first.handle == from).cloned();
        if let Some(first) = first {
            let is_good = |contact: &&Contact| {
                out.id_of(contact.handle) == Some(contact.position.id)
                    && !self.silent.contains(contact.handle, call.now)
            };
            let behind: Vec<&Contact> = successors.as_slice().iter().filter(is_good).collect();
            if self.successors.follow(&me, &first, &behind) {
                out.event(Event::Successors);
            }
        }
        // Somebody between the two is asked at once: a newcomer waits for no round. It spoke to the other
        // lately, which counts for more than that it did not answer here.
        if let Some(nearer) = predecessor {
            self.silent.forget(nearer.handle);
            if self.learn_quietly(call.now, &nearer, out) {
                self.ask_first(call, out);
            }
        }
        self.on_verdict(call, from, (question.claimed, question.asked_at), verdict, out);
        Ok(())
    }

    pub(super) fn on_ask_row<H: Host>(
        &mut self,
        from: Handle,
        seq: u16,
        level: u8,
        out: &mut H,
    ) -> Result<(), Fault> {
        if !(1..=LEVEL_MAX).contains(&level) {
            return Err(Fault::Level(level));
        }
        out.send(
            from,
            match self.position {
                Some(_) => Message::TellRow { seq, entries: self.row(usize::from(level)) },
                None => Message::Absent { seq },
            },
        );
        Ok(())
    }

    pub(super) fn on_tell_row<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        entries: Row,
        out: &mut H,
    ) -> Result<(), Fault> {
        let is_row = |subject| matches!(subject, Subject::Row(_));
        let question = self.questions.answered(from, seq, is_row).ok_or(Fault::Unasked)?;
        let Subject::Row(level) = question.subject else { return Err(Fault::Unasked) };
        out.contact_answered(from);
        if self.fingers.is_some() {
            for contact in entries.iter().flatten() {
                self.learn_quietly(call.now, contact, out);
            }
            return Ok(());
        }
        let Some(me) = &self.position else { return Ok(()) };
        if self.rows.first(usize::from(level)).is_none_or(|first| first.handle != from) {
            return Ok(());
        }
        let good = entries.map(|entry| {
            entry.filter(|contact| {
                out.id_of(contact.handle) == Some(contact.position.id)
                    && !self.silent.contains(contact.handle, call.now)
            })
        });
        self.rows.fill(me, usize::from(level), &good);
        Ok(())
    }

    pub(super) fn on_absent<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        out: &mut H,
    ) -> Result<(), Fault> {
        if let Some(question) = self.questions.answered(from, seq, |_| true) {
            if matches!(question.subject, Subject::Neighbours | Subject::Row(_)) {
                self.suspect(call, from, out);
            }
            if let Some(sample) = self.sample.as_mut().filter(|_| question.subject == Subject::Load) {
                sample.skip(from);
            }
            self.on_unanswered(call, question.subject, out);
            return Ok(());
        }
        self.on_absent_step(call, from, seq)
    }

    pub(super) fn on_find<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u16,
        target: &Position,
        out: &mut H,
    ) {
        if let Some(owner) = self.own_answer(call.now, target) {
            out.send(from, Message::Owned { seq, range: owner.range, epoch: owner.epoch });
            return;
        }
        let contacts: Contacts = match self.position {
            // A newcomer, or one that has lost its lease: the next one may have it, or get it.
            Some(_) if !self.is_owner(call.now) && self.is_behind_predecessor(target) => {
                self.successors.as_slice().iter().take(NEARER_MAX).cloned().collect()
            }
            _ => self.nearer(call.now, target).into_iter().collect(),
        };
        let is_known = !contacts.as_slice().is_empty();
        out.send(from, if is_known { Message::Nearer { seq, contacts } } else { Message::Absent { seq } });
    }

    fn is_behind_predecessor(&self, target: &Position) -> bool {
        let between = self.predecessor().zip(self.position.as_ref());
        between.is_some_and(|(it, me)| Range::new(it.position.clone(), me.clone()).contains(target))
    }

    /// Whom to ask for a position: its owner as far as it stands among the successors, and the one after it;
    /// else those nearest before it. The best first.
    pub(super) fn nearer(&self, now: Instant, target: &Position) -> Vec<Contact> {
        let Some(me) = &self.position else { return Vec::new() };
        let is_alive = |contact: &&Contact| !self.silent.contains(contact.handle, now);
        let successors = self.successors.as_slice();
        let owner =
            successors.iter().position(|it| Range::new(me.clone(), it.position.clone()).contains(target));
        if let Some(owner) = owner {
            return successors[owner..].iter().filter(is_alive).take(NEARER_MAX).cloned().collect();
        }
        let is_before = |contact: &&Contact| clockwise(me, &contact.position, target).is_lt();
        let before = self.contacts().chain(self.predecessor()).filter(is_before).filter(is_alive);
        let mut before: Vec<&Contact> = before.collect();
        before.sort_by(|a, b| clockwise(me, &b.position, &a.position));
        before.dedup_by_key(|contact| contact.handle);
        before.into_iter().take(NEARER_MAX).cloned().collect()
    }
}

/// Whether a peer that spoke stands nearer before `me` than the known one, or that has said nothing for
/// long.
fn is_nearer(
    call: Call<'_, Config>,
    me: &Position,
    (known, limit): (Option<&Heard>, Duration),
    contact: &Contact,
) -> bool {
    known.is_none_or(|known| {
        known.contact.handle == contact.handle
            || known.at + limit <= call.now
            || clockwise(me, &known.contact.position, &contact.position).is_lt()
    })
}

const _: () = assert!(BASE <= super::SUCCESSORS_MAX, "row 1 begins in the list of successors");
