//! A stopped application stays stopped.
//!
//! Source: docs/design/allocation.md, "Records": a stopped record is final for its id and beats every running
//! one. A stop counts once a node took the record and lived on: a command of which all takers died at once is
//! a lost command, and its user has to repeat it.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_allocation::SlotRun;
use xtreem_base::{AppId, Handle, Instant};

use super::{Checker, Findings};
use crate::grid::host::{HostNo, handle_of, host_of};
use crate::grid::seen::{Fault, Seen, Snapshot};

pub(super) const NAME: &str = "stopped_stays_stopped";

#[derive(Default)]
pub(super) struct Stopped {
    /// Incarnations that have seen the stopped record, dead ones removed.
    knows: BTreeMap<AppId, BTreeSet<Handle>>,
    /// Hosts that acknowledged the stop: it is on their disks.
    stored_on: BTreeMap<AppId, BTreeSet<HostNo>>,
    issued: BTreeSet<AppId>,
    running: BTreeSet<(SlotRun, HostNo)>,
}

impl Checker for Stopped {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        match seen {
            Seen::StopTaken { app, by } => {
                self.issued.insert(*app);
                self.stored_on.entry(*app).or_default().insert(host_of(*by));
                self.knows.entry(*app).or_default().insert(*by);
            }
            Seen::StopKnown { app, host, incarnation } => {
                self.knows.entry(*app).or_default().insert(handle_of(*host, *incarnation));
            }
            Seen::StartOrdered { host, incarnation, run } => {
                let handle = handle_of(*host, *incarnation);
                let is_stored = self.stored_on.get(&run.app).is_some_and(|all| all.contains(host));
                if is_stored || self.knows.get(&run.app).is_some_and(|all| all.contains(&handle)) {
                    let what = format!("host {host} starts {run:?} although it knows that it is stopped");
                    findings.add_about(run.app, NAME, at, what);
                }
            }
            Seen::ProcessStarted { host, run } => {
                self.running.insert((*run, *host));
            }
            Seen::ProcessEnded { host, run, .. } => {
                self.running.remove(&(*run, *host));
            }
            Seen::Fault(Fault::Killed { host } | Fault::Restarted { host } | Fault::PowerLost { host }) => {
                if matches!(seen, Seen::Fault(Fault::Killed { .. })) {
                    self.stored_on.values_mut().for_each(|all| {
                        all.remove(host);
                    });
                }
                for all in self.knows.values_mut() {
                    all.retain(|handle| host_of(*handle) != *host);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, at: Instant, _: &Snapshot, findings: &mut Findings) {
        for (run, host) in &self.running {
            let is_known = self.knows.get(&run.app).is_some_and(|all| !all.is_empty())
                || self.stored_on.get(&run.app).is_some_and(|all| !all.is_empty());
            if self.issued.contains(&run.app) && is_known {
                let what = format!("host {host} still runs {run:?} after its stop");
                findings.add_about(run.app, NAME, at, what);
            }
        }
    }
}
