//! The serving thread: reads what clients write, and writes what the broker has for them.
//!
//! What one read brings is handled whole and written at once to all that hear it, without another task in
//! between; a task of a connection only waits until its socket can be read or written again.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Sleep, sleep};
use xtreem_allocation::policy::Policy;
use xtreem_net::ServiceStream;
use xtreem_pubsub::broker::{Access, Broker, ConnectionId};

use super::grid::Grid;
use super::news::News;
use super::outside::Outside;
use super::peers::Peers;
use super::speaker::Speaker;
use super::stream::{Socket, Stream};

/// Read at a time, into one buffer for all: 64 KiB are some hundred events of 128 bytes (our guess).
const READ_BYTES: usize = 64 << 10;
/// Chunks in one write: the kernel takes 1,024 (`IOV_MAX`), and few are as good.
const CHUNKS_MAX: usize = 64;
/// Longest silence in the middle of a request (our guess; the local API's for a request's head is 10 s).
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How often leases are looked at: they have whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// A connection that comes in.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub stream: Stream,
    pub access: Access,
    /// Its place among those of its door, where a door has so many.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What comes to the serving thread from the rest of the agent.
pub(super) struct Inputs {
    pub newcomers: mpsc::Receiver<Newcomer>,
    pub streams: mpsc::Receiver<ServiceStream>,
    pub news: mpsc::Receiver<News>,
    /// Events of the grid for which that had no room.
    pub missed: Arc<AtomicU64>,
    pub policy: watch::Receiver<Option<Arc<Policy>>>,
}

pub(super) struct Server {
    pub broker: RefCell<Broker>,
    pub outside: RefCell<Outside>,
    pub grid: Grid,
    pub peers: RefCell<Peers>,
    pub speaker: RefCell<Speaker>,
    links: RefCell<Vec<Option<Rc<Link>>>>,
    buffer: RefCell<Box<[u8]>>,
    dirty: RefCell<Vec<ConnectionId>>,
}

/// One open connection.
struct Link {
    socket: Socket,
    /// Something waits that could not be written at once, or it is to end.
    wake: Notify,
}

/// Serves until the agent ends.
pub(super) async fn run(mut broker: Broker, outside: Outside, grid: Grid, mut inputs: Inputs) {
    // The first connection: there is room.
    let speaker = Speaker::new(broker.open(Access::agent()).ok());
    let server = Rc::new(Server {
        broker: RefCell::new(broker),
        outside: RefCell::new(outside),
        grid,
        peers: RefCell::default(),
        speaker: RefCell::new(speaker),
        links: RefCell::default(),
        buffer: RefCell::new(vec![0; READ_BYTES].into()),
        dirty: RefCell::default(),
    });
    tokio::task::spawn_local(server.clone().hear_of_losses());
    tokio::task::spawn_local(server.clone().look_after_updates());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            newcomer = inputs.newcomers.recv() => match newcomer {
                Some(newcomer) => server.clone().take(newcomer),
                None => return,
            },
            Some(stream) = inputs.streams.recv() => server.clone().hear(stream),
            Ok(()) = inputs.policy.changed() => {
                let outside = server.outside.borrow();
                server.broker.borrow_mut().review(|access| outside.limit(access));
            }
            Some(news) = inputs.news.recv() => server.take_news(news),
            _ = tick.tick() => server.tick(inputs.missed.swap(0, Ordering::Relaxed)),
        }
    }
}

