//! The baseline: T-Man as it was published, with a view that has an end.
//!
//! Source: Jelasity, Montresor, Babaoglu: T-Man, Computer Networks 53(13), 2009, figure 1: a random one of the
//! ψ nearest is sent the m descriptors that are nearest to it of all that are known, and answers with the
//! same; both keep the nearest of both. The distance is that of the circle of keys, whose sides nobody keeps
//! apart.

use xtreem_base::{Call, Duration, Handle, Instant, Rng, Sampler, Sink, Wake};
use xtreem_overlay::Position;
use xtreem_overlay::tman::{Config, Descriptor, Kind};

use super::node::Gossip;

/// Of ψ: those of whom one is asked.
const NEAREST: usize = 10;

pub(super) struct Plain {
    me: Handle,
    position: Position,
    rng: Rng,
    /// Nearest first.
    view: Vec<Peer>,
    next_exchange: Instant,
}

struct Peer {
    distance: u64,
    handle: Handle,
    position: Position,
}

/// The first eight bytes after the namespace, as a number on the circle.
fn number(position: &Position) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(position.key.as_bytes().iter().skip(1)) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}

fn distance(a: &Position, b: &Position) -> u64 {
    let way = number(a).wrapping_sub(number(b));
    way.min(way.wrapping_neg())
}

fn pace(config: &Config) -> Duration {
    Duration::from_micros(config.period.as_micros() / u64::from(config.exchanges))
}

impl Plain {
    pub(super) fn new(config: &Config, me: Handle, position: Position, mut rng: Rng, now: Instant) -> Self {
        let next_exchange = now + Duration::from_micros(rng.between(0, pace(config).as_micros()));
        Plain { me, position, rng, view: Vec::new(), next_exchange }
    }

    pub(super) fn next_timeout(&self) -> Wake {
        Wake::new(self.next_exchange, "exchange")
    }

    pub(super) fn nearest(&self) -> [Option<Handle>; 2] {
        let own = number(&self.position);
        let after = |peer: &&Peer| number(&peer.position).wrapping_sub(own);
        let nearest = |peer: Option<&Peer>| peer.map(|peer| peer.handle);
        [nearest(self.view.iter().min_by_key(after)), nearest(self.view.iter().max_by_key(after))]
    }

    fn put(&mut self, config: &Config, handle: Handle, position: &Position) {
        if handle == self.me || self.view.iter().any(|peer| peer.handle == handle) {
            return;
        }
        let distance = distance(&self.position, position);
        let at = self.view.partition_point(|peer| peer.distance <= distance);
        if at < usize::from(config.view_size) {
            self.view.truncate(usize::from(config.view_size) - 1);
            self.view.insert(at, Peer { distance, handle, position: position.clone() });
        }
    }

    fn nearest_to(&self, config: &Config, to: Handle, position: &Position) -> Vec<Descriptor<Position>> {
        let mut all: Vec<&Peer> = self.view.iter().filter(|peer| peer.handle != to).collect();
        all.sort_by_key(|peer| distance(position, &peer.position));
        all.truncate(usize::from(config.message_peers));
        let descriptor =
            |peer: &Peer| Descriptor { handle: peer.handle, profile: peer.position.clone(), age: 1 };
        all.into_iter().map(descriptor).collect()
    }

    fn message(&self, config: &Config, kind: Kind, seq: u16, to: Handle, position: &Position) -> Gossip {
        let peers = self.nearest_to(config, to, position);
        Gossip { kind, seq, profile: self.position.clone(), bounds: Vec::new(), peers }
    }

    pub(super) fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Gossip,
        out: &mut impl Sink<Gossip>,
    ) {
        if message.kind == Kind::Ask {
            let answer = self.message(call.config, Kind::Answer, message.seq, from, &message.profile);
            out.send(from, answer);
        }
        self.put(call.config, from, &message.profile);
        for peer in &message.peers {
            self.put(call.config, peer.handle, &peer.profile);
        }
    }

    pub(super) fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut (impl Sink<Gossip> + Sampler)) {
        if self.next_exchange > call.now {
            return;
        }
        self.next_exchange = call.now + self.rng.jitter(pace(call.config), 5);
        // Positions are not told by the partial view: a node begins with those that it asks itself.
        let anybody = if self.view.len() < NEAREST { out.fresh_peer() } else { None };
        let near = &self.view[..self.view.len().min(NEAREST)];
        let Some(to) = anybody.or_else(|| self.rng.pick(near).map(|peer| peer.handle)) else { return };
        let position = self.view.iter().find(|peer| peer.handle == to).map(|peer| &peer.position);
        let position = position.unwrap_or(&self.position).clone();
        out.send(to, self.message(call.config, Kind::Ask, 0, to, &position));
    }
}
