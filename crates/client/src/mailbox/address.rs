//! To whom a message goes, and which slot that is just now.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xtreem_messages::{Address, By, Numbering};

use super::stands::OwnStands;
use crate::ClientError;
use crate::api::{KeyOwner, RankHolder};
use crate::http::{Asked, Http, escaped};

/// What was found is believed for so long when nothing is heard against it: a key gets another owner without
/// this member being told (our guess).
pub(super) const BELIEVED: Duration = Duration::from_secs(5);

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

/// The slot that is meant just now, and what it is told of why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) slot: u16,
    pub(super) address: Option<Address>,
}

/// What was found, and when the agent said so.
struct Believed {
    target: Target,
    since: Instant,
}

/// Which slots have which ranks, places and keys, as far as it was asked for.
pub(super) struct Addresses {
    http: Http,
    known: Mutex<BTreeMap<To, Believed>>,
    /// Where this member itself stands.
    pub(super) own: OwnStands,
}

impl Addresses {
    pub(super) fn new(http: Http) -> Self {
        Addresses { own: OwnStands::new(http.clone()), http, known: Mutex::default() }
    }

    /// From memory or from the agent.
    pub(super) async fn find(&self, to: &To) -> Result<Target, ClientError> {
        if let To::Slot(slot) = to {
            return Ok(Target { slot: *slot, address: None });
        }
        let is_fresh = |known: &&Believed| known.since.elapsed() < BELIEVED;
        let remembered = self.known().get(to).filter(is_fresh).map(|known| known.target.clone());
        if let Some(target) = remembered {
            return Ok(target);
        }
        let since = Instant::now();
        let target = self.ask(to).await?;
        let mut known = self.known();
        if known.len() >= ADDRESSES_MAX {
            known.clear();
        }
        known.insert(to.clone(), Believed { target: target.clone(), since });
        Ok(target)
    }

    async fn ask(&self, to: &To) -> Result<Target, ClientError> {
        let path = |name: &str, what: &str| format!("/v1/self/collections/{}{what}", escaped(name));
        let target = |slot, collection: &str, by| {
            let address = Some(Address { collection: collection.to_owned(), by });
            Target { slot, address }
        };
        match to {
            To::Slot(slot) => Ok(Target { slot: *slot, address: None }),
            To::Rank { collection, rank } => {
                let holder: RankHolder = self.http.get(&path(collection, &format!("/ranks/{rank}"))).await?;
                let by = By::Rank { rank: *rank, numbering: numbering(&holder)? };
                Ok(target(holder.slot, collection, by))
            }
            To::Place { collection, at } => {
                let text = at.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                let asked = Asked::of(path(collection, "/places")).and("at", text);
                let holder: RankHolder = self.http.get(asked.as_ref()).await?;
                let by = By::Place { at: at.clone(), numbering: numbering(&holder)? };
                Ok(target(holder.slot, collection, by))
            }
            To::Key { collection, key } => {
                let asked = Asked::of(path(collection, "/owner")).and("key", key);
                let owner: KeyOwner = self.http.get(asked.as_ref()).await?;
                Ok(target(owner.slot, collection, By::Key { key: key.clone() }))
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
        self.own.forget(name);
    }

    pub(super) fn forget_all(&self) {
        self.known().clear();
        self.own.forget_all();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<To, Believed>> {
        // No task can leave it half changed: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn numbering(holder: &RankHolder) -> Result<Numbering, ClientError> {
    let read = holder.numbering.parse::<Numbering>();
    read.map_err(|error| ClientError::Malformed { reason: error.to_string(), is_read: true })
}

#[cfg(test)]
pub(super) mod tests;
