//! Each member a number.

use std::ops::Deref;
use std::time::Duration;

use hyper::Method;
use tokio::time::{Instant, timeout, timeout_at};

use super::Collection;
use crate::api::{RankHolder, StandingView};
use crate::http::empty;
use crate::{ClientError, SlotClient};

/// A change that was told while nobody listened is noticed after so long (our guess).
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The members of a collection, numbered from 0 on. Whoever replaces a member has its rank.
///
/// With `[collections.row]` and `kind = "ranks"` in `app.toml`:
/// ```no_run
/// use std::time::Duration;
/// use xtreem_client::SlotClient;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let row = SlotClient::from_env()?.ranks("row").await?;
/// let standing = row.settled(Duration::from_secs(60)).await?;
/// println!("rank {:?} of {}", standing.rank, standing.members);
/// let first = row.holder(0).await?;
/// println!("rank 0 is slot {}", first.slot);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ranks(Collection);

impl SlotClient {
    /// Opens a collection of kind `ranks`, or the ranks of a mesh.
    pub async fn ranks(&self, name: &str) -> Result<Ranks, ClientError> {
        self.opened(name, "ranks").await.map(Ranks)
    }
}

impl Deref for Ranks {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.0
    }
}

impl Ranks {
    pub(super) fn new(collection: Collection) -> Self {
        Ranks(collection)
    }

    /// Where this member stands now; `None` while it knows no numbering.
    pub async fn standing(&self) -> Result<Option<StandingView>, ClientError> {
        Ok(self.show().await?.standing)
    }

    /// Waits until all that have a rank are known to be there.
    ///
    /// # Errors
    /// [`ClientError::NotSettled`] when they are not after that time: a slot is lost and not replaced yet, or
    /// the grid is cut.
    pub async fn settled(&self, within: Duration) -> Result<StandingView, ClientError> {
        let until = Instant::now() + within;
        let mut changes = self.changes().await?;
        let mut why = "the agent did not answer".to_owned();
        loop {
            let Ok(seen) = timeout_at(until, self.show()).await else {
                let (name, seconds) = (self.name().to_owned(), within.as_secs());
                return Err(ClientError::NotSettled { name, seconds, why });
            };
            match seen {
                Ok(seen) => match seen.standing {
                    Some(standing) if standing.settled && seen.trouble.is_none() => return Ok(standing),
                    _ => why = seen.trouble.unwrap_or_else(|| format!("{} other members known", seen.known)),
                },
                Err(error) if error.is_passing() => why = error.to_string(),
                Err(error) => return Err(error),
            }
            if Instant::now() >= until {
                let (name, seconds) = (self.name().to_owned(), within.as_secs());
                return Err(ClientError::NotSettled { name, seconds, why });
            }
            // Whatever comes of it, the collection is looked at again.
            let pause = LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()));
            if let Ok(Err(_) | Ok(None)) = timeout(pause, changes.next()).await {
                tokio::time::sleep(pause).await;
                changes = self.changes().await?;
            }
        }
    }

    /// Who has a rank.
    ///
    /// # Errors
    /// Status 404 when nobody has, 503 or 504 when it is not known just now.
    pub async fn holder(&self, rank: u32) -> Result<RankHolder, ClientError> {
        self.get(self.asked(format_args!("/ranks/{rank}"))).await
    }

    /// Numbers the members that are there anew: ranks close up over those that are gone for good.
    pub async fn renumber(&self) -> Result<StandingView, ClientError> {
        self.send(Method::POST, self.asked("/renumber"), empty()).await
    }
}
