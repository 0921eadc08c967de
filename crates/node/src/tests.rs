//! A few nodes on a toy network with virtual time. Faults at scale are the simulator's business.

mod aggregates;
mod finals;
mod kept;
mod liars;
mod losses;
mod policy;
mod records;
mod restarts;
mod ring;
mod schemas;

extern crate std;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use xtreem_allocation::{
    Alive, Application, Chain, Claim, Exit, Kept, Notary, Notice, Progress, Record, Resources, Restart,
    Signed, SlotRun, SlotState, Spec, Statement, Wanted,
};
use xtreem_base::{AppId, Digest, Duration, Events, Handle, Instant, NodeId, Rng, Sink};
use xtreem_discovery::{Attributes, FixedPorts, Report, SearchEvent, SearchId, Value};

use xtreem_overlay::{broadcast, overlay, ring as overlay_ring, store};

use crate::{Config, Event, Me, Message, Node, Relay};

/// What programs do in a test.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    Serves,
    Finishes,
    Fails,
    /// Its files take five minutes, and the node hears of them every half a minute.
    FetchesForLong,
    /// Its files never come.
    Hangs,
}

struct Outbox {
    sent: Vec<(Handle, Message)>,
    events: Vec<Event>,
    me: NodeId,
    /// Of all nodes, in their order.
    ids: Vec<NodeId>,
}

impl Outbox {
    fn new(me: NodeId, ids: &[NodeId]) -> Outbox {
        Outbox { sent: Vec::new(), events: Vec::new(), me, ids: ids.to_vec() }
    }
}

/// Whether every claim in a message is signed by the node that it names: what a driver verifies.
fn holds(message: &Message) -> bool {
    let mut holds = true;
    message.for_each_statement(&mut |statement| {
        if let Statement::Claim(claim, proof) = statement {
            let signer = claim.signer();
            holds &= proof == &*Outbox::new(signer, &[]).sign(claim);
        }
    });
    holds
}

/// For a node that need not know who is who.
impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new(NodeId::from_bytes([0; 16]), &[])
    }
}

impl Notary for Outbox {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.ids.get(peer.as_u32() as usize).copied()
    }

    /// Who signs, and what: enough to see a forged one.
    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]> {
        [&self.me.as_bytes()[..], &claim.bytes()].concat().into()
    }
}

impl Sink<Message> for Outbox {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for Outbox {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// Due work, ordered by time and then by number.
type Queue = BTreeMap<(Instant, u64), Work>;

enum Work {
    Deliver {
        from: Handle,
        to: Handle,
        message: Box<Message>,
    },
    Started(usize, SlotRun),
    /// So many times more, and then it starts.
    Progress(usize, SlotRun, u32),
    Exited(usize, SlotRun, Exit),
    /// On the node's disk.
    Stored(usize, u64),
}

struct Net {
    nodes: Vec<Option<Node>>,
    ids: Vec<NodeId>,
    /// Those who say of every peer that they are asked for that it answered, and how often they did.
    liars: BTreeSet<usize>,
    lied: usize,
    /// Messages that were dropped because of a claim that another node had signed.
    forged: usize,
    /// Draws the nodes' ids.
    rng: Rng,
    seed: u64,
    queue: Queue,
    number: u64,
    now: Instant,
    program: Program,
    /// Node and run of every program that runs now.
    running: BTreeSet<(usize, SlotRun)>,
    progress: Vec<Progress>,
    /// Node, version, and whether it is in conflict, of every policy put in force.
    policies: Vec<(usize, u64, bool)>,
    taken: usize,
    starts: usize,
    /// What lies on the nodes' disks.
    kept: BTreeMap<(usize, AppId), Kept>,
    /// Guardians and holders that were told to fetch the files, and from whom.
    fetches: Vec<(usize, Vec<Handle>)>,
    /// Whom look-ups found, in the order in which they ended.
    owners: Vec<Handle>,
    /// Node and content of what was told to all.
    told: Vec<(usize, store::Value)>,
    /// What operations on the ring came to.
    done: BTreeMap<(usize, store::RequestId), Result<store::Success, store::Failed>>,
    /// Whom a node declared lost.
    declared: Vec<(usize, Handle)>,
    /// Matches of each node's searches, and how they ended.
    searches: BTreeMap<(usize, SearchId), (BTreeSet<Handle>, Option<Report>)>,
}

fn handle(at: usize) -> Handle {
    Handle::from_u32(at as u32)
}

impl Net {
    fn new(nodes: usize, seed: u64) -> Net {
        let four_cores = |_| {
            let mut attributes = Attributes::default();
            attributes.set("cpu.cores", Value::from(4)).expect("a short name and one value");
            attributes
        };
        Net::of(nodes, seed, &Arc::new(Config::emulated()), four_cores)
    }

