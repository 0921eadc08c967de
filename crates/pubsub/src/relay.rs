//! One server's part among all servers: which of them want what its clients publish, and how events come
//! there.
//!
//! Who wants what lies on the ring of all nodes, one item for each pattern and server. A server that
//! publishes reads the places where such items may lie, and sends events to the servers that it finds:
//! directly to a few, by way of heads to many. It holds no socket and no clock, and asks the ring through its
//! caller.
//!
//! *No acknowledged subscription misses events.* A server that publishes to a topic writes so into the ring
//! before it looks who wants it; a server with a new subscription writes that first, and then looks who
//! publishes. One of both sees the other. The second tells the first at once, and only when the first has
//! taken it the subscriber is answered.

pub(crate) mod arrival;
mod dealing;
mod frame;
mod inlets;
mod interest;
mod link;
mod ops;
mod outlets;
mod overdue;
mod parts;
mod place;
mod seen;
mod server;
#[cfg(test)]
mod tests;
mod tree;
mod turns;
mod wants;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Deadlines, Instant, NodeId};

pub use self::arrival::Arrival;
pub use self::dealing::{OTHERS_MAX, Share};
pub use self::frame::{Body, FRAME_MAX_BYTES, FrameError, Framed, LENGTH_BYTES, Origin, Turn, length};
use self::inlets::Inlets;
pub use self::inlets::{Misread, Received};
pub use self::interest::Interest;
use self::link::{Link, Out};
pub use self::ops::{Failure, Space, What};
use self::ops::{Ops, Waiter};
use self::outlets::Outlet;
pub use self::outlets::{HOLD, TOPICS_MAX};
pub use self::place::{Section, key_of, node_of, sections};
use self::seen::Seen;
pub use self::server::{Item, Server};
pub use self::tree::{DIRECT_MAX, FAN_OUT};
pub use self::turns::TURN_WAIT;
use self::turns::{LineId, Turns};
use self::wants::Want;
pub use self::wants::{LEASE, WANTS_MAX};
use crate::Pattern;

/// Servers that something is on its way to at one time; what is for more is let go. Our guess: four times the
/// connections that an agent takes.
pub const LINKS_MAX: usize = 1_024;
/// Subscriptions that other servers told of themselves and that are remembered, and those of one of them; of
/// more none. As many as one may have, of four.
const TOLD_MAX: usize = 4 * TOLD_OF_ONE_MAX;
const TOLD_OF_ONE_MAX: usize = WANTS_MAX;

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks the ring; [`Relay::handle_done`] has the answer.
    Ring(u64, What),
    /// Something waits for this server: [`Relay::pop`] has it, on a stream to there.
    Call(Server),
    /// Who subscribed to this is answered.
    Answer(Arc<Interest>, Answer),
    /// The turn of these events has come: they are for clients of this server.
    Deliver(Arrival),
    /// These events are for a member of a group at this server.
    Share(Share),
    /// All frames up to this one, that this server sent on its stream, are taken.
    Taken(NodeId, u64),
}

/// What subscribers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whatever is published from now on comes.
    Done,
    /// The ring did not answer in time: what is published elsewhere comes later.
    Late,
    /// It cannot be, and why.
    Refused(String),
}

