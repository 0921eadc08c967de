//! Groups of the whole grid: of all servers that have members of one group, one gets each event.
//!
//! The server where an event is published chooses by lot, as it has the list of all, itself among them if it
//! has members. It sends the event to the chosen one alone, with the names of some others of
//! the group. When that one cannot be reached, or has no member any more, the event goes to the first of the
//! others. So each event comes to one server as long as none fails, and to one at least when one does.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xtreem_base::NodeId;

use super::{Action, Arrival, Body, Interest, Origin, Out, Relay, Server, Token, arrival};
use crate::Pattern;

/// Servers that are named with an event, to stand in for the chosen one; of more the last ones are not. Our
/// guess: so many do not die at once.
pub const OTHERS_MAX: usize = 8;

/// Servers with members of groups, for one topic; without this server.
pub(super) type Groups = BTreeMap<Arc<Interest>, Vec<Server>>;

/// Events for a member of a group at this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub group: Arc<Interest>,
    pub arrival: Arrival,
    origin: Origin,
    others: Arc<[Server]>,
}

impl Relay {
    /// Groups with members here that an event of this topic is for.
    pub(super) fn groups_here(&self, topic: &Pattern<'_>) -> Vec<Arc<Interest>> {
        self.groups.iter().filter(|group| group.pattern.overlaps(topic)).cloned().collect()
    }

    /// Gives each of these events to one server of each group, but to none of those that had them already.
    pub(super) fn deal(
        &mut self,
        topic: &Arc<Pattern<'static>>,
        elsewhere: &Groups,
        had: &[Arc<Interest>],
        events: &Bytes,
    ) {
        let here = self.groups_here(topic);
        let all: BTreeSet<Arc<Interest>> = here.iter().chain(elsewhere.keys()).cloned().collect();
        if all.iter().all(|group| had.contains(group)) {
            return;
        }
        let Some(arrival) = Arrival::read(events) else { return };
        let single = arrival::pieces(&arrival.full);
        for group in all.into_iter().filter(|group| !had.contains(group)) {
            // Of the list of a family of topics not all are meant.
            if !group.pattern.overlaps(&arrival.topic) {
                continue;
            }
            let mut servers: Vec<Server> = elsewhere.get(&group).cloned().unwrap_or_default();
            if here.contains(&group) {
                servers.push(self.own);
            }
            let is_alive =
                |server: &Server| self.links.get(&server.id).is_none_or(|link| link.failing_since.is_none());
            if servers.iter().any(is_alive) {
                servers.retain(is_alive);
            }
            self.deal_to(topic, &group, &servers, &single);
        }
    }

    /// Each event to one of these.
    fn deal_to(
        &mut self,
        topic: &Arc<Pattern<'static>>,
        group: &Arc<Interest>,
        servers: &[Server],
        events: &[Bytes],
    ) {
        let mut shares: BTreeMap<usize, (BytesMut, u32)> = BTreeMap::new();
        for event in events {
            self.dealt = self.dealt.wrapping_add(1);
            // Publishing servers that have published as much choose different ones.
            let at = (mix(self.dealt ^ id_bits(self.own.id)) % servers.len().max(1) as u64) as usize;
            let (bytes, count) = shares.entry(at).or_default();
            bytes.extend_from_slice(event);
            *count += 1;
        }
        for (at, (bytes, count)) in shares {
            let Some(chosen) = servers.get(at) else { continue };
            let origin = self.next_origin();
            let mut others: Vec<Server> = servers.iter().filter(|it| it.id != chosen.id).copied().collect();
            // What a dead one would have had does not go to one other alone.
            others.sort_by_key(|server| mix(origin.batch ^ id_bits(server.id)));
            others.truncate(OTHERS_MAX);
            let (topic, group) = (topic.clone(), group.clone());
            let body =
                Body::Share { origin, group, others: others.into(), topic, count, events: bytes.freeze() };
            self.send(*chosen, Out { body, rest: [].into(), token: None });
        }
    }

    /// Where a share goes if the server that it was for cannot have it: the next one, and what then waits. It
    /// is for this server: given out, and nothing is left.
    pub(super) fn redirect(&mut self, mut to: Server, mut out: Out) -> Option<(Server, Out)> {
        let Body::Share { origin, group, others, events, .. } = &mut out.body else {
            return Some((to, out));
        };
        loop {
            if to.id == self.own.id && self.groups.contains(group) {
                if self.seen.add(*origin)
                    && let Some(arrival) = Arrival::read(events)
                {
                    let (group, others, origin) = (group.clone(), others.clone(), *origin);
                    self.out.push_back(Action::Share(Share { group, arrival, origin, others }));
                }
                self.settle(out.token.into_iter().collect());
                return None;
            }
            let is_alive = self.links.get(&to.id).is_none_or(|link| link.failing_since.is_none());
            if to.id != self.own.id && is_alive {
                return Some((to, out));
            }
            let Some((next, rest)) = others.split_first() else {
                if to.id != self.own.id {
                    // Nobody else is known: it waits for this one.
                    return Some((to, out));
                }
                if let Body::Share { count, .. } = out.body {
                    self.lost += u64::from(count);
                }
                self.settle(out.token.into_iter().collect());
                return None;
            };
            (to, *others) = (*next, rest.into());
        }
    }

    /// A share that came from another server: what is to be given out here, or it is on its way to the next.
    pub(super) fn take_share(
        &mut self,
        from: NodeId,
        number: u64,
        share: Share,
        events: Bytes,
    ) -> Option<Share> {
        if self.groups.contains(&share.group) {
            return self.seen.add(share.origin).then_some(share);
        }
        self.inlets.wait(from, number);
        if !self.pass_share(&share, events, Some(Token::Inlet(from, number))) {
            self.settle([Token::Inlet(from, number)].into());
        }
        None
    }

    /// None of the members here may hear it: another server's may.
    pub fn hand_on(&mut self, share: &Share) {
        self.pass_share(share, share.arrival.full.clone(), None);
    }

    /// Whether there is anybody else.
    fn pass_share(&mut self, share: &Share, events: Bytes, token: Option<Token>) -> bool {
        let others: Vec<Server> =
            share.others.iter().filter(|server| server.id != self.own.id).copied().collect();
        let Share { group, origin, arrival, .. } = share;
        let Some((next, rest)) = others.split_first() else {
            self.lost += u64::from(arrival.count);
            return false;
        };
        let (topic, count) = (arrival.topic.clone(), arrival.count);
        let (group, origin, others) = (group.clone(), *origin, rest.into());
        let body = Body::Share { origin, group, others, topic, count, events };
        self.send(*next, Out { body, rest: [].into(), token });
        true
    }

    /// A share that came.
    pub(super) fn share(
        group: Arc<Interest>,
        arrival: Arrival,
        origin: Origin,
        others: Arc<[Server]>,
    ) -> Share {
        Share { group, arrival, origin, others }
    }
}

fn id_bits(id: NodeId) -> u64 {
    let bytes = id.as_bytes();
    u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
        ^ u64::from_le_bytes(bytes.last_chunk().copied().unwrap_or_default())
}

/// Each bit of the result depends on all (the finaliser of MurmurHash3).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}
