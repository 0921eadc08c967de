//! The allocation core of one node: every application that it takes part in, its submissions, its books.

mod inputs;
mod messages;
mod over;
mod records;
mod restoring;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use xtreem_base::{AppId, Call, Core, Driven, Duration, Handle, Instant, NodeId, Rng, Wake};

pub use self::inputs::SubmitRefusal;
pub use self::restoring::AWAY_MAX;
use crate::app::App;
use crate::books::Books;
use crate::context::Context;
use crate::finals::Finals;
use crate::ledger::Ledger;
use crate::message::Message;
use crate::stopped::Stopped;
use crate::submission::Submission;
use crate::{
    Ask, Config, Description, Epoch, Evidence, Fault, Faults, HoldRefusal, Host, Notice, Record, Resources,
    SlotRun, SlotState, Trouble, Wish,
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

#[derive(Clone, Debug)]
struct Published {
    record: Record,
    waiting: Vec<Handle>,
    due: Instant,
    until: Instant,
}

/// The core. Its commands and what it is answered are in `inputs`.
#[derive(Clone, Debug)]
pub struct Allocation {
    books: Books,
    apps: BTreeMap<AppId, App>,
    stopped: BTreeMap<AppId, Stopped>,
    finals: Finals,
    submissions: BTreeMap<AppId, Submission>,
    published: Vec<Published>,
    /// Requesters that are to hear that their holds went to somebody else.
    revoked: Vec<(Handle, u64)>,
}

impl Core for Allocation {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        let apps = self.apps.values().map(|app| Wake::new(app.due, "application"));
        let submissions = self.submissions.values();
        let submissions = submissions.map(|submission| Wake::new(submission.due, "submission"));
        let stopped = self.stopped.values();
        let stopped = stopped.map(|stopped| Wake::new(stopped.next_due(config), "stopped record"));
        let published = self.published.iter();
        let published = published.map(|published| Wake::new(published.due, "published record"));
        let hold = self.books.ledger.next_expiry().map(|at| Wake::new(at, "hold"));
        let finals = [Wake::new(self.finals.next_due(), "final record")];
        apps.chain(submissions).chain(stopped).chain(published).chain(hold).chain(finals).collect()
    }

    /// A peer restarted under a newer incarnation: what it held is lost.
    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.apps.values_mut().for_each(|app| app.on_gone(call.now, peer));
        self.submissions.values_mut().for_each(|submission| submission.on_gone(call.now, peer));
        self.revoked.retain(|(requester, _)| *requester != peer);
        self.books.journal.forget(peer);
        self.stopped.values_mut().for_each(|stopped| stopped.is_told(peer));
        for published in &mut self.published {
            published.waiting.retain(|waiting| *waiting != peer);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.books.ledger.for_each_handle(f);
        self.books.journal.for_each_handle(f);
        self.apps.values().for_each(|app| app.for_each_handle(f));
        self.stopped.values().for_each(|stopped| stopped.for_each_handle(f));
        self.submissions.values().for_each(|submission| submission.for_each_handle(f));
        self.published.iter().flat_map(|published| &published.waiting).for_each(|peer| f(*peer));
    }
}

impl<H: Host> Driven<H> for Allocation {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        host: &mut H,
    ) -> Result<(), Fault> {
        self.take(call, from, message, host);
        self.books.verdict()
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, host: &mut H) {
        let Call { config, now } = call;
        self.books.ledger.expire(now);
        let mut cx = self.books.context(call, host);
        for submission in self.submissions.values_mut().filter(|submission| submission.due <= now) {
            submission.tick(&mut cx);
        }
        for app in self.apps.values_mut().filter(|app| app.due <= now) {
            app.tick(&mut cx);
        }
        for stopped in self.stopped.values_mut() {
            stopped.tick(call, host);
        }
        for published in self.published.iter_mut().filter(|published| published.due <= now) {
            published.due = now + PUBLISH_PERIOD;
            for peer in &published.waiting {
                host.send(*peer, Message::Record { record: published.record.clone().into() });
            }
        }
        self.published.retain(|published| published.until > now && !published.waiting.is_empty());
        let journal = &mut self.books.journal;
        self.stopped.retain(|id, stopped| {
            let stays = now.since(stopped.since) < config.keep;
            if !stays {
                journal.mark(*id);
            }
            stays
        });
        self.apps.retain(|id, app| {
            let stays = app.left.is_none_or(|left| now.since(left) < app.keep(config));
            if !stays {
                journal.mark(*id);
            }
            stays
        });
        for app in self.finals.expire(now) {
            self.erase(now, app, host);
        }
        self.sweep(now, host);
    }
}

