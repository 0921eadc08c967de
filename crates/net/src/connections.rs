//! Mutually authenticated QUIC connections to the peers that were lately talked to.
//!
//! A message that does not fit a datagram is one unidirectional stream; a service of the agent is one
//! bidirectional stream that begins with the service's number. Whichever side dialled, both sides use a
//! connection. There is no keep-alive: a connection silent for [`IDLE_MAX`] ends by itself.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, TransportConfig, VarInt};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::warn;
use xtreem_base::NodeId;
use xtreem_wire::Contact;
use xtreem_wire::limits::STREAM_MESSAGE_MAX_BYTES;

use crate::counters::{Count, Tally};
use crate::dates::Dates;
use crate::guests::{Guests, network_of};
use crate::hello::{Manners, MeetError, Met};
use crate::identity::unix_now;
use crate::namesake::Seen;
use crate::plane::Peer;
use crate::socket::SharedSocket;
use crate::stranger::{Refused, WHAT_TO_DO, vo_in};
use crate::tls::Dialler;

/// Connections kept for sending; the longest unused one goes. Our guess: twice the contacts of a busy node.
const LINKS_MAX: usize = 64;

/// Incoming connections at one time; beyond it the newest are refused. Eight megabytes at 39 KiB each.
pub(crate) const INCOMING_MAX: usize = 256;

/// Of them, those of one node, which needs one, and one more while a cut one has not ended yet.
pub(crate) const INCOMING_PER_PEER_MAX: usize = 8;

/// Of them, those from one network that have not said who they are: strangers must not keep members out. Our
/// guess: many agents may share a machine, or an address.
const MEETINGS_PER_NETWORK_MAX: usize = 64;

/// Messages that wait for one connection; beyond it the newest is dropped.
pub(crate) const QUEUE_MAX: usize = 64;

/// Streams for messages that one peer may have open.
pub(crate) const STREAMS_MAX: u32 = 32;

/// Streams to services that one peer may have open: the commands that its users run beside slots, which last
/// as long as the commands do, and some for all else.
pub(crate) const SERVICE_STREAMS_MAX: u32 = 96;

/// The time from dialling to the peer's hello. Above three round trips on any network (our guess).
const MEET_MAX: Duration = Duration::from_millis(1_500);

/// One message, from its first byte to its last.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(5);

/// Silence that ends a connection. Short, because after a cut heals QUIC's retransmission may wait as long
/// again as the cut lasted, and a new handshake costs a millisecond.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(10);

/// Longest time between two looks at whether the credential that a connection was made with is still in
/// force, besides those at each stream: a clock may be set, and a machine sleep.
const CREDENTIAL_LOOK_MAX: Duration = Duration::from_secs(60);

/// Nodes of other VOs that try to join are told of so often (our guess: they try every half minute).
const STRANGER_TOLD_EVERY: Duration = Duration::from_secs(60);

/// What a bidirectional stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service(pub u8);

impl Service {
    pub(crate) const HELLO: Service = Service(0);
    /// Verified pieces of files.
    pub const PIECES: Service = Service(1);
    /// Logs of slots.
    pub const LOGS: Service = Service(2);
    /// Ports of slots.
    pub const PORTS: Service = Service(3);
    /// Where mailboxes of slots listen.
    pub const MAILBOXES: Service = Service(4);
    /// Commands beside slots.
    pub const BESIDE: Service = Service(5);
    /// How slots see the collections of their application.
    pub const COLLECTIONS: Service = Service(6);
    /// Events of publish/subscribe on their way to those who want them.
    pub const EVENTS: Service = Service(7);
}

/// A stream that a peer opened for a service of this agent.
#[derive(Debug)]
pub struct ServiceStream {
    pub service: Service,
    /// Who opened it, proven.
    pub peer: Arc<Peer>,
    pub send: SendStream,
    pub receive: RecvStream,
}

/// A service stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("the peer cannot be reached")]
    Unreachable,
    #[error("the handle is not known (any more)")]
    UnknownPeer,
    #[error("this node has stopped")]
    Stopped,
}

/// What connections hand to the node.
#[derive(Debug)]
pub(crate) enum Inbound {
    Met(Met),
    /// Another machine has proven that it has our own key.
    Namesake(Contact),
    Message {
        peer: Arc<Peer>,
        bytes: Vec<u8>,
    },
}

