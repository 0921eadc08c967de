//! What is on its way to one server: frames that wait to be written, and frames that it has not acknowledged.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant};

use super::frame::{Body, Framed, Version};
use super::parts::Parts;
use super::{Server, Token};
use crate::Pattern;

/// Bytes that wait for one server; beyond it the oldest events are let go, and it is told how many. As much
/// as for one client.
pub const WAITING_MAX_BYTES: usize = 8 << 20;
/// Frames and bytes that are written and not acknowledged; beyond it the oldest are not sent again when the
/// stream breaks. Fewer than a server remembers of one origin.
pub const SENT_MAX: usize = 512;
pub const SENT_MAX_BYTES: usize = 8 << 20;
/// Topics of which lost events are counted one by one; the rest stands under `**`.
const LOST_TOPICS_MAX: usize = 32;
/// A server that cannot be reached for so long is given up: what waits for it goes. Three silences of a
/// connection; our guess.
pub(super) const UNREACHABLE_MAX: Duration = Duration::from_secs(30);

/// One frame to come.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub body: Body,
    /// Who gets it through this server.
    pub rest: Arc<[Server]>,
    /// What waits for its acknowledgement.
    pub token: Option<Token>,
}

impl Out {
    fn part(&self) -> Version {
        match &self.body {
            Body::Events { part, .. } => *part,
            _ => 0,
        }
    }
}

/// The way to one server.
#[derive(Debug)]
pub struct Link {
    pub(super) server: Server,
    waiting: VecDeque<Out>,
    waiting_bytes: usize,
    sent: VecDeque<(u64, Out)>,
    sent_bytes: usize,
    /// Number of the last frame.
    number: u64,
    lost: Vec<(Arc<Pattern<'static>>, u64)>,
    /// Lists that it knows, the oldest first.
    told: Parts<()>,
    /// Somebody was told that something waits.
    pub(super) is_called: bool,
    /// Since when it cannot be reached.
    pub(super) failing_since: Option<Instant>,
}

impl Link {
    pub(super) fn new(server: Server) -> Link {
        Link {
            server,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent: VecDeque::new(),
            sent_bytes: 0,
            number: 0,
            lost: Vec::new(),
            told: Parts::default(),
            is_called: false,
            failing_since: None,
        }
    }

    pub fn server(&self) -> Server {
        self.server
    }

    /// This is said to be that server. Who started anew is not the one that could not be reached.
    pub(super) fn meet(&mut self, server: Server) {
        if server.incarnation > self.server.incarnation {
            self.failing_since = None;
            // It has a claim to no earlier turns, and waits for none.
            for out in self.sent.iter_mut().map(|(_, out)| out).chain(&mut self.waiting) {
                if let Body::Events { turn, part: 0, .. } = &mut out.body {
                    turn.since = turn.number;
                }
            }
        }
        if server.incarnation >= self.server.incarnation {
            self.server = server;
        }
    }

    /// Whether nothing waits, neither to be written nor to be acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost.is_empty() && self.sent.is_empty()
    }

    /// Whether nothing waits to be acknowledged.
    pub(super) fn is_taken(&self) -> bool {
        self.sent.is_empty()
    }

    /// Adds a frame. What is not about events comes before events. Returns the tokens of what had to go, and
    /// how many events.
    pub(super) fn push(&mut self, out: Out) -> (Vec<Token>, u64) {
        let weight = out.body.weight();
        let (mut tokens, mut lost) = (Vec::new(), 0);
        if out.body.count() == 0 {
            let first = self.waiting.iter().position(|out| out.body.count() > 0);
            self.waiting_bytes += weight;
            self.waiting.insert(first.unwrap_or(self.waiting.len()), out);
            return (tokens, lost);
        }
        let mut at = 0;
        while self.waiting_bytes + weight > WAITING_MAX_BYTES && at < self.waiting.len() {
            if self.waiting[at].body.count() == 0 {
                at += 1;
                continue;
            }
            if let Some(old) = self.waiting.remove(at) {
                self.waiting_bytes -= old.body.weight();
                lost += old.body.count();
                // Whose of a group it would have been nobody knows: of a share nobody is told.
                if let Body::Events { topic, count, .. } = old.body {
                    self.lose(&topic, count.into());
                }
                tokens.extend(old.token);
            }
        }
        self.waiting_bytes += weight;
        self.waiting.push_back(out);
        (tokens, lost)
    }