impl Allocation {
    pub fn new(me: Me, rng: Rng) -> Self {
        Allocation {
            books: Books::new(me, rng),
            apps: BTreeMap::new(),
            stopped: BTreeMap::new(),
            finals: Finals::default(),
            submissions: BTreeMap::new(),
            published: Vec::new(),
            revoked: Vec::new(),
        }
    }

    pub fn set_offer(&mut self, offer: Resources) {
        self.books.ledger.set_offer(offer);
    }

    /// Another machine has this node's key, and runs longer: this one takes no slots, and none of those that
    /// are on its disk, which may be a copy of the other's. What runs goes on.
    pub fn set_cloned(&mut self, is_cloned: bool) {
        self.books.is_cloned = is_cloned;
    }

    pub fn ledger(&self) -> &Ledger {
        &self.books.ledger
    }

    /// What keeps this node from granting holds to anybody just now.
    pub fn trouble(&self, now: Instant) -> Option<Trouble> {
        self.books.troubles.of_node(now)
    }

    pub fn faults(&self) -> Faults {
        self.books.faults
    }

    /// Grants a hold to a visitor, or says why not.
    pub fn hold(&mut self, call: Call<'_, Config>, requester: Handle, ask: Ask) -> Result<u64, HoldRefusal> {
        if self.stopped.contains_key(&ask.app) || self.finals.contains(ask.app) {
            return Err(HoldRefusal::Stopped);
        }
        // Who could not confirm grants no hold.
        if !self.apps.contains_key(&ask.app) && self.apps_in_view() >= APPS_MAX {
            return Err(HoldRefusal::Busy);
        }
        if self.books.journal.is_stalled(call.now) {
            return Err(HoldRefusal::Stalled);
        }
        if self.books.troubles.keep_off(call.now, ask.app) {
            return Err(HoldRefusal::Troubled);
        }
        let Books { ledger, rng, .. } = &mut self.books;
        let granted = ledger.hold(call.now, call.config.hold, requester, ask, rng)?;
        self.revoked.extend(granted.revoked);
        Ok(granted.id)
    }

    /// Applications that this node takes part in, or will when what it holds is confirmed.
    fn apps_in_view(&self) -> usize {
        if self.apps.len() + self.books.ledger.open_holds() < APPS_MAX {
            return self.apps.len();
        }
        let held = self.books.ledger.holds().map(|(_, _, app)| app);
        let new: BTreeSet<AppId> = held.filter(|app| !self.apps.contains_key(app)).collect();
        self.apps.len() + new.len()
    }

    /// Tells those whose holds went to somebody else. Called after every input: granting a hold has no way to
    /// send.
    pub fn tell_revoked<H: Host>(&mut self, host: &mut H) {
        for (requester, hold) in self.revoked.drain(..) {
            host.send(requester, Message::Lost { hold });
        }
    }

    /// Gives back a hold that this node was granted and does not need.
    pub fn release<H: Host>(&mut self, peer: Handle, hold: u64, host: &mut H) {
        host.send(peer, Message::Release { hold });
    }

    /// The record of an application that this node submits or takes part in.
    pub fn record(&self, app: AppId) -> Option<&Record> {
        let submitted = self.submissions.get(&app).map(|submission| &submission.application.record);
        let here = submitted.or_else(|| self.apps.get(&app).map(|app| &app.application.record));
        here.or_else(|| self.finals.get(app).map(|over| &over.record))
    }

    /// Slots that applications of `owner` have on this node.
    pub fn slots_of(&self, owner: NodeId) -> u32 {
        let theirs = self.apps.values().filter(|app| app.application.record.owner == owner);
        theirs.map(|app| app.mine.iter().filter(|mine| mine.takes_room()).count() as u32).sum()
    }

    fn with_app<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        app: AppId,
        host: &mut H,
        f: impl FnOnce(&mut App, &mut Context<'_, H>),
    ) {
        let mut cx = self.books.context(call, host);
        if let Some(app) = self.apps.get_mut(&app) {
            f(app, &mut cx);
        }
    }

