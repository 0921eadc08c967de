//! Without a partition, two running processes of one slot overlap at most 5 s; a paused one does not count.
//!
//! Source: docs/design/allocation.md, "Yielding": when both meet, the lower epoch stops its process first. A
//! pair is excused when, at any time since the older of the two started, one of their hosts was cut or the
//! network split (with the tail of `partitions`).

use std::collections::BTreeMap;

use xtreem_allocation::SlotRun;
use xtreem_base::{AppId, Duration, Instant};

use super::partitions::Partitions;
use super::{Checker, Findings};
use crate::grid::host::HostNo;
use crate::grid::seen::{Seen, Snapshot};

pub(super) const NAME: &str = "overlap_at_most_5s";
const OVERLAP_MAX: Duration = Duration::from_secs(5);

struct Process {
    host: HostNo,
    run: SlotRun,
    started: Instant,
}

struct Pair {
    runs: [SlotRun; 2],
    together: Duration,
    is_reported: bool,
}

pub(super) struct Overlap {
    partitions: Partitions,
    running: BTreeMap<(AppId, u16), Vec<Process>>,
    pairs: Vec<Pair>,
    last: Instant,
}

impl Overlap {
    pub fn new(hosts: u32) -> Self {
        let partitions = Partitions::new(hosts);
        Overlap { partitions, running: BTreeMap::new(), pairs: Vec::new(), last: Instant::ZERO }
    }

    /// Adds the time since the last look to every pair that ran through it.
    fn advance(&mut self, at: Instant, findings: &mut Findings) {
        let passed = at.since(self.last);
        if passed == Duration::ZERO || self.pairs.is_empty() {
            self.last = at;
            return;
        }
        self.last = at;
        for pair in &mut self.pairs {
            let slot = (pair.runs[0].app, pair.runs[0].slot);
            let find = |run| self.running.get(&slot).and_then(|all| all.iter().find(|p| p.run == run));
            let (Some(a), Some(b)) = (find(pair.runs[0]), find(pair.runs[1])) else { continue };
            if self.partitions.is_paused(a.host) || self.partitions.is_paused(b.host) {
                continue;
            }
            let since = a.started.min(b.started);
            if self.partitions.touched_since(a.host, since) || self.partitions.touched_since(b.host, since) {
                continue;
            }
            pair.together = pair.together + passed;
            if pair.together > OVERLAP_MAX && !pair.is_reported {
                pair.is_reported = true;
                let what = format!(
                    "slot {} of {:?} runs on host {} ({}) and on host {} ({}) for {}",
                    slot.1, slot.0, a.host, a.run.epoch, b.host, b.run.epoch, pair.together
                );
                findings.add_about(slot.0, NAME, at, what);
            }
        }
    }
}

impl Checker for Overlap {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        self.advance(at, findings);
        match seen {
            Seen::ProcessStarted { host, run } => {
                let here = self.running.entry((run.app, run.slot)).or_default();
                for other in here.iter() {
                    let runs = [other.run, *run];
                    if !self.pairs.iter().any(|pair| pair.runs == runs) {
                        self.pairs.push(Pair { runs, together: Duration::ZERO, is_reported: false });
                    }
                }
                here.push(Process { host: *host, run: *run, started: at });
            }
            Seen::ProcessEnded { host, run, .. } => {
                if let Some(here) = self.running.get_mut(&(run.app, run.slot)) {
                    here.retain(|process| (process.host, process.run) != (*host, *run));
                }
            }
            Seen::Fault(fault) => self.partitions.observe(at, fault),
            _ => {}
        }
    }

    fn finish(&mut self, at: Instant, _: &Snapshot, findings: &mut Findings) {
        self.advance(at, findings);
    }
}
