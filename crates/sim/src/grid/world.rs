//! The world: hosts, network, processes, users, and the loop that lets the next thing happen.

mod chances;
mod disks;
mod faults;
mod lies;
mod outcome;
mod programs;
mod puts;
mod users;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use xtreem_allocation::{Claim, Notary, Resources};
use xtreem_base::{AppId, Duration, Events, Handle, Instant, NodeId, Rng, Sink};
use xtreem_discovery::Attributes;
use xtreem_node::{Config, Event, Me, Message, Node};

use super::apps::App;
use super::checker::{self, Checker, Findings};
use super::clock::LocalClock;
use super::disk::Disk;
use super::faults::FaultKind;
use super::host::{Host, HostNo, PAUSED_QUEUE_MAX, Power, handle_of, host_of, incarnation_of, node_id};
use super::liar::Liars;
#[cfg(test)]
use super::process::State;
use super::process::{Process, Sickness};
use super::queue::{Undo, WORLD, What};
use super::report::{Report, machine};
use super::schedule::{FAULTS_BEGIN, FAULTS_END, Schedule};
use super::seen::Seen;
use super::size::Sizes;
use super::trace::{self, Trace};
use super::{Options, notary, plan};
use crate::agenda::Agenda;
use crate::digest::Digest;
use crate::link::{Latency, Link};

/// Every node is asked for its resources this often; a hold lives ten times as long.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
/// An agent without contacts tries its configured addresses this often.
const JOIN_PERIOD: Duration = Duration::from_secs(2);
/// Configured contacts of an agent.
const CONTACTS: usize = 3;
/// First agents start within this time.
const START_SPREAD_MICROS: u64 = 1_000_000;

/// What a node says in one call, kept until the call is over.
struct Outbox {
    sends: Vec<(Handle, Message)>,
    events: Vec<Event>,
    /// Whose call it is.
    me: HostNo,
    /// Of the world, from which the ids of all hosts come.
    seed: u64,
}

impl Outbox {
    fn new(seed: u64) -> Self {
        Outbox { sends: Vec::new(), events: Vec::new(), me: 0, seed }
    }
}

impl Notary for Outbox {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(node_id(self.seed, host_of(peer)))
    }

    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]> {
        notary::token(node_id(self.seed, self.me), claim)
    }
}

impl Sink<Message> for Outbox {
    fn send(&mut self, to: Handle, message: Message) {
        self.sends.push((to, message));
    }
}

impl Events<Event> for Outbox {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// One grid on one seed.
pub(crate) struct World {
    seed: u64,
    now: Instant,
    queue: Agenda<What>,
    hosts: Vec<Host>,
    link: Link,
    /// Messages that the link was asked to carry: tells the fates of two of one instant apart.
    carried: u32,
    /// Messages that were dropped because somebody else than the node named had signed what is in them.
    forged: u64,
    schedule: Schedule,
    /// The host that submits everything; any host does when there is none.
    pub submitter: Option<HostNo>,
    /// What is wrong with hosts.
    pub(in crate::grid) sick: BTreeMap<HostNo, Sickness>,
    config: Arc<Config>,
    apps: Vec<App>,
    by_id: BTreeMap<AppId, usize>,
    processes: Vec<Process>,
    /// Those of `processes` that are not gone.
    live: Vec<usize>,
    /// Slots whose host or agent died, and when.
    waiting: BTreeMap<(AppId, u16), Instant>,
    replaced_ms: Vec<u64>,
    chances: chances::Chances,
    /// For all that faults, users and programs draw while the run goes on.
    rng: Rng,
    /// For what disks draw, so that all else stays as it is without them.
    disk_rng: Rng,
    /// Nobody without that fault.
    liars: Liars,
    puts: Vec<puts::Open>,
    outbox: Outbox,
    checkers: Vec<Box<dyn Checker>>,
    findings: Findings,
    trace: Trace,
    /// Ids, as messages print them, of the applications that are traced.
    traced: Vec<String>,
    digest: Digest,
    messages: u64,
    sizes: Sizes,
    events: u64,
    report: Report,
    cpu_start: f64,
    resident_start: u64,
}

/// What a world is made of; its machines come from a function of their own.
pub(crate) struct Setup {
    pub nodes: u32,
    pub seed: u64,
    pub schedule: Schedule,
    pub latency: Latency,
    pub trace: Trace,
}

impl World {
    /// The world of `sim grid`.
    pub fn new(options: &Options) -> Self {
        let Options { nodes, apps, faults, seed, .. } = *options;
        let setup = Setup {
            nodes,
            seed,
            schedule: plan(options),
            latency: Latency::WORLD,
            trace: options.trace.clone(),
        };
        let mut world = World::set_up(setup, |_, rng| Machine::draw(rng));
        world.set_liars(faults);
        // A liar may own a key, and say of it what it likes.
        if !faults.has(FaultKind::Liar) {
            world.plan_puts();
        }
        world.report = Report {
            nodes,
            apps,
            seed,
            faults: faults.to_string(),
            replay: options.replay(),
            ..Report::default()
        };
        world
    }

