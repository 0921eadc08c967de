//! Streams between servers: one to each that something is on its way to, opened when it is needed, and one of
//! each that sends something here.
//!
//! Frames go one way, and eight bytes the other: the number up to which all are taken. A stream that breaks
//! is opened again, and what was not taken is sent again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use xtreem_base::NodeId;
use xtreem_net::{RecvStream, SendStream, ServiceStream};
use xtreem_pubsub::relay::{self, LENGTH_BYTES, Received, length};

use super::clients::Server;

/// A stream on which nothing was said for so long ends: shorter than the silence that ends connections.
const IDLE: Duration = Duration::from_secs(8);
/// Who takes frames says its number at least so often: that it lives.
const SIGN_PERIOD: Duration = Duration::from_secs(1);
/// A server that does not say it for so long, while something is on its way, counts as unreachable: what
/// others get through it goes by another one long before its connection ends. Our guess.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// The same for one that lives and takes nothing: twice what one waits that passes events on.
const UNTAKEN_MAX: Duration = Duration::from_secs(60);
/// Between two tries to reach a server, doubled each time; our guess.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Servers that have a stream open to here; one more is refused. More than there can be connections.
const INLETS_MAX: usize = 1_024;
/// Bytes taken of a stream at a time.
const READ_BYTES: usize = 64 << 10;

/// The streams of one server.
#[derive(Default)]
pub(super) struct Peers {
    /// To others: said when something waits.
    outlets: BTreeMap<NodeId, Rc<Notify>>,
    /// Of others.
    inlets: BTreeMap<NodeId, Rc<Inlet>>,
}

/// A stream that another server has opened.
#[derive(Default)]
struct Inlet {
    /// The number up to which all is taken.
    taken: Cell<u64>,
    has_taken: Notify,
    /// A newer one of the same server is there.
    is_over: Notify,
}

/// Ends a task when it is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came back on a stream.
struct Heard {
    last_sign: Cell<Instant>,
    last_taken: Cell<Instant>,
    has_taken: Cell<bool>,
}

/// How a stream has ended.
enum Ended {
    Idle,
    Broken,
    /// It does not seem to live.
    Silent,
}

impl Server {
    /// Something waits for that server.
    pub(super) fn call(self: &Rc<Self>, peer: NodeId) {
        let mut peers = self.peers.borrow_mut();
        if let Some(wake) = peers.outlets.get(&peer) {
            return wake.notify_one();
        }
        let wake = Rc::new(Notify::new());
        peers.outlets.insert(peer, wake.clone());
        let server = self.clone();
        spawn_local(async move { server.carry(peer, &wake).await });
    }

    /// Until nothing waits for that server, or it is given up.
    async fn carry(self: &Rc<Self>, peer: NodeId, wake: &Notify) {
        let mut pause = PAUSE;
        loop {
            let now = Instant::now();
            let (last_sign, last_taken) = (Cell::new(now), Cell::new(now));
            let heard = Rc::new(Heard { last_sign, last_taken, has_taken: Cell::new(false) });
            let ended = self.talk(peer, wake, &heard).await;
            if heard.has_taken.get() {
                pause = PAUSE;
            }
            let is_idle = matches!(ended, Ok(Ended::Idle));
            let is_over = self.look_after(peer, ended, heard.has_taken.get());
            if is_over {
                // Before anything can be called for again.
                self.peers.borrow_mut().outlets.remove(&peer);
                return self.flush();
            }
            self.flush();
            if !is_idle {
                sleep(pause).await;
                pause = PAUSE_MAX.min(2 * pause);
            }
        }
    }

    /// After a stream to that server has ended: whether it is forgotten.
    fn look_after(&self, peer: NodeId, ended: io::Result<Ended>, has_taken: bool) -> bool {
        let mut outside = self.outside.borrow_mut();
        match ended {
            Ok(_) if outside.relay.forget(peer) => true,
            Ok(Ended::Idle) => false,
            Ok(Ended::Broken) if has_taken => false,
            failed => {
                if let Err(error) = failed {
                    tracing::debug!(?peer, %error, "no stream of events");
                }
                let now = outside.now();
                outside.relay.handle_unreachable(now, peer)
            }
        }
    }

    async fn talk(self: &Rc<Self>, peer: NodeId, wake: &Notify, heard: &Rc<Heard>) -> io::Result<Ended> {
        let to = self.outside.borrow().relay.server(peer);
        let Some(to) = to else { return Ok(Ended::Idle) };
        let (mut send, receive) = self.grid.open(to).await.map_err(io::Error::other)?;
        self.outside.borrow_mut().relay.restart(peer);
        let (server, hearing) = (self.clone(), heard.clone());
        let mut taking = Task(spawn_local(async move { server.take_numbers(peer, receive, &hearing).await }));
        heard.last_sign.set(Instant::now());
        heard.last_taken.set(Instant::now());
        let mut last_said = Instant::now();
        loop {
            if self.outside.borrow().relay.is_taken(peer) {
                // It has nothing to say.
                heard.last_taken.set(Instant::now());
            }
            loop {
                let next = self.outside.borrow_mut().relay.pop(peer);
                let Some((head, tail)) = next else { break };
                if send.write_all_chunks(&mut [head.into(), tail]).await.is_err() {
                    return Ok(Ended::Broken);
                }
                last_said = Instant::now();
                // Others are served meanwhile.
                yield_now().await;
            }
            let is_settled = self.outside.borrow().relay.is_settled(peer);
            let end = if is_settled {
                last_said + IDLE
            } else {
                (heard.last_sign.get() + SILENCE_MAX).min(heard.last_taken.get() + UNTAKEN_MAX)
            };
            if Instant::now() < end {
                tokio::select! {
                    () = wake.notified() => {}
                    _ = &mut taking.0 => return Ok(Ended::Broken),
                    () = sleep_until(end) => {}
                }
            } else if is_settled {
                // It has all: how the stream ends does not matter.
                let _ = send.finish();
                return Ok(Ended::Idle);
            } else {
                return Ok(Ended::Silent);
            }
        }
    }

