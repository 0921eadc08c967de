//! Where this member itself stands, as far as its agent has told: whether messages by rank and place that
//! others send here are for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use xtreem_messages::{Address, By, Misaddressed, Numbering, Stands};

use super::address::BELIEVED;
use crate::api::{COLLECTIONS_MAX, CollectionReply};
use crate::http::{Http, escaped};

/// What the agent said of one collection, and when it was asked.
struct Known {
    stands: Option<(Option<u32>, Numbering)>,
    at: Option<Vec<u32>>,
    since: Instant,
}

impl Known {
    fn judge(&self, address: &Address) -> Result<(), Misaddressed> {
        let at = self.at.as_deref();
        address.is_for(self.stands.map(|(rank, numbering)| Stands { rank, numbering, at }))
    }
}

/// Of each collection of this member that somebody sent to.
pub(super) struct OwnStands {
    http: Http,
    known: Mutex<BTreeMap<String, Known>>,
    /// One asks at a time: its answer is good for all that wait.
    asking: tokio::sync::Mutex<()>,
}

impl OwnStands {
    pub(super) fn new(http: Http) -> Self {
        OwnStands { http, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Whether a message by this address is for this member: from memory if it is, and otherwise from the
    /// agent, as what is remembered may be old.
    pub(super) async fn check(&self, address: &Address) -> Result<(), Misaddressed> {
        if let By::Key { .. } = address.by {
            return Ok(());
        }
        let came = Instant::now();
        if self.remembered(address, |since| came.duration_since(since) < BELIEVED) == Some(Ok(())) {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        if let Some(verdict) = self.remembered(address, |since| since >= came) {
            return verdict;
        }
        let known = self.ask(&address.collection).await?;
        let verdict = known.judge(address);
        let mut all = self.known();
        // Others than this slot's own are not known to the agent.
        if all.len() >= COLLECTIONS_MAX {
            all.clear();
        }
        all.insert(address.collection.clone(), known);
        verdict
    }

    fn remembered(
        &self,
        address: &Address,
        is_fresh: impl Fn(Instant) -> bool,
    ) -> Option<Result<(), Misaddressed>> {
        let all = self.known();
        let known = all.get(&address.collection).filter(|known| is_fresh(known.since));
        known.map(|known| known.judge(address))
    }

    async fn ask(&self, collection: &str) -> Result<Known, Misaddressed> {
        let since = Instant::now();
        let path = format!("/v1/self/collections/{}", escaped(collection));
        match self.http.get::<CollectionReply>(&path).await {
            Ok(reply) => {
                let stands = reply.standing.and_then(|it| Some((it.rank, it.numbering.parse().ok()?)));
                Ok(Known { stands, at: reply.place.map(|place| place.at), since })
            }
            Err(error) if error.status() == Some(404) => Err(Misaddressed::NoMember),
            Err(_) => Err(Misaddressed::NotKnown),
        }
    }

    pub(super) fn forget(&self, collection: &str) {
        self.known().remove(collection);
    }

    pub(super) fn forget_all(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // No task can leave it half changed: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