    /// A world before its first event.
    pub fn set_up(setup: Setup, machine: impl Fn(HostNo, &mut Rng) -> Machine) -> Self {
        let (resident_start, cpu_start) = (machine::resident_bytes(), machine::thread_cpu_seconds());
        let Setup { nodes, seed, schedule, latency, trace } = setup;
        let mut world = World {
            seed,
            now: Instant::ZERO,
            queue: Agenda::default(),
            hosts: Vec::with_capacity(nodes as usize),
            link: Link::new(seed, latency, 0),
            carried: 0,
            forged: 0,
            schedule,
            submitter: None,
            sick: BTreeMap::new(),
            config: Arc::new(Config::emulated()),
            apps: Vec::new(),
            by_id: BTreeMap::new(),
            processes: Vec::new(),
            live: Vec::new(),
            waiting: BTreeMap::new(),
            replaced_ms: Vec::new(),
            chances: chances::Chances::new(),
            rng: Rng::derive(seed, 0, "world"),
            disk_rng: Rng::derive(seed, 0, "disk"),
            liars: Liars::default(),
            puts: Vec::new(),
            outbox: Outbox::new(seed),
            checkers: checker::all(nodes),
            findings: Findings::default(),
            trace,
            traced: Vec::new(),
            digest: Digest::default(),
            messages: 0,
            sizes: Sizes::default(),
            events: 0,
            report: Report::default(),
            cpu_start,
            resident_start,
        };
        for host in 0..nodes {
            let mut rng = Rng::derive(seed, u64::from(host), "host");
            let clock = if world.schedule.are_clocks_skewed {
                LocalClock::skewed(&mut rng)
            } else {
                LocalClock::RIGHT
            };
            world.hosts.push(machine(host, &mut rng).host(clock));
            let at = Instant::from_micros(rng.between(0, START_SPREAD_MICROS));
            world.queue.push(at, host, WORLD, What::Undo(Undo::Start));
        }
        for (index, (at, _)) in world.schedule.actions.iter().enumerate() {
            world.queue.push(*at, WORLD, index as u32, What::Action { index });
        }
        world.queue.push(FAULTS_BEGIN, WORLD, WORLD, What::Sample);
        world
    }

    pub fn run(mut self, until: Instant) -> Report {
        for (end, are_lost) in [(FAULTS_BEGIN, false), (FAULTS_END, true), (until, false)] {
            self.lose_messages(are_lost);
            self.run_until(end.min(until));
        }
        self.finish()
    }

