//! Under which records each node id was heard lately. One id with two records is a restart, a change of
//! address, or two machines with one key; only the node itself can tell, so it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use xtreem_base::{Duration, Instant, NodeId};

use super::Peer;

/// Ids that are remembered; beyond it an arbitrary one is forgotten.
const IDS_MAX: usize = 4_096;

/// Two records heard within so long may be of two machines that are both alive.
const BOTH_WITHIN: Duration = Duration::from_secs(10);

/// A node is told of its other record so often at most.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Sighting {
    newest: Arc<Peer>,
    heard_at: Instant,
    /// The last other record of this id.
    other: Option<(Arc<Peer>, Instant)>,
    told_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Sightings {
    by_id: BTreeMap<NodeId, Sighting>,
}

impl Sightings {
    /// Takes note of a datagram that `peer` signed. Returns another record of the same id that its sender is
    /// to be told of; [`Self::told`] has to follow when it was.
    pub(super) fn heard(&mut self, now: Instant, peer: &Arc<Peer>, is_fresh: bool) -> Option<Arc<Peer>> {
        let id = peer.member.id();
        let Some(sighting) = self.by_id.get_mut(&id) else {
            if is_fresh {
                self.remember(id, peer.clone(), now);
            }
            return None;
        };
        let newest = &sighting.newest;
        if newest.signed_record == peer.signed_record {
            if is_fresh {
                sighting.heard_at = now;
            }
        } else if peer.record.incarnation < newest.record.incarnation {
            sighting.other = Some((peer.clone(), now));
            return Some(newest.clone()).filter(|_| sighting.may_tell(now));
        } else if is_fresh {
            let before = std::mem::replace(&mut sighting.newest, peer.clone());
            sighting.other = Some((before, sighting.heard_at));
            sighting.heard_at = now;
        } else if peer.record.incarnation == newest.record.incarnation {
            return Some(newest.clone()).filter(|_| sighting.may_tell(now));
        }
        let (other, heard_at) = sighting.other.as_ref()?;
        let is_alive = now.since(*heard_at) <= BOTH_WITHIN && other.record.addr != peer.record.addr;
        Some(other.clone()).filter(|_| is_alive && sighting.may_tell(now))
    }

    pub(super) fn told(&mut self, now: Instant, id: NodeId) {
        if let Some(sighting) = self.by_id.get_mut(&id) {
            sighting.told_at = Some(now);
        }
    }

    fn remember(&mut self, id: NodeId, newest: Arc<Peer>, heard_at: Instant) {
        if self.by_id.len() == IDS_MAX {
            self.by_id.pop_first();
        }
        self.by_id.insert(id, Sighting { newest, heard_at, other: None, told_at: None });
    }
}

impl Sighting {
    fn may_tell(&self, now: Instant) -> bool {
        self.told_at.is_none_or(|at| now.since(at) >= TOLD_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;
    use crate::identity::unix_now;
    use crate::plane::vouch;
    use xtreem_base::Digest;
    use xtreem_wire::NodeRecord;

    #[test]
    fn who_is_told_of_what() {
        let vo = VoKey::create("test").expect("a VO");
        let identity = vo.issue_node("n1", 1).expect("a node");
        let peer = |incarnation, port| {
            let addr = std::net::SocketAddr::from(([10, 0, 0, 1], port));
            let record = NodeRecord { addr, incarnation, attributes: Digest::from_bytes([0; 32]) };
            let record = record.sign(identity.key());
            Arc::new(vouch(&identity, identity.credential(), &record, unix_now()).expect("a member"))
        };
        let (first, again, moved) = (peer(5, 1), peer(6, 1), peer(5, 2));
        let elsewhere = peer(6, 2);
        // Heard at these seconds, fresh or not, and of which record the sender is told.
        type Row<'a> = (u64, &'a Arc<Peer>, bool, Option<&'a Arc<Peer>>);
        let check = |what: &str, rows: &[Row<'_>]| {
            let mut sightings = Sightings::default();
            for (row, (second, peer, is_fresh, expected)) in rows.iter().enumerate() {
                let now = Instant::from_millis(1_000 * second);
                let told = sightings.heard(now, peer, *is_fresh);
                assert_eq!(told.as_ref(), *expected, "{what}, row {row}");
                if told.is_some() {
                    sightings.told(now, peer.member.id());
                }
            }
        };
        check("a restart at the same address", &[(0, &first, true, None), (1, &again, true, None)]);
        check(
            "a lost state: the lower one is told whenever it was",
            &[(0, &again, true, None), (900, &first, false, Some(&again)), (900, &first, false, None)],
        );
        check(
            "two machines, one started later",
            &[
                (0, &first, true, None),
                (1, &elsewhere, true, Some(&first)),
                (2, &first, false, Some(&elsewhere)),
                (4, &elsewhere, true, Some(&first)),
                (99, &elsewhere, true, None),
            ],
        );
        check(
            "two machines of one incarnation",
            &[
                (0, &first, true, None),
                (1, &moved, true, Some(&first)),
                (2, &first, false, Some(&moved)),
                (3, &first, true, Some(&moved)),
            ],
        );
        check(
            "an address that changed long after the last word",
            &[(0, &first, true, None), (60, &moved, true, None)],
        );
    }
}
