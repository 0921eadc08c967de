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
use tokio::time::sleep;
use xtreem_base::NodeId;
use xtreem_net::{RecvStream, SendStream, ServiceStream};
use xtreem_pubsub::relay::{self, LENGTH_BYTES, Received, length};

use super::clients::Server;

/// A stream on which nothing was said for so long ends: shorter than the silence that ends connections.
const IDLE: Duration = Duration::from_secs(8);
/// So many times that long a server may take nothing of what was sent, before it counts as unreachable.
const IDLE_UNTAKEN: u32 = 4;
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

/// How a stream has ended.
enum Ended {
    Idle,
    Broken,
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
        spawn_local(async move {
            server.carry(peer, &wake).await;
        });
    }

    /// Until nothing waits for that server, or it is given up.
    async fn carry(self: &Rc<Self>, peer: NodeId, wake: &Notify) {
        let mut pause = PAUSE;
        loop {
            let progress = Rc::new(Cell::new(false));
            let ended = self.talk(peer, wake, &progress).await;
            if progress.get() {
                pause = PAUSE;
            }
            let is_idle = matches!(ended, Ok(Ended::Idle));
            let mut outside = self.outside.borrow_mut();
            let is_over = match ended {
                Ok(Ended::Idle) => outside.relay.forget(peer),
                Ok(Ended::Broken) if progress.get() => false,
                failed => {
                    if let Err(error) = failed {
                        tracing::debug!(?peer, %error, "no stream of events");
                    }
                    let now = outside.now();
                    outside.relay.handle_unreachable(now, peer)
                }
            };
            drop(outside);
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

    async fn talk(
        self: &Rc<Self>,
        peer: NodeId,
        wake: &Notify,
        progress: &Rc<Cell<bool>>,
    ) -> io::Result<Ended> {
        let to = self.outside.borrow().relay.server(peer);
        let Some(to) = to else { return Ok(Ended::Idle) };
        let (mut send, receive) = self.grid.open(to).await.map_err(io::Error::other)?;
        self.outside.borrow_mut().relay.restart(peer);
        let (server, has_come) = (self.clone(), progress.clone());
        let taking = spawn_local(async move { server.take_numbers(peer, receive, &has_come).await });
        let mut taking = Task(taking);
        let mut untaken = 0;
        loop {
            loop {
                let next = self.outside.borrow_mut().relay.pop(peer);
                let Some((head, tail)) = next else { break };
                if send.write_all_chunks(&mut [head.into(), tail]).await.is_err() {
                    return Ok(Ended::Broken);
                }
                untaken = 0;
                // Others are served meanwhile.
                yield_now().await;
            }
            tokio::select! {
                () = wake.notified() => {}
                _ = &mut taking.0 => return Ok(Ended::Broken),
                () = sleep(IDLE) => {
                    if self.outside.borrow().relay.is_settled(peer) {
                        // It has all: how the stream ends does not matter.
                        let _ = send.finish();
                        return Ok(Ended::Idle);
                    }
                    untaken += 1;
                    if untaken == IDLE_UNTAKEN {
                        return Ok(Ended::Broken);
                    }
                }
            }
        }
    }

    async fn take_numbers(self: Rc<Self>, peer: NodeId, mut receive: RecvStream, has_come: &Cell<bool>) {
        let mut number = [0; 8];
        while receive.read_exact(&mut number).await.is_ok() {
            has_come.set(true);
            self.outside.borrow_mut().relay.handle_taken(peer, u64::from_be_bytes(number));
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
            let mut outside = self.outside.borrow_mut();
            let now = outside.now();
            let received = outside.relay.handle_frame(now, from, &frame).map_err(io::Error::other)?;
            drop(outside);
            match received {
                Received::Events(events) => {
                    let mut broker = self.broker.borrow_mut();
                    broker.deliver(&events.topic, &events.plain, &events.full, events.count);
                }
                Received::Lost(topic, count) => self.broker.borrow_mut().lose(&topic, count),
                Received::Nothing => {}
            }
            self.flush();
            // Others are served meanwhile.
            yield_now().await;
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
        inlet.has_taken.notified().await;
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