    /// Begins or ends the loss of messages that the schedule has.
    pub fn lose_messages(&mut self, are_lost: bool) {
        let percent = if are_lost { self.schedule.loss_percent } else { 0 };
        self.link.set_loss(percent * 10_000);
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// Hosts on which an application's programs run.
    #[cfg(test)]
    pub fn hosts_of(&self, app: &AppId) -> Vec<HostNo> {
        let runs =
            |process: &&Process| process.run.app == *app && process.state == super::process::State::Running;
        let running = self.live.iter().map(|at| &self.processes[*at]).filter(runs);
        running.map(|process| process.host).filter(|host| self.hosts[*host as usize].is_running()).collect()
    }

    #[cfg(test)]
    pub(in crate::grid) fn link(&self) -> &Link {
        &self.link
    }

    /// Programs that were started on each host so far.
    #[cfg(test)]
    pub fn runs_by_host(&self) -> Vec<u64> {
        let mut runs = vec![0; self.hosts.len()];
        self.processes.iter().for_each(|process| runs[process.host as usize] += 1);
        runs
    }

    /// Hosts on which slots of the application run now, one entry a slot, in the order of the slots.
    #[cfg(test)]
    pub fn running(&self, app: &AppId) -> Vec<(u16, HostNo)> {
        let processes = self.live.iter().map(|number| &self.processes[*number]);
        let runs = processes.filter(|process| process.run.app == *app && process.state == State::Running);
        let mut runs: Vec<_> = runs.map(|process| (process.run.slot, process.host)).collect();
        runs.sort_unstable();
        runs
    }

    /// Hosts on which a slot of the application was started so far.
    #[cfg(test)]
    pub fn tried(&self, app: &AppId, slot: u16) -> std::collections::BTreeSet<HostNo> {
        let runs =
            self.processes.iter().filter(|process| (process.run.app, process.run.slot) == (*app, slot));
        runs.map(|process| process.host).collect()
    }

    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    pub fn violations(&self) -> &[checker::Violation] {
        &self.findings.list
    }

    /// Nodes that run.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.hosts.iter().filter_map(|host| host.node.as_deref())
    }

    /// Messages sent and events handled so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.messages, self.events)
    }

    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    pub fn run_until(&mut self, until: Instant) {
        while let Some(due) = self.queue.pop(until) {
            let (at, host) = (due.at, due.dst);
            self.now = at;
            self.events += 1;
            self.digest.add(at.as_micros());
            self.digest.add(u64::from(host));
            match self.queue.take(due) {
                None => self.timer(host),
                Some(what) => self.handle(host, what),
            }
        }
        self.now = until;
    }

    fn handle(&mut self, host: HostNo, what: What) {
        match what {
            What::Deliver { from, to, message } => self.deliver(from, to, *message),
            What::Gone { to, peer, by } => {
                if self.has_arrived(host_of(peer), to) {
                    self.with_node(host, |node, now, out| node.handle_gone(now, peer, Some(by), out));
                }
            }
            What::Process { process, step } => self.step(process, step),
            What::KeepFiles { incarnation, app, sources, attempts } => {
                self.keep_files(host, incarnation, app, sources, attempts);
            }
            What::Synced { incarnation } => self.synced(host, incarnation),
            What::Action { index } => self.act(self.schedule.actions[index].1),
            What::Undo(undo) => self.undo(host, undo),
            What::Join { incarnation } => self.join(host, incarnation),
            What::Resubmit { shape, attempts } => self.submit(shape, attempts),
            What::SendStop { app } => self.send_stop(app),
            What::Put { number, by } => self.put(number, by),
            What::Lie => self.lie(host),
            What::Sample => self.sample(),
        }
    }

    /// Whether something sent by `from` still reaches this incarnation, and its host runs.
    fn has_arrived(&self, from: HostNo, to: Handle) -> bool {
        let host = &self.hosts[host_of(to) as usize];
        self.link.can_reach(from, host_of(to)) && host.is_running() && host.incarnation == incarnation_of(to)
    }

    fn deliver(&mut self, from: Handle, to: Handle, message: Message) {
        let (sender, receiver) = (host_of(from), host_of(to));
        if self.link.can_reach(sender, receiver) {
            self.receive(from, to, message);
        }
    }

    /// A message is at its host.
    fn receive(&mut self, from: Handle, to: Handle, message: Message) {
        let (sender, receiver) = (host_of(from), host_of(to));
        let host = &mut self.hosts[receiver as usize];
        match host.power {
            Power::Dead | Power::Restarting => {}
            Power::Paused { .. } => {
                if host.waiting.len() < PAUSED_QUEUE_MAX {
                    host.waiting.push_back((from, to, message));
                }
            }
            Power::On if host.incarnation == incarnation_of(to) && !notary::holds(&message) => {
                self.forged += 1;
            }
            Power::On if host.incarnation == incarnation_of(to) => {
                self.with_node(receiver, |node, now, out| node.handle_message(now, from, message, out));
            }
            Power::On => {
                // The answer comes from another incarnation: the sender's driver sees that the old one is
                // dead.
                let by = host.handle(receiver);
                if let Some(at) = self.arrival(receiver, sender) {
                    self.queue.push(at, sender, receiver, What::Gone { to: from, peer: to, by });
                }
            }
        }
    }

