//! Liars among the members speak, and what they were entrusted with is noted.

use xtreem_allocation::{Epoch, Kept, Message as Allocating, Role};
use xtreem_base::{AppId, Handle, NodeId};
use xtreem_discovery::{AppFilter, Query, Requirement, SearchSpec, SetQuery};
use xtreem_node::Message;

use super::World;
use crate::grid::faults::FaultKind;
use crate::grid::host::{HostNo, host_of, node_id};
use crate::grid::liar::{CROWDED, Liars};
use crate::grid::process::State;
use crate::grid::queue::What;
use crate::grid::schedule::{FAULTS_BEGIN, FAULTS_END};
use crate::grid::seen::Seen;

impl World {
    /// Chooses who lies, from the first fault to the last.
    pub(super) fn set_liars(&mut self, faults: crate::grid::Faults) {
        if !faults.has(FaultKind::Liar) {
            return;
        }
        self.liars = Liars::draw(self.seed, self.hosts.len() as u32);
        for host in self.liars.hosts().to_vec() {
            let at = FAULTS_BEGIN + self.liars.pause();
            self.queue.push(at, host, host, What::Lie);
        }
        self.see(&Seen::Liars { hosts: self.liars.hosts().to_vec() });
    }

    /// What a node says, on its way out.
    pub(super) fn utter(&mut self, from: Handle, to: Handle, message: Message) {
        if !self.liars.has(host_of(from)) {
            self.note_entrusted(from, to, &message);
            self.liars.overhear(&message);
            return self.send(from, to, message);
        }
        if !self.is_time_to_lie() {
            return self.send(from, to, message);
        }
        let holders = self.holders_of_any();
        if self.liars.chance(1, 16)
            && let Some(other) = self.liars.pick(&holders)
        {
            self.send(from, other, message.clone());
        }
        if let Some(message) = self.liars.utter(host_of(from), message, &holders) {
            self.send(from, to, message);
        }
    }

    fn is_time_to_lie(&self) -> bool {
        (FAULTS_BEGIN..FAULTS_END).contains(&self.now)
    }

    /// A liar says something that nobody asked for: every second time to a node that runs something.
    pub(super) fn lie(&mut self, number: HostNo) {
        if !self.is_time_to_lie() {
            return;
        }
        self.queue.push(self.now + self.liars.pause(), number, number, What::Lie);
        let host = &self.hosts[number as usize];
        if !host.is_running() || host.node.is_none() {
            return;
        }
        let me = host.handle(number);
        let apps: Vec<AppId> = self.apps.iter().map(|app| app.record.id).collect();
        let about = self.liars.pick(&apps);
        let holders: Vec<Handle> = match about {
            Some(app) => self.holders(app).into_iter().map(|at| self.hosts[at as usize].handle(at)).collect(),
            None => Vec::new(),
        };
        let anybody: Vec<Handle> = (0..self.hosts.len() as HostNo)
            .filter(|host| *host != number)
            .map(|host| self.hosts[host as usize].handle(host))
            .collect();
        if self.liars.chance(1, 6) {
            for _ in 0..CROWDED {
                if let (Some(to), Some(message)) = (self.liars.pick(&anybody), self.liars.crowd()) {
                    self.send(me, to, message);
                }
            }
            return;
        }
        if self.liars.chance(1, 10) {
            self.ask_something(about);
        }
        let to = match self.liars.pick(&holders).filter(|_| self.liars.chance(1, 2)) {
            Some(holder) => holder,
            None => match self.liars.pick(&anybody) {
                Some(other) => other,
                None => return,
            },
        };
        if let Some((message, times)) = self.liars.invent(number, about, &holders) {
            for _ in 0..times {
                self.send(me, to, message.clone());
            }
        }
    }

