//! The allocation core of one node: every application that it takes part in, its submissions, its books.

mod messages;
mod records;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;
use xtreem_base::{AppId, Coordinate, Duration, Handle, Instant, NodeId, Rng};

use crate::app::{App, Turn};
use crate::ledger::Ledger;
use crate::message::Message;
use crate::placement::Candidate;
use crate::policy::Refusal;
use crate::stopped::Stopped;
use crate::submission::Submission;
use crate::{
    Application, Ask, Config, Effect, Exit, HoldRefusal, Host, NotStarted, Progress, Record, Resources,
    SlotRun, StopReason, Ticket,
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
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitRefusal {
    #[error("this node has {SUBMISSIONS_MAX} submissions under way: try again later or on another node")]
    TooMany,
    #[error("an application with this id was submitted before: ids are never used again")]
    Known,
    #[error("the record says stopped: a stopped record is final for its id")]
    Stopped,
    #[error(transparent)]
    Forbidden(#[from] Refusal),
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
    /// Facts that were not asked for, or a place outside the world.
    pub unsuitable_facts: u64,
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
    /// Requesters that are to hear that their holds went to somebody else.
    revoked: Vec<(Handle, u64)>,
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

use turn;

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
            revoked: Vec::new(),
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
        let granted = self.ledger.hold(now, self.config.hold, requester, ask, &mut self.rng)?;
        self.revoked.extend(granted.revoked);
        Ok(granted.id)
    }

    /// Tells those whose holds went to somebody else. Called after every input: granting a hold has no way to send.
    pub fn tell_revoked<H: Host>(&mut self, host: &mut H) {
        for (requester, hold) in self.revoked.drain(..) {
            host.send(requester, Message::Lost { hold });
        }
    }

    /// Gives back a hold that this node was granted and does not need.
    pub fn release<H: Host>(&mut self, peer: Handle, hold: u64, host: &mut H) {
        host.send(peer, Message::Release { hold });
    }

    /// Begins to place an application. While too few nodes are found it tries again, with growing random pauses, for
    /// as long as `wait`.
    pub fn submit<H: Host>(
        &mut self,
        now: Instant,
        application: Application,
        wait: Duration,
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
        host.judge_submission(&application.record)?;
        let mut t = turn!(self, now, host);
        let submission = Submission::start(application, wait, &mut t);
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

    pub fn describe<H: Host>(&mut self, app: AppId, at: Handle, host: &mut H) {
        host.send(at, Message::Describe { app });
    }

    /// The search behind `ticket` found a node and holds it.
    pub fn found<H: Host>(&mut self, now: Instant, ticket: Ticket, candidate: Candidate, host: &mut H) {
        let (peer, hold) = (candidate.peer, candidate.hold);
        let mut t = turn!(self, now, host);
        match ticket {
            Ticket::Submission(app) => match self.submissions.get_mut(&app) {
                Some(submission) => submission.on_found(&mut t, candidate),
                None => t.host.send(peer, Message::Release { hold }),
            },
            Ticket::Slot(app, slot) => match self.apps.get_mut(&app) {
                Some(app) => app.on_found(&mut t, slot, candidate),
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

    /// The node that an application is to be near to stands there, or was not found.
    pub fn located<H: Host>(
        &mut self,
        now: Instant,
        app: AppId,
        coordinate: Option<Coordinate>,
        host: &mut H,
    ) {
        let mut t = turn!(self, now, host);
        if let Some(submission) = self.submissions.get_mut(&app) {
            submission.on_located(&mut t, coordinate);
        }
        self.sweep(host);
    }

    /// The owner of an application that is being submitted holds so many nodes with others.
    pub fn counted<H: Host>(&mut self, now: Instant, app: AppId, held: u32, host: &mut H) {
        let mut t = turn!(self, now, host);
        if let Some(submission) = self.submissions.get_mut(&app) {
            submission.on_counted(&mut t, held);
        }
        self.sweep(host);
    }

    /// The record of an application that this node submits or takes part in.
    pub fn record(&self, app: AppId) -> Option<&Record> {
        let submitted = self.submissions.get(&app).map(|submission| &submission.application.record);
        submitted.or_else(|| self.apps.get(&app).map(|app| &app.application.record))
    }

    /// Slots that applications of `owner` have on this node.
    pub fn slots_of(&self, owner: NodeId) -> u32 {
        let theirs = self.apps.values().filter(|app| app.application.record.owner == owner);
        theirs.map(|app| app.mine.iter().filter(|mine| mine.takes_room()).count() as u32).sum()
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

    /// A peer restarted under a newer incarnation: what it held is lost.
    pub fn handle_gone(&mut self, now: Instant, peer: Handle) {
        self.apps.values_mut().for_each(|app| app.on_gone(now, peer));
        self.submissions.values_mut().for_each(|submission| submission.on_gone(now, peer));
        self.revoked.retain(|(requester, _)| *requester != peer);
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
