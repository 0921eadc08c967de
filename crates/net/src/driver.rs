//! The task that owns a node: feeds it messages and time, and does what it asks for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use minicbor::Decoder;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, trace, warn};
use xtreem_allocation::{Claim, Notary};
use xtreem_base::{Duration, Events, Handle, Instant, NodeId, Plane, Sink};
use xtreem_node::{Event, Message, Node};
use xtreem_wire::limits::DATAGRAM_PAYLOAD_MAX_BYTES;
use xtreem_wire::{ClockReport, Contact, Kind, Padding, VoRoot};

use crate::Identity;
use crate::claims::{Allowances, Vouched, sign_claim};
use crate::connections::{Connections, Inbound};
use crate::counters::{Count, Tally};
use crate::hello::{MeetError, wall_ms};
use crate::identity::unix_now;
use crate::join::{Company, Due, Join, resolve};
use crate::measure::Measuring;
use crate::named::Named;
use crate::namesake::{self, Doubts};
use crate::peers::PeerTable;
use crate::plane::{DatagramPlane, Now, Peer};
use crate::restore::{self, SavedBytes};
use crate::roaming::Roaming;
use crate::socket;
use crate::statements;

/// Events that wait for the host; beyond it the newest are dropped. A host that is so late is broken.
const EVENTS_MAX: usize = 16_384;

/// A timer later than this means that the process was paused: the kernel's queue is read first.
const PAUSED: Duration = Duration::from_secs(1);

/// How long reading the kernel's queue may take after a pause. Its 200 KiB are read in a millisecond or two.
const SETTLE: StdDuration = StdDuration::from_millis(20);

/// Datagrams that are taken before each message of a stream. Our guess: as long as a large message may take.
const DATAGRAMS_FIRST: usize = 64;

/// Longest sleep: timers of the runtime do not count a suspended machine's time, ours do.
const SLEEP_MAX: StdDuration = StdDuration::from_secs(1);

/// A closure to run in the node's task.
pub(crate) type Command = Box<dyn FnOnce(&mut Driver) + Send>;

/// What a node asked for during one call, and whom it asks who is who.
pub struct Outbox {
    messages: Vec<(Handle, Message)>,
    events: Vec<Event>,
    pub(crate) table: PeerTable,
    identity: Identity,
}

impl Outbox {
    pub(crate) fn new(table: PeerTable, identity: Identity) -> Outbox {
        Outbox { messages: Vec::new(), events: Vec::new(), table, identity }
    }
}

impl Notary for Outbox {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.table.contact(peer).map(|contact| contact.id)
    }

    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]> {
        sign_claim(&self.identity, claim)
    }
}

impl Sink<Message> for Outbox {
    fn send(&mut self, to: Handle, message: Message) {
        self.messages.push((to, message));
    }
}

