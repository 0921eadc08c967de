//! The workers of a farm.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::Method;
use tokio::time::{Instant, sleep};

use super::{AGAIN, Changes, Farm, WAIT_MAX};
use crate::ClientError;
use crate::api::{CollectionChange, Work, WorkTask};
use crate::http::{bytes, empty};

/// Of the reason of a failure; the rest is cut, as the farm would.
pub const WHY_MAX_BYTES: usize = 256;

impl Farm {
    /// The task that this member shall do; `None` when there is none for so long. A member has one at a time:
    /// until it is done or failed the same one is handed out again.
    pub async fn work(&self, wait: Duration) -> Result<Option<WorkTask>, ClientError> {
        let until = Instant::now() + wait;
        loop {
            let Work { task } = self.poll(until, || self.asked("/work")).await?;
            if task.is_some() || Instant::now() >= until {
                return Ok(task);
            }
        }
    }

    /// The task at hand is done. The result is on its way when this returns; should this member die before
    /// the farm has it, the task is done again.
    pub async fn done(&self, id: &str, result: impl Into<Vec<u8>>) -> Result<(), ClientError> {
        self.send(Method::PUT, self.asked("/work").and("id", id), bytes(result.into())).await
    }

    /// The task at hand failed. After some such attempts, `attempts` of the collection, it is given up. The
    /// reason is cut after [`WHY_MAX_BYTES`].
    pub async fn failed(&self, id: &str, why: &str) -> Result<(), ClientError> {
        let why = &why[..why.floor_char_boundary(WHY_MAX_BYTES)];
        self.send(Method::DELETE, self.asked("/work").and("id", id).and("why", why), empty()).await
    }

    /// Does tasks, one after the other, for ever. A job whose task is not wanted any more is dropped, and a
    /// result that is too long is a failure.
    ///
    /// So is a job that panics, with what it said, and the next task is done: a worker that a task ends would
    /// leave its member without one. What jobs share they must therefore leave sound when they panic. A
    /// program that is built to abort ends, which counts as a failure, too.
    ///
    /// Failures that pass (no farmer just now, the agent does not answer) are waited for; what is returned is
    /// one that does not.
    pub async fn run<J, F, R, E>(&self, mut job: J) -> ClientError
    where
        J: FnMut(WorkTask) -> F,
        F: Future<Output = Result<R, E>>,
        R: Into<Vec<u8>>,
        E: Display,
    {
        loop {
            match self.run_once(&mut job).await {
                Ok(()) => {}
                Err(error) if error.is_passing() => sleep(AGAIN).await,
                Err(error) => return error,
            }
        }
    }

    async fn run_once<J, F, R, E>(&self, job: &mut J) -> Result<(), ClientError>
    where
        J: FnMut(WorkTask) -> F,
        F: Future<Output = Result<R, E>>,
        R: Into<Vec<u8>>,
        E: Display,
    {
        let mut changes = self.changes().await?;
        while let Some(task) = self.work(WAIT_MAX).await? {
            let id = task.id.clone();
            let text = |why: E| why.to_string();
            let doing = async { job(task).await.map(Into::into).map_err(text) };
            let mut doing = pin!(AssertUnwindSafe(doing).catch_unwind());
            let outcome = loop {
                tokio::select! {
                    outcome = &mut doing => break Some(outcome),
                    stopped = self.stopped(&mut changes, &id) => if stopped? { break None },
                }
            };
            match outcome.map(|doing| doing.unwrap_or_else(|panic| Err(said(&*panic)))) {
                Some(Ok(result)) => match self.report(&id, Ok(result)).await {
                    // As one that is too long: it would be so the next time.
                    Err(error) if matches!(error.status(), Some(400 | 413)) => {
                        self.report(&id, Err(error.to_string())).await?;
                    }
                    reported => reported?,
                },
                Some(Err(why)) => self.report(&id, Err(why)).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// Waits for the word that the task at hand is not wanted, and whether that is so: it may have been about
    /// the one before.
    async fn stopped(&self, changes: &mut Changes, id: &str) -> Result<bool, ClientError> {
        match changes.next().await {
            Ok(Some(CollectionChange::Stop)) => {
                // Who cannot be asked has not said that it is another's.
                let at_hand = self.work(Duration::ZERO).await;
                Ok(at_hand.is_ok_and(|task| task.is_none_or(|task| task.id != id)))
            }
            Ok(Some(_)) => Ok(false),
            Ok(None) | Err(_) => {
                sleep(AGAIN).await;
                if let Ok(anew) = self.changes().await {
                    *changes = anew;
                }
                Ok(false)
            }
        }
    }

    /// Says what came of a task until the agent has it, or does not want it any more.
    async fn report(&self, id: &str, outcome: Result<Vec<u8>, String>) -> Result<(), ClientError> {
        loop {
            let told = match &outcome {
                Ok(result) => self.done(id, result.clone()).await,
                Err(why) => self.failed(id, why).await,
            };
            match told {
                Err(error) if error.is_passing() => sleep(AGAIN).await,
                // It is not at hand any more: somebody else did it.
                Err(error) if matches!(error.status(), Some(404 | 409 | 410)) => return Ok(()),
                told => return told,
            }
        }
    }
}

/// What a job said when it panicked.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("it did not say why"))
}
