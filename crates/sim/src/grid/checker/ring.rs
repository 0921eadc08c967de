//! After healing every live node has a place on the ring of all nodes, and every key one owner.
//!
//! When half of the nodes lost their power a while before, the ring forms anew, and only that nobody shares
//! keys is judged. Source: `docs/protocols/ring.md`.

use xtreem_base::{Duration, Instant};

use super::{Checker, Findings};
use crate::grid::seen::{Fault, Seen, Snapshot};

pub(super) const NAME: &str = "one_ring";

/// A ring of 60 nodes that start at once is whole after a minute.
const FORMATION: Duration = Duration::from_secs(90);

#[derive(Default)]
pub(super) struct OneRing {
    /// When a node lost its power.
    outages: Vec<Instant>,
}

impl Checker for OneRing {
    fn observe(&mut self, at: Instant, seen: &Seen, _: &mut Findings) {
        if let Seen::Fault(Fault::PowerLost { .. }) = seen {
            self.outages.push(at);
        }
    }

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        let outside = end.ring.iter().filter(|(_, range)| range.is_none());
        let outside: Vec<_> = outside.map(|(host, _)| *host).take(5).collect();
        let lately = self.outages.iter().filter(|outage| **outage + FORMATION > at).count();
        let is_forming = 2 * lately >= end.ring.len();
        if !outside.is_empty() && !is_forming {
            findings.add(NAME, at, format!("hosts without a place on the ring, some of them: {outside:?}"));
        }
        let mut ranges: Vec<_> =
            end.ring.iter().filter_map(|(host, range)| Some((*host, range.as_ref()?))).collect();
        ranges.sort_by(|a, b| a.1.to.cmp(&b.1.to));
        for (at_rank, (host, range)) in ranges.iter().enumerate() {
            let (before, last) = &ranges[(at_rank + ranges.len() - 1) % ranges.len()];
            if range.after != last.to {
                let is_shared = last.contains(&range.after);
                if is_forming && !is_shared {
                    continue;
                }
                let what =
                    if is_shared { "shares keys with" } else { "leaves keys to nobody between it and" };
                findings.add(NAME, at, format!("host {host} {what} host {before}, which stands before it"));
            }
        }
    }
}
