//! The members that are most like one.

use std::ops::Deref;

use hyper::Method;

use super::Collection;
use crate::api::{NearView, Profile};
use crate::http::json;
use crate::{ClientError, SlotClient};

/// Members that find those which are most like them.
///
/// With `[collections.taste]`, `kind = "nearest"` and `metric = "items"` in `app.toml`:
/// ```no_run
/// use xtreem_client::SlotClient;
/// use xtreem_client::api::Profile;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let taste = SlotClient::from_env()?.nearest("taste").await?;
/// taste.set_profile(&Profile::Items(vec![3, 17, 42])).await?;
/// let mut changes = taste.changes().await?;
/// while changes.next().await?.is_some() {
///     for near in taste.nearest().await? {
///         println!("slot {} has {:?}", near.slot, near.profile);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Nearest(Collection);

impl SlotClient {
    /// Opens a collection of kind `nearest`.
    pub async fn nearest(&self, name: &str) -> Result<Nearest, ClientError> {
        self.opened(name, "nearest").await.map(Nearest)
    }
}

impl Deref for Nearest {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.0
    }
}

impl Nearest {
    /// By what this member is near to others from now on.
    pub async fn set_profile(&self, profile: &Profile) -> Result<(), ClientError> {
        self.http().send(Method::PUT, self.asked("/profile").as_ref(), json(profile)).await.map(drop)
    }

    /// Those that are most like it, nearest first. They get better within some rounds.
    pub async fn nearest(&self) -> Result<Vec<NearView>, ClientError> {
        Ok(self.show().await?.nearest)
    }
}
