//! Streams between servers as the agent keeps them: one to each server that something is on its way to.
//!
//! Messages of the arena overtake each other and those to a cut or paused node get lost; what a stream is for
//! (order, and what gets lost is sent again) is made here. A hole that stays for three seconds ends a stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use xtreem_base::{Duration, Handle, Instant, NodeId};
use xtreem_pubsub::relay::{LENGTH_BYTES, Received, Relay, Server};

use super::watch::Watch;

/// The agent's numbers.
const IDLE: Duration = Duration::from_secs(8);
const SIGN_PERIOD: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(4);
const UNTAKEN_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// A connection that nobody answers is given up.
const OPENING_MAX: Duration = Duration::from_secs(4);
/// A hole that stays so long ends a stream.
const HOLE_MAX: Duration = Duration::from_secs(3);

/// What is said on streams, each with its number at the one who opened it.
pub(super) enum Line {
    Open {
        stream: u32,
        server: Server,
    },
    Opened {
        stream: u32,
    },
    Frame {
        stream: u32,
        nth: u32,
        bytes: Bytes,
    },
    /// How many frames have come, and up to which all are taken.
    Numbers {
        stream: u32,
        received: u32,
        taken: u64,
    },
    /// The receiver does not go on.
    Refused {
        stream: u32,
    },
    /// The sender has no more to say.
    End {
        stream: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening(Instant),
    Open,
    Pausing(Instant),
}

struct Outlet {
    to: Handle,
    stream: u32,
    stage: Stage,
    sent: u32,
    received: u32,
    grown: Instant,
    last_sign: Instant,
    last_taken: Instant,
    last_said: Instant,
    taken: u64,
    pause: Duration,
}

struct Inlet {
    server: Server,
    stream: u32,
    next: u32,
    early: BTreeMap<u32, Bytes>,
    taken: u64,
    sign_due: Instant,
}

/// One node's streams.
#[derive(Default)]
pub(super) struct Courier {
    outlets: BTreeMap<NodeId, Outlet>,
    inlets: BTreeMap<NodeId, Inlet>,
    streams: u32,
}

/// What a call of it is lent.
pub(super) struct Lent<'a> {
    pub(super) now: Instant,
    pub(super) own: Server,
    pub(super) handle: Handle,
    pub(super) relay: &'a mut Relay,
    pub(super) watch: &'a mut Watch,
    /// Somebody here wants events; since when nobody does.
    pub(super) is_wanted: bool,
    pub(super) cancelled: Option<Instant>,
    pub(super) out: &'a mut dyn FnMut(Handle, Line),
}

/// Where a server is: its address is its handle.
pub(super) fn handle_of(server: &Server) -> Handle {
    match server.addr.ip() {
        std::net::IpAddr::V4(ip) => Handle::from_u32(ip.into()),
        std::net::IpAddr::V6(_) => Handle::NONE,
    }
}

impl Lent<'_> {
    fn send(&mut self, to: Handle, line: Line) {
        match &line {
            Line::Frame { bytes, .. } if bytes.first() == Some(&b'E') => self.watch.count.payloads += 1,
            Line::Frame { bytes, .. } if bytes.first() == Some(&b'P') => {
                self.watch.count.parts += 1;
                self.watch.count.control += 1;
            }
            Line::Numbers { .. } => {
                self.watch.count.numbers += 1;
                self.watch.count.control += 1;
            }
            _ => self.watch.count.control += 1,
        }
        (self.out)(to, line);
    }
}

impl Courier {
    /// Something waits for that server.
    pub(super) fn call(&mut self, lent: &mut Lent<'_>, peer: NodeId) {
        if !self.outlets.contains_key(&peer) {
            return self.open(lent, peer, PAUSE);
        }
        self.write(lent, peer);
    }

    fn open(&mut self, lent: &mut Lent<'_>, peer: NodeId, pause: Duration) {
        let Some(server) = lent.relay.server(peer) else {
            lent.relay.forget(peer);
            self.outlets.remove(&peer);
            return;
        };
        self.streams += 1;
        let (to, stream, now) = (handle_of(&server), self.streams, lent.now);
        let outlet = Outlet {
            to,
            stream,
            stage: Stage::Opening(now + OPENING_MAX),
            sent: 0,
            received: 0,
            grown: now,
            last_sign: now,
            last_taken: now,
            last_said: now,
            taken: 0,
            pause,
        };
        self.outlets.insert(peer, outlet);
        lent.watch.sent_to(now, to, None);
        let server = lent.own;
        lent.send(to, Line::Open { stream, server });
    }

