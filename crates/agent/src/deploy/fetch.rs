//! The side that wants files: from several sources at once, from others when those fail, resuming what came.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
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
/// A source that is silent for so long is left for another (our guess: thousands of round trips).
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A piece takes so long at most: 256 KiB at 50 kbit/s. Shorter than [`PROVED_MAX`], so that another source
/// can be asked for it.
const PIECE_MAX: Duration = Duration::from_secs(40);
/// After so long without a byte of a piece from anybody the files count as lost. Our guess: longer than the
/// agents of a split take to find each other.
pub(super) const GIVE_UP: Duration = Duration::from_secs(20);
/// After so long without one whole piece they count as lost, too, whatever trickles in. Shorter than the 60 s
/// after which the node takes a start for stuck that comes no nearer.
pub(super) const PROVED_MAX: Duration = Duration::from_secs(50);
/// While some source delivers, others are looked for this often, and those that had nothing new are asked
/// again. Our guess: some pieces of a fast network.
const MORE_PERIOD: Duration = Duration::from_secs(2);
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

/// Brings every file of a program into the store. `tell` is called with each piece that came.
pub(crate) async fn fetch_all(
    store: &Store,
    peers: &impl Peers,
    files: &[FileRef],
    sources: &[Contact],
    rng: &mut Rng,
    tell: &(dyn Fn() + Sync),
) -> Result<(), Missing> {
    for file in files {
        if !store.has(file.digest) {
            fetch_one(store, peers, file, sources, rng, tell).await?;
        }
    }
    Ok(())
}

/// One file on its way.
struct Transfer<'a> {
    fetch: Fetch,
    /// When the last bytes of a piece came.
    heard: Mutex<Instant>,
    tell: &'a (dyn Fn() + Sync),
}

impl Transfer<'_> {
    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch_one(
    store: &Store,
    peers: &impl Peers,
    file: &FileRef,
    given: &[Contact],
    rng: &mut Rng,
    tell: &(dyn Fn() + Sync),
) -> Result<(), Missing> {
    let (digest, len) = (file.digest, file.len);
    let not_stored = |reason: String| Missing::NotStored { digest, reason };
    let begun = {
        let store = store.clone();
        bulk::PIECES_IN.run(move || begin(&store, digest, len)).await
    };
    let fetch = match begun.map_err(|error| not_stored(error.to_string()))? {
        Ok(fetch) => fetch,
        Err(FetchError::Present(_)) => return Ok(()),
        Err(error) => return Err(not_stored(error.to_string())),
    };
    let transfer = Transfer { fetch, heard: Mutex::new(Instant::now()), tell };
    let mut sources: Vec<Contact> = given.iter().copied().take(SOURCES_MAX).collect();
    let (mut liars, mut slow): (Vec<Contact>, Vec<Contact>) = (Vec::new(), Vec::new());
    let mut proved = Instant::now();
    loop {
        let before = transfer.fetch.pieces().len();
        rng.shuffle(&mut sources);
        // Who let a piece wait is asked after the others.
        sources.sort_by_key(|source| slow.contains(source));
        let until = transfer.heard() + GIVE_UP;
        match round(peers, &transfer, &mut sources, &liars, rng, until).await {
            Round::Complete => return Ok(()),
            Round::NotStored(reason) => return Err(not_stored(reason)),
            Round::Over { lied, late } => {
                liars.extend(lied);
                slow.extend(late);
            }
        }
        let here = transfer.fetch.pieces();
        let now = Instant::now();
        if here.len() > before {
            // Another task may have brought it.
            tell();
            transfer.hear();
            proved = now;
        } else if now >= transfer.heard() + GIVE_UP || now >= proved + PROVED_MAX {
            return Err(Missing::Lost { digest, here: here.len(), count: here.count() });
        }
        sleep(PAUSE).await;
        learn(peers, &mut sources).await;
        sources.retain(|source| !liars.contains(source));
    }
}

/// Asks for members that may have the file by now.
async fn learn(peers: &impl Peers, sources: &mut Vec<Contact>) {
    for source in peers.more().await {
        if !sources.contains(&source) && sources.len() < SOURCES_MAX {
            sources.push(source);
        }
    }
}