/// What waits for the acknowledgement of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A new subscription of this server, that this other one is told of.
    Want(Arc<Interest>, NodeId),
    /// A frame that came from this server with this number.
    Inlet(NodeId, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Answer(Arc<Interest>),
    Want(Arc<Interest>),
    Outlet(Arc<Pattern<'static>>),
    Turn(LineId),
}

/// See the module.
#[derive(Debug)]
pub struct Relay {
    own: Server,
    ops: Ops,
    wants: BTreeMap<Arc<Interest>, Want>,
    /// Those of them that are groups.
    groups: BTreeSet<Arc<Interest>>,
    outlets: BTreeMap<Arc<Pattern<'static>>, Outlet>,
    /// What other servers told of themselves, until when it is remembered.
    told: BTreeMap<(NodeId, Arc<Interest>), (Server, Instant)>,
    links: BTreeMap<NodeId, Link>,
    inlets: Inlets,
    seen: Seen,
    turns: Turns,
    timers: Deadlines<Timer>,
    /// Counts batches of this server's own clients. Their names come from the count and the key: nobody else
    /// can use one before it is used.
    batches: u64,
    key: [u8; 32],
    /// Tells times of wants and outlets apart.
    cycles: u64,
    /// Topics that it published to until now.
    lines: u64,
    /// Counts events that were given to groups.
    dealt: u64,
    lost: u64,
    out: VecDeque<Action>,
}

impl Relay {
    /// `key` are random bytes that nobody else knows.
    pub fn new(own: Server, key: [u8; 32]) -> Relay {
        Relay {
            own,
            ops: Ops::default(),
            wants: BTreeMap::new(),
            groups: BTreeSet::new(),
            outlets: BTreeMap::new(),
            told: BTreeMap::new(),
            links: BTreeMap::new(),
            inlets: Inlets::default(),
            seen: Seen::default(),
            turns: Turns::default(),
            timers: Deadlines::default(),
            batches: 0,
            key,
            cycles: 0,
            lines: 0,
            dealt: 0,
            lost: 0,
            out: VecDeque::new(),
        }
    }

    /// This server as others reach it; its address may change.
    pub fn set_own(&mut self, own: Server) {
        self.own = own;
    }

    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.out.pop_front() {
            return Some(action);
        }
        self.ops.start().map(|(request, what)| Action::Ring(request, what))
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Answer(pattern) => self.answer_late(&pattern),
                Timer::Want(pattern) => self.renew_want(now, &pattern),
                Timer::Outlet(topic) => self.look_after_outlet(now, &topic),
                Timer::Turn(line) => {
                    let arrivals = self.turns.give_up(line);
                    self.out.extend(arrivals.into_iter().map(Action::Deliver));
                }
            }
        }
    }

    /// What the ring said.
    pub fn handle_done(&mut self, now: Instant, request: u64, done: Result<Vec<Item>, Failure>) {
        for waiter in self.ops.end(request).unwrap_or_default() {
            match waiter {
                Waiter::Want(pattern, cycle) => self.want_done(now, &pattern, cycle, &done),
                Waiter::Outlet(topic, cycle) => self.outlet_done(now, &topic, cycle, &done),
            }
        }
    }

    /// The next frame for this server: what stands before its events, and they.
    pub fn pop(&mut self, peer: NodeId) -> Option<Framed> {
        let link = self.links.get_mut(&peer)?;
        let Some((bytes, tokens)) = link.pop() else {
            link.is_called = false;
            return None;
        };
        self.settle(tokens);
        Some(bytes)
    }

    /// A stream to this server begins: what was not acknowledged is sent again.
    pub fn restart(&mut self, peer: NodeId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.restart();
        }
    }

    /// This server acknowledges all frames up to this one.
    pub fn handle_taken(&mut self, peer: NodeId, number: u64) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.failing_since = None;
            let tokens = link.taken(number);
            self.settle(tokens);
        }
    }

    /// Where this server is to be reached, as far as is known.
    pub fn server(&self, peer: NodeId) -> Option<Server> {
        self.links.get(&peer).map(Link::server)
    }

    /// Whether this server has taken all that was sent.
    pub fn is_taken(&self, peer: NodeId) -> bool {
        self.links.get(&peer).is_none_or(Link::is_taken)
    }

    /// Whether nothing waits for this server.
    pub fn is_settled(&self, peer: NodeId) -> bool {
        self.links.get(&peer).is_none_or(Link::is_empty)
    }

    /// Nothing waits for this server and it is forgotten; otherwise something does.
    pub fn forget(&mut self, peer: NodeId) -> bool {
        let is_empty = self.is_settled(peer);
        if is_empty {
            self.links.remove(&peer);
        }
        is_empty
    }

    /// The server cannot be reached, or ends streams without taking anything. What others should get through
    /// it goes by another one; what is for itself waits, and after a while it is given up and forgotten: then
    /// this says so. No subscriber's answer waits for it: what it publishes comes when it looks next.
    pub fn handle_unreachable(&mut self, now: Instant, peer: NodeId) -> bool {
        let Some(link) = self.links.get_mut(&peer) else { return true };
        let (server, since) = (link.server, *link.failing_since.get_or_insert(now));
        let tokens = link.take_wants();
        for out in link.take_parts() {
            // This one is failing now: it goes by the next one.
            self.send(server, out);
        }
        self.settle(tokens);
        if now < since + link::UNREACHABLE_MAX {
            return false;
        }
        self.give_up(peer);
        true
    }

    /// Events that were let go on their way to other servers.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn give_up(&mut self, peer: NodeId) {
        if let Some(mut link) = self.links.remove(&peer) {
            let (tokens, lost) = link.give_up();
            self.lost += lost;
            self.settle(tokens);
        }
    }

    /// A frame's acknowledgement has come, or is not waited for any more.
    fn settle(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            match token {
                Token::Want(pattern, peer) => self.want_taken(&pattern, peer),
                Token::Inlet(peer, number) => {
                    if let Some(number) = self.inlets.settle(peer, number) {
                        self.out.push_back(Action::Taken(peer, number));
                    }
                }
            }
        }
    }

    /// Puts a frame on its way. What others get through a server that cannot be reached goes by the next one.
    fn send(&mut self, to: Server, out: Out) {
        let Some((mut to, mut out)) = self.redirect(to, out) else { return };
        while let Some(link) = self.links.get_mut(&to.id).filter(|link| link.failing_since.is_some()) {
            let Body::Events { part, .. } = &mut out.body else { break };
            let Some((next, rest)) = out.rest.split_first() else { break };
            // What is for itself waits until it can be reached again, or is given up; nobody else waits for
            // that.
            *part = 0;
            let own = Out { body: out.body.clone(), rest: [].into(), token: None };
            if let Body::Events { part, .. } = &mut out.body {
                *part = tree::version(rest);
            }
            (to, out.rest) = (*next, rest.into());
            let (tokens, lost) = link.push(own);
            self.lost += lost;
            self.settle(tokens);
        }
        if self.links.len() >= LINKS_MAX && !self.links.contains_key(&to.id) {
            self.lost += out.body.count();
            return self.settle(out.token.into_iter().collect());
        }
        let link = self.links.entry(to.id).or_insert_with(|| Link::new(to));
        link.meet(to);
        let (tokens, lost) = link.push(out);
        let call = (!link.is_called).then_some(link.server);
        link.is_called = true;
        self.lost += lost;
        self.out.extend(call.map(Action::Call));
        self.settle(tokens);
    }

    /// Sends events to these and, through each, to the rest of its part; how many were sent.
    fn spread(
        &mut self,
        servers: &[Server],
        direct_max: usize,
        events: &Body,
        token: Option<&Token>,
    ) -> usize {
        let Body::Events { .. } = events else { return 0 };
        let parts: Vec<(Server, &[Server])> = if servers.len() <= direct_max {
            servers.iter().map(|server| (*server, &[][..])).collect()
        } else {
            tree::split(servers).collect()
        };
        for (head, rest) in &parts {
            let mut body = events.clone();
            if let Body::Events { part, .. } = &mut body {
                *part = tree::version(rest);
            }
            self.send(*head, Out { body, rest: (*rest).into(), token: token.cloned() });
        }
        parts.len()
    }
}
