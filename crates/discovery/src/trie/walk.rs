//! Whom a node asks: two others in each round, and on a walk whoever is closer to its own key each time.

use alloc::vec::Vec;

use xtreem_base::{Handle, Sampler, Sink};

use super::{Asked, Bucket, Call, Message, Trie};

/// Exchanges that one walk may take: 8 hops are the mean at 100,000 nodes (docs/design/selection.md,
/// "Filling the links").
pub(super) const WALK_MAX: u8 = 24;
/// Exchanges that a round may add while each of them leads closer to the own key.
const ROUND_WALK_MAX: u8 = 4;
/// Open exchanges; a further one is not begun.
const ASKED_MAX: usize = 16;
/// Levels from the deepest one up, all of whose nodes a newcomer greets.
const GREETED_LEVELS: usize = 3;
/// Rounds in which every second exchange goes to a random node of the grid; later every fourth.
const YOUNG_ROUNDS: u32 = 8;

impl Trie {
    pub(super) fn start_round(&mut self, call: Call<'_>, out: &mut (impl Sink<Message> + Sampler)) {
        self.rounds = self.rounds.saturating_add(1);
        if !self.is_joining {
            self.walk_left = ROUND_WALK_MAX;
            self.walked.clear();
        }
        let near = self.near_peer();
        let wide = if self.rounds <= YOUNG_ROUNDS || self.rounds.is_multiple_of(2) || near.is_none() {
            out.fresh_peer()
        } else {
            self.oldest_peer()
        };
        let lost = self.lost.pick(&mut self.rng);
        for peer in [near, wide, lost].into_iter().flatten() {
            self.ask(call, peer, out);
        }
    }

    /// A node close to this one: of the deepest bucket in half of the cases, of the one above in a quarter …
    fn near_peer(&mut self) -> Option<Handle> {
        let buckets = self.table.buckets();
        let above = (self.rng.next_u32().trailing_zeros() as usize).min(buckets.len().checked_sub(1)?);
        let bucket = buckets.get(buckets.len() - 1 - above)?;
        self.rng.pick(bucket.alternates()).map(|known| known.handle)
    }

    /// The one that has not been heard of for the longest time: it is dead, or fresh again.
    fn oldest_peer(&self) -> Option<Handle> {
        self.table.all().min_by_key(|(_, known)| (known.seen, known.handle)).map(|(_, known)| known.handle)
    }

    pub(super) fn ask(&mut self, call: Call<'_>, peer: Handle, out: &mut impl Sink<Message>) {
        let is_open = self.asked.iter().any(|asked| asked.peer == peer);
        if peer == self.table.me() || is_open || self.asked.len() >= ASKED_MAX {
            return;
        }
        self.seq = self.seq.wrapping_add(1);
        let (seq, depth) = (self.seq, self.table.deepest());
        self.asked.push(Asked { peer, seq, deadline: call.now + call.config.reply_timeout, depth });
        if self.walked.len() < usize::from(WALK_MAX) {
            self.walked.push(peer);
        }
        out.send(peer, Message::Ask { seq, lack: self.lack(call) });
    }

    /// Asks the closest node after an answer, or the lack of one, when it is closer than what was known
    /// before.
    pub(super) fn go_on(&mut self, call: Call<'_>, before: Option<usize>, out: &mut impl Sink<Message>) {
        let closest =
            self.table.buckets().last().filter(|_| self.table.deepest() > before).and_then(|bucket| {
                bucket.alternates().iter().map(|known| known.handle).find(|peer| !self.walked.contains(peer))
            });
        match closest {
            Some(peer) if self.walk_left > 0 => {
                self.walk_left -= 1;
                self.ask(call, peer, out);
            }
            _ if self.is_joining && self.asked.is_empty() => {
                self.is_joining = false;
                self.greet(call, out);
            }
            _ => {}
        }
    }

    /// Makes a newcomer known to all that are close: they alone can fill the gap that it leaves in their
    /// tables.
    fn greet(&mut self, call: Call<'_>, out: &mut impl Sink<Message>) {
        let close: Vec<Handle> = self
            .table
            .buckets()
            .iter()
            .rev()
            .take(GREETED_LEVELS)
            .flat_map(Bucket::alternates)
            .map(|known| known.handle)
            .filter(|peer| !self.walked.contains(peer))
            .collect();
        close.into_iter().for_each(|peer| self.ask(call, peer, out));
    }
}
