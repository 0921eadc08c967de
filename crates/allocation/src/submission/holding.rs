//! Holding N nodes at once while others want them too.
//!
//! No deadlock: whoever asks for a node whose turn is earlier takes it from whoever holds it unlocked
//! (`Ledger::hold`), so nobody waits in a circle. No livelock: that order is the same on all nodes, and who
//! found too few nodes gives all of them back and comes again after a random pause, one place further to the
//! front.

use alloc::vec::Vec;

use super::{CONFIRMS, Hunt, Phase, Place, Submission, Total};
use crate::context::Context;
use crate::look::{LOOK_LIMIT, LOOK_ON, Look};
use crate::message::Message;
use crate::placement::{self, Candidate, Wishes};
use crate::{Ask, Config, Epoch, Host, Known, Progress, SlotState, Ticket, Wish};
use xtreem_base::{Coordinate, Duration, Handle, Rng};
use xtreem_discovery::{Facts, FactsAsk, Report};

/// Searches of one attempt for nodes in the place of those that were lost again. Our guess: under contention
/// somebody whose turn is late loses some again and again, and shall rather wait than hold the others
/// meanwhile.
pub(super) const FOLLOW_UPS_MAX: u8 = 4;
/// Turned away so often, nobody moves further to the front: recruiters stay before all.
const PATIENCE_MAX: u8 = Ask::FIRST_OF_ALL - 1;

impl Submission {
    /// Before the first confirm, with nodes held or being held.
    pub(super) fn is_holding(&self) -> bool {
        let is_found = matches!(self.phase, Phase::Locking { .. } | Phase::Appointing { .. });
        is_found || matches!(self.phase, Phase::Locating | Phase::Searching(_))
    }

    /// A node was lost after all had been found.
    pub(super) fn is_incomplete(&self) -> bool {
        let is_past_search = matches!(self.phase, Phase::Locking { .. } | Phase::Appointing { .. });
        is_past_search && self.missing() > 0
    }

    fn missing(&self) -> u16 {
        self.slots().saturating_sub(self.places.len() as u16)
    }