    async fn take_numbers(self: Rc<Self>, peer: NodeId, mut receive: RecvStream, heard: &Heard) {
        let mut bytes = [0; 8];
        let mut last = None;
        while receive.read_exact(&mut bytes).await.is_ok() {
            let number = u64::from_be_bytes(bytes);
            heard.last_sign.set(Instant::now());
            if last.replace(number) == Some(number) {
                continue;
            }
            heard.last_taken.set(Instant::now());
            heard.has_taken.set(number > 0);
            self.outside.borrow_mut().relay.handle_taken(peer, number);
            self.flush();
        }
    }

    /// Takes what another server sends, until its stream ends or it opens another one.
    pub(super) fn hear(self: Rc<Self>, stream: ServiceStream) {
        let from = stream.peer.contact();
        let from = relay::Server { id: from.id, incarnation: from.incarnation, addr: from.addr };
        let inlet = Rc::new(Inlet::default());
        let mut peers = self.peers.borrow_mut();
        if let Some(older) = peers.inlets.get(&from.id) {
            older.is_over.notify_one();
        } else if peers.inlets.len() >= INLETS_MAX {
            tracing::debug!(peer = ?from.id, "a stream of events was not taken: there are {INLETS_MAX}");
            return;
        }
        peers.inlets.insert(from.id, inlet.clone());
        drop(peers);
        self.outside.borrow_mut().relay.begin(from.id);
        spawn_local(async move {
            let ServiceStream { send, receive, .. } = stream;
            let ended = tokio::select! {
                // First: frames of an older stream are none of the new one.
                biased;
                () = inlet.is_over.notified() => return,
                ended = self.take_frames(from, receive) => ended,
                ended = say_numbers(send, &inlet) => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(peer = ?from.id, %error, "a stream of events has ended early");
            }
            let mut peers = self.peers.borrow_mut();
            if peers.inlets.get(&from.id).is_some_and(|known| Rc::ptr_eq(known, &inlet)) {
                peers.inlets.remove(&from.id);
                self.outside.borrow_mut().relay.end(from.id);
            }
        });
    }

    async fn take_frames(self: &Rc<Self>, from: relay::Server, mut receive: RecvStream) -> io::Result<()> {
        while let Some(frame) = read_frame(&mut receive).await? {
            self.take_frame(from, &frame)?;
            self.flush();
            // Others are served meanwhile.
            yield_now().await;
        }
        Ok(())
    }

    fn take_frame(&self, from: relay::Server, frame: &Bytes) -> io::Result<()> {
        let mut outside = self.outside.borrow_mut();
        let now = outside.now();
        let received = outside.relay.handle_frame(now, from, frame).map_err(io::Error::other)?;
        if let Received::Share(share) = received {
            drop(outside);
            self.give(&share);
            return Ok(());
        }
        let mut broker = self.broker.borrow_mut();
        match received {
            Received::Events(events) => {
                broker.deliver(&events.topic, &events.plain, &events.full, events.count);
            }
            Received::Lost(topic, count) => broker.lose(&topic, count),
            Received::Share(_) | Received::Nothing => {}
        }
        Ok(())
    }

    /// All frames of that server up to this one are taken.
    pub(super) fn acknowledge(&self, peer: NodeId, number: u64) {
        if let Some(inlet) = self.peers.borrow().inlets.get(&peer) {
            inlet.taken.set(number);
            inlet.has_taken.notify_one();
        }
    }
}

async fn say_numbers(mut send: SendStream, inlet: &Inlet) -> io::Result<()> {
    loop {
        // As a sign of life, when there is nothing new.
        let _ = timeout(SIGN_PERIOD, inlet.has_taken.notified()).await;
        send.write_all(&inlet.taken.get().to_be_bytes()).await?;
    }
}

/// Nothing at the end of the stream. Room is taken as bytes come.
async fn read_frame(receive: &mut RecvStream) -> io::Result<Option<Bytes>> {
    let mut head = [0; LENGTH_BYTES];
    let (first, rest) = head.split_at_mut(1);
    if receive.read(first).await?.is_none() {
        return Ok(None);
    }
    receive.read_exact(rest).await.map_err(io::Error::other)?;
    let len = length(head).map_err(io::Error::other)?;
    let mut frame = BytesMut::new();
    while frame.len() < len {
        let chunk = receive.read_chunk((len - frame.len()).min(READ_BYTES), true).await?;
        let chunk = chunk.ok_or(io::ErrorKind::UnexpectedEof)?;
        frame.extend_from_slice(&chunk.bytes);
    }
    Ok(Some(frame.freeze()))
}