impl Server {
    fn take(self: Rc<Self>, newcomer: Newcomer) {
        let Newcomer { stream, mut access, room } = newcomer;
        self.outside.borrow().limit(&mut access);
        let socket = match Socket::new(stream) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "a connection of publish/subscribe was not taken"),
        };
        let id = match self.broker.borrow_mut().open(access) {
            Ok(id) => id,
            Err(full) => return tracing::warn!(%full, "a connection of publish/subscribe was not taken"),
        };
        let link = Rc::new(Link { socket, wake: Notify::new() });
        let mut links = self.links.borrow_mut();
        if links.len() <= id as usize {
            links.resize(id as usize + 1, None);
        }
        links[id as usize] = Some(link.clone());
        drop(links);
        tokio::task::spawn_local(async move {
            // What is wrong with a client's socket is the client's business.
            let _ = self.attend(id, &link).await;
            self.links.borrow_mut()[id as usize] = None;
            self.broker.borrow_mut().close(id, &mut *self.outside.borrow_mut());
            self.flush();
            drop(room);
        });
    }

    /// Until the connection ends.
    async fn attend(self: &Rc<Self>, id: ConnectionId, link: &Link) -> io::Result<()> {
        let mut alarm: Option<Pin<Box<Sleep>>> = None;
        loop {
            let (is_reading, is_waiting, is_between) = {
                let mut broker = self.broker.borrow_mut();
                let is_waiting = broker.queue(id).is_some_and(|queue| !queue.is_empty());
                if broker.is_ending(id) && !is_waiting {
                    return Ok(());
                }
                (broker.is_reading(id), is_waiting, broker.is_between(id))
            };
            let interest = match (is_reading, is_waiting) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                (false, _) => Interest::WRITABLE,
            };
            alarm = match alarm {
                _ if is_between => None,
                None => Some(Box::pin(sleep(REQUEST_MAX))),
                running => running,
            };
            let silence = async {
                match &mut alarm {
                    Some(alarm) => alarm.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = link.socket.ready(interest), if is_reading || is_waiting => {
                    let ready = ready?;
                    if is_reading && ready.is_readable() {
                        if !self.read(id, link)? {
                            return Ok(());
                        }
                        alarm = None;
                    }
                    if ready.is_writable() {
                        self.write(id, link)?;
                    }
                }
                () = link.wake.notified() => {}
                () = silence => {
                    let words = "nothing came for 30 s in the middle of a request";
                    self.broker.borrow_mut().dismiss(id, "out-of-step", words);
                    self.flush();
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn read(self: &Rc<Self>, id: ConnectionId, link: &Link) -> io::Result<bool> {
        let mut buffer = self.buffer.borrow_mut();
        let read = match link.socket.try_read(&mut buffer) {
            Ok(0) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            read => read?,
        };
        let mut outside = self.outside.borrow_mut();
        let now = outside.now();
        self.broker.borrow_mut().read(now, id, &buffer[..read], &mut *outside);
        drop(outside);
        drop(buffer);
        self.flush();
        Ok(true)
    }

    /// Does what is to be done elsewhere, and writes to all for whom something new waits, as much as their
    /// sockets take.
    pub(super) fn flush(self: &Rc<Self>) {
        self.act();
        let mut dirty = self.dirty.borrow_mut();
        self.broker.borrow_mut().take_dirty(&mut dirty);
        for id in dirty.iter() {
            let link = self.links.borrow().get(*id as usize).cloned().flatten();
            let Some(link) = link else { continue };
            // An error shows again where the connection is attended to.
            let is_done = self.write(*id, &link).unwrap_or(false);
            if !is_done || self.broker.borrow().is_ending(*id) {
                link.wake.notify_one();
            }
        }
    }

    /// Whether nothing waits any more.
    fn write(&self, id: ConnectionId, link: &Link) -> io::Result<bool> {
        let mut broker = self.broker.borrow_mut();
        let Some(queue) = broker.queue(id) else { return Ok(true) };
        while !queue.is_empty() {
            let mut parts = [IoSlice::new(&[]); CHUNKS_MAX];
            let mut count = 0;
            for (part, chunk) in parts.iter_mut().zip(queue.front(CHUNKS_MAX)) {
                *part = IoSlice::new(chunk);
                count += 1;
            }
            match link.socket.try_write(&parts[..count]) {
                Ok(written) => queue.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn tick(self: &Rc<Self>, missed: u64) {
        self.look_after_news(missed);
        let mut outside = self.outside.borrow_mut();
        let now = outside.now();
        if self.broker.borrow().next_timeout().is_some_and(|at| at <= now) {
            self.broker.borrow_mut().handle_timeout(now, &mut *outside);
        }
        outside.relay.set_own(self.grid.own());
        outside.relay.handle_timeout(now);
        outside.keeper.handle_timeout(now);
        drop(outside);
        self.flush();
    }
}
