//! A server around our broker: one thread, and faults on purpose.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, poll};
use xtreem_base::{Instant, NodeId};
use xtreem_pubsub::broker::{Access, Broker, Config, ConnectionId, Host, Rules};
use xtreem_pubsub::keeper::Asker;
use xtreem_pubsub::relay::Interest;
use xtreem_pubsub::{Framer, Pattern, Replay, Step};

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Every hundredth message comes nowhere.
    Lose,
    /// Every hundredth message comes after the next one.
    Swap,
    /// The first connection, a subscriber's, is closed after some messages.
    Close,
    /// Nobody may publish.
    Refuse,
}

pub struct BrokerServer {
    pub addr: SocketAddr,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BrokerServer {
    pub fn start(fault: Fault) -> BrokerServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let addr = listener.local_addr().expect("bound");
        let is_stopped = Arc::new(AtomicBool::new(false));
        let until = is_stopped.clone();
        let thread = Some(thread::spawn(move || Serving::new(listener, fault).serve(&until)));
        BrokerServer { addr, is_stopped, thread }
    }
}

impl Drop for BrokerServer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Alone;

impl Host for Alone {
    fn wanted(&mut self, _: &Interest, _: bool) -> bool {
        false
    }

    fn published(&mut self, _: &Arc<Pattern<'static>>, _: &Bytes, _: u32) {}

    fn is_wanted_elsewhere(&mut self, _: &Arc<Pattern<'static>>) -> bool {
        false
    }

    fn access(&mut self, _: &str) -> Option<Access> {
        None
    }

    fn retain(&mut self, _: Asker, _: &Arc<Pattern<'static>>, _: Option<Bytes>) {}

    fn is_replayed(&self, _: &Pattern<'_>) -> bool {
        false
    }

    fn log(&mut self, _: Option<Asker>, _: &Arc<Pattern<'static>>, _: &[u8]) {}

    fn recall(&mut self, _: ConnectionId, _: &Pattern<'static>, _: Option<Replay>, _: bool) -> bool {
        false
    }

    fn forget(&mut self, _: ConnectionId, _: &Pattern<'static>) {}
}

struct Client {
    id: ConnectionId,
    stream: TcpStream,
    framer: Framer,
    partial: Vec<u8>,
    /// A message that comes after the next one.
    held: Vec<u8>,
    said: u64,
}

struct Serving {
    listener: TcpListener,
    fault: Fault,
    broker: Broker,
    clients: Vec<Client>,
    buffer: Vec<u8>,
}

impl Serving {
    fn new(listener: TcpListener, fault: Fault) -> Serving {
        let config = Config { queue_max: 64 << 20, ..Config::default() };
        let broker = Broker::new(config, NodeId::from_bytes([1; 16]), 1);
        Serving { listener, fault, broker, clients: Vec::new(), buffer: vec![0; 64 << 10] }
    }

    fn serve(&mut self, is_stopped: &AtomicBool) {
        while !is_stopped.load(Ordering::Relaxed) {
            let ready = self.wait();
            if ready.first() == Some(&true) {
                self.accept();
            }
            let mut gone = Vec::new();
            for (at, _) in ready.iter().skip(1).enumerate().filter(|(_, is_ready)| **is_ready) {
                if !self.read(at) {
                    gone.push(at);
                }
            }
            gone.extend((0..self.clients.len()).filter(|at| !self.write(*at)));
            gone.sort_unstable();
            gone.dedup();
            for at in gone.into_iter().rev() {
                let client = self.clients.remove(at);
                self.broker.close(client.id, &mut Alone);
            }
        }
    }

    /// Whether the listener, and then each client, has something to say, or room.
    fn wait(&mut self) -> Vec<bool> {
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        for client in &self.clients {
            let waits = self.broker.queue(client.id).is_some_and(|queue| !queue.is_empty());
            let flags = if waits { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            fds.push(PollFd::new(client.stream.as_fd(), flags));
        }
        poll(&mut fds, 20_u8).expect("it can wait");
        fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()
    }

    fn accept(&mut self) {
        let (stream, _) = self.listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("set");
        stream.set_nodelay(true).expect("set");
        let access = match self.fault {
            Fault::Refuse => Access { publish: Rules::default(), ..Access::all("bench") },
            _ => Access::all("bench"),
        };
        let id = self.broker.open(access).expect("room");
        let framer = Framer::new(1 << 20);
        self.clients.push(Client { id, stream, framer, partial: Vec::new(), held: Vec::new(), said: 0 });
    }

    /// Whether the client is still there.
    fn read(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        match client.stream.read(&mut self.buffer) {
            Ok(0) => return false,
            Ok(len) => client.partial.extend_from_slice(&self.buffer[..len]),
            Err(_) => return true,
        }
        let mut begun = 0;
        loop {
            let (taken, step) = client.framer.next(&client.partial[begun..]);
            let Step::Frame(_) = step else { break };
            let frame = &client.partial[begun..begun + taken];
            begun += taken;
            client.said += 1;
            // The first things said are no messages.
            match (client.said % 100 == 50, self.fault) {
                (true, Fault::Lose) => {}
                (true, Fault::Swap) => client.held = frame.to_vec(),
                _ => {
                    self.broker.read(Instant::ZERO, client.id, frame, &mut Alone);
                    let held = std::mem::take(&mut client.held);
                    self.broker.read(Instant::ZERO, client.id, &held, &mut Alone);
                }
            }
        }
        client.partial.drain(..begun);
        true
    }

    /// Whether the client is still there.
    fn write(&mut self, at: usize) -> bool {
        let Client { id, stream, .. } = &mut self.clients[at];
        if *id == 0 && self.fault == Fault::Close && self.broker.counts().0 > 500 {
            return false;
        }
        let Some(queue) = self.broker.queue(*id) else { return false };
        while !queue.is_empty() {
            let slices: Vec<IoSlice<'_>> = queue.front(64).map(IoSlice::new).collect();
            match stream.write_vectored(&slices) {
                Ok(written) => queue.advance(written),
                Err(e) => return e.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
        !self.broker.is_ending(*id)
    }
}
