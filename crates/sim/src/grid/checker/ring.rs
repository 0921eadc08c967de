//! After healing every live node has a place on the ring of all nodes, and every key one owner.
//!
//! Source: `docs/protocols/ring.md`.

use xtreem_base::Instant;

use super::{Checker, Findings};
use crate::grid::seen::{Seen, Snapshot};

pub(super) const NAME: &str = "one_ring";

pub(super) struct OneRing;

impl Checker for OneRing {
    fn observe(&mut self, _: Instant, _: &Seen, _: &mut Findings) {}

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        let outside = end.ring.iter().filter(|(_, range)| range.is_none());
        let outside: Vec<_> = outside.map(|(host, _)| *host).take(5).collect();
        if !outside.is_empty() {
            findings.add(NAME, at, format!("hosts without a place on the ring, some of them: {outside:?}"));
        }
        let mut ranges: Vec<_> =
            end.ring.iter().filter_map(|(host, range)| Some((*host, range.as_ref()?))).collect();
        ranges.sort_by(|a, b| a.1.to.cmp(&b.1.to));
        for (at_rank, (host, range)) in ranges.iter().enumerate() {
            let (before, last) = &ranges[(at_rank + ranges.len() - 1) % ranges.len()];
            if range.after != last.to {
                let is_shared = last.contains(&range.after);
                let what =
                    if is_shared { "shares keys with" } else { "leaves keys to nobody between it and" };
                findings.add(NAME, at, format!("host {host} {what} host {before}, which stands before it"));
            }
        }
    }
}
