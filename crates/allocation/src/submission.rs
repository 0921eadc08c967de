//! From a user's request to N confirmed slots: hold all, lock all, appoint guardians, confirm slot 0, confirm
//! the rest.
//!
//! Before the first confirm nothing exists and holds lapse; after it the holders complete the application by
//! themselves, and the submission only watches. How N nodes are held and locked is in `holding`, how they are
//! confirmed and watched in `confirming`.

mod confirming;
pub(crate) mod holding;

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Coordinate, Duration, Handle, Instant};
use xtreem_discovery::{Facts, Report};

use crate::app::Lately;
use crate::chain::Chain;
use crate::context::Context;
use crate::guardian::APPOINT_PERIOD;
use crate::look::Look;
use crate::message::{GUARDIANS, GuardianSet, Holds, Message, SetVersion, Versions};
use crate::placement::Placement;
use crate::proof::{Evidence, LINKS_MAX, Link, Signed};
use crate::{Application, Epoch, Host, Known, Notice, Progress, Record, SlotState, Ticket, Wish};

/// Confirms sent for one slot before it is left to the holders. Our guess, as in recruiting.
const CONFIRMS: u8 = 3;
/// Rounds of appointing guardians before the submission goes on with those it has.
const APPOINT_ROUNDS: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The node that the others are to be near to is looked for.
    Locating,
    /// Nodes are searched for, and held as they are found.
    Searching(Hunt),
    /// N nodes are held, and each is asked to let nobody else have it.
    Locking {
        until: Instant,
        round: u8,
    },
    /// Too few were found. Nothing is held until the next attempt.
    Waiting {
        until: Instant,
    },
    /// `waiting` were asked to be guardians.
    Appointing {
        waiting: Vec<Handle>,
        until: Instant,
        round: u8,
    },
    /// Slot 0 first: from its confirm on the application exists.
    First,
    Rest,
}

/// One slot, from its hold on.
#[derive(Clone, Debug)]
struct Place {
    /// What the holder told of itself when it was found.
    facts: Facts,
    /// Planned holder and its hold, until confirmed or given up.
    hold: Option<(Handle, u64)>,
    /// The node has said that nobody else gets it.
    is_locked: bool,
    /// What is known of the slot.
    known: Known,
    /// Of the epoch that is planned.
    link: Option<Arc<Signed<Link>>>,
    sent: u8,
    due: Instant,
    silent: u8,
}

/// What the owner holds with other applications, where the policy limits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Total {
    Unlimited,
    /// Being counted: nothing is confirmed before that.
    Counting,
    Within,
}

/// One search of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunt {
    /// Nodes that are needed.
    wanted: u16,
    found: u16,
    /// Where the placement has something to choose from; otherwise each node is taken as it is found.
    look: Option<Look>,
}

/// One submission made on this node.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub application: Application,
    placement: Arc<dyn Placement>,
    /// Where the nodes are to be near to.
    origin: Option<Coordinate>,
    /// Too few candidates were there in this attempt: any node does that can be had.
    gives_way: bool,
    phase: Phase,
    /// Attempts that found too few nodes.
    attempts: u8,
    /// Searches of this attempt after its first.
    follow_ups: u8,
    total: Total,
    /// No attempt begins after this.
    until: Instant,
    places: Vec<Place>,
    guardians: Vec<Handle>,
    /// Nodes that granted a hold in this attempt and did not confirm.
    refusers: Vec<Handle>,
    /// Those of them that did not answer: they may hold slot 0 under a lower epoch.
    silent: Vec<Handle>,
    /// What is stated of them, from the first confirm on.
    appointed: Option<GuardianSet>,
    /// What is proven of the application.
    chain: Chain,
    asked: Lately,
    /// How the last search went, until it is told.
    report: Option<Report>,
    renew_due: Instant,
    pub due: Instant,
    pub is_over: bool,
}

impl Submission {
    /// Begins the first attempt; further ones may begin within `wait`.
    pub fn start<H: Host>(application: Application, wait: Duration, cx: &mut Context<'_, H>) -> Self {
        let renew_due = cx.now + cx.config.renew_period;
        let placement = cx.placement(&application.spec);
        let chain = Chain::new(application.record.id, cx.me.id);
        let mut submission = Submission {
            application,
            placement,
            origin: None,
            gives_way: false,
            phase: Phase::Waiting { until: cx.now },
            attempts: 0,
            follow_ups: 0,
            total: Total::Unlimited,
            until: cx.now + wait,
            places: Vec::new(),
            guardians: Vec::new(),
            refusers: Vec::new(),
            silent: Vec::new(),
            appointed: None,
            chain,
            asked: Lately::asked(),
            report: None,
            renew_due,
            due: renew_due,
            is_over: false,
        };
        submission.attempt(cx);
        submission
    }

