//! The agents' half: programs are started, end and are stopped, and nodes are told.

use xtreem_allocation::{NotStarted, Resources, SlotRun, Trouble};
use xtreem_base::{AppId, Duration, Handle, Instant};

use super::World;
use crate::grid::host::{HostNo, Power, host_of};
use crate::grid::process::{FETCH_ATTEMPTS, FETCH_RETRY, Process, Sickness, State, Step};
use crate::grid::queue::What;
use crate::grid::schedule::FAULTS_END;
use crate::grid::seen::{Behaviour, Seen};

impl World {
    /// A node told its host to start a program.
    pub(super) fn start_program(&mut self, host: HostNo, run: SlotRun, sources: Vec<Handle>) {
        let incarnation = self.hosts[host as usize].incarnation;
        self.see(&Seen::StartOrdered { host, incarnation, run });
        let Some(&app) = self.by_id.get(&run.app) else { return };
        let app = &mut self.apps[app];
        app.is_accepted = true;
        let process = Process {
            host,
            run,
            state: State::Fetching { attempts: 0 },
            behaviour: app.behaviour,
            resources: app.resources,
            sources,
            is_ordered: false,
        };
        let number = self.processes.len();
        self.processes.push(process);
        self.live.push(number);
        let span = Process::fetch_time(&mut self.rng);
        self.later(number, span, Step::Fetched);
    }

    /// A node told its host to stop a program.
    pub(super) fn stop_program(&mut self, host: HostNo, run: SlotRun) {
        let is_it = |process: &Process| process.host == host && process.run == run;
        let Some(number) = self.live.iter().copied().find(|number| is_it(&self.processes[*number])) else {
            return;
        };
        self.processes[number].is_ordered = true;
        let span = Process::stop_time(&mut self.rng);
        self.later(number, span, Step::Stopped);
    }

    fn later(&mut self, process: usize, span: Duration, step: Step) {
        let host = self.processes[process].host;
        self.queue.push(self.now + span, host, host, What::Process { process, step });
    }

    /// A program goes on. On a paused host it does so after the pause.
    pub(super) fn step(&mut self, number: usize, step: Step) {
        let Process { host, state, .. } = self.processes[number];
        if state == State::Gone {
            return;
        }
        if let Power::Paused { until } = self.hosts[host as usize].power {
            let span = until.since(self.now) + Process::fetch_time(&mut self.rng);
            return self.later(number, span, step);
        }
        match (step, state) {
            (Step::Fetched, State::Fetching { attempts }) => self.fetched(number, attempts),
            (Step::Ends, State::Running) => self.ends(number),
            (Step::Stopped, _) => self.exits(number),
            _ => {}
        }
    }

    fn fetched(&mut self, number: usize, attempts: u32) {
        let Process { host, run, is_ordered, .. } = self.processes[number];
        if is_ordered {
            return;
        }
        if !self.can_fetch(host, run.app, &self.processes[number].sources) {
            self.processes[number].state = State::Fetching { attempts: attempts + 1 };
            if attempts + 1 < FETCH_ATTEMPTS {
                return self.later(number, FETCH_RETRY, Step::Fetched);
            }
            self.trace_app(run.app, Some(host), format_args!("slot {} files lost", run.slot));
            self.forget(number);
            self.see(&Seen::FilesLost { run });
            self.with_node(host, |node, now, out| {
                node.program_not_started(now, run, NotStarted::Trouble(Trouble::Files), out);
            });
            return;
        }
        self.store_files(host, run.app);
        if let Some(Sickness::CannotStart(trouble)) = self.sick.get(&host).copied() {
            self.trace_app(run.app, Some(host), format_args!("slot {} not started: {trouble}", run.slot));
            self.forget(number);
            self.with_node(host, |node, now, out| {
                node.program_not_started(now, run, NotStarted::Trouble(trouble), out);
            });
            return;
        }
        if self.sick.get(&host) == Some(&Sickness::ProgramsFail) {
            self.processes[number].behaviour = Behaviour::Broken;
        }
        let behaviour = self.processes[number].behaviour;
        self.processes[number].state = State::Running;
        self.trace_app(run.app, Some(host), format_args!("slot {} RUNS under {}", run.slot, run.epoch));
        self.see(&Seen::ProcessStarted { host, run });
        self.count_replacement(run);
        if let Some(span) = Process::life(behaviour, &mut self.rng) {
            self.later(number, span, Step::Ends);
        }
        self.with_node(host, |node, now, out| node.program_started(now, run, out));
    }

    /// Whether the host has the files or a live source that it reaches has them.
    fn can_fetch(&self, host: HostNo, app: AppId, sources: &[Handle]) -> bool {
        let serves = |source: &Handle| {
            let number = host_of(*source);
            self.hosts.get(number as usize).is_some_and(|source| {
                let is_there = source.is_running() && self.link.can_reach(host, number);
                is_there && source.files.contains(&app)
            })
        };
        self.hosts[host as usize].files.contains(&app) || sources.iter().any(serves)
    }

