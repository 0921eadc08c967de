//! Indirect probes: others ask a silent peer, and what it answers is signed for whoever wanted to know.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_allocation::{Alive, Signed};
use xtreem_base::{Duration, Handle, Instant, Rng};

use crate::{Message, Node, Output, Relay};

/// Silent peers asked for at a time; the oldest goes first. Our guess: all neighbours of a few slots.
const ASKED_FOR_MAX: usize = 64;
/// An answer counts for so long. Our guess: four messages over a slow network.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Whom others were asked for, with what, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedFor(Vec<(Instant, Handle, u64)>);

impl AskedFor {
    fn add(&mut self, now: Instant, about: Handle, nonce: u64) {
        self.0.retain(|(at, _, _)| now.since(*at) < ANSWER_LIMIT);
        if self.0.len() >= ASKED_FOR_MAX {
            self.0.remove(0);
        }
        self.0.push((now, about, nonce));
    }

    fn has(&self, now: Instant, about: Handle, nonce: u64) -> bool {
        let is_it = |(at, peer, asked): &(Instant, Handle, u64)| {
            now.since(*at) < ANSWER_LIMIT && (*peer, *asked) == (about, nonce)
        };
        self.0.iter().any(is_it)
    }
}

/// A number that helpers cannot know before they are asked.
fn nonce(rng: &mut Rng) -> u64 {
    rng.next_u64()
}

impl Node {
    /// Lets others probe a silent peer.
    pub(crate) fn ask_others(
        &mut self,
        now: Instant,
        about: Handle,
        helpers: Vec<Handle>,
        out: &mut impl Output,
    ) {
        let nonce = nonce(&mut self.rng);
        self.asked_for.add(now, about, nonce);
        let (_, mut post) = self.desk.open(now, out);
        for helper in helpers {
            post.send(helper, Message::Relay(Relay::Ask { about, nonce }));
        }
    }

    pub(crate) fn relay(&mut self, now: Instant, from: Handle, relay: Relay, out: &mut impl Output) {
        let me = self.desk.me;
        let (call, mut post) = self.desk.open(now, out);
        match relay {
            Relay::Ask { about, nonce } => {
                post.send(about, Message::Relay(Relay::Ping { origin: from, nonce }));
            }
            Relay::Ping { origin, nonce } => {
                if let Some(asker) = post.out.id_of(origin) {
                    let alive = Alive { node: me.id, origin: asker, nonce };
                    let answer = Box::new(Signed::new(&*post.out, alive));
                    post.send(from, Message::Relay(Relay::Pong { origin, answer }));
                }
            }
            Relay::Pong { origin, answer } => {
                post.send(origin, Message::Relay(Relay::Alive { about: from, answer }));
            }
            Relay::Alive { about, answer } => {
                let Alive { node, origin, nonce } = answer.body;
                let is_meant = post.out.id_of(about) == Some(node) && origin == me.id;
                if is_meant && self.asked_for.has(now, about, nonce) {
                    let call = self.allocation.narrow(call);
                    self.allocation.handle_alive(call, about);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_lately_is_answered_and_what_is_remembered_is_bounded() {
        let (at, peer) = (Instant::from_millis, Handle::from_u32);
        let mut asked = AskedFor::default();
        asked.add(at(0), peer(1), 7);
        for (millis, who, nonce, is_answer) in
            [(0, 1, 7, true), (4_999, 1, 7, true), (5_000, 1, 7, false), (0, 2, 7, false), (0, 1, 8, false)]
        {
            assert_eq!(asked.has(at(millis), peer(who), nonce), is_answer, "{who} {nonce} at {millis} ms");
        }
        (0..1_000).for_each(|number| asked.add(at(1), peer(number), 1));
        assert_eq!(asked.0.len(), ASKED_FOR_MAX);
    }
}