/// Content without a byte needs no source, and no source could send it.
fn begin(store: &Store, digest: Digest, len: u64) -> Result<Fetch, FetchError> {
    let is_empty = len == 0 && digest.as_bytes() == blake3::hash(b"").as_bytes();
    if is_empty && store.put_reader(io::empty()).is_ok() {
        return Err(FetchError::Present(digest));
    }
    store.fetch(digest, len)
}

enum Round {
    Complete,
    /// No source has anything more; those that sent wrong pieces, and those that were too slow with one.
    Over {
        lied: Vec<Contact>,
        late: Vec<Contact>,
    },
    NotStored(String),
}

/// Asks every source, some at a time, until none of them has anything more. Those that come to have something
/// meanwhile are asked as well: who waits for one slow source alone makes everybody take all from it.
async fn round(
    peers: &impl Peers,
    transfer: &Transfer<'_>,
    sources: &mut Vec<Contact>,
    liars: &[Contact],
    rng: &mut Rng,
    until: Instant,
) -> Round {
    let mut waiting: VecDeque<Contact> = sources.iter().copied().collect();
    // Asked now, and those that failed in this round.
    let (mut asked, mut failed): (Vec<Contact>, Vec<Contact>) = (Vec::new(), Vec::new());
    let (mut lied, mut late) = (Vec::new(), Vec::new());
    let mut under_way = FuturesUnordered::new();
    let mut look = interval_at(Instant::now() + MORE_PERIOD, MORE_PERIOD);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while under_way.len() < SOURCES_AT_ONCE {
            let Some(source) = waiting.pop_front() else { break };
            let rng = Rng::new(rng.next_u64());
            asked.push(source);
            under_way.push(async move { (source, pull(peers, transfer, source, rng, until).await) });
        }
        let ended = tokio::select! {
            ended = under_way.next() => ended,
            _ = look.tick() => {
                learn(peers, sources).await;
                let is_idle = |source: &&Contact| {
                    let known = [&asked[..], &failed, liars];
                    !waiting.contains(source) && !known.iter().any(|known| known.contains(source))
                };
                let idle: Vec<Contact> = sources.iter().filter(is_idle).copied().collect();
                waiting.extend(idle);
                continue;
            }
        };
        let Some((source, pulled)) = ended else { return Round::Over { lied, late } };
        asked.retain(|other| *other != source);
        if pulled.is_err() {
            failed.push(source);
        }
        match pulled {
            Ok(true) => return Round::Complete,
            Ok(false) => {}
            Err(PullError::Piece(AcceptError::Disk(error))) => {
                tracing::warn!(?source, %error, "a piece could not be stored");
                return Round::NotStored(error.to_string());
            }
            Err(PullError::Piece(error)) => {
                tracing::warn!(?source, %error, "source sent a wrong piece and is not asked again");
                lied.push(source);
            }
            Err(PullError::Late) => {
                tracing::debug!(?source, "source is too slow with a piece");
                late.push(source);
            }
            Err(PullError::Stream(error)) => {
                tracing::debug!(?source, %error, "source left");
            }
        }
    }
}

#[derive(Debug)]
enum PullError {
    Stream(io::Error),
    /// One piece took too long.
    Late,
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
    transfer: &Transfer<'_>,
    source: Contact,
    mut rng: Rng,
    until: Instant,
) -> Result<bool, PullError> {
    let fetch = &transfer.fetch;
    let (mut from, mut to) = timeout(ANSWER_MAX, peers.open(source)).await??;
    let mut idle_turns = 0;
    loop {
        let Some(offered) = ask_offer(&mut from, &mut to, fetch).await? else { return Ok(false) };
        while let Some(claim) = fetch.claim(&offered, rng.next_u64()) {
            let request = Request::Piece(fetch.digest(), claim.index());
            timeout(ANSWER_MAX, protocol::write_request(&mut to, request)).await??;
            let hear = || transfer.hear();
            let piece = protocol::read_piece(&mut from, ANSWER_MAX, &hear);
            let encoded = timeout(PIECE_MAX, piece).await.map_err(|_| PullError::Late)??;
            if encoded.is_empty() {
                return Ok(false);
            }
            match bulk::PIECES_IN.run(move || claim.accept(&encoded)).await? {
                Ok(Progress::Complete) => return Ok(true),
                Ok(Progress::Incomplete) => {
                    (transfer.tell)();
                    idle_turns = 0;
                }
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