    fn store_files(&mut self, host: HostNo, app: AppId) {
        let files = &mut self.hosts[host as usize].files;
        if !files.contains(&app) {
            files.push(app);
        }
    }

    /// Begins one attempt of a guardian to fetch the files.
    pub(super) fn fetch_to_keep(&mut self, host: HostNo, app: AppId, sources: Vec<Handle>, attempts: u32) {
        let incarnation = self.hosts[host as usize].incarnation;
        let span = Process::fetch_time(&mut self.rng) + FETCH_RETRY * u64::from(attempts.min(1));
        let what = What::KeepFiles { incarnation, app, sources, attempts };
        self.queue.push(self.now + span, host, host, what);
    }

    /// Ends it.
    pub(super) fn keep_files(
        &mut self,
        number: HostNo,
        incarnation: u8,
        app: AppId,
        sources: Vec<Handle>,
        attempts: u32,
    ) {
        let host = &self.hosts[number as usize];
        if host.incarnation != incarnation || host.power == Power::Dead {
            return;
        }
        if host.is_running() && self.can_fetch(number, app, &sources) {
            self.store_files(number, app);
        } else if attempts + 1 < FETCH_ATTEMPTS {
            self.fetch_to_keep(number, app, sources, attempts + 1);
        }
    }

    /// By itself. Programs that fail now and then behave once the faults have stopped, so that the end of a
    /// run can be judged.
    fn ends(&mut self, number: usize) {
        if self.processes[number].behaviour != Behaviour::Flaky || self.now < FAULTS_END {
            self.exits(number);
        }
    }

    fn exits(&mut self, number: usize) {
        let Process { host, run, behaviour, is_ordered, state, .. } = self.processes[number];
        // A program that handles SIGTERM ends with 0 although its work is not done: the node must not mistake
        // an end that it ordered for a finished slot. Every third does not handle it.
        let exit = match is_ordered {
            true if self.rng.chance(1, 3) => xtreem_allocation::Exit::Signal(15),
            true => xtreem_allocation::Exit::Code(0),
            false => Process::exit(behaviour),
        };
        self.trace_app(
            run.app,
            Some(host),
            format_args!("slot {} ends ({exit}) under {}", run.slot, run.epoch),
        );
        self.forget(number);
        if state == State::Running {
            let exit = (!is_ordered).then_some(exit);
            self.see(&Seen::ProcessEnded { host, run, exit, ordered: is_ordered });
        }
        self.with_node(host, |node, now, out| node.program_exited(now, run, exit, out));
    }

    fn forget(&mut self, number: usize) {
        self.processes[number].state = State::Gone;
        self.processes[number].sources = Vec::new();
        self.live.retain(|live| *live != number);
    }

    /// Host or agent died: its processes are gone without a word.
    pub(super) fn kill_programs(&mut self, host: HostNo) {
        let on_host = |number: &usize| self.processes[*number].host == host;
        let dying: Vec<usize> = self.live.iter().copied().filter(on_host).collect();
        for number in dying {
            let Process { run, state, is_ordered, .. } = self.processes[number];
            self.forget(number);
            if state == State::Running {
                self.see(&Seen::ProcessEnded { host, run, exit: None, ordered: false });
                let still_runs = self.live.iter().any(|other| {
                    let other = &self.processes[*other];
                    other.state == State::Running && (other.run.app, other.run.slot) == (run.app, run.slot)
                });
                if !is_ordered && !still_runs {
                    self.waiting.entry((run.app, run.slot)).or_insert(self.now);
                }
            }
        }
    }

    fn count_replacement(&mut self, run: SlotRun) {
        if let Some(died) = self.waiting.remove(&(run.app, run.slot)) {
            self.replaced_ms.push(self.now.since(died).as_millis());
        }
    }

    /// Shows the checkers what every node has given away and what really runs on its host.
    pub(super) fn sample(&mut self) {
        let mut running = vec![Resources::default(); self.hosts.len()];
        for number in &self.live {
            let process = &self.processes[*number];
            if process.state == State::Running {
                let sum = &mut running[process.host as usize];
                *sum = sum.plus(&process.resources);
            }
        }
        for host in 0..self.hosts.len() {
            let Some(status) = self.hosts[host].node.as_ref().map(|node| node.status()) else { continue };
            if self.hosts[host].is_running() {
                self.see_holds(host as HostNo);
            }
            let running = running[host];
            if status.used != Resources::default() || running != Resources::default() {
                let (offered, used) = (self.hosts[host].offer, status.used);
                self.see(&Seen::Usage { host: host as HostNo, offered, used, running });
            }
        }
        self.sample_chances();
        let next: Instant = self.now + super::SAMPLE_PERIOD;
        self.queue.push(next, super::WORLD, super::WORLD, What::Sample);
    }

    fn see_holds(&mut self, host: HostNo) {
        let Some(node) = &self.hosts[host as usize].node else { return };
        let open: Vec<_> = node.holds().collect();
        for (hold, requester, app) in open {
            self.see(&Seen::Hold { host, hold, requester: host_of(requester), app });
        }
    }
}
