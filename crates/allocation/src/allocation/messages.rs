//! What each message does: finds the application or submission that it is about.

use alloc::string::String;
use alloc::vec::Vec;

use xtreem_base::{AppId, Handle, Instant};

use super::{APPS_MAX, Allocation, turn};
use crate::app::{App, Turn};
use crate::ledger::Ledger;
use crate::message::{Confirm, GuardianSet, Message, Refused, Versions};
use crate::{Application, Effect, Host, Known, Record, SlotState};

impl Allocation {
    pub fn handle_message<H: Host>(&mut self, now: Instant, from: Handle, message: Message, host: &mut H) {
        match message {
            Message::Renew { hold } => {
                if !self.ledger.renew(now, self.config.hold, from, hold, false) {
                    host.send(from, Message::Lost { hold });
                }
            }
            Message::Lock { hold } => {
                let is_held = self.ledger.renew(now, self.config.hold, from, hold, true);
                let answer = if is_held { Message::Locked { hold } } else { Message::Lost { hold } };
                host.send(from, answer);
            }
            Message::Locked { hold } => {
                let mut t = turn!(self, now, host);
                for submission in self.submissions.values_mut() {
                    submission.on_locked(&mut t, from, hold);
                }
            }
            Message::Lost { hold } => {
                let mut t = turn!(self, now, host);
                for submission in self.submissions.values_mut() {
                    submission.on_lost(&mut t, from, hold);
                }
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
            Message::Description { record, slots, guardians, placement } => {
                host.effect(Effect::Described { from, record: *record, slots, guardians, placement });
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
            Message::AskFacts { app, facts } => {
                self.on_app(now, from, app, None, host, |app, t| {
                    let facts = t.facts(&facts).into();
                    t.host.send(from, Message::Facts { app: app.id(), facts });
                });
            }
            Message::Facts { app, facts } => {
                self.on_app(now, from, app, None, host, |app, t| app.on_facts(t, from, &facts));
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
            app.on_speaker(t.me.handle, from);
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
        // What is here already stays and answers; the policy is for what comes.
        let is_here = self.apps.get(&app).is_some_and(|app| app.mine(slot).is_some());
        let owned = self.slots_of(confirm.application.record.owner);
        if !is_here && let Err(refusal) = host.judge_hold(&confirm.application.record, owned) {
            return refuse(&mut self.ledger, host, Refused::Forbidden { rule: refusal.rule });
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
            let (slots, guardians, placement) = (Vec::new(), Vec::new(), String::new());
            host.send(from, Message::Description { record, slots, guardians, placement });
        } else if let Some((record, slots, guardians)) = self.describe_here(app) {
            let placement = self.placement(app).into();
            host.send(from, Message::Description { record: record.into(), slots, guardians, placement });
        }
    }

    /// The placement of an application that this node takes part in.
    pub fn placement(&self, app: AppId) -> &str {
        self.apps.get(&app).map_or("", |app| &app.application.spec.placement)
    }

    /// What this node knows of an application: record, slots, guardians.
    pub fn describe_here(&self, app: AppId) -> Option<(Record, Vec<Known>, Vec<Handle>)> {
        let app = self.apps.get(&app)?;
        let guardians = app.guardians.set.members.clone();
        Some((app.application.record.clone(), app.all_known(self.me.handle), guardians))
    }
}
