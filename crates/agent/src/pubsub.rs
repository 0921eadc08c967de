//! Publish/subscribe for the programs and people of this machine: the textual protocol at the Unix sockets of
//! the local API, and over TCP where the configuration asks for it.
//!
//! One thread of its own serves all connections and owns the broker (`xtreem_pubsub::broker`): no lock lies
//! on an event's way, and none of it passes the node. `docs/protocols/pubsub.md`.

pub(crate) mod access;
mod clients;
mod door;
mod stream;
mod tokens;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;
use xtreem_base::NodeId;
use xtreem_pubsub::broker::{Access, Broker, Config};

use self::clients::Newcomer;
pub(crate) use self::door::Door;
pub use self::door::{DoorError, TcpConfig};
use self::stream::Stream;
pub(crate) use self::tokens::Tokens;

/// Connections that wait to be taken: each takes a few microseconds.
const NEWCOMERS_MAX: usize = 256;

/// The way to the thread that serves. It ends when this is dropped.
pub(crate) struct Pubsub {
    newcomers: mpsc::Sender<Newcomer>,
    pub(crate) tokens: Arc<Tokens>,
}

impl Pubsub {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(node: NodeId, incarnation: u64) -> io::Result<Pubsub> {
        let (newcomers, waiting) = mpsc::channel(NEWCOMERS_MAX);
        let tokens = Arc::new(Tokens::default());
        let broker = Broker::new(Config::default(), node, incarnation);
        let known = tokens.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("pubsub".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, clients::run(broker, known, waiting));
        })?;
        Ok(Pubsub { newcomers, tokens })
    }

    /// A connection of the local API, with what was not read of it yet. When too many come at once it ends.
    pub(crate) fn take(&self, stream: UnixStream, access: Access) {
        let newcomer = Newcomer { stream: Stream::Unix(stream), access };
        if self.newcomers.try_send(newcomer).is_err() {
            tracing::warn!("a connection of publish/subscribe was not taken: too many came at once");
        }
    }
}
