//! Finding a new holder for a lost slot: check, search, hold, confirm.

mod asked;
mod facts;

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant};
use xtreem_discovery::{Ended, Facts, Need, Report};

use super::App;
use crate::context::Context;
use crate::look::{LOOK_LIMIT, LOOK_ON, Look};
use crate::message::{Confirm, GUARDIANS, Message, Refused};
use crate::mine::{Mine, Phase as MinePhase};
use crate::placement::{self, Candidate};
use crate::recruit::{Phase, Recruit};
use crate::{Ask, Connection, Epoch, FailureKind, Fault, Host, Known, Notice, SlotState, Ticket, Wish};

/// Confirms sent to one node before another one is looked for. Our guess: 1 % loss makes it one in a million.
const CONFIRMS: u8 = 3;
/// After this a holder that has not told what it was asked for is asked again. Our guess: a slow round trip.
const FACTS_AGAIN: Duration = Duration::from_millis(300);
/// A holder that spoke so lately runs its slot: it speaks once a second, and is lost after five.
const HEARD_JUST_NOW: Duration = Duration::from_secs(2);
/// Slots that one node recruits for one application at a time; the others wait their turn. Our guess.
const RECRUITS_MAX: usize = 16;
/// ... and one where the holders must be enough together, so that the next one is chosen beside this one.
const RECRUITS_OF_SET_MAX: usize = 1;

/// The first phase. The holders that were asked for facts are waited for as well, and longer.
fn checking<H: Host>(cx: &Context<'_, H>, mut waiting: Vec<Handle>, kept: &[(Handle, Facts)]) -> Phase {
    let me = cx.me.handle;
    waiting.extend(kept.iter().map(|(peer, _)| *peer).filter(|peer| *peer != me));
    let limit = if kept.is_empty() { cx.config.record_check } else { cx.config.facts_limit };
    Phase::Checking { waiting, again: cx.now + FACTS_AGAIN, until: cx.now + limit }
}

/// Whether a search has shown that no node matches but those that it was to leave out.
fn is_only(report: &Report) -> bool {
    report.ended == Ended::Exhausted && report.matched == 0 && report.lost == 0
}

