//! What each message does: finds the application or submission that it is about.

use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{AppId, Call, Handle, Instant};

use super::{APPS_MAX, Allocation};
use crate::app::{App, of_a_stranger};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::message::{Confirm, GuardianSet, Message, Refused, Versions};
use crate::proof::Evidence;
use crate::{Application, Config, Description, Fault, Host, Known, Notice, SlotState};

impl Allocation {
    pub(super) fn take<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        host: &mut H,
    ) {
        if self.answer_as_over(call.now, from, &message, host) {
            return;
        }
        match message {
            Message::Renew { hold } => {
                if !self.books.ledger.renew(call.now, call.config.hold, from, hold, false) {
                    host.send(from, Message::Lost { hold });
                }
            }
            Message::Lock { hold } => {
                let is_held = self.books.ledger.renew(call.now, call.config.hold, from, hold, true);
                let answer = if is_held { Message::Locked { hold } } else { Message::Lost { hold } };
                host.send(from, answer);
            }
            Message::Locked { hold } => {
                let mut cx = self.books.context(call, host);
                for submission in self.submissions.values_mut() {
                    submission.on_locked(&mut cx, from, hold);
                }
            }
            Message::Lost { hold } => {
                let mut cx = self.books.context(call, host);
                for submission in self.submissions.values_mut() {
                    submission.on_lost(&mut cx, from, hold);
                }
            }
            Message::Release { hold } => self.books.ledger.release(call.now, from, hold),
            Message::Confirm(confirm) => self.on_confirm(call, from, *confirm, host),
            Message::Confirmed { app, slot, epoch } => {
                let mut cx = self.books.context(call, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_confirmed(&mut cx, from, slot, epoch);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_confirmed(&mut cx, from, slot, epoch);
                }
            }
            Message::Refused { app, slot, epoch, why } => {
                if let Refused::Record(record) = &why {
                    self.take_record(call, None, (**record).clone(), host);
                }
                let mut cx = self.books.context(call, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_refused(&mut cx, from, slot);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_refused(&mut cx, from, slot, epoch, why);
                }
            }
            Message::Record { record } => self.take_record(call, Some(from), *record, host),
            Message::RecordTaken { app, version } => self.on_record_taken(call, from, app, version, host),
            Message::AskRecord { app, version } => self.on_ask_record(from, app, version, host),
            Message::Appoint { application, guardians, slots, older, evidence } => {
                self.on_appoint(call, from, *application, guardians, (&slots, &older, &evidence), host);
            }
            Message::Appointed { app } => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_appointed(call.now, from);
                }
                self.with_app(call, app, host, |app, cx| app.on_appointed(cx, from));
            }
            Message::Describe { app } => self.on_describe(call.now, from, app, host),
            Message::Description { record, slots, guardians, placement, silences } => {
                let (app, record) = (record.id, *record);
                let description = Description { record, slots, guardians, placement, silences };
                host.event(Notice::Described { app, from, description });
            }
            Message::ProbeAck { app, versions, slot, holds, newest } => {
                let mut cx = self.books.context(call, host);
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_probe_ack(&mut cx, from, slot, holds, newest);
                }
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_probe_ack(&mut cx, from, slot, holds, newest);
                    app.compare(&mut cx, from, versions);
                }
            }
            Message::Announce { app, versions, slot, epoch } => {
                self.on_app(call, from, app, Some(versions), host, |app, cx| {
                    app.on_announce(cx, from, slot, epoch)
                });
            }
            Message::Announced { app, slot, epoch, higher } => {
                self.on_app(call, from, app, None, host, |app, cx| {
                    app.on_announced(cx, from, slot, epoch, higher)
                });
            }
            Message::Probe { app, versions, about, mine } => {
                if !self.apps.contains_key(&app) && !self.stopped.contains_key(&app) {
                    return self.on_probe_of_unknown(call, from, app, about, host);
                }
                self.on_app(call, from, app, None, host, |app, cx| {
                    for report in mine {
                        app.hear(cx, from, report);
                    }
                    app.on_probe(cx, from, about, versions);
                });
            }
            Message::Claim { app, slot, order } => {
                self.on_app(call, from, app, None, host, |app, cx| app.on_claim(cx, from, slot, order));
            }
            Message::Tell { app, versions, slots, evidence } => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    let mut cx = self.books.context(call, host);
                    submission.on_tell(&mut cx, from, &slots, &evidence);
                }
                self.on_app(call, from, app, Some(versions), host, |app, cx| {
                    app.on_tell(cx, from, &slots, &evidence);
                });
            }
            Message::AskProof { app, slot, epoch } => {
                if let Some(submission) = self.submissions.get(&app) {
                    submission.on_ask_proof(&mut self.books.context(call, host), from, slot, epoch);
                }
                self.on_app(call, from, app, None, host, |app, cx| {
                    app.on_ask_proof(cx, from, slot, epoch);
                });
            }
            Message::Report { app, versions, mine } => {
                self.on_app(call, from, app, Some(versions), host, |app, cx| {
                    mine.iter().for_each(|report| app.hear(cx, from, *report));
                });
            }
            Message::Locate { app, slot } => {
                self.on_app(call, from, app, None, host, |app, cx| {
                    app.on_locate_of_submitter(cx, from);
                    if !app.may_tell(cx.now, from, slot) {
                        return;
                    }
                    let mut slots = app.around(slot % app.slots(), cx.me.handle);
                    slots.extend(app.newest(slot, cx.me.handle));
                    slots.retain(|known| known.holder.is_some_and(|holder| holder != from));
                    app.tell(cx, from, slots);
                });
            }
            Message::AskFacts { app, facts } => {
                self.on_app(call, from, app, None, host, |app, cx| {
                    let facts = cx.facts(&facts).into();
                    cx.host.send(from, Message::Facts { app: app.id(), facts });
                });
            }
            Message::Facts { app, facts } => {
                self.on_app(call, from, app, None, host, |app, cx| app.on_facts(cx, from, &facts));
            }
            Message::Guardians { app, guardians } => {
                self.on_app(call, from, app, None, host, |app, cx| app.adopt_guardians(cx, from, guardians));
            }
            Message::Return { app, versions, offer } => {
                if !self.apps.contains_key(&app) && !self.stopped.contains_key(&app) {
                    return host.send(from, of_a_stranger(app));
                }
                self.on_app(call, from, app, Some(versions), host, |app, cx| app.on_return(cx, from, offer));
            }
            Message::Returned { app, versions, standing } => {
                self.on_app(call, from, app, versions, host, |app, cx| {
                    app.on_returned(cx, from, standing);
                });
            }
            Message::GuardianProbe { app, versions, mine } => {
                if !self.apps.contains_key(&app) && !self.stopped.contains_key(&app) {
                    return host.send(from, Message::GuardianAck { app, versions: None });
                }
                self.on_app(call, from, app, Some(versions), host, |app, cx| {
                    mine.iter().for_each(|report| app.hear(cx, from, *report));
                    let is_holder =
                        mine.iter().any(|report| app.is_holder(cx, from, report.slot, report.epoch));
                    if is_holder && app.is_guardian() && app.is_asleep() {
                        // Only a holder that is awake looks after its guardians.
                        app.be_awake(cx.now);
                    }
                    let versions = app.is_guardian().then(|| app.versions());
                    cx.host.send(from, Message::GuardianAck { app: app.id(), versions });
                });
            }
            Message::GuardianAck { app, versions } => {
                self.on_app(call, from, app, versions, host, |app, cx| match versions {
                    Some(_) => app.guardians.on_alive(cx.now, from),
                    None => app.guardians.on_gone(from),
                });
            }
        }
        self.sweep(call.now, host);
    }

    /// A message about an application that this node may know, may have known, or knows as stopped.
    fn on_app<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        app: AppId,
        versions: Option<Versions>,
        host: &mut H,
        f: impl FnOnce(&mut App, &mut Context<'_, H>),
    ) {
        if let Some(stopped) = self.stopped.get(&app) {
            host.send(from, Message::Record { record: stopped.record.clone().into() });
            return;
        }
        self.with_app(call, app, host, |app, cx| {
            app.on_speaker(cx, from);
            f(app, cx);
            app.compare(cx, from, versions);
        });
    }

    /// Somebody takes this node for a member of an application: when it was stopped it has to know.
    pub fn answer_stranger<H: Host>(&mut self, from: Handle, app: AppId, host: &mut H) {
        if let Some(stopped) = self.stopped.get(&app) {
            host.send(from, Message::Record { record: stopped.record.clone().into() });
        }
    }

    fn on_probe_of_unknown<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        app: AppId,
        about: Known,
        host: &mut H,
    ) {
        let is_planned = self.books.ledger.has_hold(call.now, app);
        let holds = if is_planned { crate::Holds::Planned } else { crate::Holds::No };
        let slot = about.slot;
        host.send(from, Message::ProbeAck { app, versions: None, slot, holds, newest: None });
    }

    fn on_confirm<H: Host>(&mut self, call: Call<'_, Config>, from: Handle, confirm: Confirm, host: &mut H) {
        let (app, slot, epoch) = (confirm.application.record.id, confirm.slot, confirm.epoch);
        let refuse = |ledger: &mut Ledger, host: &mut H, why| {
            ledger.release(call.now, from, confirm.hold);
            host.send(from, Message::Refused { app, slot, epoch, why });
        };
        if let Some(stopped) = self.stopped.get(&app) {
            return refuse(&mut self.books.ledger, host, Refused::Record(stopped.record.clone().into()));
        }
        if confirm.application.record.is_stopped() {
            return self.take_record(call, Some(from), confirm.application.record, host);
        }
        // What is here already stays and answers; the policy is for what comes.
        let is_here = self.apps.get(&app).is_some_and(|app| app.mine(slot).is_some());
        let owned = self.slots_of(confirm.application.record.owner);
        if !is_here && let Err(refusal) = host.judge_hold(&confirm.application.record, owned) {
            return refuse(&mut self.books.ledger, host, Refused::Forbidden { rule: refusal.rule });
        }
        if !is_here && (self.books.is_cloned || self.books.troubles.keep_off(call.now, app)) {
            return refuse(&mut self.books.ledger, host, Refused::NoHold);
        }
        let is_new = !self.apps.contains_key(&app);
        if is_new {
            if self.apps.len() >= APPS_MAX {
                self.books.fault(Fault::TooManyApps);
                return refuse(&mut self.books.ledger, host, Refused::NoHold);
            }
            self.apps.insert(app, App::new(confirm.application.clone(), call.now));
        }
        let mut cx = self.books.context(call, host);
        let Some(known) = self.apps.get_mut(&app) else { return };
        let (ours, theirs) = (known.application.record.version(), confirm.application.record.version());
        if theirs < ours {
            let record = known.application.record.clone().into();
            return refuse(&mut cx.books.ledger, cx.host, Refused::Record(record));
        }
        if theirs > ours {
            known.application.spec = confirm.application.spec.clone();
            known.set_record(&mut cx, confirm.application.record.clone());
        }
        known.on_confirm(&mut cx, from, confirm);
        if is_new && !known.has_duties() {
            // It was refused: nothing is left of it.
            self.apps.remove(&app);
        } else {
            known.leave_when_idle(&mut cx);
        }
    }

    fn on_appoint<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        application: Application,
        guardians: GuardianSet,
        (slots, older, evidence): (&[Known], &[Handle], &Evidence),
        host: &mut H,
    ) {
        let app = application.record.id;
        if !guardians.members.contains(&self.books.me.handle) {
            self.books.fault(Fault::NotAppointed);
            return;
        }
        if let Some(stopped) = self.stopped.get(&app) {
            return host.send(from, Message::Record { record: stopped.record.clone().into() });
        }
        let is_new = !self.apps.contains_key(&app);
        if is_new {
            if self.apps.len() >= APPS_MAX {
                self.books.fault(Fault::TooManyApps);
                return;
            }
            self.apps.insert(app, App::new(application, call.now));
        }
        self.with_app(call, app, host, |app, cx| {
            // Only a submitter appoints before any slot is confirmed.
            let by_holder = slots.iter().any(|known| known.state > SlotState::Planned);
            if !app.on_appoint(cx, from, guardians, evidence, by_holder) {
                cx.books.fault(Fault::NotEntitled);
                return;
            }
            slots.iter().for_each(|known| app.learn_stated(cx, from, *known));
            let lowest = slots.first().map_or(0, |known| known.slot);
            let others = older.iter().filter(|peer| **peer != cx.me.handle);
            others.for_each(|peer| app.suspect(cx.now, lowest, *peer));
        });
        if is_new && self.apps.get(&app).is_some_and(|app| !app.has_duties()) {
            self.apps.remove(&app);
        }
    }

    fn on_describe<H: Host>(&mut self, now: Instant, from: Handle, app: AppId, host: &mut H) {
        let remembered = self.stopped.get(&app).map(|stopped| Description {
            record: stopped.record.clone(),
            slots: Vec::new(),
            guardians: Vec::new(),
            placement: String::new(),
            silences: Vec::new(),
        });
        let Some(known) = remembered.or_else(|| self.describe_here(now, app)) else { return };
        let Description { record, slots, guardians, placement, silences } = known;
        let record = record.into();
        host.send(from, Message::Description { record, slots, guardians, placement, silences });
    }
}
