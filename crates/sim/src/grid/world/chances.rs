//! Whether anybody could give an application the processes that it lacks: a small grid may have no room for
//! them, or nobody left who may recruit. What is judged is what could have been done.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{AppId, Instant};
use xtreem_discovery::{AppSummary, Role};

use super::World;
use crate::grid::apps::{App, Stop};
use crate::grid::host::{Host, HostNo};
use crate::grid::process::State;
use crate::grid::seen::Behaviour;

/// An application that lacks a process which somebody could give it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    /// Since when that is so, or since when no further slot of it came: where slot after slot comes back, it
    /// goes on.
    pub since: Instant,
    /// Most slots that ran meanwhile.
    most: usize,
}

pub(super) type Chances = BTreeMap<AppId, Chance>;

impl World {
    /// Looks at every application that lacks a process.
    pub(super) fn sample_chances(&mut self) {
        let short = self.short_apps();
        self.chances.retain(|app, _| short.iter().any(|(number, _)| self.apps[*number].record.id == *app));
        if short.is_empty() {
            return;
        }
        let served = self.served();
        for (number, runs) in short {
            let id = self.apps[number].record.id;
            let fresh = Chance { since: self.now, most: runs };
            if !served.contains(&id) || !self.has_room(number) {
                self.chances.remove(&id);
            } else if self.chances.get(&id).is_none_or(|chance| chance.most < runs) {
                self.chances.insert(id, fresh);
            }
        }
    }

    /// Applications with fewer processes than slots, and how many they have; those aside of which none is
    /// asked.
    fn short_apps(&self) -> Vec<(usize, usize)> {
        let mut running: BTreeMap<AppId, BTreeSet<u16>> = BTreeMap::new();
        for process in self.live.iter().map(|number| &self.processes[*number]) {
            if process.state == State::Running {
                running.entry(process.run.app).or_default().insert(process.run.slot);
            }
        }
        let lacking = |(number, app): (usize, &App)| {
            let runs = running.get(&app.record.id).map_or(0, BTreeSet::len);
            let is_asked = app.is_accepted && !app.is_lost && app.stop != Stop::Taken;
            (is_asked && runs < usize::from(app.record.slots)).then_some((number, runs))
        };
        self.apps.iter().enumerate().filter_map(lacking).collect()
    }

    /// Applications of which somebody may recruit: a holder that is not cut off, or, where no holder is left,
    /// such a guardian.
    fn served(&self) -> BTreeSet<AppId> {
        let (mut held, mut served, mut guarded) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let running = self.hosts.iter().filter(|host| host.is_running());
        for node in running.filter_map(|host| host.node.as_ref()) {
            let is_connected = !node.status().is_cut_off;
            for app in node.apps(self.now) {
                match (app.role, is_connected) {
                    (Role::Holder, true) => _ = served.insert(app.id),
                    (Role::Holder, false) => _ = held.insert(app.id),
                    (Role::Guardian, true) => _ = guarded.insert(app.id),
                    (Role::Guardian, false) | (Role::Former, _) => {}
                }
            }
        }
        served.extend(guarded.difference(&held).copied());
        served
    }

    /// Whether some host matches, has room for one more slot, and none of the application if that matters.
    fn has_room(&self, number: usize) -> bool {
        let app = &self.apps[number];
        let shape = &self.schedule.apps[app.shape];
        let takes = |(at, host): (usize, &Host)| {
            let Some(node) = host.node.as_ref().filter(|_| host.is_running()) else { return false };
            let status = node.status();
            // Between two of its failures a broken program is no process, and its slot stays all the same.
            let holds = |here: &AppSummary| here.id == app.record.id && here.role == Role::Holder;
            let pauses = app.behaviour == Behaviour::Broken && node.apps(self.now).iter().any(holds);
            status.offered.covers(&status.used.plus(&app.resources))
                && shape.requirement.of_each().matches(&host.attributes)
                && (shape.colocate || !(pauses || self.has_process(at as HostNo, app.record.id)))
        };
        self.hosts.iter().enumerate().any(takes)
    }

    fn has_process(&self, host: HostNo, app: AppId) -> bool {
        let processes = self.live.iter().map(|number| &self.processes[*number]);
        processes.into_iter().any(|process| process.host == host && process.run.app == app)
    }

    /// Slots that some live node knows as done or failed.
    pub(super) fn over_slots(&self, app: AppId, slots: u16) -> BTreeSet<u16> {
        let nodes: Vec<_> = self.nodes().collect();
        (0..slots).filter(|slot| nodes.iter().any(|node| node.is_over(app, *slot))).collect()
    }

    /// Hosts that say that they are cut off, the size of their reference sets, and how many of these run.
    pub(super) fn cut_off(&self) -> Vec<(HostNo, usize, usize)> {
        let mut found = Vec::new();
        for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.is_running()) {
            let Some(node) = host.node.as_ref().filter(|node| node.status().is_cut_off) else { continue };
            let set = node.reference_set();
            let runs = |peer: &&xtreem_base::Handle| {
                let at = crate::grid::host::host_of(**peer);
                let peer_host = &self.hosts[at as usize];
                peer_host.is_running() && peer_host.handle(at) == **peer
            };
            found.push((number as HostNo, set.len(), set.iter().filter(runs).count()));
        }
        found
    }
}
