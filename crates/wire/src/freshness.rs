//! Whether a signed datagram is new, or a recording of an old one.
//!
//! Three lines of defence: a datagram names the incarnation it is for (the driver compares that); the
//! sender's sequence passes a sliding window (after RFC 4303 appendix A2) within its newest incarnation; and
//! unless it answers a nonce of ours, its stamp is within two minutes of our clock, which protects us where
//! the window has been forgotten.

use alloc::collections::{BTreeMap, VecDeque};

use thiserror::Error;
use xtreem_base::{Duration, Instant, NodeId};

use crate::clock::{ahead, is_apart, shift};
use crate::{Clock, ClockReport, Header, Kind};

/// Senders whose windows are kept; beyond it the longest silent one is forgotten.
const SENDERS_MAX: usize = 4_096;

/// Nonces that still wait for an answer; beyond it the oldest is forgotten, and its answer is judged like a
/// request.
const NONCES_MAX: usize = 4_096;

/// How long an answer may take, and how long a nonce is echoed: above every time-out of the protocols.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Largest difference between a stamp and our clock (`architecture.md`, membership).
const STAMP_WINDOW_MS: u64 = 120_000;

/// Datagrams of one sender may overtake each other by this many. Sequences count what a sender sends to all
/// of its peers, at some tens a second (our guess, generous).
const WINDOW: u64 = 256;

/// A datagram whose signature holds, as far as freshness is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub from: NodeId,
    /// As the sender's record has it.
    pub incarnation: u32,
    pub header: &'a Header,
    /// Our own wall clock, unix milliseconds.
    pub wall_ms: u64,
}

/// A datagram to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    Request,
    /// It echoes a nonce that we sent to its sender.
    Reply {
        clock: Option<ClockReport>,
    },
}

/// Why a datagram is not acted on. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotFresh {
    #[error("sequence {sequence} was seen, or is too old to tell")]
    Replayed { sequence: u64 },
    #[error("incarnation {incarnation} of the sender ended; {newest} is known")]
    OldIncarnation { incarnation: u32, newest: u32 },
    #[error("the sender's clock is ahead by {ahead_ms} ms")]
    Stale { ahead_ms: i64 },
    #[error("an answer to no question of ours")]
    Unsolicited,
}

/// What is known of one sender.
#[derive(Clone, Debug)]
struct Sender {
    incarnation: u32,
    window: Window,
    heard_at: Instant,
    /// Its last nonce, to be echoed.
    nonce: u64,
    /// Its clock minus ours in milliseconds, once it answered a nonce.
    offset_ms: Option<i64>,
}

/// Freshness of everything that one node receives.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    senders: BTreeMap<NodeId, Sender>,
    nonces: BTreeMap<u64, NodeId>,
    /// The same nonces in the order they were sent.
    sent: VecDeque<(Instant, u64)>,
    clock: Clock,
}

impl Freshness {
    /// Judges a datagram, and remembers it when it is fresh.
    pub fn accept(&mut self, now: Instant, arrival: Arrival<'_>) -> Result<Fresh, NotFresh> {
        let Arrival { from, incarnation, header, wall_ms } = arrival;
        self.forget_old_nonces(now);
        let known = self.senders.get(&from);
        if let Some(newest) = known.map(|sender| sender.incarnation).filter(|newest| *newest > incarnation) {
            return Err(NotFresh::OldIncarnation { incarnation, newest });
        }
        let known = known.filter(|sender| sender.incarnation == incarnation);
        let mut window = known.map(|sender| sender.window.clone()).unwrap_or_default();
        if !window.insert(header.sequence) {
            return Err(NotFresh::Replayed { sequence: header.sequence });
        }
        let is_reply = self.nonces.get(&header.echo) == Some(&from);
        if header.kind != Kind::Message && !is_reply {
            return Err(NotFresh::Unsolicited);
        }
        let ahead_ms = self.ahead_ms(header.stamp_ms, wall_ms);
        if !is_reply && ahead_ms.unsigned_abs() > STAMP_WINDOW_MS {
            return Err(NotFresh::Stale { ahead_ms });
        }
        let offset_ms = if is_reply {
            Some(ahead(header.stamp_ms, wall_ms))
        } else {
            known.and_then(|sender| sender.offset_ms)
        };
        // Answers that are no messages are given without remembering their nonces: nobody knows an echo of
        // those.
        let nonce = if header.kind == Kind::Message { header.nonce } else { 0 };
        let sender = Sender { incarnation, window, heard_at: now, nonce, offset_ms };
        self.remember(from, sender);
        Ok(match offset_ms {
            Some(offset_ms) if is_reply => Fresh::Reply { clock: self.clock.sample(from, offset_ms) },
            _ => Fresh::Request,
        })
    }