    /// Begins an attempt: counts what the owner holds, where that is limited, and searches.
    pub(super) fn attempt<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.total = Total::Unlimited;
        self.gives_way = false;
        if cx.host.limits_total(&self.application.record) {
            self.total = Total::Counting;
            let (app, owner) = (self.application.record.id, self.application.record.owner);
            cx.host.event(Wish::CountOwner { app, owner });
        }
        match self.placement.address() {
            None => {
                self.origin = cx.host.facts(&FactsAsk::default()).coordinate;
                self.search(cx);
            }
            Some(node) => {
                let (app, node) = (self.application.record.id, node.into());
                self.phase = Phase::Locating;
                cx.host.event(Wish::Locate { app, node });
            }
        }
    }

    /// The node to be near to stands there, or was not found.
    pub fn on_located<H: Host>(&mut self, cx: &mut Context<'_, H>, coordinate: Option<Coordinate>) {
        if self.phase != Phase::Locating {
            return;
        }
        match (coordinate, self.placement.address()) {
            (None, Some(node)) => {
                let node = node.into();
                self.give_up(cx, Progress::NoSuchNode { node });
            }
            _ => {
                self.origin = coordinate;
                self.search(cx);
            }
        }
    }

    /// The owner's other applications have so many slots.
    pub fn on_counted<H: Host>(&mut self, cx: &mut Context<'_, H>, held: u32) {
        if self.total != Total::Counting || !self.is_holding() {
            return;
        }
        self.total = Total::Within;
        match cx.host.judge_total(&self.application.record, held) {
            Err(refusal) => self.give_up(cx, Progress::Forbidden { refusal }),
            Ok(()) => self.go_on_when_locked(cx),
        }
    }

    /// Searches for the nodes that are missing, and for more to choose from where the placement wants that.
    pub(super) fn search<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let spec = self.application.spec.clone();
        let app = self.application.record.id;
        let wanted = self.missing();
        let Wishes { surplus, facts } = self.placement.wishes(wanted);
        let is_looking = surplus > 0 && !self.gives_way;
        let (resources, colocate) = (spec.resources, spec.colocate);
        let patience = self.attempts.min(PATIENCE_MAX);
        let ask = Ask { app, resources, colocate, patience, is_spare: is_looking, ports: spec.ports };
        let held = self.places.iter().filter(|_| !colocate).filter_map(|place| place.known.holder);
        let others = self.guardians.iter().chain(&self.refusers).copied();
        let exclude = held.chain(others).collect();
        let (ticket, need) = (Ticket::Submission(app), spec.requirement.clone());
        let most = wanted.saturating_add(if is_looking { surplus } else { 0 });
        let until = cx.now + LOOK_LIMIT;
        let look = is_looking.then(|| Look { candidates: Vec::new(), most: most.into(), until });
        self.phase = Phase::Searching(Hunt { wanted, found: 0, look });
        self.due = self.next_due(cx.now);
        cx.host.event(Wish::Search { ticket, need, ask, wanted: most, exclude, facts });
    }

    pub fn on_found<H: Host>(&mut self, cx: &mut Context<'_, H>, candidate: Candidate) {
        let is_enough = self.missing() == 0;
        let Phase::Searching(hunt) = &mut self.phase else {
            return cx.host.send(candidate.peer, Message::Release { hold: candidate.hold });
        };
        let is_enough = hunt.look.as_ref().map_or(is_enough, |look| look.candidates.len() >= look.most);
        if is_enough {
            return cx.host.send(candidate.peer, Message::Release { hold: candidate.hold });
        }
        hunt.found = hunt.found.saturating_add(1);
        let is_surplus = hunt.look.is_some() && hunt.found > hunt.wanted;
        let looked_at = hunt.look.as_ref().map_or(0, |_| hunt.found.min(hunt.wanted));
        match &mut hunt.look {
            Some(look) => {
                look.candidates.push(candidate);
                if look.candidates.len() == usize::from(hunt.wanted) {
                    look.until = look.until.min(cx.now + LOOK_ON);
                    self.due = self.next_due(cx.now);
                }
            }
            None => self.keep(cx, candidate),
        }
        if !is_surplus {
            let nodes = self.places.len() as u16 + looked_at;
            self.tell_host(cx, Progress::Held { nodes, wanted: self.slots() });
        }
    }

    /// Plans the next slot on this node.
    fn keep<H: Host>(&mut self, cx: &mut Context<'_, H>, candidate: Candidate) {
        let Candidate { peer, hold, facts } = candidate;
        let slot = self.places.len() as u16;
        let known = Known { slot, epoch: Epoch::NONE, holder: Some(peer), state: SlotState::Planned };
        let hold = Some((peer, hold));
        let (link, is_locked, sent, due, silent) = (None, false, 0, cx.now, 0);
        self.places.push(Place { facts, hold, is_locked, known, link, sent, due, silent });
    }

    /// The search is over; without a report it could not even begin.
    pub fn on_search_done<H: Host>(&mut self, cx: &mut Context<'_, H>, report: Option<Report>) {
        self.report = report.or(self.report.take());
        let Phase::Searching(hunt) = &self.phase else { return };
        let is_lost_again = hunt.found >= hunt.wanted;
        // A visit grants one hold. Whoever granted one may have room for the next slot, unless that wants the
        // same ports.
        let spec = &self.application.spec;
        let may_share = spec.colocate && spec.ports.is_empty() && hunt.found > 0;
        if hunt.look.is_some() {
            self.choose(cx);
        } else if self.missing() == 0 {
            self.lock(cx, 1);
        } else if is_lost_again {
            self.search_again(cx);
        } else if may_share {
            self.search(cx);
        } else {
            self.wait(cx);
        }
    }

    /// Long enough looked for more candidates.
    pub(super) fn tick_look<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if let Phase::Searching(Hunt { look: Some(look), .. }) = &self.phase
            && look.until <= cx.now
        {
            cx.host.event(Wish::CancelSearch(Ticket::Submission(self.application.record.id)));
            self.choose(cx);
        }
    }

    /// Lets the placement choose, and gives back the rest at once. Where there is nothing to choose from, all
    /// are kept, and others are searched for like by everybody who wants nodes: in turn.
    fn choose<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let wanted = usize::from(self.missing());
        let Phase::Searching(Hunt { look, .. }) = &mut self.phase else { return };
        let Some(Look { candidates, .. }) = look.take() else { return };
        if candidates.len() < wanted {
            self.gives_way = true;
            candidates.into_iter().for_each(|candidate| self.keep(cx, candidate));
            self.search(cx);
            return self.renew_all(cx);
        }
        let kept: Vec<&Facts> = self.places.iter().map(|place| &place.facts).collect();
        let (chosen, others) =
            placement::choose(&*self.placement, candidates, &kept, wanted, self.origin, &mut cx.books.rng);
        for Candidate { peer, hold, .. } in others {
            cx.host.send(peer, Message::Release { hold });
        }
        chosen.into_iter().for_each(|candidate| self.keep(cx, candidate));
        self.lock(cx, 1);
    }

    /// Some of what was found is lost: the rest is kept, where nobody whose turn is earlier wants it.
    pub(super) fn search_again<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.follow_ups >= FOLLOW_UPS_MAX {
            return self.wait(cx);
        }
        self.follow_ups += 1;
        self.search(cx);
        self.places.iter_mut().for_each(|place| place.is_locked = false);
        self.renew_all(cx);
    }

    /// The whole cannot be had: gives back the part, and comes again after a while, if there is time for it.
    fn wait<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let pause = back_off(cx.config, self.attempts, &mut cx.books.rng);
        let Some(pause) = within(pause, self.until.since(cx.now), cx.config) else {
            return self.not_placed(cx);
        };
        let until = cx.now + pause;
        self.release_all(cx);
        self.attempts = self.attempts.saturating_add(1);
        self.follow_ups = 0;
        self.guardians.clear();
        self.refusers.clear();
        self.phase = Phase::Waiting { until };
        self.due = until;
        let report = self.report.take();
        self.tell_host(cx, Progress::Waiting { attempts: self.attempts, pause, report });
    }

    /// Asks every node that has not yet said so to let nobody else have it.
    fn lock<H: Host>(&mut self, cx: &mut Context<'_, H>, round: u8) {
        for place in self.places.iter().filter(|place| !place.is_locked) {
            if let Some((peer, hold)) = place.hold {
                cx.host.send(peer, Message::Lock { hold });
            }
        }
        let until = cx.now + cx.config.reply_timeout;
        self.phase = Phase::Locking { until, round };
        self.due = until;
    }

    pub fn on_locked<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, hold: u64) {
        let Phase::Locking { .. } = self.phase else { return };
        for place in self.places.iter_mut().filter(|place| place.hold == Some((from, hold))) {
            place.is_locked = true;
        }
        self.go_on_when_locked(cx);
    }

    fn go_on_when_locked<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let is_locking = matches!(self.phase, Phase::Locking { .. }) && self.total != Total::Counting;
        if is_locking && self.missing() == 0 && self.places.iter().all(|place| place.is_locked) {
            self.appoint(cx, 1);
        }
    }

    pub(super) fn tick_locking<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let Phase::Locking { until, round } = self.phase else { return };
        if until > cx.now {
            return;
        }
        if self.places.iter().all(|place| place.is_locked) {
            // Still counting.
            return self.lock(cx, round);
        }
        if round < CONFIRMS {
            return self.lock(cx, round + 1);
        }
        // Those that stay silent may still hold for us: they are told, and lapse if they do not hear it.
        for (peer, hold) in self.places.iter().filter(|place| !place.is_locked).filter_map(|place| place.hold)
        {
            cx.host.send(peer, Message::Release { hold });
        }
        self.drop_places(|place| !place.is_locked);
        self.search_again(cx);
    }

    /// A node says that the hold is no more. Once confirms are out, only they are answered for.
    pub fn on_lost<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, hold: u64) {
        if self.is_holding() {
            self.drop_candidates(|candidate| (candidate.peer, candidate.hold) == (from, hold));
            self.drop_places(|place| place.hold == Some((from, hold)));
            if self.is_incomplete() {
                self.search_again(cx);
            }
        }
    }

    pub(super) fn drop_candidates(&mut self, is_gone: impl Fn(&Candidate) -> bool) {
        if let Phase::Searching(Hunt { look: Some(look), .. }) = &mut self.phase {
            look.candidates.retain(|candidate| !is_gone(candidate));
        }
    }

    /// Forgets planned holders. The others move up, as no slot has been confirmed.
    pub(super) fn drop_places(&mut self, is_gone: impl Fn(&Place) -> bool) {
        self.places.retain(|place| !is_gone(place));
        for (slot, place) in self.places.iter_mut().enumerate() {
            place.known.slot = slot as u16;
        }
    }

    /// Keeps all holds for another life; while nodes are missing, for whoever comes first. Candidates of a
    /// choice lapse by themselves: it is made before.
    pub(super) fn renew_all<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let is_searching = matches!(self.phase, Phase::Searching(_));
        for (peer, hold) in self.places.iter().filter_map(|place| place.hold) {
            let renewal = if is_searching { Message::Renew { hold } } else { Message::Lock { hold } };
            cx.host.send(peer, renewal);
        }
    }

    pub(super) fn release_all<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if let Phase::Searching(Hunt { look: Some(look), .. }) = &mut self.phase {
            for Candidate { peer, hold, .. } in look.candidates.drain(..) {
                cx.host.send(peer, Message::Release { hold });
            }
        }
        let places: Vec<Place> = core::mem::take(&mut self.places);
        for (peer, hold) in places.into_iter().filter_map(|place| place.hold) {
            cx.host.send(peer, Message::Release { hold });
        }
    }
}

