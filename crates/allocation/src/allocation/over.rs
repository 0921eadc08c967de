//! Applications that are over: they leave the table of those that this node takes part in, and are answered
//! for from their final records.

use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant};

use super::Allocation;
use crate::finals::FinalRecord;
use crate::message::{GuardianSet, Message, Refused, Versions};
use crate::{Description, Holds, Host, Known, Notice};

impl Allocation {
    /// Moves what has ended, and needs nobody to be looked for any more, to the final records.
    pub(super) fn settle_finished<H: Host>(&mut self, now: Instant, host: &mut H) {
        let me = self.books.me;
        let is_on_disk = |id: &AppId| self.books.journal.is_stored(*id);
        let settled = self.apps.iter().filter(|(id, app)| app.is_settled() && is_on_disk(id));
        let over: Vec<AppId> = settled.map(|(id, _)| *id).collect();
        for id in over {
            if let Some(app) = self.apps.remove(&id) {
                let age = app.since_end(now).unwrap_or(Duration::ZERO);
                self.remember(now, age, FinalRecord::of(&app, me), host);
            }
        }
    }

    /// Its role stays on the disk as it is, and is not looked at any more. It ended `age` ago.
    pub(super) fn remember<H: Host>(&mut self, now: Instant, age: Duration, over: FinalRecord, host: &mut H) {
        let app = over.record.id;
        self.books.journal.leave(app);
        if let Some(gone) = self.finals.insert(now, age, app, over) {
            self.erase(now, gone, host);
        }
    }

    /// Takes the role of a forgotten application from the disk.
    pub(super) fn erase<H: Host>(&mut self, now: Instant, app: AppId, host: &mut H) {
        if let Some(number) = self.books.journal.erase(now) {
            host.event(Notice::Store { number, app, what: None });
        }
    }

    /// Answers whoever has not heard of an application's end. False when it is not over here, or the message
    /// is not for its members.
    pub(super) fn answer_as_over<H: Host>(
        &mut self,
        now: Instant,
        from: Handle,
        message: &Message,
        host: &mut H,
    ) -> bool {
        let me = self.books.me.handle;
        let app = match message {
            Message::Probe { app, .. }
            | Message::Announce { app, .. }
            | Message::Report { app, .. }
            | Message::Locate { app, .. }
            | Message::AskProof { app, .. }
            | Message::Claim { app, .. }
            | Message::GuardianProbe { app, .. }
            | Message::Describe { app } => *app,
            Message::Confirm(confirm) => confirm.application.record.id,
            Message::Appoint { application, .. } => application.record.id,
            _ => return false,
        };
        let Some(over) = self.finals.get(app) else { return false };
        let all = || over.slots(me);
        let one = |slot: u16| over.known(slot, me).into_iter().collect::<Vec<Known>>();
        let told = match message {
            Message::Probe { about, .. } => {
                let report = over.report(about.slot);
                let holds = report.map_or(Holds::No, Holds::Yes);
                let slot = about.slot;
                host.send(from, Message::ProbeAck { app, versions: None, slot, holds, newest: None });
                if report.is_some() { Vec::new() } else { one(about.slot) }
            }
            Message::Announce { slot, epoch, .. } => {
                let higher = over.known(*slot, me);
                host.send(from, Message::Announced { app, slot: *slot, epoch: *epoch, higher });
                Vec::new()
            }
            // Who tells of ends only knows as much: an answer would be answered.
            Message::Report { mine, .. } if mine.iter().all(|report| report.state.is_final()) => Vec::new(),
            Message::Locate { slot, .. } | Message::Claim { slot, .. } | Message::AskProof { slot, .. } => {
                one(*slot)
            }
            Message::GuardianProbe { .. } => {
                host.send(from, Message::GuardianAck { app, versions: None });
                all()
            }
            Message::Describe { .. } => {
                let (record, slots) = (over.record.clone().into(), all());
                let (guardians, placement) = (Vec::new(), Default::default());
                let silences = Vec::new();
                host.send(from, Message::Description { record, slots, guardians, placement, silences });
                Vec::new()
            }
            Message::Confirm(confirm) => {
                self.books.ledger.release(now, from, confirm.hold);
                let (slot, epoch) = (confirm.slot, confirm.epoch);
                let higher = |known| Refused::Higher(known, over.evidence.clone());
                let why = over.known(slot, me).map_or(Refused::NoHold, higher);
                host.send(from, Message::Refused { app, slot, epoch, why });
                Vec::new()
            }
            _ => all(),
        };
        if !told.is_empty() {
            let versions = Versions { record: over.record.version(), guardians: GuardianSet::NONE.version };
            host.send(from, Message::Tell { app, versions, slots: told, evidence: over.evidence.clone() });
        }
        true
    }

    /// What is remembered of an application that is over.
    pub(super) fn describe_over(&self, app: AppId) -> Option<Description> {
        let over = self.finals.get(app)?;
        Some(Description {
            record: over.record.clone(),
            slots: over.slots(self.books.me.handle),
            guardians: Vec::new(),
            placement: Default::default(),
            silences: Vec::new(),
        })
    }
}