    /// Nodes that have joined one through the other.
    fn of(nodes: usize, seed: u64, config: &Arc<Config>, attributes: impl Fn(usize) -> Attributes) -> Net {
        let mut net = Net {
            nodes: Vec::new(),
            ids: Vec::new(),
            liars: BTreeSet::new(),
            lied: 0,
            forged: 0,
            queue: Queue::new(),
            number: 0,
            now: Instant::ZERO,
            program: Program::Serves,
            running: BTreeSet::new(),
            progress: Vec::new(),
            policies: Vec::new(),
            taken: 0,
            starts: 0,
            kept: BTreeMap::new(),
            fetches: Vec::new(),
            owners: Vec::new(),
            told: Vec::new(),
            done: BTreeMap::new(),
            declared: Vec::new(),
            searches: BTreeMap::new(),
            rng: Rng::new(seed),
            seed,
        };
        for at in 0..nodes {
            net.add(config, attributes(at));
        }
        for at in 1..nodes {
            net.with(at, |node, now, out| node.join(now, handle(at - 1), out));
        }
        net.run(Duration::from_secs(20));
        net
    }

    /// One more node, that has not joined yet.
    fn add(&mut self, config: &Arc<Config>, attributes: Attributes) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.next_u64().to_be_bytes());
        let me = Me { handle: handle(self.nodes.len()), id: NodeId::from_bytes(id), incarnation: 1 };
        let mut node = Node::new(config.clone(), me, self.seed, self.now);
        node.set_attributes(self.now, attributes);
        node.set_offer(Resources { cores_milli: 4_000, memory_bytes: 4 << 30, disk_bytes: 1 << 30 });
        self.nodes.push(Some(node));
        self.ids.push(me.id);
    }

    fn with<R>(&mut self, at: usize, f: impl FnOnce(&mut Node, Instant, &mut Outbox) -> R) -> Option<R> {
        let mut outbox = Outbox::new(self.ids[at], &self.ids);
        let result = f(self.nodes[at].as_mut()?, self.now, &mut outbox);
        for (to, message) in outbox.sent {
            let latency = Duration::from_millis(5 + self.number % 7);
            self.push(self.now + latency, Work::Deliver { from: handle(at), to, message: message.into() });
        }
        for event in outbox.events {
            self.on_event(at, event);
        }
        Some(result)
    }

    fn push(&mut self, at: Instant, work: Work) {
        self.number += 1;
        self.queue.insert((at, self.number), work);
    }

