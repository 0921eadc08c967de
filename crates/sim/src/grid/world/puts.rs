//! Users who write on the ring of all nodes, each under a key of its own.

use xtreem_base::{Duration, Rng};
use xtreem_overlay::store::{self, Action, Operation, Success, Value};
use xtreem_overlay::{Key, Namespace, Position};

use super::World;
use crate::grid::host::HostNo;
use crate::grid::queue::{WORLD, What};
use crate::grid::schedule::{FAULTS_BEGIN, FAULTS_END};
use crate::grid::seen::Seen;

/// Puts of a run.
const PUTS: u32 = 24;
/// As the agent has it when nobody says how many.
const COPIES: u8 = 2;
/// Longer than a run.
const LEASE: Duration = Duration::from_secs(86_400);

/// A put that its host has not heard the end of.
pub(super) struct Open {
    host: HostNo,
    incarnation: u8,
    request: store::RequestId,
    number: u32,
}

/// Different for each number, and all over the ring.
fn key(number: u32) -> Key {
    let name = xtreem_base::mix(u64::from(number)).to_be_bytes();
    Key::new(Namespace::USER, &name).expect("nine bytes")
}

fn value(number: u32) -> Value {
    Value::new(&number.to_be_bytes()).expect("four bytes")
}

impl World {
    pub(super) fn plan_puts(&mut self) {
        let mut rng = Rng::derive(self.seed, 0, "puts");
        for number in 0..PUTS {
            let at = Duration::from_micros(rng.between(0, FAULTS_END.since(FAULTS_BEGIN).as_micros()));
            let by = rng.next_u32();
            self.queue.push(FAULTS_BEGIN + at, WORLD, number, What::Put { number, by });
        }
    }

    /// Some host writes, if it runs.
    pub(super) fn put(&mut self, number: u32, by: u32) {
        let host = by % self.hosts.len() as u32;
        if !self.hosts[host as usize].is_running() || self.liars.has(host) {
            return;
        }
        let value = Some(value(number));
        let action = Action::Write { value, degree: COPIES, lease: LEASE, expected: None };
        let operation = Operation { key: key(number), action };
        let begun = self.with_node(host, |node, now, out| node.operate(now, operation, out));
        if let Some(Ok(request)) = begun {
            let incarnation = self.hosts[host as usize].incarnation;
            self.puts.push(Open { host, incarnation, request, number });
        }
    }

    pub(super) fn on_store(&mut self, by: HostNo, event: &store::Event) {
        let store::Event::Done { request: done, result } = event else { return };
        let now_there = self.hosts[by as usize].incarnation;
        let is_it = |open: &Open| (open.host, open.incarnation, open.request) == (by, now_there, *done);
        let Some(at) = self.puts.iter().position(is_it) else { return };
        let Open { number, .. } = self.puts.swap_remove(at);
        if matches!(result, Ok(Success::Written { .. })) {
            // Where there are fewer nodes, fewer copies are acknowledged.
            let others = (0..self.hosts.len() as HostNo).filter(|other| *other != by);
            let can_have =
                |other: &HostNo| self.hosts[*other as usize].is_running() && self.link.can_reach(by, *other);
            let copies = others.filter(can_have).count().min(COPIES.into()) as u8;
            self.see(&Seen::Put { number, key: key(number), copies });
        }
    }

    /// Before a node is gone with all that lies on it.
    pub(super) fn note_ring_death(&mut self, host: HostNo) {
        let place = |host: &crate::grid::host::Host| host.node.as_ref()?.ring().position().cloned();
        let Some(own) = place(&self.hosts[host as usize]) else { return };
        let mut ring: Vec<Position> = self.hosts.iter().filter_map(place).collect();
        ring.sort_unstable();
        self.see(&Seen::RingDeath { place: own, ring });
    }

    /// Numbers of what lies at its owner now.
    pub(super) fn puts_at_their_owners(&self) -> Vec<u32> {
        let is_there = |number: &u32| {
            let key = key(*number);
            self.hosts.iter().filter(|host| host.is_running()).any(|host| {
                let Some(node) = &host.node else { return false };
                let lease = node.ring().lease().filter(|lease| lease.is_valid(host.clock.local(self.now)));
                let item = node.overlay().store().shelf().get(&key);
                lease.is_some_and(|lease| lease.range().contains_key(&key))
                    && item.is_some_and(|item| item.value.as_ref() == Some(&value(*number)))
            })
        };
        (0..PUTS).filter(is_there).collect()
    }
}
