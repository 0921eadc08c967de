//! The allocation core of one node: every application that it takes part in, its submissions, its books.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;
use xtreem_base::{AppId, Duration, Handle, Instant, NodeId, Rng};

use crate::app::{App, Turn};
use crate::ledger::Ledger;
use crate::message::{Confirm, GuardianSet, Message, Refused, Versions};
use crate::stopped::Stopped;
use crate::submission::Submission;
use crate::{
    Application, Ask, Config, Effect, Exit, HoldRefusal, Host, Known, NotStarted, Progress, Record,
    RecordVersion, Resources, SlotRun, SlotState, StopReason, Ticket,
};

/// Most applications that one node takes part in; confirms and appointments beyond it are refused.
pub const APPS_MAX: usize = 1_024;
/// Most stopped records that one node keeps; the oldest goes first. Our guess.
pub const STOPPED_MAX: usize = 4_096;
/// Most submissions under way on one node.
pub const SUBMISSIONS_MAX: usize = 64;
/// Most records being published by this node; the oldest goes first.
const PUBLISHED_MAX: usize = 64;
/// A published record is sent again this often ...
const PUBLISH_PERIOD: Duration = Duration::from_secs(1);
/// ... for this long. Both our guess.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);

/// This node, to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Me {
    pub handle: Handle,
    pub id: NodeId,
    pub incarnation: u32,
}

/// Why a submission was not begun. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitRefusal {
    #[error("this node has {SUBMISSIONS_MAX} submissions under way: try again later or on another node")]
    TooMany,
    #[error("an application with this id was submitted before: ids are never used again")]
    Known,
    #[error("the record says stopped: a stopped record is final for its id")]
    Stopped,
}

/// Messages that made no sense, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A slot number that the application does not have.
    pub no_such_slot: u64,
    /// An application beyond [`APPS_MAX`].
    pub too_many_apps: u64,
    /// An appointment that does not name this node.
    pub not_appointed: u64,
}

#[derive(Clone, Debug)]
struct Published {
    record: Record,
    waiting: Vec<Handle>,
    due: Instant,
    until: Instant,
}

/// The core. All its methods take `now` and the [`Host`].
#[derive(Clone, Debug)]
pub struct Allocation {
    config: Config,
    me: Me,
    rng: Rng,
    ledger: Ledger,
    /// Confirms made by this incarnation.
    attempts: u32,
    apps: BTreeMap<AppId, App>,
    stopped: BTreeMap<AppId, Stopped>,
    submissions: BTreeMap<AppId, Submission>,
    published: Vec<Published>,
    faults: Faults,
}

macro_rules! turn {
    ($self:ident, $now:expr, $host:expr) => {
        Turn {
            config: &$self.config,
            me: $self.me,
            now: $now,
            rng: &mut $self.rng,
            ledger: &mut $self.ledger,
            attempts: &mut $self.attempts,
            faults: &mut $self.faults,
            host: $host,
        }
    };
}

impl Allocation {
    pub fn new(config: Config, me: Me, rng: Rng) -> Self {
        Allocation {
            config,
            me,
            rng,
            ledger: Ledger::default(),
            attempts: 0,
            apps: BTreeMap::new(),
            stopped: BTreeMap::new(),
            submissions: BTreeMap::new(),
            published: Vec::new(),
            faults: Faults::default(),
        }
    }