impl Events<Event> for Outbox {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// A node and everything it needs to be one.
pub(crate) struct Driver {
    pub node: Node,
    pub outbox: Outbox,
    pub join: Join,
    pub measuring: Measuring,
    place: Place,
    plane: DatagramPlane,
    root: VoRoot,
    vouched: Vouched,
    allowances: Allowances,
    connections: Arc<Connections>,
    tally: Arc<Tally>,
    namesake: namesake::Watch,
    /// Shared with [`crate::Net`].
    doubts: watch::Sender<Doubts>,
    /// No contact is known: datagrams are long, so that all that there is to say fits the answers.
    is_lonely: bool,
    /// Shared with [`crate::Net`]: milliseconds that the clock is corrected by.
    correction_ms: Arc<AtomicI64>,
    waiting: VecDeque<Named<Event>>,
}

/// Where this node is.
pub(crate) struct Place {
    pub handle: Handle,
    /// Shared with [`crate::Net`].
    pub contact: Arc<Mutex<Contact>>,
    /// Unless the operator said which address to tell.
    pub roaming: Option<Roaming>,
}

impl Place {
    fn contact(&self) -> Contact {
        *self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues that feed a driver.
pub(crate) struct Inputs {
    pub datagrams: mpsc::Receiver<Vec<u8>>,
    pub inbound: mpsc::Receiver<Inbound>,
    pub commands: mpsc::Receiver<Command>,
}

/// Time since boot, suspended time included: a node that slept must know it.
pub(crate) fn monotonic_now() -> Instant {
    // Linux has had this clock since 2.6.39, and reading it cannot fail.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the clock of every Linux");
    Instant::from_micros(now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000)
}

fn now() -> Now {
    Now { at: monotonic_now(), wall_ms: wall_ms() }
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "the parts of one node, named by their types")]
    pub(crate) fn new(
        node: Node,
        place: Place,
        outbox: Outbox,
        plane: DatagramPlane,
        root: VoRoot,
        connections: Arc<Connections>,
        join: Join,
        correction_ms: Arc<AtomicI64>,
        doubts: watch::Sender<Doubts>,
    ) -> Driver {
        let tally = connections.tally.clone();
        let (waiting, vouched) = (VecDeque::new(), Vouched::default());
        let measuring = Measuring::default();
        let namesake = namesake::Watch::new(place.contact(), monotonic_now());
        Driver {
            node,
            outbox,
            vouched,
            allowances: Allowances::default(),
            join,
            measuring,
            place,
            plane,
            root,
            connections,
            tally,
            namesake,
            doubts,
            is_lonely: true,
            correction_ms,
            waiting,
        }
    }

    /// Runs until every [`crate::Net`] is gone or one of them stopped the node.
    pub(crate) async fn run(
        mut self,
        mut inputs: Inputs,
        events: mpsc::Sender<Named<Event>>,
        commands: mpsc::WeakSender<Command>,
    ) {
        let connections = self.connections.clone();
        loop {
            let timer = tokio::time::sleep(self.until_timeout());
            tokio::select! {
                Some(bytes) = inputs.datagrams.recv() => self.take_datagram(&bytes),
                Some(inbound) = inputs.inbound.recv() => {
                    // They are short, and whether this node is alive is asked by them.
                    self.drain_datagrams(&mut inputs.datagrams, DATAGRAMS_FIRST);
                    self.take_inbound(inbound);
                }
                command = inputs.commands.recv() => match command {
                    Some(command) => command(&mut self),
                    None => break,
                },
                permit = events.reserve(), if !self.waiting.is_empty() => self.hand_over(permit.ok()),
                () = connections.endpoint_closed() => break,
                () = timer => {
                    if self.is_paused() {
                        tokio::time::sleep(SETTLE).await;
                    }
                    self.drain(&mut inputs);
                    self.take_timeout();
                    self.dial_join_addresses(&commands);
                    self.look_for_namesake(&commands);
                    self.look_for_address();
                }
            }
            self.flush();
        }
        connections.endpoint.close(0u32.into(), b"stopped");
    }

    /// Gives one event to the host; all of them to nobody when it does not listen any more.
    fn hand_over(&mut self, permit: Option<mpsc::Permit<'_, Named<Event>>>) {
        match (permit, self.waiting.pop_front()) {
            (Some(permit), Some(event)) => permit.send(event),
            _ => self.waiting.clear(),
        }
    }

    fn until_timeout(&self) -> StdDuration {
        let node = self.node.next_timeout().at;
        let others = [
            self.join.next_timeout(),
            self.namesake.next_timeout(),
            self.place.roaming.as_ref().map(Roaming::next_timeout),
        ];
        let others = others.into_iter().flatten();
        let at = others.fold(node, Instant::min);
        StdDuration::from_micros(at.since(monotonic_now()).as_micros()).min(SLEEP_MAX)
    }

    fn is_paused(&self) -> bool {
        monotonic_now().since(self.node.next_timeout().at) > PAUSED
    }

