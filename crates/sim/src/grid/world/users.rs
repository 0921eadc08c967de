//! Users: they submit applications, stop them, and try again when nothing came of it.

use xtreem_allocation::{Notice, Progress, Record, Wanted};
use xtreem_base::{AppId, Duration, Handle, Wake};
use xtreem_node::Event;
use xtreem_overlay::overlay;

use super::World;
use crate::grid::apps::Shape;
use crate::grid::apps::{App, Stop};
use crate::grid::disk::Write;
use crate::grid::host::{HostNo, host_of, incarnation_of, node_id};
use crate::grid::process::State;
use crate::grid::queue::{WORLD, What};
use crate::grid::schedule::FAULTS_END;
use crate::grid::seen::Seen;
use crate::grid::trace;

/// Pause before a submission that found too few nodes is made again, under a new id and by another host.
const RESUBMIT_PAUSE: Duration = Duration::from_secs(5);
/// Submissions of one application at most.
const SUBMISSIONS_MAX: u32 = 4;
/// A stopped record that nobody took is sent again after this.
const STOP_REPEAT: Duration = Duration::from_secs(4);
/// Holders that a user's search by name finds; the record has to spread from these.
const STOP_TARGETS_MAX: u32 = 3;

impl World {
    pub(super) fn submit(&mut self, shape: usize, attempts: u32) {
        let Some(submitter) = self.submitter.or_else(|| self.some_running_host()) else { return };
        let Shape { behaviour, resources, name, wait, .. } = self.schedule.apps[shape].clone();
        let mut application = self.schedule.apps[shape].application(&mut self.rng);
        application.record.submitter = node_id(self.seed, submitter);
        let record = application.record.clone();
        let stopped = Record { generation: record.generation + 1, wanted: Wanted::Stopped, ..record.clone() };
        self.liars.learn(&application, vec![record.clone(), stopped]);
        let id = record.id;
        if self.liars.has(submitter) {
            self.findings.excuse(id);
        }
        if self.trace.covers(id, &name) {
            self.traced.push(format!("{id:?}"));
        }
        self.by_id.insert(id, self.apps.len());
        self.apps.push(App {
            shape,
            attempts: attempts + 1,
            record,
            behaviour,
            resources,
            submitter,
            is_accepted: false,
            submitted: self.now,
            complete: None,
            trouble: None,
            refused: None,
            turned_away: 0,
            is_lost: false,
            stop: Stop::NotWanted,
        });
        self.hosts[submitter as usize].files.push(id);
        self.trace_app(id, Some(submitter), format_args!("submits {name} as {id:?}"));
        self.see(&Seen::Submission { host: submitter, app: id, is_active: true });
        let refusal = self.with_node(submitter, |node, now, out| node.submit(now, application, wait, out));
        if let Some(Err(refusal)) = refusal {
            self.trace_app(id, Some(submitter), format_args!("refused at once: {refusal:?}"));
            self.see(&Seen::Submission { host: submitter, app: id, is_active: false });
            self.turn_away(id);
        }
    }

    fn turn_away(&mut self, id: AppId) {
        if let Some(number) = self.by_id.get(&id) {
            self.apps[*number].refused = Some(self.now);
            if self.schedule.apps[self.apps[*number].shape].wait == Duration::ZERO {
                self.submit_again(id);
            }
        }
    }

    fn submit_again(&mut self, id: AppId) {
        let Some(app) = self.by_id.get(&id).map(|number| &self.apps[*number]) else { return };
        let (shape, attempts) = (app.shape, app.attempts);
        let at = self.now + RESUBMIT_PAUSE;
        if attempts < SUBMISSIONS_MAX && at < FAULTS_END {
            self.queue.push(at, WORLD, WORLD, What::Resubmit { shape, attempts });
        }
    }

    /// The newest submission of a shape.
    pub(super) fn newest_app(&self, shape: usize) -> Option<usize> {
        self.apps.iter().rposition(|app| app.shape == shape)
    }

    pub(super) fn stop_app(&mut self, shape: usize) {
        let Some(app) = self.newest_app(shape) else { return };
        if self.apps[app].stop == Stop::NotWanted {
            self.apps[app].stop = Stop::Wanted;
            self.trace_app(self.apps[app].record.id, None, "its owner wants it stopped");
            self.send_stop(app);
        }
    }

    /// Sends the stopped record from a random host to some that run the application.
    pub(super) fn send_stop(&mut self, app: usize) {
        if self.apps[app].stop != Stop::Wanted || self.now >= FAULTS_END {
            return;
        }
        let record = self.apps[app].stopped_record();
        let mut holders = self.holders(record.id);
        self.rng.shuffle(&mut holders);
        holders.truncate(1 + self.rng.below(STOP_TARGETS_MAX) as usize);
        let to: Vec<Handle> =
            holders.into_iter().map(|number| self.hosts[number as usize].handle(number)).collect();
        if let Some(from) = self.some_running_host().filter(|_| !to.is_empty()) {
            self.trace_app(record.id, Some(from), format_args!("sends its stop to {}", trace::readable(&to)));
            self.with_node(from, |node, now, out| node.publish(now, record, &to, out));
        }
        self.queue.push(self.now + STOP_REPEAT, WORLD, WORLD, What::SendStop { app });
    }

    /// Hosts with a running process of the application, in the order of the slots.
    pub(super) fn holders(&self, app: AppId) -> Vec<HostNo> {
        let mut found: Vec<_> = self
            .live
            .iter()
            .map(|number| &self.processes[*number])
            .filter(|process| process.run.app == app && process.state == State::Running)
            .map(|process| (process.run.slot, process.host))
            .collect();
        found.sort_unstable();
        let mut hosts: Vec<HostNo> = found.into_iter().map(|(_, host)| host).collect();
        hosts.dedup();
        hosts
    }

