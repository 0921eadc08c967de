//! What comes from other servers: frames in their order, lists to pass events on to, acknowledgements.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use xtreem_base::{Instant, NodeId};

use super::frame::{FrameError, Origin, Turn};
use super::parts::Parts;
use super::turns::Due;
use super::{Action, Arrival, Body, Relay, Server, Share, Timer, Token};
use crate::Pattern;

/// Frames of one server that wait until others have taken them; beyond it its stream ends.
const PENDING_MAX: usize = 65_536;

/// Streams that other servers have open to this one, one each.
#[derive(Debug, Default)]
pub(super) struct Inlets(BTreeMap<NodeId, Inlet>);

#[derive(Debug, Default)]
struct Inlet {
    /// The last frame; none has come yet.
    last: Option<u64>,
    /// All up to here are taken.
    floor: u64,
    /// Beyond it: how many others are still to take each.
    pending: BTreeMap<u64, usize>,
    taken: BTreeSet<u64>,
    /// Whom events are passed on to.
    parts: Parts<Arc<[Server]>>,
}

/// What came is for clients of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Events(Arrival),
    /// For a member of a group.
    Share(Share),
    Lost(Arc<Pattern<'static>>, u64),
    Nothing,
}

/// Why a stream ends; its sender begins a new one with what was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("frames are not in their order")]
    Order,
    #[error("what came are no events of one topic")]
    NoEvents,
    #[error("a server speaks of another one")]
    AnotherServer,
    #[error("events for a list that was not told")]
    UnknownPart,
    #[error("{PENDING_MAX} frames wait until others have taken them")]
    TooMany,
}

impl Inlets {
    /// One more is to take this frame.
    pub(super) fn wait(&mut self, peer: NodeId, number: u64) {
        if let Some(left) = self.0.get_mut(&peer).and_then(|inlet| inlet.pending.get_mut(&number)) {
            *left += 1;
        }
    }

    /// The number up to which all frames of this server are taken, if that has changed.
    pub(super) fn settle(&mut self, peer: NodeId, number: u64) -> Option<u64> {
        let inlet = self.0.get_mut(&peer)?;
        let left = inlet.pending.get_mut(&number)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        inlet.pending.remove(&number);
        inlet.taken.insert(number);
        let floor = inlet.floor;
        while let Some(next) = inlet.floor.checked_add(1).filter(|next| inlet.taken.remove(next)) {
            inlet.floor = next;
        }
        (inlet.floor > floor).then_some(inlet.floor)
    }
}

impl Relay {
    /// A stream of this server begins.
    pub fn begin(&mut self, peer: NodeId) {
        self.inlets.0.insert(peer, Inlet::default());
    }

    /// It has ended.
    pub fn end(&mut self, peer: NodeId) {
        self.inlets.0.remove(&peer);
    }

    /// A frame that this server, which has proven that it is it, has sent, behind its length.
    ///
    /// # Errors
    /// The stream is to end.
    pub fn handle_frame(&mut self, now: Instant, from: Server, bytes: &Bytes) -> Result<Received, Misread> {
        let (number, body) = Body::read(bytes)?;
        let inlet = self.inlets.0.entry(from.id).or_default();
        if number == 0 || inlet.last.is_some_and(|last| last.checked_add(1) != Some(number)) {
            return Err(Misread::Order);
        }
        if inlet.last.replace(number).is_none() {
            inlet.floor = number - 1;
        }
        if inlet.pending.len() >= PENDING_MAX {
            return Err(Misread::TooMany);
        }
        // One for this server itself.
        inlet.pending.insert(number, 1);
        let received = match body {
            Body::Events { origin, turn, part, events, .. } => {
                let rest = if part == 0 { None } else { inlet.parts.find(part).cloned() };
                if part != 0 && rest.is_none() {
                    return Err(Misread::UnknownPart);
                }
                let arrival = Arrival::read(&events).ok_or(Misread::NoEvents)?;
                let is_false = !crate::reserved::may_say(origin.id, self.own.id, &arrival.topic);
                if !is_false {
                    // What is here may still not be with the rest: whoever brought it may have died since.
                    let (topic, count) = (arrival.topic.clone(), arrival.count);
                    let body = Body::Events { origin, turn, part: 0, topic, count, events };
                    self.pass_on(from.id, number, &rest.unwrap_or_default(), &body);
                }
                if is_false || origin.id == self.own.id || !self.seen.add(origin) {
                    Received::Nothing
                } else {
                    self.take_turn(now, origin, turn, arrival)
                }
            }
            Body::Lost { topic, count } => {
                let arrivals = self.turns.lost(&topic);
                self.out.extend(arrivals.into_iter().map(Action::Deliver));
                Received::Lost(topic, count)
            }
            Body::Share { origin, group, others, events, .. } => {
                let arrival = Arrival::read(&events).ok_or(Misread::NoEvents)?;
                let may_say = crate::reserved::may_say(origin.id, self.own.id, &arrival.topic);
                if may_say && group.pattern.overlaps(&arrival.topic) {
                    let share = Relay::share(group, arrival, origin, others);
                    let taken = self.take_share(from.id, number, share, events);
                    taken.map_or(Received::Nothing, Received::Share)
                } else {
                    Received::Nothing
                }
            }
            Body::Changed { server, wanted } => {
                if server.id != from.id {
                    return Err(Misread::AnotherServer);
                }
                self.changed(now, server, wanted);
                Received::Nothing
            }
            Body::Part { version, servers } => {
                inlet.parts.push(version, servers.len(), servers);
                Received::Nothing
            }
        };
        if let Some(number) = self.inlets.settle(from.id, number) {
            self.out.push_back(Action::Taken(from.id, number));
        }
        Ok(received)
    }

    /// What is next for clients comes; what follows it, by [`Action::Deliver`]. So does the next one where
    /// such actions are still to be done: it must not overtake them.
    fn take_turn(&mut self, now: Instant, origin: Origin, turn: Turn, arrival: Arrival) -> Received {
        let Due { arrivals, wait } = self.turns.take(now, origin, turn, arrival);
        if let Some((line, until)) = wait {
            self.timers.set(Timer::Turn(line), until);
        }
        let mut arrivals = arrivals.into_iter();
        if self.out.iter().any(|action| matches!(action, Action::Deliver(_))) {
            self.out.extend(arrivals.map(Action::Deliver));
            return Received::Nothing;
        }
        let first = arrivals.next().map_or(Received::Nothing, Received::Events);
        self.out.extend(arrivals.map(Action::Deliver));
        first
    }

    /// Passes events on to the rest of a list; they are acknowledged when all of it has them.
    fn pass_on(&mut self, from: NodeId, number: u64, rest: &[Server], events: &Body) {
        let others: Vec<Server> =
            rest.iter().filter(|server| server.id != self.own.id && server.id != from).copied().collect();
        let parts = super::FAN_OUT.min(others.len());
        if let Some(left) = self.inlets.0.get_mut(&from).and_then(|inlet| inlet.pending.get_mut(&number)) {
            *left += parts;
        }
        self.spread(&others, 0, events, Some(&Token::Inlet(from, number)));
    }
}
