//! The end of a run: what is left, and what it is judged by.

use xtreem_base::AppId;
use xtreem_discovery::{AppSummary, Role};

use super::World;
use crate::grid::apps::Stop;
use crate::grid::host::{Host, HostNo, Power};
use crate::grid::process::State;
use crate::grid::report::{Report, machine};
use crate::grid::schedule::RUN_END;
use crate::grid::seen::{AppFacts, Snapshot};
use crate::grid::trace;

impl World {
    /// Marks the applications that no live node holds or guards any more.
    pub(super) fn note_lost_apps(&mut self) {
        for number in 0..self.apps.len() {
            let app = &self.apps[number];
            if !app.is_accepted || app.is_lost {
                continue;
            }
            let id = app.record.id;
            let saves = |app: &AppSummary| app.id == id && matches!(app.role, Role::Holder | Role::Guardian);
            let knows = |host: &Host| {
                let is_in_memory =
                    host.node.as_ref().is_some_and(|node| node.apps(self.now).iter().any(saves));
                is_in_memory || (host.power != Power::Dead && host.disk.has(id))
            };
            if !self.hosts.iter().any(knows) {
                self.trace_app(id, None, "is LOST: nobody is left who holds or guards it");
                self.apps[number].is_lost = true;
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let views = self.hosts.iter().enumerate().filter_map(|(number, host)| {
            let node = host.node.as_ref().filter(|_| !self.liars.has(number as HostNo))?;
            Some((host.handle(number as HostNo), node.contacts()))
        });
        let apps = self.apps.iter().map(|app| AppFacts {
            app: app.record.id,
            slots: app.record.slots,
            behaviour: app.behaviour,
            is_accepted: app.is_accepted,
            files_on: self.hosts_with_files(app.record.id),
            is_lost: app.is_lost,
            over: self.over_slots(app.record.id, app.record.slots),
            chance_since: self.chances.get(&app.record.id).map(|chance| chance.since),
        });
        let ring = self.hosts.iter().enumerate().filter_map(|(number, host)| {
            let node = host.node.as_ref().filter(|_| host.is_running())?;
            let lease = node.ring().lease().filter(|lease| lease.is_valid(host.clock.local(self.now)));
            Some((number as HostNo, lease.map(|lease| lease.range().clone())))
        });
        Snapshot {
            views: views.collect(),
            apps: apps.collect(),
            cut_off: self.cut_off(),
            ring: ring.collect(),
            puts: self.puts_at_their_owners(),
        }
    }

    fn hosts_with_files(&self, app: AppId) -> Vec<HostNo> {
        let has = |(_, host): &(usize, &Host)| host.is_running() && host.files.contains(&app);
        self.hosts.iter().enumerate().filter(has).map(|(number, _)| number as HostNo).collect()
    }

    /// Judges the end and writes the report.
    pub(super) fn finish(mut self) -> Report {
        let end = self.snapshot();
        let is_over = self.now >= RUN_END;
        for checker in self.checkers.iter_mut().filter(|_| is_over) {
            checker.finish(self.now, &end, &mut self.findings);
        }
        self.findings.leave_out_the_excused();
        if self.trace.is_on() {
            for violation in &self.findings.list {
                trace::line(
                    self.now,
                    None,
                    format_args!("VIOLATION {}: {}", violation.checker, violation.what),
                );
            }
        }
        self.digest.add(self.messages);
        self.digest.add(self.findings.list.len() as u64);
        let running: std::collections::BTreeSet<_> = self
            .live
            .iter()
            .map(|number| &self.processes[*number])
            .filter(|process| process.state == State::Running)
            .map(|process| (process.run.app, process.run.slot))
            .collect();
        self.replaced_ms.sort_unstable();
        let count = |is: fn(&crate::grid::apps::App) -> bool| self.apps.iter().filter(|app| is(app)).count();
        let is_false_failure =
            |violation: &&crate::grid::Violation| violation.checker == crate::grid::checker::FALSE_FAILURES;
        let cpu_seconds = machine::thread_cpu_seconds() - self.cpu_start;
        let rss_bytes = machine::resident_bytes();
        let rounds = self.now.as_micros() as f64 / self.config.membership.period.as_micros() as f64;
        let node_rounds = rounds * self.hosts.len() as f64;
        Report {
            ok: self.findings.list.is_empty(),
            false_failures: self.findings.list.iter().filter(is_false_failure).count() as u32,
            accepted: count(|app| app.is_accepted) as u32,
            stopped: count(|app| app.stop == Stop::Taken) as u32,
            lost: count(|app| app.is_lost) as u32,
            slots_running: running.len() as u32,
            replaced: self.replaced_ms.len() as u32,
            replacement_ms_p50: percentile(&self.replaced_ms, 50),
            replacement_ms_p99: percentile(&self.replaced_ms, 99),
            replacement_ms_max: percentile(&self.replaced_ms, 100),
            forged: self.forged,
            messages: self.messages,
            events: self.events,
            liars: self.liars.hosts().len() as u32,
            lies: self.liars.lies,
            entrusted: self.findings.excused(),
            virtual_ms: self.now.as_millis(),
            cpu_seconds,
            events_per_cpu_second: (self.events as f64 / cpu_seconds.max(1e-9)) as u64,
            rss_bytes,
            bytes_per_node: rss_bytes.saturating_sub(self.resident_start) / self.hosts.len() as u64,
            bytes_sent_per_node_round: (self.sizes.total() as f64 / node_rounds.max(1e-9)) as u64,
            digest: self.digest.to_string(),
            violations: self.findings.list,
            violations_dropped: self.findings.dropped,
            ..self.report
        }
    }
}

/// The value that `percent` of a sorted list do not exceed; zero of an empty one.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members_of_the_list() {
        let list: Vec<u64> = (1..=200).collect();
        for (percent, expected) in [(50, 100), (99, 198), (100, 200)] {
            assert_eq!(percentile(&list, percent), expected);
        }
        assert_eq!((percentile(&[], 50), percentile(&[7], 99)), (0, 7));
    }
}