    fn on_event(&mut self, at: usize, event: Event) {
        match event {
            Event::Allocation(Notice::Start { run, sources, .. }) => {
                self.starts += 1;
                self.fetches.push((at, sources));
                match self.program {
                    Program::Hangs => {}
                    Program::FetchesForLong => self.push(self.now, Work::Progress(at, run, 10)),
                    _ => self.push(self.now + Duration::from_millis(100), Work::Started(at, run)),
                }
            }
            Event::Allocation(Notice::Stop { run, .. }) => {
                self.push(self.now + Duration::from_millis(100), Work::Exited(at, run, Exit::Signal(15)));
            }
            Event::Allocation(Notice::Submission { progress, .. }) => self.progress.push(progress),
            Event::Allocation(Notice::KeepFiles { sources, .. }) => self.fetches.push((at, sources)),
            Event::Allocation(Notice::HolderLost { peer, .. }) => self.declared.push((at, peer)),
            Event::Allocation(Notice::RecordTaken { .. }) => self.taken += 1,
            Event::Allocation(Notice::Store { number, app, what }) => {
                match what {
                    Some(kept) => drop(self.kept.insert((at, app), *kept)),
                    None => drop(self.kept.remove(&(at, app))),
                }
                self.push(self.now + Duration::from_millis(10), Work::Stored(at, number));
            }
            Event::Search(SearchEvent::Match { search, peer, .. }) => {
                self.searches.entry((at, search)).or_default().0.insert(peer);
            }
            Event::Search(SearchEvent::Done { search, report }) => {
                self.searches.entry((at, search)).or_default().1 = Some(report);
            }
            Event::Ring(overlay::Event::Ring(overlay_ring::Event::Found { owner, .. })) => {
                self.owners.push(owner.contact.handle);
            }
            Event::Ring(overlay::Event::Store(store::Event::Done { request, result })) => {
                self.done.insert((at, request), result);
            }
            Event::Ring(overlay::Event::Broadcast(broadcast::Event::Delivered { content, .. })) => {
                self.told.push((at, content));
            }
            Event::Policy(newer) => {
                let conflicts = newer.before.version == newer.version.version;
                self.policies.push((at, newer.version.version, conflicts));
            }
            _ => {}
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timer = self
                .nodes
                .iter()
                .enumerate()
                .filter_map(|(at, node)| Some((node.as_ref()?.next_timeout().at, at)));
            let timer = timer.min();
            let work = self.queue.first_key_value().map(|(key, _)| key.0);
            let next = timer.map(|timer| timer.0).into_iter().chain(work).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if work.is_some_and(|work| work <= next) {
                let (_, work) = self.queue.pop_first().expect("it was there a line ago");
                self.work(work);
            } else if let Some((_, at)) = timer {
                self.with(at, |node, now, out| node.handle_timeout(now, out));
            }
        }
        self.now = end;
    }

    fn work(&mut self, work: Work) {
        match work {
            Work::Deliver { from, to, message } if !holds(&message) => {
                self.forged += 1;
                let _ = (from, to);
            }
            Work::Deliver { from, to, message } => {
                let at = to.as_u32() as usize;
                if let Message::Relay(Relay::Ask { about, nonce }) = &*message
                    && self.liars.contains(&at)
                {
                    return self.lie_of_life(at, from, *about, *nonce);
                }
                self.with(at, |node, now, out| node.handle_message(now, from, *message, out));
            }
            Work::Started(at, run) => {
                if self.nodes[at].is_none() {
                    return;
                }
                self.running.insert((at, run));
                self.with(at, |node, now, out| node.program_started(now, run, out));
                let exit = match self.program {
                    Program::Serves | Program::FetchesForLong | Program::Hangs => return,
                    Program::Finishes => Exit::Code(0),
                    Program::Fails => Exit::Code(1),
                };
                self.push(self.now + Duration::from_secs(1), Work::Exited(at, run, exit));
            }
            Work::Progress(at, run, more) => {
                self.with(at, |node, now, out| node.program_progress(now, run, out));
                let next = if more == 0 { Work::Started(at, run) } else { Work::Progress(at, run, more - 1) };
                self.push(self.now + SECS(30), next);
            }
            Work::Stored(at, number) => {
                self.with(at, |node, now, out| node.stored(now, number, out));
            }
            Work::Exited(at, run, exit) => {
                self.running.remove(&(at, run));
                self.with(at, |node, now, out| node.program_exited(now, run, exit, out));
            }
        }
    }

