//! `POST /v1/apps`: submit an application, and follow how it is placed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use xtreem_allocation::{Application, Notice, Progress, Record, SubmitRefusal};
use xtreem_base::{AppId, Duration};
use xtreem_client::api::{ErrorBody, ErrorKind, ProgressLine, SearchReport, SubmitRequest};
use xtreem_discovery::{AppFilter, Query, Report, SearchSpec};
use xtreem_net::{Contacts, Named, Outbox, verify_spec};
use xtreem_node::{Event, Node};

use super::error::ApiError;
use super::{body, picture, record, search, view};
use crate::agent::Agent;
use crate::ports;
use crate::program::Program;
use crate::waiting::{Subscription, Topic};

/// Longest search for a running application of the same name: what it does not find, both owners see later.
const NAME_SEARCH_MAX: Duration = Duration::from_secs(3);
/// Longest time for which a submission may try again (our guess: whoever waits longer submits anew).
const WAIT_MAX_MS: u64 = 24 * 3_600 * 1_000;
/// Longest wait for company, of a submission on a node that is to join others and has met nobody yet (our
/// guess: to join takes some round trips, and a machine that boots some seconds).
const COMPANY_MAX: StdDuration = StdDuration::from_secs(5);
/// Between two looks for it.
const COMPANY_LOOK: StdDuration = StdDuration::from_millis(50);
/// What to do about a rule's no.
const POLICY_HINT: &str = "`xtreem vo policy show` prints the VO's rules; its owner can change them";
/// Members met after which that search ends.
const NAME_MEMBERS_MAX: u32 = 16;