    fn timer(&mut self, number: HostNo) {
        let host = &mut self.hosts[number as usize];
        if host.armed != Some(self.now) {
            return;
        }
        host.armed = None;
        if !host.is_running() {
            return;
        }
        let local = host.clock.local(self.now);
        match host.node.as_ref().map(|node| node.next_timeout()) {
            Some(wake) if wake.at <= local => {
                self.trace_wake(number, wake);
                self.with_node(number, |node, now, out| node.handle_timeout(now, out));
            }
            _ => self.arm(number),
        }
    }

    /// Schedules the node's next timer, unless an event at or before it is pending already.
    fn arm(&mut self, number: HostNo) {
        let host = &mut self.hosts[number as usize];
        let Some(wake) = host.node.as_ref().map(|node| node.next_timeout()).filter(|wake| !wake.is_never())
        else {
            return;
        };
        let at = host.clock.world(wake.at);
        if at == Instant::FAR {
            return;
        }
        // A due timer fires a little later, as a scheduler does it; a core that is due at once for ever would
        // otherwise stop the world.
        let at = at.max(self.now + Duration::from_micros(1));
        if host.armed.is_none_or(|armed| armed > at) {
            host.armed = Some(at);
            self.queue.push_timer(at, number);
        }
    }

    /// One call of a node that runs, then everything that follows from it. Nothing when there is no node.
    fn with_node<R>(
        &mut self,
        number: HostNo,
        call: impl FnOnce(&mut Node, Instant, &mut Outbox) -> R,
    ) -> Option<R> {
        let host = &mut self.hosts[number as usize];
        let local = host.clock.local(self.now);
        let mut outbox = std::mem::replace(&mut self.outbox, Outbox::new(self.seed));
        outbox.me = number;
        let result = host.node.as_mut().map(|node| call(node, local, &mut outbox));
        let me = host.handle(number);
        for (to, message) in outbox.sends.drain(..) {
            self.utter(me, to, message);
        }
        for event in outbox.events.drain(..) {
            self.happen(number, event);
        }
        self.outbox = outbox;
        self.arm(number);
        result
    }

    fn send(&mut self, from: Handle, to: Handle, message: Message) {
        let (sender, receiver) = (host_of(from), host_of(to));
        if receiver as usize >= self.hosts.len() {
            return;
        }
        self.messages += 1;
        self.sizes.see(&message);
        let arrival = self.arrival(sender, receiver);
        if self.trace.is_on() {
            self.trace_message(from, to, &message, arrival);
        }
        if let Some(at) = arrival {
            self.queue.push(at, receiver, sender, What::Deliver { from, to, message: Box::new(message) });
        }
    }

    /// When a message sent now arrives, unless it is lost. The world asks [`Link::can_reach`] again on
    /// arrival.
    fn arrival(&mut self, from: HostNo, to: HostNo) -> Option<Instant> {
        self.carried = self.carried.wrapping_add(1);
        let at = self.link.carry(self.now, from, to, self.carried);
        at.filter(|_| self.link.can_reach(from, to))
    }

    /// Starts an agent, for the first time or again.
    fn start(&mut self, number: HostNo) {
        let contacts: Vec<Handle> = (0..CONTACTS).filter_map(|_| self.contact(number)).collect();
        let host = &mut self.hosts[number as usize];
        let me = Me {
            handle: host.handle(number),
            id: node_id(self.seed, number),
            incarnation: u32::from(host.incarnation),
        };
        let seed = Rng::derive(self.seed, u64::from(me.handle.as_u32()), "node").next_u64();
        let mut node = Node::new(self.config.clone(), me, seed, host.clock.local(self.now));
        node.set_attributes(host.clock.local(self.now), host.attributes.clone());
        node.set_offer(host.offer);
        contacts.iter().for_each(|contact| node.remember(*contact));
        host.node = Some(Box::new(node));
        host.power = Power::On;
        let incarnation = host.incarnation;
        let saved = host.disk.read(self.now, number, me.handle);
        self.with_node(number, |node, now, out| node.restore(now, saved, out));
        self.join(number, incarnation);
    }

