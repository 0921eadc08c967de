//! Whom a node asks.

use xtreem_base::{Handle, Sampler};

use super::TMan;
use super::config::Config;
use super::ranking::Ranking;

/// A view with fewer peers asks anybody: whoever is met brings more than those that are known.
const FEW: usize = 4;
/// Ranks are counted from here when waiting is weighed: the nearest are asked a few times as often as the
/// farthest (our guess).
const RANK_OFFSET: u32 = 4;

impl<R: Ranking> TMan<R> {
    /// One of each side in turn: who is nearest among those that have not been heard for long. While nothing
    /// comes of it the last exchange of a round is with anybody, so that parts of a split structure meet.
    pub(super) fn choose(&mut self, config: &Config, out: &mut impl Sampler) -> Option<Handle> {
        let is_last = self.begun >= config.exchange_limit();
        let is_random = self.view.len() < FEW || self.is_idle && is_last;
        let random = if is_random { out.fresh_peer() } else { None };
        random.filter(|peer| *peer != self.me && self.is_free(*peer)).or_else(|| self.longest_waited())
    }

    fn is_free(&self, peer: Handle) -> bool {
        self.open.iter().all(|open| open.peer != peer)
    }

    fn longest_waited(&mut self) -> Option<Handle> {
        let side = R::SIDES[usize::from(self.turn) % R::SIDES.len()];
        self.turn = self.turn.wrapping_add(1);
        let mut best = None;
        for (rank, entry) in (0u32..).zip(self.view.side(side)) {
            let weight = (u32::from(entry.waited) << 8) / (rank + RANK_OFFSET);
            if self.is_free(entry.handle) && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, entry.handle));
            }
        }
        best.map(|(_, peer)| peer)
    }
}
