//! The side that wants files: from several sources at once, from others when those fail, resuming what came.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use xtreem_base::{Digest, Rng};
use xtreem_net::Contact;

use super::protocol::{self, Request};
use crate::bulk;
use crate::program::FileRef;
use crate::store::{AcceptError, Fetch, FetchError, Pieces, Progress, Store};

/// Sources asked at once for one file (our guess: more only share the same downlink).
const SOURCES_AT_ONCE: usize = 4;
/// Sources kept in mind for one file.
const SOURCES_MAX: usize = 64;
/// A source that has not answered a request after this is left for another (our guess: a piece of 256 KiB
/// takes 10 s at 200 kbit/s).
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After so long without one new piece from anybody the files count as lost. Our guess: longer than the
/// agents of a split take to find each other, shorter than the 60 s in which a confirmed program must start.
pub(super) const GIVE_UP: Duration = Duration::from_secs(20);
/// Between two rounds over the sources, and between two questions to one that has nothing new.
const PAUSE: Duration = Duration::from_millis(200);
/// Questions to a source that has nothing new before it is left.
const IDLE_TURNS_MAX: u32 = 10;

/// A stream to a source.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// The way back.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The other nodes of one application, as far as files are concerned.
pub(crate) trait Peers: Sync {
    /// A pieces stream to that node.
    fn open(&self, source: Contact) -> impl Future<Output = io::Result<(Reader, Writer)>> + Send;

    /// Members of the application that may have files by now.
    fn more(&self) -> impl Future<Output = Vec<Contact>> + Send;
}

/// Why a program's files are not here. What came of them may serve others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("no node that can be reached has the whole of {digest}: {here} of {count} pieces came")]
    Lost { digest: Digest, here: u32, count: u32 },
    #[error("file {digest} cannot be stored: {reason}")]
    NotStored { digest: Digest, reason: String },
}

/// Brings every file of a program into the store.
pub(crate) async fn fetch_all(
    store: &Store,
    peers: &impl Peers,
    files: &[FileRef],
    sources: &[Contact],
    rng: &mut Rng,
) -> Result<(), Missing> {
    for file in files {
        if !store.has(file.digest) {
            fetch_one(store, peers, file, sources, rng).await?;
        }
    }
    Ok(())
}

async fn fetch_one(
    store: &Store,
    peers: &impl Peers,
    file: &FileRef,
    given: &[Contact],
    rng: &mut Rng,
) -> Result<(), Missing> {
    let (digest, len) = (file.digest, file.len);
    let not_stored = |reason: String| Missing::NotStored { digest, reason };
    let begun = {
        let store = store.clone();
        bulk::PIECES_IN.run(move || store.fetch(digest, len)).await
    };
    let fetch = match begun.map_err(|error| not_stored(error.to_string()))? {
        Ok(fetch) => fetch,
        Err(FetchError::Present(_)) => return Ok(()),
        Err(error) => return Err(not_stored(error.to_string())),
    };
    let mut sources: Vec<Contact> = given.iter().copied().take(SOURCES_MAX).collect();
    let mut liars: Vec<Contact> = Vec::new();
    let mut give_up = Instant::now() + GIVE_UP;
    loop {
        let before = fetch.pieces().len();
        rng.shuffle(&mut sources);
        match round(peers, &fetch, &sources, rng, give_up).await {
            Round::Complete => return Ok(()),
            Round::NotStored(reason) => return Err(not_stored(reason)),
            Round::Over { lied } => liars.extend(lied),
        }
        let here = fetch.pieces();
        if here.len() > before {
            give_up = Instant::now() + GIVE_UP;
        } else if Instant::now() >= give_up {
            return Err(Missing::Lost { digest, here: here.len(), count: here.count() });
        }
        sleep(PAUSE).await;
        for source in peers.more().await {
            if !sources.contains(&source) && sources.len() < SOURCES_MAX {
                sources.push(source);
            }
        }
        sources.retain(|source| !liars.contains(source));
    }
}

enum Round {
    Complete,
    /// No source has anything more; those that sent wrong pieces.
    Over {
        lied: Vec<Contact>,
    },
    NotStored(String),
}

/// Asks every source once, some at a time.
async fn round(
    peers: &impl Peers,
    fetch: &Fetch,
    sources: &[Contact],
    rng: &mut Rng,
    until: Instant,
) -> Round {
    let mut waiting = sources.iter();
    let mut lied = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < SOURCES_AT_ONCE {
            let Some(&source) = waiting.next() else { break };
            let rng = Rng::new(rng.next_u64());
            under_way.push(async move { (source, pull(peers, fetch, source, rng, until).await) });
        }
        match under_way.next().await {
            None => return Round::Over { lied },
            Some((_, Ok(true))) => return Round::Complete,
            Some((_, Ok(false))) => {}
            Some((source, Err(PullError::Piece(AcceptError::Disk(error))))) => {
                tracing::warn!(?source, %error, "a piece could not be stored");
                return Round::NotStored(error.to_string());
            }
            Some((source, Err(PullError::Piece(error)))) => {
                tracing::warn!(?source, %error, "source sent a wrong piece and is not asked again");
                lied.push(source);
            }
            Some((source, Err(PullError::Stream(error)))) => {
                tracing::debug!(?source, %error, "source left");
            }
        }
    }
}

#[derive(Debug)]
enum PullError {
    Stream(io::Error),
    Piece(AcceptError),
}

impl From<io::Error> for PullError {
    fn from(error: io::Error) -> Self {
        PullError::Stream(error)
    }
}

impl From<tokio::time::error::Elapsed> for PullError {
    fn from(elapsed: tokio::time::error::Elapsed) -> Self {
        PullError::Stream(elapsed.into())
    }
}

/// Takes pieces from one source until it has nothing new; true when the content is complete.
async fn pull(
    peers: &impl Peers,
    fetch: &Fetch,
    source: Contact,
    mut rng: Rng,
    until: Instant,
) -> Result<bool, PullError> {
    let (mut from, mut to) = timeout(ANSWER_MAX, peers.open(source)).await??;
    let mut idle_turns = 0;
    loop {
        let Some(offered) = ask_offer(&mut from, &mut to, fetch).await? else { return Ok(false) };
        while let Some(claim) = fetch.claim(&offered, rng.next_u64()) {
            let request = Request::Piece(fetch.digest(), claim.index());
            timeout(ANSWER_MAX, protocol::write_request(&mut to, request)).await??;
            let encoded = timeout(ANSWER_MAX, protocol::read_piece(&mut from)).await??;
            if encoded.is_empty() {
                return Ok(false);
            }
            match bulk::PIECES_IN.run(move || claim.accept(&encoded)).await? {
                Ok(Progress::Complete) => return Ok(true),
                Ok(Progress::Incomplete) => idle_turns = 0,
                Err(error) => return Err(PullError::Piece(error)),
            }
        }
        if fetch.is_complete() {
            return Ok(true);
        }
        idle_turns += 1;
        if idle_turns > IDLE_TURNS_MAX || Instant::now() >= until {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

async fn ask_offer(from: &mut Reader, to: &mut Writer, fetch: &Fetch) -> Result<Option<Pieces>, PullError> {
    timeout(ANSWER_MAX, protocol::write_request(to, Request::Offer(fetch.digest()))).await??;
    Ok(timeout(ANSWER_MAX, protocol::read_offer(from, fetch.len())).await??)
}
