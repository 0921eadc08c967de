//! Starting a node on a socket, and the handle through which its host talks to it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{Endpoint, EndpointConfig, Runtime as _, TokioRuntime};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use xtreem_base::{Digest, Handle, Instant, Rng};
use xtreem_node::{Config, Event, Me, Node};
use xtreem_wire::{Contact, NodeRecord};

use crate::connections::{Connections, transport};
use crate::counters::{Counters, Tally};
use crate::driver::{Command, Driver, Inputs, Outbox, Place, monotonic_now};
use crate::hello::Manners;
use crate::join::Join;
use crate::measure::{IsPortFree, Measure};
use crate::named::{Named, NamesPeers};
use crate::peers::PeerTable;
use crate::plane::DatagramPlane;
use crate::restore::SavedBytes;
use crate::roaming::{Roaming, by_route};
use crate::socket::{Cable, SharedSocket};
use crate::tls::Tls;
use crate::{Doubts, Identity, OpenError, Service, ServiceStream, TlsError};

/// Commands that wait for the node; beyond it callers wait.
const COMMANDS_MAX: usize = 256;

/// Messages from streams that wait for the node; beyond it connections wait.
pub(crate) const INBOUND_MAX: usize = 256;

/// Events that wait in the host's channel; beyond it they wait in the driver.
const EVENTS_MAX: usize = 1_024;

/// Handshakes that quinn keeps before they are taken; beyond it they are refused.
const HANDSHAKES_MAX: usize = 256;

/// What a node needs to start.
pub struct NetConfig {
    /// The identity of a node, not of a user.
    pub identity: Identity,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that peers are told, when `bind` is a wildcard or behind a translation.
    pub advertise: Option<IpAddr>,
    /// Greater than at any earlier start with this identity.
    pub incarnation: u32,
    /// Nodes of the grid to join through, as `HOST:PORT`; may be unreachable, or unknown, for now.
    pub join: Vec<String>,
    /// Where other nodes were at an earlier start, as `HOST:PORT`: dialled when no node is known.
    pub kept: Vec<String>,
    /// Addresses to which this machine may have a route, the best first: when neither `bind` nor `advertise`
    /// says which address peers are told, it is the one from which the machine would send there.
    pub hints: Vec<SocketAddr>,
    /// Digest of the declared attributes, for the node's record.
    pub attributes: Digest,
    pub node: Arc<Config>,
    /// Decides all of the node's random choices. From the operating system, outside of tests.
    pub seed: u64,
    /// Takes the service streams that peers open; when it is full, more are refused.
    pub services: mpsc::Sender<ServiceStream>,
    /// Emulation pulls it out; never touched on a real grid.
    pub cable: Cable,
}

/// A node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot bind {addr}: {source}")]
    Bind {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the socket: {0}")]
    Socket(#[source] io::Error),
    #[error("{bind} is no address that peers can reach: set `advertise`")]
    NoAddress { bind: SocketAddr },
}

/// The node's task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// A running node. Clones talk to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct Net {
    commands: mpsc::Sender<Command>,
    connections: Arc<Connections>,
    correction_ms: Arc<AtomicI64>,
    doubts: watch::Receiver<Doubts>,
    own: Arc<Mutex<Contact>>,
}

impl Net {
    /// Binds the socket and starts the node's task. Must be called within a tokio runtime.
    pub fn start(config: NetConfig) -> Result<(Net, mpsc::Receiver<Named<Event>>), StartError> {
        let NetConfig { identity, bind, incarnation, node: node_config, seed, services, cable, .. } = config;
        let tls = Tls::new(&identity)?;
        let bind_error = |source| StartError::Bind { addr: bind, source };
        let socket = UdpSocket::bind(bind).map_err(bind_error)?;
        let bound = socket.local_addr().map_err(StartError::Socket)?;
        let ip = advertised(config.advertise, bound, &config.hints);
        let ip = ip.ok_or(StartError::NoAddress { bind })?;
        let is_roaming = config.advertise.is_none() && bound.ip().is_unspecified();
        let roaming = is_roaming.then(|| Roaming::new(bound, config.hints.clone(), monotonic_now()));
        let own = Contact { id: identity.id(), addr: SocketAddr::new(ip, bound.port()), incarnation };
        let record = NodeRecord { addr: own.addr, incarnation, attributes: config.attributes };
        let root = *identity.root();
        let plane = DatagramPlane::new(identity.clone(), record);
        let run = getrandom::u64().map_err(|error| StartError::Socket(io::Error::other(error)))?;
        let signer = identity.clone();
        let manners = Manners { identity, record: Mutex::new(plane.record().to_vec()), run };

        let tally = Arc::new(Tally::default());
        let wrapped = TokioRuntime.wrap_udp_socket(socket).map_err(StartError::Socket)?;
        let (socket, datagrams) =
            SharedSocket::new(wrapped, tally.clone(), cable, scope(bind, &config.hints))
                .map_err(StartError::Socket)?;
        let endpoint = endpoint(&tls, socket.clone()).map_err(StartError::Socket)?;

        let (inbound_sender, inbound) = mpsc::channel(INBOUND_MAX);
        let connections =
            Connections::new(endpoint, socket, tls.client, manners, tally, inbound_sender, services);
        tokio::spawn(connections.clone().accept());

        let mut table = PeerTable::default();
        // The table is empty: there is room for one.
        let handle = table.intern_proven(own).expect("an empty table has room").0;
        let now = monotonic_now();
        let round = node_config.membership.period;
        let node = Node::new(node_config, Me { handle, id: own.id, incarnation }, seed, now);
        let correction_ms = Arc::new(AtomicI64::new(0));
        let join = Join::new(now, round, Rng::derive(seed, 0, "join"), config.join, config.kept);
        let own = Arc::new(Mutex::new(own));
        let outbox = Outbox::new(table, signer);
        let (doubts_told, doubts) = watch::channel(Doubts::default());
        let links = connections.clone();
        let place = Place { handle, contact: own.clone(), roaming };
        let driver =
            Driver::new(node, place, outbox, plane, root, links, join, correction_ms.clone(), doubts_told);
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let inputs = Inputs { datagrams, inbound, commands: received };
        tokio::spawn(driver.run(inputs, events_sender, commands.downgrade()));
        Ok((Net { commands, connections, correction_ms, doubts, own }, events))
    }

