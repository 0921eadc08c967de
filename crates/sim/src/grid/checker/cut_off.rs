//! After healing nobody takes itself for cut off of whose reference set half runs.
//!
//! Source: `docs/protocols/membership.md`, "Limits": a node counts as cut off that hears fewer than half of
//! its reference set, which it asks every second until half of this very set answers again.

use xtreem_base::Instant;

use super::{Checker, Findings};
use crate::grid::seen::{Seen, Snapshot};

pub(super) const NAME: &str = "cut_off_ends";

pub(super) struct CutOff;

impl Checker for CutOff {
    fn observe(&mut self, _: Instant, _: &Seen, _: &mut Findings) {}

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        for (host, size, running) in end.cut_off.iter().filter(|(_, size, running)| 2 * running >= *size) {
            let what =
                format!("host {host} says that it is cut off, yet {running} of its {size} contacts run");
            findings.add(NAME, at, what);
        }
    }
}
