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
mod news;
mod outside;
mod peers;
mod rules;
mod speaker;
mod stream;
mod tokens;
mod updates;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use xtreem_allocation::Notice;
use xtreem_allocation::policy::Policy;
use xtreem_base::Duration;
use xtreem_net::{Contacts, Net, ServiceStream};
use xtreem_overlay::ring;
use xtreem_pubsub::broker::{Access, Broker, Config, Member};
use xtreem_pubsub::keeper::Rule;
use xtreem_pubsub::update::Updates;

use self::clients::{Inputs, Newcomer};
pub(crate) use self::door::Door;
pub use self::door::{DoorError, TcpConfig};
use self::grid::Grid;
pub(crate) use self::grid::item;
use self::news::{News, Reporter};
use self::outside::Outside;
use self::stream::Stream;
pub(crate) use self::tokens::Tokens;
use crate::waiting::Waiting;

/// Connections that wait to be taken: each takes a few microseconds.
const NEWCOMERS_MAX: usize = 256;
/// Streams of other servers that wait to be taken.
const STREAMS_MAX: usize = 64;
/// Events of the grid that wait to be said; what is more is counted as lost. Our guess: four seconds' worth.
const NEWS_MAX: usize = 1_024;

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
    news: mpsc::Sender<News>,
    missed: Arc<AtomicU64>,
    reporter: Mutex<Reporter>,
    policy: watch::Sender<Option<Arc<Policy>>>,
    /// This node as rules of the VO know it.
    pub(crate) node: Member,
    pub(crate) tokens: Arc<Tokens>,
}

impl Pubsub {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(
        config: &PubsubConfig,
        net: &Net,
        waiting: &Arc<Waiting>,
        node: Member,
        policy: Option<Policy>,
    ) -> io::Result<Pubsub> {
        let (policy, policy_in) = watch::channel(policy.map(Arc::new));
        let (newcomers, newcomers_in) = mpsc::channel(NEWCOMERS_MAX);
        let (streams, streams_in) = mpsc::channel(STREAMS_MAX);
        let (news, news_in) = mpsc::channel(NEWS_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let tokens = Arc::new(Tokens::default());
        let own = net.own_contact();
        let broker =
            Broker::new(Config { deals_groups: true, ..Config::default() }, own.id, own.incarnation.into());
        let (known, replay) = (tokens.clone(), config.replay.clone());
        let runtime = tokio::runtime::Handle::current();
        let grid = Grid::new(net.clone(), waiting.clone(), runtime);
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let lease = config.retained_lease;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inputs = Inputs {
            newcomers: newcomers_in,
            streams: streams_in,
            news: news_in,
            missed: missed.clone(),
            policy: policy_in.clone(),
        };
        thread::Builder::new().name("pubsub".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let outside = Outside::new(known, policy_in, grid.own(), key, Updates::new(seed, lease), replay);
            local.block_on(&runtime, clients::run(broker, outside, grid, inputs));
        })?;
        let reporter = Mutex::default();
        Ok(Pubsub { newcomers, streams, news, missed, policy, reporter, node, tokens })
    }

    /// A policy is in force from now on.
    pub(crate) fn set_policy(&self, policy: Policy) {
        self.policy.send_replace(Some(Arc::new(policy)));
    }

    /// Says of what happened on the ring what others may want to know.
    pub(crate) fn report_ring(&self, event: &ring::Event) {
        let news = self.reporter().of_ring(self.node.key, event);
        self.pass_on(news);
    }

    /// The same of applications.
    pub(crate) fn report_notice(&self, notice: &Notice, contacts: &Contacts) {
        let news = self.reporter().of_notice(self.node.key, notice, contacts);
        self.pass_on(news);
    }

    fn reporter(&self) -> MutexGuard<'_, Reporter> {
        // What it remembers is whole after each call.
        self.reporter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, news: impl IntoIterator<Item = News>) {
        for one in news {
            if let Err(TrySendError::Full(News::Say(_))) = self.news.try_send(one) {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
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