    fn some_running_host(&mut self) -> Option<HostNo> {
        let running: Vec<HostNo> =
            (0..self.hosts.len() as HostNo).filter(|host| self.hosts[*host as usize].is_running()).collect();
        self.rng.pick(&running).copied()
    }

    /// A node tells its host of something.
    pub(super) fn happen(&mut self, host: HostNo, event: Event) {
        self.trace_event(host, &event);
        match event {
            Event::Allocation(notice) => self.on_notice(host, notice),
            // Nobody searches, signs policies or watches the network here: the checkers see what comes of it.
            Event::Search(_) | Event::Policy(_) | Event::CutOff { .. } => {}
            Event::Ring(overlay::Event::Store(event)) => self.on_store(host, &event),
            Event::Ring(_) => {}
            Event::Reference(peers) => self.write(host, Write::Reference(peers)),
        }
    }

    fn on_notice(&mut self, host: HostNo, notice: Notice) {
        match notice {
            Notice::Start { run, sources, .. } => self.start_program(host, run, sources),
            Notice::KeepFiles { application, sources } => {
                self.fetch_to_keep(host, application.record.id, sources, 0);
            }
            Notice::Stop { run, .. } => self.stop_program(host, run),
            Notice::SlotChanged { app, slot } => {
                let (number, epoch, holder, state) = (slot.slot, slot.epoch, slot.holder, slot.state);
                self.see(&Seen::SlotChanged { by: host, app, slot: number, epoch, holder, state });
            }
            Notice::RecordChanged { record } => {
                if record.is_stopped() {
                    let incarnation = self.hosts[host as usize].incarnation;
                    self.see(&Seen::StopKnown { app: record.id, host, incarnation });
                }
            }
            Notice::Submission { app, progress } => self.on_progress(host, app, &progress),
            Notice::RecordTaken { app, by, newer } => self.on_record_taken(app, by, newer),
            Notice::Store { number, app, what } => {
                if let Some(kept) = &what {
                    self.note_confirmed_here(host, kept);
                }
                self.write(host, Write::Role { number, app, what });
            }
            Notice::HolderLost { app, slot, peer, .. } => {
                self.see(&Seen::HolderLost { host, app, slot, peer })
            }
            // Files are kept for ever here, nobody asks for descriptions, and changes say where slots are.
            Notice::AppLeft { .. } | Notice::Described { .. } | Notice::SlotPlaced { .. } => {}
        }
    }

    fn on_progress(&mut self, host: HostNo, app: AppId, progress: &Progress) {
        let is_active = match progress {
            Progress::Slot { .. } => return,
            Progress::Held { .. } | Progress::Accepted => true,
            Progress::NotPlaced { .. }
            | Progress::Waiting { .. }
            | Progress::Forbidden { .. }
            | Progress::NoSuchNode { .. }
            | Progress::Beaten { .. }
            | Progress::Complete { .. }
            | Progress::Troubled { .. } => false,
        };
        self.see(&Seen::Submission { host, app, is_active });
        if matches!(progress, Progress::Accepted) {
            let is_stored = self.hosts.iter().any(|host| host.disk.has(app));
            self.see(&Seen::Acknowledged { app, what: "the submission", is_stored });
        }
        let Some(known) = self.by_id.get(&app).map(|number| &mut self.apps[*number]) else { return };
        match progress {
            Progress::Accepted => known.is_accepted = true,
            Progress::Complete { .. } => known.complete = Some(self.now),
            Progress::Troubled { trouble, .. } => known.trouble = Some(*trouble),
            Progress::Waiting { .. } => known.turned_away += 1,
            Progress::NotPlaced { .. } | Progress::Forbidden { .. } | Progress::NoSuchNode { .. } => {
                self.turn_away(app);
            }
            _ => {}
        }
    }

    /// A taker that died before its word arrived may not have told anybody: its word does not count.
    fn on_record_taken(&mut self, app: AppId, by: Handle, newer: Option<Record>) {
        let taker = &self.hosts[host_of(by) as usize];
        let lives = taker.node.is_some() && taker.incarnation == incarnation_of(by);
        let Some(&number) = self.by_id.get(&app) else { return };
        if lives && newer.is_none_or(|newer| newer.is_stopped()) {
            self.apps[number].stop = Stop::Taken;
            let is_stored = self.hosts[host_of(by) as usize].disk.has_stopped(app);
            self.see(&Seen::Acknowledged { app, what: "the stop", is_stored });
            self.see(&Seen::StopTaken { app, by });
        }
    }

    /// With a trace of everything: why a node woke up.
    pub(super) fn trace_wake(&self, host: HostNo, wake: Wake) {
        if self.trace.is_full() {
            let handle = crate::grid::host::handle_of(host, self.hosts[host as usize].incarnation);
            trace::line(self.now, Some(handle), format_args!("wakes: {}", wake.why));
        }
    }

    fn trace_event(&self, host: HostNo, event: &Event) {
        if self.trace.is_on() {
            let text = trace::readable(event);
            if self.traced.iter().any(|app| text.contains(app)) {
                let incarnation = self.hosts[host as usize].incarnation;
                let handle = crate::grid::host::handle_of(host, incarnation);
                trace::line(self.now, Some(handle), format_args!("** {text}"));
            }
        }
    }
}