type LinkKey = (NodeId, u32);

/// The state of a connection kept for sending.
#[derive(Clone, Debug)]
enum State {
    Dialling,
    Up(Connection),
    Down,
}

#[derive(Clone)]
struct Link {
    queue: mpsc::Sender<Vec<u8>>,
    state: watch::Receiver<State>,
    /// Ticks of [`Links::clock`]: tells the longest unused.
    used: u64,
}

#[derive(Default)]
struct Links {
    by_key: BTreeMap<LinkKey, Link>,
    clock: u64,
}

/// All connections of one node.
pub(crate) struct Connections {
    pub endpoint: Endpoint,
    pub socket: Arc<SharedSocket>,
    pub dialler: Dialler,
    pub manners: Manners,
    pub tally: Arc<Tally>,
    pub inbound: mpsc::Sender<Inbound>,
    pub services: mpsc::Sender<ServiceStream>,
    pub dates: Dates,
    links: Mutex<Links>,
    incoming: Arc<Semaphore>,
    guests: Arc<Guests>,
    /// Connections of which it is not known yet whose they are.
    meetings: Arc<Guests<IpAddr>>,
    /// When a node of another VO was last told of.
    stranger_told: Mutex<Option<Instant>>,
    closed: watch::Sender<bool>,
}

/// Limits that both sides of a connection keep.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(SERVICE_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        // Ten seconds fit the milliseconds of a VarInt.
        .max_idle_timeout(Some(IDLE_MAX.try_into().expect("a short time")))
        // Most connections carry a few small messages: discovery of the path's MTU costs three times their
        // bytes, as we measured.
        .mtu_discovery_config(None)
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

impl Connections {
    pub(crate) fn new(
        endpoint: Endpoint,
        socket: Arc<SharedSocket>,
        dialler: Dialler,
        manners: Manners,
        tally: Arc<Tally>,
        inbound: mpsc::Sender<Inbound>,
        services: mpsc::Sender<ServiceStream>,
    ) -> Arc<Connections> {
        let (links, incoming) = (Mutex::default(), Arc::new(Semaphore::new(INCOMING_MAX)));
        let closed = watch::Sender::new(false);
        Arc::new(Connections {
            endpoint,
            socket,
            dialler,
            manners,
            tally,
            inbound,
            services,
            dates: Dates::default(),
            links,
            incoming,
            guests: Guests::new(INCOMING_PER_PEER_MAX),
            meetings: Guests::new(MEETINGS_PER_NETWORK_MAX),
            stranger_told: Mutex::default(),
            closed,
        })
    }