    /// Runs `f` on the node, in its task.
    pub async fn call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Instant, &mut Outbox) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.ask(move |driver| f(&mut driver.node, monotonic_now(), &mut driver.outbox)).await
    }

    /// As [`Self::call`], with the contacts of all peers that the answer names.
    pub async fn call_named<R: NamesPeers + Send + 'static>(
        &self,
        f: impl FnOnce(&mut Node, Instant, &mut Outbox) -> R + Send + 'static,
    ) -> Result<Named<R>, Stopped> {
        self.ask(move |driver| {
            let answer = f(&mut driver.node, monotonic_now(), &mut driver.outbox);
            Named::new(answer, &driver.outbox.table)
        })
        .await
    }

    /// Takes up what the node kept of its time before this start: the first thing that it is told. Says how
    /// many values could not be read.
    pub async fn restore(&self, saved: SavedBytes) -> Result<usize, Stopped> {
        self.ask(move |driver| driver.restore(saved)).await
    }

    /// From now on `measure` runs before questions about this machine are answered, and `is_port_free` before
    /// a hold with such a port is granted.
    pub async fn set_measure(&self, measure: Measure, is_port_free: IsPortFree) -> Result<(), Stopped> {
        self.ask(move |driver| driver.measuring.set(measure, is_port_free)).await
    }

    /// As before a question, for this node's own search.
    pub async fn measure(&self) -> Result<(), Stopped> {
        self.ask(|driver| driver.measuring.refresh(&mut driver.node, monotonic_now())).await
    }

    /// The handle for a contact; `None` when the table is full or the node has stopped.
    pub async fn handle_of(&self, contact: Contact) -> Option<Handle> {
        self.ask(move |driver| driver.outbox.table.intern(contact)).await.ok().flatten()
    }

    /// Opens a stream to a service of another agent. Connections end after ten silent seconds: a stream that
    /// is idle longer must say something.
    pub async fn open(
        &self,
        to: Contact,
        service: Service,
    ) -> Result<(quinn::SendStream, quinn::RecvStream), OpenError> {
        self.connections.open(to, service).await
    }

    /// This node as its peers see it. Its address may change while it runs.
    pub fn own_contact(&self) -> Contact {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that peers use.
    pub fn local_addr(&self) -> SocketAddr {
        self.own_contact().addr
    }

    pub fn identity(&self) -> &Identity {
        &self.connections.manners.identity
    }

    pub fn counters(&self) -> Counters {
        self.connections.tally.read()
    }

    /// How far this machine's clock is behind the median of its peers, in milliseconds, when that is more
    /// than 30 s; zero otherwise.
    pub fn clock_correction_ms(&self) -> i64 {
        self.correction_ms.load(Ordering::Relaxed)
    }

    /// What this node knows of other machines with its key, and when that changes.
    pub fn doubts(&self) -> watch::Receiver<Doubts> {
        self.doubts.clone()
    }

    /// Closes all connections and ends the node's task; other clones are of no use afterwards.
    pub async fn stop(self) {
        self.connections.endpoint.close(0u32.into(), b"stopped");
        self.commands.closed().await;
    }

    async fn ask<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Driver) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |driver| {
            // A caller that gave up needs no answer.
            let _ = reply.send(f(driver));
        });
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

fn endpoint(tls: &Tls, socket: Arc<SharedSocket>) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::default();
    // The fixed bit tells QUIC from our datagrams.
    config.grease_quic_bit(false);
    let mut server = quinn::ServerConfig::with_crypto(tls.server.clone());
    server.transport_config(transport()).max_incoming(HANDSHAKES_MAX).migration(false);
    Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime))
}

/// The address to tell peers: as configured, or as bound, or the source address of the route to one of
/// `hints`.
fn advertised(configured: Option<IpAddr>, bound: SocketAddr, hints: &[SocketAddr]) -> Option<IpAddr> {
    let told = configured.or(Some(bound.ip())).filter(|ip| !ip.is_unspecified());
    told.or_else(|| by_route(bound.is_ipv6(), hints.iter().copied()))
}

/// The interface by which link-local addresses of peers are reached: that of the own address or of the first
/// hint that names one. Zero: none.
fn scope(bind: SocketAddr, hints: &[SocketAddr]) -> u32 {
    let scope = |addr: &SocketAddr| match addr {
        SocketAddr::V6(addr) => addr.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    [bind].iter().chain(hints).map(scope).find(|scope| *scope != 0).unwrap_or(0)
}

#[cfg(test)]
mod tests;
