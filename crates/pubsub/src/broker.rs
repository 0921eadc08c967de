//! The part of one server that its clients see: connections, their subscriptions, and who gets what.
//!
//! It reads requests in the buffer of its caller and writes events once for all that hear them. It holds no
//! socket and no clock. What it is told in one read goes out as few chunks, in the order in which it came: a
//! publisher's events keep their order at every subscriber.

mod access;
mod catching;
mod connection;
mod groups;
mod kept;
mod publish;
mod queue;
mod repeats;
mod shares;
#[cfg(test)]
mod tests;
mod updates;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};
use xtreem_base::{Deadlines, Duration, Instant, NodeId};

pub use self::access::{Access, Forbidden, Kept, Member, Rules};
use self::connection::{Connection, Subscription, Wishes};
use self::groups::Groups;
pub use self::queue::Queue;
use self::repeats::Repeats;
use crate::keeper::Asker;
use crate::relay::Interest;
use crate::update::Update;
use crate::{
    EventHeaders, Fault, Frame, Options, Pattern, Replay, Request, Step, Subscriptions, write_error,
    write_lost, write_ok,
};

/// The numbers of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a payload.
    pub payload_max: usize,
    /// Bytes that wait for one connection before its policy for slow readers begins. 8 MiB: a second of the
    /// fastest publisher; NATS keeps 64 MiB, Redis 8 to 32 (our guess between them).
    pub queue_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Connections.
    pub connections_max: usize,
    /// What is published to groups the host deals out, to these and to other servers'
    /// ([`Broker::deliver_share`]): each group is an interest of its own.
    pub deals_groups: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            payload_max: crate::PAYLOAD_MAX_BYTES,
            queue_max: 8 << 20,
            subscriptions_max: 10_000,
            connections_max: 65_536,
            deals_groups: false,
        }
    }
}

/// A connection of a broker. Numbers are used again.
pub type ConnectionId = u32;

/// Who hears: connections first, then groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hearer {
    Connection(ConnectionId),
    Group(u32),
}

/// What the code around a broker does for it.
pub trait Host {
    /// Somebody here subscribes to this now, and nobody did before; or nobody does any more. Whether who
    /// subscribes is answered later, by [`Broker::answer`]: events come at once.
    fn wanted(&mut self, interest: &Interest, is_wanted: bool) -> bool;