    /// So many events of this topic will not come.
    pub(super) fn lose(&mut self, topic: &Arc<Pattern<'static>>, count: u64) {
        if let Some((_, lost)) = self.lost.iter_mut().find(|(known, _)| known == topic) {
            *lost += count;
        } else if self.lost.len() < LOST_TOPICS_MAX {
            self.lost.push((topic.clone(), count));
        } else if let Some((topic, lost)) = self.lost.last_mut() {
            *topic = Arc::new(Pattern::All);
            *lost += count;
        }
    }

    /// The next frame to write: what stands before its events, and they. The tokens are of frames that are
    /// too many to be remembered.
    pub(super) fn pop(&mut self) -> Option<(Framed, Vec<Token>)> {
        let is_lost_next = !self.lost.is_empty()
            && self.waiting.front().is_none_or(|next| matches!(next.body, Body::Events { .. }));
        let out = if is_lost_next {
            let (topic, count) = self.lost.pop()?;
            Out { body: Body::Lost { topic, count }, rest: [].into(), token: None }
        } else {
            let next = self.waiting.front()?;
            let part = next.part();
            if part != 0 && self.told.find(part).is_none() {
                self.told.push(part, next.rest.len(), ());
                let body = Body::Part { version: part, servers: next.rest.clone() };
                Out { body, rest: [].into(), token: None }
            } else {
                let out = self.waiting.pop_front()?;
                self.waiting_bytes -= out.body.weight();
                out
            }
        };
        self.number += 1;
        let bytes = out.body.write(self.number);
        // What a server needs to know of a new stream is said anew.
        let mut tokens = Vec::new();
        if !matches!(out.body, Body::Part { .. }) {
            self.sent_bytes += out.body.weight();
            self.sent.push_back((self.number, out));
            while self.sent.len() > SENT_MAX || self.sent_bytes > SENT_MAX_BYTES && self.sent.len() > 1 {
                let Some((_, out)) = self.sent.pop_front() else { break };
                self.sent_bytes -= out.body.weight();
                tokens.extend(out.token);
            }
        }
        Some((bytes, tokens))
    }