pub(super) async fn submit(State(agent): State<Arc<Agent>>, body: Body) -> Result<Response, ApiError> {
    let request: SubmitRequest = body::json(body).await?;
    let application: Application = record::decode(&request.application.0, "application")?;
    check(&agent, &application)?;
    let wait_ms = request.wait_ms.unwrap_or(0);
    if wait_ms > WAIT_MAX_MS {
        return Err(ApiError::bad_request(format!(
            "wait_ms is {wait_ms}; at most {WAIT_MAX_MS} is possible"
        )));
    }
    let wait = Duration::from_millis(wait_ms);
    let joins_others = names_others(&agent.config.join, &agent.net.own_contact().addr.to_string());
    let asked = &agent;
    let contacts =
        move || async move { asked.node(|node, _, _| node.status().contacts).await.unwrap_or_default() };
    if joins_others && !has_company(contacts).await {
        tracing::warn!("an application is submitted though no other node was met: nobody will guard it");
    }
    refuse_second(&agent, &application.record).await?;
    let app = application.record.id;
    let events = agent.waiting.subscribe(Topic::Submission(app))?;
    // Its own visit is the only one that comes to this node without a look at the machine's ports.
    let address = agent.net.local_addr().ip();
    let wanted = application.spec.ports.numbers().iter().copied();
    let taken: Vec<u16> = wanted.filter(|port| !ports::is_free(address, *port)).collect();
    let submit = move |node: &mut Node, now, out: &mut Outbox| {
        node.set_ports_in_use(taken);
        node.submit(now, application, wait, out)
    };
    let submitted = agent.node(submit).await?;
    submitted.map_err(|refusal| match refusal {
        SubmitRefusal::Forbidden(_) => {
            ApiError::definite(StatusCode::FORBIDDEN, refusal).with_hint(POLICY_HINT)
        }
        _ => ApiError::definite(StatusCode::CONFLICT, refusal),
    })?;
    tracing::info!(?app, "application submitted");
    let following = Following { agent, app, events, is_accepted: false, is_over: false };
    let lines = stream::unfold(following, |mut following| async {
        let line = following.next().await?;
        Some((Ok::<_, Infallible>(line), following))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// Everything that can be found out without asking anybody.
fn check(agent: &Agent, application: &Application) -> Result<(), ApiError> {
    record::verify(agent, &application.record)?;
    verify_spec(application).map_err(ApiError::bad_request)?;
    let spec = &application.spec;
    if let Some(set) = spec.requirement.set() {
        let slots = application.record.slots;
        if set.least() != slots || set.most() != slots || spec.colocate || !spec.placement.is_empty() {
            let error = format!(
                "the requirement wants a set: it is one of exactly {slots} different nodes, and placement has no say"
            );
            return Err(ApiError::bad_request(error));
        }
    }
    let program = Program::from_payload(&spec.payload).map_err(ApiError::bad_request)?;
    program.check_slots(application.record.slots).map_err(ApiError::bad_request)?;
    if spec.ports != program.fixed_ports() {
        return Err(ApiError::bad_request("the specification's ports are not those of its program"));
    }
    match program.files.iter().find(|file| !agent.store.has(file.digest)) {
        None => Ok(()),
        Some(file) => {
            let error = format!("file {:?} ({}) is not on this agent", file.path, file.digest);
            Err(ApiError::definite(StatusCode::CONFLICT, error).with_hint("upload it first"))
        }
    }
}

/// Whether anybody but this node itself is among those to join by, as they are written.
fn names_others(join: &[String], own: &str) -> bool {
    join.iter().any(|name| name != own)
}

/// Waits until there are contacts, a while: what a node accepts alone, it alone knows, and its death would be
/// that of the application. False when none came.
async fn has_company<F: Future<Output = usize>>(contacts: impl Fn() -> F) -> bool {
    let end = tokio::time::Instant::now() + COMPANY_MAX;
    while contacts().await == 0 {
        if tokio::time::Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(COMPANY_LOOK).await;
    }
    true
}

/// Names are per owner, and one that runs is not given again.
async fn refuse_second(agent: &Arc<Agent>, record: &Record) -> Result<(), ApiError> {
    let query = Query::Applications(AppFilter::Name { name: record.name.clone() });
    let spec = SearchSpec { deadline: NAME_SEARCH_MAX, ..SearchSpec::new(query, NAME_MEMBERS_MAX) };
    let found = search::run(agent, spec).await?.applications;
    let is_same = |summary: &xtreem_discovery::AppSummary| {
        summary.owner == record.owner && summary.name == record.name && !summary.is_over()
    };
    let running: BTreeSet<AppId> = found
        .iter()
        .flat_map(|(_, list)| list)
        .filter(|summary| is_same(summary))
        .map(|app| app.id)
        .collect();
    for app in running {
        let members = found.iter().filter(|(_, list)| list.iter().any(|summary| summary.id == app));
        let members = members.map(|(peer, _)| *peer).collect();
        // Nobody who answers runs it any more: the name is free.
        let Some(picture) = picture::walk(agent, app, members).await? else { continue };
        if !picture.is_over() && !picture.record.is_stopped() {
            let error = format!("{:?} of the same owner runs already, with id {app}", record.name);
            let hint = format!("stop it with `xtreem stop {app}`, or give this one another name");
            return Err(ApiError::definite(StatusCode::CONFLICT, error).with_hint(hint));
        }
    }
    Ok(())
}

/// A submission and who follows it. Dropped before the first slot is confirmed, it is withdrawn.
struct Following {
    agent: Arc<Agent>,
    app: AppId,
    events: Subscription,
    is_accepted: bool,
    is_over: bool,
}

impl Following {
    async fn next(&mut self) -> Option<String> {
        while !self.is_over {
            let Named { what, contacts } = self.events.event().await;
            if let Event::Allocation(Notice::Submission { progress, .. }) = what {
                let line = self.line(progress, &contacts).await;
                // The lines are plain values: nothing in them has no JSON.
                return serde_json::to_string(&line).ok().map(|line| line + "\n");
            }
        }
        None
    }

    /// A report with the words of the rules that it names, as far as this node has them.
    async fn explained(&self, report: &Report) -> SearchReport {
        let mut told = view::report(report);
        if !told.forbidden.is_empty() {
            let policy =
                self.agent.node(|node, _, _| node.policy().map(|(_, policy, _)| policy.clone())).await;
            if let Ok(Some(policy)) = policy {
                told.forbidden.iter_mut().for_each(|rule| rule.why = policy.describe(&rule.rule));
            }
        }
        told
    }

    async fn line(&mut self, progress: Progress, contacts: &Contacts) -> ProgressLine {
        match progress {
            Progress::Held { nodes, wanted } => ProgressLine::Held { nodes, wanted },
            Progress::NotPlaced { report: Some(report) } => {
                self.is_over = true;
                ProgressLine::NotPlaced { report: self.explained(&report).await }
            }
            Progress::NotPlaced { report: None } => {
                self.is_over = true;
                let error = "nodes were found but none of them confirmed".to_owned();
                let hint = Some("try again".to_owned());
                ProgressLine::Failed { error: ErrorBody { error, kind: ErrorKind::Definite, hint } }
            }
            Progress::Waiting { attempts, pause, report } => {
                let report = match report {
                    Some(report) => Some(self.explained(&report).await),
                    None => None,
                };
                ProgressLine::Waiting { attempts, pause_ms: pause.as_millis(), report }
            }
            Progress::NoSuchNode { node } => {
                self.is_over = true;
                let error =
                    format!("no node was found whose host name, id or address is {node}, to be near to");
                let hint = Some(format!("`xtreem nodes 'host == \"{node}\"'` looks for it"));
                ProgressLine::Failed { error: ErrorBody { error, kind: ErrorKind::Definite, hint } }
            }
            Progress::Forbidden { refusal } => {
                self.is_over = true;
                let (error, hint) = (refusal.to_string(), Some(POLICY_HINT.to_owned()));
                ProgressLine::Failed { error: ErrorBody { error, kind: ErrorKind::Definite, hint } }
            }
            Progress::Beaten { by } => {
                self.is_over = true;
                ProgressLine::Beaten { by: view::record(&by) }
            }
            Progress::Accepted => {
                self.is_accepted = true;
                ProgressLine::Accepted { id: self.app.to_string() }
            }
            Progress::Slot { slot, state, holder } => {
                let holder = holder.and_then(|holder| contacts.of(holder));
                ProgressLine::Slot { slot: view::slot(slot, state, holder) }
            }
            Progress::Complete { running, done, failed } => {
                self.is_over = true;
                ProgressLine::Complete { running, done, failed }
            }
            Progress::Troubled { slot, trouble } => {
                self.is_over = true;
                ProgressLine::Troubled { slot, trouble: trouble.to_string() }
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if self.is_accepted || self.is_over {
            return;
        }
        let (agent, app) = (self.agent.clone(), self.app);
        tracing::info!(?app, "submission withdrawn: nobody waits for it any more");
        tokio::spawn(async move { agent.tell(move |node, now, out| node.withdraw(now, app, out)).await });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_submission_waits_for_company_until_it_comes_and_not_for_ever() {
        let looks = Cell::new(0);
        let company_after = |number: usize| {
            let looks = &looks;
            move || {
                looks.set(looks.get() + 1);
                std::future::ready(usize::from(looks.get() >= number))
            }
        };
        assert!(has_company(company_after(1)).await);
        assert_eq!(looks.replace(0), 1);
        assert!(has_company(company_after(7)).await);
        assert_eq!(looks.replace(0), 7);
        let start = tokio::time::Instant::now();
        assert!(!has_company(company_after(usize::MAX)).await);
        assert!(start.elapsed() >= COMPANY_MAX && start.elapsed() < 2 * COMPANY_MAX);
    }

    #[test]
    fn only_who_is_told_of_others_waits_for_them() {
        let names = |join: &[&str]| {
            names_others(&join.iter().map(|name| name.to_string()).collect::<Vec<_>>(), "10.0.0.1:7227")
        };
        assert!(!names(&[]) && !names(&["10.0.0.1:7227"]));
        assert!(names(&["10.0.0.1:7227", "node2:7227"]));
    }
}