    /// Whoever helps says that the silent node answered, as well as it can.
    fn lie_of_life(&mut self, at: usize, origin: Handle, about: Handle, nonce: u64) {
        let of = |handle: Handle, ids: &[NodeId]| ids[handle.as_u32() as usize];
        let alive = Alive { node: of(about, &self.ids), origin: of(origin, &self.ids), nonce };
        let own = Alive { node: self.ids[at], ..alive };
        self.with(at, |_, _, out| {
            for alive in [alive, own] {
                let answer = Box::new(Signed::new(out, alive));
                out.sent.push((origin, Message::Relay(Relay::Alive { about, answer })));
            }
        });
        self.lied += 1;
    }

    fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
        self.running.retain(|(node, _)| *node != at);
    }

    fn submit(&mut self, at: usize, slots: u16) -> AppId {
        let mut application = application(slots, Wanted::Running);
        application.record.submitter = self.ids[at];
        let app = application.record.id;
        self.with(at, |node, now, out| node.submit(now, application, Duration::ZERO, out))
            .expect("it lives")
            .expect("it is new");
        app
    }

    /// Slot numbers that run now, each as often as it runs.
    fn slots(&self) -> Vec<u16> {
        let mut slots: Vec<u16> = self.running.iter().map(|(_, run)| run.slot).collect();
        slots.sort_unstable();
        slots
    }

    fn holder(&self, slot: u16) -> usize {
        self.running.iter().find(|(_, run)| run.slot == slot).expect("the slot runs").0
    }
}

fn application(slots: u16, wanted: Wanted) -> Application {
    let spec = Spec {
        requirement: "cpu.cores >= 2".parse().expect("a requirement"),
        resources: Resources::SLOT_DEFAULT,
        colocate: false,
        restart: Restart::OnFailure,
        payload: Arc::from(&b"run me"[..]),
        placement: "".into(),
        ports: FixedPorts::NONE,
    };
    let record = Record {
        id: AppId::from_bytes([7; 16]),
        owner: NodeId::from_bytes([1; 16]),
        name: "web".to_string(),
        spec_digest: Digest::from_bytes([3; 32]),
        slots,
        generation: if wanted == Wanted::Stopped { 2 } else { 1 },
        wanted,
        proof: Arc::from(&[][..]),
        submitter: NodeId::from_bytes([0; 16]),
    };
    Application { record, spec: Arc::new(spec) }
}

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn an_application_is_placed_on_as_many_nodes_as_it_has_slots() {
    for seed in 0..5 {
        let mut net = Net::new(16, seed);
        net.submit(3, 6);
        net.run(SECS(5));
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}: {:?}", net.progress);
        assert!(matches!(net.progress.last(), Some(Progress::Complete { running: 6, .. })));
        let nodes: BTreeSet<usize> = net.running.iter().map(|(at, _)| *at).collect();
        assert_eq!(nodes.len(), 6, "no two slots share a node");
    }
}

#[test]
fn slots_that_may_share_nodes_fill_the_room_that_there_is() {
    // Nodes of four cores, slots of one.
    for (nodes, slots, is_placed) in [(3, 7, true), (1, 4, true), (3, 12, true), (3, 13, false)] {
        let mut net = Net::new(nodes, 7);
        let mut application = application(slots, Wanted::Running);
        application.spec = Arc::new(Spec { colocate: true, ..(*application.spec).clone() });
        application.record.submitter = net.ids[0];
        net.with(0, |node, now, out| node.submit(now, application, Duration::ZERO, out));
        net.run(SECS(12));
        if is_placed {
            let all: Vec<u16> = (0..slots).collect();
            assert_eq!(net.slots(), all, "{slots} on {nodes}: {:?}", net.progress.last());
            continue;
        }
        let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
            panic!("{:?}", net.progress)
        };
        assert_eq!((report.matched, report.refused.busy), (3, 3), "why the thirteenth has no place");
        assert!(net.running.is_empty());
        assert!(net.nodes.iter().flatten().all(|node| node.status().used == Resources::default()));
    }
}

