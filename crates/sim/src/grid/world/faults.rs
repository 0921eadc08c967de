//! Faults strike and end.

use xtreem_base::{AppId, Duration, Rng};

use super::World;
use crate::grid::host::{HostNo, Power};
use crate::grid::power::{Hit, outage};
use crate::grid::queue::{Undo, WORLD, What};
use crate::grid::schedule::{Action, Target};
use crate::grid::seen::{Fault, Seen};

impl World {
    /// The next action of the schedule.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Submit { app } => self.submit(app, 0),
            Action::Stop { app } => self.stop_app(app),
            Action::Kill(target) => {
                if let Some(host) = self.find(target) {
                    self.kill(host);
                }
            }
            Action::KillNeighbours { app, count } => {
                for host in self.neighbours(app, usize::from(count)) {
                    self.kill(host);
                }
            }
            Action::Cut(target, lasts) => {
                if let Some(host) = self.find(target).filter(|host| !self.link.is_cut(*host)) {
                    self.link.set_cut(host, true);
                    self.fault(host, Fault::Cut { host });
                    self.undo_later(host, lasts, Undo::Heal);
                }
            }
            Action::Split { smaller_percent, lasts } => {
                let mut rng = Rng::new(self.rng.next_u64());
                let parts: Vec<u8> =
                    self.hosts.iter().map(|_| u8::from(rng.chance(smaller_percent, 100))).collect();
                self.link.split(parts.clone());
                self.fault(WORLD, Fault::Split { parts });
                self.undo_later(WORLD, lasts, Undo::Merge);
            }
            Action::Pause(target, lasts) => {
                if let Some(host) = self.find(target) {
                    self.hosts[host as usize].power = Power::Paused { until: self.now + lasts };
                    self.fault(host, Fault::Paused { host });
                    self.undo_later(host, lasts, Undo::Resume);
                }
            }
            Action::Power { hit, within } => self.cut_power(hit, within),
            Action::Restart(target, lasts) => {
                if let Some(host) = self.find(target).filter(|host| self.can_restart(*host)) {
                    self.take_down(host, Power::Restarting);
                    self.fault(host, Fault::Restarted { host });
                    self.note_lost_apps();
                    self.undo_later(host, lasts, Undo::Start);
                }
            }
        }
    }

    /// All at once, each back at its own time. What the machines had is judged when all of them are down.
    fn cut_power(&mut self, hit: Hit, within: Duration) {
        self.fault(WORLD, Fault::PowerCut);
        for host in 0..self.hosts.len() as HostNo {
            let is_on = matches!(self.hosts[host as usize].power, Power::On | Power::Paused { .. });
            let is_hit = hit.hits(host, &mut self.disk_rng);
            let lasts = outage(within, &mut self.disk_rng);
            if is_hit && is_on && self.can_restart(host) {
                self.take_down(host, Power::Restarting);
                self.fault(host, Fault::PowerLost { host });
                self.undo_later(host, lasts, Undo::Start);
            }
        }
        self.note_lost_apps();
    }

    fn undo_later(&mut self, host: HostNo, lasts: Duration, undo: Undo) {
        self.queue.push(self.now + lasts, host, host, What::Undo(undo));
    }

    pub(super) fn undo(&mut self, host: HostNo, undo: Undo) {
        match undo {
            Undo::Heal => {
                self.link.set_cut(host, false);
                self.fault(host, Fault::Healed { host });
            }
            Undo::Merge => {
                self.link.split(Vec::new());
                self.fault(WORLD, Fault::Merged);
            }
            Undo::Resume => self.resume(host),
            Undo::Start => {
                if self.hosts[host as usize].power == Power::Restarting {
                    self.start(host);
                    self.trace_host(host, "agent starts");
                }
            }
        }
    }

    /// What arrived in the meantime comes before the overdue timer, as from a socket buffer.
    fn resume(&mut self, number: HostNo) {
        let host = &mut self.hosts[number as usize];
        if !matches!(host.power, Power::Paused { .. }) {
            return;
        }
        host.power = Power::On;
        let waiting = std::mem::take(&mut host.waiting);
        self.fault(number, Fault::Resumed { host: number });
        for (from, to, message) in waiting {
            self.receive(from, to, message);
        }
        self.hosts[number as usize].armed = None;
        self.arm(number);
    }

    fn kill(&mut self, host: HostNo) {
        if self.hosts[host as usize].power == Power::Dead {
            return;
        }
        self.take_down(host, Power::Dead);
        self.fault(host, Fault::Killed { host });
        self.note_lost_apps();
    }

    /// The agent's state and all processes are gone; what comes up again is another incarnation.
    fn take_down(&mut self, number: HostNo, power: Power) {
        self.note_ring_death(number);
        let host = &mut self.hosts[number as usize];
        host.node = None;
        host.power = power;
        host.incarnation = host.incarnation.saturating_add(1);
        host.armed = None;
        host.waiting.clear();
        host.disk.lose_power(self.now, &mut self.disk_rng);
        self.kill_programs(number);
    }

    /// Incarnations have 8 bits here; the last one stays free so that a handle never names two.
    fn can_restart(&self, host: HostNo) -> bool {
        self.hosts[host as usize].incarnation < u8::MAX - 1
    }

    fn fault(&mut self, host: HostNo, fault: Fault) {
        if self.trace.is_on() {
            match &fault {
                Fault::Split { parts } => {
                    let smaller = parts.iter().filter(|part| **part == 1).count();
                    super::trace::line(
                        self.now,
                        None,
                        format_args!("FAULT split, {smaller} hosts on one side"),
                    );
                }
                Fault::Merged => super::trace::line(self.now, None, "FAULT split is over"),
                Fault::PowerCut => super::trace::line(self.now, None, "FAULT power cut"),
                other => self.trace_host(host, format_args!("FAULT {other:?}")),
            }
        }
        self.see(&Seen::Fault(fault));
    }

    /// A host that runs and that the target means; hosts that are down or paused are left alone.
    fn find(&mut self, target: Target) -> Option<HostNo> {
        let candidates = match target {
            Target::AnyHost => (0..self.hosts.len() as HostNo).collect(),
            Target::Holder(shape) => self.newest_id(shape).map_or_else(Vec::new, |app| self.holders(app)),
            Target::Submitter(shape) => {
                self.newest_app(shape).map(|app| self.apps[app].submitter).into_iter().collect()
            }
        };
        let running: Vec<HostNo> =
            candidates.into_iter().filter(|host| self.hosts[*host as usize].is_running()).collect();
        self.rng.pick(&running).copied()
    }

    fn newest_id(&self, shape: usize) -> Option<AppId> {
        self.newest_app(shape).map(|app| self.apps[app].record.id)
    }

    /// Hosts of `count` neighbouring slots, from a random one upwards.
    fn neighbours(&mut self, shape: usize, count: usize) -> Vec<HostNo> {
        let Some(app) = self.newest_id(shape) else { return Vec::new() };
        let mut holders = self.holders(app);
        if holders.is_empty() {
            return holders;
        }
        let first = self.rng.below(holders.len() as u32) as usize;
        holders.rotate_left(first);
        holders.truncate(count);
        holders
    }
}