    pub fn is_accepted(&self) -> bool {
        self.phase == Phase::Rest
    }

    fn slots(&self) -> u16 {
        self.application.record.slots
    }

    fn tell_host<H: Host>(&self, cx: &mut Context<'_, H>, progress: Progress) {
        cx.host.event(Notice::Submission { app: self.application.record.id, progress });
    }

    /// Nothing was confirmed: releases everything.
    fn give_up<H: Host>(&mut self, cx: &mut Context<'_, H>, progress: Progress) {
        if matches!(self.phase, Phase::Searching(_)) {
            cx.host.event(Wish::CancelSearch(Ticket::Submission(self.application.record.id)));
        }
        self.release_all(cx);
        self.is_over = true;
        self.tell_host(cx, progress);
    }

    /// The user does not want it any more.
    pub fn withdraw<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        self.not_placed(cx);
    }

    fn not_placed<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let report = self.report.take();
        self.give_up(cx, Progress::NotPlaced { report });
    }

    pub fn beaten<H: Host>(&mut self, cx: &mut Context<'_, H>, by: Record) {
        self.give_up(cx, Progress::Beaten { by });
    }

    fn appoint<H: Host>(&mut self, cx: &mut Context<'_, H>, round: u8) {
        let me = cx.me.handle;
        let mut waiting = cx.host.grid_contacts(4 * GUARDIANS);
        let is_planned = |peer: &Handle| self.places.iter().any(|place| place.known.holder == Some(*peer));
        waiting.retain(|peer| *peer != me && !is_planned(peer) && !self.guardians.contains(peer));
        waiting.truncate(GUARDIANS - self.guardians.len());
        let is_lonely = self.guardians.is_empty() && (waiting.is_empty() || round >= APPOINT_ROUNDS);
        if is_lonely && !is_planned(&me) {
            // Where nobody else is known, or answers, this node itself: without any guardian the first
            // holder would take the application with it.
            waiting.truncate(GUARDIANS - 1);
            waiting.push(me);
        }
        let members: Vec<Handle> = self.guardians.iter().chain(&waiting).copied().collect();
        let guardians = self.set_of(round, members, cx);
        for at in 0..self.places.len() {
            self.plan(cx, at);
        }
        let slots: Vec<Known> =
            self.places.iter().map(|place| place.known).take(crate::message::KNOWN_MAX).collect();
        let evidence = self.evidence(&slots, &guardians, cx);
        for peer in &waiting {
            let application = self.application.clone().into();
            let (guardians, slots, evidence) = (guardians.clone(), slots.clone(), evidence.clone().into());
            let older = Vec::new();
            cx.host.send(*peer, Message::Appoint { application, guardians, slots, older, evidence });
        }
        self.phase = Phase::Appointing { waiting, until: cx.now + APPOINT_PERIOD, round };
        self.due = cx.now;
    }

    /// The guardians of the `round`th time that some are appointed, as the submitting node signs them.
    fn set_of<H: Host>(&self, round: u8, members: Vec<Handle>, cx: &Context<'_, H>) -> GuardianSet {
        let signer = (self.application.record.id, 0, cx.me.id);
        GuardianSet::signed(cx.host, signer, self.set_version(round, cx), members)
    }

    /// Signs the epoch with which a planned holder will get its slot, so that all who are told of the plan
    /// have its proof.
    fn plan<H: Host>(&mut self, cx: &mut Context<'_, H>, at: usize) {
        let place = &self.places[at];
        let Some(id) = place.hold.and_then(|(peer, _)| cx.host.id_of(peer)) else { return };
        let slot = at as u16;
        if place.link.as_ref().is_some_and(|link| (link.body.slot, link.body.holder) == (slot, id)) {
            return;
        }
        let epoch = cx.fresh_epoch(1);
        let app = self.application.record.id;
        let link = Signed::by(cx.host, Link { app, slot, epoch, holder: id, after: 0 });
        self.admit(&Evidence { links: alloc::vec![link.clone()], ..Evidence::default() });
        let place = &mut self.places[at];
        place.known.epoch = epoch;
        place.link = Some(link);
    }

    /// What proves this, to begin with.
    fn evidence<H>(&self, slots: &[Known], guardians: &GuardianSet, cx: &Context<'_, H>) -> Evidence {
        let told = slots.iter().map(|known| (known.slot, known.epoch));
        let mut evidence = self.chain.evidence(told, cx.me.id);
        evidence.sets.extend(guardians.claim.iter().map(|claim| Arc::new((**claim).clone())));
        evidence
    }

    fn admit(&mut self, evidence: &Evidence) {
        self.chain.admit(evidence);
        let current: Vec<(u16, Epoch)> =
            self.places.iter().map(|place| (place.known.slot, place.known.epoch)).collect();
        self.chain.trim(current.len() + LINKS_MAX, current);
    }

    /// Whether `peer` is the node that this slot was given to under this epoch.
    fn is_holder<H: Host>(&self, cx: &Context<'_, H>, peer: Handle, slot: u16, epoch: Epoch) -> bool {
        let holder = self.chain.holder(slot, epoch);
        holder.is_some() && holder == cx.host.id_of(peer)
    }

    /// The epoch of the `round`th time that guardians are appointed for the nodes that are held now.
    fn set_version<H>(&self, round: u8, cx: &Context<'_, H>) -> SetVersion {
        let per_set = u32::from(APPOINT_ROUNDS) + 2;
        let sets =
            u32::from(self.attempts) * u32::from(holding::FOLLOW_UPS_MAX + 1) + u32::from(self.follow_ups);
        let number = sets * per_set + u32::from(round);
        let by = Epoch { recruiter: cx.me.id, incarnation: cx.me.incarnation, ..Epoch::NONE };
        SetVersion { number, by }
    }

    pub fn on_appointed(&mut self, now: Instant, from: Handle) {
        if let Phase::Appointing { waiting, .. } = &mut self.phase
            && waiting.contains(&from)
        {
            waiting.retain(|peer| *peer != from);
            self.guardians.push(from);
            self.due = now;
        }
    }

    pub fn tick<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if self.renew_due <= cx.now {
            self.renew_due = cx.now + cx.config.renew_period;
            self.renew_all(cx);
        }
        if self.is_incomplete() {
            self.search_again(cx);
        }
        match &self.phase {
            Phase::Locating => {}
            Phase::Searching(_) => self.tick_look(cx),
            Phase::Waiting { until } if *until > cx.now => {}
            Phase::Waiting { .. } => self.attempt(cx),
            Phase::Locking { .. } => self.tick_locking(cx),
            Phase::Appointing { waiting, until, round } => {
                let (is_complete, round) = (waiting.is_empty(), *round);
                if is_complete || *until <= cx.now {
                    if is_complete || round >= APPOINT_ROUNDS {
                        self.phase = Phase::First;
                        self.tick_first(cx);
                    } else {
                        self.appoint(cx, round + 1);
                    }
                }
            }
            Phase::First => self.tick_first(cx),
            Phase::Rest => self.tick_rest(cx),
        }
        self.due = self.next_due(cx.now);
    }

    fn next_due(&self, now: Instant) -> Instant {
        let own = match &self.phase {
            Phase::Locating => Instant::FAR,
            Phase::Searching(hunt) => hunt.look.as_ref().map_or(Instant::FAR, |look| look.until),
            Phase::Waiting { until } | Phase::Locking { until, .. } | Phase::Appointing { until, .. } => {
                *until
            }
            Phase::First => self.places.first().map_or(now, |place| place.due),
            Phase::Rest => self.places.iter().map(|place| place.due).min().unwrap_or(now),
        };
        own.min(self.renew_due).max(now + Duration::from_millis(1))
    }

    pub fn on_probe_ack<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slot: u16,
        holds: Holds,
        newest: Option<Known>,
    ) {
        if let Holds::Yes(report) = holds {
            self.see(cx, from, Known { slot, epoch: report.epoch, holder: Some(from), state: report.state });
        } else if let Some(place) = self.places.get_mut(usize::from(slot))
            && place.known.holder == Some(from)
            && place.hold.is_none()
        {
            place.known.holder = None;
        }
        if let Some(newest) = newest {
            self.see(cx, from, newest);
        }
    }

    /// Somebody tells of slots, and proves it.
    pub fn on_tell<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slots: &[Known],
        evidence: &Evidence,
    ) {
        self.admit(evidence);
        slots.iter().for_each(|news| self.see(cx, from, *news));
    }

    /// Somebody was told of an epoch and has no proof of it.
    pub fn on_ask_proof<H: Host>(&self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        if self.chain.holder(slot, epoch).is_none() {
            return;
        }
        let guardians = self.set_version(APPOINT_ROUNDS + 1, cx);
        let versions = Versions { record: self.application.record.version(), guardians };
        let (app, slots) = (self.application.record.id, Vec::new());
        let evidence = self.chain.evidence([(slot, epoch)], cx.me.id).into();
        cx.host.send(from, Message::Tell { app, versions, slots, evidence });
    }

    /// Takes news of a slot. What is not proven changes nothing, and is asked for.
    fn see<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, mut news: Known) {
        let id = self.chain.holder(news.slot, news.epoch);
        let ended = self.chain.final_state(news.slot);
        if id.is_none() || (news.state.is_final() && ended.is_none()) {
            if news.state != SlotState::Planned && self.asked.may(cx.now, from, news.slot) {
                let (app, slot, epoch) = (self.application.record.id, news.slot, news.epoch);
                cx.host.send(from, Message::AskProof { app, slot, epoch });
            }
            return;
        }
        let is_meant = news.holder.is_none_or(|holder| cx.host.id_of(holder) == id);
        let is_member = cx.host.id_of(from).is_some_and(|id| self.chain.is_entitled(id));
        if news.state == SlotState::Planned || !is_meant || !is_member {
            return;
        }
        news.state = ended.unwrap_or(news.state);
        let Some(place) = self.places.get_mut(usize::from(news.slot)) else { return };
        if news.epoch < place.known.epoch || (place.hold.is_some() && news.epoch == place.known.epoch) {
            return;
        }
        if news.holder.is_some() {
            place.silent = 0;
        }
        let has_changed = place.known.state != news.state || place.known.holder != news.holder;
        place.hold = if place.known.epoch < news.epoch { None } else { place.hold };
        place.known = news;
        if has_changed && self.phase == Phase::Rest {
            let Known { slot, state, holder, .. } = news;
            self.tell_host(cx, Progress::Slot { slot, state, holder });
            self.check_complete(cx);
        }
    }

    fn check_complete<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let (mut running, mut done, mut failed, mut troubled) = (0, 0, 0, None);
        for place in &self.places {
            match place.known.state {
                SlotState::Running | SlotState::Pausing(_) if place.known.holder.is_some() => running += 1,
                SlotState::Done(_) => done += 1,
                SlotState::Failed(_) => failed += 1,
                SlotState::Troubled(trouble) => troubled = troubled.or(Some((place.known.slot, trouble))),
                _ => return,
            }
        }
        if !self.is_over && self.phase == Phase::Rest {
            self.is_over = true;
            self.tell_host(
                cx,
                match troubled {
                    Some((slot, trouble)) => Progress::Troubled { slot, trouble },
                    None => Progress::Complete { running, done, failed },
                },
            );
        }
    }

    /// A peer restarted: what it held is lost.
    pub fn on_gone(&mut self, now: Instant, peer: Handle) {
        self.guardians.retain(|guardian| *guardian != peer);
        self.due = now;
        if self.is_holding() {
            self.drop_candidates(|candidate| candidate.peer == peer);
            return self.drop_places(|place| place.known.holder == Some(peer));
        }
        for place in self.places.iter_mut().filter(|place| place.known.holder == Some(peer)) {
            place.hold = None;
            place.known.holder = None;
            place.due = now;
        }
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.places.iter().filter_map(|place| place.known.holder).for_each(&mut *f);
        self.places.iter().filter_map(|place| place.hold).for_each(|(peer, _)| f(peer));
        self.guardians.iter().chain(&self.refusers).chain(&self.silent).for_each(|peer| f(*peer));
        if let Phase::Searching(Hunt { look: Some(look), .. }) = &self.phase {
            look.candidates.iter().for_each(|candidate| f(candidate.peer));
        }
        if let Phase::Appointing { waiting, .. } = &self.phase {
            waiting.iter().for_each(|peer| f(*peer));
        }
    }
}