    /// These events were published here, also some that nobody may want, if they are kept: so many, of one
    /// topic, one after the other with all headers.
    fn published(&mut self, topic: &Arc<Pattern<'static>>, events: &Bytes, count: u32);

    /// Whether anybody elsewhere may want what is published to this: else it is not written for them.
    fn is_wanted_elsewhere(&mut self, topic: &Arc<Pattern<'static>>) -> bool;

    /// Who a token stands for.
    fn access(&mut self, token: &str) -> Option<Access>;

    /// Keeps this as the last value of a topic, or ends that it has one; [`Broker::kept`] is to be called.
    /// What is kept is `published` after it, and goes to others when it is kept.
    fn retain(&mut self, asker: Asker, topic: &Arc<Pattern<'static>>, event: Option<Bytes>);

    /// Whether past events of all these topics are kept.
    fn is_replayed(&self, topics: &Pattern<'_>) -> bool;

    /// Keeps this event, written with all headers, as one of the past events of its topic; for who wants to
    /// hear it, [`Broker::kept`] is to be called.
    fn log(&mut self, asker: Option<Asker>, topic: &Arc<Pattern<'static>>, event: &[u8]);

    /// Looks for what is kept of this, for the last values or for past events: whether it does.
    /// [`Broker::found`] follows, [`Broker::answer_recall`] unless it is answered already, and
    /// [`Broker::recalled`].
    fn recall(
        &mut self,
        id: ConnectionId,
        pattern: &Pattern<'static>,
        replay: Option<Replay>,
        is_answered: bool,
    ) -> bool;

    /// Nobody looks there any more.
    fn forget(&mut self, id: ConnectionId, pattern: &Pattern<'static>);

    /// Makes an update for `who`: whether that is possible here. [`Broker::updated`] follows; the asker's
    /// word is the operation id.
    fn update(&mut self, _asker: Asker, _who: &str, _update: Update) -> bool {
        false
    }

    /// Reads the last value of a topic: whether that is possible here. [`Broker::value`] follows.
    fn read(&mut self, _asker: Asker, _topic: &Arc<Pattern<'static>>) -> bool {
        false
    }
}

/// Events of one topic that were read one after the other, as they will be written.
struct Run {
    connection: ConnectionId,
    route: usize,
    plain: Range<usize>,
    full: Range<usize>,
    count: u32,
}

pub struct Broker {
    config: Config,
    node: NodeId,
    incarnation: u64,
    connections: Vec<Option<Connection>>,
    free: Vec<ConnectionId>,
    subscriptions: Subscriptions<Hearer>,
    groups: Groups,
    repeats: Repeats,
    /// Who is answered later.
    held: BTreeMap<Interest, Vec<ConnectionId>>,
    /// How many connections here have each.
    interests: BTreeMap<Interest, usize>,
    /// Subscriptions that end by themselves.
    leases: Deadlines<(ConnectionId, Pattern<'static>)>,
    /// Subscriptions to which an event that was kept may come a second time until then.
    catching: Deadlines<(ConnectionId, Pattern<'static>)>,
    /// Connections for which something new waits.
    dirty: Vec<ConnectionId>,
    plain: BytesMut,
    full: BytesMut,
    runs: Vec<Run>,
    /// Counts connections: names those that did not name themselves.
    opened: u64,
    delivered: u64,
    lost: u64,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("subscriptions", &self.subscriptions.len()).finish_non_exhaustive()
    }
}

/// No room for one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} connections are open, as many as possible here")]
pub struct Full(pub usize);

impl Broker {
    /// `incarnation` grows with each start of the server `node`.
    pub fn new(config: Config, node: NodeId, incarnation: u64) -> Broker {
        Broker {
            config,
            node,
            incarnation,
            connections: Vec::new(),
            free: Vec::new(),
            subscriptions: Subscriptions::default(),
            groups: Groups::default(),
            repeats: Repeats::default(),
            held: BTreeMap::new(),
            interests: BTreeMap::new(),
            leases: Deadlines::default(),
            catching: Deadlines::default(),
            dirty: Vec::new(),
            plain: BytesMut::new(),
            full: BytesMut::new(),
            runs: Vec::new(),
            opened: 0,
            delivered: 0,
            lost: 0,
        }
    }

    /// # Errors
    /// As many are open as possible.
    pub fn open(&mut self, access: Access) -> Result<ConnectionId, Full> {
        let open = self.connections.len() - self.free.len();
        if open >= self.config.connections_max {
            return Err(Full(open));
        }
        self.opened += 1;
        let connection = Some(Connection::new(self.opened, access, self.config.payload_max));
        if let Some(id) = self.free.pop() {
            self.connections[id as usize] = connection;
            return Ok(id);
        }
        self.connections.push(connection);
        Ok((self.connections.len() - 1) as ConnectionId)
    }

    /// The connection is gone: its subscriptions end.
    pub fn close(&mut self, id: ConnectionId, host: &mut impl Host) {
        let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::take) else { return };
        for (pattern, subscription) in connection.subscriptions {
            self.end(id, &pattern, &subscription, host);
        }
        self.lost += connection.queue.lost_total();
        self.free.push(id);
    }

    /// Takes what was read from a connection, all of it. What comes of it waits in queues, see
    /// [`Broker::take_dirty`].
    pub fn read(&mut self, now: Instant, id: ConnectionId, input: &[u8], host: &mut impl Host) {
        let Some(connection) = self.connection(id) else { return };
        let mut partial = core::mem::take(&mut connection.partial);
        if partial.is_empty() {
            let taken = self.read_frames(now, id, input, host);
            partial.extend_from_slice(&input[taken..]);
        } else {
            partial.extend_from_slice(input);
            let taken = self.read_frames(now, id, &partial, host);
            partial.drain(..taken);
        }
        if partial.is_empty() {
            partial = Vec::new();
        }
        self.flush(host);
        if let Some(connection) = self.connection(id) {
            connection.partial = if connection.is_ending { Vec::new() } else { partial };
        }
    }

    /// Whether more should be read from it: not while it is told to go, nor while it leaves unread what it
    /// asked for.
    pub fn is_reading(&self, id: ConnectionId) -> bool {
        self.get(id).is_some_and(|connection| {
            !connection.is_ending && connection.queue.len() < 2 * self.config.queue_max
        })
    }

    /// Whether the connection ends once its queue is empty.
    pub fn is_ending(&self, id: ConnectionId) -> bool {
        self.get(id).is_none_or(|connection| connection.is_ending)
    }

    /// Whether it is in the middle of a request: it should not be for long.
    pub fn is_between(&self, id: ConnectionId) -> bool {
        self.get(id).is_none_or(|connection| connection.partial.is_empty() && connection.framer.is_between())
    }

    /// What waits to be written to it.
    pub fn queue(&mut self, id: ConnectionId) -> Option<&mut Queue> {
        self.connection(id).map(|connection| &mut connection.queue)
    }

    /// Connections for which something new waits, since the last call; `into` is emptied first.
    pub fn take_dirty(&mut self, into: &mut Vec<ConnectionId>) {
        into.clear();
        core::mem::swap(&mut self.dirty, into);
        for id in into {
            if let Some(connection) = self.connection(*id) {
                connection.is_dirty = false;
            }
        }
    }

    /// Tells a connection why it ends, and ends it.
    pub fn dismiss(&mut self, id: ConnectionId, code: &str, words: &str) {
        self.refuse(id, code, words);
        if let Some(connection) = self.connection(id) {
            connection.is_ending = true;
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let ends = self.catching.next().map(|(at, _)| at);
        self.leases.next().map(|(at, _)| at).into_iter().chain(ends).min()
    }

    /// Ends the subscriptions whose lease is over.
    pub fn handle_timeout(&mut self, now: Instant, host: &mut impl Host) {
        self.end_catching(now);
        while let Some((id, pattern)) = self.leases.expire(now) {
            let Some(connection) = self.connection(id) else { continue };
            if let Some(subscription) = connection.subscriptions.remove(&pattern) {
                self.end(id, &pattern, &subscription, host);
            }
        }
    }

    /// Rules have changed: each connection's access becomes what `change` makes of it. What it may not hear
    /// any more does not come any more.
    pub fn review(&mut self, mut change: impl FnMut(&mut Access)) {
        for connection in self.connections.iter_mut().flatten() {
            change(&mut connection.access);
            connection.routes.clear();
        }
        // Routes of others know who hears them.
        self.subscriptions.touch();
    }

    /// Events that came from elsewhere, of one topic: who subscribed here gets them. `full` are they one
    /// after the other with all headers, `plain` without.
    pub fn deliver(&mut self, topic: &Arc<Pattern<'static>>, plain: &Bytes, full: &Bytes, count: u32) {
        for hearer in self.subscriptions.hearers(topic) {
            let id = match hearer {
                Hearer::Connection(id) if self.hears(id, topic) => id,
                Hearer::Connection(_) => continue,
                // They have shares of their own.
                Hearer::Group(_) if self.config.deals_groups => continue,
                Hearer::Group(number) => match self.pick(number, topic) {
                    Some(id) => id,
                    None => continue,
                },
            };
            let with_headers = self.get(id).is_some_and(|connection| connection.wishes.headers);
            self.push(id, if with_headers { full } else { plain }, topic, count);
        }
    }

    /// So many events that came from elsewhere did not come: who subscribed here is told, if it asked for it.
    pub fn lose(&mut self, topic: &Arc<Pattern<'static>>, count: u64) {
        for hearer in self.subscriptions.hearers(topic) {
            // Nobody knows whose of a group they would have been.
            let Hearer::Connection(id) = hearer else { continue };
            if !self.hears(id, topic) {
                continue;
            }
            let Some(connection) = self.connection(id) else { continue };
            connection.queue.lose_elsewhere(count);
            if connection.wishes.lost {
                self.answer_with(id, |out| write_lost(out, topic, count));
            }
        }
    }

    /// Answers all whose subscription to this waited for it: it is as wanted, with these words behind; or it
    /// cannot be, for this reason, and has ended.
    pub fn answer(&mut self, interest: &Interest, answer: Result<&str, (&str, &str)>, host: &mut impl Host) {
        let pattern = &interest.pattern;
        for id in self.held.remove(interest).unwrap_or_default() {
            match answer {
                Ok(words) => self.subscribed(id, pattern, words, host),
                Err((code, words)) => {
                    self.refuse(id, code, words);
                    let connection = self.connection(id);
                    let ended = connection.and_then(|connection| connection.subscriptions.remove(pattern));
                    if let Some(subscription) = ended {
                        self.end(id, pattern, &subscription, host);
                    }
                }
            }
        }
    }

    /// Events that were put into queues, and those that were let go.
    pub fn counts(&self) -> (u64, u64) {
        let waiting: u64 = self.connections.iter().flatten().map(|open| open.queue.lost_total()).sum();
        (self.delivered, self.lost + waiting)
    }

    /// Open connections, and subscriptions of them.
    pub fn sizes(&self) -> (usize, usize) {
        (self.connections.len() - self.free.len(), self.subscriptions.len())
    }

    fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id as usize).and_then(Option::as_ref)
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id as usize).and_then(Option::as_mut)
    }

    fn hears(&self, id: ConnectionId, topic: &Pattern<'_>) -> bool {
        self.get(id).is_some_and(|connection| connection.access.hears(topic))
    }

    /// Whose turn it is of a group, among those that may hear this.
    fn pick(&mut self, group: u32, topic: &Pattern<'_>) -> Option<ConnectionId> {
        for _ in 0..self.groups.len_of(group) {
            let id = self.groups.pick(group)?;
            if self.hears(id, topic) {
                return Some(id);
            }
        }
        None
    }

    /// Reads all whole requests; how many bytes they have.
    fn read_frames(&mut self, now: Instant, id: ConnectionId, input: &[u8], host: &mut impl Host) -> usize {
        let mut at = 0;
        while let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut) {
            if connection.is_ending {
                return input.len();
            }
            let (taken, step) = connection.framer.next(&input[at..]);
            at += taken;
            match step {
                Step::More(_) => break,
                Step::Frame(frame) => self.handle(now, id, frame, host),
                Step::Refused(fault) => self.refuse(id, fault.code(), &fault.to_string()),
                Step::Broken(fault) => {
                    self.flush(host);
                    self.dismiss(id, fault.code(), &fault.to_string());
                }
            }
        }
        at
    }

    fn handle(&mut self, now: Instant, id: ConnectionId, frame: Frame<'_>, host: &mut impl Host) {
        // Most of all requests: to a topic that the connection published to a moment ago.
        let version = self.subscriptions.version();
        if frame.headers.is_empty()
            && let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut)
            && let Some(route) = connection.route(frame.line, version)
            && !connection.routes[route].is_replayed
        {
            let sequence = connection.sequence;
            connection.sequence += 1;
            self.write(id, route, sequence, &EventHeaders::default(), frame.payload, host);
            return;
        }
        let request = match Request::parse(frame) {
            Ok(Request::Publish(publish)) => return self.publish(id, frame.line, publish, host),
            other => other,
        };
        // What was published before comes before whatever this changes.
        self.flush(host);
        let handled = match request {
            Ok(Request::Subscribe(pattern, options)) => {
                self.subscribe(now, id, pattern.into_owned(), options, host)
            }
            Ok(Request::Cancel(pattern)) => self.cancel(id, pattern.into_owned(), host),
            Ok(Request::Auth(token)) => self.auth(id, token, host),
            Ok(Request::Connect(wishes)) => self.connect(id, wishes),
            Ok(Request::Read(topic)) => self.read_value(id, topic.into_owned(), host),
            Ok(Request::Update(operation, update)) => self.update(id, operation, update, host),
            Ok(Request::Publish(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        };
        if let Err(Refusal { code, words }) = handled {
            self.refuse(id, code, &words);
        }
    }

    /// Writes one event, for those that hear it.
    fn write(
        &mut self,
        id: ConnectionId,
        at: usize,
        sequence: u64,
        headers: &EventHeaders<'_>,
        payload: &[u8],
        host: &mut impl Host,
    ) {
        let Some(event) = self.name(id, at, sequence, headers.sequence) else { return };
        let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut) else { return };
        let route = &connection.routes[at];
        let is_one_by_one = !route.groups.is_empty();
        let is_new =
            is_one_by_one || self.runs.last().is_none_or(|run| (run.connection, run.route) != (id, at));
        if is_new {
            let (plain, full) = (self.plain.len(), self.full.len());
            let run = Run { connection: id, route: at, plain: plain..plain, full: full..full, count: 0 };
            self.runs.push(run);
        }
        let Some(run) = self.runs.last_mut() else { return };
        run.count += 1;
        if !route.plain.is_empty() || is_one_by_one {
            route.writer.write(&mut self.plain, event, None, payload);
            run.plain.end = self.plain.len();
        }
        // Asked once for a run.
        let is_full = if is_new {
            let is_kept = route.is_replayed || headers.is_retained;
            !route.full.is_empty() || is_one_by_one || is_kept || host.is_wanted_elsewhere(&route.topic)
        } else {
            !run.full.is_empty()
        };
        if is_full {
            let publisher = Some(connection.access.who.as_str());
            let headers = EventHeaders { publisher, is_retained: false, ..headers.clone() };
            route.writer.write(&mut self.full, event, Some(&headers), payload);
            run.full.end = self.full.len();
        }
    }

    /// Hands what was written to those that hear it.
    fn flush(&mut self, host: &mut impl Host) {
        if self.runs.is_empty() {
            return;
        }
        let (plain, full) = (self.plain.split().freeze(), self.full.split().freeze());
        let runs = core::mem::take(&mut self.runs);
        for run in &runs {
            let Some(connection) = self.connection(run.connection) else { continue };
            // For the time of this loop the route lies outside: queues of others are filled.
            let mut routes = core::mem::take(&mut connection.routes);
            let route = &mut routes[run.route];
            let events = plain.slice(run.plain.clone());
            for hearer in &route.plain {
                self.push(*hearer, &events, &route.topic, run.count);
            }
            let events = full.slice(run.full.clone());
            for hearer in &route.full {
                self.push(*hearer, &events, &route.topic, run.count);
            }
            for group in &route.groups {
                let Some(hearer) = self.pick(*group, &route.topic) else { continue };
                let with_headers = self.get(hearer).is_some_and(|connection| connection.wishes.headers);
                let events =
                    if with_headers { full.slice(run.full.clone()) } else { plain.slice(run.plain.clone()) };
                self.push(hearer, &events, &route.topic, run.count);
            }
            if !events.is_empty() {
                host.published(&route.topic, &events, run.count);
            }
            if let Some(connection) = self.connection(run.connection) {
                connection.routes = routes;
            }
        }
        self.runs = runs;
        self.runs.clear();
    }

    fn push(&mut self, id: ConnectionId, events: &Bytes, topic: &Arc<Pattern<'static>>, count: u32) {
        let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut) else { return };
        let Some(catching) = &mut connection.catching else { return self.enqueue(id, events, topic, count) };
        if catching.is_holding(topic) {
            return self.hold(id, (events.clone(), topic.clone(), count));
        }
        let (events, count) = catching.filter(events, count);
        if count > 0 {
            self.enqueue(id, &events, topic, count);
        }
    }

    fn enqueue(&mut self, id: ConnectionId, events: &Bytes, topic: &Arc<Pattern<'static>>, count: u32) {
        let queue_max = self.config.queue_max;
        let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut) else { return };
        if connection.is_ending {
            return;
        }
        let (slow, tell) = (connection.wishes.slow, connection.wishes.lost);
        let pushed = connection.queue.push_events(events.clone(), topic, count, queue_max, slow, tell);
        self.delivered += u64::from(count);
        self.touch(id);
        if pushed.is_err() {
            self.dismiss(
                id,
                "too-slow",
                "more events wait than the queue holds, and `slow=end` was asked for",
            );
        }
    }

    fn subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        pattern: Pattern<'static>,
        options: Options<'_>,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let subscriptions_max = self.config.subscriptions_max;
        let Some(connection) = self.connection(id) else { return Ok(()) };
        if let Err(why) = connection.access.check_subscribe(&pattern) {
            let words = format!("{} may not subscribe to {pattern}: {why}", connection.access.who);
            return Err(Refusal { code: "forbidden", words });
        }
        let is_new = !connection.subscriptions.contains_key(&pattern);
        self.check_replay(&pattern, &options, is_new, host)?;
        let Some(connection) = self.connection(id) else { return Ok(()) };
        if is_new && connection.subscriptions.len() >= subscriptions_max {
            let words = format!("{subscriptions_max} subscriptions are possible on one connection");
            return Err(Refusal { code: "too-many", words });
        }
        let ends = options.lease.map(|lease| now + Duration::from_secs(lease.as_secs()));
        let subscription = Subscription { group: options.group.map(String::from) };
        if is_new && subscription.group.is_none() {
            connection.catching.get_or_insert_default().add(pattern.clone(), options.replay);
        }
        let before = connection.subscriptions.insert(pattern.clone(), subscription.clone());
        self.leases.clear(&(id, pattern.clone()));
        if let Some(ends) = ends {
            self.leases.set((id, pattern.clone()), ends);
        }
        let is_moved = before.as_ref().is_some_and(|before| before.group != subscription.group);
        if let Some(before) = before.filter(|_| is_moved) {
            self.leave(id, &pattern, &before);
            self.drop_interest(id, &pattern, &before, host);
        }
        let hearer = match &subscription.group {
            None => Hearer::Connection(id),
            Some(group) => Hearer::Group(self.groups.join(&pattern, group, id).0),
        };
        let interest = self.interest(&pattern, &subscription);
        self.subscriptions.add(&pattern, hearer);
        if is_new || is_moved {
            let count = self.interests.entry(interest.clone()).or_default();
            *count += 1;
            if *count == 1 && host.wanted(&interest, true) {
                self.held.insert(interest.clone(), Vec::new());
            }
        }
        if let Some(held) = self.held.get_mut(&interest) {
            if !held.contains(&id) {
                held.push(id);
            }
            return Ok(());
        }
        self.subscribed(id, &pattern, "", host);
        Ok(())
    }

