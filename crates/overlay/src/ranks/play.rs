//! Members on a network that delays, loses, splits and heals, for tests of one core at a time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{Call, Driven, Duration, Events, Handle, Instant, Rng, Sampler, Sink};

enum What<M> {
    Wake(u32),
    Message { from: u32, to: u32, message: M },
}

/// What one member says in one call, and whom it meets.
pub(super) struct Out<'a, M, E> {
    pub(super) sent: Vec<(Handle, M)>,
    pub(super) told: Vec<E>,
    others: &'a [u32],
    rng: &'a mut Rng,
}

impl<M, E> Sink<M> for Out<'_, M, E> {
    fn send(&mut self, to: Handle, message: M) {
        self.sent.push((to, message));
    }
}

impl<M, E> Events<E> for Out<'_, M, E> {
    fn event(&mut self, event: E) {
        self.told.push(event);
    }
}

impl<M, E> Sampler for Out<'_, M, E> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.rng.pick(self.others).copied().map(Handle::from_u32)
    }
}

pub(super) struct Node<C> {
    pub(super) core: C,
    pub(super) is_alive: bool,
    pub(super) side: u8,
}

/// All members; a handle is a number in the order of their coming.
pub(super) struct Play<C: xtreem_base::Core, E> {
    pub(super) config: C::Config,
    pub(super) nodes: Vec<Node<C>>,
    pub(super) told: Vec<(u32, E)>,
    pub(super) now: Instant,
    pub(super) sent: u64,
    loss_per_cent: u32,
    queue: BTreeMap<(Instant, u64), What<C::Message>>,
    next: u64,
    pub(super) rng: Rng,
}

impl<C, E> Play<C, E>
where
    C: for<'a> Driven<Out<'a, <C as xtreem_base::Core>::Message, E>>,
{
    pub(super) fn new(config: C::Config, seed: u64, loss_per_cent: u32) -> Self {
        Play {
            config,
            nodes: Vec::new(),
            told: Vec::new(),
            now: Instant::ZERO,
            sent: 0,
            loss_per_cent,
            queue: BTreeMap::new(),
            next: 0,
            rng: Rng::new(seed),
        }
    }

    /// The handle of the one that is added next.
    pub(super) fn next_handle(&self) -> Handle {
        Handle::from_u32(self.nodes.len() as u32)
    }

    pub(super) fn add(&mut self, core: C) -> u32 {
        let who = self.nodes.len() as u32;
        self.nodes.push(Node { core, is_alive: true, side: 0 });
        self.call(who, |_, _, _| ());
        who
    }

    pub(super) fn kill(&mut self, who: u32) {
        self.nodes[who as usize].is_alive = false;
    }

    /// Splits the network; all on one side heals it.
    pub(super) fn set_sides(&mut self, side: impl Fn(u32) -> u8) {
        self.nodes.iter_mut().enumerate().for_each(|(who, node)| node.side = side(who as u32));
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = (u32, &C)> {
        let all = self.nodes.iter().enumerate();
        all.filter(|(_, node)| node.is_alive).map(|(who, node)| (who as u32, &node.core))
    }

    fn at(&mut self, at: Instant, what: What<C::Message>) {
        if at < Instant::FAR {
            self.queue.insert((at, self.next), what);
            self.next += 1;
        }
    }

    pub(super) fn call<R>(
        &mut self,
        who: u32,
        f: impl FnOnce(&mut C, Call<'_, C::Config>, &mut Out<'_, C::Message, E>) -> R,
    ) -> R {
        let side = self.nodes[who as usize].side;
        let others: Vec<u32> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, node)| node.is_alive && node.side == side && *other as u32 != who)
            .map(|(other, _)| other as u32)
            .collect();
        let mut out = Out { sent: Vec::new(), told: Vec::new(), others: &others, rng: &mut self.rng };
        let node = &mut self.nodes[who as usize];
        let result = f(&mut node.core, Call::new(&self.config, self.now), &mut out);
        let Out { sent, told, .. } = out;
        let wake = node.core.next_timeout(&self.config).at.max(self.now);
        self.at(wake, What::Wake(who));
        self.told.extend(told.into_iter().map(|event| (who, event)));
        for (to, message) in sent {
            self.sent += 1;
            if !self.rng.chance(self.loss_per_cent, 100) {
                let span = Duration::from_millis(self.rng.between(5, 165));
                self.at(self.now + span, What::Message { from: who, to: to.as_u32(), message });
            }
        }
        result
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((now, _), what) = entry.remove_entry();
            self.now = now;
            match what {
                What::Wake(who) => {
                    let Node { core, is_alive, .. } = &self.nodes[who as usize];
                    if *is_alive && core.next_timeout(&self.config).at <= now {
                        self.call(who, |core, call, out| core.handle_timeout(call, out));
                    }
                }
                What::Message { from, to, message } => {
                    let reaches = |to: &Node<C>| to.is_alive && self.nodes[from as usize].side == to.side;
                    let is_heard = self.nodes.get(to as usize).is_some_and(reaches);
                    if is_heard {
                        self.call(to, |core, call, out| {
                            // Late answers are faults by design.
                            let _ = core.handle_message(call, Handle::from_u32(from), message, out);
                        });
                    }
                }
            }
        }
        self.now = end;
    }

    /// Lets rounds go by until it holds for all that live; how many, if it did in time.
    pub(super) fn rounds_until(
        &mut self,
        period: Duration,
        most: u32,
        is: impl Fn(&Self) -> bool,
    ) -> Option<u32> {
        for round in 0..most {
            if is(self) {
                return Some(round);
            }
            self.run(period);
        }
        is(self).then_some(most)
    }
}