    /// Hands over what is queued already: an overdue timer must not beat an answer that came in time.
    fn drain(&mut self, inputs: &mut Inputs) {
        self.drain_datagrams(&mut inputs.datagrams, socket::QUEUE_MAX);
        for _ in 0..crate::net::INBOUND_MAX {
            let Ok(inbound) = inputs.inbound.try_recv() else { break };
            self.take_inbound(inbound);
            self.flush();
        }
    }

    fn drain_datagrams(&mut self, datagrams: &mut mpsc::Receiver<Vec<u8>>, most: usize) {
        for _ in 0..most {
            let Ok(bytes) = datagrams.try_recv() else { break };
            self.take_datagram(&bytes);
            self.flush();
        }
    }

    fn take_timeout(&mut self) {
        let now = monotonic_now();
        let wake = self.node.next_timeout();
        if wake.at <= now {
            trace!(why = wake.why, "the node wakes up");
            self.node.handle_timeout(now, &mut self.outbox);
        }
        if self.outbox.table.wants_sweep() {
            let (node, own) = (&self.node, self.place.handle);
            self.outbox.table.sweep(|mut live| {
                live(own);
                node.for_each_handle(&mut live);
            });
        }
    }

    fn take_datagram(&mut self, bytes: &[u8]) {
        let opened = match self.plane.open(now(), bytes) {
            Ok(opened) => opened,
            Err(refused) => {
                self.tally.add(refused.why);
                if let Some((to, answer)) = refused.answer {
                    self.send_bytes(to, &answer);
                }
                return;
            }
        };
        self.tally.add(Count::Received);
        self.note_clock(opened.clock);
        if let Some((to, answer)) = opened.answer {
            self.send_bytes(to, &answer);
        }
        let Some(from) = self.meet(&opened.peer) else { return };
        match opened.kind {
            Kind::Message => self.take_message(from, &opened.payload),
            Kind::Namesake => {
                if let Some(record) = self.plane.own_record(&opened.payload) {
                    let id = self.place.contact().id;
                    self.namesake.told(Contact { id, addr: record.addr, incarnation: record.incarnation });
                }
            }
            Kind::Reborn | Kind::Skewed => {}
        }
    }

    /// Finds another address to tell when the machine has the present one no more.
    fn look_for_address(&mut self) {
        let Some(roaming) = &mut self.place.roaming else { return };
        let own = *self.place.contact.lock().unwrap_or_else(PoisonError::into_inner);
        let (node, table) = (&self.node, &self.outbox.table);
        let contacts = node.contacts().into_iter().filter_map(|peer| Some(table.contact(peer)?.addr));
        if let Some(ip) = roaming.look(monotonic_now(), own.addr.ip(), contacts) {
            self.move_to(SocketAddr::new(ip, own.addr.port()));
        }
    }

    /// From now on this node says that it is at `addr`: every datagram and hello carries it.
    pub(crate) fn move_to(&mut self, addr: SocketAddr) {
        let own = Contact { addr, ..self.place.contact() };
        info!(before = %self.place.contact().addr, now = %addr, "this machine has another address");
        *self.place.contact.lock().unwrap_or_else(PoisonError::into_inner) = own;
        self.plane.move_to(addr);
        let manners = &self.connections.manners;
        *manners.record.lock().unwrap_or_else(PoisonError::into_inner) = self.plane.record().to_vec();
        // It is in the table, which has room for it.
        let _ = self.outbox.table.intern_proven(own);
        self.namesake.moved(own);
        self.join.moved();
        self.connections.forget_all();
    }

    /// Looks whether another machine with this node's key is where one was told to be.
    fn look_for_namesake(&mut self, commands: &mpsc::WeakSender<Command>) {
        let Some(other) = self.namesake.due(monotonic_now()) else { return };
        let (connections, commands) = (self.connections.clone(), commands.clone());
        tokio::spawn(async move {
            let seen = connections.look_for_namesake(other.addr).await;
            let command: Command = Box::new(move |driver| {
                driver.namesake.looked(other, seen);
                driver.tell_doubts();
            });
            if let Some(commands) = commands.upgrade() {
                // A node that stopped meanwhile has no doubts.
                let _ = commands.send(command).await;
            }
        });
    }