    fn cancel(
        &mut self,
        id: ConnectionId,
        pattern: Pattern<'static>,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connection(id) else { return Ok(()) };
        let Some(subscription) = connection.subscriptions.remove(&pattern) else {
            return Err(Refusal {
                code: "not-subscribed",
                words: format!("there is no subscription to {pattern} here"),
            });
        };
        self.end(id, &pattern, &subscription, host);
        self.ok(id, format_args!("CANCEL {pattern}"));
        Ok(())
    }

    /// A subscription that its connection has no more.
    fn end(
        &mut self,
        id: ConnectionId,
        pattern: &Pattern<'static>,
        subscription: &Subscription,
        host: &mut impl Host,
    ) {
        self.leases.clear(&(id, pattern.clone()));
        self.stop_catching(id, pattern);
        host.forget(id, pattern);
        self.leave(id, pattern, subscription);
        self.drop_interest(id, pattern, subscription, host);
    }

    fn leave(&mut self, id: ConnectionId, pattern: &Pattern<'static>, subscription: &Subscription) {
        match &subscription.group {
            None => {
                self.subscriptions.remove(pattern, Hearer::Connection(id));
            }
            Some(group) => {
                if let Some(number) = self.groups.leave(pattern, group, id) {
                    self.subscriptions.remove(pattern, Hearer::Group(number));
                }
            }
        }
    }

