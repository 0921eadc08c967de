//! To compare with: Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) over five neighbours drawn from the
//! partial view. Events go to eager neighbours at once; lazy ones are told of them and ask for what they
//! miss; who gets a second copy makes that neighbour lazy. All nodes take part. Not the product.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{Duration, Handle, Instant, Rng};

/// The paper's fan-out of four, and one.
const NEIGHBOURS: usize = 5;
const NEIGHBOURS_MAX: usize = 7;
/// Neighbours say that they live.
const PERIOD: Duration = Duration::from_secs(2);
/// As long as the relay's.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// What was told of and does not come is asked for after the first, then after each of the second.
const MISSED: Duration = Duration::from_millis(1_000);
const MISSED_AGAIN: Duration = Duration::from_millis(500);

pub(super) enum Message {
    /// Be my neighbour; true: I have too few.
    Ask,
    Yes,
    Beat,
    Bye,
    Event {
        number: u32,
    },
    Have {
        number: u32,
    },
    Graft {
        number: u32,
    },
    Prune,
}

struct Neighbour {
    is_eager: bool,
    heard: Instant,
}

pub(super) struct Gossip {
    neighbours: BTreeMap<Handle, Neighbour>,
    seen: BTreeSet<u32>,
    /// When it is asked for, and who has it.
    missing: BTreeMap<u32, (Instant, Vec<Handle>)>,
    due: Instant,
    rng: Rng,
    out: Vec<(Handle, Message)>,
}

impl Gossip {
    pub(super) fn new(rng: Rng) -> Gossip {
        let (neighbours, missing) = (BTreeMap::new(), BTreeMap::new());
        Gossip { neighbours, seen: BTreeSet::new(), missing, due: Instant::FAR, rng, out: Vec::new() }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now + Duration::from_millis(self.rng.between(0, 500));
    }

    pub(super) fn take(&mut self) -> Vec<(Handle, Message)> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn is_new(&self, number: u32) -> bool {
        !self.seen.contains(&number)
    }

    fn send(&mut self, to: Handle, message: Message) {
        self.out.push((to, message));
    }

    pub(super) fn publish(&mut self, _: Instant, number: u32) {
        self.spread(number, None);
    }

    fn spread(&mut self, number: u32, from: Option<Handle>) {
        self.seen.insert(number);
        self.missing.remove(&number);
        for (peer, neighbour) in self.neighbours.iter().filter(|(peer, _)| Some(**peer) != from) {
            let message =
                if neighbour.is_eager { Message::Event { number } } else { Message::Have { number } };
            self.out.push((*peer, message));
        }
    }

    fn set_eager(&mut self, peer: Handle, is_eager: bool) {
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            neighbour.is_eager = is_eager;
        }
    }

    fn add(&mut self, now: Instant, peer: Handle) {
        self.neighbours.entry(peer).or_insert(Neighbour { is_eager: true, heard: now });
    }

    pub(super) fn handle(&mut self, now: Instant, from: Handle, message: Message) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.heard = now;
        }
        match message {
            Message::Ask => {
                if self.neighbours.len() >= NEIGHBOURS_MAX && !self.neighbours.contains_key(&from) {
                    // One goes, as in HyParView.
                    let all: Vec<Handle> = self.neighbours.keys().copied().collect();
                    let Some(gone) = self.rng.pick(&all).copied() else { return };
                    self.neighbours.remove(&gone);
                    self.send(gone, Message::Bye);
                }
                self.add(now, from);
                self.send(from, Message::Yes);
            }
            Message::Yes => {
                if self.neighbours.len() < NEIGHBOURS_MAX {
                    self.add(now, from);
                } else {
                    self.send(from, Message::Bye);
                }
            }
            Message::Beat if !self.neighbours.contains_key(&from) => self.send(from, Message::Bye),
            Message::Beat => {}
            Message::Bye => drop(self.neighbours.remove(&from)),
            Message::Event { number } if self.is_new(number) => {
                self.set_eager(from, true);
                self.spread(number, Some(from));
            }
            Message::Event { .. } => {
                self.set_eager(from, false);
                self.send(from, Message::Prune);
            }
            Message::Have { number } if self.is_new(number) => {
                let missing = self.missing.entry(number).or_insert_with(|| (now + MISSED, Vec::new()));
                missing.1.push(from);
            }
            Message::Have { .. } => {}
            Message::Graft { number } => {
                self.set_eager(from, true);
                if !self.is_new(number) {
                    self.send(from, Message::Event { number });
                }
            }
            Message::Prune => self.set_eager(from, false),
        }
    }

    pub(super) fn next_timeout(&self) -> Instant {
        let missing = self.missing.values().map(|(at, _)| *at).min();
        self.due.min(missing.unwrap_or(Instant::FAR))
    }

    /// `peer`: somebody of the partial view.
    pub(super) fn handle_timeout(&mut self, now: Instant, peer: Option<Handle>) {
        let late: Vec<u32> =
            self.missing.iter().filter(|(_, (at, _))| *at <= now).map(|(number, _)| *number).collect();
        for number in late {
            let Some((at, peers)) = self.missing.get_mut(&number) else { continue };
            *at = now + MISSED_AGAIN;
            if peers.is_empty() {
                self.missing.remove(&number);
                continue;
            }
            let peer = peers.remove(0);
            self.set_eager(peer, true);
            self.send(peer, Message::Graft { number });
        }
        if self.due > now {
            return;
        }
        self.due = now + PERIOD;
        self.neighbours.retain(|_, neighbour| now < neighbour.heard + SILENCE_MAX + PERIOD);
        let all: Vec<Handle> = self.neighbours.keys().copied().collect();
        all.iter().for_each(|peer| self.send(*peer, Message::Beat));
        if all.len() < NEIGHBOURS
            && let Some(peer) = peer.filter(|peer| !self.neighbours.contains_key(peer))
        {
            self.due = now + Duration::from_millis(300);
            self.send(peer, Message::Ask);
        }
    }
}