    /// Drops submissions that are over and stopped applications that have stopped here.
    fn sweep<H: Host>(&mut self, now: Instant, host: &mut H) {
        self.settle_finished(now, host);
        self.submissions.retain(|_, submission| !submission.is_over);
        let stopped = &self.stopped;
        self.apps.retain(|id, app| {
            let is_gone = app.mine.is_empty() && stopped.contains_key(id);
            if is_gone {
                host.event(Wish::LeaveCollection { app: *id });
                host.event(Notice::AppLeft { app: *id });
            }
            !is_gone
        });
    }

    /// Whether this node knows that a slot is done or failed.
    pub fn is_over(&self, app: AppId, slot: u16) -> bool {
        self.apps.get(&app).is_some_and(|app| app.is_over(slot, self.books.me.handle))
    }

    /// What this node knows of an application that it takes part in.
    pub fn describe_here(&self, now: Instant, app: AppId) -> Option<Description> {
        let Some(app) = self.apps.get(&app) else { return self.describe_over(app) };
        Some(Description {
            record: app.application.record.clone(),
            slots: app.all_known(self.books.me.handle),
            guardians: app.guardians.set.members.clone(),
            placement: (*app.application.spec.placement).into(),
            silences: app.silences(now),
        })
    }

    /// What shows that this node holds the slot under this epoch, and what it believes of the application;
    /// nothing when it holds it no more.
    pub fn held(&self, run: SlotRun) -> Option<Held> {
        let app = self.apps.get(&run.app)?;
        app.mine(run.slot).filter(|mine| mine.epoch == run.epoch && mine.is_held())?;
        let known = app.all_known(self.books.me.handle).into_iter();
        Some(Held {
            record: app.application.record.clone(),
            evidence: app.chain.evidence([(run.slot, run.epoch)], self.books.me.id),
            believed: app.chain.all(),
            epochs: known
                .filter(|known| known.state != SlotState::Planned)
                .map(|known| (known.slot, known.epoch))
                .collect(),
        })
    }

    /// Every application that this node takes part in or remembers, the latter after the others and the
    /// newest that ended first: record, own slots, whether it guards it.
    pub fn apps(&self, now: Instant) -> impl Iterator<Item = AppHere<'_>> {
        let active = self.apps.values().map(move |app| AppHere {
            record: &app.application.record,
            slots: app.slots_here(),
            is_guardian: app.is_guardian(),
            is_former: app.left.is_some(),
            is_finished: app.is_finished,
            ended: app.ended(),
            since_end: self.stopped.get(&app.id()).map(|stopped| stopped.age(now)).or(app.since_end(now)),
        });
        let is_stopping = |id: &AppId| self.apps.contains_key(id);
        let stopped = self.stopped.values().filter(move |stopped| !is_stopping(&stopped.record.id));
        let stopped = stopped.map(move |stopped| AppHere {
            record: &stopped.record,
            slots: Vec::new(),
            is_guardian: false,
            is_former: true,
            is_finished: false,
            ended: 0,
            since_end: Some(stopped.age(now)),
        });
        active.chain(stopped).chain(self.finals.newest(now).map(|(over, age)| AppHere {
            record: &over.record,
            slots: over.own_slots(),
            is_guardian: false,
            is_former: true,
            is_finished: true,
            ended: over.record.slots,
            since_end: Some(age),
        }))
    }
}

/// What the node of a slot tells of it: for other members to believe it, and for it to judge others.
#[derive(Clone, Debug)]
pub struct Held {
    pub record: Record,
    /// That this node holds the slot under its epoch.
    pub evidence: Evidence,
    /// All that it believes of the application.
    pub believed: Evidence,
    /// Of slots that somebody holds or held, what is only planned left out.
    pub epochs: Vec<(u16, Epoch)>,
}

/// One application as this node takes part in it.
#[derive(Clone, Debug)]
pub struct AppHere<'a> {
    pub record: &'a Record,
    pub slots: Vec<u16>,
    pub is_guardian: bool,
    pub is_former: bool,
    pub is_finished: bool,
    /// Slots that are known to be done or failed.
    pub ended: u16,
    /// How long it has been stopped or over.
    pub since_end: Option<Duration>,
}