    /// An honest node's user asks for nodes or applications, so that liars are visited and can answer.
    fn ask_something(&mut self, about: Option<AppId>) {
        let honest: Vec<HostNo> = (0..self.hosts.len() as HostNo)
            .filter(|host| !self.liars.has(*host) && self.hosts[*host as usize].is_running())
            .collect();
        let all: Vec<Handle> = honest.iter().map(|host| self.hosts[*host as usize].handle(*host)).collect();
        let (Some(host), Some(other)) = (self.liars.pick(&honest), self.liars.pick(&all)) else { return };
        let wide = || Requirement::parse("cpu.cores >= 2").expect("written here");
        let set = || SetQuery::parse("1..4 nodes with sum(cpu.cores) >= 12").expect("written here");
        let spec = match self.liars.pick(&[0, 1, 2, 3, 4]) {
            Some(0) => SearchSpec { attributes: true, ..SearchSpec::nodes(wide(), 10) },
            Some(1) => SearchSpec { histogram: Some("cpu.cores".into()), ..SearchSpec::all(wide(), false) },
            Some(2) => SearchSpec { attributes: true, ..SearchSpec::all(wide(), true) },
            Some(3) => SearchSpec::set(set(), None),
            _ => SearchSpec::new(Query::Applications(AppFilter::All), u32::MAX),
        };
        // A node that has too many searches refuses one more: nobody waits for it here.
        let _ = self.with_node(host, |node, now, out| node.search(now, spec, out));
        if let Some(app) = about {
            self.with_node(host, |node, now, out| node.describe(now, app, other, out));
        }
    }

    fn holders_of_any(&self) -> Vec<Handle> {
        let running = self.live.iter().map(|at| &self.processes[*at]);
        let running = running.filter(|process| process.state == State::Running);
        running.map(|process| self.hosts[process.host as usize].handle(process.host)).take(64).collect()
    }

    /// An honest node makes somebody a holder or a guardian.
    fn note_entrusted(&mut self, from: Handle, to: Handle, message: &Message) {
        let Message::Allocation(message) = message else { return };
        let app = match message {
            Allocating::Confirm(confirm) => {
                let (app, slot, epoch) = (confirm.application.record.id, confirm.slot, confirm.epoch);
                self.see(&Seen::Confirming { by: host_of(from), app, slot, epoch });
                app
            }
            Allocating::Appoint { application, .. } => application.record.id,
            _ => return,
        };
        if self.liars.has(host_of(to)) {
            self.trace_app(app, None, "is entrusted to a liar");
            self.findings.excuse(app);
        }
    }

    /// An honest node confirms slots to itself. No message says so; what it is about to write does, before it
    /// tells anybody.
    pub(super) fn note_confirmed_here(&mut self, host: HostNo, kept: &Kept) {
        if self.liars.hosts().is_empty() || self.liars.has(host) {
            return;
        }
        let Kept::Role(role) = kept else { return };
        for (slot, epoch) in confirmed_by(role, node_id(self.seed, host)) {
            self.see(&Seen::Confirming { by: host, app: role.application.record.id, slot, epoch });
        }
    }
}

/// Own slots under epochs of the node itself.
fn confirmed_by(role: &Role, id: NodeId) -> impl Iterator<Item = (u16, Epoch)> {
    let own = role.slots.iter().filter(move |own| own.epoch.recruiter == id);
    own.map(|own| (own.slot, own.epoch))
}

#[cfg(test)]
mod tests {
    use xtreem_allocation::{Evidence, GuardianSet, SetVersion, SlotReport, SlotState};
    use xtreem_base::Rng;

    use super::*;
    use crate::grid::apps::Shape;

    #[test]
    fn a_node_has_confirmed_to_itself_what_it_holds_under_its_own_epochs() {
        let own = |slot: u16, recruiter: u32| SlotReport {
            slot,
            epoch: Epoch { counter: 1, recruiter: node_id(1, recruiter), incarnation: 0, attempt: 1 },
            state: SlotState::Starting,
            done_run: 0,
        };
        let mut rng = Rng::new(1);
        let version = SetVersion { number: 0, by: Epoch::NONE };
        let role = Role {
            application: Shape::draw(0, &mut rng).application(&mut rng),
            guardians: GuardianSet { version, members: Vec::new(), claim: None },
            is_guardian: false,
            slots: vec![own(0, 2), own(1, 3)],
            known: Vec::new(),
            is_finished: false,
            evidence: Evidence::default(),
            older: Vec::new(),
            suppliers: Vec::new(),
        };
        let confirmed: Vec<_> = confirmed_by(&role, node_id(1, 3)).collect();
        assert_eq!(confirmed, [(1, own(1, 3).epoch)]);
    }
}
