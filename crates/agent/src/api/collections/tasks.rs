//! `.../tasks`, `.../outcomes`, `.../progress`: a farm, as whoever has work to do sees it; `.../work`: as
//! whoever does it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use xtreem_client::api::{
    Blob, CollectionSpec, FarmProgress, Outcomes, TaskReply, TaskState, Work, WorkTask,
};
use xtreem_overlay::collection::{self, Answer, BeginError, TASK_BODY_MAX, TaskName};

use super::{look, not_now, of, question, view};
use crate::api::body;
use crate::api::error::ApiError;
use crate::api::slot_socket::Slot;
use crate::collections::{AtHand, Ended, Joined, Question};

/// Longest wait for work or an outcome (our guess: whoever waits longer asks again).
const WAIT_MAX_MS: u64 = 300_000;
/// The farmer's word that there is news may be lost: it is asked again after that.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct OfTask {
    id: String,
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Failed {
    id: String,
    #[serde(default)]
    why: String,
}

/// Adds a task; one that is there already is the same task.
pub(in crate::api) async fn add(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    of_task: Result<Query<OfTask>, QueryRejection>,
    body: Body,
) -> Result<Json<TaskReply>, ApiError> {
    let (joined, task) = (of(&slot, &name).await?, task_name(&body::query(of_task)?.id)?);
    let input = body::bytes(body, TASK_BODY_MAX, "the input").await?;
    let id = task.as_str().to_owned();
    question(&joined, move |driver| {
        driver.ask(|core, call, out| core.add_task(call, &task, &input, out).map(Question::Other))
    })
    .await?;
    Ok(Json(TaskReply { id, state: TaskState::Open, result: None, why: None }))
}

pub(in crate::api) async fn state(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    of_task: Result<Query<OfTask>, QueryRejection>,
) -> Result<Json<TaskReply>, ApiError> {
    let (joined, of_task) = (of(&slot, &name).await?, body::query(of_task)?);
    let (task, end) = (task_name(&of_task.id)?, end(of_task.wait_ms)?);
    let mut changes = joined.changes();
    loop {
        let reply = state_of(&joined, &task).await?;
        if reply.state != TaskState::Open || Instant::now() >= end {
            return Ok(Json(reply));
        }
        // Either way it is looked at again.
        let _ = timeout_at(end.min(Instant::now() + LOOK), changes.changed()).await;
    }
}

async fn state_of(joined: &Joined, task: &TaskName) -> Result<TaskReply, ApiError> {
    let (id, task) = (task.as_str().to_owned(), task.clone());
    let answer = look(joined, move |driver| {
        driver.ask(|core, call, out| core.outcome(call, &task, out).map(Question::Other))
    });
    let (Answer::Task(state), _) = answer.await? else { return Err(another()) };
    let result = state.result().map(|result| Blob(result.to_vec()));
    let (state, why) = match state {
        collection::TaskState::Open => (TaskState::Open, None),
        collection::TaskState::Done(_) => (TaskState::Done, None),
        collection::TaskState::GivenUp(why) => (TaskState::GivenUp, Some(why.as_str().to_owned())),
        collection::TaskState::Collected => (TaskState::Collected, None),
    };
    Ok(TaskReply { id, state, result, why })
}

/// Takes the outcome out of the farm's table, which only remembers then that it was done.
pub(in crate::api) async fn collect(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    of_task: Result<Query<OfTask>, QueryRejection>,
) -> Result<Json<TaskReply>, ApiError> {
    let (joined, task) = (of(&slot, &name).await?, task_name(&body::query(of_task)?.id)?);
    let outcome = state_of(&joined, &task).await?;
    question(&joined, move |driver| {
        driver.ask(|core, call, out| core.collect(call, &task, out).map(Question::Other))
    })
    .await?;
    Ok(Json(TaskReply { state: TaskState::Collected, ..outcome }))
}

