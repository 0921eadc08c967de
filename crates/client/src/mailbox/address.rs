//! To whom a message goes, and which slot that is just now.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ClientError;
use crate::api::{KeyOwner, RankHolder};
use crate::http::{Asked, Http, escaped};

/// What was found is believed for so long when nothing is heard against it: a key gets another owner without
/// this member being told (our guess).
const BELIEVED: Duration = Duration::from_secs(5);

/// Addresses that are remembered; beyond it all are forgotten, and asked for again as they are used.
const ADDRESSES_MAX: usize = 4_096;

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum To {
    /// Whoever holds this slot: when it is replaced, its replacement.
    Slot(u16),
    /// Who has this rank, of a collection of kind `ranks` or `mesh`.
    Rank { collection: String, rank: u32 },
    /// Who stands at this place of a mesh.
    Place { collection: String, at: Vec<u32> },
    /// Who owns this key, of a collection of kind `ring` or `chord`.
    Key { collection: String, key: String },
}

impl To {
    pub fn rank(collection: impl Into<String>, rank: u32) -> To {
        To::Rank { collection: collection.into(), rank }
    }

    pub fn place(collection: impl Into<String>, at: impl Into<Vec<u32>>) -> To {
        To::Place { collection: collection.into(), at: at.into() }
    }

    pub fn key(collection: impl Into<String>, key: impl Into<String>) -> To {
        To::Key { collection: collection.into(), key: key.into() }
    }

    fn collection(&self) -> Option<&str> {
        match self {
            To::Slot(_) => None,
            To::Rank { collection, .. } | To::Place { collection, .. } | To::Key { collection, .. } => {
                Some(collection)
            }
        }
    }
}

impl From<u16> for To {
    fn from(slot: u16) -> To {
        To::Slot(slot)
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Slot(slot) => write!(f, "slot {slot}"),
            To::Rank { collection, rank } => write!(f, "rank {rank} of {collection:?}"),
            To::Place { collection, at } => write!(f, "place {at:?} of {collection:?}"),
            To::Key { collection, key } => write!(f, "the owner of {key:?} in {collection:?}"),
        }
    }
}

/// A slot, and when the agent said so.
struct Believed {
    slot: u16,
    since: Instant,
}

/// Which slots have which ranks, places and keys, as far as it was asked for.
pub(super) struct Addresses {
    http: Http,
    known: Mutex<BTreeMap<To, Believed>>,
}

impl Addresses {
    pub(super) fn new(http: Http) -> Self {
        Addresses { http, known: Mutex::default() }
    }

    /// The slot, from memory or from the agent.
    pub(super) async fn slot(&self, to: &To) -> Result<u16, ClientError> {
        if let To::Slot(slot) = to {
            return Ok(*slot);
        }
        let remembered =
            self.known().get(to).filter(|known| known.since.elapsed() < BELIEVED).map(|k| k.slot);
        if let Some(slot) = remembered {
            return Ok(slot);
        }
        let since = Instant::now();
        let slot = self.ask(to).await?;
        let mut known = self.known();
        if known.len() >= ADDRESSES_MAX {
            known.clear();
        }
        known.insert(to.clone(), Believed { slot, since });
        Ok(slot)
    }

    async fn ask(&self, to: &To) -> Result<u16, ClientError> {
        let path = |name: &str, what: &str| format!("/v1/self/collections/{}{what}", escaped(name));
        match to {
            To::Slot(slot) => Ok(*slot),
            To::Rank { collection, rank } => {
                let holder = self.http.get(&path(collection, &format!("/ranks/{rank}"))).await;
                holder.map(|RankHolder { slot, .. }| slot)
            }
            To::Place { collection, at } => {
                let at = at.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                let asked = Asked::of(path(collection, "/places")).and("at", at);
                self.http.get(asked.as_ref()).await.map(|RankHolder { slot, .. }| slot)
            }
            To::Key { collection, key } => {
                let asked = Asked::of(path(collection, "/owner")).and("key", key);
                self.http.get(asked.as_ref()).await.map(|KeyOwner { slot, .. }| slot)
            }
        }
    }

    /// A message that went there did not arrive.
    pub(super) fn forget(&self, to: &To) {
        self.known().remove(to);
    }

    /// Its numbering, or who owns what, is another one now.
    pub(super) fn forget_collection(&self, name: &str) {
        self.known().retain(|to, _| to.collection() != Some(name));
    }

    pub(super) fn forget_all(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<To, Believed>> {
        // No task can leave it half changed: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests;
