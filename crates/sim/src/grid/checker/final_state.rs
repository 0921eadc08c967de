//! 30 s after the faults stop exactly one process runs for each slot that is neither done nor failed, and it
//! is the one with the highest epoch ever started.
//!
//! Source: docs/design/allocation.md, "What is judged in the simulator". Applications count that were
//! accepted, were not stopped and were never without a live holder or guardian. An epoch that started behind
//! a partition, or less than [`LEARN`] before its host died, may have died unknown; it is no rival then.
//! Neither is one that all who had heard of it took along into death, when all others who know the slot were
//! out of their reach since it started. A slot may wait for files that no live host has, once a holder of its
//! application has looked for them in vain, and no higher epoch ran meanwhile. It may be without a process
//! when nobody had the chance, for [`CHANCE`] without a break, to give it one: no host has room, or all its
//! holders and guardians are cut off.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_allocation::{Epoch, Exit, SlotState};
use xtreem_base::{AppId, Duration, Instant};

use super::partitions::Partitions;
use super::{Checker, Findings};
use crate::grid::host::HostNo;
use crate::grid::seen::{AppFacts, Behaviour, Fault, Seen, Snapshot};

pub(super) const NAME: &str = "one_process_per_slot";

/// Time after its start in which an epoch becomes known to watchers under loss: a few announcements.
const LEARN: Duration = Duration::from_secs(5);
/// Enough to notice a loss, to wait one's turn, to search twice and to start: most of the time to heal.
const CHANCE: Duration = Duration::from_secs(25);
/// Failures after which a slot is failed (docs/design/allocation.md, "Failures of a program").
const FAILURES: u32 = 5;

#[derive(Debug)]
struct Run {
    host: HostNo,
    started: Instant,
    is_running: bool,
    /// Ended with exit 0.
    is_done: bool,
    /// Its node had asked for the last end.
    was_ordered: bool,
    failures: u32,
    died_unknown: bool,
}

#[derive(Debug, Default)]
struct Slot {
    runs: BTreeMap<Epoch, Run>,
    /// Epochs that some node called failed.
    failed: BTreeSet<Epoch>,
    /// The highest epoch whose host found no live source of the files, while no higher one ran.
    without_files: Option<Epoch>,
    /// Live hosts that have heard of each epoch.
    heard: BTreeMap<Epoch, BTreeSet<HostNo>>,
    /// Epochs of which nobody can hear any more.
    forgotten: BTreeSet<Epoch>,
}

pub(super) struct FinalState {
    partitions: Partitions,
    slots: BTreeMap<(AppId, u16), Slot>,
    stopped: BTreeSet<AppId>,
}

impl FinalState {
    pub fn new(hosts: u32) -> Self {
        let partitions = Partitions::new(hosts);
        FinalState { partitions, slots: BTreeMap::new(), stopped: BTreeSet::new() }
    }

    fn host_died(&mut self, at: Instant, dead: HostNo) {
        let partitions = &self.partitions;
        for run in self.slots.values_mut().flat_map(|slot| slot.runs.values_mut()) {
            let is_young = at.since(run.started) < LEARN;
            let is_hidden = is_young || partitions.touched_since(dead, run.started);
            run.died_unknown |= run.host == dead && is_hidden && !run.is_done && !run.was_ordered;
        }
    }

    /// What the host knew is gone for good.
    fn host_is_forgotten(&mut self, dead: HostNo) {
        let partitions = &self.partitions;
        for slot in self.slots.values_mut() {
            let was_told = slot.heard.iter_mut().filter_map(|(epoch, by)| by.remove(&dead).then_some(*epoch));
            let was_told: Vec<Epoch> = was_told.collect();
            let partners: BTreeSet<HostNo> = slot.heard.values().flatten().copied().collect();
            for epoch in was_told.into_iter().filter(|epoch| slot.heard[epoch].is_empty()) {
                let started = slot.runs.get(&epoch).map(|run| run.started);
                let is_away = |since| partners.iter().all(|host| partitions.was_away_since(*host, since));
                if started.is_some_and(is_away) {
                    slot.forgotten.insert(epoch);
                }
            }
        }
    }
}

