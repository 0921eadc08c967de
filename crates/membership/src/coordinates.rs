//! Network coordinates: where a node stands, so that round-trip times to nodes that it never met can be told.
//!
//! Vivaldi with height vectors, adaptive time-step and error weights (Dabek, Cox, Kaashoek, Morris: Vivaldi,
//! SIGCOMM 2004), with the protections that Serf's coordinate client has proven: bounds, a median filter on
//! latencies (Ledlie, Gardner, Seltzer: Network Coordinates in the Wild, NSDI 2007), adjustment and gravity.
//! All in integers. *Absent: who is near; that is asked of the coordinates.* `docs/protocols/coordinates.md`.

mod spring;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{
    Call, Coordinate, Core, Driven, Duration, Handle, Instant, Rng, Sampler, Sink, Travel, Wake,
};

use spring::Spring;

/// Peers that a node measures again and again. The paper (section 5.3) uses 64 with half of them near; 16
/// found here to settle as well at our rate of one sample a round (`sim coordinates` test).
pub const NEIGHBOURS_MAX: usize = 16;
/// Round-trip times of one peer of which the median counts (Serf's latency filter).
const FILTER: usize = 3;
/// One in so many rounds measures somebody new, who takes the place of a far neighbour. Our guess.
const FRESH_ONE_IN: u32 = 4;
/// Rounds at the start that come eight times as often, so that a newcomer stands somewhere soon. Our guess.
const EAGER_ROUNDS: u8 = 32;
/// A round trip longer than this is not taken for one.
pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One round trip is measured in each.
    pub period: Duration,
}

impl Default for Config {
    /// CYCLON's period: a sample costs as much as half a shuffle.
    fn default() -> Self {
        Config { period: Duration::from_secs(10) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// "Where are you?" The time to the answer is the sample.
    #[n(0)]
    Ask {
        #[n(0)]
        seq: u16,
    },
    /// The answer, with the question's number.
    #[n(1)]
    Answer {
        #[n(0)]
        seq: u16,
        #[n(1)]
        coordinate: Coordinate,
    },
}

impl Message {
    pub fn travel(&self) -> Travel {
        Travel::DATAGRAM.padded(matches!(self, Message::Ask { .. }))
    }
}

/// A peer said what it should not; the coordinate is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an answer that nobody waits for")]
    Unasked,
    #[error("a coordinate out of all bounds")]
    OutOfBounds,
}

#[derive(Clone, Copy, Debug)]
struct Neighbour {
    peer: Handle,
    /// The last ones measured, µs; [`FILTER`] at most.
    samples: [u32; FILTER],
    len: u8,
}

impl Neighbour {
    fn new(peer: Handle) -> Self {
        Neighbour { peer, samples: [0; FILTER], len: 0 }
    }

    fn push(&mut self, micros: u32) {
        self.samples.rotate_right(1);
        self.samples[0] = micros;
        self.len = (self.len + 1).min(FILTER as u8);
    }

    /// Of two the lower: delays are added to a round trip, never taken away.
    fn median(&self) -> u32 {
        let mut sorted = self.samples;
        let known = &mut sorted[..usize::from(self.len)];
        known.sort_unstable();
        known.get((known.len().max(1) - 1) / 2).copied().unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: Handle,
    seq: u16,
    at: Instant,
}

/// The period of the first rounds.
fn eager(period: Duration) -> Duration {
    Duration::from_micros(period.as_micros() / 8)
}

/// One node's coordinate and how it comes by it.
#[derive(Clone, Debug)]
pub struct Coordinates {
    spring: Spring,
    neighbours: Vec<Neighbour>,
    next: u8,
    asked: Option<Asked>,
    seq: u16,
    rounds: u8,
    due: Instant,
    rng: Rng,
}

impl Coordinates {
    /// One sample a period; more often at the start.
    pub fn new(config: &Config, mut rng: Rng, now: Instant) -> Self {
        let due = now + rng.jitter(eager(config.period), 50);
        Coordinates {
            spring: Spring::default(),
            neighbours: Vec::new(),
            next: 0,
            asked: None,
            seq: rng.next_u32() as u16,
            rounds: 0,
            due,
            rng,
        }
    }