    fn write(&mut self, lent: &mut Lent<'_>, peer: NodeId) {
        let Some(outlet) = self.outlets.get_mut(&peer).filter(|it| it.stage == Stage::Open) else { return };
        if lent.relay.is_taken(peer) {
            outlet.last_taken = lent.now;
        }
        while let Some((head, tail)) = lent.relay.pop(peer) {
            if outlet.sent == outlet.received {
                outlet.grown = lent.now;
            }
            let bytes = Bytes::from([&head[LENGTH_BYTES..], &tail].concat());
            outlet.last_said = lent.now;
            lent.send(outlet.to, Line::Frame { stream: outlet.stream, nth: outlet.sent, bytes });
            outlet.sent += 1;
        }
    }

    /// A stream has ended otherwise than in silence: whether as if nobody were there.
    fn broken(&mut self, lent: &mut Lent<'_>, peer: NodeId, is_gone: bool) {
        let Some(outlet) = self.outlets.get_mut(&peer) else { return };
        if lent.relay.forget(peer) || is_gone && lent.relay.handle_unreachable(lent.now, peer) {
            self.outlets.remove(&peer);
            return;
        }
        if outlet.taken > 0 {
            outlet.pause = PAUSE;
        }
        outlet.stage = Stage::Pausing(lent.now + outlet.pause);
        outlet.pause = PAUSE_MAX.min(outlet.pause + outlet.pause);
    }

    /// All frames of that server up to this one are taken.
    pub(super) fn acknowledge(&mut self, lent: &mut Lent<'_>, peer: NodeId, number: u64) {
        if let Some(inlet) = self.inlets.get_mut(&peer) {
            inlet.taken = number;
            Courier::say(lent, inlet);
        }
    }

    fn say(lent: &mut Lent<'_>, inlet: &mut Inlet) {
        inlet.sign_due = lent.now + SIGN_PERIOD;
        let Inlet { stream, next: received, taken, .. } = *inlet;
        lent.send(handle_of(&inlet.server), Line::Numbers { stream, received, taken });
    }

    pub(super) fn hear(&mut self, lent: &mut Lent<'_>, from: Handle, peer: NodeId, line: Line) {
        match line {
            Line::Open { stream, server } => {
                let is_older = |it: &Inlet| handle_of(&it.server) == from && it.stream >= stream;
                if self.inlets.get(&peer).is_some_and(is_older) {
                    return;
                }
                let sign_due = lent.now + SIGN_PERIOD;
                let inlet = Inlet { server, stream, next: 0, early: BTreeMap::new(), taken: 0, sign_due };
                self.inlets.insert(peer, inlet);
                lent.relay.begin(peer);
                lent.send(from, Line::Opened { stream });
            }
            Line::Opened { stream } => {
                let is_it = |it: &&mut Outlet| it.stream == stream && matches!(it.stage, Stage::Opening(_));
                let Some(outlet) = self.outlets.get_mut(&peer).filter(is_it) else { return };
                outlet.stage = Stage::Open;
                (outlet.last_sign, outlet.last_taken, outlet.last_said) = (lent.now, lent.now, lent.now);
                lent.relay.restart(peer);
                self.write(lent, peer);
            }
            Line::Frame { stream, nth, bytes } => self.take_frame(lent, from, peer, (stream, nth, bytes)),
            Line::Numbers { stream, received, taken } => {
                let is_it = |it: &&mut Outlet| it.stream == stream && it.stage == Stage::Open;
                let Some(outlet) = self.outlets.get_mut(&peer).filter(is_it) else { return };
                outlet.last_sign = lent.now;
                if received > outlet.received {
                    (outlet.received, outlet.grown) = (received, lent.now);
                }
                if taken > outlet.taken {
                    (outlet.taken, outlet.last_taken) = (taken, lent.now);
                    lent.relay.handle_taken(peer, taken);
                }
                if outlet.received < outlet.sent && lent.now >= outlet.grown + HOLE_MAX {
                    let is_gone = outlet.taken == 0;
                    self.broken(lent, peer, is_gone);
                }
            }
            Line::Refused { stream } => {
                if let Some(outlet) = self.outlets.get(&peer).filter(|it| it.stream == stream) {
                    let is_gone = outlet.taken == 0;
                    self.broken(lent, peer, is_gone);
                }
            }
            Line::End { stream } => {
                if self.inlets.get(&peer).is_some_and(|it| it.stream == stream) {
                    self.inlets.remove(&peer);
                    lent.relay.end(peer);
                }
            }
        }
    }