impl Checker for FinalState {
    fn observe(&mut self, at: Instant, seen: &Seen, _: &mut Findings) {
        match seen {
            Seen::ProcessStarted { host, run } => {
                let slot = self.slots.entry((run.app, run.slot)).or_default();
                let known = slot.runs.entry(run.epoch).or_insert_with(|| Run::new(*host, at));
                known.host = *host;
                known.is_running = true;
                // The files were found after all.
                slot.without_files = slot.without_files.filter(|epoch| *epoch > run.epoch);
            }
            Seen::ProcessEnded { run, exit, ordered, .. } => {
                let slot = self.slots.entry((run.app, run.slot)).or_default();
                if let Some(known) = slot.runs.get_mut(&run.epoch) {
                    known.is_running = false;
                    known.was_ordered = *ordered;
                    known.is_done |= *exit == Some(Exit::Code(0));
                    known.failures += u32::from(exit.is_some_and(|exit| !exit.is_success()) && !ordered);
                }
            }
            Seen::FilesLost { run } => {
                let slot = self.slots.entry((run.app, run.slot)).or_default();
                // Where a higher epoch runs its host has found them, and this one yields.
                let is_beaten = |(epoch, other): (&Epoch, &Run)| other.is_running && *epoch > run.epoch;
                if !slot.runs.iter().any(is_beaten) {
                    slot.without_files = slot.without_files.max(Some(run.epoch));
                }
            }
            Seen::SlotChanged { by, app, slot, epoch, state, .. } => {
                let slot = self.slots.entry((*app, *slot)).or_default();
                slot.heard.entry(*epoch).or_default().insert(*by);
                slot.forgotten.remove(epoch);
                if matches!(state, SlotState::Failed(_)) {
                    slot.failed.insert(*epoch);
                }
            }
            Seen::StopTaken { app, .. } | Seen::StopKnown { app, .. } => {
                self.stopped.insert(*app);
            }
            Seen::Fault(fault) => {
                if let Fault::Killed { host } | Fault::Restarted { host } | Fault::PowerLost { host } = fault
                {
                    self.host_died(at, *host);
                }
                if let Fault::Killed { host } = fault {
                    self.host_is_forgotten(*host);
                }
                self.partitions.observe(at, fault);
            }
            _ => {}
        }
    }

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        let counts = |app: &&AppFacts| app.is_accepted && !app.is_lost && !self.stopped.contains(&app.app);
        for app in end.apps.iter().filter(counts) {
            let has_looked =
                self.slots.iter().any(|((id, _), slot)| *id == app.app && slot.without_files.is_some());
            for number in 0..app.slots {
                let none = Slot::default();
                let slot = self.slots.get(&(app.app, number)).unwrap_or(&none);
                let had_chance = app.chance_since.is_some_and(|since| at.since(since) >= CHANCE);
                match slot.judge(number, app, has_looked) {
                    Ok(()) => {}
                    Err(Wrong::Missing(_)) if !had_chance => {}
                    Err(Wrong::Missing(what) | Wrong::Present(what)) => {
                        let what = format!("slot {number} of {:?}: {what}", app.app);
                        findings.add_about(app.app, NAME, at, what);
                    }
                }
            }
        }
    }
}

impl Run {
    fn new(host: HostNo, started: Instant) -> Self {
        Run {
            host,
            started,
            is_running: false,
            is_done: false,
            was_ordered: false,
            failures: 0,
            died_unknown: false,
        }
    }
}

impl Run {
    /// Done, or failed as often as makes a slot failed.
    fn has_ended(&self) -> bool {
        self.is_done || self.failures >= FAILURES
    }
}

/// What is wrong with a slot.
enum Wrong {
    /// No process runs.
    Missing(String),
    /// A wrong one does, or several do.
    Present(String),
}

impl Slot {
    fn judge(&self, number: u16, app: &AppFacts, has_looked: bool) -> Result<(), Wrong> {
        let running: Vec<_> = self.runs.iter().filter(|(_, run)| run.is_running).collect();
        // It came to its end under some epoch, perhaps behind a partition while others started it again, and
        // somebody is there who tells.
        if running.is_empty() && app.over.contains(&number) && self.runs.values().any(Run::has_ended) {
            return Ok(());
        }
        if running.is_empty() && has_looked && app.files_on.is_empty() {
            return Ok(());
        }
        let is_gone = |epoch, run: &Run| run.died_unknown || self.forgotten.contains(epoch);
        let mut rivals = self.runs.iter().filter(|(epoch, run)| run.is_running || !is_gone(epoch, run));
        let newest = rivals.next_back();
        if running.is_empty()
            && self.without_files >= newest.map(|(top, _)| *top)
            && self.without_files.is_some()
        {
            let what = format!("has no files, although live hosts have them: {:?}", app.files_on);
            return Err(Wrong::Present(what));
        }
        let Some((top, newest)) = newest else {
            // Its last host died, but the slot was at its end before that.
            if running.is_empty() && self.runs.values().any(Run::has_ended) {
                return Ok(());
            }
            return Err(Wrong::Missing(format!(
                "nothing runs; {} epochs were started, and nobody knows of them",
                self.runs.len()
            )));
        };
        match running[..] {
            [] if self.may_rest(*top, newest, app.behaviour) => Ok(()),
            [] => Err(Wrong::Missing(format!("nothing runs; the last was {top} on host {}", newest.host))),
            [(epoch, _)] if epoch == top => Ok(()),
            [_] if newest.is_done => Ok(()),
            [(epoch, run)] => Err(Wrong::Present(format!(
                "{epoch} runs on host {} although {top} was started on host {}",
                run.host, newest.host
            ))),
            _ => Err(Wrong::Present(format!(
                "{} processes run: {}",
                running.len(),
                running
                    .iter()
                    .map(|(epoch, run)| format!("{epoch} on host {} ", run.host))
                    .collect::<String>()
            ))),
        }
    }

    /// Whether the slot may be without a process: done, failed, or between two of the failures that a broken
    /// program has all the time.
    fn may_rest(&self, top: Epoch, newest: &Run, behaviour: Behaviour) -> bool {
        let is_done_elsewhere = newest.was_ordered && self.runs.values().any(|run| run.is_done);
        newest.has_ended()
            || is_done_elsewhere
            || self.failed.iter().any(|epoch| *epoch >= top)
            || behaviour == Behaviour::Broken
    }
}