    /// Joins by a random configured contact whenever there are no contacts, as an agent does.
    fn join(&mut self, number: HostNo, incarnation: u8) {
        let host = &self.hosts[number as usize];
        if host.incarnation != incarnation || matches!(host.power, Power::Dead) {
            return;
        }
        let is_lonely = host.node.as_ref().is_some_and(|node| node.status().contacts == 0);
        if is_lonely
            && host.is_running()
            && let Some(contact) = self.contact(number)
        {
            self.with_node(number, |node, now, out| node.join(now, contact, out));
        }
        self.queue.push(self.now + JOIN_PERIOD, number, WORLD, What::Join { incarnation });
    }

    /// Some other host at its present incarnation: whoever answers at a configured address.
    fn contact(&mut self, number: HostNo) -> Option<Handle> {
        let others = self.hosts.len() as u32 - 1;
        if others == 0 {
            return None;
        }
        let other = self.rng.below(others);
        let other = other + u32::from(other >= number);
        Some(self.hosts[other as usize].handle(other))
    }

    /// Shows something to every checker.
    fn see(&mut self, seen: &Seen) {
        for checker in &mut self.checkers {
            let before = self.findings.list.len();
            checker.observe(self.now, seen, &mut self.findings);
            if self.trace.is_on() {
                for violation in &self.findings.list[before..] {
                    trace::line(
                        self.now,
                        None,
                        format_args!("VIOLATION {}: {}", violation.checker, violation.what),
                    );
                }
            }
        }
    }

    fn trace_message(&self, from: Handle, to: Handle, message: &Message, arrival: Option<Instant>) {
        let text = trace::readable(message);
        if self.traced.iter().any(|app| text.contains(app)) {
            let fate = match arrival {
                Some(at) => format!("+{} ms", at.since(self.now).as_millis()),
                None => "LOST".into(),
            };
            trace::line(self.now, Some(from), format_args!("-> {} {fate}  {text}", trace::name(to)));
        }
    }

    /// Prints a line about an application, if it is traced.
    fn trace_app(&self, app: AppId, host: Option<HostNo>, what: impl std::fmt::Display) {
        if self.trace.is_on() && self.traced.contains(&format!("{app:?}")) {
            let host = host.map(|number| self.hosts[number as usize].handle(number));
            trace::line(self.now, host, what);
        }
    }

    /// Prints a line about a host, if anything is traced.
    fn trace_host(&self, host: HostNo, what: impl std::fmt::Display) {
        if self.trace.is_on() {
            let incarnation = self.hosts[host as usize].incarnation;
            trace::line(self.now, Some(handle_of(host, incarnation)), what);
        }
    }
}

/// What a host has and offers.
pub(crate) struct Machine {
    pub attributes: Attributes,
    pub offer: Resources,
}

impl Machine {
    /// Two to sixteen cores, half of it offered or more.
    fn draw(rng: &mut Rng) -> Machine {
        let cores = 2u64 << rng.below(4);
        let memory = (cores << 30) << rng.below(2);
        let disk = 100u64 << 30;
        let offer = Resources {
            cores_milli: 1_000 * (rng.between(cores / 2, cores) as u32),
            memory_bytes: memory / 2,
            disk_bytes: disk / 10,
        };
        let mut attributes = Attributes::new();
        let site = ["north", "south", "east", "west"][rng.below(4) as usize];
        let arch = if rng.chance(4, 5) { "x86_64" } else { "aarch64" };
        let all = [
            attributes.set("cpu.cores", cores),
            attributes.set("mem.total", memory),
            attributes.set("disk.total", disk),
            attributes.set("arch", arch),
            attributes.set("site", site),
        ];
        debug_assert!(all.iter().all(Result::is_ok), "five short attributes fit");
        Machine { attributes, offer }
    }

    /// The host before its agent starts.
    fn host(self, clock: LocalClock) -> Host {
        Host {
            node: None,
            incarnation: 0,
            power: Power::Restarting,
            clock,
            armed: None,
            waiting: VecDeque::new(),
            attributes: self.attributes,
            offer: self.offer,
            files: Vec::new(),
            disk: Disk::default(),
        }
    }
}
