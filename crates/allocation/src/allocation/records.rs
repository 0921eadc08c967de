//! Records: taking the newer one, stopping for good, publishing.

use alloc::vec::Vec;

use xtreem_base::{AppId, Call, Handle};

use super::{Allocation, PUBLISH_LIMIT, PUBLISH_PERIOD, PUBLISHED_MAX, Published, STOPPED_MAX};
use crate::message::Message;
use crate::stopped::Stopped;
use crate::{Config, Host, Notice, Record, RecordVersion, StopReason};

impl Allocation {
    /// Sends a new record to nodes that take part, until they say that they have it.
    pub fn publish<H: Host>(&mut self, call: Call<'_, Config>, record: Record, to: &[Handle], host: &mut H) {
        for peer in to {
            host.send(*peer, Message::Record { record: record.clone().into() });
        }
        if self.published.len() >= PUBLISHED_MAX {
            self.published.remove(0);
        }
        let (due, until) = (call.now + PUBLISH_PERIOD, call.now + PUBLISH_LIMIT);
        self.published.push(Published { record, waiting: to.to_vec(), due, until });
    }

    pub(super) fn on_ask_record<H: Host>(
        &mut self,
        from: Handle,
        app: AppId,
        version: RecordVersion,
        host: &mut H,
    ) {
        let stopped = self.stopped.get(&app).map(|stopped| &stopped.record);
        let here = stopped.or_else(|| self.apps.get(&app).map(|app| &app.application.record));
        let Some(record) = here.or_else(|| self.finals.get(app).map(|over| &over.record)) else { return };
        if record.version() > version {
            host.send(from, Message::Record { record: record.clone().into() });
        } else {
            let version = record.version();
            self.acknowledge(from, app, Message::RecordTaken { app, version }, host);
        }
    }

    pub(super) fn on_record_taken<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        app: AppId,
        version: RecordVersion,
        host: &mut H,
    ) {
        for published in self.published.iter_mut().filter(|published| published.record.id == app) {
            if published.waiting.contains(&from) && published.record.version() <= version {
                published.waiting.retain(|peer| *peer != from);
                host.event(Notice::RecordTaken { app, by: from, newer: None });
            }
        }
        if let Some(stopped) = self.stopped.get_mut(&app)
            && stopped.record.version() <= version
        {
            stopped.is_told(from);
        }
        if let Some(app) = self.apps.get_mut(&app) {
            app.on_checked(call.now, from);
        }
    }

    /// A record, from somebody or for this node itself. The newer one stays; a stopped one is final.
    pub(super) fn take_record<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Option<Handle>,
        record: Record,
        host: &mut H,
    ) {
        let (app, version) = (record.id, record.version());
        for published in self.published.iter_mut().filter(|published| published.record.id == app) {
            if let Some(by) = from.filter(|_| version > published.record.version()) {
                published.waiting.clear();
                host.event(Notice::RecordTaken { app, by, newer: Some(record.clone()) });
            }
        }
        let ours = self
            .stopped
            .get(&app)
            .map(|stopped| &stopped.record)
            .or_else(|| self.apps.get(&app).map(|app| &app.application.record))
            .or_else(|| self.finals.get(app).map(|over| &over.record))
            .cloned();
        let answer = match &ours {
            Some(ours) if ours.version() > version => Some(Message::Record { record: ours.clone().into() }),
            Some(_) => Some(Message::RecordTaken { app, version }),
            None => record.is_stopped().then_some(Message::RecordTaken { app, version }),
        };
        if let (Some(from), Some(answer)) = (from, answer) {
            match answer {
                // The other side counts on it from then on.
                Message::RecordTaken { .. } => self.acknowledge(from, app, answer, host),
                _ => host.send(from, answer),
            }
        }
        if let Some(stopped) = self.stopped.get_mut(&app)
            && let Some(from) = from.filter(|_| record.is_stopped())
        {
            stopped.is_told(from);
        }
        if ours.as_ref().is_some_and(|ours| ours.version() >= version) {
            return;
        }
        if let Some(over) = self.finals.get_mut(app) {
            // Nothing runs that it could stop.
            over.record = record.clone();
            host.event(Notice::RecordChanged { record });
            return;
        }
        if let Some(mut submission) = self.submissions.remove(&app) {
            submission.beaten(&mut self.books.context(call, host), record.clone());
        }
        if record.is_stopped() {
            self.stop(call, from, record, host);
        } else {
            self.with_app(call, app, host, |app, cx| {
                if let Some(from) = from {
                    app.on_checked(cx.now, from);
                }
                app.set_record(cx, record);
            });
        }
    }

    fn stop<H: Host>(&mut self, call: Call<'_, Config>, from: Option<Handle>, record: Record, host: &mut H) {
        let app = record.id;
        let mut stopped = Stopped::new(record.clone(), call.now);
        let mut cx = self.books.context(call, host);
        if let Some(known) = self.apps.get_mut(&app) {
            let older: Vec<Handle> = known.older.peers().collect();
            let lost = known.known.iter().filter_map(|(_, entry)| entry.holder);
            let told = known.partners(cx.me.handle).into_iter().chain(older).chain(lost);
            for peer in told.filter(|peer| Some(*peer) != from && *peer != cx.me.handle) {
                stopped.tell(call.now, peer);
            }
            known.abort_recruits(&mut cx);
            known.guard = None;
            let held: Vec<u16> = known.mine.iter().map(|mine| mine.slot).collect();
            for slot in held {
                known.stop_slot(&mut cx, slot, StopReason::Stopped);
            }
            known.application.record = record.clone();
            known.leave(&mut cx);
        }
        cx.host.event(Notice::RecordChanged { record });
        stopped.tick(call, host);
        if self.stopped.len() >= STOPPED_MAX {
            let oldest = self.stopped.iter().min_by_key(|(_, stopped)| stopped.since).map(|(app, _)| *app);
            if let Some(oldest) = oldest {
                self.stopped.remove(&oldest);
                self.books.journal.mark(oldest);
            }
        }
        self.books.journal.mark(app);
        self.stopped.insert(app, stopped);
    }
}
