//! No hold or allocation beyond what a node offers.
//!
//! Source: docs/design/allocation.md, "Allocation": holds come out of the node's offered cores, memory and
//! disk. Checked against what the node says of itself and against the processes that really are on the host.

use xtreem_base::Instant;

use super::{Checker, Findings};
use crate::grid::seen::Seen;

pub(super) const NAME: &str = "within_offer";

pub(super) struct Capacity;

impl Checker for Capacity {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        let Seen::Usage { host, offered, used, running } = seen else { return };
        for (whose, amount) in [("holds and allocations", used), ("processes", running)] {
            if !offered.covers(amount) {
                findings.add(NAME, at, format!("host {host}: {whose} take {amount} of {offered}"));
            }
        }
    }
}