#[test]
fn too_few_nodes_place_nothing_and_hold_nothing() {
    let mut net = Net::new(5, 1);
    net.submit(0, 6);
    net.run(SECS(12));
    let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
        panic!("{:?}", net.progress)
    };
    assert_eq!((report.visited, report.matched), (5, 5));
    assert!(net.running.is_empty());
    for node in net.nodes.iter().flatten() {
        assert_eq!(node.status().used, Resources::default());
    }
}

#[test]
fn adjacent_holders_and_the_submitter_die_and_their_slots_run_again_within_ten_seconds() {
    for seed in 0..10 {
        let mut net = Net::new(20, seed);
        net.submit(3, 6);
        net.run(SECS(5));
        for victim in [net.holder(2), net.holder(3), 3] {
            net.kill(victim);
        }
        net.run(SECS(10));
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}");
    }
}

#[test]
fn a_submitter_that_dies_after_its_first_confirm_leaves_a_whole_application() {
    for seed in 0..10 {
        let mut net = Net::new(20, seed);
        net.submit(3, 6);
        while !net.progress.iter().any(|progress| matches!(progress, Progress::Accepted)) {
            net.run(Duration::from_millis(1));
        }
        net.kill(3);
        net.run(SECS(25));
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}");
    }
}

#[test]
fn a_submitter_that_dies_before_its_first_confirm_leaves_nothing_behind() {
    for seed in 0..10 {
        let mut net = Net::new(12, seed);
        net.submit(3, 6);
        // All are held, and the guardians know of it.
        while net.nodes.iter().flatten().all(|node| node.apps(net.now).is_empty()) {
            net.run(Duration::from_millis(1));
        }
        assert_eq!(net.slots(), [], "seed {seed}");
        net.kill(3);
        net.run(SECS(70));
        assert_eq!(net.starts, 0, "seed {seed}");
        for node in net.nodes.iter().flatten() {
            assert_eq!(node.status().used, Resources::default(), "seed {seed}");
            assert!(node.apps(net.now).is_empty(), "seed {seed}: its name is still taken");
        }
    }
}

#[test]
fn guardians_restart_an_application_whose_holders_all_died() {
    for seed in 0..10 {
        let mut net = Net::new(20, seed);
        net.submit(3, 6);
        net.run(SECS(5));
        let holders: BTreeSet<usize> = net.running.iter().map(|(at, _)| *at).collect();
        for victim in holders {
            net.kill(victim);
        }
        net.run(SECS(60));
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}");
    }
}

#[test]
fn a_stopped_application_stays_stopped() {
    for seed in 0..5 {
        let mut net = Net::new(16, seed);
        net.submit(3, 6);
        net.run(SECS(5));
        let holder = handle(net.holder(4));
        let record = application(6, Wanted::Stopped).record;
        net.with(3, |node, now, out| node.publish(now, record, &[holder], out));
        net.run(SECS(3));
        assert_eq!(net.slots(), [], "seed {seed}");
        assert_eq!(net.taken, 1);
        net.run(SECS(60));
        assert_eq!(net.slots(), []);
        for node in net.nodes.iter().flatten() {
            assert_eq!(node.status().used, Resources::default());
        }
    }
}

#[test]
fn an_application_whose_slots_are_all_done_is_done() {
    for slots in [1, 3, 12] {
        let mut net = Net::new(24, 2);
        net.program = Program::Finishes;
        let app = net.submit(3, slots);
        net.run(SECS(40));
        assert_eq!(net.starts, usize::from(slots), "every slot ran once");
        for node in net.nodes.iter().flatten() {
            assert_eq!(node.status().used, Resources::default());
            if let Some(known) = node.app(net.now, app) {
                let is_done = |known: &xtreem_allocation::Known| matches!(known.state, SlotState::Done(_));
                assert!(known.slots.iter().all(is_done), "{:?}", known.slots);
            }
        }
    }
}

