//! Whom a node asks.

use xtreem_base::{Handle, Sampler};

use super::TMan;
use super::config::Config;
use super::ranking::{Ranking, Side};
use super::view::Entry;

/// A view with fewer peers asks anybody: whoever is met brings more than those that are known.
pub(super) const FEW: usize = 4;
/// Ranks are counted from here when waiting is weighed: the nearest are asked a few times as often as the
/// farthest (our guess).
const RANK_OFFSET: u32 = 4;

/// Who never spoke to this node is asked as if so many rounds had gone by.
const NEVER_WEIGHT: u32 = 32;
/// After a silence so many rounds go to the nearest that have not spoken since: about as many as the longest run
/// of dead neighbours, when half of a large structure dies.
pub(super) const ALARM_ROUNDS: u8 = 16;
/// Who has spoken in so many rounds is taken to be alive during an alarm.
const ALIVE_ROUNDS: u16 = 3;

impl<R: Ranking> TMan<R> {
    /// One of each side in turn: who is nearest among those that have not been heard for long. While nothing
    /// comes of it the last exchange of a round is with anybody, so that parts of a split structure meet.
    ///
    /// When somebody was silent others may have died with it: then the nearest of both sides come first.
    pub(super) fn choose(&mut self, config: &Config, out: &mut impl Sampler) -> Option<Handle> {
        let is_last = self.begun >= config.exchange_limit();
        if self.alarm > 0
            && let Some(peer) = self.nearest_unheard()
        {
            return Some(peer);
        }
        let is_random = self.view.len() < FEW || self.is_idle && is_last;
        let random = if is_random { out.fresh_peer() } else { None };
        random.filter(|peer| *peer != self.me && self.is_free(*peer)).or_else(|| self.longest_waited())
    }

    fn is_free(&self, peer: Handle) -> bool {
        self.open.iter().all(|open| open.peer != peer)
    }

    fn nearest_unheard(&self) -> Option<Handle> {
        let is_unheard = |entry: &Entry<_>| entry.waited >= ALIVE_ROUNDS && self.is_free(entry.handle);
        let of_side = |side: &Side| {
            let mut ranked = (0u32..).zip(self.view.side(*side));
            ranked.find(|(_, entry)| is_unheard(entry)).map(|(rank, entry)| (rank, entry.handle))
        };
        R::SIDES.iter().filter_map(of_side).min_by_key(|(rank, _)| *rank).map(|(_, peer)| peer)
    }

    fn longest_waited(&mut self) -> Option<Handle> {
        let side = R::SIDES[usize::from(self.turn) % R::SIDES.len()];
        self.turn = self.turn.wrapping_add(1);
        let mut best = None;
        for (rank, entry) in (0u32..).zip(self.view.side(side)) {
            let waited = u32::from(entry.waited).min(NEVER_WEIGHT);
            let weight = (waited << 8) / (rank + RANK_OFFSET);
            if self.is_free(entry.handle) && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, entry.handle));
            }
        }
        best.map(|(_, peer)| peer)
    }
}