impl App {
    pub fn start_recruit<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, order: u16) {
        let most = if self.is_set() { RECRUITS_OF_SET_MAX } else { RECRUITS_MAX };
        if self.recruits.len() >= most {
            return;
        }
        let me = cx.me.handle;
        let mut waiting = self.guardians.set.members.clone();
        waiting.retain(|peer| *peer != me);
        for peer in &waiting {
            let version = self.application.record.version();
            cx.host.send(*peer, Message::AskRecord { app: self.id(), version });
        }
        if let Some(lost) = self.known.entry(slot).filter(|entry| entry.holder.is_some()) {
            let about = lost.known(slot);
            let holder = about.holder.into_iter().filter(|holder| *holder != me);
            for holder in holder {
                self.send_probe(cx, holder, about);
                waiting.push(holder);
            }
        }
        let kept = self.ask_holders(cx, slot);
        let phase = checking(cx, waiting, &kept);
        let (exclude, gives_way, claim_due) = (Vec::new(), false, cx.now);
        // The first holder of a slot replaces nobody.
        let is_untold = self.mine(slot).is_some_and(Mine::is_held)
            || self.known.entry(slot).is_some_and(|entry| entry.holder.is_some());
        let recruit =
            Recruit { phase, order, claim_due, exclude, searches: 0, kept, gives_way, demand: 0, is_untold };
        self.recruits.insert(slot, recruit);
    }

    /// Others may hold slots by now, and have other values: they are asked again.
    fn check_again<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let kept = self.ask_holders(cx, slot);
        let phase = checking(cx, Vec::new(), &kept);
        if let Some(recruit) = self.recruits.get_mut(&slot) {
            (recruit.phase, recruit.kept) = (phase, kept);
        }
    }

    /// Whether the slot is held here, has ended, or has a holder that spoke just now: later than one can have
    /// spoken that was lost by its silence.
    fn runs(&self, slot: u16, now: Instant) -> bool {
        self.mine(slot).is_some_and(Mine::is_held)
            || self.known.entry(slot).is_some_and(|entry| {
                let is_heard = entry.heard.is_some_and(|heard| now.since(heard) < HEARD_JUST_NOW);
                entry.state.is_final() || (entry.lost.is_none() && is_heard)
            })
    }

    /// A member recruits the slot. It is waited for, but not for ever.
    pub fn on_claim<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, order: u16) {
        if !self.is_member(cx, from) {
            cx.books.fault(Fault::NotEntitled);
            return;
        }
        if self.runs(slot, cx.now) {
            // Where it finds nobody it would never hear of it, and all others would wait for it.
            self.enlighten(cx, from, slot);
        }
        if let Some(entry) = self.known.entry_mut(slot)
            && !entry.claim(cx.now, from)
        {
            return;
        }
        let is_before =
            |recruit: &Recruit| order < recruit.order && !matches!(recruit.phase, Phase::Confirming { .. });
        if self.recruits.get(&slot).is_some_and(is_before) {
            self.abort_recruit(cx, slot);
        }
    }

    /// The search has found a node, with a hold.
    pub fn on_found<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, candidate: Candidate) {
        let Candidate { peer, hold, .. } = candidate;
        match self.recruits.get_mut(&slot).map(|recruit| &mut recruit.phase) {
            Some(Phase::Searching(Some(look))) if look.candidates.len() < look.most => {
                look.candidates.push(candidate);
                look.until = look.until.min(cx.now + LOOK_ON);
            }
            Some(phase @ Phase::Searching(None)) => {
                *phase = Phase::Held { peer, hold };
                self.tick_recruit(cx, slot);
            }
            _ => cx.host.send(peer, Message::Release { hold }),
        }
    }

    /// Lets the placement choose one of the candidates; without any, whatever can be had is searched for.
    fn choose<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let placement = cx.placement(&self.application.spec);
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        let Phase::Searching(Some(Look { candidates, .. })) = &mut recruit.phase else { return };
        let candidates = core::mem::take(candidates);
        let kept: Vec<&Facts> = recruit.kept.iter().map(|(_, facts)| facts).collect();
        let (chosen, others) = placement::choose(&*placement, candidates, &kept, 1, None, &mut cx.books.rng);
        for Candidate { peer, hold, .. } in others {
            cx.host.send(peer, Message::Release { hold });
        }
        match chosen.into_iter().next() {
            Some(Candidate { peer, hold, .. }) => {
                cx.host.send(peer, Message::Lock { hold });
                recruit.phase = Phase::Held { peer, hold };
                self.tick_recruit(cx, slot);
            }
            None => {
                recruit.gives_way = true;
                self.search(cx, slot);
            }
        }
    }

    /// The search is over; `Searching` without candidates still means that it found nobody.
    pub fn on_search_done<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, report: Option<&Report>) {
        let set = self.set();
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        match recruit.phase {
            Phase::Searching(None) => {}
            Phase::Searching(Some(_)) => return self.choose(cx, slot),
            _ => return,
        }
        recruit.exclude.clear();
        // The first search leaves the guardians out; the second one, which may take them, follows at once. So
        // does the one for less than what makes a set whole.
        let follows_up = match set {
            Some(set) => {
                recruit.demand = (recruit.demand + 1) % asked::of_the_new(&set, &recruit.kept).len().max(1);
                recruit.demand > 0
            }
            None => recruit.searches == 1,
        };
        if !follows_up && self.mine(slot).is_some_and(Mine::is_held) {
            // One that is to move has a place where it can stay.
            self.recruits.remove(&slot);
            return self.stay(cx, slot, report.is_some_and(is_only));
        }
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        let pause = if follows_up { Duration::ZERO } else { cx.config.search_pause };
        recruit.phase = Phase::Pausing { until: cx.now + cx.books.rng.jitter(pause, 25) };
        self.due = cx.now;
    }

    pub fn on_confirmed<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        let Some(recruit) = self.recruits.get(&slot) else { return };
        match recruit.phase {
            Phase::Confirming { peer, epoch: asked, .. }
                if peer == from && epoch.has_same_recruiter(&asked) && epoch <= asked => {}
            _ => return,
        }
        if !self.own_link_taken(cx, from, slot, epoch) {
            return self.ask_proof(cx, from, slot, epoch);
        }
        let news = Known { slot, epoch, holder: Some(from), state: SlotState::Starting };
        self.tell_placed(cx, news);
        self.recruits.remove(&slot);
        // The recruiter's own epoch is the highest it knows, so this replaces the lost holder.
        self.take(cx, news, None);
        if self.left.is_some() {
            // It took the only slot that was here.
            return;
        }
        cx.host.event(Wish::JoinCollection { app: self.id(), members: alloc::vec![from] });
    }

    /// The slot is held by whom this node gave it to, whoever says so first: the host is told once.
    pub fn tell_placed<H: Host>(&mut self, cx: &mut Context<'_, H>, news: Known) {
        let moves = self.mine(news.slot).is_some_and(Mine::is_held);
        let app = self.id();
        let Some(recruit) = self.recruits.get_mut(&news.slot) else { return };
        let is_placed = matches!(recruit.phase, Phase::Confirming { peer, .. } if news.holder == Some(peer));
        if is_placed && core::mem::take(&mut recruit.is_untold) {
            cx.host.event(Notice::SlotPlaced { app, slot: news, moves });
        }
    }

    pub fn on_refused<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slot: u16,
        epoch: Epoch,
        why: Refused,
    ) {
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        match recruit.phase {
            Phase::Confirming { peer, epoch: asked, .. }
                if peer == from && epoch.has_same_recruiter(&asked) => {}
            _ => return,
        }
        match why {
            // A rule may keep this node only; one that keeps all of them turns the search away instead.
            Refused::NoHold | Refused::Forbidden { .. } => {
                recruit.exclude.push(from);
                self.search(cx, slot);
            }
            Refused::Higher(higher, evidence) => {
                self.admit(cx, &evidence);
                let is_there = higher.holder == Some(from) && self.is_holder(cx, from, slot, higher.epoch);
                let is_higher = higher.epoch > epoch && self.chain.holder(slot, higher.epoch).is_some();
                if higher.slot != slot || !(is_there || is_higher) {
                    // It says so and cannot prove it: somebody else is looked for.
                    if let Some(recruit) = self.recruits.get_mut(&slot) {
                        recruit.exclude.push(from);
                    }
                    return self.search(cx, slot);
                }
                self.tell_placed(cx, higher);
                self.recruits.remove(&slot);
                if higher.holder == Some(from) {
                    let report =
                        crate::SlotReport { slot, epoch: higher.epoch, state: higher.state, done_run: 0 };
                    self.hear(cx, from, report);
                } else {
                    self.learn(cx, from, higher);
                }
            }
            // The record itself is compared by the caller.
            Refused::Record(_) => {
                self.recruits.remove(&slot);
            }
        }
    }

    pub fn abort_recruit<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let Some(recruit) = self.recruits.remove(&slot) else { return };
        match recruit.phase {
            Phase::Searching(look) => {
                cx.host.event(Wish::CancelSearch(Ticket::Slot(self.id(), slot)));
                for Candidate { peer, hold, .. } in look.into_iter().flat_map(|look| look.candidates) {
                    cx.host.send(peer, Message::Release { hold });
                }
            }
            Phase::Held { peer, hold } => cx.host.send(peer, Message::Release { hold }),
            // It may have taken the slot: it is an old holder until it answers.
            Phase::Confirming { peer, .. } => {
                if self.known.entry(slot).and_then(|entry| entry.holder) != Some(peer) {
                    self.suspect(cx.now, slot, peer);
                }
            }
            Phase::Checking { .. } | Phase::Pausing { .. } => {}
        }
    }

    pub fn abort_recruits<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let slots: Vec<u16> = self.recruits.keys().copied().collect();
        for slot in slots {
            self.abort_recruit(cx, slot);
        }
    }

    pub fn tick_recruits<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let slots: Vec<u16> = self.recruits.keys().copied().collect();
        for slot in slots {
            self.tick_recruit(cx, slot);
        }
    }

    fn tick_recruit<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let (app, is_set) = (self.id(), self.is_set());
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        if recruit.claim_due <= cx.now {
            recruit.claim_due = cx.now + cx.config.claim_period;
            let order = recruit.order;
            for peer in self.partners(cx.me.handle) {
                cx.host.send(peer, Message::Claim { app, slot, order });
            }
        }
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        match &mut recruit.phase {
            Phase::Checking { waiting, again, until } => {
                if waiting.is_empty() || *until <= cx.now {
                    self.search(cx, slot);
                } else if *again <= cx.now {
                    *again = cx.now + FACTS_AGAIN;
                    let holders = recruit.kept.iter().map(|(peer, _)| *peer);
                    let silent: Vec<Handle> = holders.filter(|peer| waiting.contains(peer)).collect();
                    self.ask_facts(cx, silent);
                }
            }
            Phase::Searching(Some(look)) if look.until <= cx.now => {
                cx.host.event(Wish::CancelSearch(Ticket::Slot(app, slot)));
                self.choose(cx, slot);
            }
            Phase::Searching(_) => {}
            Phase::Pausing { until } => {
                if *until > cx.now {
                    return;
                }
                if recruit.demand == 0 && is_set {
                    self.check_again(cx, slot);
                } else {
                    self.search(cx, slot);
                }
            }
            Phase::Held { peer, hold } => {
                let (peer, hold) = (*peer, *hold);
                match cx.host.connection(cx.now) {
                    Connection::Connected => self.confirm(cx, slot, peer, hold, 1),
                    Connection::Pending => {}
                    Connection::CutOff => self.abort_recruit(cx, slot),
                }
            }
            Phase::Confirming { peer, hold, resend, sent, .. } => {
                if *resend > cx.now {
                    return;
                }
                let (peer, hold, sent) = (*peer, *hold, *sent);
                if sent < CONFIRMS {
                    self.confirm(cx, slot, peer, hold, sent + 1);
                } else {
                    recruit.exclude.push(peer);
                    self.suspect(cx.now, slot, peer);
                    self.search(cx, slot);
                }
            }
        }
    }

    fn search<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        if self.take_offer(cx, slot) {
            return;
        }
        let app = self.id();
        let spec = self.application.spec.clone();
        let wishes = cx.placement(&spec).wishes(1);
        let set = self.set();
        let mut exclude = if spec.colocate { Vec::new() } else { self.known.busy_holders() };
        // Silent nodes would only cost the search its time-outs.
        let lost = self.known.iter().filter(|(_, entry)| entry.lost.is_some());
        let (gave_up, silent): (Vec<_>, Vec<_>) = lost.partition(|(_, entry)| entry.gave_up);
        exclude.extend(silent.into_iter().filter_map(|(_, entry)| entry.holder));
        let gave_up: Vec<Handle> = gave_up.into_iter().filter_map(|(_, entry)| entry.holder).collect();
        let guardians = self.guardians.set.members.clone();
        // The slot itself failed there, or that of another: they come last.
        let mut last = self.failing.clone();
        if let Some(mine) = self.mine(slot).filter(|mine| mine.is_held()) {
            exclude.push(cx.me.handle);
            let is_of_program = |kind| matches!(kind, FailureKind::Program(_));
            let moves_for_program = matches!(mine.phase, MinePhase::Moving { why, .. } if is_of_program(why));
            for failure in mine.history.iter() {
                // What failed of itself there is not tried there again; a node's trouble may be over.
                let is_out = moves_for_program && is_of_program(failure.kind);
                if is_out { &mut exclude } else { &mut last }.push(failure.at);
            }
        }
        let Some(recruit) = self.recruits.get_mut(&slot) else { return };
        if recruit.searches == 0 {
            exclude.extend(last);
        }
        let is_looking = wishes.surplus > 0 && !recruit.gives_way;
        if recruit.searches == 0 && set.is_none() {
            // Who gave a slot up had its reasons; in a small grid it may be the only one that is left.
            exclude.extend(gave_up);
        }
        if recruit.searches == 0 && !is_looking && set.is_none() {
            // A guardian that became a holder would have to be replaced as well: only when nobody else is
            // left, or when it is better than others.
            exclude.extend(guardians);
        }
        exclude.extend(&recruit.exclude);
        recruit.searches += u32::from(!is_looking);
        let wanted = if is_looking { wishes.surplus.saturating_add(1) } else { 1 };
        let (candidates, until) = (Vec::new(), cx.now + LOOK_LIMIT);
        let look = is_looking.then(|| Look { candidates, most: wanted.into(), until });
        recruit.phase = Phase::Searching(look);
        let (resources, colocate) = (spec.resources, spec.colocate);
        let patience = if is_looking { 0 } else { Ask::FIRST_OF_ALL };
        let ask = Ask { app, resources, colocate, patience, is_spare: is_looking, ports: spec.ports };
        let of_set = set.and_then(|set| {
            let demands = asked::of_the_new(&set, &recruit.kept);
            demands.get(recruit.demand).or(demands.last()).cloned()
        });
        let need = of_set.map_or_else(|| spec.requirement.clone(), Need::Each);
        let ticket = Ticket::Slot(app, slot);
        let facts = wishes.facts;
        cx.host.event(Wish::Search { ticket, need, ask, wanted, exclude, facts });
    }

    /// Sends a confirm with an epoch of its own.
    fn confirm<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16, peer: Handle, hold: u64, sent: u8) {
        let Some(link) = self.sign_link(cx, slot, peer) else {
            cx.host.send(peer, Message::Release { hold });
            return self.search(cx, slot);
        };
        let epoch = link.body.epoch;
        let me = cx.me.handle;
        let mut neighbours = self.around(slot, me);
        for (other, recruit) in &self.recruits {
            if let Some(planned) = recruit.planned(*other, self.next_counter(*other)) {
                neighbours.retain(|known| known.slot != *other);
                if crate::window::watches(*other, slot, self.slots()) {
                    neighbours.push(planned);
                }
            }
        }
        let mut older: Vec<Handle> = self.older.of(slot).collect();
        older.extend(self.known.entry(slot).and_then(|entry| entry.holder));
        let moved = self.mine(slot).filter(|mine| mine.is_held());
        older.extend(moved.map(|_| me));
        let failures = moved.map(|mine| mine.history.to_vec()).unwrap_or_default();
        older.sort_unstable();
        older.dedup();
        older.retain(|old| *old != peer);
        older.truncate(crate::message::PEERS_MAX);
        let mut peers = cx.host.app_peers(self.id(), 8);
        if !self.mine.is_empty() {
            peers.push(me);
        }
        let guardians = self.guardians.set.clone();
        let told = neighbours.iter().map(|known| (known.slot, known.epoch));
        let appointed = guardians.claim.iter().map(|claim| (claim.body.slot, claim.body.version.by));
        let mut evidence = self.chain.evidence(told.chain(appointed), cx.me.id);
        evidence.links.push(link);
        let confirm = Confirm::of(self.application.clone(), (slot, epoch, hold), guardians, evidence);
        let (failing, sources) = (self.failing.clone(), self.suppliers.clone());
        let confirm = Confirm { neighbours, older, peers, failures, failing, sources, ..confirm };
        cx.host.send(peer, Message::Confirm(confirm.into()));
        let resend = cx.now + cx.config.reply_timeout;
        if let Some(recruit) = self.recruits.get_mut(&slot) {
            recruit.phase = Phase::Confirming { peer, hold, epoch, resend, sent };
        }
        debug_assert!(self.guardians.set.members.len() <= GUARDIANS);
    }
}
