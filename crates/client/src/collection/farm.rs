//! Tasks that one member hands out and the others do.

use std::ops::Deref;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::{AGAIN, Collection, WAIT_MAX};
use crate::api::{FarmProgress, Outcomes, TaskReply, TaskState};
use crate::http::{Asked, bytes, empty};
use crate::{ClientError, SlotClient};

/// A table of tasks that outlives its farmer. Any member may add tasks, do them and take their outcomes.
///
/// With `[collections.work]` and `kind = "farm"` in `app.toml`, slot 0 adds tasks and all do them:
/// ```no_run
/// use xtreem_client::SlotClient;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let slot = SlotClient::from_env()?;
/// let farm = slot.farm("work").await?;
/// if slot.whoami().await?.slot == 0 {
///     for number in 0..100 {
///         farm.add(&format!("square/{number}"), number.to_string()).await?;
///     }
/// }
/// let error = farm.run(async |task| {
///     let number: u64 = String::from_utf8_lossy(&task.input.0).parse()?;
///     Ok::<_, std::num::ParseIntError>((number * number).to_string())
/// });
/// Err(error.await.into())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Farm(Collection);

impl SlotClient {
    /// Opens a collection of kind `farm`.
    pub async fn farm(&self, name: &str) -> Result<Farm, ClientError> {
        self.opened(name, "farm").await.map(Farm)
    }
}

impl Deref for Farm {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.0
    }
}

impl Farm {
    /// Adds a task; once this returns it is not lost any more. To add it again changes nothing, so that
    /// whoever begins anew adds all.
    pub async fn add(&self, id: &str, input: impl Into<Vec<u8>>) -> Result<TaskReply, ClientError> {
        self.send(Method::PUT, self.asked("/tasks").and("id", id), bytes(input.into())).await
    }

    /// Where a task stands, with what came of it once that is there; waits so long while it is open.
    pub async fn outcome(&self, id: &str, wait: Duration) -> Result<TaskReply, ClientError> {
        let until = Instant::now() + wait;
        loop {
            let reply: TaskReply = self.poll(until, || self.asked("/tasks").and("id", id)).await?;
            if reply.state != TaskState::Open || Instant::now() >= until {
                return Ok(reply);
            }
        }
    }

    /// Takes an outcome out of the table, once it is safe elsewhere: it cannot be asked for after that.
    pub async fn collect(&self, id: &str) -> Result<TaskReply, ClientError> {
        self.send(Method::DELETE, self.asked("/tasks").and("id", id), empty()).await
    }

    /// Tasks that are done or given up, and not collected; waits so long while there are none. All are done
    /// and collected when there are no ids, nothing is `open` and the answer is `whole`.
    pub async fn outcomes(&self, wait: Duration) -> Result<Outcomes, ClientError> {
        let until = Instant::now() + wait;
        loop {
            let outcomes: Outcomes = self.poll(until, || self.asked("/outcomes")).await?;
            if !outcomes.ids.is_empty() || Instant::now() >= until {
                return Ok(outcomes);
            }
        }
    }

    /// How many tasks stand where, as the farmer counts.
    pub async fn progress(&self) -> Result<FarmProgress, ClientError> {
        self.get(self.asked("/progress")).await
    }

    /// Asks, and lets the agent wait for the answer. Where as many requests wait as may, it is looked now and
    /// then: nothing was done by one that was refused.
    pub(super) async fn poll<T: DeserializeOwned>(
        &self,
        until: Instant,
        asked: impl Fn() -> Asked,
    ) -> Result<T, ClientError> {
        match self.get(asked().and("wait_ms", slice(until).as_millis())).await {
            Err(error) if error.status() == Some(429) => {}
            answered => return answered,
        }
        sleep_until(until.min(Instant::now() + AGAIN)).await;
        self.get(asked().and("wait_ms", 0)).await
    }
}

/// For how long one request waits.
fn slice(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).min(WAIT_MAX)
}