    fn met_namesake(&mut self, namesake: Contact) {
        self.namesake.met(namesake);
        self.tell_doubts();
    }

    fn tell_doubts(&self) {
        let doubts = self.namesake.doubts();
        self.doubts.send_if_modified(|told| std::mem::replace(told, doubts) != doubts);
    }

    fn take_inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Met(met) => {
                let id = met.peer.member.id();
                let report = self.plane.freshness().sample_clock(id, met.stamp_ms, met.wall_ms);
                self.note_clock(report);
                self.meet(&met.peer);
            }
            Inbound::Namesake(contact) => self.met_namesake(contact),
            Inbound::Message { peer, bytes } => {
                if let Some(from) = self.meet(&peer) {
                    self.take_message(from, &bytes);
                }
            }
        }
    }

    /// The handle of a peer that proved itself. Its older incarnations are gone from now on.
    pub(crate) fn meet(&mut self, peer: &Peer) -> Option<Handle> {
        let (handle, gone) = self.outbox.table.intern_proven(peer.contact())?;
        let now = monotonic_now();
        self.join.heard(now);
        for old in &gone {
            info!(peer = peer.member.name(), incarnation = peer.record.incarnation, "peer restarted");
            self.node.handle_gone(now, *old, Some(handle), &mut self.outbox);
        }
        Some(handle)
    }

    pub(crate) fn restore(&mut self, saved: SavedBytes) -> usize {
        let own = (self.node.me().id, self.place.handle);
        let (saved, unreadable) = restore::read(saved, &mut self.outbox.table, own);
        self.node.restore(monotonic_now(), saved, &mut self.outbox);
        unreadable
    }

    fn take_message(&mut self, from: Handle, bytes: &[u8]) {
        let mut decoder = Decoder::new(bytes);
        let decoded = decoder.decode_with::<_, Message>(&mut self.outbox.table);
        let message = match decoded {
            Ok(message) if decoder.position() == bytes.len() => message,
            _ => return self.tally.add(Count::Malformed),
        };
        let now = monotonic_now();
        let Some(sender) = self.outbox.id_of(from) else { return self.tally.add(Count::UnknownPeer) };
        let mut left = self.allowances.of(now, sender);
        let verdict = statements::verify(&self.root, &mut self.vouched, &mut left, unix_now(), &message);
        self.allowances.set(now, sender, left);
        if let Err(why) = verdict {
            return self.tally.add(why);
        }
        if message.travel().is_measured {
            self.measuring.refresh(&mut self.node, now);
        }
        if let Some(ports) = message.ports() {
            self.measuring.look_at(&mut self.node, now, ports);
        }
        self.node.handle_message(now, from, message, &mut self.outbox);
    }

    fn note_clock(&mut self, report: Option<ClockReport>) {
        let correction_ms = match report {
            None => return,
            Some(ClockReport::Corrected { offset_ms }) => {
                warn!(offset_ms, "this machine's clock differs from its peers'; stamps are corrected");
                offset_ms
            }
            Some(ClockReport::Agrees) => {
                info!("this machine's clock agrees with its peers' again");
                0
            }
        };
        self.correction_ms.store(correction_ms, Ordering::Relaxed);
    }

    /// Does what the node asked for.
    fn flush(&mut self) {
        let messages = std::mem::take(&mut self.outbox.messages);
        let events = std::mem::take(&mut self.outbox.events);
        for (to, message) in messages {
            self.send(to, &message);
        }
        for event in events {
            if self.waiting.len() < EVENTS_MAX {
                self.waiting.push_back(Named::new(event, &self.outbox.table));
            } else {
                self.tally.add(Count::EventsLost);
            }
        }
    }

    fn send(&mut self, to: Handle, message: &Message) {
        let Some(contact) = self.outbox.table.contact(to) else {
            return self.tally.add(Count::UnknownPeer);
        };
        let mut bytes = Vec::new();
        if minicbor::encode_with(message, &mut bytes, &mut self.outbox.table).is_err() {
            // The message names a handle that was swept.
            return self.tally.add(Count::UnknownPeer);
        }
        let travel = message.travel();
        if travel.plane == Plane::Stream || bytes.len() > DATAGRAM_PAYLOAD_MAX_BYTES {
            return self.connections.send(contact, bytes);
        }
        let is_full = travel.is_padded || self.is_lonely;
        let padding = if is_full { Padding::Full } else { Padding::Least };
        match self.plane.seal(now(), contact, &bytes, padding) {
            Ok(datagram) => self.send_bytes(contact, &datagram),
            Err(_) => self.tally.add(Count::TooLong),
        }
    }

    fn send_bytes(&self, to: Contact, datagram: &[u8]) {
        match self.connections.socket.send(to.addr, datagram) {
            Ok(()) => self.tally.add(Count::Sent),
            Err(error) => {
                debug!(%error, addr = %to.addr, "datagram not sent");
                self.tally.add(Count::SendFailed);
            }
        }
    }

    fn dial_join_addresses(&mut self, commands: &mpsc::WeakSender<Command>) {
        let now = monotonic_now();
        let company = Company {
            knows_somebody: self.node.status().contacts > 0,
            has_lost: self.node.has_lost_contacts(),
            grid_size: self.node.grid_estimate(now).last.map_or(0, |estimate| estimate.size.nodes.into()),
        };
        self.is_lonely = !company.knows_somebody;
        let Due { join, look } = self.join.due(now, company);
        for name in join.into_iter().chain(look) {
            let commands = commands.clone();
            tokio::spawn(async move {
                let command: Command = match resolve(&name).await {
                    Ok(found) => {
                        let again = commands.clone();
                        Box::new(move |driver| driver.dial_all(&name, found, &again))
                    }
                    Err(error) => return warn!(name, %error, "cannot join: the name leads nowhere"),
                };
                if let Some(commands) = commands.upgrade() {
                    // A node that stopped meanwhile joins nothing.
                    let _ = commands.send(command).await;
                }
            });
        }
    }

    /// Dials every address of a name.
    fn dial_all(&self, name: &str, found: Vec<SocketAddr>, commands: &mpsc::WeakSender<Command>) {
        for addr in self.join.others(found) {
            let (connections, commands) = (self.connections.clone(), commands.clone());
            let name = name.to_owned();
            tokio::spawn(async move {
                let command: Command = match connections.meet(addr).await {
                    Ok(peer) => Box::new(move |driver| driver.join_through(&name, addr, &peer)),
                    Err(MeetError::Oneself) => Box::new(move |driver| driver.join.is_oneself(&name, addr)),
                    Err(MeetError::Namesake(contact)) => Box::new(move |driver| driver.met_namesake(contact)),
                    Err(error) => return warn!(%addr, %error, "cannot join"),
                };
                if let Some(commands) = commands.upgrade() {
                    // A node that stopped meanwhile joins nothing.
                    let _ = commands.send(command).await;
                }
            });
        }
    }

    fn join_through(&mut self, name: &str, addr: SocketAddr, peer: &Peer) {
        let is_first = self.join.met(name);
        let Some(handle) = self.meet(peer) else { return };
        // Of a part of the grid that this node does not know, it is the way there.
        self.node.remember(handle);
        if is_first || self.node.status().contacts == 0 {
            info!(%addr, name = peer.member.name(), "joined");
            self.node.join(monotonic_now(), handle, &mut self.outbox);
        }
    }
}