    /// All frames up to this one have come, and to all that got them through this server.
    pub(super) fn taken(&mut self, number: u64) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some((_, out)) = self.sent.pop_front_if(|(sent, _)| *sent <= number) {
            self.sent_bytes -= out.body.weight();
            tokens.extend(out.token);
        }
        tokens
    }

    /// A new stream begins: what was not acknowledged is sent again.
    pub(super) fn restart(&mut self) {
        self.told = Parts::default();
        while let Some((_, out)) = self.sent.pop_back() {
            self.waiting_bytes += out.body.weight();
            self.waiting.push_front(out);
        }
        self.sent_bytes = 0;
    }

    /// Nothing waits any more for the acknowledgement of what it was told of subscriptions.
    pub(super) fn take_wants(&mut self) -> Vec<Token> {
        let all = self.sent.iter_mut().map(|(_, out)| out).chain(&mut self.waiting);
        let wants = all.filter(|out| matches!(out.token, Some(Token::Want(..))));
        wants.filter_map(|out| out.token.take()).collect()
    }

    /// Takes out what others get through this server, or in its place, in its order.
    pub(super) fn take_parts(&mut self) -> Vec<Out> {
        self.restart();
        let all = core::mem::take(&mut self.waiting);
        let is_others = |out: &Out| out.part() != 0 || matches!(out.body, Body::Share { .. });
        let (parts, own): (Vec<_>, Vec<_>) = all.into_iter().partition(is_others);
        self.waiting_bytes = own.iter().map(|out| out.body.weight()).sum();
        self.waiting = own.into();
        parts
    }

    /// Lets all go: the tokens, and how many events.
    pub(super) fn give_up(&mut self) -> (Vec<Token>, u64) {
        self.restart();
        let all = core::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.lost.clear();
        let lost = all.iter().map(|out| out.body.count()).sum();
        (all.iter().filter_map(|out| out.token.clone()).collect(), lost)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use bytes::Bytes;
    use xtreem_base::NodeId;

    use super::super::Interest;
    use super::super::frame::{Origin, Turn};
    use super::*;

    fn server(id: u8) -> Server {
        let addr = "127.0.0.1:1".parse().expect("an address");
        Server { id: NodeId::from_bytes([id; 16]), incarnation: 1, addr }
    }

    fn events(batch: u64, len: usize, rest: &[Server]) -> Out {
        let origin = Origin { id: server(1).id, incarnation: 1, batch };
        let topic = Arc::new(Pattern::new("a").expect("a topic"));
        let events = Bytes::from(vec![0; len]);
        let part = super::super::tree::version(rest);
        let body = Body::Events { origin, turn: Turn::default(), part, topic, count: 1, events };
        Out { body, rest: rest.into(), token: None }
    }

    /// What is written next: batches, and the first letter of all else.
    fn written(link: &mut Link) -> Vec<(u64, char, u64)> {
        let mut all = Vec::new();
        while let Some(((head, tail), _)) = link.pop() {
            let frame = [&head[4..], &tail].concat();
            let (number, body) = Body::read(&frame.into()).expect("a frame");
            all.push(match body {
                Body::Events { origin, .. } => (number, 'E', origin.batch),
                Body::Lost { count, .. } => (number, 'L', count),
                Body::Part { servers, .. } => (number, 'P', servers.len() as u64),
                Body::Changed { .. } => (number, 'C', 0),
                Body::Share { .. } => (number, 'G', 0),
            });
        }
        all
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_its_order() {
        let mut link = Link::new(server(2));
        (1..=4).for_each(|batch| assert_eq!(link.push(events(batch, 9, &[])).1, 0));
        assert_eq!(written(&mut link), [(1, 'E', 1), (2, 'E', 2), (3, 'E', 3), (4, 'E', 4)]);
        link.taken(2);
        link.push(events(5, 9, &[]));
        link.restart();
        assert_eq!(written(&mut link), [(5, 'E', 3), (6, 'E', 4), (7, 'E', 5)]);
        link.taken(7);
        assert!(link.is_empty());
    }

    #[test]
    fn the_oldest_go_and_the_server_is_told() {
        let mut link = Link::new(server(2));
        let half = WAITING_MAX_BYTES / 2 - 100;
        (1..=3).for_each(|batch| drop(link.push(events(batch, half, &[]))));
        let wanted: Arc<Interest> = Arc::new(Pattern::All.into());
        link.push(Out {
            body: Body::Changed { server: server(1), wanted: wanted.clone() },
            rest: [].into(),
            token: Some(Token::Want(wanted, server(2).id)),
        });
        let (_, tokens) = link.pop().expect("the news");
        assert_eq!((tokens.len(), link.taken(1).len()), (0, 1));
        assert_eq!(written(&mut link), [(2, 'L', 1), (3, 'E', 2), (4, 'E', 3)]);
    }

    #[test]
    fn a_list_is_told_once_on_each_stream() {
        let mut link = Link::new(server(2));
        let rest = [server(3), server(4)];
        (1..=2).for_each(|batch| drop(link.push(events(batch, 1, &rest))));
        assert_eq!(written(&mut link), [(1, 'P', 2), (2, 'E', 1), (3, 'E', 2)]);
        link.push(events(3, 1, &rest));
        assert_eq!(written(&mut link), [(4, 'E', 3)]);
        link.restart();
        assert_eq!(written(&mut link).len(), 4);
        link.push(events(4, 1, &[]));
        assert_eq!(link.take_parts().len(), 3);
        assert_eq!(written(&mut link), [(9, 'E', 4)]);
    }
}