    pub fn set_offer(&mut self, offer: Resources) {
        self.ledger.set_offer(offer);
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Grants a hold to a visitor, or says why not.
    pub fn hold(&mut self, now: Instant, requester: Handle, ask: Ask) -> Result<u64, HoldRefusal> {
        if self.stopped.contains_key(&ask.app) {
            return Err(HoldRefusal::Stopped);
        }
        self.ledger.hold(now, self.config.hold, requester, ask, &mut self.rng)
    }

    /// Gives back a hold that this node was granted and does not need.
    pub fn release<H: Host>(&mut self, peer: Handle, hold: u64, host: &mut H) {
        host.send(peer, Message::Release { hold });
    }

    /// Begins to place an application.
    pub fn submit<H: Host>(
        &mut self,
        now: Instant,
        application: Application,
        host: &mut H,
    ) -> Result<(), SubmitRefusal> {
        let app = application.record.id;
        if application.record.is_stopped() {
            return Err(SubmitRefusal::Stopped);
        }
        let is_known = self.stopped.contains_key(&app) || self.apps.contains_key(&app);
        if is_known || self.submissions.contains_key(&app) {
            return Err(SubmitRefusal::Known);
        }
        if self.submissions.len() >= SUBMISSIONS_MAX {
            return Err(SubmitRefusal::TooMany);
        }
        let mut t = turn!(self, now, host);
        let submission = Submission::start(application, &mut t);
        self.submissions.insert(app, submission);
        Ok(())
    }

    /// Gives a submission up. Only before it was accepted does this undo anything.
    pub fn withdraw<H: Host>(&mut self, now: Instant, app: AppId, host: &mut H) {
        if let Some(mut submission) = self.submissions.remove(&app)
            && !submission.is_accepted()
        {
            submission.give_up(&mut turn!(self, now, host), Progress::NotPlaced);
        }
    }

    /// Sends a new record to nodes that take part, until they say that they have it.
    pub fn publish<H: Host>(&mut self, now: Instant, record: Record, to: &[Handle], host: &mut H) {
        for peer in to {
            host.send(*peer, Message::Record { record: record.clone().into() });
        }
        if self.published.len() >= PUBLISHED_MAX {
            self.published.remove(0);
        }
        let (due, until) = (now + PUBLISH_PERIOD, now + PUBLISH_LIMIT);
        self.published.push(Published { record, waiting: to.to_vec(), due, until });
    }

    pub fn describe<H: Host>(&mut self, app: AppId, at: Handle, host: &mut H) {
        host.send(at, Message::Describe { app });
    }

    /// The search behind `ticket` found a node and holds it.
    pub fn found<H: Host>(&mut self, now: Instant, ticket: Ticket, peer: Handle, hold: u64, host: &mut H) {
        let mut t = turn!(self, now, host);
        match ticket {
            Ticket::Submission(app) => match self.submissions.get_mut(&app) {
                Some(submission) => submission.on_found(&mut t, peer, hold),
                None => t.host.send(peer, Message::Release { hold }),
            },
            Ticket::Slot(app, slot) => match self.apps.get_mut(&app) {
                Some(app) => app.on_found(&mut t, slot, peer, hold),
                None => t.host.send(peer, Message::Release { hold }),
            },
        }
    }

    /// The search behind `ticket` is over.
    pub fn search_done<H: Host>(&mut self, now: Instant, ticket: Ticket, host: &mut H) {
        let mut t = turn!(self, now, host);
        match ticket {
            Ticket::Submission(app) => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_search_done(&mut t);
                }
            }
            Ticket::Slot(app, slot) => {
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_search_done(&mut t, slot);
                }
            }
        }
        self.sweep(host);
    }

    pub fn program_started<H: Host>(&mut self, now: Instant, run: SlotRun, host: &mut H) {
        self.with_app(now, run.app, host, |app, t| app.on_started(t, run));
    }

    pub fn program_exited<H: Host>(&mut self, now: Instant, run: SlotRun, exit: Exit, host: &mut H) {
        self.with_app(now, run.app, host, |app, t| app.on_exited(t, run, exit));
        self.sweep(host);
    }

    pub fn program_not_started<H: Host>(
        &mut self,
        now: Instant,
        run: SlotRun,
        why: NotStarted,
        host: &mut H,
    ) {
        self.with_app(now, run.app, host, |app, t| app.on_not_started(t, run, why));
        self.sweep(host);
    }

    /// The operator of this machine takes a slot back.
    pub fn free<H: Host>(&mut self, now: Instant, run: SlotRun, host: &mut H) {
        self.with_app(now, run.app, host, |app, t| app.stop_slot(t, run.slot, StopReason::Freed));
    }

    fn with_app<H: Host>(
        &mut self,
        now: Instant,
        app: AppId,
        host: &mut H,
        f: impl FnOnce(&mut App, &mut Turn<'_, H>),
    ) {
        let mut t = turn!(self, now, host);
        if let Some(app) = self.apps.get_mut(&app) {
            f(app, &mut t);
        }
    }

    pub fn handle_message<H: Host>(&mut self, now: Instant, from: Handle, message: Message, host: &mut H) {
        match message {
            Message::Renew { hold } => {
                self.ledger.renew(now, self.config.hold, from, hold);
            }
            Message::Release { hold } => self.ledger.release(from, hold),
            Message::Confirm(confirm) => self.on_confirm(now, from, *confirm, host),
            Message::Confirmed { app, slot, epoch } => {
                let mut t = turn!(self, now, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_confirmed(&mut t, from, slot, epoch);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_confirmed(&mut t, from, slot, epoch);
                }
            }
            Message::Refused { app, slot, epoch, why } => {
                if let Refused::Record(record) = &why {
                    self.take_record(now, None, (**record).clone(), host);
                }
                let mut t = turn!(self, now, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_refused(&mut t, from, slot);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_refused(&mut t, from, slot, epoch, why);
                }
            }
            Message::Record { record } => self.take_record(now, Some(from), *record, host),
            Message::RecordTaken { app, version } => self.on_record_taken(now, from, app, version, host),
            Message::AskRecord { app, version } => self.on_ask_record(from, app, version, host),
            Message::Appoint { application, guardians, slots, older } => {
                self.on_appoint(now, from, *application, guardians, (&slots, &older), host);
            }
            Message::Appointed { app } => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_appointed(now, from);
                }
                self.with_app(now, app, host, |app, t| app.on_appointed(t, from));
            }
            Message::Describe { app } => self.on_describe(from, app, host),
            Message::Description { record, slots, guardians } => {
                host.effect(Effect::Described { from, record: *record, slots, guardians });
            }
            Message::ProbeAck { app, versions, slot, holds, newest } => {
                let mut t = turn!(self, now, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_probe_ack(&mut t, from, slot, holds, newest);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_probe_ack(&mut t, from, slot, holds, newest);
                    app.compare(&mut t, from, versions);
                }
            }
            Message::Announce { app, versions, slot, epoch } => {
                self.on_app(now, from, app, Some(versions), host, |app, t| {
                    app.on_announce(t, from, slot, epoch)
                });
            }
            Message::Announced { app, slot, epoch, higher } => {
                self.on_app(now, from, app, None, host, |app, t| {
                    app.on_announced(t, from, slot, epoch, higher)
                });
            }
            Message::Probe { app, versions, about, mine } => {
                if !self.apps.contains_key(&app) && !self.stopped.contains_key(&app) {
                    return self.on_probe_of_unknown(now, from, app, about, host);
                }
                self.on_app(now, from, app, None, host, |app, t| {
                    for report in mine {
                        app.hear(t, from, report);
                    }
                    app.on_probe(t, from, about, versions);
                });
            }
            Message::Claim { app, slot, order } => {
                self.on_app(now, from, app, None, host, |app, t| app.on_claim(t, slot, order));
            }
            Message::Tell { app, versions, slots } => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    let mut t = turn!(self, now, host);
                    slots.iter().for_each(|news| submission.see(&mut t, *news));
                }
                self.on_app(now, from, app, Some(versions), host, |app, t| {
                    slots.iter().for_each(|news| app.learn(t, *news));
                });
            }
            Message::Report { app, versions, mine } => {
                self.on_app(now, from, app, Some(versions), host, |app, t| {
                    mine.iter().for_each(|report| app.hear(t, from, *report));
                });
            }
            Message::Locate { app, slot } => {
                self.on_app(now, from, app, None, host, |app, t| {
                    let mut slots = app.around(slot % app.slots(), t.me.handle);
                    slots.extend(app.newest(slot, t.me.handle));
                    slots.retain(|known| known.holder.is_some_and(|holder| holder != from));
                    app.tell(t, from, slots);
                });
            }
            Message::Guardians { app, guardians } => {
                self.on_app(now, from, app, None, host, |app, t| app.adopt_guardians(t, guardians));
            }
            Message::GuardianProbe { app, versions, mine } => {
                if !self.apps.contains_key(&app) && !self.stopped.contains_key(&app) {
                    return host.send(from, Message::GuardianAck { app, versions: None });
                }
                self.on_app(now, from, app, Some(versions), host, |app, t| {
                    mine.iter().for_each(|report| app.hear(t, from, *report));
                    let versions = app.is_guardian().then(|| app.versions());
                    t.host.send(from, Message::GuardianAck { app: app.id(), versions });
                });
            }
            Message::GuardianAck { app, versions } => {
                self.on_app(now, from, app, versions, host, |app, t| match versions {
                    Some(_) => app.guardians.on_alive(t.now, from),
                    None => app.guardians.on_gone(from),
                });
            }
        }
        self.sweep(host);
    }

    /// A message about an application that this node may know, may have known, or knows as stopped.
    fn on_app<H: Host>(
        &mut self,
        now: Instant,
        from: Handle,
        app: AppId,
        versions: Option<Versions>,
        host: &mut H,
        f: impl FnOnce(&mut App, &mut Turn<'_, H>),
    ) {
        if let Some(stopped) = self.stopped.get(&app) {
            host.send(from, Message::Record { record: stopped.record.clone().into() });
            return;
        }
        self.with_app(now, app, host, |app, t| {
            f(app, t);
            app.compare(t, from, versions);
        });
    }

    /// Somebody takes this node for a member of an application: when it was stopped he has to know.
    pub fn answer_stranger<H: Host>(&mut self, from: Handle, app: AppId, host: &mut H) {
        if let Some(stopped) = self.stopped.get(&app) {
            host.send(from, Message::Record { record: stopped.record.clone().into() });
        }
    }

    fn on_probe_of_unknown<H: Host>(
        &mut self,
        now: Instant,
        from: Handle,
        app: AppId,
        about: Known,
        host: &mut H,
    ) {
        let is_planned = self.ledger.has_hold(now, app);
        let holds = if is_planned { crate::Holds::Planned } else { crate::Holds::No };
        let slot = about.slot;
        host.send(from, Message::ProbeAck { app, versions: None, slot, holds, newest: None });
    }

    fn on_confirm<H: Host>(&mut self, now: Instant, from: Handle, confirm: Confirm, host: &mut H) {
        let (app, slot, epoch) = (confirm.application.record.id, confirm.slot, confirm.epoch);
        let refuse = |ledger: &mut Ledger, host: &mut H, why| {
            ledger.release(from, confirm.hold);
            host.send(from, Message::Refused { app, slot, epoch, why });
        };
        if let Some(stopped) = self.stopped.get(&app) {
            return refuse(&mut self.ledger, host, Refused::Record(stopped.record.clone().into()));
        }
        if confirm.application.record.is_stopped() {
            return self.take_record(now, Some(from), confirm.application.record, host);
        }
        if !self.apps.contains_key(&app) {
            if self.apps.len() >= APPS_MAX {
                self.faults.too_many_apps += 1;
                return refuse(&mut self.ledger, host, Refused::NoHold);
            }
            self.apps.insert(app, App::new(confirm.application.clone(), now));
        }
        let mut t = turn!(self, now, host);
        let Some(known) = self.apps.get_mut(&app) else { return };
        let (ours, theirs) = (known.application.record.version(), confirm.application.record.version());
        if theirs < ours {
            let record = known.application.record.clone().into();
            return refuse(t.ledger, t.host, Refused::Record(record));
        }
        if theirs > ours {
            known.application.spec = confirm.application.spec.clone();
            known.set_record(&mut t, confirm.application.record.clone());
        }
        known.on_confirm(&mut t, from, confirm);
        known.leave_when_idle(&mut t);
    }

    fn on_appoint<H: Host>(
        &mut self,
        now: Instant,
        from: Handle,
        application: Application,
        guardians: GuardianSet,
        (slots, older): (&[Known], &[Handle]),
        host: &mut H,
    ) {
        let app = application.record.id;
        if !guardians.members.contains(&self.me.handle) {
            self.faults.not_appointed += 1;
            return;
        }
        if let Some(stopped) = self.stopped.get(&app) {
            return host.send(from, Message::Record { record: stopped.record.clone().into() });
        }
        if !self.apps.contains_key(&app) {
            if self.apps.len() >= APPS_MAX {
                self.faults.too_many_apps += 1;
                return;
            }
            self.apps.insert(app, App::new(application, now));
        }
        self.with_app(now, app, host, |app, t| {
            // Only a submitter appoints before any slot is confirmed.
            let by_holder = slots.iter().any(|known| known.state > SlotState::Planned);
            app.on_appoint(t, from, guardians, by_holder);
            slots.iter().for_each(|known| app.learn(t, *known));
            let lowest = slots.first().map_or(0, |known| known.slot);
            let others = older.iter().filter(|peer| **peer != t.me.handle);
            others.for_each(|peer| app.suspect(t.now, lowest, *peer));
        });
    }

    fn on_describe<H: Host>(&mut self, from: Handle, app: AppId, host: &mut H) {
        if let Some(stopped) = self.stopped.get(&app) {
            let record = stopped.record.clone().into();
            host.send(from, Message::Description { record, slots: Vec::new(), guardians: Vec::new() });
        } else if let Some((record, slots, guardians)) = self.describe_here(app) {
            host.send(from, Message::Description { record: record.into(), slots, guardians });
        }
    }

    /// What this node knows of an application: record, slots, guardians.
    pub fn describe_here(&self, app: AppId) -> Option<(Record, Vec<Known>, Vec<Handle>)> {
        let app = self.apps.get(&app)?;
        let guardians = app.guardians.set.members.clone();
        Some((app.application.record.clone(), app.all_known(self.me.handle), guardians))
    }

    fn on_ask_record<H: Host>(&mut self, from: Handle, app: AppId, version: RecordVersion, host: &mut H) {
        let stopped = self.stopped.get(&app).map(|stopped| &stopped.record);
        let Some(record) = stopped.or_else(|| self.apps.get(&app).map(|app| &app.application.record)) else {
            return;
        };
        if record.version() > version {
            host.send(from, Message::Record { record: record.clone().into() });
        } else {
            host.send(from, Message::RecordTaken { app, version: record.version() });
        }
    }

    fn on_record_taken<H: Host>(
        &mut self,
        now: Instant,
        from: Handle,
        app: AppId,
        version: RecordVersion,
        host: &mut H,
    ) {
        for published in self.published.iter_mut().filter(|published| published.record.id == app) {
            if published.waiting.contains(&from) && published.record.version() <= version {
                published.waiting.retain(|peer| *peer != from);
                host.effect(Effect::RecordTaken { app, by: from, newer: None });
            }
        }
        if let Some(stopped) = self.stopped.get_mut(&app)
            && stopped.record.version() <= version
        {
            stopped.is_told(from);
        }
        if let Some(app) = self.apps.get_mut(&app) {
            app.on_checked(now, from);
        }
    }

    /// A record, from somebody or for this node itself. The newer one stays; a stopped one is final.
    fn take_record<H: Host>(&mut self, now: Instant, from: Option<Handle>, record: Record, host: &mut H) {
        let (app, version) = (record.id, record.version());
        for published in self.published.iter_mut().filter(|published| published.record.id == app) {
            if let Some(by) = from.filter(|_| version > published.record.version()) {
                published.waiting.clear();
                host.effect(Effect::RecordTaken { app, by, newer: Some(record.clone()) });
            }
        }
        let ours = self
            .stopped
            .get(&app)
            .map(|stopped| &stopped.record)
            .or_else(|| self.apps.get(&app).map(|app| &app.application.record))
            .cloned();
        let answer = match &ours {
            Some(ours) if ours.version() > version => Some(Message::Record { record: ours.clone().into() }),
            Some(_) => Some(Message::RecordTaken { app, version }),
            None => record.is_stopped().then_some(Message::RecordTaken { app, version }),
        };
        if let (Some(from), Some(answer)) = (from, answer) {
            host.send(from, answer);
        }
        if let Some(stopped) = self.stopped.get_mut(&app)
            && let Some(from) = from.filter(|_| record.is_stopped())
        {
            stopped.is_told(from);
        }
        if ours.as_ref().is_some_and(|ours| ours.version() >= version) {
            return;
        }
        if let Some(mut submission) = self.submissions.remove(&app) {
            submission.beaten(&mut turn!(self, now, host), record.clone());
        }
        if record.is_stopped() {
            self.stop(now, from, record, host);
        } else {
            self.with_app(now, app, host, |app, t| {
                if let Some(from) = from {
                    app.on_checked(t.now, from);
                }
                app.set_record(t, record);
            });
        }
    }

    fn stop<H: Host>(&mut self, now: Instant, from: Option<Handle>, record: Record, host: &mut H) {
        let app = record.id;
        let mut stopped = Stopped::new(record.clone(), now);
        let mut t = turn!(self, now, host);
        if let Some(known) = self.apps.get_mut(&app) {
            let older: Vec<Handle> = known.older.peers().collect();
            let lost = known.known.iter().filter_map(|(_, entry)| entry.holder);
            let told = known.partners(self.me.handle).into_iter().chain(older).chain(lost);
            for peer in told.filter(|peer| Some(*peer) != from && *peer != self.me.handle) {
                stopped.tell(now, peer);
            }
            known.abort_recruits(&mut t);
            known.guard = None;
            let held: Vec<u16> = known.mine.iter().map(|mine| mine.slot).collect();
            for slot in held {
                known.stop_slot(&mut t, slot, StopReason::Stopped);
            }
            known.application.record = record.clone();
            known.leave(&mut t);
        }
        t.host.effect(Effect::RecordChanged { record });
        stopped.tick(now, &self.config, host);
        if self.stopped.len() >= STOPPED_MAX {
            let oldest = self.stopped.iter().min_by_key(|(_, stopped)| stopped.since).map(|(app, _)| *app);
            oldest.and_then(|app| self.stopped.remove(&app));
        }
        self.stopped.insert(app, stopped);
    }

    /// A peer restarted under a newer incarnation: what it held is lost.
    pub fn handle_gone(&mut self, now: Instant, peer: Handle) {
        self.apps.values_mut().for_each(|app| app.on_gone(now, peer));
        self.submissions.values_mut().for_each(|submission| submission.on_gone(now, peer));
        self.stopped.values_mut().for_each(|stopped| stopped.is_told(peer));
        for published in &mut self.published {
            published.waiting.retain(|waiting| *waiting != peer);
        }
    }

    /// Others say that a silent peer answers them.
    pub fn alive(&mut self, now: Instant, peer: Handle) {
        self.apps.values_mut().for_each(|app| app.on_alive(now, peer));
    }

    /// This node was paused: asks for newer epochs of its slots before it acts.
    pub fn resume<H: Host>(&mut self, now: Instant, host: &mut H) {
        let mut t = turn!(self, now, host);
        self.apps.values_mut().for_each(|app| app.resume(&mut t));
    }

    pub fn handle_timeout<H: Host>(&mut self, now: Instant, host: &mut H) {
        self.ledger.expire(now);
        let mut t = turn!(self, now, host);
        for submission in self.submissions.values_mut().filter(|submission| submission.due <= now) {
            submission.tick(&mut t);
        }
        for app in self.apps.values_mut().filter(|app| app.due <= now) {
            app.tick(&mut t);
        }
        for stopped in self.stopped.values_mut() {
            stopped.tick(now, &self.config, host);
        }
        for published in self.published.iter_mut().filter(|published| published.due <= now) {
            published.due = now + PUBLISH_PERIOD;
            for peer in &published.waiting {
                host.send(*peer, Message::Record { record: published.record.clone().into() });
            }
        }
        self.published.retain(|published| published.until > now && !published.waiting.is_empty());
        self.stopped.retain(|_, stopped| now.since(stopped.since) < self.config.keep);
        let config = &self.config;
        for app in self.apps.values_mut() {
            let keep = app.keep(config);
            if app.left.is_some_and(|left| now.since(left) >= keep) {
                app.mine.clear();
            }
        }
        self.apps.retain(|_, app| app.left.is_none_or(|left| now.since(left) < app.keep(config)));
        self.sweep(host);
    }

    /// Drops submissions that are over and stopped applications that have stopped here.
    fn sweep<H: Host>(&mut self, host: &mut H) {
        self.submissions.retain(|_, submission| !submission.is_over);
        let stopped = &self.stopped;
        self.apps.retain(|id, app| {
            let is_gone = app.mine.is_empty() && stopped.contains_key(id);
            if is_gone {
                host.effect(Effect::AppLeft { app: *id });
            }
            !is_gone
        });
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let apps = self.apps.values().map(|app| app.due);
        let submissions = self.submissions.values().map(|submission| submission.due);
        let stopped = self.stopped.values().map(|stopped| stopped.next_due(&self.config));
        let published = self.published.iter().map(|published| published.due);
        let holds = self.ledger.next_expiry();
        apps.chain(submissions).chain(stopped).chain(published).chain(holds).min()
    }

    /// Every application that this node takes part in: record, own slots, whether it guards it.
    pub fn apps(&self) -> impl Iterator<Item = AppHere<'_>> {
        let active = self.apps.values().map(|app| AppHere {
            record: &app.application.record,
            slots: app.mine.iter().filter(|mine| mine.is_held()).map(|mine| mine.slot).collect(),
            is_guardian: app.is_guardian(),
            is_former: app.left.is_some(),
            is_finished: app.is_finished,
        });
        let is_stopping = |id: &AppId| self.apps.contains_key(id);
        let stopped = self.stopped.values().filter(move |stopped| !is_stopping(&stopped.record.id));
        active.chain(stopped.map(|stopped| AppHere {
            record: &stopped.record,
            slots: Vec::new(),
            is_guardian: false,
            is_former: true,
            is_finished: false,
        }))
    }

    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.ledger.for_each_handle(f);
        self.apps.values().for_each(|app| app.for_each_handle(f));
        self.stopped.values().for_each(|stopped| stopped.for_each_handle(f));
        self.submissions.values().for_each(|submission| submission.for_each_handle(f));
        self.published.iter().flat_map(|published| &published.waiting).for_each(|peer| f(*peer));
    }
}

/// One application as this node takes part in it.
#[derive(Clone, Debug)]
pub struct AppHere<'a> {
    pub record: &'a Record,
    pub slots: Vec<u16>,
    pub is_guardian: bool,
    pub is_former: bool,
    pub is_finished: bool,
}
