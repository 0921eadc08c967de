//! A member that lies harms nobody in whose application it has no part.
//!
//! Source: `docs/protocols/security.md`, "What is demanded". An application in which no liar is or was
//! submitter, holder or guardian runs as if there were none: no program of it is ended by its node unless the
//! application is stopped, the slot is done, or an honest node confirmed the slot elsewhere, to itself
//! included; and no honest node confirms a slot elsewhere that runs on a host of which it can hear. Watched
//! only where liars are.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_allocation::{Epoch, SlotRun, SlotState};
use xtreem_base::{AppId, Duration, Instant};

use super::partitions::Partitions;
use super::{Checker, Findings};
use crate::grid::host::HostNo;
use crate::grid::seen::Seen;

pub(super) const NAME: &str = "liars_are_harmless";

/// A recruiter whose confirm was not answered confirms the slot once more, elsewhere: at most so long after
/// the first program began.
const REPEATED: Duration = Duration::from_secs(15);

struct Running {
    host: HostNo,
    started: Instant,
}

pub(super) struct Harmless {
    partitions: Partitions,
    liars: BTreeSet<HostNo>,
    running: BTreeMap<SlotRun, Running>,
    /// Who confirmed an epoch of a slot.
    confirmed: BTreeMap<(AppId, u16), BTreeMap<Epoch, HostNo>>,
    stopped: BTreeSet<AppId>,
    /// Slots whose program ended by itself, once or more often.
    ended: BTreeSet<(AppId, u16)>,
}

impl Harmless {
    pub fn new(hosts: u32) -> Self {
        Harmless {
            partitions: Partitions::new(hosts),
            liars: BTreeSet::new(),
            running: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            stopped: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Another program of the slot begins: is there a reason for it?
    fn starts(&self, at: Instant, host: HostNo, run: &SlotRun) -> Result<(), String> {
        let slot = (run.app, run.slot);
        let recruiter = self.confirmed.get(&slot).and_then(|all| all.get(&run.epoch));
        let lower = self.running.iter().filter(|(other, _)| (other.app, other.slot) == slot);
        for (other, before) in lower.filter(|(other, _)| other.epoch < run.epoch) {
            let is_repeated = other.epoch.has_same_recruiter(&run.epoch);
            let has_cause = self.partitions.ever_faulted(before.host)
                || self.partitions.touched_since(before.host, before.started)
                || recruiter.is_none_or(|recruiter| self.partitions.was_out(*recruiter, at))
                || (is_repeated && at.since(before.started) < REPEATED);
            if !has_cause {
                return Err(format!(
                    "slot {} of {:?} starts on host {host} under {}, although it runs on host {} under {}",
                    run.slot, run.app, run.epoch, before.host, other.epoch
                ));
            }
        }
        Ok(())
    }

    /// A node ends a program: is there a reason for it?
    fn ends(&self, host: HostNo, run: &SlotRun) -> Result<(), String> {
        let slot = (run.app, run.slot);
        let newest = self.confirmed.get(&slot).and_then(|all| all.last_key_value()).map(|(epoch, _)| *epoch);
        let has_cause = self.stopped.contains(&run.app)
            || self.ended.contains(&slot)
            || newest.is_some_and(|newest| newest > run.epoch);
        let what = || format!("host {host} ends {run:?} without a cause");
        if has_cause { Ok(()) } else { Err(what()) }
    }
}

impl Checker for Harmless {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        let mut judge = |app: AppId, verdict: Result<(), String>, is_watched: bool| {
            if let Err(what) = verdict
                && is_watched
            {
                findings.add_about(app, NAME, at, what);
            }
        };
        let is_watched = !self.liars.is_empty();
        match seen {
            Seen::Liars { hosts } => self.liars.extend(hosts),
            Seen::Confirming { by, app, slot, epoch } => {
                self.confirmed.entry((*app, *slot)).or_default().entry(*epoch).or_insert(*by);
            }
            Seen::ProcessStarted { host, run } => {
                judge(run.app, self.starts(at, *host, run), is_watched);
                self.running.insert(*run, Running { host: *host, started: at });
            }
            Seen::ProcessEnded { host, run, exit, ordered } => {
                self.running.remove(run);
                if *ordered {
                    judge(run.app, self.ends(*host, run), is_watched);
                } else if exit.is_some() {
                    self.ended.insert((run.app, run.slot));
                }
            }
            Seen::SlotChanged {
                app, slot, epoch, state: SlotState::Done(_) | SlotState::Failed(_), ..
            } => {
                let is_running = |run: &&SlotRun| (run.app, run.slot) == (*app, *slot) && run.epoch <= *epoch;
                let is_over = self.ended.contains(&(*app, *slot));
                if let Some(run) = self.running.keys().find(is_running).filter(|_| !is_over) {
                    let what = format!("{run:?} counts as ended under {epoch}, and never did");
                    judge(*app, Err(what), is_watched);
                }
            }
            Seen::StopTaken { app, .. } | Seen::StopKnown { app, .. } => {
                self.stopped.insert(*app);
            }
            Seen::Fault(fault) => self.partitions.observe(at, fault),
            _ => {}
        }
    }
}