    /// Takes note that `peer` showed its clock in an exchange that was fresh by other means (a QUIC hello).
    pub fn sample_clock(&mut self, peer: NodeId, stamp_ms: u64, wall_ms: u64) -> Option<ClockReport> {
        let offset_ms = ahead(stamp_ms, wall_ms);
        if let Some(sender) = self.senders.get_mut(&peer) {
            sender.offset_ms = Some(offset_ms);
        }
        self.clock.sample(peer, offset_ms)
    }

    /// Takes note that `nonce` goes out to `peer`.
    pub fn expect_echo(&mut self, now: Instant, peer: NodeId, nonce: u64) {
        self.forget_old_nonces(now);
        if self.sent.len() == NONCES_MAX
            && let Some((_, oldest)) = self.sent.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        self.nonces.insert(nonce, peer);
        self.sent.push_back((now, nonce));
    }

    /// The nonce to echo in a datagram to `peer`; zero when there is none.
    pub fn echo_for(&self, now: Instant, peer: NodeId) -> u64 {
        self.senders
            .get(&peer)
            .filter(|sender| now.since(sender.heard_at) <= ANSWER_MAX)
            .map_or(0, |sender| sender.nonce)
    }

    /// How far a stamp is ahead of this machine's clock as it is, or of the corrected one, whichever is
    /// nearer: who knows our clock only stamps in its time, whether we correct it or not.
    fn ahead_ms(&self, stamp_ms: u64, wall_ms: u64) -> i64 {
        let plain = ahead(stamp_ms, wall_ms);
        let corrected = ahead(stamp_ms, shift(wall_ms, self.clock.correction_ms()));
        if plain.unsigned_abs() < corrected.unsigned_abs() { plain } else { corrected }
    }

    /// The stamp for a datagram to `peer` that echoes `echo`. What echoes nothing has to pass as a request:
    /// it has our clock as corrected, or the peer's own time where that is far from ours (in a grid too small
    /// for a median two nodes would never understand each other). What echoes a nonce passes by that, and
    /// tells the clock of this machine as it is, for that is a sample: of corrected ones nodes would confirm
    /// each other's corrections for ever after all clocks were set right.
    pub fn stamp_for(&self, peer: NodeId, wall_ms: u64, echo: u64) -> u64 {
        let correction_ms = self.clock.correction_ms();
        if echo != 0 {
            return wall_ms;
        }
        let offset_ms = self
            .senders
            .get(&peer)
            .and_then(|sender| sender.offset_ms)
            .filter(|offset_ms| is_apart(*offset_ms, correction_ms))
            .unwrap_or(correction_ms);
        shift(wall_ms, offset_ms)
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn remember(&mut self, from: NodeId, sender: Sender) {
        if self.senders.len() == SENDERS_MAX && !self.senders.contains_key(&from) {
            let silent = self.senders.iter().min_by_key(|(_, sender)| sender.heard_at).map(|(id, _)| *id);
            if let Some(id) = silent {
                self.senders.remove(&id);
            }
        }
        self.senders.insert(from, sender);
    }

    fn forget_old_nonces(&mut self, now: Instant) {
        while let Some((at, nonce)) = self.sent.front().copied()
            && now.since(at) > ANSWER_MAX
        {
            self.sent.pop_front();
            self.nonces.remove(&nonce);
        }
    }
}

/// Which of the last [`WINDOW`] sequences were seen.
#[derive(Clone, Debug, Default)]
struct Window {
    highest: u64,
    /// Bit `sequence % WINDOW`; cleared when the window moves over it.
    seen: [u64; (WINDOW / 64) as usize],
}

impl Window {
    /// False when `sequence` was seen or lies below the window. Sequences begin at 1.
    fn insert(&mut self, sequence: u64) -> bool {
        if sequence == 0 || sequence.saturating_add(WINDOW) <= self.highest {
            return false;
        }
        if sequence > self.highest {
            let moved = sequence - self.highest;
            if moved >= WINDOW {
                self.seen = Default::default();
            } else {
                (self.highest + 1..=sequence).for_each(|over| self.seen[slot(over)] &= !bit(over));
            }
            self.highest = sequence;
        } else if self.seen[slot(sequence)] & bit(sequence) != 0 {
            return false;
        }
        self.seen[slot(sequence)] |= bit(sequence);
        true
    }
}

const fn slot(sequence: u64) -> usize {
    (sequence % WINDOW / 64) as usize
}

const fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests;
