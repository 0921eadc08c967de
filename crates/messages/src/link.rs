//! The link to one slot: messages wait here, go out in their order on one stream of one connection, and are
//! acknowledged by their number. When the connection ends, what was sent and not acknowledged fails, and what
//! waits goes to whoever holds the slot then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use crate::address::{Address, Misaddressed};
use crate::attend::attend;
use crate::error::SendError;
use crate::frame::{ADDRESSED, REFUSED};
use crate::hello::{Close, MESSAGES, Met, STREAM};
use crate::limits::{IDLE_MAX, STALL_MAX};
use crate::mailbox::Shared;
use crate::reach::reach;
use crate::stream::OutStream;

/// Messages handed to QUIC at once.
const BATCH_MAX: usize = 512;

/// Shorter ones are copied together, longer ones handed over as they are.
const COPIED_MAX_BYTES: usize = 4 << 10;

/// What a program asks of a link.
pub(crate) enum Job {
    Message(Out),
    Stream { reply: oneshot::Sender<Result<OutStream, SendError>>, since: Instant },
}

/// A message on its way out.
pub(crate) struct Out {
    pub label: Option<Box<Label>>,
    pub body: Bytes,
    pub receipt: oneshot::Sender<Result<(), SendError>>,
    pub room: OwnedSemaphorePermit,
    pub since: Instant,
    pub decision: Decision,
}

/// What becomes of a message is decided once: by its link, which sends it, or by its sender, who gives it up
/// before. So who gave it up knows whether it was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision(Arc<AtomicBool>);

