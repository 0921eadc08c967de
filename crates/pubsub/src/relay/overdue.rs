//! What waited for a list while the ring was silent: it may be late for some of those who want it.
//!
//! A ring that is silent for long forgets who subscribed. When it answers again publishers and subscribers
//! write anew, whoever is first. So what waited, and what follows it, is remembered for as long as
//! subscribers take to write again, and whoever comes to the list meanwhile gets it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant};

use super::Body;
use super::outlets::WAITING_MAX_BYTES;

/// Events that waited for longer than this waited for a silent ring: as long as a subscriber for its answer.
const SILENCE: Duration = Duration::from_secs(5);
/// A subscriber writes again within so long: the deadline of an operation on the ring and two pauses, and
/// some seconds to look for publishers and to tell them.
const SPAN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Without holes; of more bytes than may wait for a list the oldest go.
    bodies: VecDeque<Body>,
    bytes: usize,
    until: Option<Instant>,
}

impl Overdue {
    /// What waited since then is sent now.
    pub(super) fn begin(&mut self, now: Instant, waited_since: Instant) {
        if now >= waited_since + SILENCE {
            self.until = Some(now + SPAN);
        }
    }

    /// A batch is sent.
    pub(super) fn note(&mut self, now: Instant, body: &Body) {
        self.look_after(now);
        if self.until.is_none() {
            return;
        }
        self.bytes += body.weight();
        self.bodies.push_back(body.clone());
        while self.bytes > WAITING_MAX_BYTES {
            let Some(oldest) = self.bodies.pop_front() else { break };
            self.bytes -= oldest.weight();
        }
    }

    /// Whether somebody may come who has a claim to what is sent now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Lets it go when its time has come.
    pub(super) fn look_after(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Overdue::default();
        }
    }

    /// For who is new to the list: its line begins with the first of these.
    pub(super) fn of_newcomer(&mut self, now: Instant) -> Vec<Body> {
        self.look_after(now);
        let mut bodies: Vec<Body> = self.bodies.iter().cloned().collect();
        let number = |body: &Body| match body {
            Body::Events { turn, .. } => turn.number,
            _ => 0,
        };
        let first = bodies.first().map_or(0, number);
        for body in &mut bodies {
            if let Body::Events { turn, .. } = body {
                turn.since = first;
            }
        }
        bodies
    }
}