    fn auth(&mut self, id: ConnectionId, token: &str, host: &mut impl Host) -> Result<(), Refusal> {
        let Some(access) = host.access(token) else {
            let words = "no such token here: it is in XTREEM_TOKEN of a slot's program".into();
            return Err(Refusal { code: "bad-token", words });
        };
        let Some(connection) = self.connection(id) else { return Ok(()) };
        // Routes were found with what it might before.
        connection.routes.clear();
        connection.access = access;
        // Routes of others know who hears them.
        self.subscriptions.touch();
        self.ok(id, format_args!("AUTH"));
        Ok(())
    }

    fn connect(&mut self, id: ConnectionId, asked: crate::Wishes<'_>) -> Result<(), Refusal> {
        let Some(connection) = self.connection(id) else { return Ok(()) };
        connection.routes.clear();
        let name = asked.name.map(String::from);
        connection.wishes =
            Wishes { ok: asked.ok, lost: asked.lost, headers: asked.headers, name, slow: asked.slow };
        // Routes of all know who wants headers.
        self.subscriptions.touch();
        self.ok(id, format_args!("CONNECT"));
        Ok(())
    }

    fn ok(&mut self, id: ConnectionId, what: fmt::Arguments<'_>) {
        if self.get(id).is_some_and(|connection| connection.wishes.ok) {
            self.answer_with(id, |out| write_ok(out, what));
        }
    }

    fn refuse(&mut self, id: ConnectionId, code: &str, words: &str) {
        self.answer_with(id, |out| write_error(out, code, words));
    }

    fn answer_with(&mut self, id: ConnectionId, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        if let Some(connection) = self.connection(id) {
            connection.queue.push_answer(out.freeze());
            self.touch(id);
        }
    }

    fn touch(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id as usize).and_then(Option::as_mut) else { return };
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(id);
        }
    }
}

/// Why a request was not done.
struct Refusal {
    code: &'static str,
    words: String,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal { code: fault.code(), words: fault.to_string() }
    }
}
