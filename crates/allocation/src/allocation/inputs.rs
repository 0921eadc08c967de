//! What the node around asks of the core, and what it answers to a wish or a notice.

use thiserror::Error;
use xtreem_base::{AppId, Call, Coordinate, Duration, Handle, NodeId};
use xtreem_discovery::Report;

use super::{Allocation, SUBMISSIONS_MAX};
use crate::message::Message;
use crate::placement::Candidate;
use crate::policy::Refusal;
use crate::submission::Submission;
use crate::{Application, Config, Exit, Host, NotStarted, SlotRun, StopReason, Ticket};

/// Why a submission was not begun. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitRefusal {
    #[error("this node has {SUBMISSIONS_MAX} submissions under way: try again later or on another node")]
    TooMany,
    #[error("an application with this id was submitted before: ids are never used again")]
    Known,
    #[error(
        "the record names {named} as the node through which it is submitted: submit it there, or sign it anew"
    )]
    OtherSubmitter { named: NodeId },
    #[error("the record says stopped: a stopped record is final for its id")]
    Stopped,
    #[error(transparent)]
    Forbidden(#[from] Refusal),
}

impl Allocation {
    /// Begins to place an application. While too few nodes are found it tries again, with growing random
    /// pauses, for as long as `wait`.
    pub fn submit<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        application: Application,
        wait: Duration,
        host: &mut H,
    ) -> Result<(), SubmitRefusal> {
        let app = application.record.id;
        if application.record.is_stopped() {
            return Err(SubmitRefusal::Stopped);
        }
        if application.record.submitter != self.books.me.id {
            return Err(SubmitRefusal::OtherSubmitter { named: application.record.submitter });
        }
        let is_known =
            self.stopped.contains_key(&app) || self.apps.contains_key(&app) || self.finals.contains(app);
        if is_known || self.submissions.contains_key(&app) {
            return Err(SubmitRefusal::Known);
        }
        if self.submissions.len() >= SUBMISSIONS_MAX {
            return Err(SubmitRefusal::TooMany);
        }
        host.judge_submission(&application.record)?;
        let submission = Submission::start(application, wait, &mut self.books.context(call, host));
        self.submissions.insert(app, submission);
        Ok(())
    }

    /// Gives a submission up. Only before it was accepted does this undo anything.
    pub fn withdraw<H: Host>(&mut self, call: Call<'_, Config>, app: AppId, host: &mut H) {
        if let Some(mut submission) = self.submissions.remove(&app)
            && !submission.is_accepted()
        {
            submission.withdraw(&mut self.books.context(call, host));
        }
    }

    /// Asks a node what it knows of an application.
    pub fn describe<H: Host>(&mut self, app: AppId, at: Handle, host: &mut H) {
        host.send(at, Message::Describe { app });
    }

    /// The operator of this machine takes a slot back.
    pub fn free<H: Host>(&mut self, call: Call<'_, Config>, run: SlotRun, host: &mut H) {
        self.with_app(call, run.app, host, |app, cx| app.stop_slot(cx, run.slot, StopReason::Freed));
    }

    /// The search behind `ticket` found a node and holds it.
    pub fn handle_found<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        ticket: Ticket,
        candidate: Candidate,
        host: &mut H,
    ) {
        let (peer, hold) = (candidate.peer, candidate.hold);
        let mut cx = self.books.context(call, host);
        match ticket {
            Ticket::Submission(app) => match self.submissions.get_mut(&app) {
                Some(submission) => submission.on_found(&mut cx, candidate),
                None => cx.host.send(peer, Message::Release { hold }),
            },
            Ticket::Slot(app, slot) => match self.apps.get_mut(&app) {
                Some(app) => app.on_found(&mut cx, slot, candidate),
                None => cx.host.send(peer, Message::Release { hold }),
            },
        }
    }

    /// The search behind `ticket` is over; without a report it could not even begin.
    pub fn handle_search_done<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        ticket: Ticket,
        report: Option<Report>,
        host: &mut H,
    ) {
        let mut cx = self.books.context(call, host);
        match ticket {
            Ticket::Submission(app) => {
                if let Some(submission) = self.submissions.get_mut(&app) {
                    submission.on_search_done(&mut cx, report);
                }
            }
            Ticket::Slot(app, slot) => {
                if let Some(app) = self.apps.get_mut(&app) {
                    app.on_search_done(&mut cx, slot, report.as_ref());
                }
            }
        }
        self.sweep(call.now, host);
    }

    /// The node that an application is to be near to stands there, or was not found.
    pub fn handle_located<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        app: AppId,
        coordinate: Option<Coordinate>,
        host: &mut H,
    ) {
        if let Some(submission) = self.submissions.get_mut(&app) {
            submission.on_located(&mut self.books.context(call, host), coordinate);
        }
        self.sweep(call.now, host);
    }

    /// The owner of an application that is being submitted holds so many nodes with others.
    pub fn handle_counted<H: Host>(&mut self, call: Call<'_, Config>, app: AppId, held: u32, host: &mut H) {
        if let Some(submission) = self.submissions.get_mut(&app) {
            submission.on_counted(&mut self.books.context(call, host), held);
        }
        self.sweep(call.now, host);
    }

    /// Others say that a silent peer answers them.
    pub fn handle_alive(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.apps.values_mut().for_each(|app| app.on_alive(call.now, peer));
    }

    /// The program of this run is started.
    pub fn handle_started<H: Host>(&mut self, call: Call<'_, Config>, run: SlotRun, host: &mut H) {
        self.with_app(call, run.app, host, |app, cx| app.on_started(cx, run));
    }

    /// The program of this run is not started yet, but its start comes nearer.
    pub fn handle_progress<H: Host>(&mut self, call: Call<'_, Config>, run: SlotRun, host: &mut H) {
        self.with_app(call, run.app, host, |app, cx| app.on_progress(cx.now, run));
    }

    /// The program of this run has ended.
    pub fn handle_exited<H: Host>(&mut self, call: Call<'_, Config>, run: SlotRun, exit: Exit, host: &mut H) {
        self.with_app(call, run.app, host, |app, cx| app.on_exited(cx, run, exit));
        self.sweep(call.now, host);
    }

    /// The program of this run could not be started.
    pub fn handle_not_started<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        run: SlotRun,
        why: NotStarted,
        host: &mut H,
    ) {
        if let NotStarted::Trouble(trouble) = why {
            self.books.troubles.note(call.now, run.app, trouble, call.config);
        }
        self.with_app(call, run.app, host, |app, cx| app.on_not_started(cx, run, why));
        self.sweep(call.now, host);
    }

    /// This node was paused: it asks for newer epochs of its slots before it acts.
    pub fn handle_resume<H: Host>(&mut self, call: Call<'_, Config>, host: &mut H) {
        let mut cx = self.books.context(call, host);
        self.apps.values_mut().filter(|app| !app.is_asleep()).for_each(|app| app.resume(&mut cx));
    }
}