#[test]
fn a_start_that_comes_nearer_is_waited_for_and_one_that_hangs_is_tried_elsewhere() {
    let mut net = Net::new(16, 6);
    net.program = Program::FetchesForLong;
    net.submit(3, 4);
    net.run(SECS(300));
    assert_eq!((net.starts, net.slots()), (4, vec![]), "each began once, and none is given up");
    net.run(SECS(60));
    assert_eq!((net.starts, net.slots()), (4, vec![0, 1, 2, 3]));

    let mut net = Net::new(16, 6);
    net.program = Program::Hangs;
    net.submit(3, 4);
    net.run(SECS(55));
    assert_eq!(net.starts, 4);
    net.program = Program::Serves;
    net.run(SECS(30));
    assert_eq!((net.starts, net.slots()), (8, vec![0, 1, 2, 3]));
}

#[test]
fn a_slot_that_fails_five_times_on_each_of_three_nodes_is_failed_and_left_alone() {
    let mut net = Net::new(16, 4);
    net.program = Program::Fails;
    let app = net.submit(3, 2);
    net.run(SECS(150));
    assert_eq!(net.starts, 30, "two slots, three nodes, five starts each");
    let known =
        net.nodes.iter().flatten().filter_map(|node| node.app(net.now, app)).flat_map(|app| app.slots);
    let known: Vec<_> = known.collect();
    for slot in 0..2 {
        let newest = known.iter().filter(|known| known.slot == slot).max_by_key(|known| known.epoch);
        let state = newest.expect("somebody remembers it").state;
        assert_eq!(state, SlotState::Failed(Exit::Code(1)), "slot {slot}");
    }
}

#[test]
fn a_node_that_contradicts_itself_cannot_isolate_programs_has_no_room_or_a_copied_key_is_not_held() {
    let mut net = Net::new(6, 8);
    net.with(4, |node, _, _| node.set_contradicts(true));
    net.with(3, |node, _, _| node.set_cloned(true));
    net.with(2, |node, _, _| node.set_isolates(false));
    net.with(1, |node, _, _| node.set_disk_full(true));
    net.submit(0, 6);
    net.run(SECS(12));
    let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
        panic!("{:?}", net.progress)
    };
    assert_eq!((report.matched, report.granted), (6, 2));
    let refused = report.refused;
    let kinds = (refused.mismatch, refused.not_isolated, refused.cloned, refused.troubled);
    assert_eq!(kinds, (1, 1, 1, 1));
}

#[test]
fn a_node_where_a_port_is_in_use_is_not_held_and_none_is_held_twice_for_one_port() {
    let mut net = Net::new(6, 8);
    net.with(4, |node, _, _| node.set_ports_in_use(vec![79, 80]));
    net.with(2, |node, _, _| node.set_lowest_port(80));
    net.with(5, |node, _, _| node.set_lowest_port(81));
    let mut application = application(6, Wanted::Running);
    let ports = FixedPorts::new([80]).expect("a port");
    application.spec = Arc::new(Spec { ports, colocate: true, ..(*application.spec).clone() });
    application.record.submitter = net.ids[0];
    net.with(0, |node, now, out| node.submit(now, application, Duration::ZERO, out));
    net.run(SECS(12));
    let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
        panic!("{:?}", net.progress)
    };
    let refused = report.refused;
    let counts = (report.granted, refused.port_taken, refused.port_too_low);
    assert_eq!(counts, (4, 1, 1), "colocation changes nothing");
}

#[test]
fn a_requirement_that_nobody_meets_names_the_clause() {
    let mut net = Net::new(8, 5);
    let mut application = application(2, Wanted::Running);
    let requirement = "cpu.cores >= 2 && cpu.cores > 64".parse().expect("a requirement");
    let spec = Spec { requirement, ..(*application.spec).clone() };
    application.spec = Arc::new(spec);
    application.record.submitter = net.ids[0];
    net.with(0, |node, now, out| node.submit(now, application, Duration::ZERO, out));
    net.run(SECS(12));
    let Some(Progress::NotPlaced { report: Some(report) }) = net.progress.last() else {
        panic!("{:?}", net.progress)
    };
    let excluded: Vec<u32> = report.excluded.iter().map(|(_, nodes)| *nodes).collect();
    assert_eq!(excluded, vec![0, 8]);
}