    pub fn coordinate(&self) -> Coordinate {
        self.spring.coordinate()
    }

    /// A neighbour in turn, or somebody new.
    fn pick(&mut self, out: &mut impl Sampler) -> Option<Handle> {
        let is_full = self.neighbours.len() >= NEIGHBOURS_MAX;
        let wants_fresh = !is_full || self.rng.below(FRESH_ONE_IN) == 0;
        if wants_fresh
            && let Some(fresh) = out.fresh_peer()
            && !self.neighbours.iter().any(|neighbour| neighbour.peer == fresh)
        {
            return Some(fresh);
        }
        let at = usize::from(self.next) % self.neighbours.len().max(1);
        self.next = self.next.wrapping_add(1);
        self.neighbours.get(at).map(|neighbour| neighbour.peer)
    }

    fn measured(&mut self, peer: Handle, round_trip: Duration, theirs: &Coordinate) {
        if round_trip > ROUND_TRIP_MAX {
            return;
        }
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        let at = match self.neighbours.iter().position(|neighbour| neighbour.peer == peer) {
            Some(at) => at,
            None => self.admit(peer),
        };
        self.neighbours[at].push(micros);
        let median = Duration::from_micros(u64::from(self.neighbours[at].median()));
        self.spring.pull(Coordinate::length_of(median), theirs, &mut self.rng);
    }

    fn drop_peer(&mut self, peer: Handle) {
        self.neighbours.retain(|neighbour| neighbour.peer != peer);
        self.asked = self.asked.filter(|asked| asked.peer != peer);
    }

    /// Takes a new neighbour, in the place of one of the farther half when the table is full: near ones tell
    /// most of the small distances (paper, section 5.3).
    fn admit(&mut self, peer: Handle) -> usize {
        if self.neighbours.len() < NEIGHBOURS_MAX {
            self.neighbours.push(Neighbour::new(peer));
            return self.neighbours.len() - 1;
        }
        let mut by_distance: Vec<usize> = (0..self.neighbours.len()).collect();
        by_distance.sort_by_key(|at| self.neighbours[*at].median());
        let half = by_distance.len() / 2;
        let at = by_distance[half + self.rng.below(half as u32) as usize];
        self.neighbours[at] = Neighbour::new(peer);
        at
    }
}

impl Core for Coordinates {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.due, "next round trip to measure")
    }

    /// What was measured stays, as the peer's place in the network was where it was.
    fn handle_gone(&mut self, _: Call<'_, Config>, peer: Handle) {
        self.drop_peer(peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.neighbours.iter().for_each(|neighbour| f(neighbour.peer));
        self.asked.iter().for_each(|asked| f(asked.peer));
    }
}

impl<S: Sink<Message> + Sampler> Driven<S> for Coordinates {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        match message {
            Message::Ask { seq } => {
                out.send(from, Message::Answer { seq, coordinate: self.coordinate() });
                Ok(())
            }
            Message::Answer { seq, coordinate } => {
                let is_asked = |asked: &Asked| (asked.peer, asked.seq) == (from, seq);
                let asked = self.asked.filter(is_asked).ok_or(Fault::Unasked)?;
                if !coordinate.is_within_bounds() {
                    return Err(Fault::OutOfBounds);
                }
                self.asked = None;
                out.contact_answered(from);
                self.measured(from, call.now.since(asked.at), &coordinate);
                Ok(())
            }
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        let Call { config, now } = call;
        if self.due > now {
            return;
        }
        let period = if self.rounds < EAGER_ROUNDS { eager(config.period) } else { config.period };
        self.rounds = self.rounds.saturating_add(1);
        self.due = now + self.rng.jitter(period, 5);
        match self.asked {
            // Its answer may be on its way.
            Some(asked) if now.since(asked.at) < ROUND_TRIP_MAX => return,
            Some(silent) => self.drop_peer(silent.peer),
            None => {}
        }
        let Some(peer) = self.pick(out) else { return };
        self.seq = self.seq.wrapping_add(1);
        self.asked = Some(Asked { peer, seq: self.seq, at: now });
        out.send(peer, Message::Ask { seq: self.seq });
    }
}