pub(in crate::api) async fn outcomes(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<Outcomes>, ApiError> {
    let (joined, end) = (of(&slot, &name).await?, end(body::query(wait)?.wait_ms)?);
    let mut changes = joined.changes();
    loop {
        let answer = look(&joined, |driver| {
            driver.ask(|core, call, out| core.outcomes(call, out).map(Question::Other))
        });
        let (Answer::Outcomes { tasks, open, whole }, _) = answer.await? else { return Err(another()) };
        if !tasks.is_empty() || Instant::now() >= end {
            let ids = tasks.iter().map(|task| task.as_str().to_owned()).collect();
            return Ok(Json(Outcomes { ids, open, whole }));
        }
        let _ = timeout_at(end.min(Instant::now() + LOOK), changes.changed()).await;
    }
}

pub(in crate::api) async fn progress(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
) -> Result<Json<FarmProgress>, ApiError> {
    let joined = of(&slot, &name).await?;
    let answer =
        look(&joined, |driver| driver.ask(|core, call, out| core.progress(call, out).map(Question::Other)));
    let (Answer::Progress(progress), _) = answer.await? else { return Err(another()) };
    Ok(Json(view::progress(&progress)))
}

/// While somebody waits for work, tasks are asked for.
struct Wanting(Arc<Joined>);

impl Wanting {
    async fn begin(joined: &Arc<Joined>) -> Result<Wanting, Ended> {
        // Should the request be given up meanwhile, what is dropped takes back what it began.
        let wanting = Wanting(joined.clone());
        joined.call(|driver| driver.want_task(true)).await?;
        Ok(wanting)
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        let joined = self.0.clone();
        tokio::spawn(async move { joined.call(|driver| driver.want_task(false)).await });
    }
}

/// The task that this member is to do: the same until it says what came of it.
pub(in crate::api) async fn work(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<Work>, ApiError> {
    let (joined, end) = (of(&slot, &name).await?, end(body::query(wait)?.wait_ms)?);
    check_farm(&joined)?;
    let mut changes = joined.changes();
    let _wanting = Wanting::begin(&joined).await?;
    loop {
        let at_hand = joined.call(|driver| driver.take_work()).await?;
        if at_hand.is_some() || Instant::now() >= end {
            let view = |AtHand { task, input, .. }: AtHand| WorkTask {
                id: task.as_str().to_owned(),
                input: Blob(input.to_vec()),
            };
            return Ok(Json(Work { task: at_hand.map(view) }));
        }
        if let Ok(Err(_)) = timeout_at(end, changes.changed()).await {
            return Err(Ended.into());
        }
    }
}

pub(in crate::api) async fn done(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    of_task: Result<Query<OfTask>, QueryRejection>,
    body: Body,
) -> Result<Json<()>, ApiError> {
    let (joined, task) = (of(&slot, &name).await?, task_name(&body::query(of_task)?.id)?);
    check_farm(&joined)?;
    let result = body::bytes(body, TASK_BODY_MAX, "the result").await?;
    finish(&joined, task, Ok(result)).await
}

pub(in crate::api) async fn failed(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    failed: Result<Query<Failed>, QueryRejection>,
) -> Result<Json<()>, ApiError> {
    let (joined, Failed { id, why }) = (of(&slot, &name).await?, body::query(failed)?);
    check_farm(&joined)?;
    finish(&joined, task_name(&id)?, Err(why)).await
}

async fn finish(
    joined: &Joined,
    task: TaskName,
    outcome: Result<Vec<u8>, String>,
) -> Result<Json<()>, ApiError> {
    let finished = joined.call(move |driver| {
        let outcome = outcome.as_deref().map_err(String::as_str);
        driver.with(|core, call, out| core.finish(call, &task, outcome, out))?;
        driver.take_at_hand();
        Ok::<_, collection::FinishError>(())
    });
    finished.await??;
    Ok(Json(()))
}

fn check_farm(joined: &Joined) -> Result<(), ApiError> {
    match joined.spec {
        CollectionSpec::Farm { .. } => Ok(()),
        _ => Err(BeginError::Kind("tasks").into()),
    }
}

fn task_name(id: &str) -> Result<TaskName, ApiError> {
    TaskName::new(id).map_err(|error| ApiError::bad_request(format!("id: {error}")))
}

fn end(wait_ms: u64) -> Result<Instant, ApiError> {
    if wait_ms > WAIT_MAX_MS {
        let error = format!("wait_ms is {wait_ms}; at most {WAIT_MAX_MS} is possible: ask again then");
        return Err(ApiError::bad_request(error));
    }
    Ok(Instant::now() + Duration::from_millis(wait_ms))
}

fn another() -> ApiError {
    not_now("an answer to another question: ask again")
}