impl Decision {
    /// True for whoever asks first.
    pub(crate) fn is_mine(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// By what a message is addressed, and the same as it travels.
pub(crate) struct Label {
    pub address: Address,
    pub bytes: Vec<u8>,
}

impl Job {
    fn since(&self) -> Instant {
        match self {
            Job::Message(out) => out.since,
            Job::Stream { since, .. } => *since,
        }
    }

    /// Who asked may have gone.
    fn fail(self, error: SendError) {
        match self {
            Job::Message(out) => drop(out.receipt.send(Err(error))),
            Job::Stream { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// Messages that were sent and are not acknowledged, in their order.
#[derive(Default)]
struct Flight(Mutex<VecDeque<Sent>>);

struct Sent {
    label: Option<Box<Label>>,
    receipt: oneshot::Sender<Result<(), SendError>>,
    _room: OwnedSemaphorePermit,
    since: Instant,
}

impl Flight {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there are not so many.
    fn acknowledge(&self, count: u64) -> bool {
        let mut queue = self.queue();
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= queue.len()) else {
            return false;
        };
        for sent in queue.drain(..count) {
            let _ = sent.receipt.send(Ok(()));
        }
        true
    }

    /// The oldest, which was addressed by more than its slot. False when there is no such one.
    fn refuse(&self, slot: u16, why: Misaddressed) -> bool {
        let mut queue = self.queue();
        if queue.front().is_none_or(|sent| sent.label.is_none()) {
            return false;
        }
        if let Some(Sent { label: Some(label), receipt, .. }) = queue.pop_front() {
            let address = Box::new(label.address);
            let _ = receipt.send(Err(SendError::Misaddressed { slot, address, why }));
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// The oldest waits for longer than a program may take.
    fn is_stalled(&self) -> bool {
        self.queue().front().is_some_and(|sent| sent.since.elapsed() >= STALL_MAX)
    }

    /// When the peer is given up, should it acknowledge nothing: it was last heard at this time.
    fn stalls_at(&self, heard: Instant) -> Option<Instant> {
        self.queue().front().map(|oldest| oldest.since.max(heard) + STALL_MAX)
    }
}

/// Serves one link until nobody can ask anything of it any more.
pub(crate) async fn run(shared: Arc<Shared>, slot: u16, mut jobs: mpsc::Receiver<Job>) {
    let mut known = None;
    // Taken from the queue, and nothing of it sent.
    let mut pending: Vec<Job> = Vec::new();
    loop {
        if pending.is_empty() {
            let Some(first) = jobs.recv().await else { return };
            pending.push(first);
        }
        match reach(&shared, slot, &mut known, pending[0].since()).await {
            Ok(met) => {
                let flight = Flight::default();
                let why = talk(&shared, met, &mut pending, &mut jobs, &flight).await;
                let not_acknowledged = SendError::NotAcknowledged { slot, why };
                for sent in flight.queue().drain(..) {
                    let _ = sent.receipt.send(Err(not_acknowledged.clone()));
                }
            }
            Err(error) => {
                pending.drain(..).for_each(|job| job.fail(error.clone()));
                while let Ok(job) = jobs.try_recv() {
                    job.fail(error.clone());
                }
            }
        }
    }
}

/// Until the connection ends; says why it did.
async fn talk(
    shared: &Shared,
    met: Met,
    pending: &mut Vec<Job>,
    jobs: &mut mpsc::Receiver<Job>,
    flight: &Flight,
) -> String {
    let Met { connection, peer, send: control_out, receive: control_in } = met;
    let talking = async {
        let (mut send, receive) = match open(&connection, MESSAGES).await {
            Ok(opened) => opened,
            Err(why) => return why,
        };
        let (slot, connection) = (peer.slot, &connection);
        let mut writing = Writing { slot, connection, pending, jobs, flight, open: Arc::default() };
        tokio::select! {
            why = writing.run(&mut send) => why,
            why = hear(receive, slot, flight, connection) => why,
        }
    };
    let why = tokio::select! {
        why = talking => why,
        why = attend(&shared.standing, &connection, peer, (control_out, control_in)) => why,
    };
    let why = match connection.close_reason() {
        // The other side's own words, or QUIC's, say more than what broke by it.
        Some(reason) if reason != ConnectionError::LocallyClosed => reason.to_string(),
        _ => why,
    };
    Close::Done.end(&connection, &why);
    why
}

async fn open(connection: &Connection, kind: u8) -> Result<(SendStream, RecvStream), String> {
    let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(&[kind]).await.map_err(|error| error.to_string())?;
    Ok((send, receive))
}

struct Writing<'a> {
    slot: u16,
    connection: &'a Connection,
    pending: &'a mut Vec<Job>,
    jobs: &'a mut mpsc::Receiver<Job>,
    flight: &'a Flight,
    /// One more for each stream that is open.
    open: Arc<()>,
}

impl Writing<'_> {
    async fn run(&mut self, send: &mut SendStream) -> String {
        let (mut short, mut parts) = (BytesMut::new(), Vec::new());
        loop {
            // What is not written yet goes on to whoever holds the slot next.
            if let Some(reason) = self.connection.close_reason() {
                return reason.to_string();
            }
            let now = Instant::now();
            for job in std::mem::take(&mut *self.pending) {
                match job {
                    Job::Message(out) => self.add(out, now, &mut short, &mut parts),
                    Job::Stream { reply, .. } => self.open_stream(reply),
                }
            }
            if !short.is_empty() {
                parts.push(short.split().freeze());
            }
            if let Err(error) = send.write_all_chunks(&mut parts).await {
                return error.to_string();
            }
            parts.clear();
            match timeout(IDLE_MAX, self.jobs.recv_many(self.pending, BATCH_MAX)).await {
                Ok(0) => return self.end().await,
                Ok(_) => {}
                Err(_) if self.is_idle() => return "nothing was said for a while".to_owned(),
                Err(_) => {}
            }
        }
    }

    /// From here on it counts as sent.
    fn add(&self, out: Out, now: Instant, short: &mut BytesMut, parts: &mut Vec<Bytes>) {
        // Who gave up while it waited does not want it sent.
        if out.receipt.is_closed() || !out.decision.is_mine() {
            return;
        }
        let Out { label, body, receipt, room, .. } = out;
        // The lengths fit: they were checked when the message was taken.
        match &label {
            None => short.put_u32(body.len() as u32),
            Some(label) => {
                short.put_u32(ADDRESSED | (2 + label.bytes.len() + body.len()) as u32);
                short.put_u16(label.bytes.len() as u16);
                short.extend_from_slice(&label.bytes);
            }
        }
        self.flight.queue().push_back(Sent { label, receipt, _room: room, since: now });
        if body.len() <= COPIED_MAX_BYTES {
            short.extend_from_slice(&body);
        } else {
            parts.push(short.split().freeze());
            parts.push(body);
        }
    }

    /// In a task of its own: it may have to wait until another stream ends.
    fn open_stream(&self, reply: oneshot::Sender<Result<OutStream, SendError>>) {
        let (slot, connection, is_open) = (self.slot, self.connection.clone(), self.open.clone());
        tokio::spawn(async move {
            let opened = open(&connection, STREAM).await;
            let opened = opened.map_err(|why| SendError::NotReached { slot, why });
            let stream = opened.map(|(send, receive)| OutStream {
                slot,
                send,
                receive,
                _open: is_open,
                is_finished: false,
            });
            let _ = reply.send(stream);
        });
    }

    fn is_idle(&self) -> bool {
        self.flight.is_empty() && Arc::strong_count(&self.open) == 1
    }

    /// Nobody can send any more: what is under way may still be acknowledged.
    async fn end(&self) -> String {
        while !self.is_idle() && !self.flight.is_stalled() {
            tokio::time::sleep(crate::limits::PAUSE.0).await;
        }
        "the mailbox is closed".to_owned()
    }
}

/// Takes acknowledgements: how many messages of this connection the peer has in its mailbox by now, and which
/// it does not take by their address.
async fn hear(mut receive: RecvStream, slot: u16, flight: &Flight, connection: &Connection) -> String {
    let mut before = 0;
    loop {
        let (count, refused) = match next_word(&mut receive, flight).await {
            Ok(word) => word,
            Err((close, why)) => {
                close.end(connection, &why);
                return why;
            }
        };
        let taken = count.checked_sub(u64::from(refused.is_some()));
        let taken = taken.and_then(|taken| taken.checked_sub(before));
        let is_sound = taken.is_some_and(|taken| flight.acknowledge(taken))
            && refused.is_none_or(|why| flight.refuse(slot, why));
        if !is_sound {
            Close::Fault.end(connection, "acknowledges what was not sent");
            return "it acknowledges what was not sent".to_owned();
        }
        before = count;
    }
}

/// A number of messages, and why the last of them was refused, if it was.
async fn next_word(
    receive: &mut RecvStream,
    flight: &Flight,
) -> Result<(u64, Option<Misaddressed>), (Close, String)> {
    let mut count = [0; 8];
    read(receive, &mut count, flight).await?;
    let count = u64::from_be_bytes(count);
    if count & REFUSED == 0 {
        return Ok((count, None));
    }
    let (mut len, mut why) = ([0], [0; Misaddressed::MAX_BYTES]);
    read(receive, &mut len, flight).await?;
    let malformed = || (Close::Fault, "refuses a message in words that are malformed".to_owned());
    let why = why.get_mut(..usize::from(len[0])).ok_or_else(malformed)?;
    read(receive, why, flight).await?;
    Ok((count & !REFUSED, Some(Misaddressed::read(why).ok_or_else(malformed)?)))
}

async fn read(receive: &mut RecvStream, bytes: &mut [u8], flight: &Flight) -> Result<(), (Close, String)> {
    let heard = Instant::now();
    let read = receive.read_exact(bytes);
    tokio::pin!(read);
    loop {
        // With nothing in flight it is looked at again before something sent meanwhile can stall.
        let end = flight.stalls_at(heard).unwrap_or_else(|| Instant::now() + STALL_MAX);
        match timeout_at(end.into(), &mut read).await {
            Ok(read) => return read.map_err(|error| (Close::Done, error.to_string())),
            Err(_) if flight.stalls_at(heard).is_some_and(|end| end <= Instant::now()) => {
                let why = format!("STALL_MAX: nothing was acknowledged for {} s", STALL_MAX.as_secs());
                return Err((Close::Stalled, why));
            }
            Err(_) => {}
        }
    }
}