/// The pause after the attempt that follows `attempts` failed ones: random, and twice as long each time
/// (binary exponential back-off: Metcalfe, Boggs, Ethernet, CACM 1976, with a lower end so that holds are
/// free when others look).
fn back_off(config: &Config, attempts: u8, rng: &mut Rng) -> Duration {
    let half = config.back_off.as_micros() / 2;
    let doubled = config.back_off.as_micros().saturating_mul(1 << attempts.min(32));
    let high = doubled.min(config.back_off_max.as_micros()).max(half);
    Duration::from_micros(rng.between(half, high))
}

/// The pause within what is left of a submission's time: the last attempt comes at its end. Nothing when too
/// little is left for others to take what was given back.
fn within(pause: Duration, left: Duration, config: &Config) -> Option<Duration> {
    let least = Duration::from_micros(config.back_off.as_micros() / 2);
    (left >= least).then_some(pause.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_comes_at_the_end_of_the_wait() {
        let config = Config::default();
        let s = Duration::from_millis;
        for (pause, left, expected) in [
            (900, 12_000, Some(900)),
            (7_000, 3_700, Some(3_700)),
            (900, 500, Some(500)),
            (900, 499, None),
            (500, 0, None),
        ] {
            assert_eq!(within(s(pause), s(left), &config), expected.map(s), "{pause} of {left}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_end_and_differ() {
        let config = Config::default();
        let mut rng = Rng::new(1);
        for (attempts, high) in [(0, 1_000), (1, 2_000), (3, 8_000), (4, 15_000), (200, 15_000)] {
            let pauses: Vec<u64> =
                (0..200).map(|_| back_off(&config, attempts, &mut rng).as_millis()).collect();
            assert!(pauses.iter().all(|pause| (500..=high).contains(pause)), "{attempts}");
            let (least, most) = (pauses.iter().min().unwrap_or(&0), pauses.iter().max().unwrap_or(&0));
            assert!(most - least > (high - 500) / 2, "{attempts}: {least} to {most}");
        }
    }
}