    /// Takes connections until the endpoint closes.
    pub(crate) async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.clone().accept_one(incoming);
        }
        self.closed.send_replace(true);
    }

    /// Returns once the endpoint is closed.
    pub(crate) async fn endpoint_closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as `self`.
        let _ = closed.wait_for(|is_closed| *is_closed).await;
    }

    fn accept_one(self: Arc<Self>, incoming: Incoming) {
        // Strangers get no answer longer than their question: first they show that they are where they say.
        if !incoming.remote_address_validated() && incoming.may_retry() {
            // `may_retry` holds.
            let _ = incoming.retry();
            return;
        }
        let unmet = self.meetings.seat(network_of(incoming.remote_address().ip()));
        let permit = self.incoming.clone().try_acquire_owned();
        let (Some(unmet), Ok(permit)) = (unmet, permit) else {
            self.tally.add(Count::Refused);
            incoming.refuse();
            return;
        };
        tokio::spawn(async move {
            let (addr, mut asked) = (incoming.remote_address(), None);
            let meeting = async {
                let mut connecting = incoming.accept()?;
                asked = connecting.handshake_data().await.ok().and_then(asked_for);
                let connection = connecting.await?;
                let met = self.manners.answer(&connection).await?;
                Ok((connection, met))
            };
            let met = timeout(MEET_MAX, meeting).await.unwrap_or(Err(MeetError::Timeout));
            drop(unmet);
            match met {
                Ok((connection, met)) => {
                    let peer = met.peer.clone();
                    let Some(seat) = self.guests.seat(peer.member.id()) else {
                        self.tally.add(Count::Refused);
                        connection.close(0u32.into(), b"too many connections");
                        return;
                    };
                    if self.inbound.send(Inbound::Met(met)).await.is_ok() {
                        self.adopt(&connection, &peer);
                        self.serve(connection, peer).await;
                    }
                    drop(seat);
                }
                Err(error) => {
                    self.tally.add(error.count());
                    self.note_stranger(addr, asked);
                    if let MeetError::Namesake(contact) = error {
                        // A node that has stopped has nothing to know.
                        let _ = self.inbound.send(Inbound::Namesake(contact)).await;
                    }
                }
            }
            drop(permit);
        });
    }

    /// Tells of a node of another VO that tried to join; of many, one a while.
    fn note_stranger(&self, addr: SocketAddr, asked: Option<NodeId>) {
        let own = self.manners.identity.root().id();
        let Some(theirs) = asked.filter(|vo| *vo != own) else { return };
        let mut told = self.stranger_told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_none_or(|last| now.duration_since(last) >= STRANGER_TOLD_EVERY) {
            *told = Some(now);
            warn!(%addr, %theirs, %own, "a node of another VO tried to join this one; {WHAT_TO_DO}");
        }
    }

    /// Meets whoever is at `addr`.
    pub(crate) async fn meet(self: &Arc<Self>, addr: SocketAddr) -> Result<Arc<Peer>, MeetError> {
        let (connection, peer) = self.dial(addr, None).await.inspect_err(|error| {
            self.tally.add(error.count());
        })?;
        self.adopt(&connection, &peer);
        Ok(peer)
    }

    /// Whether another machine with our key answers at `addr`.
    pub(crate) async fn look_for_namesake(self: &Arc<Self>, addr: SocketAddr) -> Seen {
        match self.dial(addr, None).await {
            Err(MeetError::Namesake(contact)) => Seen::Namesake(contact),
            _ => Seen::Nobody,
        }
    }

    /// Sends one message, some time, perhaps.
    pub(crate) fn send(self: &Arc<Self>, to: Contact, bytes: Vec<u8>) {
        if bytes.len() > STREAM_MESSAGE_MAX_BYTES {
            self.tally.add(Count::TooLong);
            return;
        }
        match self.link(to).queue.try_send(bytes) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.tally.add(Count::SendQueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => self.tally.add(Count::Unreachable),
        }
    }

    /// Opens a stream to a service of `to`.
    pub(crate) async fn open(
        self: &Arc<Self>,
        to: Contact,
        service: Service,
    ) -> Result<(SendStream, RecvStream), OpenError> {
        // A kept connection may have died unnoticed: the second try dials anew.
        for _ in 0..2 {
            let mut link = self.link(to);
            let state = link.state.wait_for(|state| !matches!(state, State::Dialling)).await;
            let Ok(State::Up(connection)) = state.map(|state| state.clone()) else {
                return Err(OpenError::Unreachable);
            };
            let opening = async {
                let (mut send, receive) = connection.open_bi().await.ok()?;
                send.write_all(&[service.0]).await.ok()?;
                Some((send, receive))
            };
            if let Ok(Some(streams)) = timeout(MESSAGE_TIME_MAX, opening).await {
                return Ok(streams);
            }
            self.forget((to.id, to.incarnation), &link.queue);
        }
        Err(OpenError::Unreachable)
    }

    /// The kept connection to `to`, or one that is being dialled from now on.
    fn link(self: &Arc<Self>, to: Contact) -> Link {
        let key = (to.id, to.incarnation);
        let (link, queue, state) = match self.lock().slot(key) {
            Ok(link) => return link,
            Err(made) => made,
        };
        let connections = self.clone();
        tokio::spawn(async move {
            match connections.dial(to.addr, Some(to)).await {
                Ok((connection, _)) => connections.run(key, connection, queue, state).await,
                Err(error) => {
                    connections.tally.add(error.count());
                    connections.give_up(key, queue, &state);
                }
            }
        });
        link
    }

    /// Keeps a connection that is there anyway for sending, unless another is kept.
    fn adopt(self: &Arc<Self>, connection: &Connection, peer: &Peer) {
        let key = (peer.member.id(), peer.record.incarnation);
        let Err((_, queue, state)) = self.lock().slot(key) else { return };
        let (connections, connection) = (self.clone(), connection.clone());
        tokio::spawn(async move { connections.run(key, connection, queue, state).await });
    }

    /// Sends what is queued until the connection ends or another one takes its place.
    async fn run(
        self: Arc<Self>,
        key: LinkKey,
        connection: Connection,
        mut queue: mpsc::Receiver<Vec<u8>>,
        state: watch::Sender<State>,
    ) {
        state.send_replace(State::Up(connection.clone()));
        loop {
            let message = tokio::select! {
                message = queue.recv() => message,
                _ = connection.closed() => break,
            };
            let Some(bytes) = message else { return };
            let sending = async {
                let mut stream = connection.open_uni().await.ok()?;
                stream.write_all(&bytes).await.ok()?;
                stream.finish().ok()
            };
            if !matches!(timeout(MESSAGE_TIME_MAX, sending).await, Ok(Some(()))) {
                self.tally.add(Count::Unreachable);
                break;
            }
            self.tally.add(Count::StreamSent);
        }
        self.give_up(key, queue, &state);
    }

    fn give_up(&self, key: LinkKey, mut queue: mpsc::Receiver<Vec<u8>>, state: &watch::Sender<State>) {
        self.lock()
            .by_key
            .retain(|other, link| *other != key || !link.state.same_channel(&state.subscribe()));
        state.send_replace(State::Down);
        queue.close();
        while queue.try_recv().is_ok() {
            self.tally.add(Count::Unreachable);
        }
    }

    /// Forgets all connections that are kept for sending: they begin at an address that this machine has no
    /// more.
    pub(crate) fn forget_all(&self) {
        self.lock().by_key.clear();
    }

    fn forget(&self, key: LinkKey, queue: &mpsc::Sender<Vec<u8>>) {
        self.lock().by_key.retain(|other, link| *other != key || !link.queue.same_channel(queue));
    }

    /// Dials `addr`, and serves the connection from then on.
    async fn dial(
        self: &Arc<Self>,
        addr: SocketAddr,
        expected: Option<Contact>,
    ) -> Result<(Connection, Arc<Peer>), MeetError> {
        self.socket.check_family(addr)?;
        let addr = self.socket.reachable(addr);
        // It worked when the node started.
        let (client, refused) = self.dialler.dial().map_err(|_| MeetError::Hello)?;
        let meeting = async {
            let name = &self.dialler.server_name;
            let connection = self.endpoint.connect_with(client, addr, name)?.await?;
            let met = self.manners.greet(&connection).await?;
            Ok((connection, met))
        };
        let met = timeout(MEET_MAX, meeting).await.unwrap_or(Err(MeetError::Timeout));
        let (connection, met) = met.map_err(|error| match refused.get() {
            Some(Refused::Stranger(theirs)) => {
                let own = self.manners.identity.root().id();
                MeetError::AnotherVo { theirs: theirs.words(), own }
            }
            Some(Refused::OutOfDate(id, why)) => {
                self.dates.refused(*id, *why, Instant::now().into_std());
                MeetError::OutOfDate(*why)
            }
            None => error,
        })?;
        let peer = met.peer.clone();
        // The node learns in any case who lives there.
        self.inbound.send(Inbound::Met(met)).await.map_err(|_| MeetError::Hello)?;
        let is_expected =
            expected.is_none_or(|to| (to.id, to.incarnation) == (peer.member.id(), peer.record.incarnation));
        let connections = self.clone();
        let (served, of) = (connection.clone(), peer.clone());
        tokio::spawn(async move { connections.serve(served, of).await });
        if is_expected { Ok((connection, peer)) } else { Err(MeetError::SomebodyElse) }
    }

    /// Takes messages and service streams until the connection ends, or the credential that it was made with:
    /// what was opened before then ends with it.
    async fn serve(self: Arc<Self>, connection: Connection, peer: Arc<Peer>) {
        loop {
            let look = tokio::time::sleep(until_look(peer.member.not_after(), unix_now()));
            tokio::select! {
                stream = connection.accept_uni() => {
                    let Ok(stream) = stream else { return };
                    if !self.is_in_force(&connection, &peer) || !self.take_message(stream, &peer).await {
                        return;
                    }
                }
                streams = connection.accept_bi() => {
                    let Ok((send, receive)) = streams else { return };
                    if !self.is_in_force(&connection, &peer) {
                        return;
                    }
                    self.take_service(send, receive, &peer).await;
                }
                () = look => {
                    if !self.is_in_force(&connection, &peer) {
                        return;
                    }
                }
            }
        }
    }

    /// Closes the connection when not.
    fn is_in_force(&self, connection: &Connection, peer: &Peer) -> bool {
        let is_in_force = peer.member.check_time(unix_now()).is_ok();
        if !is_in_force {
            self.tally.add(Count::Expired);
            connection.close(0u32.into(), b"credential expired");
        }
        is_in_force
    }

    /// False when the node has stopped.
    async fn take_message(&self, mut stream: RecvStream, peer: &Arc<Peer>) -> bool {
        match timeout(MESSAGE_TIME_MAX, stream.read_to_end(STREAM_MESSAGE_MAX_BYTES)).await {
            Ok(Ok(bytes)) => {
                self.tally.add(Count::StreamReceived);
                self.inbound.send(Inbound::Message { peer: peer.clone(), bytes }).await.is_ok()
            }
            Ok(Err(quinn::ReadToEndError::TooLong)) => {
                self.tally.add(Count::TooLong);
                true
            }
            Ok(Err(quinn::ReadToEndError::Read(_))) | Err(_) => {
                self.tally.add(Count::Malformed);
                true
            }
        }
    }

    async fn take_service(&self, send: SendStream, mut receive: RecvStream, peer: &Arc<Peer>) {
        let mut service = [0];
        if !matches!(timeout(MESSAGE_TIME_MAX, receive.read_exact(&mut service)).await, Ok(Ok(()))) {
            self.tally.add(Count::Malformed);
            return;
        }
        let stream = ServiceStream { service: Service(service[0]), peer: peer.clone(), send, receive };
        if self.services.try_send(stream).is_err() {
            self.tally.add(Count::Refused);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        // No task can leave the map half changed: each change is one call.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait before looking at a credential again that ends at `not_after`, unix seconds like `now`.
fn until_look(not_after: u64, now: u64) -> Duration {
    // It is in force through its last second.
    Duration::from_secs(not_after.saturating_sub(now).saturating_add(1)).min(CREDENTIAL_LOOK_MAX)
}

/// The VO that a dialling node says it belongs to.
fn asked_for(data: Box<dyn Any>) -> Option<NodeId> {
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    vo_in(data.server_name.as_deref()?)
}

type Made = (Link, mpsc::Receiver<Vec<u8>>, watch::Sender<State>);

impl Links {
    /// The kept link, or a new one with the other ends of its channels. The longest unused one may go.
    fn slot(&mut self, key: LinkKey) -> Result<Link, Made> {
        self.clock += 1;
        if let Some(link) = self.by_key.get_mut(&key)
            && !link.queue.is_closed()
        {
            link.used = self.clock;
            return Ok(link.clone());
        }
        let is_full = self.by_key.len() == LINKS_MAX && !self.by_key.contains_key(&key);
        if is_full && let Some(unused) = self.by_key.iter().min_by_key(|(_, l)| l.used).map(|(key, _)| *key) {
            self.by_key.remove(&unused);
        }
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let (sender, state) = watch::channel(State::Dialling);
        let link = Link { queue, state, used: self.clock };
        self.by_key.insert(key, link.clone());
        Err((link, queued, sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_links_the_longest_unused_one_goes() {
        let mut links = Links::default();
        let key = |number: usize| (NodeId::from_bytes([number as u8; 16]), 1);
        let made: Vec<Made> = (0..LINKS_MAX).filter_map(|number| links.slot(key(number)).err()).collect();
        assert_eq!(made.len(), LINKS_MAX);
        assert!(links.slot(key(0)).is_ok(), "it is used again");
        let newest = links.slot(key(LINKS_MAX));
        assert!(newest.is_err() && links.by_key.len() == LINKS_MAX);
        assert!(links.slot(key(0)).is_ok() && !links.by_key.contains_key(&key(1)));
    }

    #[test]
    fn a_credential_is_looked_at_when_it_ends_and_once_a_minute_before() {
        let table = [(100, 0, 60), (100, 41, 60), (100, 42, 59), (100, 99, 2), (100, 100, 1), (100, 500, 1)];
        for (not_after, now, seconds) in table {
            assert_eq!(until_look(not_after, now), Duration::from_secs(seconds), "{now}");
        }
        assert_eq!(until_look(u64::MAX, 0), CREDENTIAL_LOOK_MAX);
    }
}