    fn take_frame(
        &mut self,
        lent: &mut Lent<'_>,
        from: Handle,
        peer: NodeId,
        (stream, nth, bytes): (u32, u32, Bytes),
    ) {
        let Some(inlet) = self.inlets.get_mut(&peer).filter(|it| it.stream == stream) else {
            return lent.send(from, Line::Refused { stream });
        };
        if nth < inlet.next {
            return;
        }
        inlet.early.insert(nth, bytes);
        while let Some(bytes) = inlet.early.remove(&inlet.next) {
            inlet.next += 1;
            if bytes.first() == Some(&b'E')
                && let Some(event) = event_of(&bytes)
            {
                lent.watch.came(event, from, lent.handle, lent.is_wanted);
                lent.watch.sent_to(lent.now, lent.handle, lent.cancelled);
            }
            match lent.relay.handle_frame(lent.now, inlet.server, &bytes) {
                Ok(Received::Events(arrival)) => {
                    let event = event_of(&arrival.plain);
                    if let Some(event) = event.filter(|_| lent.cancelled.is_none() && lent.is_wanted) {
                        lent.watch.heard(lent.now, event, lent.handle);
                    }
                }
                Ok(Received::Lost(_, count)) => lent.watch.count.told_lost += count,
                Ok(Received::Share(_) | Received::Nothing) => {}
                Err(_) => {
                    self.inlets.remove(&peer);
                    lent.relay.end(peer);
                    return lent.send(from, Line::Refused { stream });
                }
            }
        }
    }

    pub(super) fn next_timeout(&self, relay: &Relay) -> Instant {
        let outlets = self.outlets.iter().map(|(peer, outlet)| due(outlet, relay, *peer));
        let inlets = self.inlets.values().map(|inlet| inlet.sign_due);
        outlets.chain(inlets).min().unwrap_or(Instant::FAR)
    }

    pub(super) fn handle_timeout(&mut self, lent: &mut Lent<'_>) {
        let now = lent.now;
        for inlet in self.inlets.values_mut().filter(|inlet| inlet.sign_due <= now) {
            Courier::say(lent, inlet);
        }
        let is_due = |(peer, it): &(&NodeId, &Outlet)| due(it, lent.relay, **peer) <= lent.now;
        let due: Vec<NodeId> = self.outlets.iter().filter(is_due).map(|(peer, _)| *peer).collect();
        for peer in due {
            let Some(outlet) = self.outlets.get_mut(&peer) else { continue };
            match outlet.stage {
                Stage::Opening(_) => self.broken(lent, peer, true),
                Stage::Pausing(_) => {
                    let pause = outlet.pause;
                    self.open(lent, peer, pause);
                }
                Stage::Open if lent.relay.is_settled(peer) => {
                    let (to, stream) = (outlet.to, outlet.stream);
                    lent.send(to, Line::End { stream });
                    lent.relay.forget(peer);
                    self.outlets.remove(&peer);
                }
                Stage::Open => {
                    // It is silent, or lives and takes nothing.
                    self.broken(lent, peer, true);
                }
            }
        }
    }
}

/// When a stream is looked at next.
fn due(outlet: &Outlet, relay: &Relay, peer: NodeId) -> Instant {
    match outlet.stage {
        Stage::Opening(until) | Stage::Pausing(until) => until,
        Stage::Open if relay.is_settled(peer) => outlet.last_said + IDLE,
        Stage::Open => (outlet.last_sign + SILENCE_MAX).min(outlet.last_taken + UNTAKEN_MAX),
    }
}

/// Events of this world have their number behind the last line of the head.
pub(super) fn event_of(bytes: &[u8]) -> Option<u32> {
    let at = bytes.windows(2).rposition(|pair| pair == b"#:")?;
    let digits = bytes.get(at + 2..at + 12)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
