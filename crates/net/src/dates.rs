//! Whose dates this machine's clock refuses: when that is everybody, it is the clock that is wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xtreem_base::NodeId;
use xtreem_wire::CredentialError;

/// Nodes that are remembered; beyond it an arbitrary one is forgotten, as two of them say as much.
const NODES_MAX: usize = 64;

/// A node that was not heard for so long says nothing any more (our guess: addresses to join by are dialled
/// every half minute).
const HEARD_MAX: Duration = Duration::from_secs(600);

/// Nodes of this VO that were heard while none was believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutOfDate {
    /// Their credentials have expired, by this machine's clock.
    pub expired: usize,
    /// Their credentials are not valid yet.
    pub early: usize,
}

/// Nodes whose credentials are out of date, since one was last believed.
#[derive(Debug, Default)]
pub(crate) struct Dates(Mutex<BTreeMap<NodeId, Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    is_early: bool,
    at: Instant,
}

impl Dates {
    /// The dates of a node's credential were refused; other errors say nothing of the clock.
    pub(crate) fn refused(&self, node: NodeId, why: CredentialError, at: Instant) {
        let is_early = match why {
            CredentialError::Expired { .. } => false,
            CredentialError::NotYetValid { .. } => true,
            _ => return,
        };
        let mut seen = self.lock();
        if seen.len() >= NODES_MAX && !seen.contains_key(&node) {
            seen.pop_first();
        }
        seen.insert(node, Seen { is_early, at });
    }

    /// A node was believed, dates and all.
    pub(crate) fn believed(&self) {
        self.lock().clear();
    }

    pub(crate) fn read(&self, now: Instant) -> OutOfDate {
        let mut found = OutOfDate::default();
        for seen in self.lock().values().filter(|seen| now.duration_since(seen.at) < HEARD_MAX) {
            if seen.is_early {
                found.early += 1;
            } else {
                found.expired += 1;
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seen>> {
        // No task can leave the map half changed: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    #[test]
    fn nodes_count_once_until_one_is_believed_or_they_are_silent() {
        let (dates, start) = (Dates::default(), Instant::now());
        let (expired, early) =
            (CredentialError::Expired { not_after: 1 }, CredentialError::NotYetValid { not_before: 9 });
        for _ in 0..3 {
            dates.refused(node(1), expired, start);
        }
        dates.refused(node(2), early, start + HEARD_MAX / 2);
        dates.refused(node(3), CredentialError::BadSignature, start);
        assert_eq!(dates.read(start), OutOfDate { expired: 1, early: 1 });
        assert_eq!(dates.read(start + HEARD_MAX), OutOfDate { expired: 0, early: 1 });
        dates.believed();
        assert_eq!(dates.read(start), OutOfDate::default());
        for number in 0..2 * NODES_MAX as u64 {
            dates.refused(node(number), expired, start);
        }
        assert_eq!(dates.read(start).expired, NODES_MAX);
    }
}
