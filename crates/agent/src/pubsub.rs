//! Publish/subscribe for the programs and people of this machine: the textual protocol at the Unix sockets of
//! the local API, and over TCP where the configuration asks for it.
//!
//! One thread of its own serves all connections and owns the broker (`xtreem_pubsub::broker`): no lock lies
//! on an event's way, and none of it passes the node. The same thread has a stream to each server that wants
//! what is published here (`xtreem_pubsub::relay`), and those of servers that publish.
//! `docs/protocols/pubsub.md`.

pub(crate) mod access;
mod clients;
mod door;
mod grid;
mod outside;
mod peers;
mod stream;
mod tokens;
mod updates;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use xtreem_base::Duration;
use xtreem_net::{Net, ServiceStream};
use xtreem_pubsub::broker::{Access, Broker, Config};
use xtreem_pubsub::keeper::Rule;
use xtreem_pubsub::update::Updates;

use self::clients::Newcomer;
pub(crate) use self::door::Door;
pub use self::door::{DoorError, TcpConfig};
use self::grid::Grid;
use self::outside::Outside;
use self::stream::Stream;
pub(crate) use self::tokens::Tokens;
use crate::waiting::Waiting;

/// Connections that wait to be taken: each takes a few microseconds.
const NEWCOMERS_MAX: usize = 256;
/// Streams of other servers that wait to be taken.
const STREAMS_MAX: usize = 64;

/// What `[pubsub]` of the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubsubConfig {
    /// Over TCP, beside the local API's sockets.
    pub tcp: Option<TcpConfig>,
    /// Last values of topics go after so long, unless they are published again.
    pub retained_lease: Duration,
    /// Of which topics past events are kept, for those who ask for a replay.
    pub replay: Vec<Rule>,
}

impl Default for PubsubConfig {
    /// A day (our guess): over a night on which nobody publishes, and not for ever.
    fn default() -> Self {
        PubsubConfig { tcp: None, retained_lease: Duration::from_secs(86_400), replay: Vec::new() }
    }
}

/// The way to the thread that serves. It ends when this is dropped.
pub(crate) struct Pubsub {
    newcomers: mpsc::Sender<Newcomer>,
    streams: mpsc::Sender<ServiceStream>,
    pub(crate) tokens: Arc<Tokens>,
}

impl Pubsub {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(config: &PubsubConfig, net: &Net, waiting: &Arc<Waiting>) -> io::Result<Pubsub> {
        let (newcomers, newcomers_in) = mpsc::channel(NEWCOMERS_MAX);
        let (streams, streams_in) = mpsc::channel(STREAMS_MAX);
        let tokens = Arc::new(Tokens::default());
        let own = net.own_contact();
        let broker = Broker::new(Config::default(), own.id, own.incarnation.into());
        let (known, replay) = (tokens.clone(), config.replay.clone());
        let runtime = tokio::runtime::Handle::current();
        let grid = Grid::new(net.clone(), waiting.clone(), runtime);
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let lease = config.retained_lease;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("pubsub".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let outside = Outside::new(known, grid.own(), key, Updates::new(seed, lease), replay);
            local.block_on(&runtime, clients::run(broker, outside, grid, newcomers_in, streams_in));
        })?;
        Ok(Pubsub { newcomers, streams, tokens })
    }

    /// A stream that another server has opened here. When too many come at once it ends, and that one opens
    /// another.
    pub(crate) fn hear(&self, stream: ServiceStream) {
        if self.streams.try_send(stream).is_err() {
            tracing::debug!("a stream of events was not taken: too many came at once");
        }
    }

    /// A connection of the local API, with what was not read of it yet. When too many come at once it ends.
    pub(crate) fn take(&self, stream: UnixStream, access: Access, room: Option<OwnedSemaphorePermit>) {
        let newcomer = Newcomer { stream: Stream::Unix(stream), access, room };
        if self.newcomers.try_send(newcomer).is_err() {
            tracing::warn!("a connection of publish/subscribe was not taken: too many came at once");
        }
    }
}
