//! Fetches that nobody goes on with at the moment: what came of them is kept for a while.
//!
//! A slot changes its holder, its program is stopped before it starts, its sources go away: the next who
//! wants the same content on this node goes on where the last one ended, and other nodes are served from it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fetch::Underway;

/// How long it is kept (our guess: slots come back within minutes, or not at all).
pub const IDLE_MAX: Duration = Duration::from_secs(1_800);
/// Fetches kept; beyond it the oldest goes.
pub(super) const COUNT_MAX: usize = 16;

/// Oldest first. It is no part of what the fetches themselves refer to.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<VecDeque<(Instant, Arc<Underway>)>>);

impl Idle {
    /// From now on nobody may need it.
    pub fn keep(&self, underway: Arc<Underway>) {
        let mut kept = self.kept();
        kept.retain(|(_, other)| !Arc::ptr_eq(other, &underway));
        kept.push_back((Instant::now(), underway));
        let spare = if kept.len() > COUNT_MAX { kept.pop_front() } else { None };
        drop(kept);
        // Its end takes other locks.
        drop(spare);
    }

    /// Somebody goes on with it, or it is complete. Whether it was here.
    pub fn take(&self, underway: &Arc<Underway>) -> bool {
        let mut kept = self.kept();
        let before = kept.len();
        kept.retain(|(_, other)| !Arc::ptr_eq(other, underway));
        kept.len() < before
    }

    /// False when there is none.
    pub fn give_up_oldest(&self) -> bool {
        let oldest = self.kept().pop_front();
        oldest.is_some()
    }

    /// Gives up those that were kept for `age` and longer.
    pub fn give_up_older(&self, age: Duration) {
        let mut kept = self.kept();
        let old = kept.iter().take_while(|(since, _)| since.elapsed() >= age).count();
        let old: Vec<_> = kept.drain(..old).collect();
        drop(kept);
        drop(old);
    }

    /// A panic elsewhere cannot leave the list half-changed.
    fn kept(&self) -> MutexGuard<'_, VecDeque<(Instant, Arc<Underway>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store closes: the next opening goes on from there.
impl Drop for Idle {
    fn drop(&mut self) {
        self.kept().iter().for_each(|(_, underway)| underway.leave());
    }
}
